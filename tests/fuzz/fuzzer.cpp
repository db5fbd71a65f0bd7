// The libFuzzer program of all targets: KOINE_FUZZ_TARGET in the environment names the function of koine::fuzz that reads the inputs.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/fuzz/targets.h"
#include "tests/fuzz/task_formats_target.h"

namespace {

struct Target {
  std::string_view name;
  void (*read)(std::string_view bytes);
};

template <auto parser>
void read(std::string_view bytes) {
  parser(bytes);
}

namespace fuzz = koine::fuzz;
constexpr Target kTargets[] = {
    {"ccg_derivation", read<fuzz::ccg_derivation>},
    {"conllu", read<fuzz::conllu>},
    {"cosmos_qa", read<fuzz::cosmos_qa>},
    {"experiment", read<fuzz::experiment>},
    {"json", read<fuzz::json>},
    {"label_lines", read<fuzz::label_lines>},
    {"labelled_texts", read<fuzz::labelled_texts>},
    {"npy", read<fuzz::npy>},
    {"pickle", read<fuzz::pickle>},
    {"predicted_tags", read<fuzz::predicted_tags>},
    {"safetensors", read<fuzz::safetensors>},
    {"squad2", read<fuzz::squad2>},
    {"tokenizer_model", read<fuzz::tokenizer_model>},
    {"torch_checkpoint", read<fuzz::torch_checkpoint>},
    {"utf8", read<fuzz::utf8>},
    {"wikiann", read<fuzz::wikiann>},
};

const Target* chosen = nullptr;

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* name = std::getenv("KOINE_FUZZ_TARGET");
  for (const Target& target : kTargets) {
    if (name != nullptr && target.name == name) chosen = &target;
  }
  if (chosen != nullptr) return 0;
  std::fprintf(stderr, "KOINE_FUZZ_TARGET must be one of");
  for (const Target& target : kTargets) std::fprintf(stderr, " %s", target.name.data());
  std::fprintf(stderr, "\n");
  std::exit(2);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  chosen->read({reinterpret_cast<const char*>(data), size});
  return 0;
}
