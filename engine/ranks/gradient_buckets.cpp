#include "engine/ranks/gradient_buckets.h"

#include <chrono>
#include <utility>

#include "engine/ranks/ordered_sum.h"
#include "engine/ranks/sharded_sum.h"
#include "engine/ranks/touched_rows.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

using BucketClock = std::chrono::steady_clock;

double seconds_since(BucketClock::time_point begin) {
  return std::chrono::duration<double>(BucketClock::now() - begin).count();
}

std::vector<GradientBucket> passing_buckets(const PassingGradients& passing) {
  std::vector<GradientBucket> buckets;
  for (const PassingRun& run : passing.runs) buckets.push_back({run.first, run.last, run.begin, run.end});
  return buckets;
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

GradientExchange::GradientExchange(ParameterStore& store, Communicator& communicator, std::int64_t bucket_elements,
                                   std::int64_t parts)
    : store_(store),
      communicator_(communicator),
      buckets_(store.shares_gradients() ? passing_buckets(store.passing_gradients())
                                        : plan_buckets(store.table(), bucket_elements)) {
  check(store.training(), "only gradients can be exchanged");
  check(communicator.device() == store.device(), "gradients on device ", name_of(store.device()),
        ", a communicator for device ", name_of(communicator.device()));
  if (store.device() == Device::kCuda) on_device_ = std::make_unique<OnDevice>();
  check(!store.shares_gradients() || parts > 0, "gradients that are shared out are added up in parts");
  if (store.shares_gradients()) sharded_ = std::make_unique<ShardedSum>(store, communicator, parts);
  if (parts > 0 && sharded_ == nullptr) ordered_ = std::make_unique<OrderedSum>(store, communicator, parts);
  if (on_device_ == nullptr && communicator.size() > 1) beside_ = std::make_unique<BesideThread>();
}

GradientExchange::~GradientExchange() = default;

void GradientExchange::begin_step(const std::vector<std::int32_t>* rows) {
  knows_rows_ = rows != nullptr && (ordered_ != nullptr || sharded_ != nullptr) && communicator_.size() > 1;
  if (!knows_rows_) return;
  const int table = table_of_rows(store_.table());
  check(table >= 0, "rows of a model without a table of which a step touches few");
  if (touched_ == nullptr) touched_ = std::make_unique<TouchedRows>(store_, table);
  touched_->set(*rows, stream());
}

void GradientExchange::end_part(const Context& context) {
  check(ordered_ != nullptr, "a step without parts has none that ends");
  ordered_->keep_part(context);
}

void GradientExchange::send(const GradientBucket& bucket) {
  if (beside_ != nullptr) {
    given_.push_back(beside_->give([this, bucket] { sum(bucket, nullptr); }));
    return;
  }
  sum(bucket, on_device_ == nullptr ? nullptr : on_device_->stream.handle());
}

void GradientExchange::sum(const GradientBucket& bucket, void* stream) {
  const TouchedRows* touched = knows_rows_ ? touched_.get() : nullptr;
  if (sharded_ != nullptr) {
    sharded_->take({bucket.first, bucket.last, bucket.begin, bucket.end}, touched, stream);
    if (on_device_ != nullptr) on_device_->left[stage_of(bucket) % 2].record(stream);
  } else if (ordered_ != nullptr) {
    ordered_->sum(bucket.begin, bucket.end, touched, stream);
  } else {
    communicator_.all_reduce(DType::kFloat32, store_.gradient(0) + bucket.begin, bucket.count(), stream);
  }
}

GradientReady GradientExchange::start(void* stream) {
  next_ = 0;
  return [this, stream](int parameters, const cuda::Event* passed) {
    if (next_ == buckets_.size() || buckets_[next_].last > parameters) return;
    if (on_device_ != nullptr) passed->wait_on(on_device_->stream.handle());
    while (next_ < buckets_.size() && buckets_[next_].last <= parameters) send(buckets_[next_++]);
    if (sharded_ != nullptr && next_ < buckets_.size()) make_room(stream);
  };
}

int GradientExchange::stage_of(const GradientBucket& bucket) const {
  for (const PassingRun& run : store_.passing_gradients().runs) {
    if (run.first == bucket.first) return run.stage;
  }
  return 0;
}

/// A stage is about to be written where the one before the last was: that has to have left.
void GradientExchange::make_room(void* stream) {
  const std::vector<PassingRun>& runs = store_.passing_gradients().runs;
  const int stage = runs[next_].stage;
  if (stage < 2) return;
  if (on_device_ != nullptr) return on_device_->left[stage % 2].wait_on(stream);
  std::size_t leaving = 0;  // of runs, those of stages up to that
  while (runs[leaving].stage <= stage - 2) ++leaving;
  const BucketClock::time_point begin = BucketClock::now();
  beside_->wait_for(given_[leaving - 1]);
  waited_ += seconds_since(begin);
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
    given_.clear();
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
