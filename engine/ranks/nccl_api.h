#pragma once

// The part of NCCL's C interface that is used, by its nccl.h (2.28; the same since 2.14). The library is looked for when ranks
// on GPUs meet, so that a program runs where there is none, with whatever version there is. Types and numbers are the header's own.

#include <cstddef>
#include <string>

struct ncclComm;  // the library's own

namespace koine::nccl {

struct UniqueId {
  char bytes[128];
};
using Comm = ::ncclComm*;
/// ncclConfig_t as of 2.14: later libraries take what it lacks as not set, by size and version.
struct Config {
  std::size_t size = sizeof(Config);
  unsigned int magic = 0xcafebeef;
  unsigned int version = 21400;
  int blocking = 0;
};

enum Result : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};
enum DataType : int { kInt8 = 0, kFloat32 = 7, kFloat64 = 8, kBfloat16 = 9 };
enum Operator : int { kSum = 0 };

struct Api {
  Result (*get_unique_id)(UniqueId*);
  Result (*init)(Comm*, int ranks, UniqueId, int rank, Config*);
  Result (*get_async_error)(Comm, Result*);
  Result (*abort)(Comm);
  Result (*finalize)(Comm);
  Result (*destroy)(Comm);
  const char* (*error_text)(Result);
  const char* (*last_error)(Comm);
  Result (*all_reduce)(const void*, void*, std::size_t, DataType, Operator, Comm, void* stream);
  Result (*reduce_scatter)(const void*, void*, std::size_t, DataType, Operator, Comm, void* stream);
  Result (*all_gather)(const void*, void*, std::size_t, DataType, Comm, void* stream);
  Result (*broadcast)(const void*, void*, std::size_t, DataType, int root, Comm, void* stream);
  Result (*send)(const void*, std::size_t, DataType, int peer, Comm, void* stream);
  Result (*receive)(void*, std::size_t, DataType, int peer, Comm, void* stream);
  Result (*group_start)();
  Result (*group_end)();
};

/// The functions of a library, libnccl.so.2 or the file KOINE_NCCL names; found once. UserError where it is not there, or lacks
/// one.
const Api& library();

/// The version of the library that library() would take ("2.28.9"); empty where it is not there.
std::string version_found();

}  // namespace koine::nccl
