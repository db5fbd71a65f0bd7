// A libFuzzer program of one target: KOINE_FUZZ_TARGET names the function of koine::fuzz.

#include <cstddef>
#include <cstdint>

#include "tests/fuzz/targets.h"
#include "tests/fuzz/task_formats_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  koine::fuzz::KOINE_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
