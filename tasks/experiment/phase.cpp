#include "tasks/experiment/phase.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace fs = std::filesystem;

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

PhaseFolder::PhaseFolder(fs::path directory, const std::string& config, bool redo)
    : directory_(std::move(directory)), fingerprint_(xxh3_hex(config)) {
  const fs::path config_file = directory_ / "config.toml";
  const fs::path end_mark = directory_ / "done.json";
  if (fs::exists(config_file)) {
    const std::string there = read_file(config_file);
    if (there != config) {
      require(redo, directory_.string(), " was made with other settings (", first_difference(there, config),
              "); choose another --output, or give --redo to make it again");
      fs::remove_all(directory_);
    }
  } else if (fs::exists(directory_) && !fs::is_empty(directory_)) {
    fail_user(directory_.string(), " holds files but no config.toml, so they are not of a run; choose another --output");
  }
  make_directory(directory_);
  if (!fs::exists(config_file)) write_file_atomically(config_file, config);
  if (fs::exists(end_mark)) {
    result_ = read_json(end_mark);
    require(result_.is_object() && result_.value("fingerprint", "") == fingerprint_, end_mark.string(),
            " does not belong to the config.toml beside it; delete ", directory_.string(), " to make it again");
    done_ = true;
  }
}

void PhaseFolder::finish(nlohmann::json result) {
  result["fingerprint"] = fingerprint_;
  result_ = std::move(result);
  write_file_atomically(directory_ / "done.json", result_.dump(2) + "\n");
  done_ = true;
}

}  // namespace koine
