#include "engine/parameters/parameter_table.h"

#include <utility>

#include "kernels/common/check.h"

namespace koine {
namespace {

// A parameter starts on a multiple of this many elements: StackMemory's 256 bytes for fp32, half of them for bf16.
constexpr std::int64_t kAlignmentElements = 64;

std::int64_t aligned(std::int64_t elements) {
  return (elements + kAlignmentElements - 1) / kAlignmentElements * kAlignmentElements;
}

}  // namespace

std::int64_t ParameterSpec::count() const {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) product *= size;
  return product;
}

int ParameterTable::add(ParameterSpec spec) {
  check(!spec.name.empty(), "a parameter needs a name");
  check(find(spec.name) < 0, "two parameters are called ", spec.name);
  for (const std::int64_t size : spec.shape) check(size > 0, "parameter ", spec.name, " has a dimension of ", size);
  check(!spec.adjoins_previous || !specs_.empty(), "parameter ", spec.name, " adjoins the one before, and there is none");
  spec.offset = spec.adjoins_previous ? specs_.back().offset + specs_.back().count() : elements_;
  elements_ = aligned(spec.offset + spec.count());
  specs_.push_back(std::move(spec));
  return size() - 1;
}

std::vector<int> ParameterTable::stage_ends() const {
  std::vector<int> ends;
  for (const int end : stage_ends_) {
    if (end > (ends.empty() ? 0 : ends.back())) ends.push_back(end);
  }
  if (ends.empty() || ends.back() < size()) ends.push_back(size());
  return ends;
}

int ParameterTable::find(std::string_view name) const {
  for (int index = 0; index < size(); ++index) {
    if ((*this)[index].name == name) return index;
  }
  return -1;
}

std::int64_t ParameterTable::parameters() const {
  std::int64_t sum = 0;
  for (const ParameterSpec& spec : specs_) sum += spec.count();
  return sum;
}

}  // namespace koine
