#include "engine/ranks/nccl_communicator.h"

#include <chrono>
#include <cstring>
#include <thread>

#include "kernels/cast/cast.h"
#include "kernels/common/buffer.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

nccl::DataType nccl_type(DType type) {
  switch (type) {
    case DType::kFloat32:
      return nccl::kFloat32;
    case DType::kBFloat16:
      return nccl::kBfloat16;
    case DType::kFloat64:
      return nccl::kFloat64;
  }
  throw Error("unknown type");
}

std::size_t elements_of(std::int64_t count) { return static_cast<std::size_t>(count); }

class NcclCommunicator : public Communicator {
 public:
  NcclCommunicator(Communicator& host, const nccl::Api& api, RankWatch* watch, double timeout)
      : host_(host), api_(api), watch_(watch), timeout_(timeout) {
    nccl::UniqueId id = {};
    if (rank() == 0) require_success("ncclGetUniqueId", 0, api_.get_unique_id(&id));
    const std::string shared = host_.share(std::string(id.bytes, sizeof id.bytes), 0);
    std::memcpy(id.bytes, shared.data(), sizeof id.bytes);
    nccl::Config config;
    finish("connecting", 0, api_.init(&comm_, size(), id, rank(), &config));
  }

  ~NcclCommunicator() override {
    if (comm_ == nullptr) return;
    nccl::Result result = api_.finalize(comm_);
    const Clock::time_point deadline = Clock::now() + std::chrono::seconds(2);
    while (result == nccl::kInProgress && Clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (api_.get_async_error(comm_, &result) != nccl::kSuccess) break;
    }
    if (result == nccl::kSuccess) {
      api_.destroy(comm_);
    } else {
      api_.abort(comm_);
    }
  }

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  Device device() const override { return Device::kCuda; }

  void all_reduce(DType type, void* values, std::int64_t count, void* stream) override {
    begin("all_reduce", count);
    if (count == 0) return;
    count_reduced(elements_of(count) * size_of(type == DType::kBFloat16 ? DType::kFloat32 : type));
    if (type != DType::kBFloat16) {
      return finish("all_reduce", count,
                    api_.all_reduce(values, values, elements_of(count), nccl_type(type), nccl::kSum, comm_, stream));
    }
    float* wide = widened(values, count, stream);
    finish("all_reduce", count, api_.all_reduce(wide, wide, elements_of(count), nccl::kFloat32, nccl::kSum, comm_, stream));
    convert(DType::kFloat32, wide, DType::kBFloat16, values, count, stream);
  }

  void reduce_scatter(DType type, const void* from, void* to, std::int64_t count, void* stream) override {
    begin("reduce_scatter", count);
    if (count == 0) return;
    count_shares(elements_of(count) * size_of(type == DType::kBFloat16 ? DType::kFloat32 : type));
    if (type != DType::kBFloat16) {
      return finish("reduce_scatter", count,
                    api_.reduce_scatter(from, to, elements_of(count), nccl_type(type), nccl::kSum, comm_, stream));
    }
    float* wide = widened(from, count * size(), stream);
    float* own = wide + rank() * count;
    finish("reduce_scatter", count,
           api_.reduce_scatter(wide, own, elements_of(count), nccl::kFloat32, nccl::kSum, comm_, stream));
    convert(DType::kFloat32, own, DType::kBFloat16, to, count, stream);
  }

  void all_gather(DType type, const void* from, void* to, std::int64_t count, void* stream) override {
    begin("all_gather", count);
    if (count == 0) return;
    count_shares(elements_of(count) * size_of(type));
    finish("all_gather", count, api_.all_gather(from, to, elements_of(count), nccl_type(type), comm_, stream));
  }

  void all_to_all(DType type, const void* from, void* to, std::int64_t count, void* stream) override {
    begin("all_to_all", count);
    if (count == 0) return;
    count_shares(elements_of(count) * size_of(type));
    require_success("all_to_all", count, api_.group_start());
    for (int other = 0; other < size(); ++other) {
      const std::int64_t place = other * count;
      require_begun("all_to_all", count,
                    api_.send(offset_by(from, type, place), elements_of(count), nccl_type(type), other, comm_, stream));
      require_begun("all_to_all", count,
                    api_.receive(offset_by(to, type, place), elements_of(count), nccl_type(type), other, comm_, stream));
    }
    finish("all_to_all", count, api_.group_end());
  }

