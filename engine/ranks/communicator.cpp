#include "engine/ranks/communicator.h"

#include <cstring>

#include "kernels/common/check.h"
#include "kernels/cuda/runtime.h"

namespace koine {

void OneRank::copy(DType type, const void* from, void* to, std::int64_t count, void* stream) const {
  if (to == from || count == 0) return;
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(type);
  if (device_ == Device::kCpu) {
    std::memcpy(to, from, bytes);
  } else {
    cuda::copy_on_device(to, from, bytes, stream);
  }
}

void OneRank::reduce_scatter(DType type, const void* from, void* to, std::int64_t count, void* stream) {
  copy(type, from, to, count, stream);
}

void OneRank::all_gather(DType type, const void* from, void* to, std::int64_t count, void* stream) {
  copy(type, from, to, count, stream);
}

void OneRank::all_to_all(DType type, const void* from, void* to, std::int64_t count, void* stream) {
  copy(type, from, to, count, stream);
}

void OneRank::broadcast(DType, void*, std::int64_t, int root, void*) {
  check(root == 0, "broadcast from rank ", root, " of a run with one");
}

std::string OneRank::share(const std::string& text, int root) {
  check(root == 0, "text from rank ", root, " of a run with one");
  return text;
}

}  // namespace koine
