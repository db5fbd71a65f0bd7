#include "kernels/common/registry.h"

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/cast/cast.h"
#include "kernels/dropout/dropout.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gather/gather.h"
#include "kernels/gemm/gemm.h"
#include "kernels/layernorm/layernorm.h"
#include "kernels/optimizer/adamw.h"
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
    const std::string architecture =
        variant.minimum_architecture == 0 ? "" : concatenate(", architecture ", variant.minimum_architecture);
    result.variants.push_back(concatenate(variant.name, " (", name_of(variant.device), architecture, ")"));
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
                   AttentionBackwardArguments, AttentionForwardArguments, CastArguments, ClipFactorArguments,
                   ColumnSumArguments, DropoutArguments, EmbeddingBackwardArguments, EmbeddingForwardArguments,
                   GatherRowsArguments, GemmArguments, LayerNormBackwardArguments, LayerNormForwardArguments,
                   MeanPoolingBackwardArguments, MeanPoolingForwardArguments, ScatterRowsArguments,
                   SoftmaxCrossEntropyArguments, SpanLossArguments, SumArguments, SumOfSquaresArguments, TopKArguments>();
}

}  // namespace koine
