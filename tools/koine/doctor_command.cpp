// koine doctor

#include <toml++/toml.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "engine/ranks/gloo_communicator.h"
#include "engine/ranks/nccl_api.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "models/models.h"
#include "tasks/experiment/device_kinds.h"
#include "tools/koine/commands.h"
#include "tools/koine/version.h"

namespace koine {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text.empty() ? "none" : text;
}

std::string library_table() {
  const std::string gloo = gloo_version();
  const std::string found_nccl = nccl::version_found();
  return format_table(
      {{"library", "version"},
       {"oneDNN", kOnednnVersion.empty() ? "not built in" : kOnednnVersion},
       {"Gloo (ranks on CPUs)", gloo.empty() ? "not built in" : gloo},
       {"NCCL (ranks on GPUs)", found_nccl.empty() ? "not found (libnccl.so.2, or what KOINE_NCCL names)" : found_nccl},
       {"nlohmann-json",
        concatenate(NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".", NLOHMANN_JSON_VERSION_PATCH)},
       {"toml++", concatenate(TOML_LIB_MAJOR, ".", TOML_LIB_MINOR, ".", TOML_LIB_PATCH)},
       {"CLI11", CLI11_VERSION}});
}

/// ", from 8.0", ", 9.0 only", or nothing on the CPU.
std::string window_text(const ArchitectureWindow& window) {
  const auto capability = [](int architecture) { return concatenate(architecture / 10, ".", architecture % 10); };
  if (window.last == kAnyArchitecture.last) return window.first == 0 ? "" : ", from " + capability(window.first);
  if (window.first == window.last) return concatenate(", ", capability(window.first), " only");
  return concatenate(", ", capability(window.first), " to ", capability(window.last));
}

/// The variants of every operation and which of them runs; below it the shapes that run another, as measured.
std::string operation_table(const Execution& on_cuda) {
  const Execution on_cpu = {.forced_variants = on_cuda.forced_variants};
  const Context cpu = context_of(on_cpu);
  const Context device = context_of(on_cuda);
  std::vector<std::vector<std::string>> rows = {{"operation", "on the CPU", "on CUDA", "variants"}};
  std::vector<std::vector<std::string>> shapes = {{"measured on CUDA", "shape", "runs"}};
  for (const OperationSummary& operation : all_operations()) {
    std::string all;
    for (const OperationSummary::Variant& variant : operation.variants) {
      all += concatenate(all.empty() ? "" : ", ", variant.name, " (", name_of(variant.device),
                         window_text(variant.architectures), ")");
    }
    const VariantChoice choice = variant_choice(device, operation);
    rows.push_back({operation.name, choice_text(variant_choice(cpu, operation)), choice_text(choice), all});
    for (const VariantChoice::Shape& shape : choice.shapes) shapes.push_back({operation.name, shape.text, shape.variant});
  }
  return format_table(rows) + (shapes.size() > 1 ? "\n" + format_table(shapes) : "");
}

std::string backends() {
  if (cuda::on_host()) return "cpu; CUDA kernels run on the CPU for testing only";
  const int devices = cuda::device_count();
  if (devices == 0) return "cpu, cuda (no device found)";
  return concatenate("cpu, cuda (", devices, devices == 1 ? " device)" : " devices)");
}

int doctor(const CommonOptions& common) {
  Execution on_cuda = planned_execution(common, "fp32");
  on_cuda.device = Device::kCuda;
  print(format_table({{"koine", kVersion + ", " + kBuildType + " build"},
                      {"backends", backends()},
                      {"processor", cpu_name()},
                      {"vector units", joined(cpu_features())},
                      {"threads", concatenate("using ", thread_count(), " of ", sysconf(_SC_NPROCESSORS_ONLN))},
                      {"memory", format_bytes(static_cast<double>(memory_bytes())) + ", " +
                                     format_bytes(static_cast<double>(available_memory_bytes())) + " free"}}) +
        (cuda::on_host() || cuda::device_count() == 0 ? "" : device_summary(on_cuda.device_index) + "\n") + "\n" +
        library_table() + "\n" + operation_table(on_cuda) + "\n");
  const PrecisionChoice choice = choose_precision(common.forced);
  print(format_table({{"measured on all threads", "rate"},
                      {"product fp32, 1024 x 3072 x 768", format_number(choice.float32_rate * 1e-9, 1) + " GFLOP/s"},
                      {"product bf16, 1024 x 3072 x 768", format_number(choice.bfloat16_rate * 1e-9, 1) + " GFLOP/s"},
                      {"copy, read and written", format_number(measure_copy_rate() * 1e-9, 1) + " GB/s"}}) +
        "--precision auto: " + name_of(choice.precision) + "\n");
  if (!cuda::on_host() && cuda::device_count() > 0) {
    const auto rate = [&](DType type) { return format_number(measure_device_product_rate(type, common.forced) * 1e-12, 1); };
    print("\n" + format_table({{"measured on the device", "rate"},
                               {"product fp32, 8192 x 8192 x 8192", rate(DType::kFloat32) + " TFLOP/s"},
                               {"product bf16, 8192 x 8192 x 8192", rate(DType::kBFloat16) + " TFLOP/s"},
                               {"copy, read and written", format_number(measure_device_copy_rate() * 1e-12, 2) + " TB/s"}}));
  }
  return 0;
}

}  // namespace

void add_doctor_command(CommandLine& line) {
  line.add("doctor", "Backends, operations that would run, libraries, memory, measured rates", [&line] {
    apply(line.common);
    return doctor(line.common);
  });
}

}  // namespace koine
