#include "models/layers/parameters.h"

#include <utility>

namespace koine {
namespace {

ParameterSpec matrix_spec(std::string name, std::int64_t rows, std::int64_t width) {
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.shape = {rows, width};
  spec.decay = true;
  spec.initialisation = Initialisation::kNormal;
  return spec;
}

}  // namespace

int ParameterTableBuilder::matrix(std::string name, std::int64_t rows, std::int64_t width, bool head, bool adjoins) {
  ParameterSpec spec = matrix_spec(std::move(name), rows, width);
  spec.head = head;
  spec.adjoins_previous = adjoins;
  return table_.add(std::move(spec));
}

int ParameterTableBuilder::embedding(std::string name, std::int64_t rows, std::int64_t width, bool lazy_rows,
                                     bool collects) {
  ParameterSpec spec = matrix_spec(std::move(name), rows, width);
  spec.collects = collects;
  spec.lazy_rows = lazy_rows;
  spec.embedding = true;
  return table_.add(std::move(spec));
}

int ParameterTableBuilder::table_in_fp32(std::string name, std::int64_t rows, std::int64_t width, bool collects) {
  ParameterSpec spec = matrix_spec(std::move(name), rows, width);
  spec.collects = collects;
  spec.read_in_fp32 = true;
  return table_.add(std::move(spec));
}

int ParameterTableBuilder::vector(std::string name, std::int64_t width, Initialisation initialisation, bool head,
                                  bool adjoins) {
  ParameterSpec spec;
  spec.name = std::move(name);
  spec.shape = {width};
  spec.initialisation = initialisation;
  spec.head = head;
  spec.adjoins_previous = adjoins;
  return table_.add(std::move(spec));
}

LinearIndex ParameterTableBuilder::linear(const std::string& name, std::int64_t out, std::int64_t in, bool head) {
  LinearIndex index;
  index.weight = matrix(name + ".weight", out, in, head);
  index.bias = vector(name + ".bias", out, Initialisation::kZero, head);
  return index;
}

NormIndex ParameterTableBuilder::norm(const std::string& name, std::int64_t width, bool head) {
  NormIndex index;
  index.weight = vector(name + ".weight", width, Initialisation::kOne, head);
  index.bias = vector(name + ".bias", width, Initialisation::kZero, head);
  return index;
}

Linear ParameterAddresses::linear(LinearIndex index) const {
  if (index.weight < 0) return {};
  Linear linear;
  linear.out = spec(index.weight).rows();
  linear.in = spec(index.weight).width();
  linear.weight = working(index.weight);
  linear.bias = index.bias < 0 ? nullptr : master(index.bias);
  linear.d_weight = gradient(index.weight);
  linear.d_bias = index.bias < 0 ? nullptr : gradient(index.bias);
  return linear;
}

Norm ParameterAddresses::norm(NormIndex index) const {
  if (index.weight < 0) return {};
  return {master(index.weight), master(index.bias), gradient(index.weight), gradient(index.bias)};
}

}  // namespace koine
