#pragma once

// One phase of an experiment and its folder.
//
//   config.toml    everything that decides the phase's result, resolved, the fingerprints of the phases it builds on
//                  included, and in [file_hashes] the hash of every file it reads; written first
//   metrics.jsonl, events.out.tfevents.*, checkpoints/   of its training
//   model/         a transformers directory, where the phase leaves a model
//   done.json      end mark: the fingerprint of config.toml, what the phase gave, and the hash of every file of model/;
//                  written last
//   run.lock       while a process works on it (engine/files/folder_lock.h)
// A folder with its end mark is never run again; one without is continued. A folder whose config.toml says something else is
// refused, naming the first difference, so that settings and files can change only knowingly. What a killed program left
// under temporary names, and checkpoints behind an end mark, are removed by the next that opens the folder.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/files/folder_lock.h"

namespace koine {

/// Files by the name people know them by, with the XXH3 of their bytes.
using FileHashes = std::map<std::string, std::string>;

class PhaseFolder {
 public:
  /// Opens or makes `directory` for a phase that `config` describes and that reads `files`. `redo`: a folder made with other
  /// settings or from other files is emptied instead of refused. Where the phase is not done the folder is locked until this
  /// object goes. UserErrors naming the folder, also where another process has its lock.
  PhaseFolder(std::filesystem::path directory, const std::string& config, const FileHashes& files, bool redo);

  const std::filesystem::path& path() const { return directory_; }
  /// XXH3 of config.toml: what phases that build on this one put into theirs.
  const std::string& fingerprint() const { return fingerprint_; }
  bool done() const { return done_; }
  /// Whether an earlier call had begun it.
  bool continued() const { return continued_; }
  /// What finish() was given. Only where done().
  const nlohmann::json& result() const { return result_; }
  /// Writes the end mark and removes checkpoints.
  void finish(nlohmann::json result);

 private:
  bool fits(const std::string& config, const FileHashes& files, bool redo);
  void empty();
  void read_end_mark();
  void tidy() const;

  std::filesystem::path directory_;
  std::string fingerprint_;
  bool done_ = false;
  bool continued_ = false;
  nlohmann::json result_;
  std::unique_ptr<FolderLock> lock_;
};

/// config.toml of a phase.
std::string phase_config(const std::string& config, const FileHashes& files);

/// UserError where `directory` holds the config.toml of a phase with other settings or from other files. One that is not
/// there, and one of a program that kept no [file_hashes], is as good as the same.
void require_same_phase(const std::filesystem::path& directory, const std::string& config, const FileHashes& files);

/// The fingerprint the phase has, or is going to have.
std::string phase_fingerprint(const std::filesystem::path& directory, const std::string& config, const FileHashes& files);

/// The first line in which two config.toml differ, for people: "learning_rate = 1e-05 there, 2e-05 here". Empty where they
/// are equal.
std::string first_difference(const std::string& there, const std::string& here);

/// Hash and size of every file of `directory`/model, for an end mark's "files"; an empty object where there is no model.
nlohmann::json model_record(const std::filesystem::path& directory);

/// UserError naming the first file of `directory`/model that is not the one its end mark `mark` speaks of. An end mark of a
/// program that kept no hashes says nothing.
void require_same_model(const std::filesystem::path& directory, const nlohmann::json& mark);

}  // namespace koine
