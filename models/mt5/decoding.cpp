#include "models/mt5/decoding.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/attention/attention.h"
#include "kernels/cast/cast.h"
#include "kernels/common/buffer.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "kernels/gather/gather.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace koine {
namespace {

std::vector<std::int32_t> running_sum(const std::vector<std::int32_t>& counts) {
  std::vector<std::int32_t> sums = {0};
  for (const std::int32_t count : counts) sums.push_back(sums.back() + count);
  return sums;
}

std::int32_t largest(const std::vector<std::int32_t>& counts) {
  return counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
}

/// What a step runs on, all of it where the host can read it.
struct StepShape {
  std::vector<std::int32_t> tokens;      ///< [rows]
  std::vector<std::int32_t> cumulative;  ///< [rows + 1] of the kept keys, the new ones included
  std::vector<std::int32_t> one_each;    ///< [rows + 1] queries of self-attention
  std::vector<std::int32_t> by_source;   ///< [sources + 1] queries of cross-attention
  std::vector<std::int32_t> kept;        ///< where each kept key comes from
  std::vector<std::int32_t> zeros;       ///< [rows]
  std::int32_t longest = 0;
  std::int32_t most_of_a_source = 0;
  std::int64_t before = 0;  ///< keys of the step before

  std::int64_t rows() const { return std::ssize(tokens); }
};

class CachedDecoding : public Decoding {
 public:
  CachedDecoding(const Context& context, const DecodingModel& model, const SequencesView& source, const void* encoded,
                 std::int64_t rows, std::int64_t maximum_length)
      : context_(context),
        model_(model),
        shape_(model.decoder.shape()),
        source_cumulative_(source.host_cumulative_lengths, source.host_cumulative_lengths + source.sequences + 1),
        source_longest_(source.maximum_length),
        most_rows_(rows),
        most_length_(maximum_length) {
    context_.profile = nullptr;
    const std::int64_t pair = 2 * shape_.inner();
    const std::size_t element = size_of(shape_.type);
    const auto bytes = static_cast<std::size_t>((rows * (maximum_length + 1)) * pair) * element;
    for (std::int64_t layer = 0; layer <= model.decoder.layers(); ++layer)
      kept_.emplace_back(context.device, "kept keys and values", bytes);
    plan();
    encode(source, encoded);
  }

  std::int64_t vocabulary() const override { return model_.head.out; }
  std::int32_t end() const override { return model_.end; }

  void step(const DecodingRows& rows, NextTokens& next) override {
    const StepShape shape = shape_of(rows);
    check(shape.rows() <= most_rows_ && shape.longest <= most_length_, "a decoding's step of ", shape.rows(), " rows of ",
          shape.longest, " tokens, planned for ", most_rows_, " of ", most_length_);
    const StackScope scope(*memory_);
    const Logits logits = run(context_, shape, *memory_);
    lengths_ = lengths_of(shape);
    choose(rows, logits, next);
  }

 private:
  struct Logits {
    std::vector<float> values;       ///< [rows, vocabulary]
    std::vector<float> log_sum_exp;  ///< [rows]
  };

  static std::vector<std::int32_t> lengths_of(const StepShape& shape) {
    std::vector<std::int32_t> lengths;
    for (std::size_t row = 0; row + 1 < shape.cumulative.size(); ++row)
      lengths.push_back(shape.cumulative[row + 1] - shape.cumulative[row]);
    return lengths;
  }

  StepShape shape_of(const DecodingRows& rows) const {
    StepShape shape;
    const std::vector<std::int32_t> old = running_sum(lengths_);
    std::vector<std::int32_t> lengths;
    std::vector<std::int32_t> of_source(source_cumulative_.size() - 1);
    shape.before = old.back();
    for (std::size_t row = 0; row < rows.parents.size(); ++row) {
      const auto parent = static_cast<std::size_t>(rows.parents[row]);
      const std::int32_t length = lengths_.empty() ? 0 : lengths_[parent];
      for (std::int32_t i = 0; i < length; ++i) shape.kept.push_back(old[parent] + i);
      shape.kept.push_back(old.back() + static_cast<std::int32_t>(row));
      lengths.push_back(length + 1);
      ++of_source[static_cast<std::size_t>(rows.sources[row])];
      shape.tokens.push_back(rows.tokens[row] < 0 ? model_.start : rows.tokens[row]);
    }
    shape.cumulative = running_sum(lengths);
    shape.one_each.resize(lengths.size() + 1);
    std::iota(shape.one_each.begin(), shape.one_each.end(), 0);
    shape.by_source = running_sum(of_source);
    shape.zeros.resize(lengths.size());
    shape.longest = largest(lengths);
    shape.most_of_a_source = largest(of_source);
    return shape;
  }

