#pragma once

// Which parameters an XLM-R has, what checkpoints call them, and where each operation finds its own.

#include <string>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/parameters/parameter_table.h"
#include "engine/training/model.h"
#include "models/xlmr/config.h"

namespace koine {

/// Indices into the ParameterTable; -1 where the model has no such parameter.
struct LinearIndex {
  int weight = -1;
  int bias = -1;
};
struct NormIndex {
  int weight = -1;
  int bias = -1;
};

/// Query, key and value lie one behind the other, so that `query` read as [3 * hidden, hidden] is all three.
struct BlockIndex {
  NormIndex input_norm;  ///< pre-norm only: attention.self_attn_layer_norm
  LinearIndex query;
  LinearIndex key;
  LinearIndex value;
  LinearIndex attention_output;
  NormIndex middle_norm;  ///< post-norm: attention.output.LayerNorm; pre-norm: LayerNorm (before the feed-forward)
  LinearIndex intermediate;
  LinearIndex output;
  NormIndex output_norm;  ///< post-norm only: output.LayerNorm
};

struct HeadIndex {
  LinearIndex dense;   ///< kSequence(Pooled): classifier.dense; kMaskedLm: lm_head.dense
  NormIndex norm;      ///< kMaskedLm: lm_head.layer_norm
  LinearIndex output;  ///< classifier(.out_proj), qa_outputs; kMaskedLm: bias lm_head.bias, weight = the word embedding
};

struct XlmrParameters {
  ParameterTable table;
  int word = -1;
  int position = -1;
  int token_type = -1;
  NormIndex embedding_norm;  ///< post-norm only
  std::vector<BlockIndex> blocks;
  NormIndex final_norm;  ///< pre-norm only
  LinearIndex pooler;    ///< where a head reads it, or the model has no head
  std::vector<HeadIndex> heads;
  // How many parameters of the table have their gradients behind the backward of the head, of block l.
  int complete_behind_head = 0;
  std::vector<int> complete_behind_block;
};

/// Builds the table in reverse order of execution. Weight decay applies to tensors of two dimensions and to no other. (jiant
/// decides by name and so also decays lm_head.layer_norm.weight and, in XL, self_attn_layer_norm.weight.)
XlmrParameters xlmr_parameters(const XlmrConfig& config, const std::vector<HeadSpec>& heads);

/// A linear layer's memory: y = x W^T + b, W [out, in].
struct Linear {
  std::int64_t in = 0;
  std::int64_t out = 0;
  const void* weight = nullptr;
  const float* bias = nullptr;
  float* d_weight = nullptr;
  float* d_bias = nullptr;
};

struct Norm {
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* d_weight = nullptr;
  float* d_bias = nullptr;
};

/// Where parameters lie: in a store, or, for a dry run that only plans memory, at addresses nothing may touch.
class ParameterAddresses {
 public:
  explicit ParameterAddresses(ParameterStore& store) : table_(store.table()), store_(&store) {}
  explicit ParameterAddresses(const ParameterTable& planned) : table_(planned) {}

  const ParameterSpec& spec(int index) const { return table_[index]; }
  const void* working(int index) const { return store_ == nullptr ? nowhere() : store_->working(index); }
  const float* master(int index) const { return store_ == nullptr ? nowhere() : store_->master(index); }
  float* gradient(int index) const { return store_ == nullptr ? nowhere() : store_->gradient(index); }

  Linear linear(LinearIndex index) const;
  Norm norm(NormIndex index) const;

 private:
  static float* nowhere() { return reinterpret_cast<float*>(StackMemory::kAlignment); }

  const ParameterTable& table_;
  ParameterStore* store_ = nullptr;
};

}  // namespace koine
