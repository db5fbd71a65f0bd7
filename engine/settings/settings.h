#pragma once

// Settings of a training run, under the names people know from transformers' TrainingArguments.

#include <cstdint>
#include <string>

#include "kernels/optimizer/master_weights.h"

namespace koine {

enum class Schedule { kLinear, kConstant, kCosine };

/// What updates the weights, and keeps what for it: engine/optimizer/update_rule.h.
enum class OptimizerKind { kAdamW, kAdafactorT5, kAdafactor, kAdamWRms, kAdamW8Bit };

struct TrainingSettings {
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  MasterKind master = MasterKind::kFloat32;  ///< mixed precision: what is kept of a weight beside its bf16
  double learning_rate = 1e-5;  ///< jiant's, as the other defaults here (nyu-mll/jiant, scripts/benchmarks/xtreme)
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0.01;
  double adafactor_clip_threshold = 1.0;   ///< RMS that an update of Adafactor is cut down to
  bool adafactor_scale_parameter = false;  ///< "adafactor": rate times the RMS of each parameter; T5's own form always does
  std::int64_t adafactor_step_offset = 0;  ///< steps that Adafactor's decay counts before the first: T5 went on at 1,000,000
  double max_grad_norm = 1.0;              ///< 0: no clipping
  Schedule lr_scheduler_type = Schedule::kLinear;
  double warmup_ratio = 0.1;  ///< of all optimizer steps; warmup_steps, where >= 0, goes before
  std::int64_t warmup_steps = -1;
  double num_train_epochs = 3;
  std::int64_t max_steps = -1;                    ///< where > 0, instead of num_train_epochs
  std::int64_t per_device_train_batch_size = 32;  ///< examples per micro-step of the recipe
  std::int64_t gradient_accumulation_steps = 1;   ///< the product of the two is the examples of an optimizer step
  /// Tokens in memory at a time; a step is cut into packed batches of at most this.
  std::int64_t max_tokens_per_batch = 4096;
  /// Parts that a step's examples are cut into, whose gradients are made alone and added up in a fixed order, so that any
  /// number of ranks gives the same bits (engine/ranks/ordered_sum.h). -1: 8, or as many as ranks, where several train
  /// together; 0: none.
  std::int64_t gradient_parts = -1;
  /// 1: ranks share out what the optimizer keeps, masters and moments (ZeRO, stage 1; engine/parameters/shards.h). 2: gradients
  /// too (engine/parameters/passing_gradients.h). 0: each has all of it. The same bits.
  std::int64_t zero = 0;
  bool overlap_communication = true;  ///< ranks tell each other gradients under backward and weights under forward
  bool recompute = false;       ///< backward runs each block's forward again instead of keeping what it made: the same bits
  std::int64_t eval_steps = 0;  ///< evaluate every so many optimizer steps; 0: only at the end
  std::int64_t eval_examples = 500;           ///< first examples of dev used while training (jiant); 0: all
  std::int64_t early_stopping_patience = 30;  ///< evaluations without improvement; 0: never stop early
  bool load_best_model_at_end = true;
  std::int64_t save_steps = 0;        ///< checkpoint every so many optimizer steps; 0: not by steps
  double save_minutes = 15;           ///< and when the last one is so long ago; 0: not by time
  std::int64_t save_total_limit = 1;  ///< older checkpoints beyond this many are deleted
  std::int64_t logging_steps = 10;
  std::int64_t restarts = 0;  ///< with another seed, where the trained model gives but one class on its validation data
  std::uint32_t seed = 1;
};

/// UserError naming the setting that is out of its range, and the range.
void check_settings(const TrainingSettings& settings);

/// The parts a step is cut into in a run of so many ranks; 0: it is not.
std::int64_t gradient_parts_of(const TrainingSettings& settings, std::int64_t ranks);

/// Rate of optimizer step `step` (from 0) of `total`, as transformers' schedules define it: warm-up k / warmup, then linear
/// to 0, constant, or half a cosine to 0. The first step of a warm-up has rate 0, as there.
double learning_rate_at(const TrainingSettings& settings, std::int64_t step, std::int64_t total);
/// Warm-up steps of `total`: warmup_steps, or ceil(warmup_ratio * total).
std::int64_t warmup_steps_of(const TrainingSettings& settings, std::int64_t total);

}  // namespace koine
