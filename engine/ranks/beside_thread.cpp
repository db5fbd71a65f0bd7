#include "engine/ranks/beside_thread.h"

#include <chrono>
#include <utility>

namespace koine {

BesideThread::BesideThread() {
  thread_ = std::thread([this] { run(); });
}

BesideThread::~BesideThread() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  thread_.join();
}

std::int64_t BesideThread::give(std::function<void()> work) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  changed_.notify_all();
  return ++given_;
}

void BesideThread::wait_for(std::int64_t number) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= number || error_ != nullptr; });
  if (error_ != nullptr) std::rethrow_exception(error_);
}

double BesideThread::take_seconds() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::exchange(seconds_, 0.0);
}

void BesideThread::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_ || (!waiting_.empty() && error_ == nullptr); });
    if (stopping_) return;
    const std::function<void()> work = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    std::exception_ptr error;
    const auto begin = std::chrono::steady_clock::now();
    try {
      work();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    ++done_;
    error_ = error;
    changed_.notify_all();
  }
}

}  // namespace koine