  /// The largest step there can be: all rows of one source, all as long as may be.
  StepShape largest_shape() const {
    StepShape shape;
    const auto rows = static_cast<std::size_t>(most_rows_);
    shape.tokens.assign(rows, 0);
    shape.cumulative = running_sum(std::vector<std::int32_t>(rows, static_cast<std::int32_t>(most_length_)));
    shape.one_each.resize(rows + 1);
    std::vector<std::int32_t> of_source(source_cumulative_.size() - 1);
    of_source.front() = static_cast<std::int32_t>(rows);
    shape.by_source = running_sum(of_source);
    shape.kept.resize(static_cast<std::size_t>(shape.cumulative.back()));
    shape.zeros.resize(rows);
    shape.longest = static_cast<std::int32_t>(most_length_);
    shape.most_of_a_source = static_cast<std::int32_t>(rows);
    shape.before = shape.cumulative.back() - most_rows_;
    return shape;
  }

  /// Memory for every step, by dry runs; a product of few rows may want more workspace than one of many.
  void plan() {
    std::size_t bytes = 0;
    std::size_t scratch = 0;
    const std::int64_t most = most_rows_;
    for (std::int64_t rows = 1;; rows = std::min(2 * rows, most)) {
      most_rows_ = rows;
      StackMemory planned;
      StackMemory planned_scratch;
      Context dry = context_;
      dry.dry_run = true;
      dry.scratch = &planned_scratch;
      run(dry, largest_shape(), planned);
      bytes = std::max(bytes, planned.peak());
      scratch = std::max(scratch, planned_scratch.peak());
      if (rows == most) break;
    }
    memory_ = std::make_unique<StackMemory>("decoding", bytes, context_.device);
    scratch_ = std::make_unique<StackMemory>("decoding scratch", scratch, context_.device);
    step_context_scratch_ = scratch_.get();
  }

  /// Keys and values of the source, by the scratch of whoever reads it.
  void encode(const SequencesView& source, const void* encoded) {
    source_places_ = Buffer(context_.device, "places of sources", source_cumulative_.size() * sizeof(std::int32_t));
    put(context_, source_places_.data(), source_cumulative_);
    for (const T5BlockParameters& block : model_.decoder.parameters().blocks) {
      Buffer& memory =
          cross_.emplace_back(context_.device, "keys and values of the source",
                              static_cast<std::size_t>(source.tokens * 2 * shape_.inner()) * size_of(shape_.type));
      product(context_, source.tokens, block.cross.key_value, encoded, memory.data());
    }
    wait();
    context_.scratch = step_context_scratch_;
  }

  void wait() const {
    if (context_.device == Device::kCuda) cuda::synchronize(context_.stream);
  }
  static void put(const Context& context, void* to, const std::vector<std::int32_t>& values) {
    if (context.dry_run || values.empty()) return;
    if (context.device == Device::kCuda) {
      cuda::copy_to_device(to, values.data(), values.size() * sizeof(std::int32_t), context.stream);
    } else {
      std::copy(values.begin(), values.end(), static_cast<std::int32_t*>(to));
    }
  }
  static const std::int32_t* placed(const Context& context, StackMemory& stack, const std::vector<std::int32_t>& values) {
    auto* to = stack.allocate_array<std::int32_t>("places", std::ssize(values));
    put(context, to, values);
    return to;
  }
  void product(const Context& context, std::int64_t rows, const Linear& linear, const void* input, void* output) const {
    linear_forward(context, linear,
                   {.type = shape_.type, .output_type = shape_.type, .rows = rows, .input = input, .output = output});
  }
  template <class T>
  static std::vector<float> to_host(const Context& context, const T* values, std::int64_t count) {
    if (context.dry_run) return {};
    std::vector<float> result(static_cast<std::size_t>(count));
    if (context.device == Device::kCuda) {
      cuda::copy_to_host(result.data(), values, result.size() * sizeof(float), context.stream);
      cuda::synchronize(context.stream);
    } else {
      std::copy_n(values, count, result.begin());
    }
    return result;
  }

