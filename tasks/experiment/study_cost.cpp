#include "tasks/experiment/study_cost.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <queue>

#include "engine/batch/span_corruption.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/experiment/plan.h"
#include "tasks/experiment/sampler.h"
#include "tasks/files/official_counts.h"
#include "tasks/languages/language_facts.h"

namespace koine {
namespace {

/// Tokens of examples. `rows`: sequences that an example is (the choices of a question).
///
/// Measured with XLM-R's tokenizer and koine's framing on samples: mnli 8,343 rows, snli 8,339, anli+ 18,520 (of which ANLI 1,838),
/// squad 1,120 questions, squad2 2,439, hellaswag 350, cosmosqa 1,999, commonsenseqa 8,541, copa 400, tydiqa 3,575 and 1,262, udpos (EWT) 2,785
/// and 2,330, tests of xnli 22,800 rows in 5 languages, pawsx 5,100 in 3, xquad 12,612 in 12, xcopa 3,300 in 11, lareqa 1,683,
/// tatoeba 31,692 pairs, squad_sentences 1,120. qqp, ccg, panx, pawsx's training and mlqa's tests are estimates: like their nearest of kin.
struct ExampleTokens {
  std::string_view task;
  int rows;
  double training;  ///< 0: not known, here and below
  double test;
};
constexpr ExampleTokens kTokens[] = {
    {"mnli", 1, 45.4, 0},           {"snli", 1, 30.2, 0},
    {"anli+", 1, 43.9, 0},          {"qqp", 1, 33, 0},
    {"squad", 1, 266.8, 0},         {"squad2", 1, 259.8, 0},
    {"hellaswag", 4, 390.5, 0},     {"cosmosqa", 4, 469.0, 0},
    {"commonsenseqa", 5, 113.6, 0}, {"ccg", 1, 34, 0},
    {"copa", 2, 50.9, 0},           {"pawsx", 1, 64.8, 64.8},
    {"udpos", 1, 21.5, 32.4},       {"panx", 1, 21.5, 21.5},
    {"tydiqa", 1, 174.1, 182.8},    {"xnli", 1, 0, 45.8},
    {"xquad", 1, 0, 258.0},         {"mlqa", 1, 0, 258.0},
    {"xcopa", 2, 0, 54.8},          {"tatoeba", 2, 0, 22.3},
    {"lareqa", 1, 0, 162.9},        {"squad_sentences", 1, 223.9, 0},
    {"mexa", 2, 0, 22.3},
};

/// The same of tasks as texts: tokens of an example's source and of its target, ends included, which XLM-R's tokenizer (as large as
/// mT5's, of text like its) makes of their text forms in samples: xnli 22,800 rows, anli 1,838, pawsx 10,200, squad 1,685 questions,
/// squad2 3,565, xquad 12,612, tydiqa 4,837, hellaswag 400, cosmosqa 2,383, commonsenseqa 9,262, copa 500, udpos (EWT) 2,785, names of
/// panx 943 (generated sentences); of more than 3,000 a random 3,000. mnli, snli and anli+ are the encoders' rows with what xnli's form
/// has more, 7.3; qqp and mlqa are like their nearest of kin, sentences of panx like udpos'. Evaluation sets are taken to be like these.
struct TextTokens {
  std::string_view task;
  double source;
  double target;
};
constexpr TextTokens kTextTokens[] = {
    {"mnli", 52.7, 2},     {"snli", 37.5, 2},        {"anli+", 51.2, 2},     {"xnli", 53.1, 2},
    {"qqp", 37, 4.6},      {"pawsx", 68.8, 4.6},     {"squad", 240.2, 6.5},  {"squad2", 238, 5.7},
    {"xquad", 244.5, 6.7}, {"mlqa", 244.5, 6.7},     {"tydiqa", 178.2, 8.3}, {"panx", 23.5, 10.4},
    {"udpos", 23.5, 33.2}, {"hellaswag", 217.6, 37}, {"cosmosqa", 165, 13},  {"commonsenseqa", 47.1, 3.1},
    {"copa", 37.9, 8.4},   {"xcopa", 37.9, 8.4},
};

/// Training sets besides those of official_counts.h: CCG as arXiv 2005.13013 counts it, COPA as SuperGLUE
/// (arXiv 1905.00537) splits it, SQuAD's questions by their sentences.
std::optional<std::int64_t> training_examples(const std::string& task) {
  if (task == "ccg") return 38'015;
  if (task == "copa") return 400;
  if (task == "squad_sentences") return official_count("squad", "train", "en");
  return official_count(task, "train", "en");
}

const TextTokens* text_tokens_row(const std::string& task) {
  for (const TextTokens& row : kTextTokens) {
    if (row.task == task) return &row;
  }
  return nullptr;
}

const ExampleTokens* tokens_row(const std::string& task) {
  for (const ExampleTokens& row : kTokens) {
    if (row.task == task) return &row;
  }
  return nullptr;
}

/// FLOPs at a length that is no whole number, around which they are nearly a straight line.
template <class FlopsAt>
double flops_between(double length, const FlopsAt& flops_at) {
  const double low = std::floor(length);
  const auto whole = static_cast<std::int64_t>(low);
  return flops_at(whole) + (length - low) * (flops_at(whole + 1) - flops_at(whole));
}

/// The same as official_pass() of a task as text.
std::optional<TrainingPass> official_text_pass(const ModelConfig& config, const Task& task, double examples,
                                               std::int64_t longest) {
  const TextTokens* tokens = text_tokens_row(task.name());
  if (tokens == nullptr) return std::nullopt;
  const double source = std::min(tokens->source, static_cast<double>(longest));
  const HeadSpec head{"", task.head(), task.classes(config.vocab_size)};
  const double flops = flops_between(source, [&](std::int64_t length) {
    return flops_between(tokens->target,
                         [&](std::int64_t target) { return model_forward_flops(config, &head, {length}, target); });
  });
  return TrainingPass{.groups = examples, .tokens = examples * (source + tokens->target), .flops = examples * flops};
}

/// A pass over `examples` of a task; nothing where their lengths are not known.
std::optional<TrainingPass> official_pass(const ModelConfig& config, const Task& task, double examples, bool training,
                                          std::int64_t longest) {
  if (task.is_text_form()) return official_text_pass(config, task, examples, longest);
  const std::optional<double> tokens = measured_tokens(task.name(), training);
  if (!tokens.has_value()) return std::nullopt;
  const int rows = tokens_row(task.name())->rows;
  const double length = std::min(*tokens / rows, static_cast<double>(longest));
  const HeadSpec head{"", task.head(), task.classes(config.vocab_size)};
  const bool vectors = facts_of(task.head()).in_batch || task.train_task().empty();
  const double flops = flops_between(length, [&](std::int64_t tokens_of_row) {
    return model_forward_flops(config, vectors ? nullptr : &head, {tokens_of_row},
                               task.head() == HeadKind::kToken ? tokens_of_row : 1);
  });
  return TrainingPass{.groups = examples, .tokens = examples * rows * length, .flops = examples * rows * flops};
}

/// The same of masked text: sequences of the longest length, of which the examples cap says how many. With spans taken out their
/// source is as long, and the target what is missing.
TrainingPass text_pass(const ModelConfig& config, const Task& task, double examples, std::int64_t longest,
                       double mlm_probability) {
  if (task.is_text_form()) {
    SpanCorruption spans;
    spans.density = mlm_probability;
    const SpanCounts counts = span_counts(longest_text(longest, spans), spans);
    const std::int64_t target = counts.noise + counts.spans + 1;
    const HeadSpec head{"", task.head(), task.classes(config.vocab_size)};
    return {examples, examples * static_cast<double>(longest + target),
            examples * model_forward_flops(config, &head, {longest}, target)};
  }
  const HeadSpec head{"", HeadKind::kMaskedLm, static_cast<std::int32_t>(config.vocab_size)};
  const auto counted = static_cast<std::int64_t>(mlm_probability * static_cast<double>(longest));
  return {examples, examples * static_cast<double>(longest),
          examples * model_forward_flops(config, &head, {longest}, counted)};
}

/// Of MEXA the first 100 of Tatoeba's pairs, as many as its authors take; every language has more.
double tested_examples(const Task& task, const std::string& split, const std::string& language) {
  if (task.name() == "mexa") return 100;
  return static_cast<double>(official_count(task.name(), split, language).value_or(0));
}

class StudyEstimator {
 public:
  StudyEstimator(const Experiment& experiment, const std::string& size) : experiment_(experiment) {
    cost_.model_size = size;
    try {
      config_ = published_model_config(size);
      const bool texts = config_.encoder_decoder.decoder_layers > 0;
      const auto rows = static_cast<std::int32_t>(config_.vocab_size);
      table_ = model_parameter_table(
          config_, {texts ? HeadSpec{"", HeadKind::kTextToText, rows} : HeadSpec{"", HeadKind::kSequence, 3}});
    } catch (const UserError& error) {
      cost_.unknown_model = error.what();
    }
  }

