#include "tasks/experiment/phase.h"

#include <algorithm>
#include <sstream>

#include "engine/files/atomic_file.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/toml_settings.h"
#include "tasks/experiment/training_phase.h"

namespace koine {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kConfig = "config.toml";
constexpr const char* kEndMark = "done.json";
/// Not "files": pretraining has a setting of that name.
constexpr std::string_view kFilesSection = "\n[file_hashes]\n";
constexpr std::string_view kEarlierFilesSection = "\n[files]\n";

std::string file_line(const std::string& name, const std::string& hash) { return toml_text(name) + " = \"" + hash + "\"\n"; }

/// A config.toml in its two parts: what describes the phase, and the lines of [file_hashes], none where it has no such part.
std::pair<std::string, std::string> split_config(const std::string& text) {
  for (const std::string_view section : {kFilesSection, kEarlierFilesSection}) {
    const std::size_t at = text.rfind(section);
    if (at != std::string::npos) return {text.substr(0, at), text.substr(at + section.size())};
  }
  return {text, ""};
}

std::map<std::string, std::string> lines_by_name(const std::string& lines) {
  std::map<std::string, std::string> result;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) {
    const std::size_t equals = line.rfind(" = ");
    if (equals != std::string::npos) result[line.substr(0, equals)] = line.substr(equals + 3);
  }
  return result;
}

/// What became of the files a phase was made from, for people; empty where they are the same.
std::string file_difference(const std::string& there, const std::string& here) {
  const std::map<std::string, std::string> then = lines_by_name(there);
  const std::map<std::string, std::string> now = lines_by_name(here);
  std::string instead;
  for (const auto& [name, hash] : now) {
    if (then.count(name) == 0 && instead.empty()) instead = name;
  }
  for (const auto& [name, hash] : then) {
    const auto found = now.find(name);
    if (found == now.end()) {
      return name + " is gone" + (instead.empty() ? std::string() : ", " + instead + " would be read now");
    }
    if (found->second != hash) return concatenate(name, " has changed: XXH3 ", hash, " then, ", found->second, " now");
  }
  return instead.empty() ? "" : instead + " would be read besides";
}

/// Why a folder made as `there` says is not that of the phase; empty where it is.
std::string difference(const std::string& there, const std::string& config, const FileHashes& files) {
  const auto [settings, lines] = split_config(there);
  if (settings != config) return "was made with other settings (" + first_difference(settings, config) + ")";
  if (lines.empty()) return "";
  std::string present;
  for (const auto& [name, hash] : files) present += file_line(name, hash);
  const std::string changed = file_difference(lines, present);
  return changed.empty() ? "" : "was made from other files (" + changed + ")";
}

/// Whether a folder is not there, or holds at most what the making of a phase leaves when it is killed.
bool is_unused(const fs::path& directory) {
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, none)) {
    const std::string name = entry.path().filename().string();
    if (name != kLockFile && !is_temporary_name(name)) return false;
  }
  return true;
}

}  // namespace

std::string first_difference(const std::string& there, const std::string& here) {
  std::istringstream old_lines(there);
  std::istringstream new_lines(here);
  std::string old_line;
  std::string new_line;
  while (true) {
    const bool old_more = static_cast<bool>(std::getline(old_lines, old_line));
    const bool new_more = static_cast<bool>(std::getline(new_lines, new_line));
    if (!old_more && !new_more) return "";
    if (!old_more) old_line = "nothing";
    if (!new_more) new_line = "nothing";
    if (old_line != new_line) return old_line + " there, " + new_line + " here";
  }
}

std::string phase_config(const std::string& config, const FileHashes& files) {
  if (files.empty()) return config;
  std::string text = config + std::string(kFilesSection);
  for (const auto& [name, hash] : files) text += file_line(name, hash);
  return text;
}

void require_same_phase(const fs::path& directory, const std::string& config, const FileHashes& files) {
  if (!fs::exists(directory / kConfig)) return;
  const std::string other = difference(read_file(directory / kConfig), config, files);
  require(other.empty(), directory.string(), " ", other, "; choose another --output, or give --redo to make it again");
}

