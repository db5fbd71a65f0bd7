#pragma once

// How the task of an optimizer step is drawn where several are trained at once, and how many examples it brings: jiant's five samplers (nyu-mll/jiant,
// jiant/proj/main/components/task_sampler.py), n the examples of a task's training set, at most train_examples_cap:
//
//   uniform         UniformMultiTaskSampler         1
//   proportional    ProportionalMultiTaskSampler    n; with a cap jiant's configurator gives min(n, cap) to the next
//   specified       SpecifiedProbMultiTaskSampler   the weights that are given
//   temperature     TemperatureMultiTaskSampler     n^(1 / temperature)
//   time_dependent  TimeDependentProbMultiTaskSampler   a formula of each task in t, the steps before this one
//
// A task is as likely as its share of the sum.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/training/trainer.h"

namespace koine {

struct SamplerSpec {
  std::string kind = "proportional";
  double temperature = 1;
  std::int64_t train_examples_cap = 0;             ///< 0: none. It also counts in the number of steps (total_steps)
  std::vector<double> weights = {};                ///< where given, the kind is "specified" whatever it says
  std::vector<std::string> weight_functions = {};  ///< of time_dependent (engine/training/time_function.h)
  /// By task, in place of per_device_train_batch_size; also in the number of steps (total_steps).
  std::map<std::string, std::int64_t> batch_sizes = {};
};

const std::vector<std::string>& sampler_names();

/// UserErrors for lists that do not fit the kind or the number of tasks, and for formulas that cannot be read; where("key")
/// is what they call a key.
void check_sampler(const SamplerSpec& sampler, std::size_t tasks,
                   const std::function<std::string(const std::string& key)>& where);

/// The weights that do not change over the run, up to a common factor, from the sizes of the tasks' training sets.
std::vector<double> sampler_weights(const SamplerSpec& sampler, const std::vector<std::int64_t>& examples);

/// Tasks as the training loop draws them: name, weight, cap, batch; without head and data.
std::vector<TrainingTask> sampled_tasks(const SamplerSpec& sampler, const std::vector<std::string>& names,
                                        const std::vector<std::int64_t>& examples);

/// How many of `steps` steps each task is to be expected to have.
std::vector<double> expected_steps(const std::vector<TrainingTask>& tasks, std::int64_t steps);

/// "mnli 80.12 %, squad 19.88 %"; where they change: "mnli 50.00 % to 20.00 %, ...", at the first and the last of `steps`.
std::string probabilities_text(const std::vector<TrainingTask>& tasks, std::int64_t steps);

}  // namespace koine
