#include "kernels/operations.h"

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/cast/cast.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gated_activation/gated_activation.h"
#include "kernels/gather/gather.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"
#include "kernels/l2_normalise/l2_normalise.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "kernels/optimizer/adafactor.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/adamw_8bit.h"
#include "kernels/optimizer/adamw_rms.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/reduce/reduce.h"
#include "kernels/rmsnorm/rmsnorm.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/span_loss/span_loss.h"
#include "kernels/topk/topk.h"

namespace koine {
namespace {

template <class... Arguments>
std::vector<OperationSummary> summaries() {
  return {summary_of(operation<Arguments>())...};
}

}  // namespace

std::vector<OperationSummary> all_operations() {
  return summaries<ActivationBackwardArguments, ActivationForwardArguments, AdafactorArguments, AdamWArguments,
                   AdamW8BitArguments, AdamWRmsArguments, AdamWRowsArguments, AdamWSegmentsArguments,
                   AttentionBackwardArguments, AttentionForwardArguments, CastArguments, ClipFactorArguments,
                   ColumnSumArguments, DropoutArguments, EmbeddingBackwardArguments, EmbeddingForwardArguments,
                   GatedActivationBackwardArguments, GatedActivationForwardArguments, GatherRowsArguments, GemmArguments,
                   GradientNormArguments, L2NormaliseBackwardArguments, L2NormaliseForwardArguments,
                   LayerNormBackwardArguments, LayerNormForwardArguments, LinearCrossEntropyArguments,
                   MeanPoolingBackwardArguments, MeanPoolingForwardArguments, RmsNormBackwardArguments,
                   RmsNormForwardArguments, ScatterRowsArguments, SoftmaxCrossEntropyArguments, SpanLossArguments,
                   SumArguments, SumOfSquaresArguments, TopKArguments, TwoWayTopKArguments, WeightGradientsArguments>();
}

VariantChoice variant_choice(const Context& context, const OperationSummary& operation) {
  const std::string_view forced = forced_variant(context, operation.name);
  const auto variant_for = [&](std::string_view tuned) -> std::string {
    const auto* chosen = preferred_variant(operation.variants, forced, tuned, [&](const OperationSummary::Variant& variant) {
      return runs_on_device(variant, context);
    });
    return chosen == nullptr ? "" : chosen->name;
  };
  VariantChoice choice = {variant_for(""), !forced.empty(), {}};
  if (operation.tuning_text == nullptr || context.device != Device::kCuda) return choice;
  for (const TunedVariant& row : context.tuning) {
    if (row.operation != operation.name || row.architecture != context.architecture) continue;
    const std::string variant = variant_for(tuned_variant(context, operation.name, row.key));
    if (variant != choice.variant) choice.shapes.push_back({operation.tuning_text(row.key), variant});
  }
  return choice;
}

}  // namespace koine
