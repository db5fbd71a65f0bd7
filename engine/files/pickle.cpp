#include "engine/files/pickle.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

using Kind = PickleObject::Kind;

constexpr std::size_t kMaximumRank = 64;  // PyTorch's own bound
/// Values made, kept, marked or on the stack. A checkpoint of 10,000 tensors makes some 300,000.
constexpr std::size_t kMaximumValues = 2'000'000;

enum class GlobalKind { kOrderedDictionary, kRebuildTensor, kRebuildParameter, kStorageType };

struct Global {
  std::string_view module;
  std::string_view name;
  GlobalKind kind;
  std::string_view dtype;
};

constexpr Global kGlobals[] = {
    {"collections", "OrderedDict", GlobalKind::kOrderedDictionary, ""},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::kRebuildTensor, ""},
    {"torch._utils", "_rebuild_parameter", GlobalKind::kRebuildParameter, ""},
    {"torch", "FloatStorage", GlobalKind::kStorageType, "F32"},
    {"torch", "HalfStorage", GlobalKind::kStorageType, "F16"},
    {"torch", "BFloat16Storage", GlobalKind::kStorageType, "BF16"},
    {"torch", "DoubleStorage", GlobalKind::kStorageType, "F64"},
    {"torch", "LongStorage", GlobalKind::kStorageType, "I64"},
    {"torch", "IntStorage", GlobalKind::kStorageType, "I32"},
    {"torch", "ShortStorage", GlobalKind::kStorageType, "I16"},
    {"torch", "CharStorage", GlobalKind::kStorageType, "I8"},
    {"torch", "ByteStorage", GlobalKind::kStorageType, "U8"},
    {"torch", "BoolStorage", GlobalKind::kStorageType, "BOOL"},
};

/// Text of a file in a message: printable, short.
std::string quoted(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, 100)) shown += c >= 0x20 && c < 0x7f ? c : '?';
  return shown;
}

}  // namespace

/// Pickle's stack machine (CPython, Lib/pickletools.py describes every opcode).
class Pickle::Machine {
 public:
  Machine(Pickle& pickle, std::string_view bytes, const std::string& where)
      : objects_(pickle.objects_), bytes_(bytes), where_(where) {
    while (!step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) fail("ends with ", stack_.size(), " values on its stack");
    pickle.root_ = stack_.back();
    pickle.size_ = at_;
  }

 private:
  /// One opcode; whether it was the last.
  bool step() {
    opcode_at_ = at_;
    if (std::max({objects_.size(), stack_.size(), marks_.size(), memo_.size()}) > kMaximumValues)
      fail("holds more than ", kMaximumValues, " values; the names and shapes of tensors need fewer by far");
    const auto opcode = static_cast<unsigned char>(take(1)[0]);
    switch (opcode) {
      case 0x80:
        check_protocol(number<std::uint8_t>());
        break;
      case 'N':
        make(Kind::kNone);
        break;
      case 0x88:
        make(Kind::kBool).integer = 1;
        break;
      case 0x89:
        make(Kind::kBool).integer = 0;
        break;
      case 'J':
        make(Kind::kInteger).integer = number<std::int32_t>();
        break;
      case 'K':
        make(Kind::kInteger).integer = number<std::uint8_t>();
        break;
      case 'M':
        make(Kind::kInteger).integer = number<std::uint16_t>();
        break;
      case 0x8a:
        make_long(take(number<std::uint8_t>()));
        break;
      case 'X':
        make_string(take(number<std::uint32_t>()));
        break;
      case ']':
        make(Kind::kList);
        break;
      case '}':
        make(Kind::kDictionary);
        break;
      case ')':
        make(Kind::kTuple);
        break;
      case 0x85:
        make_tuple(1);
        break;
      case 0x86:
        make_tuple(2);
        break;
      case 0x87:
        make_tuple(3);
        break;
      case '(':
        marks_.push_back(stack_.size());
        break;
      case 't':
        make_tuple(close_mark());
        break;
      case 'a':
        append(1);
        break;
      case 'e':
        append(close_mark());
        break;
      case 's':
        set_items(2);
        break;
      case 'u':
        set_items(close_mark());
        break;
      case 'q':
        memo_[number<std::uint8_t>()] = top();
        break;
      case 'r':
        memo_[number<std::uint32_t>()] = top();
        break;
      case 'h':
        recall(number<std::uint8_t>());
        break;
      case 'j':
        recall(number<std::uint32_t>());
        break;
      case 'c':
        find_global();
        break;
      case 'R':
        reduce();
        break;
      case 'b':
        build();
        break;
      case 'Q':
        make_storage();
        break;
      case '.':
        return true;
      default:
        fail("uses the opcode ", static_cast<int>(opcode), ", which a file of tensors does not need; it is refused");
    }
    return false;
  }

