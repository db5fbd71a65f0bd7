#include "kernels/operations.h"

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/cast/cast.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/weight_gradients.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/optimizer/adamw.h"
#include "kernels/optimizer/gradient_norm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "kernels/span_loss/span_loss.h"
#include "kernels/topk/topk.h"

namespace koine {
namespace {

template <class Arguments>
OperationSummary summary() {
  const Operation<Arguments>& table = operation<Arguments>();
  OperationSummary result;
  result.name = table.name;
  for (const Variant<Arguments>& variant : table.variants) {
    result.variants.push_back({std::string(variant.name), variant.device, variant.architectures});
  }
  return result;
}

template <class... Arguments>
std::vector<OperationSummary> summaries() {
  return {summary<Arguments>()...};
}

}  // namespace

std::vector<OperationSummary> all_operations() {
  return summaries<ActivationBackwardArguments, ActivationForwardArguments, AdamWArguments, AdamWRowsArguments,
                   AdamWSegmentsArguments, AttentionBackwardArguments, AttentionForwardArguments, CastArguments,
                   ClipFactorArguments, ColumnSumArguments, DropoutArguments, EmbeddingBackwardArguments,
                   EmbeddingForwardArguments, GatherRowsArguments, GemmArguments, GradientNormArguments,
                   LayerNormBackwardArguments, LayerNormForwardArguments, MeanPoolingBackwardArguments,
                   MeanPoolingForwardArguments, ScatterRowsArguments, SoftmaxCrossEntropyArguments, SpanLossArguments,
                   SumArguments, SumOfSquaresArguments, TopKArguments, WeightGradientsArguments>();
}

}  // namespace koine
