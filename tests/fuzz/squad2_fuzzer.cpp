#include <cstddef>
#include <cstdint>

#include "tests/fuzz/task_formats_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  koine::fuzz::squad2({reinterpret_cast<const char*>(data), size});
  return 0;
}
