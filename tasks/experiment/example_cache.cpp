#include "tasks/experiment/example_cache.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/files/atomic_file.h"
#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/experiment/toml_settings.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kEnding = ".examples";
constexpr std::size_t kChecksumBytes = 16;  // XXH3 in hex
/// What is half-written for so long has no writer any more. (Its lock cannot be asked: another process may just have made the
/// file, and not locked it yet.)
constexpr std::chrono::hours kAbandoned(1);

/// A training set as an entry holds it.
struct KeptExamples {
  Dataset dataset;
  LeftOut left_out;
  Truncation truncation;
};

class KeptSet : public TaskData {
 public:
  explicit KeptSet(KeptExamples kept) : kept_(std::move(kept)) {}
  const Dataset& dataset() const override { return kept_.dataset; }
  LeftOut left_out() const override { return kept_.left_out; }
  Truncation truncation() const override { return kept_.truncation; }
  Evaluation evaluate(Model&, const EvaluationOptions&) const override {
    throw Error(dataset().name + ": a training set out of the cache is not evaluated");
  }

 private:
  KeptExamples kept_;
};

/// Values one behind the other, as they lie in memory.
class EntryWriter {
 public:
  template <class Value>
  void put(const Value& value) {
    static_assert(std::is_trivially_copyable_v<Value>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void put(const std::string& text) {
    put(static_cast<std::uint64_t>(text.size()));
    bytes_ += text;
  }
  /// A member of all examples: how many numbers each has, then the numbers.
  void put(const std::vector<Example>& examples, std::vector<std::int32_t> Example::*member) {
    for (const Example& example : examples) put(static_cast<std::uint32_t>((example.*member).size()));
    for (const Example& example : examples)
      bytes_.append(reinterpret_cast<const char*>((example.*member).data()),
                    (example.*member).size() * sizeof(std::int32_t));
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

/// Reads what EntryWriter wrote; UserError where the bytes end before.
class EntryReader {
 public:
  explicit EntryReader(std::string_view bytes) : bytes_(bytes) {}

  template <class Value>
  Value get() {
    Value value;
    std::memcpy(&value, bytes(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() { return std::string(bytes(get<std::uint64_t>())); }
  void get(std::vector<Example>& examples, std::vector<std::int32_t> Example::*member) {
    const std::string_view counts = bytes(examples.size() * sizeof(std::uint32_t));
    for (std::size_t i = 0; i < examples.size(); ++i) {
      std::uint32_t count = 0;
      std::memcpy(&count, counts.data() + i * sizeof count, sizeof count);
      const std::string_view numbers = bytes(count * sizeof(std::int32_t));
      (examples[i].*member).resize(count);
      if (count > 0) std::memcpy((examples[i].*member).data(), numbers.data(), numbers.size());
    }
  }

 private:
  std::string_view bytes(std::uint64_t count) {
    require(count <= bytes_.size(), "it ends too early");
    const std::string_view part = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return part;
  }

  std::string_view bytes_;
};

constexpr std::vector<std::int32_t> Example::*kLists[] = {&Example::ids, &Example::labels, &Example::target_ids};

std::string entry_of(const std::string& key, const TaskData& set) {
  const Dataset& dataset = set.dataset();
  EntryWriter writer;
  writer.put(key);
  writer.put(dataset.name);
  writer.put(dataset.head);
  writer.put(dataset.classes);
  writer.put(dataset.group);
  writer.put(static_cast<std::uint64_t>(dataset.examples.size()));
  for (const Example& example : dataset.examples) writer.put(example.number);
  for (const auto list : kLists) writer.put(dataset.examples, list);
  const LeftOut left_out = set.left_out();
  writer.put(left_out.count);
  writer.put(left_out.total);
  writer.put(left_out.what);
  writer.put(set.truncation());
  std::string bytes = writer.take();
  return bytes + xxh3_hex(bytes);
}

/// UserError saying what is wrong with it.
KeptExamples examples_of(std::string_view entry, const std::string& key) {
  require(entry.size() > kChecksumBytes, "it ends too early");
  const std::string_view bytes = entry.substr(0, entry.size() - kChecksumBytes);
  require(xxh3_hex(bytes) == entry.substr(bytes.size()), "its bytes have changed since it was written");
  EntryReader reader(bytes);
  require(reader.text() == key, "it is of other examples");
  KeptExamples kept;
  kept.dataset.name = reader.text();
  kept.dataset.head = reader.get<HeadKind>();
  kept.dataset.classes = reader.get<std::int32_t>();
  kept.dataset.group = reader.get<std::int32_t>();
  kept.dataset.examples.resize(reader.get<std::uint64_t>());
  for (Example& example : kept.dataset.examples) example.number = reader.get<std::uint32_t>();
  for (const auto list : kLists) reader.get(kept.dataset.examples, list);
  kept.left_out.count = reader.get<std::int64_t>();
  kept.left_out.total = reader.get<std::int64_t>();
  kept.left_out.what = reader.text();
  kept.truncation = reader.get<Truncation>();
  return kept;
}

/// Empty where the system does not show the program's file: then nothing is kept.
const std::string& hash_of_program() {
  static const std::string hash = [] {
    const fs::path program = "/proc/self/exe";
    std::error_code hidden;
    return fs::is_regular_file(program, hidden) ? xxh3_file(program) : std::string();
  }();
  return hash;
}

std::string definitions_of(const Task& task) {
  std::string text = concatenate("task ", task.name(), "\n", task.row().definition);
  for (const std::string& part : task.row().parts) text += definitions_of(find_task(part));
  return text;
}

std::int64_t bytes_of(const std::vector<fs::path>& files) {
  std::uintmax_t bytes = 0;
  for (const fs::path& file : files) {
    std::error_code unknown;  // a pipe, a file that is gone: the reader says what is wrong
    const std::uintmax_t size = fs::file_size(file, unknown);
    if (!unknown) bytes += size;
  }
  return static_cast<std::int64_t>(bytes);
}

}  // namespace

std::string features_key(const FeatureOptions& options) {
  return concatenate(options.max_seq_length, " ", options.doc_stride, " ", options.max_query_length, " ",
                     options.max_examples, options.pack_lines ? " packed " : " ", options.max_target_length, " ",
                     toml_number(options.noise_density));
}

ExampleCache::ExampleCache(fs::path folder, HashCache& hashes, std::function<void(const std::string&)> message,
                           Limits limits)
    : folder_(std::move(folder)), hashes_(hashes), message_(std::move(message)), limits_(limits) {}

void ExampleCache::tell_once(const std::string& text) {
  if (!told_) message_(text);
  told_ = true;
}

std::string ExampleCache::key_of(const Task& task, const fs::path& data, const std::string& language,
                                 const Tokenizer& tokenizer, const FeatureOptions& options) {
  const SpecialTokens& special = tokenizer.special();
  std::string key = concatenate("koine examples 1\nprogram ", hash_of_program(), "\ntokenizer ", tokenizer.fingerprint(),
                                " shift ", tokenizer.numbering().shift, " vocabulary ", tokenizer.vocabulary_size(),
                                " special ", special.begin, " ", special.pad, " ", special.end, " ", special.unknown, " ",
                                special.mask, " ", special.ends_between, "\ntrain ", language, "\nfeatures ",
                                features_key(options), "\nhead ", static_cast<int>(task.head()), "\n");
  for (const fs::path& file : task.data_files(data, "train", language))
    key += concatenate("file ", file.lexically_relative(data).generic_string(), " ", hashes_.hash(file), "\n");
  return key + definitions_of(task);
}

std::unique_ptr<TaskData> ExampleCache::load(const Task& task, const fs::path& data, const std::string& language,
                                             const Tokenizer& tokenizer, const FeatureOptions& options) {
  const auto from_files = [&] { return task.load(data, "train", language, tokenizer, options); };
  const bool worth_it = !folder_.empty() && !hash_of_program().empty() &&
                        bytes_of(task.data_files(data, "train", language)) >= std::max<std::int64_t>(limits_.least_data, 1);
  if (!worth_it) return from_files();
  const std::string key = key_of(task, data, language, tokenizer, options);
  const fs::path path = folder_ / (xxh3_hex(key) + std::string(kEnding));
  if (std::unique_ptr<TaskData> kept = read(path, key)) return kept;
  std::unique_ptr<TaskData> set = from_files();
  keep(path, key, *set);
  return set;
}

/// Null where it is not there, or not what it should be.
std::unique_ptr<TaskData> ExampleCache::read(const fs::path& path, const std::string& key) {
  std::string entry;
  try {
    entry = read_file(path);
  } catch (const UserError&) {
    return nullptr;  // most often never made; or another process has just made room
  }
  try {
    auto set = std::make_unique<KeptSet>(examples_of(entry, key));
    std::error_code ignored;
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
    return set;
  } catch (const UserError& error) {
    message_(concatenate("the cache: ", path.string(), " is not used but made again: ", error.what()));
    return nullptr;
  }
}

void ExampleCache::keep(const fs::path& path, const std::string& key, const TaskData& set) {
  try {
    const std::string entry = entry_of(key, set);
    if (std::ssize(entry) > limits_.most_bytes) return;
    make_directory(folder_);
    make_room(std::ssize(entry));
    write_file_atomically(path, entry);
  } catch (const UserError& error) {
    tell_once(concatenate("the cache: nothing can be kept (", error.what(), "); --cache names another folder, or none"));
  }
}

/// Removes the entries that were used longest ago until so many more bytes fit. Another process may do the same.
void ExampleCache::make_room(std::int64_t bytes) const {
  struct Entry {
    fs::file_time_type used;
    std::int64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  std::error_code gone;
  for (const fs::directory_entry& file : fs::directory_iterator(folder_, gone)) {
    const bool temporary = is_temporary_name(file.path().filename().string());
    if (file.path().extension() != kEnding && !temporary) continue;
    const auto size = static_cast<std::int64_t>(file.file_size(gone));
    if (gone) continue;
    const fs::file_time_type used = file.last_write_time(gone);
    if (gone) continue;
    if (temporary) {
      if (fs::file_time_type::clock::now() - used > kAbandoned) fs::remove(file.path(), gone);
      continue;
    }
    entries.push_back({used, size, file.path()});
    bytes += size;
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (bytes <= limits_.most_bytes) return;
    fs::remove(entry.path, gone);
    bytes -= entry.bytes;
  }
}

}  // namespace koine
