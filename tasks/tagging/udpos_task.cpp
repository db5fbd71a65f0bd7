#include "tasks/tagging/udpos_task.h"

#include <algorithm>
#include <array>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/described_task.h"
#include "tasks/common/prediction.h"
#include "tasks/formats/conllu.h"
#include "tasks/formats/tagged.h"
#include "tasks/scorers/tagging_f1.h"
#include "tasks/tagging/tagging_features.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

/// Folders with UD_<Language>-<Name>/<lg>_<name>-ud-<split>.conllu below; the first that is there counts.
constexpr std::array<std::string_view, 3> kTreebankFolders = {"udpos/ud-treebanks-v2.5", "ud-treebanks-v2.5", "udpos"};

constexpr std::array kXtremeFiles = {
    FileCandidate{"train", "udpos/train-{lg}.tsv", FileLayout::kXtreme},
    FileCandidate{"dev", "udpos/dev-{lg}.tsv", FileLayout::kXtreme},
    FileCandidate{"test", "udpos/test-{lg}.tsv", FileLayout::kXtreme},
};

const std::vector<std::string>& udpos_languages() {
  static const std::vector<std::string> languages = {"en", "af", "ar", "bg", "de", "el", "es", "et", "eu", "fa", "fi",
                                                     "fr", "he", "hi", "hu", "id", "it", "ja", "kk", "ko", "mr", "nl",
                                                     "pt", "ru", "ta", "te", "th", "tl", "tr", "ur", "vi", "yo", "zh"};
  return languages;
}

struct Treebank {
  std::string language;
  fs::path path;
};

/// All treebank files of a split, in the order XTREME merges them: by file name.
std::vector<Treebank> treebanks(const fs::path& data, const std::string& split) {
  std::vector<Treebank> found;
  const std::string ending = concatenate("-ud-", split, ".conllu");
  for (const std::string_view folder : kTreebankFolders) {
    std::error_code ignored;
    for (const fs::directory_entry& treebank : fs::directory_iterator(data / folder, ignored)) {
      if (!treebank.path().filename().string().starts_with("UD_")) continue;
      for (const fs::directory_entry& file : fs::directory_iterator(treebank.path(), ignored)) {
        const std::string name = file.path().filename().string();
        const std::size_t code = name.find('_');
        if (name.ends_with(ending) && code != std::string::npos) found.push_back({name.substr(0, code), file.path()});
      }
    }
    if (!found.empty()) break;
  }
  std::sort(found.begin(), found.end(),
            [](const Treebank& a, const Treebank& b) { return a.path.filename() < b.path.filename(); });
  return found;
}

std::vector<fs::path> treebanks_of(const fs::path& data, const std::string& split, const std::string& language) {
  std::vector<fs::path> paths;
  for (const Treebank& treebank : treebanks(data, split)) {
    if (treebank.language == language) paths.push_back(treebank.path);
  }
  return paths;
}

TaggedFile read_treebanks(const std::vector<fs::path>& paths, const std::string& language) {
  TaggedFile file;
  for (const fs::path& path : paths) {
    std::vector<TaggedSentence> sentences = read_conllu(path, language);
    std::move(sentences.begin(), sentences.end(), std::back_inserter(file.sentences));
  }
  return file;
}

TagSequences names_of(const std::vector<TaggedSentence>& sentences) {
  TagSequences names;
  for (const TaggedSentence& sentence : sentences) {
    names.emplace_back();
    for (const TaggedWord& word : sentence)
      names.back().push_back(universal_parts_of_speech()[static_cast<std::size_t>(word.tag)]);
  }
  return names;
}

Evaluation tagging_evaluation(const TagSequences& gold, const TagSequences& predictions) {
  const TaggingScore score = tagging_score(gold, predictions);
  Evaluation result;
  result.metric = "f1";
  result.value = score.f1;
  result.metrics = {
      {"f1", score.f1}, {"precision", score.precision}, {"recall", score.recall}, {"accuracy", score.accuracy}};
  result.examples = static_cast<std::int64_t>(gold.size());
  return result;
}

void require_tags(const TaggedFile& file) {
  require(file.labelled, file.unlabelled_file,
          ": has no tags (XTREME keeps those of its test files hidden), so it cannot be scored; give the treebanks "
          "(ud-treebanks-v2.5)");
}

class TaggingData : public TaskData {
 public:
  TaggingData(TaggedFile file, TaggingFeatures features, Dataset dataset, std::string prediction_file)
      : file_(std::move(file)),
        features_(std::move(features)),
        dataset_(std::move(dataset)),
        prediction_file_(std::move(prediction_file)) {}

  const Dataset& dataset() const override { return dataset_; }

  Evaluation evaluate(Model& model, const EvaluationOptions& options) const override {
    require_tags(file_);
    const Predictions predictions = predict_all(model, dataset_, options);
    const TagSequences tags = join_rows(predictions);
    Evaluation result = tagging_evaluation(names_of(file_.sentences), tags);
    result.tokens = predictions.counts.tokens;
    result.seconds = predictions.counts.seconds;
    if (options.want_predictions) {
      result.prediction_file = prediction_file_;
      for (const std::vector<std::string>& sentence : tags) {
        for (const std::string& tag : sentence) result.prediction_content += tag + "\n";
        result.prediction_content += "\n";
      }
    }
    return result;
  }

 private:
  /// Each sentence's predicted tags, from its rows in turn.
  TagSequences join_rows(const Predictions& predictions) const {
    TagSequences tags(file_.sentences.size());
    for (std::size_t i = 0; i < features_.rows.size(); ++i) {
      const TaggedRow& row = features_.rows[i];
      for (const std::int32_t position : row.positions) {
        const float* logits = predictions.logits[i].data() + static_cast<std::ptrdiff_t>(position) * dataset_.classes;
        tags[row.sentence].push_back(
            universal_parts_of_speech()[static_cast<std::size_t>(index_of_largest(logits, dataset_.classes))]);
      }
    }
    return tags;
  }

