// koine predict

#include <iostream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/common/layers.h"
#include "tasks/common/prediction.h"
#include "tasks/experiment/plan.h"
#include "tasks/families/answers.h"
#include "tasks/families/vectors.h"
#include "tasks/files/task_files.h"
#include "tasks/formats/inputs.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct PredictArguments {
  std::string task;
  std::string model;
  std::string tokenizer;
  std::string input;
  std::string input_format;
  std::string data;  ///< instead of input: whose split is answered
  std::string split;
  std::string languages;
  std::string output = "-";
  std::string output_format;  ///< empty: jsonl, of a split submission
  std::string language;
  std::string labels;
  std::string pooling;
  std::string layer;
  std::string choices = name_of(ChoiceSearch::kGenerate);
  FeatureOptions features;
  std::int64_t max_tokens_per_batch = 4096;
};

const std::map<std::string, FileLayout>& family_forms() {
  static const std::map<std::string, FileLayout> kForms = {{"jsonl", FileLayout::kJsonLines},
                                                           {"tsv", FileLayout::kTsv},
                                                           {"tsv-quoted", FileLayout::kQuotedTsv},
                                                           {"csv", FileLayout::kCsv},
                                                           {"xtreme", FileLayout::kXtreme}};
  return kForms;
}

/// What --input and --input-format say. Standard input is JSON lines where nothing else is said; a file is one of the task's
/// own where those have its ending, else of the form its ending names.
InputFile input_of(const PredictArguments& arguments, const Task& task) {
  InputFile input;
  input.path = input_path(arguments.input, "--input");
  std::string format = arguments.input_format;
  if (format.empty()) {
    const std::string ending = input.path.extension().string();
    const bool own = std::any_of(task.files().begin(), task.files().end(), [&](const FileCandidate& candidate) {
      return fs::path(candidate.pattern).extension() == ending;
    });
    const bool known = ending.size() > 1 && family_forms().contains(ending.substr(1));
    format = arguments.input == "-" ? "jsonl" : own || !known ? "own" : ending.substr(1);
  }
  if (format != "own") input.layout = family_forms().at(format);
  require(input.layout != FileLayout::kXtreme || std::holds_alternative<FileReader<LabelledTexts>>(task.row().reader),
          "--input-format xtreme: task ", task.name(), " reads XTREME's files as its own: --input-format own");
  return input;
}

/// A vector for each text, of a task that trains nothing.
Answers vectors_of(Model& model, const InputFile& input, const Tokenizer& tokenizer, std::int64_t max_seq_length,
                   EvaluationOptions options) {
  const TextFile texts = read_sentence_inputs({input.path, input.layout.value_or(FileLayout::kOfficial)});
  Dataset dataset;
  dataset.name = input.path.string();
  for (const std::string& text : texts.lines) {
    const auto number = static_cast<std::uint32_t>(dataset.examples.size());
    dataset.examples.push_back({tokenizer.special().frame_single(tokenizer.encode(text), max_seq_length), {}, number});
  }
  if (options.layers.empty()) options.layers = {default_retrieval_layer(model.layers())};
  const Encodings encodings = encode_all(model, dataset, options);
  Answers answers;
  for (std::size_t i = 0; i < dataset.examples.size(); ++i)
    answers.records.push_back(
        vector_record(encodings.vectors.front().data() + static_cast<std::ptrdiff_t>(i) * encodings.width, encodings.width));
  return answers;
}

/// What goes together: --input, or --data with what belongs to it.
void check_source(const PredictArguments& arguments, const Task& task) {
  const bool split = !arguments.data.empty();
  require(split == arguments.input.empty(),
          "give one of --input, a file of inputs, and --data, the folder of the data sets of which a split is answered");
  const auto refuse = [&](const std::string& value, const char* option, const char* source) {
    require(value.empty(), option, " belongs to ", source);
  };
  refuse(split ? arguments.input_format : "", "--input-format", "--input");
  refuse(split ? arguments.language : "", "--language", "--input; of a split give --languages");
  refuse(split ? "" : arguments.split, "--split", "--data");
  refuse(split ? "" : arguments.languages, "--languages", "--data; of inputs give --language");
  require(!split || arguments.output != "-", "--data: give --output, the folder of the prediction files");
  require(!split || (!task.train_task().empty() && task.head() != HeadKind::kDualEncoder), "--data: task ", task.name(),
          " is answered by vectors of its whole split; `koine evaluate` writes its prediction files");
}

