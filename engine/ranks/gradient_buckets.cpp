#include "engine/ranks/gradient_buckets.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/ranks/ordered_sum.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

using BucketClock = std::chrono::steady_clock;

double seconds_since(BucketClock::time_point begin) {
  return std::chrono::duration<double>(BucketClock::now() - begin).count();
}

}  // namespace

std::vector<GradientBucket> plan_buckets(const ParameterTable& table, std::int64_t wished_elements) {
  check(wished_elements > 0, "buckets of ", wished_elements, " elements");
  std::vector<GradientBucket> buckets;
  GradientBucket bucket;
  for (int index = 0; index < table.size(); ++index) {
    const bool is_last = index + 1 == table.size();
    bucket.last = index + 1;
    bucket.end = is_last ? table.elements() : table[index + 1].offset;
    if (bucket.count() < wished_elements && !is_last) continue;
    buckets.push_back(bucket);
    bucket.first = bucket.last;
    bucket.begin = bucket.end;
  }
  return buckets;
}

/// Does what it is given, in order, beside the thread that gives it.
class BucketThread {
 public:
  explicit BucketThread(std::function<void(const GradientBucket&)> work) : work_(std::move(work)) {
    thread_ = std::thread([this] { run(); });
  }
  ~BucketThread() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      waiting_.clear();
    }
    changed_.notify_all();
    thread_.join();
  }
  BucketThread(const BucketThread&) = delete;
  BucketThread& operator=(const BucketThread&) = delete;

  void give(const GradientBucket& bucket) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      waiting_.push_back(bucket);
    }
    changed_.notify_all();
  }
  /// Returns when all is done; throws what was thrown.
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return (waiting_.empty() && !busy_) || error_ != nullptr; });
    if (error_ != nullptr) std::rethrow_exception(error_);
  }
  /// Of work, since the last call; to be asked while there is none.
  double take_seconds() { return std::exchange(seconds_, 0.0); }

 private:
  void run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopping_ || (!waiting_.empty() && error_ == nullptr); });
      if (stopping_) return;
      const GradientBucket bucket = waiting_.front();
      waiting_.pop_front();
      busy_ = true;
      lock.unlock();
      std::exception_ptr error;
      const BucketClock::time_point begin = BucketClock::now();
      try {
        work_(bucket);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      seconds_ += seconds_since(begin);
      busy_ = false;
      error_ = error;
      changed_.notify_all();
    }
  }

  std::function<void(const GradientBucket&)> work_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<GradientBucket> waiting_;
  bool busy_ = false;
  bool stopping_ = false;
  std::exception_ptr error_;
  double seconds_ = 0;
  std::thread thread_;
};

GradientExchange::GradientExchange(ParameterStore& store, Communicator& communicator, std::int64_t bucket_elements,
                                   std::int64_t parts)
    : store_(store), communicator_(communicator), buckets_(plan_buckets(store.table(), bucket_elements)) {
  check(store.training(), "only gradients can be exchanged");
  check(communicator.device() == store.device(), "gradients on device ", name_of(store.device()),
        ", a communicator for device ", name_of(communicator.device()));
  if (store.device() == Device::kCuda) on_device_ = std::make_unique<OnDevice>();
  if (parts > 0) ordered_ = std::make_unique<OrderedSum>(store, communicator, parts);
  if (on_device_ == nullptr && communicator.size() > 1)
    beside_ = std::make_unique<BucketThread>([this](const GradientBucket& bucket) { sum(bucket, nullptr); });
}

GradientExchange::~GradientExchange() = default;

void GradientExchange::end_part(const Context& context) {
  check(ordered_ != nullptr, "a step without parts has none that ends");
  ordered_->keep_part(context);
}

void GradientExchange::send(const GradientBucket& bucket) {
  if (beside_ != nullptr) return beside_->give(bucket);
  sum(bucket, on_device_ == nullptr ? nullptr : on_device_->stream.handle());
}

void GradientExchange::sum(const GradientBucket& bucket, void* stream) {
  if (ordered_ != nullptr) {
    ordered_->sum(bucket.begin, bucket.end, stream);
  } else {
    communicator_.all_reduce(DType::kFloat32, store_.gradient(0) + bucket.begin, bucket.count(), stream);
  }
}

GradientReady GradientExchange::start() {
  next_ = 0;
  return [this](int parameters, const cuda::Event* passed) {
    if (next_ == buckets_.size() || buckets_[next_].last > parameters) return;
    if (on_device_ != nullptr) passed->wait_on(on_device_->stream.handle());
    while (next_ < buckets_.size() && buckets_[next_].last <= parameters) send(buckets_[next_++]);
  };
}

void GradientExchange::finish(const Context& context) {
  if (on_device_ != nullptr && next_ < buckets_.size()) {
    on_device_->computed.record(context.stream);
    on_device_->computed.wait_on(on_device_->stream.handle());
  }
  while (next_ < buckets_.size()) send(buckets_[next_++]);
  next_ = 0;
  if (beside_ != nullptr) {
    const BucketClock::time_point begin = BucketClock::now();
    beside_->wait();
    waited_ += seconds_since(begin);
  }
  if (on_device_ == nullptr) return;
  on_device_->summed.record(on_device_->stream.handle());
  on_device_->summed.wait_on(context.stream);
}

CommunicationSeconds GradientExchange::take_seconds() {
  return {beside_ == nullptr ? 0 : beside_->take_seconds(), std::exchange(waited_, 0.0)};
}

}  // namespace koine
