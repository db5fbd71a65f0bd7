#include "engine/ranks/gradient_buckets.h"

#include "engine/ranks/ordered_sum.h"
#include "kernels/common/check.h"

namespace koine {

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
    : store_(store), communicator_(communicator), buckets_(plan_buckets(store.table(), bucket_elements)) {
  check(store.training(), "only gradients can be exchanged");
  check(communicator.device() == store.device(), "gradients on device ", name_of(store.device()),
        ", a communicator for device ", name_of(communicator.device()));
  if (store.device() == Device::kCuda) on_device_ = std::make_unique<OnDevice>();
  if (parts > 0) ordered_ = std::make_unique<OrderedSum>(store, communicator, parts);
}

GradientExchange::~GradientExchange() = default;

void GradientExchange::end_part(const Context& context) {
  check(ordered_ != nullptr, "a step without parts has none that ends");
  ordered_->keep_part(context);
}

void GradientExchange::send(const GradientBucket& bucket) {
  void* stream = on_device_ == nullptr ? nullptr : on_device_->stream.handle();
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
  if (on_device_ == nullptr) return;
  on_device_->summed.record(on_device_->stream.handle());
  on_device_->summed.wait_on(context.stream);
}

}  // namespace koine
