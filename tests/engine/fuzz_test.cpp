// Every parser of files that are not ours, on some thousands of mutated files: the same ones in every run.

#include <fstream>
#include <string>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "kernels/random/philox.h"
#include "temporary_folder.h"
#include "tests/fuzz/targets.h"

namespace koine {
namespace {

/// A stream of random numbers for input `number`.
class Draws {
 public:
  explicit Draws(std::uint32_t number) : number_(number) {}
  std::uint32_t next() { return philox({count_++, number_, 0, 0}, {2024, 3})[0]; }
  std::size_t below(std::size_t count) { return count == 0 ? 0 : next() % count; }

 private:
  std::uint32_t number_;
  std::uint32_t count_ = 0;
};

/// One change of the kinds that break parsers: a bit, a byte, a number at its limits, a part lost, doubled or from
/// elsewhere.
void mutate(std::string& bytes, const std::vector<std::string>& seeds, Draws& draws) {
  constexpr std::uint64_t kLimits[] = {0,      1,          0x7f,       0x80,       0xff,       0x7fff,
                                       0xffff, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull >> 1, ~0ull};
  const std::size_t at = draws.below(bytes.size() + 1);
  const std::size_t length = std::min(draws.below(24), bytes.size() - at);
  switch (draws.below(7)) {
    case 0:
      if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ (1 << draws.below(8)));
      break;
    case 1:
      if (at < bytes.size()) bytes[at] = static_cast<char>(draws.next());
      break;
    case 2: {
      const std::uint64_t limit = kLimits[draws.below(std::size(kLimits))] + (draws.below(3) - 1);
      const std::size_t width = std::size_t{1} << draws.below(4);
      bytes.replace(at, std::min(width, bytes.size() - at), reinterpret_cast<const char*>(&limit), width);
      break;
    }
    case 3:
      bytes.erase(at, length);
      break;
    case 4:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 5: {
      const std::string& other = seeds[draws.below(seeds.size())];
      bytes.insert(at, other.substr(draws.below(other.size()), length));
      break;
    }
    case 6:
      bytes.resize(at);
      break;
  }
}

/// Runs `target` on the seeds, which it must accept, and on `count` mutations; some of which, but not all, it should accept,
/// or the mutations miss what they are for.
void run(bool (*target)(std::string_view), const std::vector<std::string>& seeds, std::uint32_t count) {
  for (const std::string& seed : seeds) EXPECT_TRUE(target(seed)) << "a seed is refused";
  std::uint32_t accepted = 0;
  for (std::uint32_t number = 0; number < count; ++number) {
    Draws draws(number);
    std::string bytes = seeds[number % seeds.size()];
    for (std::size_t changes = 1 + draws.below(4); changes > 0; --changes) mutate(bytes, seeds, draws);
    // A copy of its own size: the address sanitizer then sees every byte read beyond it.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    accepted += target({exact.data(), exact.size()}) ? 1 : 0;
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, count);
}

std::string fixture(const char* name) {
  return read_file(std::filesystem::path(KOINE_SOURCE_DIR) / "tests/fixtures/torch" / name);
}

TEST(Fuzz, Safetensors) {
  const TemporaryFolder folder;
  const float values[6] = {};
  write_safetensors(folder / "a", {{"x", "F32", {2, 3}, values}, {"y", "I64", {}, values}, {"z", "BF16", {0, 4}, nullptr}});
  write_safetensors(folder / "b", {{"t", "U8", {1}, values}}, {});
  run(fuzz::safetensors, {read_file(folder / "a"), read_file(folder / "b"), std::string("\2\0\0\0\0\0\0\0{}", 10)}, 20'000);
}

TEST(Fuzz, Json) {
  run(fuzz::json,
      {R"({"weight_map": {"a.b": "model-00001.safetensors", "c": "x"}, "metadata": {"total_size": 12345678901}})",
       R"([1, -2.5e-3, "\u00e9\ud83d\ude00 \n", true, false, null, [], {}, [[[[{"a": []}]]]]])", "\"caf\u00e9\"", " 0 "},
      20'000);
}

TEST(Fuzz, Pickle) {
  const std::string legacy = fixture("legacy.bin");
  // The magic number, the protocol and the description of the system come first.
  std::size_t begin = 0;
  for (int i = 0; i < 3; ++i) begin += Pickle(std::string_view(legacy).substr(begin), "seed").size();
  run(fuzz::pickle,
      {legacy.substr(begin, Pickle(std::string_view(legacy).substr(begin), "seed").size()),
       "\x80\x02]q\x01h\x01"
       "a."},
      20'000);
}

TEST(Fuzz, TorchCheckpoint) { run(fuzz::torch_checkpoint, {fixture("legacy.bin"), fixture("zip.bin")}, 10'000); }

TEST(Fuzz, TokenizerModel) {
  const TemporaryFolder folder;
  std::ofstream(folder / "text") << "mal ken tor malken kentor\nvis mal torvis malvis\nken ken mal tor vis\n";
  Tokenizer::train({{folder / "text"}, 20, 1.0}, folder / "model");
  // The rules of normalisation are nearly all of the file: cut down to one block and a few replacements, the rest is hit
  // more often.
  const std::string whole = read_file(folder / "model");
  run(fuzz::tokenizer_model, {whole}, 200);
  std::string blob(4 + 1024, '\0');
  blob[1] = 4;  // 1024 bytes of units
  blob += std::string(" \0x\0", 4);
  const std::string specification =
      std::string("\x12") + static_cast<char>(blob.size() % 128 | 128) + static_cast<char>(blob.size() / 128) + blob;
  const std::string normalizer = std::string("\x1a") + static_cast<char>(specification.size() % 128 | 128) +
                                 static_cast<char>(specification.size() / 128) + specification;
  const std::size_t cut = whole.find("nmt_nfkc");
  std::size_t end = cut;
  // Back to the tag of the normaliser's specification (field 3, bytes), before its length of three bytes and its name's tag
  // and length.
  while (static_cast<unsigned char>(whole[end]) != 0x1a) --end;
  run(fuzz::tokenizer_model, {whole.substr(0, end) + normalizer}, 10'000);
}

TEST(Fuzz, Utf8) {
  run(fuzz::utf8, {"plain", "caf\u00e9 \u4e2d\u6587 \U0001F600", "\u0939\u093f\u0928\u094d\u0926\u0940"}, 20'000);
}

TEST(Fuzz, Npy) { run(fuzz::npy, {npy_header(1, 2) + std::string(8, '\0'), npy_header(0, 3)}, 10'000); }

}  // namespace
}  // namespace koine
