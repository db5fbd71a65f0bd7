#include "tasks/experiment/phase_data.h"

#include <algorithm>

#include "kernels/common/check.h"
#include "tasks/experiment/equal_tokens.h"
#include "tasks/families/text.h"
#include "tasks/formats/labels.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

/// What a data set is kept under: everything that decides its examples.
std::string key_of(const Task& task, const std::string& split, const std::string& languages,
                   const FeatureOptions& features) {
  return concatenate(task.name(), " ", split, " ", languages, " ", features_key(features));
}

/// The same of a training set of several languages and files.
std::string merged_key(const TrainedTask& trained) {
  return concatenate(key_of(*trained.task, "train", join_names(trained.languages), trained.features), " + ",
                     join_names(trained.files), " = ", trained.equal_tokens_to);
}

void append(Dataset& all, const Dataset& more) {
  if (all.examples.empty()) {
    const std::string name = all.name;
    all = more;
    all.name = name;
  } else {
    all.examples.insert(all.examples.end(), more.examples.begin(), more.examples.end());
  }
}

}  // namespace

const TaskData& PhaseData::load(const Task& task, const std::string& split, const std::string& language,
                                const FeatureOptions& features) {
  std::unique_ptr<TaskData>& entry = loaded_[key_of(task, split, language, features)];
  if (entry != nullptr) return *entry;
  entry = split == "train" && cache_ != nullptr ? cache_->load(task, data_, language, tokenizer_, features)
                                                : task.load(data_, split, language, tokenizer_, features);
  return *entry;
}

std::vector<PhaseTask> PhaseData::tasks(const std::vector<TrainedTask>& trained, const std::string& source_language,
                                        std::int64_t dev_examples) {
  std::vector<PhaseTask> tasks;
  for (const TrainedTask& one : trained) {
    PhaseTask task;
    task.name = one.task->name();
    task.head = one.head;
    task.train = &training_set(one);
    task.left_out = left_out(one);
    task.truncation = truncation(one);
    task.dev = dev_set(one, source_language, dev_examples);
    task.mlm_probability = one.mlm_probability;
    task.translated_tokens = translated_tokens(one, source_language);
    if (!one.equal_tokens_to.empty())
      task.tokens_of_source = tokens_of(load(*one.task, "train", one.equal_tokens_to, one.features).dataset());
    tasks.push_back(task);
  }
  return tasks;
}

std::int64_t PhaseData::translated_tokens(const TrainedTask& trained, const std::string& source_language) {
  // A task in one language has others by translation alone; text is nobody's translation.
  const std::vector<std::string>& languages = trained.languages;
  if (trained.task->languages().size() > 1 || trained.task->is_language_modelling()) return 0;
  std::int64_t tokens = 0;
  for (const std::string& language : languages) {
    if (language == source_language) continue;
    const std::int64_t there = tokens_of(load(*trained.task, "train", language, trained.features).dataset());
    // Of equal tokens every language has its share, but one with fewer than that.
    const bool all = trained.equal_tokens_to.empty();
    tokens += all ? there : std::min(there, tokens_of(training_set(trained)) / std::ssize(languages));
  }
  return tokens;
}

const Dataset& PhaseData::training_set(const TrainedTask& trained) {
  const Task& task = *trained.task;
  const std::string& equal_to = trained.equal_tokens_to;
  if (trained.files.empty() && trained.languages.size() == 1 && equal_to.empty()) {
    return load(task, "train", trained.languages.front(), trained.features).dataset();
  }
  const std::string names = join_names(trained.languages);
  const std::string key = merged_key(trained);
  std::unique_ptr<Dataset>& entry = merged_[key];
  if (entry != nullptr) return *entry;
  if (!equal_to.empty()) {
    std::vector<const Dataset*> sets;
    for (const std::string& language : trained.languages)
      sets.push_back(&load(task, "train", language, trained.features).dataset());
    const std::int64_t budget = tokens_of(load(task, "train", equal_to, trained.features).dataset());
    entry = std::make_unique<Dataset>(take_equal_tokens(sets, budget));
    entry->name = concatenate(task.name(), " train ", names, " (tokens of ", equal_to, ")");
    return *entry;
  }
  auto all = std::make_unique<Dataset>();
  all->name = trained.languages.empty() ? "text" : concatenate(task.name(), " train ", join_names(trained.languages));
  for (const std::string& language : trained.languages) {
    append(*all, load(task, "train", language, trained.features).dataset());
  }
  if (!trained.files.empty()) {
    std::vector<fs::path> paths;
    for (const std::string& file : trained.files) paths.push_back(data_ / file);
    const bool spans = task.is_text_form();
    const std::int64_t longest =
        spans ? length_before_corruption(tokenizer_, trained.features) : trained.features.max_seq_length;
    Dataset text = read_plain_text(paths, tokenizer_, longest, cut_files_[key], trained.features.pack_lines);
    if (spans) corrupt_dataset(text, tokenizer_, trained.features);
    append(*all, text);
  }
  for (std::size_t i = 0; i < all->examples.size(); ++i) all->examples[i].number = static_cast<std::uint32_t>(i);
  entry = std::move(all);
  return *entry;
}

LeftOut PhaseData::left_out(const TrainedTask& trained) {
  LeftOut all;
  for (const std::string& language : trained.languages) {
    const LeftOut part = load(*trained.task, "train", language, trained.features).left_out();
    all = {all.count + part.count, all.total + part.total, part.what};
  }
  return all;
}

Truncation PhaseData::truncation(const TrainedTask& trained) {
  training_set(trained);  // files are read there
  Truncation all = cut_files_[merged_key(trained)];
  for (const std::string& language : trained.languages)
    all.append(load(*trained.task, "train", language, trained.features).truncation());
  return all;
}

const TaskData* PhaseData::dev_set(const TrainedTask& trained, const std::string& language, std::int64_t examples) {
  if (!trained.has_dev) return nullptr;
  FeatureOptions features = trained.features;
  features.max_examples = examples;
  return &load(*trained.task, "dev", language, features);
}

}  // namespace koine
