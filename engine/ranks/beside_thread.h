#pragma once

// A thread on which ranks on CPUs talk while they compute.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace koine {

/// Does what it is given, in order, beside the thread that gives it.
class BesideThread {
 public:
  BesideThread();
  ~BesideThread();
  BesideThread(const BesideThread&) = delete;
  BesideThread& operator=(const BesideThread&) = delete;

  /// Returns its number: 1 for the first work.
  std::int64_t give(std::function<void()> work);
  /// Returns when the first `number` works are done; throws what was thrown.
  void wait_for(std::int64_t number);
  /// The same of all that was given.
  void wait() { wait_for(given_); }
  /// Of works that were done since the last call.
  double take_seconds();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  std::int64_t given_ = 0;
  std::int64_t done_ = 0;
  bool stopping_ = false;
  std::exception_ptr error_;
  double seconds_ = 0;
  std::thread thread_;
};

}  // namespace koine
