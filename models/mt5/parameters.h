#pragma once

// Which parameters T5's descendants have, what checkpoints call them, and what the model costs.

#include <vector>

#include "models/config.h"
#include "models/heads/head.h"
#include "models/layers/parameters.h"
#include "models/mt5/block.h"

namespace koine {

struct StackIndex {
  std::vector<T5BlockIndex> blocks;
  int final_norm = -1;
  std::vector<int> complete_behind_block;  ///< parameters of the table whose gradients are there behind block l's backward
};

struct EncoderDecoderTable {
  ParameterTable table;
  int head = -1;  ///< the output's weight: the word embedding where it is tied, or where there is no head at all
  StackIndex decoder;
  StackIndex encoder;
  int word = -1;
  int complete_behind_head = 0;
};

/// Builds the table in reverse order of execution. Without `heads` the output's weight is left out unless tied.
EncoderDecoderTable encoder_decoder_table(const ModelConfig& config, const std::vector<HeadSpec>& heads);

/// As ModelFamily has them.
ParameterTable encoder_decoder_parameter_table(const ModelConfig& config, const std::vector<HeadSpec>& heads);
double encoder_decoder_forward_flops(const ModelConfig& config, const std::vector<std::int64_t>& lengths,
                                     const std::vector<std::int64_t>& targets);

}  // namespace koine
