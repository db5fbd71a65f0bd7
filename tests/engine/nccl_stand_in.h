#pragma once

// Functions with NCCL's signatures that move the memory of the device, which has to be the host implementation of CUDA, between
// processes through files of a folder, or within one rank. They note what was called, and fail where a test wants it, as NCCL's
// documentation says it does: an operation returns ncclInProgress or ncclSystemError, a rank that is gone is ncclRemoteError at the
// next ncclCommGetAsyncError.

#include <stdlib.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/ranks/nccl_api.h"
#include "kernels/cuda/runtime.h"

struct ncclComm {
  int rank = 0;
  int size = 1;
  std::string folder;
  std::int64_t operations = 0;
};

namespace koine::nccl_stand_in {

struct State {
  std::vector<std::string> calls;
  std::map<std::string, nccl::Result> results;  ///< of a function, instead of its work
  nccl::Result async_error = nccl::kSuccess;    ///< what ncclCommGetAsyncError finds
  int polls_in_progress = 0;                    ///< so often it finds ncclInProgress behind whatever was begun
  int polls_left = 0;
  struct Piece {
    const void* from = nullptr;
    void* to = nullptr;
    std::size_t bytes = 0;
    int peer = 0;
    void* stream = nullptr;
  };
  bool in_group = false;
  std::vector<Piece> sends, receives;
  nccl::Comm grouped = nullptr;
};

inline State& state() {
  static State one;
  return one;
}

/// Notes a call. What it returns is final where `failed` says so.
inline nccl::Result note(const std::string& name, bool& failed) {
  state().calls.push_back(name);
  const auto found = state().results.find(name);
  failed = found != state().results.end();
  return failed ? found->second : nccl::kSuccess;
}

inline nccl::Result begun() {
  state().polls_left = state().polls_in_progress;
  return state().polls_left > 0 ? nccl::kInProgress : nccl::kSuccess;
}

inline std::size_t bytes_of(std::size_t count, nccl::DataType type) {
  return count * (type == nccl::kFloat64 ? 8 : type == nccl::kFloat32 ? 4 : type == nccl::kBfloat16 ? 2 : 1);
}

inline std::string from_device(const void* memory, std::size_t bytes, void* stream) {
  std::string values(bytes, '\0');
  cuda::copy_to_host(values.data(), memory, bytes, stream);
  cuda::synchronize(stream);
  return values;
}

inline void to_device(void* memory, const std::string& values, void* stream) {
  cuda::copy_to_device(memory, values.data(), values.size(), stream);
  cuda::synchronize(stream);
}

/// What every rank gives to an operation.
inline std::vector<std::string> give_and_take(nccl::Comm comm, const std::string& own) {
  if (comm->size == 1) return {own};
  const auto path = [&](std::int64_t operation, int rank) {
    return comm->folder + "/" + std::to_string(operation) + "." + std::to_string(rank);
  };
  const std::int64_t operation = comm->operations++;
  const std::string partial = path(operation, comm->rank) + ".partial";
  std::ofstream(partial, std::ios::binary) << own;
  std::filesystem::rename(partial, path(operation, comm->rank));
  std::vector<std::string> all;
  for (int rank = 0; rank < comm->size; ++rank) {
    for (int waits = 0; !std::filesystem::exists(path(operation, rank)) && waits < 20000; ++waits)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::ifstream file(path(operation, rank), std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    all.push_back(text.str());
  }
  // Whoever gives to this operation has taken from the one before.
  if (operation > 0) std::filesystem::remove(path(operation - 1, comm->rank));
  return all;
}

template <class T>
void add_values(std::string& sum, const std::string& values) {
  for (std::size_t at = 0; at < sum.size(); at += sizeof(T)) {
    T a, b;
    std::memcpy(&a, sum.data() + at, sizeof(T));
    std::memcpy(&b, values.data() + at, sizeof(T));
    a += b;
    std::memcpy(sum.data() + at, &a, sizeof(T));
  }
}

inline std::string sum_of(const std::vector<std::string>& all, nccl::DataType type) {
  std::string sum = all.front();
  for (std::size_t rank = 1; rank < all.size(); ++rank)
    type == nccl::kFloat64 ? add_values<double>(sum, all[rank]) : add_values<float>(sum, all[rank]);
  return sum;
}

inline nccl::Result get_unique_id(nccl::UniqueId* id) {
  bool failed = false;
  const nccl::Result result = note("ncclGetUniqueId", failed);
  if (failed) return result;
  std::string folder = (std::filesystem::temp_directory_path() / "koine-nccl-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr || folder.size() >= sizeof id->bytes) return nccl::kSystemError;
  std::memcpy(id->bytes, folder.c_str(), folder.size() + 1);
  return nccl::kSuccess;
}

inline nccl::Result init(nccl::Comm* comm, int ranks, nccl::UniqueId id, int rank, nccl::Config* config) {
  bool failed = false;
  const nccl::Result result = note("ncclCommInitRankConfig", failed);
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size < 20) return nccl::kInvalidArgument;
  *comm = new ncclComm{rank, ranks, id.bytes, 0};
  return failed ? result : begun();
}

inline nccl::Result get_async_error(nccl::Comm, nccl::Result* error) {
  *error = state().polls_left > 0 ? nccl::kInProgress : state().async_error;
  if (state().polls_left > 0) --state().polls_left;
  return nccl::kSuccess;
}

inline nccl::Result end_of(nccl::Comm comm, const char* name) {
  bool failed = false;
  note(name, failed);
  if (comm->rank == 0) std::filesystem::remove_all(comm->folder);
  delete comm;
  return nccl::kSuccess;
}
inline nccl::Result abort(nccl::Comm comm) { return end_of(comm, "ncclCommAbort"); }
inline nccl::Result destroy(nccl::Comm comm) { return end_of(comm, "ncclCommDestroy"); }
inline nccl::Result finalize(nccl::Comm comm) {
  bool failed = false;
  note("ncclCommFinalize", failed);
  give_and_take(comm, "");
  return begun();
}

inline const char* error_text(nccl::Result result) {
  return result == nccl::kRemoteError ? "remote process exited or there was a network error" : "unhandled system error";
}
inline const char* last_error(nccl::Comm) { return "the stand-in was told to"; }

inline nccl::Result all_reduce(const void* from, void* to, std::size_t count, nccl::DataType type, nccl::Operator,
                               nccl::Comm comm, void* stream) {
  bool failed = false;
  const nccl::Result result = note("ncclAllReduce", failed);
  if (failed) return result;
  to_device(to, sum_of(give_and_take(comm, from_device(from, bytes_of(count, type), stream)), type), stream);
  return begun();
}

inline nccl::Result reduce_scatter(const void* from, void* to, std::size_t count, nccl::DataType type, nccl::Operator,
                                   nccl::Comm comm, void* stream) {
  bool failed = false;
  const nccl::Result result = note("ncclReduceScatter", failed);
  if (failed) return result;
  const std::size_t bytes = bytes_of(count, type);
  const std::string sum =
      sum_of(give_and_take(comm, from_device(from, bytes * static_cast<std::size_t>(comm->size), stream)), type);
  to_device(to, sum.substr(bytes * static_cast<std::size_t>(comm->rank), bytes), stream);
  return begun();
}

inline nccl::Result all_gather(const void* from, void* to, std::size_t count, nccl::DataType type, nccl::Comm comm,
                               void* stream) {
  bool failed = false;
  const nccl::Result result = note("ncclAllGather", failed);
  if (failed) return result;
  std::string gathered;
  for (const std::string& one : give_and_take(comm, from_device(from, bytes_of(count, type), stream))) gathered += one;
  to_device(to, gathered, stream);
  return begun();
}

inline nccl::Result broadcast(const void* from, void* to, std::size_t count, nccl::DataType type, int root, nccl::Comm comm,
                              void* stream) {
  bool failed = false;
  const nccl::Result result = note("ncclBroadcast", failed);
  if (failed) return result;
  to_device(to, give_and_take(comm, from_device(from, bytes_of(count, type), stream))[static_cast<std::size_t>(root)],
            stream);
  return begun();
}

inline nccl::Result group_start() {
  bool failed = false;
  state().in_group = true;
  return note("ncclGroupStart", failed);
}

inline nccl::Result send(const void* from, std::size_t count, nccl::DataType type, int peer, nccl::Comm comm, void* stream) {
  bool failed = false;
  const nccl::Result result = note("ncclSend", failed);
  if (!state().in_group) return nccl::kInvalidUsage;
  state().grouped = comm;
  state().sends.push_back({from, nullptr, bytes_of(count, type), peer, stream});
  return failed ? result : nccl::kInProgress;
}

inline nccl::Result receive(void* to, std::size_t count, nccl::DataType type, int peer, nccl::Comm, void* stream) {
  bool failed = false;
  const nccl::Result result = note("ncclRecv", failed);
  state().receives.push_back({nullptr, to, bytes_of(count, type), peer, stream});
  return failed ? result : nccl::kInProgress;
}

/// Sends of one size, one to each rank in order.
inline nccl::Result group_end() {
  bool failed = false;
  const nccl::Result result = note("ncclGroupEnd", failed);
  State& group = state();
  group.in_group = false;
  const std::vector<State::Piece> sends = std::move(group.sends);
  const std::vector<State::Piece> receives = std::move(group.receives);
  group.sends.clear();
  group.receives.clear();
  if (failed) return result;
  std::string own;
  for (const State::Piece& piece : sends) own += from_device(piece.from, piece.bytes, piece.stream);
  const std::vector<std::string> all = give_and_take(group.grouped, own);
  for (const State::Piece& piece : receives) {
    const std::size_t place = static_cast<std::size_t>(group.grouped->rank) * piece.bytes;
    to_device(piece.to, all[static_cast<std::size_t>(piece.peer)].substr(place, piece.bytes), piece.stream);
  }
  return begun();
}

inline const nccl::Api& api() {
  static const nccl::Api functions = {get_unique_id, init,       get_async_error, abort,          finalize,   destroy,
                                      error_text,    last_error, all_reduce,      reduce_scatter, all_gather, broadcast,
                                      send,          receive,    group_start,     group_end};
  return functions;
}

}  // namespace koine::nccl_stand_in