  /// `translating`: with what translating the training sets takes among what is left out.
  StudyCost estimate(bool translating) {
    if (!cost_.unknown_model.empty()) return std::move(cost_);
    cost_.parameters = static_cast<double>(table_.parameters());
    // bf16 weights, fp32 master weights, gradients, two moments.
    cost_.state_bytes = static_cast<double>(table_.elements()) * (2 + 4 + 4 + 8);
    for (const IntermediateSpec& arm : experiment_.intermediate) add_arm(arm);
    if (translating) leave_out_translating();
    return std::move(cost_);
  }

 private:
  /// Translations are made once for all arms, seeds and models; their tokens are counted as this model's.
  void leave_out_translating() {
    double tokens = 0;
    for (const auto& [task, translated] : translated_) tokens += translated;
    const double flops = tokens * experiment_.study->translation.flops_per_token;
    if (tokens == 0) return;
    leave_out(concatenate("translating ", std::llround(tokens * 1e-6), " million tokens, once",
                          flops > 0 ? concatenate(" (", std::round(flops * 1e-16) / 100, " EFLOP)") : ""));
  }

  void leave_out(const std::string& what) {
    if (std::find(cost_.left_out.begin(), cost_.left_out.end(), what) == cost_.left_out.end())
      cost_.left_out.push_back(what);
  }

