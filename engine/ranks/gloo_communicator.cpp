#include "engine/ranks/gloo_communicator.h"

#include "kernels/common/check.h"

#ifdef KOINE_HAVE_GLOO

#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/alltoall.h>
#include <gloo/barrier.h>
#include <gloo/broadcast.h>
#include <gloo/config.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace koine {

namespace {

using Milliseconds = std::chrono::milliseconds;

/// As long as a rank lives: RankWatch ends the wait for one that does not.
constexpr Milliseconds kPatience = std::chrono::hours(24 * 365);

/// What Gloo's ranks tell one another while they connect.
class GlooStore : public gloo::rendezvous::Store {
 public:
  GlooStore(RankStore& store, RankWatch& watch, std::string prefix)
      : store_(store), watch_(watch), prefix_(std::move(prefix)) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    store_.set(prefix_ + key, std::string(data.begin(), data.end()));
  }
  std::vector<char> get(const std::string& key) override {
    wait({key}, kDefaultTimeout);
    const std::string text = store_.get(prefix_ + key).value_or("");
    return {text.begin(), text.end()};
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, kDefaultTimeout); }
  void wait(const std::vector<std::string>& keys, const Milliseconds& timeout) override {
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    for (const std::string& key : keys) {
      while (!store_.get(prefix_ + key).has_value()) {
        if (const std::string cause = watch_.cause(); !cause.empty()) throw Error(cause);
        if (std::chrono::steady_clock::now() > deadline) throw Error("nothing of Gloo's " + key);
        std::this_thread::sleep_for(Milliseconds(5));
      }
    }
  }

 private:
  RankStore& store_;
  RankWatch& watch_;
  std::string prefix_;
};

template <class T>
void add_in_order(void* to, const void* left, const void* right, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    static_cast<T*>(to)[i] = static_cast<const T*>(left)[i] + static_cast<const T*>(right)[i];
  }
}

/// Gloo of 2022 takes the store by reference, later ones share it.
template <class GlooContext>
void connect(GlooContext& context, const std::shared_ptr<GlooStore>& store,
             std::shared_ptr<gloo::transport::Device>& device) {
  if constexpr (requires { context.connectFullMesh(*store, device); }) {
    context.connectFullMesh(*store, device);
  } else {
    context.connectFullMesh(store, device);
  }
}

class GlooCommunicator : public Communicator {
 public:
  GlooCommunicator(const RankPlace& place, RankStore& store, RankWatch& watch) : place_(place), watch_(watch) {
    run("connecting", 0, [&] {
      gloo::transport::tcp::attr attributes;
      attributes.hostname = place.address;
      std::shared_ptr<gloo::transport::Device> device = gloo::transport::tcp::CreateDevice(attributes);
      host_context_ = connected(store, "gloo-host/", device);
      context_ = connected(store, "gloo/", device);
    });
  }

  int rank() const override { return place_.rank; }
  int size() const override { return place_.size; }
  Device device() const override { return Device::kCpu; }

  void all_reduce(DType type, void* values, std::int64_t count, void*) override {
    count_reduced(bytes_of(type == DType::kBFloat16 ? DType::kFloat32 : type, count));
    run("all_reduce", count, [&] {
      if (type == DType::kFloat32) return reduce_all<float>(context_, static_cast<float*>(values), count);
      if (type == DType::kFloat64) return reduce_all<double>(context_, static_cast<double*>(values), count);
      auto* rounded = static_cast<BFloat16*>(values);
      std::vector<float> wide(static_cast<std::size_t>(count));
      for (std::size_t i = 0; i < wide.size(); ++i) wide[i] = to_float(rounded[i]);
      reduce_all<float>(context_, wide.data(), count);
      for (std::size_t i = 0; i < wide.size(); ++i) rounded[i] = to_bfloat16(wide[i]);
    });
  }

  void reduce_scatter(DType type, const void* from, void* to, std::int64_t count, void*) override {
    count_shares(bytes_of(type, count));
    run("reduce_scatter", count, [&] {
      std::vector<std::byte> received(bytes_of(type, count * size()));
      exchange(from, received.data(), bytes_of(type, count * size()));
      add_up(type, received.data(), to, count);
    });
  }

  void all_gather(DType type, const void* from, void* to, std::int64_t count, void*) override {
    count_shares(bytes_of(type, count));
    run("all_gather", count, [&] {
      const std::size_t bytes = bytes_of(type, count);
      auto* gathered = static_cast<char*>(to);
      char* own = gathered + static_cast<std::size_t>(rank()) * bytes;
      if (from != own) std::memcpy(own, from, bytes);
      gloo::AllgatherOptions options(context_);
      options.setOutput(gathered, bytes * static_cast<std::size_t>(size()));
      gloo::allgather(options);
    });
  }

  void all_to_all(DType type, const void* from, void* to, std::int64_t count, void*) override {
    count_shares(bytes_of(type, count));
    run("all_to_all", count, [&] { exchange(from, to, bytes_of(type, count * size())); });
  }

