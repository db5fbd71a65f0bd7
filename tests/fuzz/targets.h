#pragma once

// What a fuzzer does with one input of each parser: read it, then use everything the parser promises about what it accepted.
// UserError is the answer to bad input; any other exception, a failed check or a sanitizer's report is a finding.
//
// tests/engine/fuzz_test.cpp and tests/tasks run these on mutated files in every test run; libFuzzer makes inputs for them, too
// (fuzzer.cpp, with Clang; tools/fuzz.sh).

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "engine/files/npy.h"
#include "engine/files/pickle.h"
#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/files/torch_pickle.h"
#include "engine/tokenizer/model_file.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/unigram.h"
#include "kernels/common/check.h"

namespace koine::fuzz {

/// Calls `parse`; whether it accepted the input.
template <class Parse>
bool accepts(const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const UserError&) {
    return false;
  }
}

inline bool safetensors(std::string_view bytes) {
  return accepts([&] {
    const SafetensorsHeader header = parse_safetensors_header(bytes, "fuzz");
    for (const auto& [name, entry] : header.tensors) {
      check(header.data_begin + entry.end <= bytes.size(), "a tensor reaches outside its file");
      check(static_cast<std::uint64_t>(entry.count()) * static_cast<std::uint64_t>(safetensors_bits(entry.dtype)) ==
                (entry.end - entry.begin) * 8,
            "a tensor's size is not that of its shape");
    }
  });
}

inline bool json(std::string_view bytes) {
  return accepts([&] {
    const nlohmann::json value = parse_json(bytes, "fuzz");
    check(parse_json(value.dump(), "again") == value, "a JSON value is not what it was written as");
  });
}

inline bool pickle(std::string_view bytes) {
  return accepts([&] {
    const Pickle value(bytes, "fuzz");
    check(value.size() <= bytes.size(), "a pickle is longer than its file");
  });
}

inline bool torch_checkpoint(std::string_view bytes) {
  return accepts([&] {
    unsigned sum = 0;
    for (const TorchTensor& tensor : parse_torch_checkpoint(bytes, "fuzz")) {
      std::uint64_t size = static_cast<std::uint64_t>(safetensors_bits(tensor.dtype)) / 8;
      for (const std::int64_t extent : tensor.shape) size *= static_cast<std::uint64_t>(extent);
      for (std::uint64_t i = 0; i < size; ++i) sum += static_cast<unsigned>(tensor.data[i]);
    }
    volatile unsigned used = sum;
    static_cast<void>(used);
  });
}

inline bool tokenizer_model(std::string_view bytes) {
  return accepts([&] {
    const TokenizerModel model = parse_tokenizer_model(bytes, "fuzz");
    const Normalizer normalizer(model.character_map);
    std::vector<std::int32_t> origins;
    const std::string text = " a\u0301 \u3000\uFF21\u00BD \u2026 \uAC01 \U0001F600 \x10z ";
    const std::string normal = normalizer.normalize(text, &origins);
    for (const std::int32_t origin : origins) {
      check(origin >= 0 && origin <= static_cast<std::int32_t>(text.size()), "a byte comes from outside the text");
    }
    if (!UnigramSegmenter::supports(model)) return;
    std::int32_t end = 0;
    for (const auto& segment : UnigramSegmenter(model.pieces).segment(normal)) {
      check(segment.end > end && segment.id < static_cast<std::int32_t>(model.pieces.size()),
            "a segment is empty or unknown");
      end = segment.end;
    }
    check(end == static_cast<std::int32_t>(normal.size()), "segments do not cover the text");
  });
}

inline bool utf8(std::string_view bytes) {
  if (invalid_utf8(bytes) != std::string_view::npos) return false;
  const auto offsets = code_point_offsets(bytes);
  check(std::is_sorted(offsets.begin(), offsets.end()) && offsets.back() == static_cast<std::int32_t>(bytes.size()),
        "code points out of order");
  return true;
}

inline bool npy(std::string_view bytes) {
  return accepts([&] {
    const NpyMatrix matrix = parse_npy(bytes, "fuzz");
    check(matrix.values.size() == static_cast<std::size_t>(matrix.rows * matrix.columns),
          "a matrix has another size than it says");
  });
}

}  // namespace koine::fuzz