  std::int64_t longest(std::int64_t wanted, const Task& task) const {
    return wanted > 0 ? wanted : std::min(task.max_seq_length(), config_.maximum_length());
  }

  /// FLOPs of a training; 0 where one of its tasks is not known.
  PhaseEstimate training(const std::string& label, const std::vector<std::string>& tasks, const IntermediateSpec* arm,
                         const FeatureOptions& features, const TrainingSettings& settings) {
    PhaseEstimate phase;
    phase.label = label;
    phase.training = true;
    std::vector<TrainingPass> passes;
    std::vector<std::int64_t> examples;
    const SamplerSpec sampler = arm == nullptr ? SamplerSpec() : arm->sampler;
    for (const std::string& name : tasks) {
      const Task& task = task_for(config_, find_task(name));
      const bool text = task.is_language_modelling();
      std::optional<TrainingPass> pass;
      const auto official = training_examples(name);
      if (text && sampler.train_examples_cap > 0) {
        pass = text_pass(config_, task, static_cast<double>(sampler.train_examples_cap),
                         longest(features.max_seq_length, task), arm->mlm_probability);
      } else if (official.has_value()) {
        auto count = static_cast<double>(*official);
        if (features.max_examples > 0) count = std::min(count, static_cast<double>(features.max_examples));
        // Translations are as many examples in every language, taken to be as long.
        const auto languages = static_cast<double>(arm == nullptr ? 1 : languages_of(*arm, name));
        if (arm != nullptr && !arm->equal_tokens) count *= languages;
        pass = official_pass(config_, task, count, true, longest(features.max_seq_length, task));
        if (pass.has_value() && task.languages().size() == 1)
          translated_[name] = std::max(translated_[name], pass->tokens * (languages - 1) / languages);
      }
      if (!pass.has_value()) {
        phase.missing = concatenate(label, ": the size of ", name, " is not known");
        leave_out(phase.missing);
        return phase;
      }
      passes.push_back(*pass);
      examples.push_back(static_cast<std::int64_t>(pass->groups));
    }
    add_training(phase, passes, sampled_tasks(sampler, tasks, examples), settings);
    return phase;
  }

  static std::size_t languages_of(const IntermediateSpec& arm, const std::string& task) {
    const auto own = arm.task_languages.find(task);
    const std::vector<std::string>& wanted = own == arm.task_languages.end() ? arm.languages : own->second;
    return expand_languages(wanted, find_task("mlm").languages(), arm.name).size();
  }