  void broadcast(DType type, void* values, std::int64_t count, int root, void*) override {
    count_broadcast(bytes_of(type, count));
    run("broadcast", count, [&] { send(context_, values, bytes_of(type, count), root, context_->getTimeout()); });
  }

  void sum(std::span<std::int64_t> values) override {
    const std::int64_t count = std::ssize(values);
    count_reduced(values.size_bytes());
    run("sum", count, [&] { reduce_all<std::int64_t>(host_context_, values.data(), count); });
  }

  std::string share(const std::string& text, int root) override {
    std::string shared = text;
    run("share", 1, [&] {
      std::uint64_t length = shared.size();
      send(host_context_, &length, sizeof length, root, kPatience);
      shared.resize(length);
      if (length > 0) send(host_context_, shared.data(), length, root, host_context_->getTimeout());
    });
    return shared;
  }

  void barrier() override {
    run("barrier", 1, [&] {
      gloo::BarrierOptions options(host_context_);
      options.setTimeout(kPatience);
      gloo::barrier(options);
    });
  }

 private:
  /// Gloo's exceptions as ours. Of nothing, nothing is done.
  template <class Work>
  void run(const char* name, std::int64_t count, const Work& work) {
    if (count == 0 && context_ != nullptr) return;
    watch_.begin_operation(name);
    const auto begin = std::chrono::steady_clock::now();
    try {
      work();
    } catch (const std::exception& error) {
      std::string cause = watch_.cause();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
      if (cause.empty() && taken.count() >= 0.9 * place_.timeout) cause = watch_.late_ranks();
      if (cause.empty()) cause = watch_.wait_for_cause();
      if (cause.empty()) cause = error.what();
      throw Error(concatenate(name, " of ", count, count == 1 ? " element" : " elements", " at rank ", rank(), ": ", cause));
    }
  }

  static std::size_t bytes_of(DType type, std::int64_t count) { return static_cast<std::size_t>(count) * size_of(type); }

  std::shared_ptr<gloo::Context> connected(RankStore& store, const std::string& prefix,
                                           std::shared_ptr<gloo::transport::Device>& device) {
    auto context = std::make_shared<gloo::rendezvous::Context>(place_.rank, place_.size);
    context->setTimeout(Milliseconds(static_cast<std::int64_t>(1000 * place_.timeout)));
    connect(*context, std::make_shared<GlooStore>(store, watch_, prefix), device);
    return context;
  }

  template <class T>
  void reduce_all(const std::shared_ptr<gloo::Context>& context, T* values, std::int64_t count) {
    gloo::AllreduceOptions options(context);
    options.setOutput(values, static_cast<std::size_t>(count));
    options.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
    options.setReduceFunction(&add_in_order<T>);
    gloo::allreduce(options);
  }

  void exchange(const void* from, void* to, std::size_t bytes) {
    gloo::AlltoallOptions options(context_);
    options.setInput(static_cast<char*>(const_cast<void*>(from)), bytes);
    options.setOutput(static_cast<char*>(to), bytes);
    gloo::alltoall(options);
  }

  void send(const std::shared_ptr<gloo::Context>& context, void* values, std::size_t bytes, int root, Milliseconds timeout) {
    check(root >= 0 && root < size(), "broadcast from rank ", root, " of ", size());
    gloo::BroadcastOptions options(context);
    options.setOutput(static_cast<char*>(values), bytes);
    options.setRoot(root);
    options.setTimeout(timeout);
    gloo::broadcast(options);
  }

  /// to[i] = the sum of received[rank * count + i], in rank order: fp32 and bf16 in fp32.
  void add_up(DType type, const void* received, void* to, std::int64_t count) const {
    for (std::int64_t i = 0; i < count; ++i) {
      double wide = load_element(received, type, i);
      auto narrow = static_cast<float>(wide);
      for (int other = 1; other < size(); ++other) {
        const double value = load_element(received, type, other * count + i);
        wide += value;
        narrow += static_cast<float>(value);
      }
      store_element(to, type, i, type == DType::kFloat64 ? wide : static_cast<double>(narrow));
    }
  }

  const RankPlace place_;
  RankWatch& watch_;
  std::shared_ptr<gloo::Context> context_;
  std::shared_ptr<gloo::Context> host_context_;  ///< of numbers and texts of the host, which may come beside the others
};

}  // namespace

bool has_gloo() { return true; }

std::string gloo_version() { return concatenate(GLOO_VERSION_MAJOR, ".", GLOO_VERSION_MINOR, ".", GLOO_VERSION_PATCH); }

std::unique_ptr<Communicator> make_gloo_communicator(const RankPlace& place, RankStore& store, RankWatch& watch) {
  return std::make_unique<GlooCommunicator>(place, store, watch);
}

}  // namespace koine

#else

namespace koine {

bool has_gloo() { return false; }

std::string gloo_version() { return ""; }

std::unique_ptr<Communicator> make_gloo_communicator(const RankPlace&, RankStore&, RankWatch&) {
  fail_user(
      "this build of koine has no Gloo, through which ranks talk (Debian: libgloo-dev; configure with -DKOINE_GLOO=ON)");
}

}  // namespace koine

#endif
