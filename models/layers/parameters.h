#pragma once

// The parameters of linear layers and normalisations: their rows in a model's table, and where operations find them.

#include <string>
#include <vector>

#include "engine/parameters/parameter_store.h"
#include "engine/parameters/parameter_table.h"

namespace koine {

/// Indices into the ParameterTable; -1 where the model has no such parameter.
struct LinearIndex {
  int weight = -1;
  int bias = -1;
};
struct NormIndex {
  int weight = -1;
  int bias = -1;
};

/// Adds parameters to a table, in reverse order of execution. Weight decay applies to tensors of two dimensions and to no
/// other. (jiant decides by name and so also decays lm_head.layer_norm.weight and, in XL, self_attn_layer_norm.weight.)
class ParameterTableBuilder {
 public:
  explicit ParameterTableBuilder(ParameterTable& table) : table_(table) {}

  /// [rows, width]. `head`, `adjoins`: ParameterSpec::head and adjoins_previous.
  int matrix(std::string name, std::int64_t rows, std::int64_t width, bool head, bool adjoins = false);
  /// An embedding: a matrix of which a step touches few rows, where nothing else reads it. `collects`: ParameterSpec::collects.
  int embedding(std::string name, std::int64_t rows, std::int64_t width, bool lazy_rows, bool collects = false);
  /// A small matrix that operations read in fp32.
  int table_in_fp32(std::string name, std::int64_t rows, std::int64_t width, bool collects);
  int vector(std::string name, std::int64_t width, Initialisation initialisation, bool head, bool adjoins = false);
  /// `name`.weight [out, in] and `name`.bias [out].
  LinearIndex linear(const std::string& name, std::int64_t out, std::int64_t in, bool head);
  NormIndex norm(const std::string& name, std::int64_t width, bool head);

 private:
  ParameterTable& table_;
};

/// A linear layer's memory: y = x W^T + b, W [out, in].
struct Linear {
  std::int64_t in = 0;
  std::int64_t out = 0;
  const void* weight = nullptr;
  const float* bias = nullptr;
  float* d_weight = nullptr;
  float* d_bias = nullptr;
};

struct Norm {
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* d_weight = nullptr;
  float* d_bias = nullptr;
};

/// Where parameters lie: in a store, or, for a dry run that only plans memory, at addresses nothing may touch. A layer the
/// model has not (index -1) has null addresses.
class ParameterAddresses {
 public:
  explicit ParameterAddresses(ParameterStore& store) : table_(store.table()), store_(&store) {}
  explicit ParameterAddresses(const ParameterTable& planned) : table_(planned) {}

  const ParameterSpec& spec(int index) const { return table_[index]; }
  const void* working(int index) const { return store_ == nullptr ? nowhere() : store_->working(index); }
  const float* master(int index) const { return store_ == nullptr ? nowhere() : store_->master(index); }
  float* gradient(int index) const { return store_ == nullptr ? nowhere() : store_->gradient(index); }

  Linear linear(LinearIndex index) const;
  Norm norm(NormIndex index) const;

 private:
  static float* nowhere() { return reinterpret_cast<float*>(StackMemory::kAlignment); }

  const ParameterTable& table_;
  ParameterStore* store_ = nullptr;
};

}  // namespace koine
