#pragma once

// Copy with conversion between fp32 and bf16: bf16 -> fp32 exact, fp32 -> bf16 to nearest even. [count] elements.

#include <cstdint>

#include "kernels/common/registry.h"

namespace koine {

struct CastArguments {
  std::int64_t count = 0;
  DType input_type = DType::kFloat32;
  DType output_type = DType::kBFloat16;
  const void* input = nullptr;
  void* output = nullptr;
};

inline void cast(const Context& context, const CastArguments& arguments) { run(context, arguments); }

}  // namespace koine
