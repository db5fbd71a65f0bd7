#pragma once

#include <string>

namespace koine {

/// The text of examples/demo.toml, built in.
std::string demo_experiment_text();

/// The text of examples/demo-mt5.toml, which is for a model that answers with texts.
std::string demo_mt5_experiment_text();

/// The text of examples/demo-pretrained.toml, which is for a pretrained model of the user's.
std::string demo_pretrained_experiment_text();

}  // namespace koine
