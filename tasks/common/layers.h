#pragma once

// Which hidden states of a model its sentence vectors are taken from. Numbered as transformers' output_hidden_states: 0 is
// behind the embeddings, l behind block l.

#include <cstdint>
#include <string>
#include <vector>

namespace koine {

/// As an experiment or a command asks for them.
struct LayerChoice {
  bool all = false;                       ///< every one, 0 to the model's last
  std::vector<std::int64_t> layers = {};  ///< else these; none: the task's own
  bool operator==(const LayerChoice&) const = default;
};

/// "all", or numbers with commas between them; "": the task's own. UserError, beginning with `where`, for anything else and
/// for a layer asked for twice.
LayerChoice parse_layers(const std::string& text, const std::string& where);
/// The text that parse_layers reads.
std::string text_of(const LayerChoice& choice);

/// The hidden states a choice stands for, in order; empty where it leaves them to the task. UserError as require_layers.
std::vector<std::int64_t> resolve_layers(const LayerChoice& choice, std::int64_t model_layers, const std::string& where);

/// UserError, beginning with `where`, naming the layer that a model of so many does not have.
void require_layers(const std::vector<std::int64_t>& layers, std::int64_t model_layers, const std::string& where);

}  // namespace koine