/// The answers as the text of a file.
std::string text_of(Answers answers, const std::string& format) {
  if (format == "submission") return std::move(answers.submission);
  std::string text;
  for (const std::string& record : answers.records) text += record + "\n";
  return text;
}

/// Every language of a split, gold or not, into files below --output in XTREME's layout.
int predict_split(const PredictArguments& arguments, const Task& task, Model& model, const Tokenizer& tokenizer,
                  const FeatureOptions& features, const EvaluationOptions& options, bool quiet) {
  const std::string format = arguments.output_format.empty() ? "submission" : arguments.output_format;
  const std::string ending = format == "jsonl"                                                  ? "jsonl"
                             : std::holds_alternative<FileReader<SquadFile>>(task.row().reader) ? "json"
                                                                                                : "tsv";
  const std::string split = arguments.split.empty() ? "test" : arguments.split;
  for (const std::string& language :
       resolve_languages(task, split_commas(arguments.languages), arguments.data, split, "--languages")) {
    const std::unique_ptr<TaskData> data = task.load(arguments.data, split, language, tokenizer, features);
    const fs::path file = fs::path(arguments.output) / submission_name(task.name(), split, language, ending);
    make_directory(file.parent_path());
    write_file_atomically(file, text_of(data->answer(model, options), format));
    if (!quiet) std::cerr << format_count(data->dataset().groups()) << " examples in " << file.string() << std::endl;
  }
  return 0;
}

int predict(const PredictArguments& arguments, const CommonOptions& common) {
  const Task& named = task_named(arguments.task, "--task");
  const ModelConfig config = read_model_config(arguments.model);
  const Task& task = task_for(config, named);
  require(!task.is_language_modelling(), "--task ", task.name(),
          ": masked-language modelling has no answers; name a task with labels, spans, tags, choices or vectors");
  const bool vectors = task.train_task().empty();
  refuse_options_without_use(task, arguments.layer, arguments.pooling, arguments.choices, arguments.features);
  check_source(arguments, task);
  require(!vectors || arguments.output_format != "submission", "--output-format submission: the vectors of task ",
          task.name(), " are no submission; `koine evaluate` writes that from the task's files");
  const bool whole_split = !arguments.data.empty();
  const InputFile input = whole_split ? InputFile{} : input_of(arguments, task);
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  EvaluationOptions options;
  options.max_tokens_per_batch = arguments.max_tokens_per_batch;
  options.layers =
      resolve_layers(parse_layers(arguments.layer, "--layer"), config.num_hidden_layers, "--layer " + arguments.layer);
  require(options.layers.size() <= 1, "--layer ", arguments.layer, ": vectors are of one layer");
  options.pooling = arguments.pooling.empty() ? task.pooling() : pooling_of(arguments.pooling);
  options.choices = choice_search_of(arguments.choices);
  options.stop = &stop_requested;
  FeatureOptions features = arguments.features;
  features.max_seq_length = resolve_length(features.max_seq_length, task, config.maximum_length(), "--max-seq-length");
  const std::string language = arguments.language.empty() ? task.languages().front() : arguments.language;
  const std::unique_ptr<TaskData> data =
      vectors || whole_split ? nullptr : task.load_inputs(input, language, tokenizer, features);

  const std::unique_ptr<Model> model =
      load_task_model(arguments.model, config, task, split_commas(arguments.labels), resolve_execution(common));
  install_signal_handlers();
  Answers answers;
  try {
    if (whole_split) return predict_split(arguments, task, *model, tokenizer, features, options, common.quiet);
    answers =
        vectors ? vectors_of(*model, input, tokenizer, features.max_seq_length, options) : data->answer(*model, options);
  } catch (const Interrupted&) {
    return kExitInterrupted;
  }
  const auto count = std::ssize(answers.records);
  const std::string text = text_of(std::move(answers), arguments.output_format);
  if (arguments.output == "-") {
    print(text);
  } else {
    write_file_atomically(arguments.output, text);
  }
  if (common.quiet) return 0;
  if (data != nullptr && data->truncation().examples > 0)
    std::cerr << "koine: " << describe(data->truncation()) << std::endl;
  std::cerr << format_count(count) << " answers in " << (arguments.output == "-" ? "standard output" : arguments.output)
            << std::endl;
  return 0;
}

}  // namespace

