#include "tasks/common/layers.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "kernels/common/check.h"

namespace koine {

LayerChoice parse_layers(const std::string& text, const std::string& where) {
  LayerChoice choice;
  if (text == "all") choice.all = true;
  if (text.empty() || choice.all) return choice;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    std::int64_t layer = -1;
    const auto [stop, error] = std::from_chars(at, end, layer);
    require(error == std::errc() && layer >= 0 && (stop == end || *stop == ','), where, " is \"", text,
            "\": it must be \"all\" or the numbers of hidden states with commas between them (0: the embeddings)");
    require(std::find(choice.layers.begin(), choice.layers.end(), layer) == choice.layers.end(), where, " is \"", text,
            "\": layer ", layer, " stands there twice");
    choice.layers.push_back(layer);
    if (stop == end) return choice;
    at = stop + 1;
  }
}

std::string text_of(const LayerChoice& choice) {
  if (choice.all) return "all";
  std::string text;
  for (const std::int64_t layer : choice.layers) text += (text.empty() ? "" : ",") + std::to_string(layer);
  return text;
}

std::vector<std::int64_t> resolve_layers(const LayerChoice& choice, std::int64_t model_layers, const std::string& where) {
  std::vector<std::int64_t> layers = choice.layers;
  if (choice.all) {
    layers.resize(static_cast<std::size_t>(model_layers) + 1);
    std::iota(layers.begin(), layers.end(), 0);
  }
  require_layers(layers, model_layers, where);
  return layers;
}

void require_layers(const std::vector<std::int64_t>& layers, std::int64_t model_layers, const std::string& where) {
  for (const std::int64_t layer : layers) {
    require(layer >= 0 && layer <= model_layers, where, where.empty() ? "" : ": ", "layer ", layer,
            " does not exist: the model's hidden states are 0 (embeddings) to ", model_layers);
  }
}

}  // namespace koine