  TaggedFile file_;
  TaggingFeatures features_;
  Dataset dataset_;
  std::string prediction_file_;
};

class UdposTask : public DescribedTask {
 public:
  using DescribedTask::DescribedTask;

  std::vector<std::string> available_languages(const fs::path& data, const std::string& split) const override {
    std::set<std::string> languages = languages_with_files(data, kXtremeFiles, split);
    for (const Treebank& treebank : treebanks(data, split)) languages.insert(treebank.language);
    return in_official_order(languages, description().languages);
  }

  std::unique_ptr<TaskData> load(const fs::path& data, const std::string& split, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) const override {
    TaggedFile file = read(data, split, language);
    keep_first(file.sentences, options.max_examples);
    TaggingFeatures features = make_tagging_features(file.sentences, tokenizer, max_seq_length(options));
    Dataset dataset;
    dataset.name = dataset_name(split, language);
    dataset.head = HeadKind::kToken;
    dataset.classes = static_cast<std::int32_t>(universal_parts_of_speech().size());
    dataset.examples = std::move(features.examples);
    return std::make_unique<TaggingData>(std::move(file), std::move(features), std::move(dataset),
                                         submission_name(name(), split, language, "tsv"));
  }

  Evaluation score(const fs::path& predictions, const fs::path& gold, const std::string& language) const override {
    const fs::path path = require_submission_file(predictions, name(), language, "tsv");
    const TagSequences answers = read_tag_lines(path);
    const TagSequences tags = gold_tags(gold, language);
    require(answers.size() == tags.size(), path.string(), ": ", answers.size(), " sentences, the gold data have ",
            tags.size());
    for (std::size_t i = 0; i < tags.size(); ++i) {
      require(answers[i].size() == tags[i].size(), path.string(), ": sentence ", i + 1, " has ", answers[i].size(),
              " tags, the gold data have ", tags[i].size());
    }
    require(!tags.empty(), path.string(), ": no sentences");
    return tagging_evaluation(tags, answers);
  }

 protected:
  std::int64_t count_examples(const FoundFile& file, const std::string& language) const override {
    if (file.layout != FileLayout::kXtreme) return static_cast<std::int64_t>(read_conllu(file.path, language).size());
    const TaggedFile content = read_xtreme_tags(file.path, universal_parts_of_speech());
    require_tags(content);
    return static_cast<std::int64_t>(content.sentences.size());
  }

  FileStatus check_language(const fs::path& data, const std::string& split, const std::string& language) const override {
    const std::vector<fs::path> paths = treebanks_of(data, split, language);
    if (paths.empty()) {
      const std::string missing = concatenate(kTreebankFolders.front(), "/UD_*/", language, "_*-ud-", split, ".conllu");
      return file_status(split, language, find_task_file(data, kXtremeFiles, split, language), missing,
                         [&](const FoundFile& file) { return count_examples(file, language); });
    }
    FileStatus status = file_status(split, language, FoundFile{paths.front()}, "", [&](const FoundFile&) {
      return static_cast<std::int64_t>(read_treebanks(paths, language).sentences.size());
    });
    if (paths.size() > 1) status.path += concatenate(" and ", paths.size() - 1, " more");
    return status;
  }

 private:
  /// The treebanks where they are there, else XTREME's file.
  TaggedFile read(const fs::path& data, const std::string& split, const std::string& language) const {
    const std::vector<std::string> known = splits();
    require(std::find(known.begin(), known.end(), split) != known.end(), name(), " has no split \"", split, "\"");
    if (const std::vector<fs::path> paths = treebanks_of(data, split, language); !paths.empty()) {
      return read_treebanks(paths, language);
    }
    if (const auto file = find_task_file(data, kXtremeFiles, split, language)) {
      return read_xtreme_tags(file->path, universal_parts_of_speech());
    }
    fail_user("no file for ", name(), " ", split, " in language ", language, " below ", data.string(), "; looked for ",
              kTreebankFolders.front(), "/UD_*/", language, "_*-ud-", split, ".conllu and udpos/", split, "-", language,
              ".tsv");
  }

  /// From a file of tags (XTREME's label layout: known tags, one a line), from one CoNLL-U file, or from the data folder.
  TagSequences gold_tags(const fs::path& gold, const std::string& language) const {
    if (gold.extension() == ".conllu") return names_of(read_conllu(gold, language));
    if (const auto file = find_submission_file(gold, name(), language, "tsv")) {
      TagSequences tags = read_tag_lines(*file);
      const std::vector<std::string>& known = universal_parts_of_speech();
      const bool labels = std::all_of(tags.begin(), tags.end(), [&](const std::vector<std::string>& sentence) {
        return std::all_of(sentence.begin(), sentence.end(), [&](const std::string& tag) {
          return tag == "_" || std::find(known.begin(), known.end(), tag) != known.end();
        });
      });
      if (labels) return tags;
    }
    const TaggedFile file = fs::is_regular_file(gold) ? read_xtreme_tags(gold, universal_parts_of_speech())
                                                      : read(gold, splits().back(), language);
    require_tags(file);
    return names_of(file.sentences);
  }
};

}  // namespace

const Task& udpos_task() {
  static const UdposTask task({"udpos",
                               HeadKind::kToken,
                               universal_parts_of_speech(),
                               256,
                               "f1",
                               "udpos",
                               udpos_languages(),
                               {"train", "dev", "test"},
                               kXtremeFiles});
  return task;
}

}  // namespace koine