void add_predict_command(CommandLine& line) {
  auto arguments = std::make_shared<PredictArguments>();
  CLI::App* app = line.add("predict", "A model's answers to inputs without gold", [&line, arguments] {
    apply(line.common);
    return predict(*arguments, line.common);
  });
  app->add_option("--task", arguments->task,
                  "task to answer (xnli, xquad, udpos, xcopa ...); of tatoeba and the like: vectors")
      ->required();
  app->add_option("--model", arguments->model, "transformers directory with the task's head")->required();
  app->add_option("--tokenizer", arguments->tokenizer, "SentencePiece model, where it is not in the model directory");
  line.take_task_files(*app);
  app->add_option("--input", arguments->input, "file of inputs; -: standard input");
  app->add_option(
      "--data", arguments->data,
      "instead: folder of the data sets; a whole split is answered, with gold or without, into prediction files");
  app->add_option("--split", arguments->split, "with --data: test or dev; default: test")
      ->check(CLI::IsMember({"test", "dev"}));
  app->add_option("--languages", arguments->languages,
                  "with --data: comma-separated codes, families, branches or scripts (uralic); default: all that are there");
  app->add_option("--input-format", arguments->input_format,
                  "own (the task's own files), jsonl, tsv, tsv-quoted, csv or xtreme (docs/prediction.md); default: by the "
                  "ending, of standard input jsonl")
      ->check(CLI::IsMember({"own", "jsonl", "tsv", "tsv-quoted", "csv", "xtreme"}));
  app->add_option("--output", arguments->output, "file of answers; -: standard output; with --data: folder")
      ->capture_default_str();
  app->add_option("--output-format", arguments->output_format,
                  "jsonl: an object for each input; submission: XTREME's prediction file; default: jsonl, with --data "
                  "submission")
      ->check(CLI::IsMember({"jsonl", "submission"}));
  app->add_option("--language", arguments->language, "of the inputs; default: the task's first");
  app->add_option("--labels", arguments->labels,
                  "comma-separated: what the checkpoint's classes are, in its order, where its id2label does not say");
  app->add_option("--layer", arguments->layer, "vectors: hidden state, 0 = embeddings; default: the task's own");
  app->add_option("--pooling", arguments->pooling,
                  "vectors: mean, mean_without_special, cls or position_weighted; default: the task's own");
  app->add_option("--choices", arguments->choices,
                  "of a model that answers with texts, labels and choices: generate, constrained or likelihood")
      ->check(CLI::IsMember(choice_searches()))
      ->capture_default_str();
  app->add_option("--max-target-length", arguments->features.max_target_length, "tokens of an answer as text; 0: its form's")
      ->check(at_least(0));
  app->add_option("--max-seq-length", arguments->features.max_seq_length, "tokens; 0: the recipe's")->check(at_least(0));
  app->add_option("--doc-stride", arguments->features.doc_stride, "advance of question answering's windows")
      ->check(at_least(1));
  app->add_option("--max-query-length", arguments->features.max_query_length, "tokens of a question")->check(at_least(1));
  app->add_option("--max-tokens-per-batch", arguments->max_tokens_per_batch, "tokens in memory at a time")
      ->check(at_least(1))
      ->capture_default_str();
}

}  // namespace koine
