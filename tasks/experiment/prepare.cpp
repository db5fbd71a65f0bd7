#include "tasks/experiment/prepare.h"

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tasks/common/task.h"
#include "tasks/experiment/phase.h"
#include "tasks/experiment/toml_settings.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

/// Training text of the "mlm" task, below the data folder.
std::vector<std::string> text_files(const fs::path& data) {
  std::vector<std::string> files;
  for (const Task::FileStatus& file : find_task("mlm").check_files(data)) {
    if (file.present && file.split == "train")
      files.push_back(fs::relative(fs::absolute(data / file.path), fs::absolute(data)).string());
  }
  return files;
}

/// How the pieces of a fresh model's tokenizer are numbered.
const SentencePieceNumbering& numbering_of(const Experiment& experiment) {
  return experiment.model.config.encoder_decoder.decoder_layers > 0 ? kT5Numbering : kFairseqNumbering;
}

/// Where a tokenizer that is trained for an experiment lies.
fs::path trained_tokenizer_path(const Experiment& experiment, const fs::path& output) {
  return output / "tokenizer" / numbering_of(experiment).file;
}

}  // namespace

void prepare_data(Experiment& experiment, const fs::path& folder, const RunOptions& options) {
  require(!experiment.data.empty() || experiment.generated.has_value(), experiment.file.string(),
          ": no data folder; give --data or the key data");
  if (!experiment.generated.has_value()) return;
  const GeneratedDataSpec& generated = *experiment.generated;
  PhaseFolder phase(folder, generated_data_toml(generated), {}, options.redo);
  if (!phase.done()) {
    options.message("generating languages and data sets in " + folder.string());
    write_demo_data(folder, generated.seed, generated.sizes);
    phase.finish(json::object());
  }
  experiment.data = fs::absolute(folder);
}

Tokenizer experiment_tokenizer(const Experiment& experiment, const fs::path& folder, bool redo) {
  const std::filesystem::path& directory = experiment.model.directory;
  if (!directory.empty()) return load_tokenizer(read_model_config(directory), directory);
  const TokenizerSpec& spec = experiment.tokenizer;
  if (!spec.path.empty()) return Tokenizer(spec.path, numbering_of(experiment));
  std::vector<std::string> inputs = spec.inputs;
  if (inputs.empty()) inputs = text_files(experiment.data);
  TokenizerTraining training;
  for (const std::string& input : inputs) {
    training.inputs.push_back(experiment.data / input);
    require(fs::is_regular_file(training.inputs.back()), experiment.file.string(), ": tokenizer.inputs: there is no file ",
            training.inputs.back().string());
  }
  require(!inputs.empty(), experiment.file.string(),
          ": a fresh model needs a tokenizer: [tokenizer] with path or inputs, or text of task mlm below ",
          experiment.data.string());
  std::string hashes;
  for (const fs::path& input : training.inputs) hashes += toml_text(xxh3_file(input)) + ", ";
  training.pieces = spec.pieces;
  training.character_coverage = spec.character_coverage;
  std::string config = concatenate("inputs = ", toml_list(inputs), "\ninput_hashes = [", hashes, "]\npieces = ", spec.pieces,
                                   "\ncharacter_coverage = ", toml_number(spec.character_coverage), "\n");
  if (&numbering_of(experiment) == &kT5Numbering) {  // as mT5's: unknown characters are bytes, a hundred sentinels
    training.numbering = kT5Numbering;
    training.byte_fallback = true;
    training.sentinels = 100;
    config += "byte_fallback = true\nsentinels = 100\n";
  }
  PhaseFolder phase(folder / "tokenizer", config, {}, redo);
  const fs::path model = trained_tokenizer_path(experiment, folder);
  if (!phase.done()) {
    Tokenizer::train(training, model);
    phase.finish({{"xxh3", xxh3_file(model)}});
  }
  const json hash = phase.result().value("xxh3", json());  // earlier programs wrote none
  require(!hash.is_string() || hash == xxh3_file(model), model.string(),
          " is not the file that was written there (its bytes have changed since); restore it, or delete ",
          phase.path().string(), " to make it again");
  return Tokenizer(model, numbering_of(experiment));
}

Tokenizer prepared_tokenizer(const Experiment& experiment, const fs::path& folder) {
  const fs::path& directory = experiment.model.directory;
  if (!directory.empty()) return load_tokenizer(read_model_config(directory), directory);
  return Tokenizer(
      experiment.tokenizer.path.empty() ? trained_tokenizer_path(experiment, folder) : experiment.tokenizer.path,
      numbering_of(experiment));
}

ModelConfig experiment_model_config(const Experiment& experiment, const Tokenizer& tokenizer) {
  if (!experiment.model.directory.empty()) {
    const ModelConfig config = read_model_config(experiment.model.directory);
    require_matching(tokenizer, config, experiment.model.directory);
    return config;
  }
  ModelConfig config = experiment.model.config;
  config.vocab_size = tokenizer.vocabulary_size();
  return config;
}

}  // namespace koine