  template <class... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_user(where_, ": pickle, byte ", opcode_at_, ": ", parts...);
  }

  std::string_view take(std::size_t size) {
    if (size > bytes_.size() - at_) fail("truncated");
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }

  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view line() {
    const std::size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) fail("truncated");
    const std::string_view text = take(end - at_);
    take(1);
    return text;
  }

  PickleObject& make(Kind kind) {
    PickleObject& object = objects_.emplace_back();
    object.kind = kind;
    stack_.push_back(&object);
    return object;
  }

  /// How many values lie above the last mark: no opcode reaches below it.
  std::size_t available() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  PickleObject* top() const {
    if (available() == 0) fail("needs a value, but its stack is empty");
    return stack_.back();
  }

  PickleObject* pop() {
    PickleObject* object = top();
    stack_.pop_back();
    return object;
  }

  std::vector<const PickleObject*> pop_many(std::size_t count) {
    if (available() < count) fail("needs ", count, " values, but its stack has ", available());
    std::vector<const PickleObject*> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return values;
  }

  /// Removes the last mark; how many values lay above it.
  std::size_t close_mark() {
    if (marks_.empty()) fail("closes a mark that was not set");
    const std::size_t count = available();
    marks_.pop_back();
    return count;
  }

  void check_protocol(int protocol) const {
    if (protocol != 2) fail("has protocol ", protocol, "; torch.save writes 2");
  }

  void make_long(std::string_view bytes) {
    if (bytes.size() > 8) {
      make(Kind::kLong).text = bytes;
      return;
    }
    std::uint64_t value = !bytes.empty() && (bytes.back() & 0x80) != 0 ? ~0ull : 0ull;
    for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    make(Kind::kInteger).integer = static_cast<std::int64_t>(value);
  }

  void make_string(std::string_view text) {
    if (invalid_utf8(text) != std::string_view::npos) fail("holds a string that is not valid UTF-8");
    make(Kind::kString).text = text;
  }

  void make_tuple(std::size_t count) {
    std::vector<const PickleObject*> items = pop_many(count);
    make(Kind::kTuple).items = std::move(items);
  }

  void append(std::size_t count) {
    const auto items = pop_many(count);
    PickleObject* list = top();
    if (list->kind != Kind::kList) fail("appends to something that is no list");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }

  void set_items(std::size_t count) {
    const auto items = pop_many(count);
    PickleObject* dictionary = top();
    if (dictionary->kind != Kind::kDictionary || count % 2 != 0) fail("sets items of something that is no dictionary");
    for (std::size_t i = 0; i < count; i += 2) {
      if (items[i]->kind != Kind::kString) fail("has a dictionary key that is no string");
    }
    dictionary->items.insert(dictionary->items.end(), items.begin(), items.end());
  }

  void recall(std::uint32_t place) {
    const auto found = memo_.find(place);
    if (found == memo_.end()) fail("recalls value ", place, ", which was never kept");
    stack_.push_back(found->second);
  }

  void find_global() {
    const std::string_view module = line();
    const std::string_view name = line();
    for (std::size_t i = 0; i < std::size(kGlobals); ++i) {
      if (module != kGlobals[i].module || name != kGlobals[i].name) continue;
      make(Kind::kGlobal).integer = static_cast<std::int64_t>(i);
      return;
    }
    fail("asks for ", quoted(module), ".", quoted(name),
         ", which is not needed to hold tensors; it is refused, and the file should not be trusted");
  }

  const Global& global_of(const PickleObject& object) const {
    if (object.kind != Kind::kGlobal) fail("applies something that is no function");
    return kGlobals[static_cast<std::size_t>(object.integer)];
  }

  void reduce() {
    const auto values = pop_many(2);
    const Global& function = global_of(*values[0]);
    if (values[1]->kind != Kind::kTuple) fail("applies ", function.name, " to no tuple");
    const std::vector<const PickleObject*>& arguments = values[1]->items;
    switch (function.kind) {
      case GlobalKind::kOrderedDictionary:
        if (!arguments.empty()) fail("fills an OrderedDict in an unknown way");
        make(Kind::kDictionary);
        break;
      case GlobalKind::kRebuildTensor:
        make_tensor(arguments);
        break;
      case GlobalKind::kRebuildParameter:
        if (arguments.empty() || arguments[0]->kind != Kind::kTensor)
          fail("makes a parameter of something that is no tensor");
        objects_.push_back(*arguments[0]);
        stack_.push_back(&objects_.back());
        break;
      case GlobalKind::kStorageType:
        fail("makes a ", function.name, " by itself");
    }
  }

  /// _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks): the last two say nothing about the data.
  void make_tensor(const std::vector<const PickleObject*>& arguments) {
    const auto is = [&](std::size_t i, Kind kind) { return arguments[i]->kind == kind; };
    if (arguments.size() < 4 || !is(0, Kind::kStorage) || !is(1, Kind::kInteger) || !is(2, Kind::kTuple) ||
        !is(3, Kind::kTuple)) {
      fail("makes a tensor of something other than storage, offset, sizes and strides");
    }
    for (const std::size_t list : {2, 3}) {
      if (arguments[list]->items.size() > kMaximumRank) fail("has a tensor of more than ", kMaximumRank, " dimensions");
      for (const PickleObject* extent : arguments[list]->items) {
        if (extent->kind != Kind::kInteger) fail("has a tensor whose sizes or strides are no whole numbers");
      }
    }
    PickleObject& tensor = make(Kind::kTensor);
    tensor.integer = arguments[1]->integer;
    tensor.items = {arguments[0], arguments[2], arguments[3]};
  }

  /// The state of a dictionary is its attribute _metadata (versions of modules), which is of no use here.
  void build() {
    pop();
    if (top()->kind != Kind::kDictionary) fail("sets the state of something that is no dictionary");
  }

  /// ("storage", type, key, location, elements), in old files with a view (None) behind.
  void make_storage() {
    const PickleObject* id = pop();
    const auto& parts = id->items;
    const bool sound = id->kind == Kind::kTuple &&
                       (parts.size() == 5 || (parts.size() == 6 && parts[5]->kind == Kind::kNone)) &&
                       parts[0]->kind == Kind::kString && parts[0]->text == "storage" && parts[1]->kind == Kind::kGlobal &&
                       parts[2]->kind == Kind::kString && parts[4]->kind == Kind::kInteger;
    if (!sound || global_of(*parts[1]).kind != GlobalKind::kStorageType)
      fail("refers to something that is no storage of a tensor");
    if (parts[4]->integer < 0) fail("has a storage of ", parts[4]->integer, " elements");
    PickleObject& storage = make(Kind::kStorage);
    storage.text = parts[2]->text;
    storage.dtype = global_of(*parts[1]).dtype;
    storage.integer = parts[4]->integer;
  }

  std::deque<PickleObject>& objects_;
  std::string_view bytes_;
  const std::string& where_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  std::vector<PickleObject*> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::unordered_map<std::uint32_t, PickleObject*> memo_;
};

Pickle::Pickle(std::string_view bytes, const std::string& where) { Machine(*this, bytes, where); }

}  // namespace koine