std::string phase_fingerprint(const fs::path& directory, const std::string& config, const FileHashes& files) {
  if (fs::exists(directory / kConfig)) {
    const std::string there = read_file(directory / kConfig);
    if (difference(there, config, files).empty()) return xxh3_hex(there);
  }
  return xxh3_hex(phase_config(config, files));
}

PhaseFolder::PhaseFolder(fs::path directory, const std::string& config, const FileHashes& files, bool redo)
    : directory_(std::move(directory)) {
  if (fits(config, files, redo)) read_end_mark();
  if (!done_) {
    make_directory(directory_);
    lock_ = std::make_unique<FolderLock>(directory_);
    const bool same = fits(config, files, redo);  // another process may have been at it
    if (!same) empty();
    continued_ = same && fs::exists(directory_ / kConfig);
    if (!continued_) write_file_atomically(directory_ / kConfig, phase_config(config, files));
    read_end_mark();
  }
  fingerprint_ = xxh3_hex(read_file(directory_ / kConfig));
  if (done_) {
    require(result_.is_object() && result_.contains("fingerprint") && result_["fingerprint"] == fingerprint_,
            (directory_ / kEndMark).string(), " does not belong to the config.toml beside it; delete ", directory_.string(),
            " to make it again");
  }
  tidy();
}

/// Whether the folder is the phase's as it stands, or is yet to be made; false where it is to be made again.
bool PhaseFolder::fits(const std::string& config, const FileHashes& files, bool redo) {
  if (!fs::exists(directory_ / kConfig)) {
    require(is_unused(directory_), directory_.string(),
            " holds files but no config.toml, so they are not of a run; choose another --output");
    return true;
  }
  if (!redo) require_same_phase(directory_, config, files);
  return difference(read_file(directory_ / kConfig), config, files).empty();
}

// What says that something is done goes first, config.toml last: killed in between, the folder is one of the old settings
// that is not done.
void PhaseFolder::empty() {
  for (const char* mark : {kEndMark, "trained.json", "evaluations.json"}) remove_at_once(directory_ / mark);
  std::vector<fs::path> rest;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename().string();
    if (name != kConfig && name != kLockFile) rest.push_back(entry.path());
  }
  for (const fs::path& path : rest) remove_at_once(path);
  remove_at_once(directory_ / kConfig);
}

void PhaseFolder::read_end_mark() {
  if (!fs::exists(directory_ / kEndMark)) return;
  result_ = read_json(directory_ / kEndMark);
  done_ = true;
}

void PhaseFolder::tidy() const {
  remove_leftovers(directory_, true);
  if (!done_) return;
  remove_checkpoints(directory_);
  if (lock_ != nullptr || !fs::exists(directory_ / kLockFile)) return;
  try {
    const FolderLock left_behind(directory_);  // goes with it
  } catch (const UserError&) {
    // It has a holder, who has just finished.
  }
}

void PhaseFolder::finish(json result) {
  result["fingerprint"] = fingerprint_;
  result_ = std::move(result);
  write_file_atomically(directory_ / kEndMark, result_.dump(2) + "\n");
  done_ = true;
  remove_checkpoints(directory_);
}

json model_record(const fs::path& directory) {
  json record = json::object();
  std::error_code none;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory / "model", none)) {
    if (!entry.is_regular_file() || is_temporary_name(entry.path().filename().string())) continue;
    record[entry.path().filename().string()] = {{"bytes", entry.file_size()}, {"xxh3", xxh3_file(entry.path())}};
  }
  return record;
}

void require_same_model(const fs::path& directory, const json& mark) {
  if (!mark.is_object() || !mark.contains("files") || !mark["files"].is_object()) return;
  for (const auto& [name, file] : mark["files"].items()) {
    const fs::path path = directory / "model" / name;
    require(fs::exists(path), path.string(), " is gone, but the phase that wrote it is marked as done; delete ",
            directory.string(), " to make it again");
    require(file.is_object() && file.contains("xxh3") && file["xxh3"] == xxh3_file(path), path.string(),
            " is not the file that was written there (its bytes have changed since); restore it, or delete ",
            directory.string(), " to make it again");
  }
}

}  // namespace koine
