#include "bench/support/machine.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/gemm/gemm.h"

namespace koine::bench {
namespace {

constexpr std::int64_t kPool = 4194301;  // a prime: rows of a matrix do not repeat

std::uint32_t next(std::uint32_t& state) { return state = state * 1664525u + 1013904223u; }

const std::vector<char>& pool_of(DType type) {
  const auto make = [](DType made) {
    std::vector<char> values(static_cast<std::size_t>(kPool) * size_of(made));
    std::uint32_t state = 1;
    for (std::int64_t i = 0; i < kPool; ++i) {
      store_element(values.data(), made, i, static_cast<double>(next(state) >> 8) * 0x1p-23 - 1.0);
    }
    return values;
  };
  static const std::vector<char> fp32 = make(DType::kFloat32);
  static const std::vector<char> bf16 = make(DType::kBFloat16);
  return type == DType::kBFloat16 ? bf16 : fp32;
}

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// --- machine -------------------------------------------------------------------------------------------------------------

Machine::Machine(Device device) {
  context_.device = device;
  if (device == Device::kCpu) return;
  check(cuda::device_count() > 0, "there is no CUDA device");
  cuda::set_device(0);
  const cuda::DeviceProperties properties = cuda::device_properties(0);
  context_.architecture = properties.architecture;
  stream_ = std::make_unique<cuda::Stream>();
  context_.stream = stream_->handle();
  begin_ = std::make_unique<cuda::Event>();
  end_ = std::make_unique<cuda::Event>();
  flush_from_ = cuda::DeviceMemory("the flush of the cache", 4 * properties.cache_bytes);
  flush_to_ = cuda::DeviceMemory("the flush of the cache", properties.cache_bytes / 16);
  cuda::fill_with_zero(flush_from_.data(), flush_from_.bytes(), context_.stream);
  wait();
}

std::map<std::string, std::string> Machine::description() const {
  if (!on_device()) return {{"device", "cpu"}, {"threads", std::to_string(thread_count())}};
  const cuda::DeviceProperties properties = cuda::device_properties(0);
  std::map<std::string, std::string> result = {{"device", properties.name},
                                               {"architecture", std::to_string(properties.architecture)},
                                               {"multiprocessors", std::to_string(properties.multiprocessors)},
                                               {"memory_bytes", std::to_string(properties.memory_bytes)},
                                               {"cache_bytes", std::to_string(properties.cache_bytes)},
                                               {"driver", std::to_string(properties.driver_version)}};
  if (!measures()) result["not_a_measurement"] = "the kernels ran on the CPU, by the host implementation";
  return result;
}

void* Machine::allocate(std::size_t bytes) {
  return blocks_.emplace_back(context_.device, "a benchmark's operand", std::max<std::size_t>(bytes, 1)).data();
}

void Machine::clear() {
  wait();
  blocks_.clear();
}

void Machine::copy_to(void* machine, const void* host, std::size_t bytes) {
  if (!on_device()) {
    std::memcpy(machine, host, bytes);
    return;
  }
  cuda::copy_to_device(machine, host, bytes, context_.stream);
  wait();
}

void Machine::fill_with_zero(void* machine, std::size_t bytes) {
  if (on_device()) {
    cuda::fill_with_zero(machine, bytes, context_.stream);
  } else {
    std::memset(machine, 0, bytes);
  }
}

void Machine::copy_within(void* to, const void* from, std::size_t bytes) {
  if (on_device()) {
    cuda::copy_on_device(to, from, bytes, context_.stream);
    return;
  }
  parallel_ranges(static_cast<std::int64_t>(bytes), 1 << 20, [&](std::int64_t begin, std::int64_t end) {
    std::memcpy(static_cast<char*>(to) + begin, static_cast<const char*>(from) + begin,
                static_cast<std::size_t>(end - begin));
  });
}

void Machine::wait() const {
  if (on_device()) cuda::synchronize(context_.stream);
}

void Machine::flush_cache() {
  if (!on_device()) return;
  for (std::size_t at = 0; at < flush_from_.bytes(); at += flush_to_.bytes()) {
    const char* from = static_cast<const char*>(flush_from_.data()) + at;
    cuda::copy_on_device(flush_to_.data(), from, std::min(flush_to_.bytes(), flush_from_.bytes() - at), context_.stream);
  }
}

double Machine::seconds(const std::function<void()>& body) {
  if (!on_device()) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  begin_->record(context_.stream);
  body();
  end_->record(context_.stream);
  end_->synchronize();
  return cuda::Event::milliseconds(*begin_, *end_) * 1e-3;
}

// --- operands ------------------------------------------------------------------------------------------------------------

void* Operands::repeat(const void* pattern, std::size_t pattern_bytes, std::size_t bytes) {
  auto* data = static_cast<char*>(machine_.allocate(bytes));
  // Once from the host, then doubled on the machine.
  std::size_t filled = std::min(bytes, pattern_bytes);
  machine_.copy_to(data, pattern, filled);
  while (filled < bytes) {
    const std::size_t more = std::min(filled, bytes - filled);
    machine_.copy_within(data + filled, data, more);
    filled += more;
  }
  return data;
}

void* Operands::random(DType type, std::int64_t count) {
  return repeat(pool_of(type).data(), pool_of(type).size(), static_cast<std::size_t>(count) * size_of(type));
}

void* Operands::filled(DType type, std::int64_t count, const cases::Values::Random* described) {
  if (described == nullptr || (described->scale == 1 && described->shift == 0 && !described->squared)) {
    return random(type, count);
  }
  const std::vector<char>& pool = pool_of(DType::kFloat32);
  const std::int64_t period = std::min(count, kPool);
  std::vector<char> pattern(static_cast<std::size_t>(period) * size_of(type));
  for (std::int64_t i = 0; i < period; ++i) {
    const double value = described->shift + described->scale * load_element(pool.data(), DType::kFloat32, i);
    store_element(pattern.data(), type, i, described->squared ? value * value : value);
  }
  return repeat(pattern.data(), pattern.size(), static_cast<std::size_t>(count) * size_of(type));
}

std::function<void*(void*)> Operands::uploaded(const std::vector<cases::Region>& arrays) {
  for (const cases::Region& host : arrays) {
    if (host.bytes == 0) continue;
    copies_.push_back(
        {host, static_cast<char*>(machine_.allocate(host.bytes)), static_cast<char*>(machine_.allocate(host.bytes))});
    machine_.copy_to(copies_.back().as_it_was, host.begin, host.bytes);
  }
  restore();
  return [copies = copies_](void* address) -> void* {
    for (const Copy& copy : copies) {
      const auto offset = static_cast<char*>(address) - static_cast<char*>(copy.host.begin);
      if (offset >= 0 && static_cast<std::size_t>(offset) < copy.host.bytes) return copy.data + offset;
    }
    return address;
  };
}

void Operands::restore() const {
  for (const Copy& copy : copies_) machine_.copy_within(copy.data, copy.as_it_was, copy.host.bytes);
}

// --- ceilings ------------------------------------------------------------------------------------------------------------

namespace {
double median_seconds(Machine& machine, const std::function<void()>& body) {
  const int repeats = machine.measures() ? 10 : 1;
  std::vector<double> seconds;
  for (int repeat = machine.measures() ? -2 : 0; repeat < repeats; ++repeat) {
    const double taken = machine.seconds(body);
    if (repeat >= 0) seconds.push_back(taken);
  }
  return median(seconds);
}
}  // namespace

namespace {
GemmArguments square_product(Operands& operands, DType type, std::int64_t size) {
  GemmArguments g;
  g.m = g.n = g.k = g.lda = g.ldb = g.ldc = size;
  g.transpose_b = true;
  g.input_type = g.output_type = type;
  g.a = operands.random(type, size * size);
  g.b = operands.random(type, size * size);
  g.c = operands.random(type, size * size);
  return g;
}

bool measurable(const Variant<GemmArguments>& variant, const Machine& machine, const GemmArguments& g) {
  return variant.name != kReference && usable(variant, machine.context(), g);
}

/// The product by this variant, ready to be launched.
std::function<void()> prepare(Machine& machine, const Variant<GemmArguments>& variant, const GemmArguments& g) {
  void* const workspace = machine.allocate(variant.workspace_bytes == nullptr ? 0 : variant.workspace_bytes(g));
  return [&machine, &variant, g, workspace] { variant.launch(machine.context(), g, workspace); };
}
}  // namespace

double product_rate(Machine& machine, DType type, std::int64_t size, std::string* name) {
  Operands operands(machine);
  const GemmArguments g = square_product(operands, type, size);
  double best = 0;
  for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
    if (!measurable(variant, machine, g)) continue;
    const double rate = operation<GemmArguments>().flops(g) / median_seconds(machine, prepare(machine, variant, g));
    if (rate > best && name != nullptr) *name = variant.name;
    best = std::max(best, rate);
  }
  return best;
}

Probe::Probe(Machine& machine, std::int64_t size) : machine_(machine), operands_(machine) {
  const GemmArguments g = square_product(operands_, DType::kFloat32, size);
  flops_ = operation<GemmArguments>().flops(g);
  for (const Variant<GemmArguments>& variant : operation<GemmArguments>().variants) {
    if (product_ == nullptr && measurable(variant, machine, g)) product_ = prepare(machine, variant, g);
  }
  check(product_ != nullptr, "no variant of the product runs here");
  machine_.seconds(product_);  // what is made at the first time
}

double Probe::rate(double seconds) {
  double taken = 0, products = 0;
  for (; products == 0 || taken < seconds; ++products) taken += machine_.seconds(product_);
  return products * flops_ / taken;
}

double copy_rate(Machine& machine, std::size_t bytes) {
  Operands operands(machine);
  void* const from = operands.random(DType::kBFloat16, static_cast<std::int64_t>(bytes / 2));
  void* const to = operands.random(DType::kBFloat16, static_cast<std::int64_t>(bytes / 2));
  return 2.0 * static_cast<double>(bytes) / median_seconds(machine, [&] { machine.copy_within(to, from, bytes); });
}

}  // namespace koine::bench
