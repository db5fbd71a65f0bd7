#pragma once

#include <string>

namespace koine {

/// The text of examples/demo.toml, built in.
std::string demo_experiment_text();

}  // namespace koine