  void broadcast(DType type, void* values, std::int64_t count, int root, void* stream) override {
    check(root >= 0 && root < size(), "broadcast from rank ", root, " of ", size());
    begin("broadcast", count);
    if (count == 0) return;
    count_broadcast(elements_of(count) * size_of(type));
    finish("broadcast", count, api_.broadcast(values, values, elements_of(count), nccl_type(type), root, comm_, stream));
  }

  using Communicator::sum;
  void sum(std::span<std::int64_t> values) override { host_.sum(values); }
  std::string share(const std::string& text, int root) override { return host_.share(text, root); }
  void barrier() override { host_.barrier(); }
  std::int64_t bytes_sent() const override { return Communicator::bytes_sent() + host_.bytes_sent(); }

 private:
  using Clock = std::chrono::steady_clock;

  /// What went wrong since the last operation.
  void begin(const char* name, std::int64_t count) {
    check(comm_ != nullptr, name, " at rank ", rank(), ": an earlier operation has failed");
    if (watch_ != nullptr) watch_->begin_operation(name);
    nccl::Result result = nccl::kSuccess;
    require_success(name, count, api_.get_async_error(comm_, &result));
    finish(name, count, result);
  }

  /// Waits until NCCL has put an operation into its stream, or has been connected.
  void finish(const char* name, std::int64_t count, nccl::Result result) {
    const Clock::time_point deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(timeout_));
    while (result == nccl::kInProgress) {
      if (watch_ != nullptr && !watch_->cause().empty()) fail(name, count, watch_->cause());
      if (Clock::now() > deadline) fail(name, count, concatenate("not done after ", timeout_, " s"));
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      require_success(name, count, api_.get_async_error(comm_, &result));
    }
    require_success(name, count, result);
  }

  void require_success(const char* name, std::int64_t count, nccl::Result result) {
    if (result == nccl::kSuccess) return;
    std::string cause = watch_ == nullptr ? "" : watch_->cause();
    // A rank that is gone is noticed by NCCL before anybody has told.
    if (cause.empty() && watch_ != nullptr && result == nccl::kRemoteError) cause = watch_->wait_for_cause();
    const char* words = comm_ == nullptr ? nullptr : api_.last_error(comm_);
    std::string text = concatenate("NCCL says: ", api_.error_text(result));
    if (words != nullptr && *words != '\0') text += concatenate(" (", words, ")");
    fail(name, count, cause.empty() ? text : cause + "; " + text);
  }

  /// Within a group, where what was called is in progress until its end.
  void require_begun(const char* name, std::int64_t count, nccl::Result result) {
    if (result != nccl::kInProgress) require_success(name, count, result);
  }

  [[noreturn]] void fail(const char* name, std::int64_t count, const std::string& cause) {
    if (comm_ != nullptr) api_.abort(comm_);
    comm_ = nullptr;
    throw Error(concatenate(name, " of ", count, count == 1 ? " element" : " elements", " at rank ", rank(), ": ", cause));
  }

  float* widened(const void* values, std::int64_t count, void* stream) {
    const std::size_t bytes = elements_of(count) * sizeof(float);
    if (wide_.bytes() < bytes) wide_ = Buffer(Device::kCuda, "sums of bf16", bytes);
    convert(DType::kBFloat16, values, DType::kFloat32, wide_.data(), count, stream);
    return wide_.as<float>();
  }

  static void convert(DType from_type, const void* from, DType to_type, void* to, std::int64_t count, void* stream) {
    Context context;
    context.device = Device::kCuda;
    context.architecture = 80;  // what cast asks for
    context.stream = stream;
    cast(context, {count, from_type, to_type, from, to});
  }

  Communicator& host_;
  const nccl::Api& api_;
  RankWatch* watch_;
  double timeout_;
  nccl::Comm comm_ = nullptr;
  Buffer wide_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host, const nccl::Api& api, RankWatch* watch,
                                                     double timeout) {
  return std::make_unique<NcclCommunicator>(host, api, watch, timeout);
}

}  // namespace koine
