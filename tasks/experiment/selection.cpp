#include "tasks/experiment/selection.h"

#include <fnmatch.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

constexpr const char* kWhereListed = "; `koine run FILE --list-phases` lists them";

bool all_digits(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

/// "7" or "4-9".
bool is_range(const std::string& text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string::npos) return all_digits(text);
  return all_digits(text.substr(0, dash)) && all_digits(text.substr(dash + 1));
}

/// A number from 1 to the last phase's.
std::size_t phase_number(const std::string& digits, std::size_t phases, const std::string& part) {
  std::size_t number = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  require(read.ec == std::errc() && number >= 1 && number <= phases, "--only ", part,
          ": the phases of this experiment are 1 to ", phases, kWhereListed);
  return number;
}

void add_range(const std::string& part, std::size_t phases, std::set<std::size_t>& chosen) {
  const std::size_t dash = part.find('-');
  const std::size_t first = phase_number(part.substr(0, dash), phases, part);
  const std::size_t last = dash == std::string::npos ? first : phase_number(part.substr(dash + 1), phases, part);
  require(first <= last, "--only ", part, ": the first number is the greater one");
  for (std::size_t number = first; number <= last; ++number) chosen.insert(number - 1);
}

void add_named(const std::string& part, const std::vector<std::string>& names, std::set<std::size_t>& chosen) {
  bool found = false;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (fnmatch(part.c_str(), names[i].c_str(), FNM_PATHNAME) != 0) continue;
    chosen.insert(i);
    found = true;
  }
  if (found) return;
  const std::string near = nearest_name(part, names);
  fail_user("--only ", part, ": no phase of this experiment is called that",
            near.empty() ? kWhereListed : "; did you mean \"" + near + "\"?");
}

}  // namespace

std::string phase_name(const Plan& plan, const PlannedPhase& phase) {
  if (phase.kind == PhaseKind::kPretraining) return "pretraining";
  const Experiment& experiment = plan.experiment;
  std::string name = experiment.intermediate[phase.arm].name + "/";
  if (phase.kind == PhaseKind::kTarget) name += experiment.targets[phase.target].name + "/";
  return concatenate(name, phase.seed);
}

std::vector<std::size_t> select_phases(const Plan& plan, const std::string& selection) {
  std::vector<std::string> names;
  for (const PlannedPhase& phase : plan.phases) names.push_back(phase_name(plan, phase));
  std::set<std::size_t> chosen;
  if (selection.empty()) {
    for (std::size_t i = 0; i < names.size(); ++i) chosen.insert(i);
  }
  std::istringstream parts(selection);
  for (std::string part; std::getline(parts, part, ',');) {
    if (is_range(part)) {
      add_range(part, names.size(), chosen);
    } else {
      add_named(part, names, chosen);
    }
  }
  return {chosen.begin(), chosen.end()};
}

}  // namespace koine
