// --device, --precision and KOINE_FORCE.

#include <algorithm>
#include <charconv>
#include <iostream>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "tasks/experiment/toml_section.h"
#include "tools/koine/commands.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kNumberedDevice = "cuda:";

/// N of "cuda:N"; -1 where the text is not of that form.
int device_number(const std::string& text) {
  if (!text.starts_with(kNumberedDevice)) return -1;
  const char* begin = text.data() + kNumberedDevice.size();
  const char* end = text.data() + text.size();
  int number = -1;
  const std::from_chars_result parsed = std::from_chars(begin, end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? number : -1;
}

/// CUDA device `index`, which this machine must have.
Execution on_cuda(const CommonOptions& common, int index) {
  require(!cuda::on_host(),
          "this build of koine has no CUDA backend (configure with -DKOINE_CUDA=ON where nvcc is); use "
          "--device cpu");
  const int devices = cuda::device_count();
  require(devices > 0, "CUDA finds no device here; use --device cpu");
  require(index < devices, "--device ", common.device, ": CUDA finds ", devices, devices == 1 ? " device" : " devices",
          " here, and counts from cuda:0");
  Execution execution;
  execution.device = Device::kCuda;
  execution.device_index = index;
  return execution;
}

Execution resolve_place(const CommonOptions& common) {
  if (common.device == "cuda-on-cpu") {
    require(cuda::on_host(), "this build of koine has real CUDA kernels; use --device cuda");
    Execution execution;
    execution.device = Device::kCuda;
    return execution;
  }
  const bool automatic = common.device == "auto";
  if (common.device == "cpu" || (automatic && (cuda::on_host() || cuda::device_count() == 0))) return {};
  return on_cuda(common, automatic || common.device == "cuda" ? 0 : device_number(common.device));
}

/// The first of --precision, `wanted` and what `settled` holds that is not "auto"; else bf16 on a device (what tensor cores
/// are for), else what is measured.
DType resolve_precision(const CommonOptions& common, Device device, const std::string& wanted, const fs::path& settled) {
  std::string name = common.precision;
  if (name == "auto") name = wanted;
  if (name == "auto" && fs::exists(settled)) {
    name = TomlSection::parse(read_file(settled), settled.string()).text("precision", "auto");
  }
  if (name == "fp32") return DType::kFloat32;
  if (name == "bf16" || device == Device::kCuda) return DType::kBFloat16;
  const PrecisionChoice choice = choose_precision(common.forced);
  if (!common.quiet) {
    std::cerr << "precision " << name_of(choice.precision) << ": products run at "
              << format_number(choice.float32_rate * 1e-9, 0) << " GFLOP/s in fp32 and "
              << format_number(choice.bfloat16_rate * 1e-9, 0) << " in bf16 here" << std::endl;
  }
  return choice.precision;
}

}  // namespace

std::string check_device_name(const std::string& text) {
  for (const char* known : {"auto", "cpu", "cuda", "cuda-on-cpu"}) {
    if (text == known) return "";
  }
  return device_number(text) >= 0 ? "" : text + " not in {auto,cpu,cuda,cuda:0,cuda:1 ...,cuda-on-cpu}";
}

void apply(const CommonOptions& common) {
  use_device(resolve_place(common));
  if (common.threads > 0) set_thread_count(common.threads);
}

Execution resolve_execution(const CommonOptions& common, const std::string& wanted, const fs::path& settled) {
  Execution execution = resolve_place(common);
  execution.forced_variants = common.forced;
  execution.precision = resolve_precision(common, execution.device, wanted, settled);
  return execution;
}

Execution planned_execution(const CommonOptions& common, const std::string& wanted) {
  const bool given = common.device.starts_with("cuda") && common.device != "cuda-on-cpu";
  Execution execution = given ? Execution{} : resolve_place(common);
  if (given) execution.device = Device::kCuda;
  if (given) execution.device_index = std::max(0, device_number(common.device));
  execution.forced_variants = common.forced;
  execution.precision = resolve_precision(common, execution.device, wanted, {});
  return execution;
}

}  // namespace koine
