#pragma once

// One phase of an experiment and its folder.
//
//   config.toml    everything that decides the phase's result, resolved, the fingerprints of the phases it builds on
//                  included; written first
//   metrics.jsonl, events.out.tfevents.*, checkpoints/   of its training
//   model/         a transformers directory, where the phase leaves a model
//   done.json      end mark: the fingerprint of config.toml and what the phase gave; written last
// A folder with its end mark is never run again; one without is continued. A folder whose config.toml says something else is
// refused, naming the first difference, so that settings can change only knowingly.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace koine {

class PhaseFolder {
 public:
  /// Opens or makes `directory` for a phase that `config` describes. `redo`: a folder made with other settings is emptied
  /// instead of refused.
  PhaseFolder(std::filesystem::path directory, const std::string& config, bool redo);

  const std::filesystem::path& path() const { return directory_; }
  /// XXH3 of config.toml: what phases that build on this one put into theirs.
  const std::string& fingerprint() const { return fingerprint_; }
  bool done() const { return done_; }
  /// What finish() was given. Only where done().
  const nlohmann::json& result() const { return result_; }
  /// Writes the end mark.
  void finish(nlohmann::json result);

 private:
  std::filesystem::path directory_;
  std::string fingerprint_;
  bool done_ = false;
  nlohmann::json result_;
};

/// The first line in which two config.toml differ, for people: "learning_rate = 1e-05 there, 2e-05 here". Empty where they
/// are equal.
std::string first_difference(const std::string& there, const std::string& here);

}  // namespace koine
