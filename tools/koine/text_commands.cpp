// koine tokenize, koine encode

#include <algorithm>
#include <fstream>
#include <iostream>

#include "engine/batch/batcher.h"
#include "engine/files/npy.h"
#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/parameters/finite.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "models/models.h"
#include "tasks/common/prediction.h"
#include "tasks/experiment/experiment.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

struct TokenizeArguments {
  std::string model;
  std::string input;
  bool special = false;
  bool pieces = false;
};

/// Numbered as the family of the directory's model has it; as XLM-R's where there is no model that koine reads.
Tokenizer tokenizer_at(const fs::path& path) {
  if (fs::exists(path / "spiece.model")) return load_tokenizer(read_model_config(path), path);
  return Tokenizer(path);
}

std::string tokens_line(const Tokenizer& tokenizer, const std::string& text, const TokenizeArguments& arguments) {
  std::vector<std::int32_t> ids = tokenizer.encode(text);
  if (arguments.special) ids = tokenizer.special().single(std::move(ids));
  std::string line;
  for (const std::int32_t id : ids)
    line += (line.empty() ? "" : " ") + (arguments.pieces ? tokenizer.piece(id) : std::to_string(id));
  return line + "\n";
}

/// Line by line, some thousand at a time on all threads, so that a pipe of any length goes through.
int tokenize(const TokenizeArguments& arguments) {
  if (!fs::exists(arguments.model)) read_model_config(arguments.model);  // which says how to get one
  const Tokenizer tokenizer = tokenizer_at(arguments.model);
  const bool piped = arguments.input.empty() || arguments.input == "-";
  const std::string name = piped ? "standard input" : arguments.input;
  std::ifstream file;
  if (!piped) {
    file.open(input_path(arguments.input, "--input"), std::ios::binary);
    require(file.is_open(), "cannot read ", arguments.input);
  }
  std::istream& input = piped ? std::cin : file;
  constexpr std::size_t kChunk = 8192;
  std::int64_t line = 0;
  for (bool more = true; more;) {
    std::vector<std::string> texts;
    std::string text;
    while (texts.size() < kChunk && (more = static_cast<bool>(std::getline(input, text)))) {
      ++line;
      if (!text.empty() && text.back() == '\r') text.pop_back();
      require(invalid_utf8(text) == std::string::npos, name, ":", line, ": not valid UTF-8");
      texts.push_back(text);
    }
    std::vector<std::string> lines(texts.size());
    parallel_ranges(static_cast<std::int64_t>(texts.size()), 256, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        lines[static_cast<std::size_t>(i)] = tokens_line(tokenizer, texts[static_cast<std::size_t>(i)], arguments);
      }
    });
    std::string all;
    for (const std::string& one : lines) all += one;
    print(all);
  }
  return 0;
}

struct EncodeArguments {
  std::string model;
  std::string tokenizer;
  std::string input;
  std::string output;
  std::string pooling = "mean";
  std::optional<std::int64_t> layer;
  std::int64_t max_seq_length = 0;
  std::int64_t max_tokens_per_batch = 4096;
};

Dataset read_sentences(const fs::path& input, const Tokenizer& tokenizer, Truncation& truncation) {
  Dataset dataset;
  dataset.name = input.string();
  for_each_line(input, [&](std::string_view text, std::int64_t) {
    const auto number = static_cast<std::uint32_t>(dataset.examples.size());
    std::vector<std::int32_t> ids = tokenizer.encode(text);
    const std::int64_t whole = std::ssize(ids) + tokenizer.special().around_single();
    ids = tokenizer.special().frame_single(std::move(ids), truncation.maximum_length);
    truncation.add(whole - std::ssize(ids));
    dataset.examples.push_back({std::move(ids), {}, number});
  });
  require(!dataset.examples.empty(), input.string(), " holds no lines");
  return dataset;
}

