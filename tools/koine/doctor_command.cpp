// koine doctor

#include <toml++/toml.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "kernels/common/parallel.h"
#include "tools/koine/commands.h"

namespace koine {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text.empty() ? "none" : text;
}

std::string library_table() {
  const std::string onednn = KOINE_ONEDNN_VERSION;
  return format_table({{"library", "version"},
                       {"oneDNN", onednn.empty() ? "not built in" : onednn},
                       {"nlohmann-json", concatenate(NLOHMANN_JSON_VERSION_MAJOR, ".", NLOHMANN_JSON_VERSION_MINOR, ".",
                                                     NLOHMANN_JSON_VERSION_PATCH)},
                       {"toml++", concatenate(TOML_LIB_MAJOR, ".", TOML_LIB_MINOR, ".", TOML_LIB_PATCH)},
                       {"CLI11", CLI11_VERSION}});
}

/// The variants of every operation; the first that is for this device and not the reference is what runs unless forced.
std::string operation_table(const ForcedVariants& forced) {
  std::vector<std::vector<std::string>> rows = {{"operation", "runs", "variants"}};
  for (const OperationSummary& operation : all_operations()) {
    std::string chosen = "none";
    for (const std::string& variant : operation.variants) {
      if (variant.rfind(kReference, 0) == 0) continue;
      chosen = variant.substr(0, variant.find(' '));
      break;
    }
    const auto found = forced.find(operation.name);
    if (found != forced.end()) chosen = found->second + " (forced)";
    std::string all;
    for (const std::string& variant : operation.variants) all += (all.empty() ? "" : ", ") + variant;
    rows.push_back({operation.name, chosen, all});
  }
  return format_table(rows);
}

int doctor(const CommonOptions& common) {
  print(format_table({{"koine", KOINE_VERSION " (" KOINE_COMMIT "), " KOINE_BUILD_TYPE " build"},
                      {"backends", "cpu (no CUDA in this build)"},
                      {"processor", cpu_name()},
                      {"vector units", joined(cpu_features())},
                      {"threads", concatenate("using ", thread_count(), " of ", sysconf(_SC_NPROCESSORS_ONLN))},
                      {"memory", format_bytes(static_cast<double>(memory_bytes())) + ", " +
                                     format_bytes(static_cast<double>(available_memory_bytes())) + " free"}}) +
        "\n" + library_table() + "\n" + operation_table(common.forced) + "\n");
  const PrecisionChoice choice = choose_precision(common.forced);
  print(format_table({{"measured on all threads", "rate"},
                      {"product fp32, 1024 x 3072 x 768", format_number(choice.float32_rate * 1e-9, 1) + " GFLOP/s"},
                      {"product bf16, 1024 x 3072 x 768", format_number(choice.bfloat16_rate * 1e-9, 1) + " GFLOP/s"},
                      {"copy, read and written", format_number(measure_copy_rate() * 1e-9, 1) + " GB/s"}}) +
        "--precision auto: " + name_of(choice.precision) + "\n");
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
