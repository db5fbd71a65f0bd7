#include "engine/ranks/rank_watch.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <sstream>

#include "kernels/common/check.h"

namespace koine {

namespace {

double seconds_by_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr double kMomentToEnd = 2;  ///< seconds, at most

}  // namespace

double watch_interval(const RankPlace& place) { return std::min(0.5, place.timeout / 20); }

void RankWatch::end_process(const std::string& cause) {
  std::fprintf(stderr, "koine: %s\n", cause.c_str());
  std::fflush(stderr);
  _exit(1);
}

RankWatch::RankWatch(RankStore& store, const RankPlace& place, End end)
    : store_(store),
      place_(place),
      end_(std::move(end)),
      silence_(place.timeout / 2),
      interval_(watch_interval(place)),
      signs_(static_cast<std::size_t>(place.size)) {
  for (Sign& sign : signs_) sign.heard = seconds_by_clock();
  thread_ = std::thread([this] { watch(); });
}

RankWatch::~RankWatch() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void RankWatch::leave() noexcept {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  changed_.notify_all();
  try {
    store_.set(concatenate("left/", place_.rank), "yes");
  } catch (const Error&) {
    // Then rank 0 has left.
  }
}

void RankWatch::fail(const std::string& cause) noexcept {
  try {
    store_.set("failed", cause);
  } catch (const Error&) {
    // Then rank 0 is gone, which the others see.
  }
}

std::string RankWatch::cause() const {
  const std::lock_guard lock(mutex_);
  return cause_;
}

std::string RankWatch::wait_for_cause() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(silence_ + 4 * interval_),
                    [&] { return !cause_.empty() || leaving_; });
  return cause_;
}

void RankWatch::begin_operation(const char* name) {
  operation_ = name;
  ++operations_;
}

std::string RankWatch::late_ranks() {
  std::string text;
  for (int rank = 0; rank < place_.size; ++rank) {
    if (rank == place_.rank) continue;
    std::istringstream sign(store_.get(concatenate("alive/", rank)).value_or("0 0 start"));
    std::int64_t number = 0, operations = 0;
    std::string operation;
    sign >> number >> operations >> operation;
    if (operations >= operations_) continue;
    text += concatenate(text.empty() ? "" : "; ", "rank ", rank, " is late: it is at operation ", operations, " (",
                        operation, "), rank ", place_.rank, " at ", operations_.load(), " (", operation_.load(), ")");
  }
  return text;
}

void RankWatch::set_cause(const std::string& cause) {
  {
    const std::lock_guard lock(mutex_);
    if (cause_.empty()) cause_ = cause;
  }
  changed_.notify_all();
}

void RankWatch::watch() {
  std::unique_lock lock(mutex_);
  while (!leaving_) {
    if (!cause_.empty()) {
      const double moment = std::min(kMomentToEnd, silence_);
      if (!changed_.wait_for(lock, std::chrono::duration<double>(moment), [&] { return leaving_; })) end_(cause_);
      changed_.wait(lock, [&] { return leaving_; });
      return;
    }
    lock.unlock();
    look();
    lock.lock();
    if (cause_.empty()) changed_.wait_for(lock, std::chrono::duration<double>(interval_), [&] { return leaving_; });
  }
}

void RankWatch::look() {
  try {
    store_.set(concatenate("alive/", place_.rank), concatenate(++number_, " ", operations_.load(), " ", operation_.load()));
    if (const std::optional<std::string> failed = store_.get("failed")) return set_cause(*failed);
    if (place_.rank != 0) return look_at(0);
    for (int rank = 1; rank < place_.size; ++rank) look_at(rank);
  } catch (const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!leaving_ && cause_.empty()) cause_ = error.what();
    changed_.notify_all();
  }
}

void RankWatch::look_at(int rank) {
  Sign& sign = signs_[static_cast<std::size_t>(rank)];
  const std::string now = store_.get(concatenate("alive/", rank)).value_or("");
  if (now != sign.last) {
    sign.last = now;
    sign.heard = seconds_by_clock();
  }
  if (seconds_by_clock() - sign.heard < silence_ || store_.get(concatenate("left/", rank)).has_value()) return;
  const std::string cause = concatenate("rank ", rank, " is gone or stopped: nothing was heard of it for ", silence_, " s");
  store_.set("failed", cause);
  set_cause(store_.get("failed").value_or(cause));
}

}  // namespace koine
