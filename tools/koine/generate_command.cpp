// koine generate: what a model of an encoder and a decoder answers to texts

#include <algorithm>
#include <array>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/common/guards.h"
#include "tasks/text/text_answers.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct GenerateArguments {
  std::string model;
  std::string tokenizer;
  std::string input;
  std::string output = "-";
  std::int32_t beams = 1;
  std::int64_t maximum_length = 128;
  double length_penalty = 1;
  std::string early_stopping = "no";
  std::vector<std::string> answers;
  std::int64_t max_seq_length = 1024;
  std::int64_t max_tokens_per_batch = 4096;
};

constexpr std::array<const char*, 3> kStopping = {"no", "yes", "never"};

/// A line of input: a text, or a JSON object whose "text" it is.
struct Question {
  nlohmann::json record;  ///< null: a plain line
  std::string text;
};

Question question_of(std::string_view line, const std::string& where) {
  if (line.empty() || line.front() != '{') return {nullptr, std::string(line)};
  Question question{parse_json(line, where), ""};
  const auto text = question.record.find("text");
  require(text != question.record.end() && text->is_string(), where, ": a JSON object without \"text\", a string");
  question.text = text->get<std::string>();
  return question;
}

class Generator {
 public:
  Generator(const GenerateArguments& arguments, const CommonOptions& common)
      : arguments_(arguments),
        config_(read_model_config(arguments.model)),
        tokenizer_(matching_tokenizer(arguments.model, config_, arguments.tokenizer)),
        truncation_{.maximum_length = arguments.max_seq_length} {
    settings_.beams = arguments.beams;
    settings_.maximum_length = arguments.maximum_length;
    settings_.length_penalty = arguments.length_penalty;
    const auto* const stopping = std::find(kStopping.begin(), kStopping.end(), arguments.early_stopping);
    require(stopping != kStopping.end(), "--early-stopping is ", arguments.early_stopping, "; no, yes or never");
    settings_.early_stopping = static_cast<EarlyStopping>(stopping - kStopping.begin());
    for (const std::string& answer : arguments.answers) {
      std::vector<std::int32_t> ids = tokenizer_.encode(answer);
      require(!ids.empty(), "--answers names an empty answer");
      ids.push_back(tokenizer_.special().end);
      require(std::ssize(ids) <= settings_.maximum_length, "--answers: \"", answer, "\" is of ", ids.size(),
              " tokens, --max-length ", settings_.maximum_length);
      settings_.answers.push_back(std::move(ids));
    }
    ModelOptions options;
    options.execution = resolve_execution(common);
    options.heads = {{"", HeadKind::kTextToText, static_cast<std::int32_t>(config_.vocab_size)}};
    model_ = load_told(arguments.model, options);
  }

  /// The answers to some questions, a line each.
  std::string answer(const std::vector<Question>& questions) {
    Dataset dataset;
    dataset.name = arguments_.input;
    dataset.head = HeadKind::kTextToText;
    for (const Question& question : questions) dataset.examples.push_back(example_of(question.text));
    std::vector<std::string> lines(questions.size());
    EvaluationOptions options;
    options.max_tokens_per_batch = arguments_.max_tokens_per_batch;
    options.stop = &stop_requested;
    generate_all(*model_, dataset, settings_, options, [&](std::size_t number, const Generation& generation) {
      lines[number] = line_of(questions[number], generation);
    });
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    return all;
  }

  const Truncation& truncation() const { return truncation_; }

 private:
  Example example_of(const std::string& text) {
    std::vector<std::int32_t> ids = tokenizer_.encode(text);
    const std::int64_t whole = std::ssize(ids) + tokenizer_.special().around_single();
    Example example;
    example.ids = tokenizer_.special().frame_single(std::move(ids), truncation_.maximum_length);
    truncation_.add(whole - std::ssize(example.ids));
    return example;
  }
  std::string line_of(const Question& question, const Generation& answer) const {
    std::string text = written_text(answer, tokenizer_);
    if (question.record.is_null()) {
      std::replace(text.begin(), text.end(), '\n', ' ');
      return text;
    }
    nlohmann::json record = question.record;
    record["answer"] = text;
    record["score"] = answer.score;
    return record.dump();
  }

