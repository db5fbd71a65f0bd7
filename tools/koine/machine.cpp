#include "tools/koine/machine.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "kernels/common/own_scratch.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "kernels/gemm/gemm.h"

namespace koine {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Shortest time of a call, repeated for about `budget` seconds and at least three times.
template <class Work>
double best_seconds(double budget, const Work& work) {
  work();
  double best = 1e30;
  const Clock::time_point begin = Clock::now();
  for (int round = 0; round < 3 || seconds_since(begin) < budget; ++round) {
    const Clock::time_point start = Clock::now();
    work();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

/// Values in [-0.5, 0.5), by a small congruential generator: products of zeros can be faster than real ones.
void fill(std::vector<float>& values) {
  std::uint32_t state = 12345;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
  }
}

std::vector<BFloat16> rounded(const std::vector<float>& values) {
  std::vector<BFloat16> result(values.size());
  std::transform(values.begin(), values.end(), result.begin(), [](float value) { return to_bfloat16(value); });
  return result;
}

/// The line of a file in /proc that begins with `key`, behind its colon.
std::string proc_field(const char* file, const std::string& key) {
  std::ifstream stream(file);
  std::string line;
  while (std::getline(stream, line)) {
    if (line.rfind(key, 0) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t first = line.find_first_not_of(" \t", colon + 1);
    return first == std::string::npos ? "" : line.substr(first);
  }
  return "";
}

}  // namespace

double measure_product_rate(DType type, const ForcedVariants& forced, std::int64_t m, std::int64_t n, std::int64_t k) {
  std::vector<float> a(static_cast<std::size_t>(m * k));
  std::vector<float> b(static_cast<std::size_t>(n * k));
  std::vector<float> c(static_cast<std::size_t>(m * n));
  fill(a);
  fill(b);
  const std::vector<BFloat16> a_rounded = rounded(a);
  const std::vector<BFloat16> b_rounded = rounded(b);
  const bool mixed = type == DType::kBFloat16;
  GemmArguments arguments;
  arguments.m = m;
  arguments.n = n;
  arguments.k = k;
  arguments.a = mixed ? static_cast<const void*>(a_rounded.data()) : a.data();
  arguments.lda = k;
  arguments.b = mixed ? static_cast<const void*>(b_rounded.data()) : b.data();
  arguments.ldb = k;
  arguments.transpose_b = true;
  arguments.input_type = type;
  arguments.c = c.data();
  arguments.ldc = n;
  arguments.output_type = type;
  Context context;
  context.forced = &forced;
  const OwnScratch scratch(context, "calibration", [&](const Context& dry) { gemm(dry, arguments); });
  const double seconds = best_seconds(0.2, [&] { gemm(scratch.in(context), arguments); });
  return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / seconds;
}

double measure_device_product_rate(DType type, const ForcedVariants& forced) {
  const std::int64_t extent = cuda::on_host() ? 64 : 8192;
  const auto elements = static_cast<std::size_t>(extent * extent);
  std::vector<float> values(elements);
  fill(values);
  const std::vector<BFloat16> values_rounded = rounded(values);
  const bool mixed = type == DType::kBFloat16;
  const std::size_t bytes = elements * size_of(type);
  Buffer a(Device::kCuda, "calibration", bytes);
  Buffer b(Device::kCuda, "calibration", bytes);
  const Buffer c(Device::kCuda, "calibration", bytes);
  const cuda::Stream stream;
  for (Buffer* operand : {&a, &b}) {
    operand->write(mixed ? static_cast<const void*>(values_rounded.data()) : values.data(), bytes);
  }
  GemmArguments arguments;
  arguments.m = arguments.n = arguments.k = arguments.lda = arguments.ldb = arguments.ldc = extent;
  arguments.a = a.data();
  arguments.b = b.data();
  arguments.transpose_b = true;
  arguments.input_type = arguments.output_type = type;
  arguments.c = c.data();
  Context context;
  context.device = Device::kCuda;
  context.architecture = cuda::device_properties(cuda::current_device()).architecture;
  context.forced = &forced;
  context.stream = stream.handle();
  const OwnScratch scratch(context, "calibration", [&](const Context& dry) { gemm(dry, arguments); });
  const double seconds = best_seconds(0.2, [&] {
    gemm(scratch.in(context), arguments);
    cuda::synchronize(stream.handle());
  });
  return 2.0 * static_cast<double>(extent) * static_cast<double>(extent) * static_cast<double>(extent) / seconds;
}

double measure_copy_rate() {
  constexpr std::int64_t kBytes = 256 << 20;
  const std::vector<char> source(kBytes, 1);
  std::vector<char> target(kBytes);
  const double seconds = best_seconds(0.3, [&] {
    parallel_ranges(kBytes, 1 << 20, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(target.data() + begin, source.data() + begin, static_cast<std::size_t>(end - begin));
    });
  });
  return 2.0 * static_cast<double>(kBytes) / seconds;
}

double measure_device_copy_rate() {
  const std::size_t bytes = cuda::on_host() ? std::size_t{1} << 20 : std::size_t{2} << 30;
  const Buffer source = Buffer::zeroed(Device::kCuda, "calibration", bytes);
  const Buffer target(Device::kCuda, "calibration", bytes);
  const cuda::Stream stream;
  const double seconds = best_seconds(0.2, [&] {
    cuda::copy_on_device(target.data(), source.data(), bytes, stream.handle());
    cuda::synchronize(stream.handle());
  });
  return 2.0 * static_cast<double>(bytes) / seconds;
}

PrecisionChoice choose_precision(const ForcedVariants& forced) {
  PrecisionChoice choice;
  choice.float32_rate = measure_product_rate(DType::kFloat32, forced);
  choice.bfloat16_rate = measure_product_rate(DType::kBFloat16, forced);
  // Mixed mode also converts and keeps copies; it must be clearly faster in products to pay.
  choice.precision = choice.bfloat16_rate > 1.2 * choice.float32_rate ? DType::kBFloat16 : DType::kFloat32;
  return choice;
}

std::string cpu_name() {
  const std::string name = proc_field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown processor" : name;
}

std::vector<std::string> cpu_features() {
  std::istringstream flags(proc_field("/proc/cpuinfo", "flags"));
  std::set<std::string> present;
  std::string flag;
  while (flags >> flag) present.insert(flag);
  std::vector<std::string> result;
  for (const char* wanted : {"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx_vnni",
                             "amx_tile", "amx_bf16"}) {
    if (present.count(wanted) != 0) result.emplace_back(wanted);
  }
  return result;
}

std::int64_t memory_bytes() { return static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE); }

std::int64_t available_memory_bytes() {
  const std::string field = proc_field("/proc/meminfo", "MemAvailable");
  return field.empty() ? 0 : std::stoll(field) * 1024;
}

}  // namespace koine
