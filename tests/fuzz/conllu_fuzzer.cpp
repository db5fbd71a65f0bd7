#include <cstddef>
#include <cstdint>

#include "tests/fuzz/conllu_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  koine::fuzz::conllu({reinterpret_cast<const char*>(data), size});
  return 0;
}