  PhaseEstimate evaluation(const TargetSpec& target) {
    PhaseEstimate phase;
    phase.label = "evaluate " + target.name;
    const Task& task = task_for(config_, find_task(target.task));
    const std::vector<std::string> languages =
        target.languages.empty() ? task.languages() : expand_languages(target.languages, task.languages(), target.name);
    double examples = 0;
    for (const std::string& language : languages) examples += tested_examples(task, target.split, language);
    const auto pass = official_pass(config_, task, examples, false, longest(target.features.max_seq_length, task));
    if (!pass.has_value() || examples == 0) {
      phase.missing = concatenate("evaluation of ", target.name);
      leave_out(phase.missing);
      return phase;
    }
    phase.tokens = pass->tokens;
    phase.flops = pass->flops;
    return phase;
  }

  void add(const PhaseEstimate& phase, std::int64_t runs) {
    const auto same = std::find_if(cost_.phases.begin(), cost_.phases.end(),
                                   [&](const PhaseEstimate& other) { return other.label == phase.label; });
    if (same == cost_.phases.end()) {
      cost_.phases.push_back(phase);
      cost_.phases.back().runs = runs;
    } else {
      same->runs += runs;
    }
    cost_.flops += static_cast<double>(runs) * phase.flops;
    cost_.tokens += static_cast<double>(runs) * phase.tokens;
  }

  void add_arm(const IntermediateSpec& arm) {
    const auto seeds = static_cast<std::int64_t>(experiment_.seeds.size());
    StudyCost::Chain chain;
    if (!arm.tasks.empty()) {
      const PhaseEstimate phase = training("intermediate " + arm.name, arm.tasks, &arm, arm.features, arm.settings);
      add(phase, seeds);
      chain.intermediate = phase.flops;
    }
    for (const TargetSpec& target : experiment_.targets) {
      double flops = 0;
      if (!target.train_task.empty()) {
        const PhaseEstimate phase =
            training("target " + target.name, {target.train_task}, nullptr, target.features, target.settings);
        add(phase, seeds);
        flops += phase.flops;
      }
      const PhaseEstimate tested = evaluation(target);
      add(tested, seeds);
      chain.targets.push_back(flops + tested.flops);
    }
    for (std::int64_t seed = 0; seed < seeds; ++seed) cost_.chains.push_back(chain);
  }

  const Experiment& experiment_;
  ModelConfig config_;
  ParameterTable table_;
  std::map<std::string, double> translated_;  ///< tokens by task, of the arm that has the most
  StudyCost cost_;
};

}  // namespace

std::optional<double> measured_tokens(const std::string& task, bool training) {
  const ExampleTokens* row = tokens_row(task);
  if (row == nullptr) return std::nullopt;
  const double tokens = training ? row->training : row->test;
  return tokens > 0 ? std::optional<double>(tokens) : std::nullopt;
}

std::vector<StudyCost> study_costs(const Experiment& experiment) {
  require(experiment.study.has_value() && !experiment.study->model_sizes.empty(), experiment.file.string(),
          ": there is no [study] that names model_sizes; of other experiments one at a time is estimated, with its data");
  std::vector<StudyCost> costs;
  for (const std::string& size : experiment.study->model_sizes)
    costs.push_back(StudyEstimator(experiment, size).estimate(/*translating=*/costs.empty()));
  return costs;
}

double schedule_seconds(const std::vector<StudyCost::Chain>& chains, std::int64_t devices, double rate) {
  check(devices > 0 && rate > 0, "a schedule needs a device that works");
  struct Job {
    double ready;
    double flops;
  };
  std::priority_queue<double, std::vector<double>, std::greater<>> free;
  for (std::int64_t device = 0; device < devices; ++device) free.push(0);
  const auto place = [&](const Job& job) {
    const double begin = std::max(free.top(), job.ready);
    free.pop();
    free.push(begin + job.flops);
    return begin + job.flops;
  };
  std::vector<const StudyCost::Chain*> order;
  for (const StudyCost::Chain& chain : chains) order.push_back(&chain);
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return a->intermediate > b->intermediate; });
  std::vector<Job> targets;
  double last = 0;
  for (const StudyCost::Chain* chain : order) {
    const double ready = chain->intermediate > 0 ? place({0, chain->intermediate}) : 0;
    last = std::max(last, ready);
    for (const double flops : chain->targets) targets.push_back({ready, flops});
  }
  std::stable_sort(targets.begin(), targets.end(),
                   [](const Job& a, const Job& b) { return a.ready != b.ready ? a.ready < b.ready : a.flops > b.flops; });
  for (const Job& job : targets) last = std::max(last, place(job));
  return last / rate;
}

}  // namespace koine
