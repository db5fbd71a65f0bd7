#include "engine/training/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 1;
constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kBestFile = "best.safetensors";
constexpr const char* kStateFile = "state.json";
constexpr const char* kEndMark = "complete.json";
constexpr std::string_view kPartial = ".partial";

fs::path checkpoints_of(const fs::path& directory) { return directory / "checkpoints"; }

std::string folder_name(std::int64_t step) { return concatenate("step-", step); }

/// N of "step-N", or -1.
std::int64_t step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  std::int64_t step = -1;
  if (name.rfind("step-", 0) != 0) return -1;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + 5, end, step);
  return error == std::errc() && stopped == end && step >= 0 ? step : -1;
}

/// The finished checkpoints of a run by step, oldest first.
std::vector<std::pair<std::int64_t, fs::path>> list_checkpoints(const fs::path& directory) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints_of(directory), none)) {
    const std::int64_t step = step_of(entry.path());
    if (step >= 0 && entry.is_directory()) found.emplace_back(step, entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

void sync_folder(const fs::path& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
  const bool synced = descriptor >= 0 && fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) close(descriptor);
  require(synced, "cannot sync ", folder.string(), ": ", std::strerror(reason));
}

void rename_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  require(!error, "cannot rename ", from.string(), " to ", to.string(), ": ", error.message());
}

// Renamed first, so that a deletion cut short leaves nothing that looks like a checkpoint.
void delete_checkpoint(const fs::path& folder) {
  const fs::path doomed = folder.string() + ".old" + std::string(kPartial);
  std::error_code ignored;
  fs::rename(folder, doomed, ignored);
  fs::remove_all(doomed, ignored);
}

void delete_partial(const fs::path& checkpoints) {
  std::vector<fs::path> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
    if (entry.path().extension() == kPartial) left.push_back(entry.path());
  }
  std::error_code ignored;
  for (const fs::path& path : left) fs::remove_all(path, ignored);
}

/// A folder that vanishes again unless it is kept.
class PartialFolder {
 public:
  explicit PartialFolder(fs::path path) : path_(std::move(path)) { make_directory(path_); }
  ~PartialFolder() {
    std::error_code ignored;
    if (!kept_) fs::remove_all(path_, ignored);
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;
  const fs::path& path() const { return path_; }
  void keep_as(const fs::path& name) {
    rename_folder(path_, name);
    kept_ = true;
  }

 private:
  fs::path path_;
  bool kept_ = false;
};

/// What programs did that did not know a setting yet.
const std::map<std::string, std::string> kImplied = {{"optimizer", "adamw"},
                                                     {"master", "fp32"},
                                                     {"adafactor_clip_threshold", "1"},
                                                     {"adafactor_scale_parameter", "false"},
                                                     {"adafactor_step_offset", "0"}};

// --- state.json ---------------------------------------------------------------------------------------------------------

nlohmann::json to_json(const TrainingState& state) {
  nlohmann::json tasks = nlohmann::json::object();
  for (const auto& [name, count] : state.tasks) tasks[name] = {{"steps", count.steps}, {"tokens", count.tokens}};
  return {{"version", kVersion},
          {"step", state.step},
          {"tokens", state.tokens},
          {"seconds", state.seconds},
          {"flops", state.flops},
          {"tasks", tasks},
          {"last_loss", state.last_loss},
          {"evaluated_step", state.evaluated_step},
          {"has_best", state.has_best},
          {"best_step", state.best_step},
          {"best_score", state.best_score},
          {"best_metrics", state.best_metrics},
          {"evaluations_without_improvement", state.evaluations_without_improvement},
          {"settings", state.settings}};
}

TrainingState parse_state(const fs::path& path) {
  const nlohmann::json json = read_json(path);
  TrainingState state;
  try {
    const int version = json.at("version").get<int>();
    require(version == kVersion, path.string(), ": layout ", version, " is not the one this program reads (", kVersion, ")");
    json.at("step").get_to(state.step);
    json.at("tokens").get_to(state.tokens);
    json.at("seconds").get_to(state.seconds);
    json.at("flops").get_to(state.flops);
    json.at("last_loss").get_to(state.last_loss);
    const nlohmann::json tasks = json.value("tasks", nlohmann::json::object());  // earlier programs wrote none
    for (const auto& [name, count] : tasks.items()) state.tasks[name] = {count.at("steps"), count.at("tokens")};
    json.at("evaluated_step").get_to(state.evaluated_step);
    json.at("has_best").get_to(state.has_best);
    json.at("best_step").get_to(state.best_step);
    json.at("best_score").get_to(state.best_score);
    json.at("best_metrics").get_to(state.best_metrics);
    json.at("evaluations_without_improvement").get_to(state.evaluations_without_improvement);
    json.at("settings").get_to(state.settings);
  } catch (const nlohmann::json::exception& error) {
    fail_user(path.string(), ": not a training state (", error.what(), ")");
  }
  return state;
}

// --- the end mark -------------------------------------------------------------------------------------------------------

void write_end_mark(const fs::path& folder) {
  nlohmann::json files = nlohmann::json::object();
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = {{"bytes", entry.file_size()}, {"xxh3", xxh3_file(entry.path())}};
  }
  write_file_atomically(folder / kEndMark, nlohmann::json{{"version", kVersion}, {"files", files}}.dump(1) + "\n");
}