int encode(const EncodeArguments& arguments, const CommonOptions& common) {
  const std::string extension = fs::path(arguments.output).extension().string();
  require(extension == ".npy" || extension == ".safetensors", "--output ", arguments.output,
          " must end in .npy or .safetensors");
  const ModelConfig config = read_model_config(arguments.model);
  const Tokenizer tokenizer = matching_tokenizer(arguments.model, config, arguments.tokenizer);
  require(arguments.max_seq_length <= config.maximum_length(), "--max-seq-length is ", arguments.max_seq_length,
          ", but this model reads sequences of at most ", config.maximum_length(), " tokens");
  const std::int64_t layer = arguments.layer.value_or(config.num_hidden_layers);
  require(layer <= config.num_hidden_layers, "--layer is ", layer, ", but the model has layers 0 (embeddings) to ",
          config.num_hidden_layers);
  const Pooling pooling = pooling_of(arguments.pooling);
  const std::int64_t maximum = arguments.max_seq_length > 0 ? arguments.max_seq_length : config.maximum_length();
  Truncation truncation{.maximum_length = maximum};
  const Dataset dataset = read_sentences(input_path(arguments.input, "--input"), tokenizer, truncation);
  if (truncation.examples > 0) std::cerr << "koine: " << arguments.input << ": " << describe(truncation) << std::endl;

  ModelOptions options;
  options.execution = resolve_execution(common);
  const std::unique_ptr<Model> model = load_told(arguments.model, options);
  const std::int64_t budget = std::max(arguments.max_tokens_per_batch, maximum);
  const StepPlan plan = plan_prediction(dataset, budget);
  model->reserve(budget, false);
  const std::int64_t width = model->hidden_size();
  const auto rows = static_cast<std::int64_t>(dataset.examples.size());
  std::vector<float> vectors(static_cast<std::size_t>(rows * width));
  install_signal_handlers();
  for (const std::vector<std::int64_t>& groups : plan.micro_batches) {
    if (stop_requested.load()) return kExitInterrupted;
    const PackedBatch batch = pack_groups(dataset, groups);
    const std::vector<float> part = model->encode(batch, layer, pooling);
    for (std::size_t i = 0; i < groups.size(); ++i) {
      std::copy_n(part.begin() + static_cast<std::int64_t>(i) * width, width, vectors.begin() + groups[i] * width);
    }
  }
  std::vector<std::size_t> broken;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (count_not_finite({vectors.data() + row * width, static_cast<std::size_t>(width)}) > 0)
      broken.push_back(static_cast<std::size_t>(row));
  }
  require_finite(dataset, broken);
  if (extension == ".npy") {
    write_npy(arguments.output, vectors.data(), rows, width);
  } else {
    TensorSource tensor;
    tensor.name = "embeddings";
    tensor.shape = {rows, width};
    tensor.data = vectors.data();
    write_safetensors(arguments.output, {tensor},
                      {{"layer", std::to_string(layer)}, {"pooling", arguments.pooling}, {"model", arguments.model}});
  }
  if (!common.quiet) std::cerr << format_count(rows) << " vectors of " << width << " in " << arguments.output << std::endl;
  return 0;
}

}  // namespace

void add_text_commands(CommandLine& line) {
  auto tokens = std::make_shared<TokenizeArguments>();
  CLI::App* app = line.add("tokenize", "One line of ids per line of text", [&line, tokens] {
    apply(line.common);
    return tokenize(*tokens);
  });
  app->add_option("--model", tokens->model, "tokenizer file, or a directory that holds one")->required();
  app->add_option("--input", tokens->input, "text file; default, and -: standard input");
  app->add_flag("--special-tokens", tokens->special, "with <s> and </s>");
  app->add_flag("--pieces", tokens->pieces, "pieces instead of ids");

  auto vectors = std::make_shared<EncodeArguments>();
  CLI::App* encode_app = line.add("encode", "One vector per line of text, to .safetensors or .npy", [&line, vectors] {
    apply(line.common);
    return encode(*vectors, line.common);
  });
  encode_app->add_option("--model", vectors->model, "transformers directory")->required();
  encode_app->add_option("--tokenizer", vectors->tokenizer, "SentencePiece model, where it is not in the model directory");
  encode_app->add_option("--input", vectors->input, "text file, one sentence a line; -: standard input")->required();
  encode_app->add_option("--output", vectors->output, "file.npy or file.safetensors")->required();
  encode_app->add_option("--layer", vectors->layer, "hidden state, 0 = embeddings; default: the last")->check(at_least(0));
  encode_app->add_option("--pooling", vectors->pooling, "mean, mean_without_special or cls")->capture_default_str();
  encode_app->add_option("--max-seq-length", vectors->max_seq_length, "tokens; default: what the model reads")
      ->check(at_least(0));
  encode_app->add_option("--max-tokens-per-batch", vectors->max_tokens_per_batch, "tokens in memory at a time")
      ->check(between(1, 1'000'000'000))
      ->capture_default_str();
}

}  // namespace koine
