#include <algorithm>
#include <string>

#include "kernels/common/check.h"
#include "models/heads/head.h"

namespace koine {

std::vector<HeadIndex> add_heads(ParameterTableBuilder& builder, const std::vector<HeadSpec>& heads,
                                 const std::vector<HeadParts>& parts, const std::string& pooler, std::int64_t hidden) {
  check(heads.size() == parts.size(), "each head has its parts: ", heads.size(), " heads, ", parts.size(), " parts");
  std::vector<HeadIndex> result;
  for (std::size_t i = 0; i < heads.size(); ++i) {
    const HeadSpec& head = heads[i];
    const std::string prefix = head.name.empty() || parts[i].tied ? "" : "heads." + head.name + ".";
    HeadIndex index;
    if (!parts[i].scale.empty())
      index.scale = builder.vector(prefix + std::string(parts[i].scale), 1, Initialisation::kHundred, true);
    if (!parts[i].dense.empty()) index.dense = builder.linear(prefix + std::string(parts[i].dense), hidden, hidden, true);
    if (!parts[i].norm.empty()) index.norm = builder.norm(prefix + std::string(parts[i].norm), hidden, true);
    if (parts[i].tied) {
      index.output.bias = builder.vector(std::string(parts[i].output), head.classes, Initialisation::kZero, true);
    } else if (!parts[i].output.empty()) {
      index.output = builder.linear(prefix + std::string(parts[i].output), head.classes, hidden, true);
    }
    result.push_back(index);
  }
  const bool read = std::any_of(parts.begin(), parts.end(), [](const HeadParts& head) { return head.pooler; });
  if (!heads.empty() && !read) return result;
  const LinearIndex shared = builder.linear(pooler, hidden, hidden, true);
  for (std::size_t i = 0; i < heads.size(); ++i) {
    if (parts[i].pooler) result[i].pooler = shared;
  }
  return result;
}

HeadParameters head_parameters(const HeadSpec& spec, const HeadIndex& index, const ParameterAddresses& addresses) {
  return {spec,
          addresses.linear(index.pooler),
          addresses.linear(index.dense),
          addresses.norm(index.norm),
          addresses.linear(index.output),
          index.scale < 0 ? nullptr : addresses.master(index.scale),
          index.scale < 0 ? nullptr : addresses.gradient(index.scale)};
}

const HeadParameters& head_of(const std::vector<HeadParameters>& heads, const BatchView& batch) {
  check(batch.head >= 0 && batch.head < std::ssize(heads), "head ", batch.head, " of a model with ", heads.size(), " heads");
  const HeadParameters& head = heads[static_cast<std::size_t>(batch.head)];
  check(head.spec.kind == batch.head_kind, "the batch was packed for another kind of head than head ", batch.head);
  return head;
}

double head_forward_flops(const HeadSpec& spec, const HeadParts& parts, std::int64_t hidden, std::int64_t tokens,
                          std::int64_t sequences, std::int64_t counted_labels) {
  const std::int64_t rows = facts_of(spec.kind).logits_rows(tokens, sequences, counted_labels);
  const auto width = static_cast<double>(hidden);
  const int square = (parts.pooler ? 1 : 0) + (parts.dense.empty() ? 0 : 1);
  const double outputs = parts.output.empty() ? 0 : spec.classes * width;
  // In a batch whose examples compete, each against all.
  const double scores = facts_of(spec.kind).in_batch ? static_cast<double>(counted_labels) * width : 0;
  return 2 * (static_cast<double>(rows) * (square * width * width + outputs) + static_cast<double>(counted_labels) * scores);
}

}  // namespace koine
