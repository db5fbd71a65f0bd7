#pragma once

// A reader of Python pickles (protocol 2) that can build tensors and nothing else.
//
// Of pickle's opcodes it knows the 29 that torch.save writes, of all globals only those that make up a state dictionary;
// whatever else a pickle asks for is refused by name. Nothing is ever called: a "global" is an entry of a table, and
// applying it makes a plain value.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace koine {

struct PickleObject {
  enum class Kind { kNone, kBool, kInteger, kLong, kString, kTuple, kList, kDictionary, kGlobal, kStorage, kTensor };
  Kind kind = Kind::kNone;
  /// kBool, kInteger; kStorage: its elements; kTensor: its offset in elements; kGlobal: row of the table.
  std::int64_t integer = 0;
  std::string_view text;   ///< kString; kLong (beyond 64 bits): its bytes; kStorage: its key
  std::string_view dtype;  ///< kStorage: as safetensors spells it
  /// kTuple, kList: the elements. kDictionary: key, value, key, value ... kTensor: its storage, sizes (tuple), strides
  /// (tuple).
  std::vector<const PickleObject*> items;
};

class Pickle {
 public:
  /// Reads one pickle at the start of `bytes`, which must outlive the object. UserError, with `where` and the place, naming
  /// the opcode or global that is not allowed or what is wrong.
  Pickle(std::string_view bytes, const std::string& where);
  Pickle(Pickle&&) = default;
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;

  const PickleObject& root() const { return *root_; }
  /// Bytes up to and with the pickle's end mark.
  std::size_t size() const { return size_; }

 private:
  class Machine;
  std::deque<PickleObject> objects_;  // whoever points at whom: all go together
  const PickleObject* root_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace koine
