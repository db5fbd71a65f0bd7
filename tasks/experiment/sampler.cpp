#include "tasks/experiment/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "kernels/common/check.h"

namespace koine {

const std::vector<std::string>& sampler_names() {
  static const std::vector<std::string> names = {"proportional", "uniform", "temperature", "specified", "time_dependent"};
  return names;
}

void check_sampler(const SamplerSpec& sampler, std::size_t tasks,
                   const std::function<std::string(const std::string& key)>& where) {
  const auto require_entries = [&](const char* key, std::size_t entries) {
    require(entries == tasks, where(key), " has ", entries, " entries for ", tasks, " tasks");
  };
  if (!sampler.weights.empty()) require_entries("weights", sampler.weights.size());
  require(sampler.kind != "specified" || !sampler.weights.empty(), where("weights"),
          " is missing: the sampler \"specified\" draws by weights, one for each task");
  require((sampler.kind == "time_dependent") == !sampler.weight_functions.empty(), where("weight_functions"),
          " and the sampler \"time_dependent\" belong together: give both or neither");
  if (sampler.weight_functions.empty()) return;
  require_entries("weight_functions", sampler.weight_functions.size());
  require(sampler.weights.empty(), where("weights"), " and weight_functions are both given; remove one");
  for (const std::string& formula : sampler.weight_functions) {
    try {
      const TimeFunction read(formula);
    } catch (const UserError& error) {
      fail_user(where("weight_functions"), ": ", error.what());
    }
  }
}

std::vector<double> sampler_weights(const SamplerSpec& sampler, const std::vector<std::int64_t>& examples) {
  if (!sampler.weights.empty()) return sampler.weights;
  std::vector<double> weights;
  const std::int64_t cap = sampler.train_examples_cap;
  for (const std::int64_t count : examples) {
    const auto counted = static_cast<double>(cap > 0 ? std::min(count, cap) : count);
    weights.push_back(sampler.kind == "uniform"       ? 1.0
                      : sampler.kind == "temperature" ? std::pow(counted, 1.0 / sampler.temperature)
                                                      : counted);
  }
  return weights;
}

std::vector<TrainingTask> sampled_tasks(const SamplerSpec& sampler, const std::vector<std::string>& names,
                                        const std::vector<std::int64_t>& examples) {
  const std::vector<double> weights = sampler_weights(sampler, examples);
  std::vector<TrainingTask> tasks(names.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].name = names[i];
    tasks[i].weight = weights[i];
    tasks[i].examples_cap = sampler.train_examples_cap;
    if (const auto own = sampler.batch_sizes.find(names[i]); own != sampler.batch_sizes.end())
      tasks[i].batch_size = own->second;
    if (!sampler.weight_functions.empty()) tasks[i].weight_at.emplace(sampler.weight_functions[i]);
  }
  return tasks;
}

std::vector<double> expected_steps(const std::vector<TrainingTask>& tasks, std::int64_t steps) {
  const bool changes =
      std::any_of(tasks.begin(), tasks.end(), [](const TrainingTask& task) { return task.weight_at.has_value(); });
  std::vector<double> expected(tasks.size());
  for (std::int64_t step = 0; step < (changes ? steps : 1); ++step) {
    const std::vector<double> probabilities = task_probabilities(step, tasks);
    for (std::size_t i = 0; i < tasks.size(); ++i)
      expected[i] += changes ? probabilities[i] : probabilities[i] * static_cast<double>(steps);
  }
  return expected;
}

std::string probabilities_text(const std::vector<TrainingTask>& tasks, std::int64_t steps) {
  const auto percent = [](double probability) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f %%", 100 * probability);
    return std::string(text);
  };
  const std::vector<double> first = task_probabilities(0, tasks);
  const std::vector<double> last = task_probabilities(std::max<std::int64_t>(steps - 1, 0), tasks);
  std::string text;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    text += concatenate(text.empty() ? "" : ", ", tasks[i].name, " ", percent(first[i]));
    if (last[i] != first[i]) text += " to " + percent(last[i]);
  }
  return text;
}

}  // namespace koine
