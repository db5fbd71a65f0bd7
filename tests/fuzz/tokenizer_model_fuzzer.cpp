#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  koine::fuzz::tokenizer_model({reinterpret_cast<const char*>(data), size});
  return 0;
}
