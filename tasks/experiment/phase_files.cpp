#include "tasks/experiment/phase_files.h"

#include "kernels/common/check.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

/// Of one phase's data folder.
class DataFiles {
 public:
  DataFiles(const fs::path& data, HashCache& hashes) : data_(data), hashes_(hashes) {}

  void add(const fs::path& path) {
    const std::string name = path.lexically_relative(data_).generic_string();
    if (!files_.contains(name)) files_[name] = hashes_.hash(path);
  }
  void add(const Task& task, const std::string& split, const std::string& language) {
    for (const fs::path& path : task.data_files(data_, split, language)) add(path);
  }
  FileHashes take() { return std::move(files_); }

 private:
  const fs::path& data_;
  HashCache& hashes_;
  FileHashes files_;
};

}  // namespace

FileHashes model_files(const fs::path& directory, HashCache& hashes) {
  const fs::path folder = fs::absolute(directory / "").lexically_normal().parent_path();
  std::vector<fs::path> paths = {folder / "config.json"};
  if (fs::exists(folder / "model.safetensors")) {
    paths.push_back(folder / "model.safetensors");
  } else {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".safetensors") || name == "model.safetensors.index.json") paths.push_back(entry.path());
    }
  }
  FileHashes files;
  for (const fs::path& path : paths) files[(folder.filename() / path.filename()).generic_string()] = hashes.hash(path);
  return files;
}

FileHashes data_files(const std::vector<TrainedTask>& tasks, const std::optional<PlannedEvaluation>& evaluation,
                      const fs::path& data, const std::string& source_language, HashCache& hashes) {
  DataFiles files(data, hashes);
  for (const TrainedTask& trained : tasks) {
    for (const std::string& language : trained.languages) files.add(*trained.task, "train", language);
    if (!trained.equal_tokens_to.empty()) files.add(*trained.task, "train", trained.equal_tokens_to);
    for (const std::string& file : trained.files) files.add(data / file);
    if (trained.has_dev) files.add(*trained.task, "dev", source_language);
  }
  if (evaluation.has_value()) {
    for (const std::string& language : evaluation->languages) files.add(*evaluation->task, evaluation->split, language);
  }
  return files.take();
}

}  // namespace koine