[[noreturn]] void refuse(const fs::path& folder, const std::string& why) {
  fail_user("checkpoint ", folder.string(), " ", why,
            "; delete that folder to resume from an older checkpoint or start anew");
}

void verify(const fs::path& folder, bool contents) {
  const fs::path mark = folder / kEndMark;
  if (!fs::exists(mark)) refuse(folder, concatenate("has no end mark (", kEndMark, "): it is not complete"));
  const nlohmann::json json = read_json(mark);
  if (!json.is_object() || !json.contains("files") || !json["files"].is_object()) {
    refuse(folder, concatenate("has an end mark (", kEndMark, ") that lists no files"));
  }
  for (const auto& [name, file] : json["files"].items()) {
    if (!file.is_object() || !file.value("bytes", nlohmann::json()).is_number_unsigned() ||
        !file.value("xxh3", nlohmann::json()).is_string()) {
      refuse(folder, concatenate("has an end mark (", kEndMark, ") without size and hash of ", name));
    }
    const fs::path path = folder / name;
    std::error_code error;
    const std::uintmax_t bytes = fs::file_size(path, error);
    if (error) refuse(folder, concatenate("lacks its file ", name));
    if (bytes != file.value("bytes", std::uintmax_t{0})) {
      refuse(folder, concatenate("is damaged: ", name, " has ", bytes, " bytes, its end mark says ",
                                 file["bytes"].get<std::uintmax_t>()));
    }
    if (contents && xxh3_file(path) != file.value("xxh3", std::string())) {
      refuse(folder, concatenate("is damaged: ", name, " is not the file that was written"));
    }
  }
  for (const char* name : {kModelFile, kOptimizerFile, kStateFile}) {
    if (!json["files"].contains(name)) refuse(folder, concatenate("lacks its file ", name));
  }
}

// --- tensors ------------------------------------------------------------------------------------------------------------

using Values = ParameterStore::Values;

std::vector<TensorSource> weights_of(const ParameterStore& store) {
  std::vector<TensorSource> sources;
  const ParameterTable& table = store.table();
  for (int index = 0; index < table.size(); ++index) {
    const auto read = [&store, index](void* to) { store.read(Values::kMaster, index, static_cast<float*>(to)); };
    sources.push_back({table[index].name, "F32", table[index].shape, nullptr, read});
  }
  return sources;
}

void read_weights(const SafetensorsFile& file, const ParameterTable& table,
                  const std::function<void(int, const std::vector<float>&)>& take) {
  for (int index = 0; index < table.size(); ++index) {
    const std::string& name = table[index].name;
    require(file.entry(name).shape == table[index].shape, file.path().string(), ": tensor ", name,
            " has another shape than this model's; resume with the model the run was started with");
    take(index, file.read_float(name));
  }
}

}  // namespace

