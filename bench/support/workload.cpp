#include "bench/support/workload.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/batch/batcher.h"
#include "kernels/common/check.h"
#include "kernels/random/philox.h"

namespace koine::bench {
namespace {

void complete(Work& work, const Model& model, bool training) {
  for (const PackedBatch& batch : work.batches) work.tokens += static_cast<double>(batch.source.tokens);
  work.flops = flops_of(work, model, training);
}

}  // namespace

std::vector<std::int64_t> read_lengths(const std::string& text) {
  const std::size_t cross = text.find('x');
  if (cross != std::string::npos && text.find('/') == std::string::npos && text.find('.') == std::string::npos) {
    return std::vector<std::int64_t>(std::stoul(text.substr(0, cross)), std::stoll(text.substr(cross + 1)));
  }
  std::ifstream file(text);
  require(file.good(), text, ": cannot be read");
  std::vector<std::int64_t> lengths;
  for (std::int64_t length; file >> length;) lengths.push_back(length);
  require(!lengths.empty(), text, ": holds no lengths");
  return lengths;
}

Dataset random_dataset(const std::vector<std::int64_t>& lengths, std::int64_t vocabulary) {
  Dataset dataset;
  dataset.name = "random";
  dataset.head = HeadKind::kSequence;
  dataset.classes = 3;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    Example example;
    example.number = static_cast<std::uint32_t>(i);
    for (std::int64_t t = 0; t < lengths[i]; ++t) {
      const std::uint32_t bits = philox({static_cast<std::uint32_t>(t), static_cast<std::uint32_t>(i), 0, 0}, {1, 2})[0];
      example.ids.push_back(static_cast<std::int32_t>(4 + bits % static_cast<std::uint32_t>(vocabulary - 4)));
    }
    example.labels = {static_cast<std::int32_t>(i % 3)};
    dataset.examples.push_back(std::move(example));
  }
  return dataset;
}

std::int64_t Work::largest_batch() const {
  std::int64_t largest = 0;
  for (const PackedBatch& batch : batches) largest = std::max(largest, batch.source.tokens);
  return largest;
}

Work pack_work(const Dataset& dataset, const Model& model, bool training, std::int64_t batch, std::int64_t tokens) {
  Work work;
  if (training) {
    for (std::int64_t begin = 0; begin < dataset.groups(); begin += batch) {
      std::vector<std::int64_t> groups;
      for (std::int64_t i = begin; i < std::min(begin + batch, dataset.groups()); ++i) groups.push_back(i);
      work.batches.push_back(pack_groups(dataset, groups));
    }
  } else {
    for (const std::vector<std::int64_t>& groups : plan_prediction(dataset, tokens).micro_batches) {
      work.batches.push_back(pack_groups(dataset, groups));
    }
  }
  complete(work, model, training);
  return work;
}

Work read_work(const std::string& path, const Model& model) {
  std::ifstream file(path);
  require(file.good(), path, ": cannot be read");
  Work work;
  std::vector<Example> examples;
  std::uint32_t number = 0;
  const auto end_batch = [&] {
    if (examples.empty()) return;
    std::vector<const Example*> pointers;
    for (const Example& example : examples) pointers.push_back(&example);
    work.batches.push_back(pack(pointers, HeadKind::kSequence));
    examples.clear();
  };
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Example example;
    example.number = number;
    example.labels.resize(1);
    if (!(words >> example.labels[0])) {
      end_batch();
      continue;
    }
    for (std::int32_t id = 0; words >> id;) example.ids.push_back(id);
    require(!example.ids.empty() && words.eof(), path, ": sequence ", number, " is not \"label id id ...\"");
    examples.push_back(std::move(example));
    ++number;
  }
  end_batch();
  require(!work.batches.empty(), path, ": holds no batch");
  complete(work, model, true);
  return work;
}

double flops_of(const Work& work, const Model& model, bool training) {
  double flops = 0;
  for (const PackedBatch& batch : work.batches) {
    std::vector<std::int64_t> lengths;
    for (std::size_t s = 0; s < static_cast<std::size_t>(batch.source.sequences); ++s) {
      lengths.push_back(batch.source.cumulative_lengths[s + 1] - batch.source.cumulative_lengths[s]);
    }
    flops += (training ? 3 : 1) * model.forward_flops(lengths, training ? 0 : -1, batch.counted_labels);
  }
  return flops;
}

}  // namespace koine::bench
