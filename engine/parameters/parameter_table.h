#pragma once

// One table per model: every parameter's name, shape, decay group and initialisation. Allocation, checkpoint reading and
// writing, optimizer groups, gradient buckets and the gradient-check test are all generated from it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace koine {

/// kHundred: the scale a dual encoder's cosines begin with.
enum class Initialisation { kNormal, kZero, kOne, kHundred };

struct ParameterSpec {
  std::string name;                 ///< as a transformers checkpoint spells it
  std::vector<std::int64_t> shape;  ///< [out, in] for linear weights
  bool decay = false;               ///< in the group that AdamW's weight decay applies to
  Initialisation initialisation = Initialisation::kNormal;
  bool head = false;              ///< belongs to a head: fresh where a checkpoint lacks it; else the checkpoint must have it
  bool lazy_rows = false;         ///< a table of which a step touches few rows (word embeddings without a tied head)
  bool adjoins_previous = false;  ///< lies directly behind the one before, so that both can be read as one matrix
  bool embedding = false;         ///< its rows are vectors that ids choose among
  bool collects = false;          ///< its gradient comes from several stages (ParameterTable::end_stage)
  bool read_in_fp32 = false;      ///< a matrix that the model reads in fp32 under mixed precision too, as all that are none
  std::int64_t offset = 0;        ///< in elements, in every flat buffer; set by ParameterTable

  std::int64_t count() const;
  /// Whether the model reads it in fp32 under mixed precision too: biases, normalisations, small tables.
  bool in_fp32() const { return read_in_fp32 || shape.size() < 2; }
  std::int64_t rows() const { return shape.empty() ? 1 : shape[0]; }
  std::int64_t width() const { return count() / (rows() == 0 ? 1 : rows()); }
};

/// The parameters of a model in reverse order of execution (heads, last block ... first block, embeddings), which is the
/// order their gradients become ready and the order they lie in memory.
class ParameterTable {
 public:
  /// Appends a parameter and returns its index. Names must be distinct.
  int add(ParameterSpec spec);
  /// What was added since the last call is a stage of backward: its gradients become final together, and none of them but
  /// those of parameters that collect is written before those of the stage before are final. What a model tells of its
  /// progress (BackwardProgress) is ends of stages.
  void end_stage() { stage_ends_.push_back(size()); }
  /// Behind the last parameter of each stage; the last is size().
  std::vector<int> stage_ends() const;
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  const ParameterSpec& operator[](int index) const { return specs_[static_cast<std::size_t>(index)]; }
  int size() const { return static_cast<int>(specs_.size()); }
  /// Index of a name, or -1.
  int find(std::string_view name) const;
  /// Elements of each flat buffer, alignment included.
  std::int64_t elements() const { return elements_; }
  /// Parameters, alignment not included.
  std::int64_t parameters() const;

 private:
  std::vector<ParameterSpec> specs_;
  std::vector<int> stage_ends_;
  std::int64_t elements_ = 0;
};

}  // namespace koine
