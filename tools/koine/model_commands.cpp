// koine inspect, koine convert

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/files/torch_pickle.h"
#include "kernels/common/check.h"
#include "models/models.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

struct TensorLine {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
};

void print_tensors(const std::vector<TensorLine>& tensors) {
  std::vector<std::vector<std::string>> rows = {{"tensor", "type", "shape"}};
  std::int64_t values = 0;
  for (const TensorLine& tensor : tensors) {
    rows.push_back({tensor.name, tensor.dtype, shape_text(tensor.shape)});
    std::int64_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= size;
    values += count;
  }
  print(format_table(rows) + format_count(static_cast<std::int64_t>(tensors.size())) + " tensors, " + format_count(values) +
        " values\n");
}

void inspect_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  std::vector<TensorLine> tensors;
  for (const auto& [name, entry] : file.tensors()) tensors.push_back({name, entry.dtype, entry.shape});
  print_tensors(tensors);
  for (const auto& [key, value] : file.metadata()) print(key + ": " + value + "\n");
}

void inspect_torch(const fs::path& path) {
  const TorchCheckpoint file(path);
  std::vector<TensorLine> tensors;
  for (const TorchTensor& tensor : file.tensors()) tensors.push_back({tensor.name, tensor.dtype, tensor.shape});
  print_tensors(tensors);
}

void inspect_model(const fs::path& path) {
  const ModelConfig config = read_model_config(path);
  print(format_table({{"family",
                       concatenate(family_name(config), config.norm == NormPlacement::kPost ? ", post-norm" : ", pre-norm")},
                      {"layers", std::to_string(config.num_hidden_layers)},
                      {"hidden size", std::to_string(config.hidden_size)},
                      {"heads", concatenate(config.num_attention_heads, " of ", config.head_size())},
                      {"feed-forward size", std::to_string(config.intermediate_size)},
                      {"vocabulary", format_count(config.vocab_size)},
                      {"longest sequence", concatenate(config.maximum_length(), " tokens")}}) +
        "\n");
  for (const char* name : {"sentencepiece.bpe.model", "sentencepiece.model", "tokenizer.json"}) {
    if (!fs::exists(path / name)) continue;
    const Tokenizer tokenizer = load_tokenizer(config, path / name);
    print(concatenate("tokenizer: ", name, ", ", format_count(tokenizer.vocabulary_size()), " ids\n\n"));
  }
  if (fs::exists(path / "model.safetensors") || fs::exists(path / "model.safetensors.index.json")) {
    const ModelWeights weights(path);
    std::vector<TensorLine> tensors;
    for (const std::string& name : weights.names())
      tensors.push_back({name, weights.entry(name).dtype, weights.entry(name).shape});
    print_tensors(tensors);
  } else if (fs::exists(path / "pytorch_model.bin")) {
    inspect_torch(path / "pytorch_model.bin");
  } else {
    print("no weights in this folder\n");
  }
}

void inspect_checkpoint(const fs::path& path) {
  require(fs::exists(path / "complete.json"), path.string(),
          " is a checkpoint without its end mark complete.json: it was not written to its end");
  const json state = read_json(path / "state.json");
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : state.items()) {
    if (!value.is_structured()) rows.push_back({key, value.is_string() ? value.get<std::string>() : value.dump()});
  }
  print(format_table(rows) + "\n");
  inspect_safetensors(path / "model.safetensors");
}

/// Folders of phases below a run, each with what it says of itself.
void inspect_run(const fs::path& path) {
  std::vector<fs::path> folders;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path)) {
    if (entry.path().filename() == "config.toml") folders.push_back(entry.path().parent_path());
  }
  std::sort(folders.begin(), folders.end());
  std::vector<std::vector<std::string>> rows = {{"phase", "state"}};
  for (const fs::path& folder : folders) {
    if (folder == path && folders.size() > 1) continue;
    const bool checkpoint = fs::exists(folder / "checkpoints");
    const char* state = fs::exists(folder / "done.json") ? "done" : checkpoint ? "interrupted, with a checkpoint" : "begun";
    rows.push_back({folder == path ? "." : fs::relative(folder, path).string(), state});
  }
  print(format_table(rows));
}

int inspect(const std::string& text) {
  const fs::path path = text;
  require(fs::exists(path), "there is nothing at ", text);
  const std::string extension = path.extension().string();
  if (fs::is_directory(path)) {
    if (fs::exists(path / "state.json")) {
      inspect_checkpoint(path);
    } else if (fs::exists(path / "config.json")) {
      inspect_model(path);
    } else if (fs::exists(path / "config.toml")) {
      inspect_run(path);
    } else {
      fail_user(text, " is neither a model directory (config.json) nor a checkpoint (state.json) nor a run (config.toml)");
    }
  } else if (extension == ".safetensors") {
    inspect_safetensors(path);
  } else if (extension == ".bin" || extension == ".pt" || extension == ".pth") {
    inspect_torch(path);
  } else {
    fail_user(text, ": inspect knows .safetensors, .bin, .pt and folders of models, checkpoints and runs");
  }
  return 0;
}

int convert(const std::string& input, const std::string& output) {
  require(fs::exists(input), "there is nothing at ", input);
  require(!fs::exists(fs::path(output) / "model.safetensors"), output,
          " already holds a model.safetensors; choose another folder");
  const std::int64_t tensors = convert_torch_checkpoint(input, output);
  complete_model_directory(output);
  print(concatenate(format_count(tensors), " tensors in ", (fs::path(output) / "model.safetensors").string(), "\n"));
  return 0;
}

}  // namespace

void add_model_commands(CommandLine& line) {
  auto path = std::make_shared<std::string>();
  CLI::App* app = line.add("inspect", "What a model, a checkpoint or a run holds", [&line, path] {
    apply(line.common);
    return inspect(*path);
  });
  app->add_option("path", *path, "folder, .safetensors or .bin file")->required();

  struct Convert {
    std::string input;
    std::string output;
  };
  auto arguments = std::make_shared<Convert>();
  CLI::App* convert_app = line.add("convert", "pytorch_model.bin to safetensors", [&line, arguments] {
    apply(line.common);
    return convert(arguments->input, arguments->output);
  });
  convert_app->add_option("input", arguments->input, "model directory or pytorch_model.bin")->required();
  convert_app->add_option("output", arguments->output, "folder for the converted model")->required();
}

}  // namespace koine