void save_checkpoint(const fs::path& directory, const TrainingState& state, const ParameterStore& store,
                     const OptimizerState& optimizer, const std::vector<float>& best, std::int64_t keep) {
  const fs::path checkpoints = checkpoints_of(directory);
  const fs::path target = checkpoints / folder_name(state.step);
  make_directory(checkpoints);
  delete_partial(checkpoints);
  PartialFolder partial(target.string() + std::string(kPartial));

  const ParameterTable& table = store.table();
  write_safetensors(partial.path() / kModelFile, weights_of(store));
  write_safetensors(partial.path() / kOptimizerFile, optimizer.tensors());
  if (!best.empty()) {
    check(static_cast<std::int64_t>(best.size()) == table.elements(), "best weights of another model");
    std::vector<TensorSource> sources;
    for (const ParameterSpec& spec : table.specs()) {
      sources.push_back({spec.name, "F32", spec.shape, best.data() + spec.offset, {}});
    }
    write_safetensors(partial.path() / kBestFile, sources);
  }
  write_file_atomically(partial.path() / kStateFile, to_json(state).dump(1) + "\n");
  write_end_mark(partial.path());

  if (fs::exists(target)) delete_checkpoint(target);
  partial.keep_as(target);
  sync_folder(checkpoints);
  std::vector<std::pair<std::int64_t, fs::path>> all = list_checkpoints(directory);
  for (std::size_t index = 0; index + static_cast<std::size_t>(keep) < all.size(); ++index)
    delete_checkpoint(all[index].second);
}

// Reading a source is collective where ranks share it out: all of them in the order in which they are written.
void follow_checkpoint(const ParameterStore& store, const OptimizerState& optimizer) {
  if (store.shards() == nullptr) return;
  std::vector<std::byte> ignored;
  for (std::vector<TensorSource> sources : {weights_of(store), optimizer.tensors()}) {
    std::sort(sources.begin(), sources.end(), [](const TensorSource& a, const TensorSource& b) { return a.name < b.name; });
    for (const TensorSource& source : sources) {
      std::size_t bytes = sizeof(float);
      for (const std::int64_t side : source.shape) bytes *= static_cast<std::size_t>(side);
      ignored.resize(bytes);
      source.read(ignored.data());
    }
  }
}

std::optional<fs::path> newest_checkpoint(const fs::path& directory) {
  const std::vector<std::pair<std::int64_t, fs::path>> all = list_checkpoints(directory);
  if (all.empty()) return std::nullopt;
  verify(all.back().second, false);
  return all.back().second;
}

TrainingState load_checkpoint(const fs::path& folder, ParameterStore& store, OptimizerState& optimizer,
                              std::vector<float>& best) {
  verify(folder, true);
  const TrainingState state = parse_state(folder / kStateFile);
  const ParameterTable& table = store.table();
  const SafetensorsFile model(folder / kModelFile);
  require(model.tensors().size() == static_cast<std::size_t>(table.size()), model.path().string(), ": holds ",
          model.tensors().size(), " tensors, this model has ", table.size(),
          "; resume with the model the run was started with");
  read_weights(model, table,
               [&](int index, const std::vector<float>& values) { store.write(Values::kMaster, index, values.data()); });
  optimizer.read(SafetensorsFile(folder / kOptimizerFile));
  best.clear();
  if (fs::exists(folder / kBestFile)) {
    best.resize(static_cast<std::size_t>(table.elements()));
    const SafetensorsFile file(folder / kBestFile);
    read_weights(file, table, [&](int index, const std::vector<float>& values) {
      std::copy(values.begin(), values.end(), best.begin() + table[index].offset);
    });
  }
  return state;
}

void require_same_settings(const fs::path& folder, const std::map<std::string, std::string>& saved,
                           const std::map<std::string, std::string>& present) {
  const auto value = [](const std::map<std::string, std::string>& settings, const std::string& name) {
    const auto found = settings.find(name);
    return found == settings.end() ? std::string("not set") : found->second;
  };
  std::map<std::string, std::string> names = saved;
  names.insert(present.begin(), present.end());
  for (const auto& [name, unused] : names) {
    const auto implied = kImplied.find(name);
    const std::string before = saved.contains(name) || implied == kImplied.end() ? value(saved, name) : implied->second;
    const std::string now = value(present, name);
    require(before == now, "checkpoint ", folder.string(), " was made with ", name, " = ", before, ", this run has ", now,
            "; resume with the old value, or start anew in another directory");
  }
}

}  // namespace koine
