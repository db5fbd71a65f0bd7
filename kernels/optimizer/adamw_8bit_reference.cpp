#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/optimizer/adamw_8bit.h"

namespace koine {
namespace {

/// The place of the nearest number of an ascending map; of two as near the lower.
std::uint8_t nearest(const float* map, float wanted) {
  std::size_t best = 0;
  for (std::size_t code = 1; code < 256; ++code) {
    if (std::fabs(map[code] - wanted) < std::fabs(map[best] - wanted)) best = code;
  }
  return static_cast<std::uint8_t>(best);
}

/// Keeps `count` numbers as codes and their largest magnitude.
void keep(const std::vector<double>& values, const float* map, bool never_zero, std::uint8_t* codes, float& scale) {
  float largest = 0;
  for (const double value : values) largest = std::max(largest, std::fabs(static_cast<float>(value)));
  scale = largest;
  for (std::size_t i = 0; i < values.size(); ++i) {
    codes[i] = nearest(map, largest > 0 ? static_cast<float>(values[i]) / largest : 0.0f);
    if (never_zero && values[i] > 0) codes[i] = std::max<std::uint8_t>(codes[i], 1);
  }
}

/// One step of AdamW in double (adamw_reference.cpp); m and v behind it in place.
void update(float& parameter, double& m, double& v, double gradient, const AdamWStep& step) {
  const double decayed = static_cast<double>(parameter) * static_cast<double>(step.one_minus_rate_decay);
  m += static_cast<double>(step.one_minus_beta1) * (gradient - m);
  v = static_cast<double>(step.beta2) * v + static_cast<double>(step.one_minus_beta2) * gradient * gradient;
  const double denominator = std::sqrt(v) / static_cast<double>(step.sqrt_correction2) + static_cast<double>(step.epsilon);
  parameter = static_cast<float>(decayed - static_cast<double>(step.step_size) * m / denominator);
}

}  // namespace

void adamw_8bit_reference(const Context&, const AdamW8BitArguments& a, void*) {
  const double factor = a.gradient_factor == nullptr ? 1 : static_cast<double>(*a.gradient_factor);
  if (factor == 0) return;
  for (std::int64_t index = 0; index < a.tensors; ++index) {
    const CodedTensor& t = a.tensor_list[index];
    for (std::int64_t begin = 0; begin < t.count; begin += kCodedBlock) {
      const std::int64_t end = std::min(begin + kCodedBlock, t.count);
      const std::int64_t block = (t.state + begin) / kCodedBlock;
      std::vector<double> firsts;
      std::vector<double> roots;
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t state = t.state + i;
        double m = 0;
        double v = 0;
        if (t.coded != 0) {
          const auto root = static_cast<double>(a.second_map[a.second_codes[state]] * a.second_scales[block]);
          m = static_cast<double>(a.first_map[a.first_codes[state]] * a.first_scales[block]) * root;
          v = root * root;
        } else {
          m = static_cast<double>(a.first_moment[state]);
          v = static_cast<double>(a.second_moment[state]);
        }
        const bool in_bf16 = t.apart < 0 && a.master.kind != MasterKind::kFloat32;
        float joined = 0;
        if (in_bf16) join_weights(a.master, a.working, t.offset + i, 1, &joined);
        float& parameter = in_bf16 ? joined : t.apart >= 0 ? a.master.apart[t.apart + i] : a.parameter[t.offset + i];
        update(parameter, m, v, factor * static_cast<double>(a.gradient[t.offset + i]), a.steps[t.group]);
        if (in_bf16) split_weights(a.master, a.working, t.offset + i, 1, &joined);
        if (t.coded == 0) {
          a.first_moment[state] = static_cast<float>(m);
          a.second_moment[state] = static_cast<float>(v);
        }
        firsts.push_back(m);
        roots.push_back(std::sqrt(v));
        if (t.apart < 0 && !in_bf16 && a.working != nullptr) a.working[t.offset + i] = to_bfloat16(parameter);
        if (a.zero_gradient) a.gradient[t.offset + i] = 0;
      }
      if (t.coded == 0) continue;
      keep(roots, a.second_map, true, a.second_codes + t.state + begin, a.second_scales[block]);
      for (std::size_t i = 0; i < firsts.size(); ++i) {
        const float kept =
            a.second_map[a.second_codes[t.state + begin + static_cast<std::int64_t>(i)]] * a.second_scales[block];
        firsts[i] = kept > 0 ? firsts[i] / static_cast<double>(kept) : 0;
      }
      keep(firsts, a.first_map, false, a.first_codes + t.state + begin, a.first_scales[block]);
    }
  }
}

}  // namespace koine
