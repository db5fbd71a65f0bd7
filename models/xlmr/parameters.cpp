#include "models/xlmr/parameters.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {
namespace {

class TableBuilder {
 public:
  TableBuilder(const XlmrConfig& config, XlmrParameters& parameters) : config_(config), parameters_(parameters) {}

  void add_heads(const std::vector<HeadSpec>& heads) {
    for (const HeadSpec& head : heads) parameters_.heads.push_back(add_head(head));
    const auto reads_pooler = [](const HeadSpec& head) {
      return head.kind == HeadKind::kSequencePooled || head.kind == HeadKind::kChoice;
    };
    if (heads.empty() || std::any_of(heads.begin(), heads.end(), reads_pooler)) {
      parameters_.pooler = linear("roberta.pooler.dense", config_.hidden_size, config_.hidden_size, true);
    }
    parameters_.complete_behind_head = parameters_.table.size();
  }

  void add_encoder(bool word_rows_are_sparse) {
    if (config_.norm == NormPlacement::kPre) parameters_.final_norm = norm("roberta.encoder.LayerNorm", false);
    parameters_.blocks.resize(static_cast<std::size_t>(config_.num_hidden_layers));
    parameters_.complete_behind_block.resize(parameters_.blocks.size());
    for (std::int64_t layer = config_.num_hidden_layers - 1; layer >= 0; --layer) {
      parameters_.blocks[static_cast<std::size_t>(layer)] = add_block(concatenate("roberta.encoder.layer.", layer, "."));
      parameters_.complete_behind_block[static_cast<std::size_t>(layer)] = parameters_.table.size();
    }
    const std::string prefix = "roberta.embeddings.";
    if (config_.norm == NormPlacement::kPost) parameters_.embedding_norm = norm(prefix + "LayerNorm", false);
    parameters_.token_type =
        matrix(prefix + "token_type_embeddings.weight", config_.type_vocab_size, config_.hidden_size, false);
    parameters_.position =
        matrix(prefix + "position_embeddings.weight", config_.max_position_embeddings, config_.hidden_size, false);
    ParameterSpec word = matrix_spec(prefix + "word_embeddings.weight", config_.vocab_size, config_.hidden_size, false);
    word.lazy_rows = word_rows_are_sparse;
    parameters_.word = parameters_.table.add(std::move(word));
  }

 private:
  static ParameterSpec matrix_spec(std::string name, std::int64_t rows, std::int64_t width, bool head) {
    ParameterSpec spec;
    spec.name = std::move(name);
    spec.shape = {rows, width};
    spec.decay = true;
    spec.initialisation = Initialisation::kNormal;
    spec.head = head;
    return spec;
  }
  int matrix(std::string name, std::int64_t rows, std::int64_t width, bool head) {
    return parameters_.table.add(matrix_spec(std::move(name), rows, width, head));
  }
  int vector(std::string name, std::int64_t width, Initialisation initialisation, bool head, bool adjoins = false) {
    ParameterSpec spec;
    spec.name = std::move(name);
    spec.shape = {width};
    spec.initialisation = initialisation;
    spec.head = head;
    spec.adjoins_previous = adjoins;
    return parameters_.table.add(std::move(spec));
  }
  LinearIndex linear(const std::string& name, std::int64_t out, std::int64_t in, bool head) {
    LinearIndex index;
    index.weight = matrix(name + ".weight", out, in, head);
    index.bias = vector(name + ".bias", out, Initialisation::kZero, head);
    return index;
  }
  NormIndex norm(const std::string& name, bool head) {
    NormIndex index;
    index.weight = vector(name + ".weight", config_.hidden_size, Initialisation::kOne, head);
    index.bias = vector(name + ".bias", config_.hidden_size, Initialisation::kZero, head);
    return index;
  }

  BlockIndex add_block(const std::string& prefix) {
    const bool post = config_.norm == NormPlacement::kPost;
    const std::int64_t hidden = config_.hidden_size;
    BlockIndex block;
    if (post) block.output_norm = norm(prefix + "output.LayerNorm", false);
    block.output = linear(prefix + "output.dense", hidden, config_.intermediate_size, false);
    block.intermediate = linear(prefix + "intermediate.dense", config_.intermediate_size, hidden, false);
    block.middle_norm = norm(prefix + (post ? "attention.output.LayerNorm" : "LayerNorm"), false);
    block.attention_output = linear(prefix + "attention.output.dense", hidden, hidden, false);
    LinearIndex* const projections[] = {&block.query, &block.key, &block.value};
    const char* const names[] = {"query", "key", "value"};
    for (int i = 0; i < 3; ++i) {
      ParameterSpec spec = matrix_spec(prefix + "attention.self." + names[i] + ".weight", hidden, hidden, false);
      spec.adjoins_previous = i > 0;
      projections[i]->weight = parameters_.table.add(std::move(spec));
    }
    for (int i = 0; i < 3; ++i) {
      projections[i]->bias =
          vector(prefix + "attention.self." + names[i] + ".bias", hidden, Initialisation::kZero, false, i > 0);
    }
    if (!post) block.input_norm = norm(prefix + "attention.self_attn_layer_norm", false);
    return block;
  }

  HeadIndex add_head(const HeadSpec& head) {
    const std::int64_t hidden = config_.hidden_size;
    const std::string prefix = head.name.empty() ? "" : "heads." + head.name + ".";
    HeadIndex index;
    switch (head.kind) {
      case HeadKind::kMaskedLm:
        index.dense = linear("lm_head.dense", hidden, hidden, true);
        index.norm = norm("lm_head.layer_norm", true);
        index.output.bias = vector("lm_head.bias", config_.vocab_size, Initialisation::kZero, true);
        break;
      case HeadKind::kSequence:
      case HeadKind::kSequencePooled:
        index.dense = linear(prefix + "classifier.dense", hidden, hidden, true);
        index.output = linear(prefix + "classifier.out_proj", head.classes, hidden, true);
        break;
      case HeadKind::kToken:
      case HeadKind::kChoice:
        index.output = linear(prefix + "classifier", head.classes, hidden, true);
        break;
      case HeadKind::kSpan:
        index.output = linear(prefix + "qa_outputs", 2, hidden, true);
        break;
    }
    return index;
  }

  const XlmrConfig& config_;
  XlmrParameters& parameters_;
};

}  // namespace

XlmrParameters xlmr_parameters(const XlmrConfig& config, const std::vector<HeadSpec>& heads) {
  XlmrParameters parameters;
  const bool tied =
      std::any_of(heads.begin(), heads.end(), [](const HeadSpec& head) { return head.kind == HeadKind::kMaskedLm; });
  TableBuilder builder(config, parameters);
  builder.add_heads(heads);
  builder.add_encoder(!tied);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (heads[i].kind == HeadKind::kMaskedLm) parameters.heads[i].output.weight = parameters.word;
  }
  return parameters;
}

Linear ParameterAddresses::linear(LinearIndex index) const {
  Linear linear;
  linear.out = spec(index.weight).rows();
  linear.in = spec(index.weight).width();
  linear.weight = working(index.weight);
  linear.bias = master(index.bias);
  linear.d_weight = gradient(index.weight);
  linear.d_bias = gradient(index.bias);
  return linear;
}

Norm ParameterAddresses::norm(NormIndex index) const {
  return {master(index.weight), master(index.bias), gradient(index.weight), gradient(index.bias)};
}

}  // namespace koine