  /// Query product and the new keys' and values' of a fused projection.
  static std::pair<Linear, Linear> split(const T5Shape& shape, const Linear& fused) {
    Linear query = fused;
    query.out = shape.inner();
    Linear key_value = fused;
    key_value.out = 2 * shape.inner();
    key_value.weight = offset_by(fused.weight, shape.type, shape.inner() * fused.in);
    return {query, key_value};
  }

  AttentionShape attention_shape(const StepShape& step, std::int64_t sequences, std::int64_t longest,
                                 const std::int32_t* places, const std::vector<std::int32_t>& host_places) const {
    AttentionShape result;
    result.type = shape_.type;
    result.sequences = sequences;
    result.heads = shape_.heads;
    result.head_size = shape_.head_size;
    result.output_stride = shape_.inner();
    result.queries = {.tokens = step.rows(),
                      .maximum_length = longest,
                      .cumulative_lengths = places,
                      .host_cumulative_lengths = host_places.data(),
                      .stride = shape_.inner()};
    return result;
  }

  Logits run(const Context& context, const StepShape& step, StackMemory& stack) {
    const StackScope scope(stack);
    const std::int64_t rows = step.rows();
    const std::int64_t pair = 2 * shape_.inner();
    const std::int32_t* tokens = placed(context, stack, step.tokens);
    const std::int32_t* cumulative = placed(context, stack, step.cumulative);
    const std::int32_t* one_each = placed(context, stack, step.one_each);
    const std::int32_t* by_source = placed(context, stack, step.by_source);
    const std::int32_t* kept = placed(context, stack, step.kept);
    const std::int32_t* zeros = placed(context, stack, step.zeros);
    void* input = stack.allocate_elements("embedded", shape_.type, rows * shape_.hidden);
    model_.decoder.embed(context, rows, tokens, input);
    T5BlockActivations block = allocate_t5_block(stack, "block.", shape_, rows, 1);
    void* query = stack.allocate_elements("query", shape_.type, rows * shape_.inner());

    AttentionShape self = attention_shape(step, rows, 1, one_each, step.one_each);
    self.keys = {.tokens = step.cumulative.back(),
                 .maximum_length = step.longest,
                 .cumulative_lengths = cumulative,
                 .host_cumulative_lengths = step.cumulative.data(),
                 .stride = pair};
    const std::int64_t sources = std::ssize(source_cumulative_) - 1;
    AttentionShape cross = attention_shape(step, sources, step.most_of_a_source, by_source, step.by_source);
    cross.keys = {.tokens = source_cumulative_.back(),
                  .maximum_length = source_longest_,
                  .cumulative_lengths = static_cast<const std::int32_t*>(source_places_.data()),
                  .host_cumulative_lengths = source_cumulative_.data(),
                  .stride = pair};

    const std::vector<T5BlockParameters>& blocks = model_.decoder.parameters().blocks;
    for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
      const T5BlockParameters& parameters = blocks[layer];
      // The memory of layer l is the one that layer l - 1 has left; the first layer's is the last.
      const std::size_t from = (first_ + layer) % kept_.size();
      void* before = kept_[from].data();
      void* now = kept_[(from + kept_.size() - 1) % kept_.size()].data();
      const auto [ask, keep] = split(shape_, parameters.self.query);
      rms_norm(context, shape_, rows, parameters.self.norm, input, block.self.normalised, block.self.rstd);
      product(context, rows, ask, block.self.normalised, query);
      product(context, rows, keep, block.self.normalised, offset_by(before, shape_.type, step.before * pair));
      gather_rows(context, {shape_.type, std::ssize(step.kept), pair, step.before + rows, kept, before, now});
      self.relative_bias = relative_bias(shape_, parameters.self);
      attention_forward(context, {self, query, now, offset_by(now, shape_.type, shape_.inner()), block.self.attention,
                                  block.self.log_sum_exp});
      project_and_add(context, shape_, rows, parameters.self.output, {}, block.self.attention, input, block.self.sum);

      rms_norm(context, shape_, rows, parameters.cross.norm, block.self.sum, block.cross.normalised, block.cross.rstd);
      product(context, rows, parameters.cross.query, block.cross.normalised, query);
      const void* of_source = cross_.empty() ? now : cross_[layer].data();
      attention_forward(context, {cross, query, of_source, offset_by(of_source, shape_.type, shape_.inner()),
                                  block.cross.attention, block.cross.log_sum_exp});
      project_and_add(context, shape_, rows, parameters.cross.output, {}, block.cross.attention, block.self.sum,
                      block.cross.sum);
      t5_feed_forward(context, shape_, parameters, {}, rows, block.cross.sum, block);
      std::swap(input, block.output);
    }
    if (!context.dry_run) first_ = (first_ + kept_.size() - 1) % kept_.size();
    rms_norm(context, shape_, rows, model_.decoder.parameters().final_norm, input, block.output, block.rstd);
    return logits_of(context, rows, block.output, zeros, stack);
  }