  const GenerateArguments& arguments_;
  ModelConfig config_;
  Tokenizer tokenizer_;
  GenerationSettings settings_;
  std::unique_ptr<Model> model_;
  Truncation truncation_;
};

/// Some thousand lines at a time, of which those of like length go together.
int generate(const GenerateArguments& arguments, const CommonOptions& common) {
  const bool piped = arguments.input == "-";
  const std::string name = piped ? "standard input" : arguments.input;
  std::ifstream file;
  if (!piped) {
    file.open(input_path(arguments.input, "--input"), std::ios::binary);
    require(file.is_open(), "cannot read ", arguments.input);
  }
  std::istream& input = piped ? std::cin : file;
  Generator generator(arguments, common);
  std::string written;
  install_signal_handlers();
  constexpr std::size_t kLines = 1024;
  std::int64_t line = 0;
  for (bool more = true; more;) {
    std::vector<Question> questions;
    std::string text;
    while (questions.size() < kLines && (more = static_cast<bool>(std::getline(input, text)))) {
      ++line;
      if (!text.empty() && text.back() == '\r') text.pop_back();
      require(invalid_utf8(text) == std::string::npos, name, ":", line, ": not valid UTF-8");
      questions.push_back(question_of(text, concatenate(name, ":", line)));
    }
    std::string answers;
    try {
      answers = generator.answer(questions);
    } catch (const Interrupted&) {
      return kExitInterrupted;
    }
    if (arguments.output == "-") {
      print(answers);
    } else {
      written += answers;
    }
  }
  require(line > 0, name, " holds no lines");
  if (arguments.output != "-") write_file_atomically(arguments.output, written);
  if (generator.truncation().examples > 0)
    std::cerr << "koine: " << name << ": " << describe(generator.truncation()) << std::endl;
  return 0;
}

}  // namespace

void add_generate_command(CommandLine& line) {
  auto arguments = std::make_shared<GenerateArguments>();
  CLI::App* app = line.add("generate", "What an mT5 answers to texts, line by line", [&line, arguments] {
    apply(line.common);
    return generate(*arguments, line.common);
  });
  app->add_option("--model", arguments->model, "transformers directory of an encoder and a decoder")->required();
  app->add_option("--tokenizer", arguments->tokenizer, "SentencePiece model, where it is not in the model directory");
  app->add_option("--input", arguments->input,
                  "a text a line, or a JSON object with \"text\", which is given back with \"answer\" and \"score\"; -: "
                  "standard input")
      ->required();
  app->add_option("--output", arguments->output, "file; -: standard output")->capture_default_str();
  app->add_option("--beams", arguments->beams, "1: greedy")->check(between(1, 64))->capture_default_str();
  app->add_option("--max-length", arguments->maximum_length, "tokens of an answer, its end included")
      ->check(between(1, 16384))
      ->capture_default_str();
  app->add_option("--length-penalty", arguments->length_penalty,
                  "beams are compared by their log-probability over their length to this power")
      ->capture_default_str();
  app->add_option("--early-stopping", arguments->early_stopping,
                  "no, yes (as soon as there are as many answers as beams) or never, as transformers has them")
      ->capture_default_str();
  app->add_option("--answers", arguments->answers, "nothing but one of these")->delimiter(',');
  app->add_option("--max-seq-length", arguments->max_seq_length, "tokens of a text; longer ones are cut")
      ->check(between(1, 16384))
      ->capture_default_str();
  app->add_option("--max-tokens-per-batch", arguments->max_tokens_per_batch, "tokens in memory at a time")
      ->check(between(1, 1'000'000'000))
      ->capture_default_str();
}

}  // namespace koine
