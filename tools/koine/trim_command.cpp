// koine trim-vocabulary

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <optional>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/vocabulary.h"
#include "tasks/experiment/device_kinds.h"
#include "tasks/experiment/plan.h"
#include "tasks/languages/language_facts.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

/// What standard input held, in a file, for it is read twice; gone with this.
class SpooledInput {
 public:
  SpooledInput() {
    std::string name = (fs::temp_directory_path() / "koine-trim-XXXXXX").string();
    const int descriptor = mkstemp(name.data());
    require(descriptor >= 0, name, ": cannot be made");
    close(descriptor);
    path_ = name;
    std::ofstream file(path_, std::ios::binary);
    if (std::cin.peek() != std::istream::traits_type::eof()) file << std::cin.rdbuf();
    require(static_cast<bool>(file.flush()), name, ": cannot be written");
  }
  ~SpooledInput() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  SpooledInput(const SpooledInput&) = delete;
  SpooledInput& operator=(const SpooledInput&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

struct TrimArguments {
  std::string model;
  std::string output;
  std::vector<std::string> texts;
  std::string data;
  std::string tasks;
  std::string languages;
};

/// A text's ids with its place, for messages; ids of one example of a data set, its special tokens among them.
using UseIds = std::function<void(const std::vector<std::int32_t>& ids, const std::string& where)>;

/// Longer than any example: nothing is cut, so that the vocabulary is of the whole texts.
constexpr std::int64_t kUncut = 1 << 24;

void for_each_text(const TrimArguments& arguments, const Tokenizer& tokenizer, const UseIds& use) {
  for (const std::string& file : arguments.texts) {
    for_each_line(
        file, [&](std::string_view text, std::int64_t line) { use(tokenizer.encode(text), concatenate(file, ":", line)); });
  }
  for (const std::string& name : split_commas(arguments.tasks)) {
    const Task& task = task_named(name, "--tasks");
    for (const std::string& split : task.splits()) {
      const std::vector<std::string> there = task.available_languages(arguments.data, split);
      std::vector<std::string> wanted = split_commas(arguments.languages);
      if (!there.empty()) wanted = expand_languages(wanted, there, "--languages");
      for (const std::string& language : there) {
        if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), language) == wanted.end()) continue;
        FeatureOptions options;
        options.max_seq_length = kUncut;
        options.max_query_length = kUncut / 2;
        const auto data = task.load(arguments.data, split, language, tokenizer, options);
        for (const Example& example : data->dataset().examples)
          use(example.ids, concatenate(data->dataset().name, ", example ", example.number));
      }
    }
  }
}

/// Every text again, by the new tokenizer: UserError with its place where its pieces are others.
void require_same_pieces(const TrimArguments& arguments, const Tokenizer& before, const TrimmedVocabulary& trimmed) {
  const Tokenizer after = load_tokenizer(read_model_config(arguments.output), arguments.output);
  check(after.vocabulary_size() == std::ssize(trimmed.old_ids), "the trimmed tokenizer has ", after.vocabulary_size(),
        " ids, the embedding table ", trimmed.old_ids.size(), " rows");
  std::vector<std::string> whole;  // a text's ids as a fingerprint: the texts may be large
  const auto fingerprint = [](const std::vector<std::int32_t>& ids) {
    return xxh3_hex({reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(std::int32_t)});
  };
  for_each_text(arguments, before,
                [&](const std::vector<std::int32_t>& ids, const std::string&) { whole.push_back(fingerprint(ids)); });
  std::size_t next = 0;
  for_each_text(arguments, after, [&](const std::vector<std::int32_t>& ids, const std::string& where) {
    std::vector<std::int32_t> old;
    for (const std::int32_t id : ids) old.push_back(trimmed.old_ids[static_cast<std::size_t>(id)]);
    require(next < whole.size() && fingerprint(old) == whole[next], where,
            ": the trimmed vocabulary segments this text in another way");
    ++next;
  });
  require(next == whole.size(), arguments.output, ": the trimmed vocabulary gives ", next, " examples of ", whole.size());
}

int trim(TrimArguments arguments) {
  require(!arguments.texts.empty() || !arguments.tasks.empty(),
          "trim-vocabulary needs what the vocabulary is for: --text files, or --tasks with --data");
  require(arguments.tasks.empty() || !arguments.data.empty(), "--tasks needs --data, the folder of the data sets");
  require(!fs::exists(fs::path(arguments.output) / "config.json"), arguments.output,
          " already holds a model; choose another folder");
  const ModelConfig config = read_model_config(arguments.model);
  const Tokenizer tokenizer = load_tokenizer(config, arguments.model);
  std::optional<SpooledInput> spooled;
  for (std::string& text : arguments.texts) {
    if (text != "-") continue;
    require(!spooled.has_value(), "--text - stands there twice");
    text = spooled.emplace().path().string();
  }
  std::vector<bool> used(static_cast<std::size_t>(tokenizer.vocabulary_size()), false);
  std::int64_t texts = 0;
  for_each_text(arguments, tokenizer, [&](const std::vector<std::int32_t>& ids, const std::string&) {
    ++texts;
    for (const std::int32_t id : ids) used[static_cast<std::size_t>(id)] = true;
  });
  require(texts > 0, "there is no text of these tasks and languages below ", arguments.data);
  const TrimmedVocabulary trimmed = trim_vocabulary(arguments.model, arguments.output, used);
  require_same_pieces(arguments, tokenizer, trimmed);
  const auto megabytes = [](const fs::path& folder) {
    return format_bytes(static_cast<double>(fs::file_size(folder / "model.safetensors")));
  };
  print(concatenate(format_count(std::ssize(trimmed.old_ids)), " of ", format_count(trimmed.rows_before), " rows kept for ",
                    format_count(texts), " texts, which are segmented as before\n", megabytes(arguments.output), " of ",
                    megabytes(arguments.model), " in ", arguments.output, "\n"));
  return 0;
}

}  // namespace

void add_trim_command(CommandLine& line) {
  auto arguments = std::make_shared<TrimArguments>();
  CLI::App* app = line.add("trim-vocabulary", "A model with only the words that given texts have", [&line, arguments] {
    apply(line.common);
    return trim(*arguments);
  });
  app->add_option("--model", arguments->model, "transformers directory with its tokenizer")->required();
  app->add_option("--output", arguments->output, "folder for the smaller model")->required();
  app->add_option("--text", arguments->texts, "text files whose words stay; -: standard input");
  app->add_option("--data", arguments->data, "folder of the data sets");
  app->add_option("--tasks", arguments->tasks, "comma-separated: tasks all of whose data keep their words");
  app->add_option("--languages", arguments->languages, "comma-separated: of their languages; default: all that are there");
}

}  // namespace koine
