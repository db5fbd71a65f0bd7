#include "engine/ranks/nccl_api.h"

#include <dlfcn.h>

#include <cstdlib>

#include "kernels/common/check.h"

namespace koine::nccl {

namespace {

template <class Function>
void find_function(void* handle, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  require(function != nullptr, "the NCCL that was found lacks ", name, ": 2.14 or later is needed");
}

void* open_library() {
  const char* named = std::getenv("KOINE_NCCL");
  const char* file = named != nullptr && *named != '\0' ? named : "libnccl.so.2";
  return dlopen(file, RTLD_NOW | RTLD_LOCAL);
}

Api load_library() {
  void* handle = open_library();
  require(handle != nullptr, "ranks on GPUs talk through NCCL, which cannot be loaded (", dlerror(),
          "); install it, or name its file in KOINE_NCCL");
  Api api = {};
  find_function(handle, "ncclGetUniqueId", api.get_unique_id);
  find_function(handle, "ncclCommInitRankConfig", api.init);
  find_function(handle, "ncclCommGetAsyncError", api.get_async_error);
  find_function(handle, "ncclCommAbort", api.abort);
  find_function(handle, "ncclCommFinalize", api.finalize);
  find_function(handle, "ncclCommDestroy", api.destroy);
  find_function(handle, "ncclGetErrorString", api.error_text);
  find_function(handle, "ncclGetLastError", api.last_error);
  find_function(handle, "ncclAllReduce", api.all_reduce);
  find_function(handle, "ncclReduceScatter", api.reduce_scatter);
  find_function(handle, "ncclAllGather", api.all_gather);
  find_function(handle, "ncclBroadcast", api.broadcast);
  find_function(handle, "ncclSend", api.send);
  find_function(handle, "ncclRecv", api.receive);
  find_function(handle, "ncclGroupStart", api.group_start);
  find_function(handle, "ncclGroupEnd", api.group_end);
  return api;
}

}  // namespace

const Api& library() {
  static const Api api = load_library();
  return api;
}

std::string version_found() {
  void* handle = open_library();
  if (handle == nullptr) return "";
  const auto get_version = reinterpret_cast<Result (*)(int*)>(dlsym(handle, "ncclGetVersion"));
  int version = 0;
  if (get_version == nullptr || get_version(&version) != kSuccess) return "";
  return concatenate(version / 10000, ".", version / 100 % 100, ".", version % 100);
}

}  // namespace koine::nccl