  Logits logits_of(const Context& context, std::int64_t rows, const void* hidden, const std::int32_t* zeros,
                   StackMemory& stack) const {
    const std::int64_t count = rows * vocabulary();
    const DType type = shape_.type == DType::kBFloat16 ? DType::kFloat32 : shape_.type;
    check(type == DType::kFloat32, "generation runs in fp32 or mixed precision");
    auto* logits = static_cast<float*>(stack.allocate_elements("logits", type, count));
    linear_forward(context, model_.head,
                   {.type = shape_.type, .output_type = type, .rows = rows, .input = hidden, .output = logits});
    float* losses = stack.allocate_array<float>("losses", rows);
    // The loss of piece 0 is log(sum exp) less its logit.
    softmax_cross_entropy(context, {type, rows, vocabulary(), vocabulary(), logits, zeros, 1, losses, nullptr});
    Logits result = {to_host(context, logits, count), to_host(context, losses, rows)};
    if (context.dry_run) return result;
    for (std::int64_t row = 0; row < rows; ++row) {
      result.log_sum_exp[static_cast<std::size_t>(row)] += result.values[static_cast<std::size_t>(row * vocabulary())];
    }
    return result;
  }

  void choose(const DecodingRows& rows, const Logits& logits, NextTokens& next) const {
    const std::int64_t count = next.count;
    const std::int64_t all = std::ssize(rows.parents);
    next.ids.assign(static_cast<std::size_t>(all * count), -1);
    next.log_probabilities.assign(static_cast<std::size_t>(all * count), 0);
    parallel_for(all, [&](std::int64_t row) {
      const float* values = logits.values.data() + row * vocabulary();
      std::int32_t* ids = next.ids.data() + row * count;
      float* chosen = next.log_probabilities.data() + row * count;
      std::int64_t filled = 0;
      const auto offer = [&](std::int32_t id) {
        const float value = values[id];
        if (filled == count && !(value > chosen[count - 1])) return;
        std::int64_t place = filled < count ? filled++ : count - 1;
        for (; place > 0 && value > chosen[place - 1]; --place) {
          ids[place] = ids[place - 1];
          chosen[place] = chosen[place - 1];
        }
        ids[place] = id;
        chosen[place] = value;
      };
      if (rows.allowed.empty()) {
        for (std::int32_t id = 0; id < vocabulary(); ++id) offer(id);
      } else {
        for (const std::int32_t id : rows.allowed[static_cast<std::size_t>(row)]) offer(id);
      }
      for (std::int64_t i = 0; i < filled; ++i) chosen[i] -= logits.log_sum_exp[static_cast<std::size_t>(row)];
    });
  }

  Context context_;
  DecodingModel model_;
  T5Shape shape_;
  std::vector<std::int32_t> source_cumulative_;
  std::int64_t source_longest_ = 0;
  std::int64_t most_rows_ = 0;
  std::int64_t most_length_ = 0;
  std::vector<Buffer> kept_;  ///< one more than layers
  std::size_t first_ = 1;     ///< which of them the first layer's is
  std::vector<Buffer> cross_;
  Buffer source_places_;
  std::vector<std::int32_t> lengths_;  ///< of the rows of the step before
  std::unique_ptr<StackMemory> memory_;
  std::unique_ptr<StackMemory> scratch_;
  StackMemory* step_context_scratch_ = nullptr;
};

}  // namespace

std::unique_ptr<Decoding> begin_decoding(const Context& context, const DecodingModel& model, const SequencesView& source,
                                         const void* encoded, std::int64_t rows, std::int64_t maximum_length) {
  return std::make_unique<CachedDecoding>(context, model, source, encoded, rows, maximum_length);
}

}  // namespace koine
