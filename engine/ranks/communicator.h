#pragma once

// What the ranks of a run, one process and one device each, tell one another. Collective: every rank makes the same calls in
// the same order with the same counts, types and roots.
//
//   all_reduce        values[i] = sum over ranks of their values[i]
//   reduce_scatter    to[i] = sum over ranks of their from[rank * count + i]           from [size * count], to [count]
//   all_gather        to[r * count + i] = from[i] of rank r                            from [count], to [size * count]
//   all_to_all        to[r * count + i] = from[rank * count + i] of rank r             both [size * count]
//   broadcast         values[i] = values[i] of rank `root`
//
// Pointers are to the memory of the communicator's device, of `type` (kFloat32, kBFloat16, kFloat64); bf16 is added up in
// fp32. reduce_scatter may write into its own share of `from` (to == from + rank * count), all_gather may read its own share
// of `to`, all_to_all works on two memories. Sums are made in an order that depends on the ranks and counts alone: the same
// bits on every rank and in every run.
//
// On CUDA a call puts its work into `stream` and returns; the memory is to stay until it has run. On the CPU `stream` is
// null and the call returns when it is done. Error, naming the operation and the rank, where a rank is gone or late: on CUDA
// from the call that notices it, which may be a later one. After an error the communicator is of no more use.

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "kernels/common/types.h"

namespace koine {

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;  ///< 0 .. size() - 1
  virtual int size() const = 0;
  virtual Device device() const = 0;

  virtual void all_reduce(DType type, void* values, std::int64_t count, void* stream) = 0;
  virtual void reduce_scatter(DType type, const void* from, void* to, std::int64_t count, void* stream) = 0;
  virtual void all_gather(DType type, const void* from, void* to, std::int64_t count, void* stream) = 0;
  virtual void all_to_all(DType type, const void* from, void* to, std::int64_t count, void* stream) = 0;
  virtual void broadcast(DType type, void* values, std::int64_t count, int root, void* stream) = 0;

  // Of the host's: they return when they are done, and what is in streams does not count. They may be called while another thread
  // is in one of the operations above.

  /// The sums over ranks of some numbers, in their places.
  virtual void sum(std::span<std::int64_t> values) = 0;
  std::int64_t sum(std::int64_t value) {
    sum(std::span(&value, 1));
    return value;
  }
  /// What rank `root` says, which the others need not know the length of. Waits for it as long as that rank lives: it may be
  /// evaluating or saving. So does barrier(), which returns when all ranks have come here.
  virtual std::string share(const std::string& text, int root) = 0;
  virtual void barrier() = 0;

  /// Bytes that this rank has sent so far, as the usual algorithms send them: of n ranks 2 (n - 1) / n of what all_reduce and sum
  /// add up, the shares of n - 1 others in reduce_scatter, all_gather and all_to_all, all of a broadcast once. Texts do not count.
  virtual std::int64_t bytes_sent() const { return sent_; }

 protected:
  void count_reduced(std::size_t bytes) { sent_ += 2 * static_cast<std::int64_t>(bytes) * (size() - 1) / size(); }
  void count_shares(std::size_t bytes_of_one) { sent_ += static_cast<std::int64_t>(bytes_of_one) * (size() - 1); }
  void count_broadcast(std::size_t bytes) { sent_ += static_cast<std::int64_t>(bytes); }

 private:
  std::atomic<std::int64_t> sent_ = 0;  // several threads may be in operations
};

/// A run of one process. Sums are what they are a sum of, so nothing is moved but from one memory to another.
class OneRank : public Communicator {
 public:
  explicit OneRank(Device device) : device_(device) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  Device device() const override { return device_; }

  void all_reduce(DType, void*, std::int64_t, void*) override {}
  void reduce_scatter(DType type, const void* from, void* to, std::int64_t count, void* stream) override;
  void all_gather(DType type, const void* from, void* to, std::int64_t count, void* stream) override;
  void all_to_all(DType type, const void* from, void* to, std::int64_t count, void* stream) override;
  void broadcast(DType type, void* values, std::int64_t count, int root, void* stream) override;
  using Communicator::sum;
  void sum(std::span<std::int64_t>) override {}
  std::string share(const std::string& text, int root) override;
  void barrier() override {}

 private:
  void copy(DType type, const void* from, void* to, std::int64_t count, void* stream) const;

  Device device_;
};

}  // namespace koine
