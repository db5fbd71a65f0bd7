#include "engine/training/shared_prediction.h"

#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "engine/batch/batcher.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

/// Numbers of 32 bits as a text that ranks share, one behind the other.
class NumbersOut {
 public:
  void add(std::int64_t value) {
    const auto narrow = static_cast<std::int32_t>(value);
    check(narrow == value, "a number that ranks tell one another does not fit: ", value);
    append(&narrow, sizeof narrow);
  }
  template <class T>
  void add_list(const std::vector<T>& values) {
    add(std::ssize(values));
    if (!values.empty()) append(values.data(), values.size() * sizeof(T));
  }
  const std::string& text() const { return text_; }

 private:
  void append(const void* values, std::size_t bytes) { text_.append(static_cast<const char*>(values), bytes); }

  std::string text_;
};

class NumbersIn {
 public:
  explicit NumbersIn(const std::string& text) : text_(text) {}

  std::int32_t next() {
    std::int32_t value = 0;
    copy(&value, sizeof value);
    return value;
  }
  template <class T>
  std::vector<T> list() {
    std::vector<T> values(static_cast<std::size_t>(next()));
    if (!values.empty()) copy(values.data(), values.size() * sizeof(T));
    return values;
  }

 private:
  void copy(void* to, std::size_t bytes) {
    check(text_.size() - at_ >= bytes, "what a rank was told ends too early");
    std::memcpy(to, text_.data() + at_, bytes);
    at_ += bytes;
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

/// Some batches, and the examples of their groups.
struct ToldBatches {
  PredictionPass pass;
  Dataset examples;
  std::vector<std::vector<std::int64_t>> batches;
};

std::string text_of_batches(const PredictionPass& pass, const Dataset& dataset,
                            std::span<const std::vector<std::int64_t>> batches) {
  NumbersOut out;
  out.add(pass.encodes ? 1 : 0);
  out.add_list(pass.layers);
  out.add(static_cast<std::int64_t>(pass.pooling));
  out.add(pass.head);
  out.add(pass.maximum_tokens);
  out.add(static_cast<std::int64_t>(dataset.head));
  out.add(dataset.classes);
  out.add(dataset.group);
  out.add(std::ssize(batches));
  for (const std::vector<std::int64_t>& batch : batches) {
    out.add(std::ssize(batch));
    for (const std::int64_t group : batch) {
      for (std::int64_t i = group * dataset.group; i < (group + 1) * dataset.group; ++i) {
        const Example& example = dataset.examples[static_cast<std::size_t>(i)];
        out.add(static_cast<std::int32_t>(example.number));
        out.add_list(example.ids);
        out.add_list(example.labels);
        out.add_list(example.target_ids);
      }
    }
  }
  return out.text();
}

ToldBatches batches_of_text(const std::string& text) {
  NumbersIn in(text);
  ToldBatches told;
  told.pass.encodes = in.next() == 1;
  told.pass.layers = in.list<std::int64_t>();
  told.pass.pooling = static_cast<Pooling>(in.next());
  told.pass.head = in.next();
  told.pass.maximum_tokens = in.next();
  told.examples.name = "examples of rank 0";
  told.examples.head = static_cast<HeadKind>(in.next());
  told.examples.classes = in.next();
  told.examples.group = in.next();
  told.batches.resize(static_cast<std::size_t>(in.next()));
  for (std::vector<std::int64_t>& batch : told.batches) {
    batch.resize(static_cast<std::size_t>(in.next()));
    std::iota(batch.begin(), batch.end(), told.examples.groups());
    for (std::int64_t i = 0; i < std::ssize(batch) * told.examples.group; ++i) {
      Example& example = told.examples.examples.emplace_back();
      example.number = static_cast<std::uint32_t>(in.next());
      example.ids = in.list<std::int32_t>();
      example.labels = in.list<std::int32_t>();
      example.target_ids = in.list<std::int32_t>();
    }
  }
  return told;
}

/// Computes this rank's batches, and tells and hears all. Ranks come to that at their own times, which barrier() waits for.
std::vector<std::vector<float>> compute_and_share(Model& model, Communicator& ranks, const PredictionPass& pass,
                                                  const Dataset& dataset,
                                                  std::span<const std::vector<std::int64_t>> batches) {
  NumbersOut own;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    if (rank_of_batch(static_cast<std::int64_t>(i), ranks.size()) == ranks.rank())
      own.add_list(compute_batch(model, pass, dataset, batches[i]));
  }
  ranks.barrier();
  std::vector<std::vector<float>> numbers(batches.size());
  for (int rank = 0; rank < ranks.size(); ++rank) {
    const std::string text = ranks.share(own.text(), rank);
    if (ranks.rank() != 0) continue;
    NumbersIn in(text);
    for (std::size_t i = 0; i < batches.size(); ++i) {
      if (rank_of_batch(static_cast<std::int64_t>(i), ranks.size()) == rank) numbers[i] = in.list<float>();
    }
  }
  return numbers;
}

}  // namespace

std::vector<float> compute_batch(Model& model, const PredictionPass& pass, const Dataset& dataset,
                                 std::span<const std::int64_t> groups) {
  PackedBatch batch = pack_groups(dataset, groups);
  batch.head = pass.head;
  return pass.encodes ? model.encode_layers(batch, pass.layers, pass.pooling) : model.predict(batch);
}

int rank_of_batch(std::int64_t index, int ranks) {
  const auto place = static_cast<int>(index % ranks);
  return index / ranks % 2 == 0 ? place : ranks - 1 - place;
}

std::vector<std::vector<float>> predict_together(Model& model, Communicator& ranks, const PredictionPass& pass,
                                                 const Dataset& dataset,
                                                 std::span<const std::vector<std::int64_t>> batches) {
  check(ranks.rank() == 0, "rank ", ranks.rank(), " tells the others what to predict");
  check(std::ssize(batches) <= kBatchesOfARank * ranks.size(), "too many batches at a time: ", batches.size());
  if (batches.empty()) return {};
  ranks.share(text_of_batches(pass, dataset, batches), 0);
  return compute_and_share(model, ranks, pass, dataset, batches);
}

std::int64_t help_predicting(Model& model, Communicator& ranks) {
  check(ranks.rank() != 0, "rank 0 helps itself");
  std::int64_t computed = 0;
  for (std::string text = ranks.share("", 0); !text.empty(); text = ranks.share("", 0)) {
    const ToldBatches told = batches_of_text(text);
    model.reserve(told.pass.maximum_tokens, /*training=*/false);
    compute_and_share(model, ranks, told.pass, told.examples, told.batches);
    for (std::int64_t i = 0; i < std::ssize(told.batches); ++i)
      computed += rank_of_batch(i, ranks.size()) == ranks.rank() ? 1 : 0;
  }
  return computed;
}

void end_help(Communicator& ranks) {
  if (ranks.size() > 1) ranks.share("", 0);
}

}  // namespace koine
