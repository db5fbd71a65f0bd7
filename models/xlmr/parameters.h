#pragma once

// Which parameters an XLM-R or a BERT-named encoder has, what checkpoints call them, and what it costs.

#include <vector>

#include "models/config.h"
#include "models/heads/head.h"
#include "models/layers/block.h"
#include "models/layers/parameters.h"

namespace koine {

struct EncoderTable {
  ParameterTable table;
  int word = -1;
  int position = -1;
  int token_type = -1;
  NormIndex embedding_norm;  ///< post-norm only
  std::vector<BlockIndex> blocks;
  NormIndex final_norm;  ///< pre-norm only
  std::vector<HeadIndex> heads;
  // How many parameters of the table have their gradients behind the backward of the head, of block l.
  int complete_behind_head = 0;
  std::vector<int> complete_behind_block;
};

/// Builds the table in reverse order of execution. Names are those of the configuration's family.
EncoderTable encoder_table(const ModelConfig& config, const std::vector<HeadSpec>& heads);

/// As ModelFamily has them.
ParameterTable encoder_parameter_table(const ModelConfig& config, const std::vector<HeadSpec>& heads);
double encoder_forward_flops(const ModelConfig& config, const std::vector<std::int64_t>& lengths,
                             const std::vector<std::int64_t>& targets);

}  // namespace koine
