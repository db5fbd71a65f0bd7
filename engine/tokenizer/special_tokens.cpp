#include "engine/tokenizer/special_tokens.h"

#include <algorithm>

#include "kernels/common/check.h"

namespace koine {

std::vector<std::int32_t> SpecialTokens::all() const {
  std::vector<std::int32_t> ids = {begin, pad, end, unknown, mask};
  std::erase(ids, -1);
  return ids;
}

bool SpecialTokens::is_special(std::int32_t id) const {
  return id >= 0 && (id == begin || id == pad || id == end || id == unknown || id == mask);
}

std::vector<std::int32_t> SpecialTokens::single(std::vector<std::int32_t> a) const {
  if (begin >= 0) a.insert(a.begin(), begin);
  a.push_back(end);
  return a;
}

std::vector<std::int32_t> SpecialTokens::pair(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) const {
  std::vector<std::int32_t> framed;
  framed.reserve(a.size() + b.size() + static_cast<std::size_t>(around_pair()));
  if (begin >= 0) framed.push_back(begin);
  framed.insert(framed.end(), a.begin(), a.end());
  framed.insert(framed.end(), static_cast<std::size_t>(ends_between), end);
  framed.insert(framed.end(), b.begin(), b.end());
  framed.push_back(end);
  return framed;
}

std::vector<std::int32_t> SpecialTokens::frame_single(std::vector<std::int32_t> a, std::int64_t maximum_length) const {
  const std::int64_t room = maximum_length - around_single();
  require(room >= 0, "max_seq_length ", maximum_length, " leaves no room for the ", around_single(),
          " special tokens of a text; give at least ", around_single() + 1);
  a.resize(std::min(a.size(), static_cast<std::size_t>(room)));
  return single(std::move(a));
}

std::vector<std::int32_t> SpecialTokens::frame_pair(std::vector<std::int32_t> a, std::vector<std::int32_t> b,
                                                    std::int64_t maximum_length) const {
  const std::int64_t room = maximum_length - around_pair();
  require(room >= 0, "max_seq_length ", maximum_length, " leaves no room for the ", around_pair(),
          " special tokens of a pair; give at least ", around_pair() + 2);
  while (std::ssize(a) + std::ssize(b) > room) (a.size() > b.size() ? a : b).pop_back();
  return pair(a, b);
}

}  // namespace koine
