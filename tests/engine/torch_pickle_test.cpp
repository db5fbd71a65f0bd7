#include "engine/files/torch_pickle.h"

#include <cstring>
#include <set>

#include "engine/files/crc32.h"
#include "engine/files/pickle.h"
#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/files/zip_archive.h"
#include "temporary_folder.h"

namespace koine {
namespace {

std::filesystem::path torch_fixture(const char* name) {
  return std::filesystem::path(KOINE_SOURCE_DIR) / "tests/fixtures/torch" / name;
}

const TorchTensor& tensor_of(const TorchCheckpoint& checkpoint, const std::string& name) {
  for (const TorchTensor& tensor : checkpoint.tensors()) {
    if (tensor.name == name) return tensor;
  }
  throw Error("no tensor " + name);
}

template <class Element>
void expect_tensor(const TorchCheckpoint& checkpoint, const std::string& name, const std::string& dtype,
                   const std::vector<std::int64_t>& shape, const std::vector<Element>& values) {
  const TorchTensor& tensor = tensor_of(checkpoint, name);
  EXPECT_EQ(tensor.dtype, dtype) << name;
  EXPECT_EQ(tensor.shape, shape) << name;
  if (values.empty()) return;
  EXPECT_EQ(std::memcmp(tensor.data, values.data(), values.size() * sizeof(Element)), 0) << name;
}

/// What tools/make_torch_fixtures.py put into its files.
void expect_fixture(const char* file) {
  const TorchCheckpoint checkpoint(torch_fixture(file));
  EXPECT_EQ(checkpoint.tensors().size(), 18u);
  EXPECT_EQ(checkpoint.tensors().front().name, "float");
  expect_tensor<float>(checkpoint, "float", "F32", {2, 3}, {0, 0.25f, 0.5f, 0.75f, 1, -1.5f});
  expect_tensor<std::uint16_t>(checkpoint, "half", "F16", {3}, {0x3c00, 0xc100, 0x7bff});
  expect_tensor<std::uint16_t>(checkpoint, "bfloat16", "BF16", {3}, {0x3f80, 0xc020, 0x4040});
  expect_tensor<double>(checkpoint, "double", "F64", {2}, {0.1, 1e300});
  expect_tensor<std::int64_t>(checkpoint, "long", "I64", {3}, {7, -8, std::int64_t{1} << 40});
  expect_tensor<std::int32_t>(checkpoint, "int", "I32", {2}, {1, -2});
  expect_tensor<std::uint8_t>(checkpoint, "bool", "BOOL", {3}, {1, 0, 1});
  expect_tensor<float>(checkpoint, "scalar", "F32", {}, {2.5f});
  expect_tensor<float>(checkpoint, "empty", "F32", {0, 3}, {});
  expect_tensor<float>(checkpoint, "transposed", "F32", {4, 3}, {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  expect_tensor<float>(checkpoint, "slice", "F32", {2, 2}, {5, 6, 9, 10});
  expect_tensor<float>(checkpoint, "row", "F32", {4}, {8, 9, 10, 11});
  expect_tensor<float>(checkpoint, "tied.second", "F32", {2}, {0.5f, -1});
  expect_tensor<float>(checkpoint, "parameter", "F32", {2}, {4, 5});
  expect_tensor<std::int64_t>(checkpoint, "embeddings.position_ids", "I64", {1, 4}, {0, 1, 2, 3});
}

TEST(TorchPickle, ReadsTheZipForm) { expect_fixture("zip.bin"); }
TEST(TorchPickle, ReadsTheLegacyForm) { expect_fixture("legacy.bin"); }

TEST(TorchPickle, ConvertsToSafetensors) {
  for (const char* file : {"zip.bin", "legacy.bin"}) {
    const TemporaryFolder folder;
    make_directory(folder / "in");
    std::filesystem::copy_file(torch_fixture(file), folder / "in/pytorch_model.bin");
    write_file_atomically(folder / "in/config.json", "{}\n");
    write_file_atomically(folder / "in/sentencepiece.bpe.model", "tokenizer");
    write_file_atomically(folder / "in/training.log", "not wanted");
    EXPECT_EQ(convert_torch_checkpoint(folder / "in", folder / "out"), 17);
    const ModelWeights weights(folder / "out");
    const auto names = weights.names();
    EXPECT_EQ(names.size(), 17u);
    EXPECT_TRUE(weights.contains("tied.first"));
    EXPECT_TRUE(weights.contains("tied.second"));
    EXPECT_FALSE(weights.contains("embeddings.position_ids"));
    EXPECT_TRUE(weights.contains("old.LayerNorm.weight"));
    EXPECT_TRUE(weights.contains("old.LayerNorm.bias"));
    std::vector<float> transposed(12);
    weights.read_float("transposed", transposed.data());
    EXPECT_EQ(transposed, (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
    EXPECT_EQ(read_file(folder / "out/config.json"), "{}\n");
    EXPECT_EQ(read_file(folder / "out/sentencepiece.bpe.model"), "tokenizer");
    EXPECT_FALSE(std::filesystem::exists(folder / "out/training.log"));
    // The file by itself, converted in place.
    EXPECT_EQ(convert_torch_checkpoint(folder / "in/pytorch_model.bin", folder / "in"), 17);
    EXPECT_EQ(read_file(folder / "in/config.json"), "{}\n");
  }
}

TEST(TorchPickle, ConvertsShards) {
  const TemporaryFolder folder;
  std::filesystem::copy_file(torch_fixture("zip.bin"), folder / "pytorch_model-00001-of-00001.bin");
  write_file_atomically(
      folder / "pytorch_model.bin.index.json",
      R"({"weight_map":{"float":"pytorch_model-00001-of-00001.bin","half":"pytorch_model-00001-of-00001.bin"}})");
  EXPECT_EQ(convert_torch_checkpoint(folder.path(), folder / "out"), 17);
  write_file_atomically(folder / "pytorch_model.bin.index.json", R"({"weight_map":{"float":"../../etc/passwd"}})");
  expect_user_error([&] { convert_torch_checkpoint(folder.path(), folder / "bad"); },
                    {"index.json", "float", "plain file name"});
  expect_user_error([&] { convert_torch_checkpoint(folder / "out", folder / "bad"); }, {"out", "pytorch_model.bin"});
  EXPECT_FALSE(std::filesystem::exists(folder / "bad"));
}

TEST(TorchPickle, RefusesEveryTruncation) {
  for (const char* file : {"zip.bin", "legacy.bin"}) {
    const std::string bytes = read_file(torch_fixture(file));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_THROW(parse_torch_checkpoint(std::string_view(bytes).substr(0, size), "x.bin"), UserError)
          << file << " " << size;
    }
  }
}

// --- pickles made by hand -----------------------------------------------------------------------------------------------

template <class Number>
std::string raw(Number value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string text(const std::string& value) { return "X" + raw(static_cast<std::uint32_t>(value.size())) + value; }
std::string integer(std::int64_t value) { return std::string("\x8a\x08") + raw(value); }
std::string pickled(const std::string& body) { return "\x80\x02" + body + "."; }
std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }

std::string tuple(const std::vector<std::int64_t>& values) {
  std::string body = "(";
  for (const std::int64_t value : values) body += integer(value);
  return body + "t";
}

std::string storage(const std::string& key, std::int64_t elements, const std::string& type = "FloatStorage") {
  return "(" + text("storage") + global("torch", type) + text(key) + text("cpu") + integer(elements) + "tQ";
}

/// A state dictionary with the tensor "t".
std::string dictionary(const std::string& storage_pickle, std::int64_t offset, const std::vector<std::int64_t>& sizes,
                       const std::vector<std::int64_t>& strides) {
  return pickled("}" + text("t") + global("torch._utils", "_rebuild_tensor_v2") + "(" + storage_pickle + integer(offset) +
                 tuple(sizes) + tuple(strides) + "\x89})tR" + "s");
}

/// A file of the legacy form with one storage "0" of `elements` floats.
std::string legacy(const std::string& object, std::int64_t elements = 4, const std::string& keys = "") {
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  return magic + pickled("M" + raw<std::uint16_t>(1001)) + pickled("}" + text("little_endian") + "\x88s") + object +
         (keys.empty() ? pickled("]" + text("0") + "a") : keys) + raw(elements) +
         std::string(static_cast<std::size_t>(elements) * 4, '\1');
}

void expect_refused_checkpoint(const std::string& bytes, const std::vector<std::string>& parts) {
  expect_user_error([&] { parse_torch_checkpoint(bytes, "x.bin"); }, parts);
}

TEST(TorchPickle, ReadsAFileMadeByHand) {
  const std::string bytes = legacy(dictionary(storage("0", 4), 0, {2, 2}, {2, 1}));
  const auto tensors = parse_torch_checkpoint(bytes, "x.bin");
  ASSERT_EQ(tensors.size(), 1u);
  EXPECT_EQ(tensors[0].shape, (std::vector<std::int64_t>{2, 2}));
}

TEST(TorchPickle, RefusesCode) {
  const std::string call = global("os", "system") + "(" + text("true") + "tR";
  expect_refused_checkpoint(legacy(pickled(call)), {"x.bin", "os.system", "refused"});
  expect_refused_checkpoint(legacy(pickled("}" + text("t") + call + "s")), {"os.system"});
  for (const char* name : {"eval", "exec", "getattr"}) {
    expect_refused_checkpoint(legacy(pickled(global("builtins", name))), {std::string("builtins.") + name});
  }
  expect_refused_checkpoint(legacy(pickled(global("torch", "load"))), {"torch.load"});
  expect_refused_checkpoint(legacy(pickled(global("torch._utils", "_rebuild_tensor_v2\t"))), {"_rebuild_tensor_v2"});
  // INST, OBJ, NEWOBJ, STACK_GLOBAL, EXT1, PERSID, a string of protocol 0.
  for (const char opcode : {'i', 'o', '\x81', '\x93', '\x82', 'P', 'S'}) {
    expect_refused_checkpoint(legacy(pickled(std::string(1, opcode))), {"opcode", "refused"});
  }
  expect_refused_checkpoint(legacy("\x80\x04"
                                   "N."),
                            {"protocol 4"});
}

TEST(TorchPickle, RefusesBrokenStacks) {
  expect_refused_checkpoint(legacy(pickled("h\x07")), {"value 7", "never kept"});
  expect_refused_checkpoint(legacy(pickled("j" + raw<std::uint32_t>(70000))), {"value 70000"});
  expect_refused_checkpoint(legacy(pickled("")), {"0 values"});
  expect_refused_checkpoint(legacy(pickled("NN")), {"2 values"});
  expect_refused_checkpoint(legacy(pickled("(N")), {"values"});
  expect_refused_checkpoint(legacy(pickled("t")), {"mark"});
  expect_refused_checkpoint(legacy(pickled("N(\x86")), {"needs 2 values", "0"});
  expect_refused_checkpoint(legacy(pickled("q")), {"x.bin"});
  expect_refused_checkpoint(legacy(pickled("NNNs")), {"no dictionary"});
  expect_refused_checkpoint(legacy(pickled("}(NNu")), {"no string"});
  expect_refused_checkpoint(legacy(pickled("}(" + text("t") + "u")), {"no dictionary"});
  expect_refused_checkpoint(legacy(pickled("NNa")), {"no list"});
  expect_refused_checkpoint(legacy(pickled("NNb")), {"state"});
  expect_refused_checkpoint(legacy(pickled("NNR")), {"no function"});
  expect_refused_checkpoint(legacy(pickled("NQ")), {"no storage"});
  expect_refused_checkpoint(legacy(pickled(global("torch", "FloatStorage") + ")R")), {"FloatStorage"});
  expect_refused_checkpoint(legacy(pickled("X\xff\xff\xff\xff")), {"truncated"});
  expect_refused_checkpoint(legacy(pickled("X" + raw<std::uint32_t>(1) + "\xff")), {"UTF-8"});
  expect_refused_checkpoint(legacy(pickled("]")), {"state dictionary"});
  expect_refused_checkpoint(legacy(pickled("}" + text("t") + "Ns")), {"tensor t", "not a tensor"});
  // A list that holds itself: nothing may follow it for ever.
  expect_refused_checkpoint(legacy(pickled("]q\1h\1a")), {"state dictionary"});
}

TEST(TorchPickle, BoundsTheValuesThatOneByteOpcodesMake) {
  for (const char opcode : {'N', '(', ')', ']'}) {
    const std::string bytes = "\x80\x02" + std::string(3'000'000, opcode) + ".";
    expect_user_error([&] { Pickle(bytes, "n.bin"); }, {"n.bin", "more than 2000000 values"});
  }
}

TEST(TorchPickle, ChecksEveryNumber) {
  const auto expect = [&](std::int64_t offset, const std::vector<std::int64_t>& sizes,
                          const std::vector<std::int64_t>& strides, const std::vector<std::string>& parts) {
    expect_refused_checkpoint(legacy(dictionary(storage("0", 4), offset, sizes, strides)), parts);
  };
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  expect(1, {2, 2}, {2, 1}, {"tensor t", "outside its storage"});
  expect(0, {2, 2}, {3, 1}, {"tensor t", "outside its storage"});
  expect(-1, {2}, {1}, {"tensor t", "outside its storage"});
  expect(kHuge, {2}, {1}, {"tensor t", "outside its storage"});
  expect(0, {2}, {-1}, {"tensor t", "outside its storage"});
  expect(0, {3}, {kHuge}, {"tensor t", "outside its storage"});
  expect(0, {-2}, {1}, {"tensor t", "negative size"});
  expect(0, {kHuge, 4}, {0, 0}, {"tensor t", "overflow"});
  expect(0, {5}, {0}, {"tensor t", "more elements"});
  expect(0, {2, 2}, {1}, {"tensor t", "2 sizes", "1 strides"});
  expect_refused_checkpoint(legacy(dictionary(storage("0", -1), 0, {1}, {1})), {"-1 elements"});
  expect_refused_checkpoint(legacy(dictionary(storage("0", kHuge), 0, {1}, {1})), {"claims"});
  expect_refused_checkpoint(legacy(dictionary(storage("0", 5), 0, {1}, {1})), {"truncated"});
  expect_refused_checkpoint(legacy(dictionary(storage("0", 3), 0, {1}, {1})), {"4 elements, not 3"});
  expect_refused_checkpoint(legacy(dictionary(storage("1", 4), 0, {1}, {1})), {"no tensor uses"});
  expect_refused_checkpoint(legacy(dictionary(storage("0", 4), 0, {1}, {1}), 4, pickled("]")),
                            {"tensor t", "not in the file"});
  expect_refused_checkpoint(legacy(dictionary(storage("0", 4, "ComplexFloatStorage"), 0, {1}, {1})),
                            {"ComplexFloatStorage"});
}

/// A file of the legacy form whose tensors [2] all begin at an element of the one storage: {name, first element}.
std::string shared(const std::vector<std::pair<std::string, std::int64_t>>& tensors) {
  std::string body = "}";
  for (const auto& [name, offset] : tensors) {
    body += text(name) + global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("0", 4) + integer(offset) +
            tuple({2}) + tuple({1}) + "\x89})tR" + "s";
  }
  return legacy(pickled(body));
}

TEST(TorchPickle, EveryNameOfSharedBytesIsWritten) {
  const TemporaryFolder folder;
  const auto converted = [&](const std::vector<std::pair<std::string, std::int64_t>>& tensors) {
    write_file_atomically(folder / "pytorch_model.bin", shared(tensors));
    convert_torch_checkpoint(folder.path(), folder / "out");
    const ModelWeights weights(folder / "out");
    std::set<std::string> names;
    for (const auto& name : weights.names()) {
      names.insert(name);
      std::vector<float> values(2);
      weights.read_float(name, values.data());
      EXPECT_EQ(std::memcmp(values.data(), "\1\1\1\1\1\1\1\1", 8), 0) << name;
    }
    return names;
  };
  using Names = std::set<std::string>;
  const std::string words = "roberta.embeddings.word_embeddings.weight";
  const std::string decoder = "lm_head.decoder.weight";
  // Layers that share all their weights, one zero bias under several names, parts of one storage.
  EXPECT_EQ(converted({{"layer.0.weight", 0}, {"layer.1.weight", 0}, {"layer.1.bias", 2}, {"layer.0.bias", 2}, {"x", 1}}),
            (Names{"layer.0.weight", "layer.1.weight", "layer.0.bias", "layer.1.bias", "x"}));
  // The head's decoder is left out where a loader ties it, in either order of the names, and only there.
  EXPECT_EQ(converted({{decoder, 0}, {words, 0}}), Names{words});
  EXPECT_EQ(converted({{words, 0}, {decoder, 0}, {"lm_head.decoder.bias", 2}, {"lm_head.bias", 2}}),
            (Names{words, "lm_head.bias"}));
  EXPECT_EQ(converted({{decoder, 0}, {words, 2}}), (Names{decoder, words}));
  EXPECT_EQ(converted({{decoder, 0}, {"other", 0}}), (Names{decoder, "other"}));
}

TEST(TorchPickle, RefusesANameTwice) {
  const std::string one = text("t") + global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("0", 4) + integer(0) +
                          tuple({4}) + tuple({1}) + "\x89})tR" + "s";
  expect_refused_checkpoint(legacy(pickled("}" + one + one)), {"tensor t", "twice"});
}

TEST(TorchPickle, BoundsWhatItsTensorsClaim) {
  // A hundred names for views of one large storage.
  std::string body = "}";
  for (int i = 0; i < 100; ++i) {
    body += text(concatenate("t", i)) + global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("0", 100'000) +
            integer(0) + tuple({50'000}) + tuple({2}) + "\x89})tR" + "s";
  }
  expect_refused_checkpoint(legacy(pickled(body), 100'000), {"far more bytes"});
  // And as they lie in the file: 48 layers may share one, a thousand may not.
  const auto layers = [](int count) {
    std::string all = "}";
    for (int i = 0; i < count; ++i) {
      all += text(concatenate("t", i)) + global("torch._utils", "_rebuild_tensor_v2") + "(" + storage("0", 100'000) +
             integer(0) + tuple({100'000}) + tuple({1}) + "\x89})tR" + "s";
    }
    return legacy(pickled(all), 100'000);
  };
  EXPECT_EQ(parse_torch_checkpoint(layers(48), "x.bin").size(), 48u);
  expect_refused_checkpoint(layers(1000), {"far more bytes"});
}

// --- the archive --------------------------------------------------------------------------------------------------------

TEST(ZipArchive, FindsEveryEntry) {
  const std::string bytes = read_file(torch_fixture("zip.bin"));
  EXPECT_TRUE(is_zip_archive(bytes));
  const auto entries = read_zip_archive(bytes, "x");
  EXPECT_EQ(entries.at("zip/byteorder"), "little");
  EXPECT_EQ(entries.at("zip/data/0").size(), 24u);
}

TEST(ZipArchive, RefusesDamage) {
  const std::string good = read_file(torch_fixture("zip.bin"));
  const auto refuse = [](const std::string& bytes, const std::vector<std::string>& parts) {
    expect_user_error([&] { read_zip_archive(bytes, "x"); }, parts);
  };
  const auto entries = read_zip_archive(good, "x");
  std::string flipped = good;
  flipped[static_cast<std::size_t>(entries.at("zip/data/9").data() - good.data())] ^= 1;
  refuse(flipped, {"zip/data/9", "checksum"});
  const std::size_t directory = good.find("PK\1\2");
  std::string compressed = good;
  compressed[directory + 10] = 8;
  refuse(compressed, {"compressed"});
  std::string encrypted = good;
  encrypted[directory + 8] = static_cast<char>(encrypted[directory + 8] | 1);
  refuse(encrypted, {"encrypted"});
  refuse(std::string("PK\3\4"), {"truncated"});
}

/// Two bytes "hi" in an entry whose sizes stand in zip64 records only, as torch writes storages beyond 4 GB.
std::string zip64(std::uint64_t size) {
  const std::string name = "a/b";
  const std::string local = "PK\3\4" + raw<std::uint16_t>(45) + raw<std::uint16_t>(8) + std::string(6, '\0') +
                            raw(crc32("hi")) + raw(0xffffffffu) + raw(0xffffffffu) + raw<std::uint16_t>(3) +
                            raw<std::uint16_t>(0) + name;
  const std::string extra = raw<std::uint16_t>(1) + raw<std::uint16_t>(24) + raw(size) + raw(size) + raw<std::uint64_t>(0);
  const std::string entry = "PK\1\2" + raw<std::uint16_t>(45) + raw<std::uint16_t>(45) + raw<std::uint16_t>(8) +
                            raw<std::uint16_t>(0) + std::string(4, '\0') + raw(crc32("hi")) + raw(0xffffffffu) +
                            raw(0xffffffffu) + raw<std::uint16_t>(3) + raw(static_cast<std::uint16_t>(extra.size())) +
                            std::string(10, '\0') + raw(0xffffffffu) + name + extra;
  const std::uint64_t directory = local.size() + 2;
  const std::uint64_t end64 = directory + entry.size();
  return local + "hi" + entry + "PK\6\6" + raw<std::uint64_t>(44) + raw<std::uint16_t>(45) + raw<std::uint16_t>(45) +
         std::string(8, '\0') + raw<std::uint64_t>(1) + raw<std::uint64_t>(1) + raw<std::uint64_t>(entry.size()) +
         raw(directory) + "PK\6\7" + raw(0u) + raw(end64) + raw(1u) + "PK\5\6" + std::string(4, '\0') +
         raw<std::uint16_t>(1) + raw<std::uint16_t>(1) + raw(static_cast<std::uint32_t>(entry.size())) + raw(0xffffffffu) +
         raw<std::uint16_t>(7) + "comment";
}

TEST(ZipArchive, RefusesEntriesThatShareBytes) {
  // An archive of one entry, whose line of the directory is there as often as a 16-bit count allows.
  const auto number = [](std::uint32_t value, std::size_t bytes) {
    return std::string(reinterpret_cast<const char*>(&value), bytes);
  };
  const std::string data(10'000, 'x');
  const auto entry = [&](const std::string& name) {
    return number(crc32(data), 4) + number(10'000, 4) + number(10'000, 4) +
           number(static_cast<std::uint32_t>(name.size()), 2) + number(0, 2);
  };
  std::string archive = "PK\3\4" + std::string(10, '\0') + entry("00000") + "00000" + data;
  const std::size_t directory = archive.size();
  constexpr std::uint32_t kEntries = 65'000;
  for (std::uint32_t i = 0; i < kEntries; ++i) {
    std::string name = std::to_string(i);
    name.insert(0, 5 - name.size(), '0');
    archive +=
        "PK\1\2" + std::string(12, '\0') + entry(name) + number(0, 2) + number(0, 4) + number(0, 4) + number(0, 4) + name;
  }
  archive += "PK\5\6" + number(0, 4) + number(kEntries, 2) + number(kEntries, 2) +
             number(static_cast<std::uint32_t>(archive.size() - directory), 4) +
             number(static_cast<std::uint32_t>(directory), 4) + number(0, 2);
  expect_user_error([&] { read_zip_archive(archive, "z.bin"); }, {"z.bin", "overlap"});
}

TEST(ZipArchive, ReadsZip64) {
  const std::string good = zip64(2);
  EXPECT_EQ(read_zip_archive(good, "x").at("a/b"), "hi");
  for (const std::uint64_t size : {std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    expect_user_error([&] { read_zip_archive(zip64(size), "x"); }, {"truncated"});
  }
}

TEST(Crc32, HasTheKnownCheckValues) {
  EXPECT_EQ(crc32("123456789"), 0xcbf43926u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  // RFC 3720, appendix B.4: 32 bytes of zeros, of ones, ascending, descending.
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string ascending;
  for (char i = 0; i < 32; ++i) ascending += i;
  EXPECT_EQ(crc32c(ascending), 0x46dd794eu);
  EXPECT_EQ(crc32c(std::string(ascending.rbegin(), ascending.rend())), 0x113fdb5cu);
  EXPECT_EQ(crc32(""), 0u);
}

}  // namespace
}  // namespace koine
