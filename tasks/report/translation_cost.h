#pragma once

namespace koine {

/// What translating a training set costs, for each token of the translations (as the model's tokenizer counts them), once for all passes
/// over it. 0: not counted.
struct TranslationCost {
  /// 2 FLOPs for each parameter of an encoder-decoder that reads a sentence and writes it, greedily: half of them meet a token of either side.
  double flops_per_token = 0;
  /// FLOP/s of translating by that of training on the same device. Assumed: decoding reaches a tenth of a device's rate, training six tenths.
  double efficiency = 1.0 / 6;
  /// Money for a million tokens, as a service asks it, instead of the device's hours.
  double price_per_million_tokens = 0;
};

}  // namespace koine
