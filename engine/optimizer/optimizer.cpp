#include "engine/optimizer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <iterator>
#include <limits>
#include <utility>

#include "engine/settings/setting_keys.h"
#include "kernels/common/check.h"

namespace koine {

Optimizer::Optimizer(ParameterStore& store, const TrainingSettings& settings, bool lazy)
    : store_(store), settings_(settings), device_(store.device()) {
  check(store.training(), "an optimizer needs parameters with gradients");
  find_table(lazy && has_lazy_rows(settings.optimizer) && store.master_kind() == MasterKind::kFloat32 &&
             store.shards() == nullptr);
  rule_ = make_update_rule(store, settings, lazy_ ? table_index_ : -1);
  norm_ = segments_of_norm();
  results_ = Buffer(device_, "norm and clipping factor", sizeof(Results));
  if (store.shares_gradients()) {
    const auto cells = static_cast<std::size_t>(koine::norm_cells(device_, norm_arguments()));
    norm_cells_ = Buffer::zeroed(device_, "cells of the norm", cells * sizeof(double));
  }
  const auto rows = static_cast<std::size_t>(lazy_ ? store.table()[table_index_].rows() : 0);
  const std::size_t list_bytes = kListBegin + rows * sizeof(std::int32_t);
  step_list_ = Buffer(device_, "rows of a step", list_bytes);
  batch_list_ = Buffer(device_, "rows of a batch", list_bytes);
  if (device_ == Device::kCuda) {
    slots_ = std::vector<Slot>(kUploads);
    for (Slot& slot : slots_) slot.memory = cuda::PinnedMemory(list_bytes);
    norm_on_host_ = cuda::PinnedMemory(sizeof(float));
  }
  if (!lazy_) return;
  last_step_ = Buffer(device_, "last steps of rows", rows * sizeof(std::int32_t));
  fill_last_steps(0);
  reserve_history(std::max<std::int64_t>(settings.max_steps, 1 << 14));
  for (std::vector<std::int32_t>* list : {&touched_, &stepped_, &merged_}) list->reserve(rows);
}

// What was put into streams still uses this object's memory.
Optimizer::~Optimizer() {
  if (device_ != Device::kCuda) return;
  try {
    cuda::synchronize_device();
  } catch (const std::exception&) {
    // Whoever wanted to know has waited.
  }
}

// --- where things lie ---------------------------------------------------------------------------------------------------

void Optimizer::find_table(bool lazy) {
  const ParameterTable& table = store_.table();
  for (int index = 0; index < table.size(); ++index) {
    if (!table[index].lazy_rows) continue;
    check(!lazy || table_index_ < 0, "two parameters are lazy: ", table[index].name);
    if (table_index_ < 0) table_index_ = index;
  }
  lazy_ = lazy && table_index_ >= 0;
}

SegmentList Optimizer::segments_of_norm() const {
  const ParameterTable& table = store_.table();
  std::vector<FlatSegment> list;
  for (int index = 0; index < table.size(); ++index) {
    if (index != table_index_) list.push_back({table[index].offset, table[index].rows(), table[index].width(), 0, 0});
  }
  return {std::move(list), device_};
}

Moments& Optimizer::moments() const {
  auto* moments = dynamic_cast<Moments*>(&rule_->state());
  check(moments != nullptr, "optimizer ", name_of(settings_.optimizer), " has not two moments of every element");
  return *moments;
}

void Optimizer::fill_last_steps(std::int32_t step) {
  const std::vector<std::int32_t> values(static_cast<std::size_t>(store_.table()[table_index_].rows()), step);
  last_step_.write(values.data(), values.size() * sizeof(std::int32_t));
}

void Optimizer::reserve_history(std::int64_t steps) {
  if (steps <= history_steps_) return;
  const auto bytes_of = [](std::int64_t last) { return static_cast<std::size_t>(last + 1) * sizeof(AdamWStep); };
  const std::int64_t grown = std::max(steps, 2 * history_steps_);
  Buffer history(device_, "scalars of the steps", bytes_of(grown));
  if (history_steps_ > 0) history.copy_from(history_, bytes_of(history_steps_));
  history_ = std::move(history);
  history_steps_ = grown;
}

// The scratch is this class's own, so that a model's plan need not know the optimizer.
Context Optimizer::with_scratch(const Context& context) {
  check(context.device == device_, "the parameters lie on device ", name_of(device_), ", the context is for ",
        name_of(context.device));
  if (!scratch_.made()) {
    scratch_ = OwnScratch(context, "optimizer scratch", [this](const Context& dry) {
      launch_norm(dry, 0);
      launch_update(dry);
    });
  }
  return scratch_.in(context);
}

// --- rows ---------------------------------------------------------------------------------------------------------------

void Optimizer::prepare_rows(const Context& context, const PackedBatch& batch) {
  if (!lazy_) return;
  upload_rows(context, batch);
  launch_rows(context, std::ssize(batch.source.by_id.keys));
}

void Optimizer::upload_rows(const Context& context, const PackedBatch& batch) {
  if (!lazy_) return;
  check(batch.target.sequences == 0, "lazy rows are those of one list of sequences, and this batch has two");
  const std::vector<std::int32_t>& rows = batch.source.by_id.keys;
  check(!rows.empty() && rows.front() >= 0 && rows.back() < store_.table()[table_index_].rows(),
        "a batch's word ids lie outside of ", store_.table()[table_index_].name);
  Numbers numbers;
  numbers.listed = std::ssize(rows);
  numbers.step = steps_;
  upload(context, batch_list_, numbers, rows, false);
  touch_rows(rows);
}

void Optimizer::launch_rows(const Context& context, std::int64_t most_rows) {
  if (!lazy_) return;
  AdamWRowsArguments arguments = table_arguments();
  arguments.row_list = reinterpret_cast<const std::int32_t*>(batch_list_.as<std::byte>() + kListBegin);
  arguments.listed = most_rows;
  arguments.listed_from = &batch_list_.as<Numbers>()->listed;
  arguments.step_from = &batch_list_.as<Numbers>()->step;
  adamw_rows(with_scratch(context), arguments);
}

void Optimizer::touch_rows(const std::vector<std::int32_t>& rows) {
  if (!lazy_) return;
  check(rows.empty() || (rows.front() >= 0 && rows.back() < store_.table()[table_index_].rows()), "rows outside of ",
        store_.table()[table_index_].name, " are touched");
  merged_.clear();
  std::set_union(touched_.begin(), touched_.end(), rows.begin(), rows.end(), std::back_inserter(merged_));
  touched_.swap(merged_);
}

void Optimizer::catch_up(const Context& context) {
  if (!lazy_) return;
  AdamWRowsArguments arguments = table_arguments();
  arguments.step = steps_;
  adamw_rows(with_scratch(context), arguments);
}

void Optimizer::restore(std::int64_t steps) {
  check(steps >= 0 && steps < std::numeric_limits<std::int32_t>::max(), "an optimizer cannot continue from step ", steps);
  steps_ = steps;
  touched_.clear();
  if (!lazy_) return;
  fill_last_steps(static_cast<std::int32_t>(steps));
  reserve_history(steps);
}

// --- a step -------------------------------------------------------------------------------------------------------------

double Optimizer::step(const Context& context, double learning_rate) {
  enqueue_step(context, learning_rate);
  const double result = norm(context);
  if (!std::isfinite(result)) {
    --steps_;
    touched_.swap(stepped_);
  }
  return result;
}

void Optimizer::enqueue_step(const Context& context, double learning_rate) {
  const std::int64_t rows = touched_rows();
  upload_step(context, learning_rate);
  launch_step(context, rows);
}

double Optimizer::norm(const Context& context) {
  if (device_ == Device::kCpu) return *norm_on_device();
  cuda::copy_to_host(norm_on_host_.data(), norm_on_device(), sizeof(float), context.stream);
  cuda::synchronize(context.stream);
  return *static_cast<const float*>(norm_on_host_.data());
}

void Optimizer::upload_step(const Context& context, double learning_rate) {
  Numbers numbers;
  numbers.scalars = rule_->scalars(steps_ + 1, learning_rate);
  numbers.scalars.number = steps_ + 1;
  numbers.listed = touched_rows();
  numbers.step = steps_ + 1;
  if (lazy_) reserve_history(steps_ + 1);
  upload(context, step_list_, numbers, touched_, lazy_);
  ++steps_;
  touched_.swap(stepped_);
  touched_.clear();
}

void Optimizer::launch_step(const Context& context, std::int64_t most_rows) {
  const Context own = with_scratch(context);
  launch_norm(own, most_rows);
  launch_update(own);
  if (store_.shards() != nullptr) {
    store_.clear_other_gradients(own.stream);
    if (share_) {
      share_(own.stream);
    } else {
      store_.share_weights(own.stream);
    }
  }
  if (!lazy_ || most_rows == 0) return;
  AdamWRowsArguments arguments = table_arguments();
  arguments.row_list = reinterpret_cast<const std::int32_t*>(step_list_.as<std::byte>() + kListBegin);
  arguments.listed = most_rows;
  arguments.listed_from = &step_list_.as<Numbers>()->listed;
  arguments.step_from = &step_list_.as<Numbers>()->step;
  arguments.with_gradient = true;
  arguments.gradient_factor = &results_.as<Results>()->factor;
  arguments.zero_gradient = true;
  adamw_rows(own, arguments);
}

// One copy of the numbers and the rows behind them, and one of the table's scalars to their place among those of all steps.
void Optimizer::upload(const Context& context, const Buffer& list, const Numbers& numbers,
                       const std::vector<std::int32_t>& rows, bool into_history) {
  with_scratch(context);  // made before anything can be recorded
  const bool decay = into_history && store_.table()[table_index_].decay;
  const std::size_t row_bytes = rows.size() * sizeof(std::int32_t);
  const auto write = [&](std::byte* to) {
    std::memcpy(to, &numbers, sizeof numbers);
    if (row_bytes > 0) std::memcpy(to + kListBegin, rows.data(), row_bytes);
  };
  if (device_ == Device::kCpu) {
    write(list.as<std::byte>());
    if (into_history) history_.as<AdamWStep>()[numbers.step] = numbers.scalars.adamw[decay ? 1 : 0];
    return;
  }
  Slot& slot = slots_[next_slot_];
  next_slot_ = (next_slot_ + 1) % slots_.size();
  if (!slot.copied.passed()) slot.copied.synchronize();
  auto* staged = static_cast<std::byte*>(slot.memory.data());
  write(staged);
  cuda::copy_to_device(list.data(), staged, kListBegin + row_bytes, context.stream);
  if (into_history) {
    cuda::copy_to_device(history_.as<AdamWStep>() + numbers.step,
                         &reinterpret_cast<Numbers*>(staged)->scalars.adamw[decay ? 1 : 0], sizeof(AdamWStep),
                         context.stream);
  }
  slot.copied.record(context.stream);
}

GradientNormArguments Optimizer::norm_arguments() const {
  Results* results = results_.as<Results>();
  GradientNormArguments arguments;
  arguments.elements = norm_.elements;
  arguments.segments = norm_.segments;
  arguments.pieces = norm_.pieces;
  arguments.segment_list = norm_.list.as<FlatSegment>();
  arguments.gradient = store_.flat_gradient();
  arguments.maximum_norm = static_cast<float>(settings_.max_grad_norm);
  arguments.sum_of_squares = &results->sum_of_squares;
  arguments.norm = &results->norm;
  arguments.factor = &results->factor;
  if (table_index_ >= 0) {
    arguments.rows = store_.table()[table_index_].rows();
    arguments.width = store_.table()[table_index_].width();
    arguments.table_offset = store_.table()[table_index_].offset;
  }
  return arguments;
}

void Optimizer::launch_norm(const Context& context, std::int64_t most_rows) {
  GradientNormArguments arguments = norm_arguments();
  if (store_.shares_gradients()) {
    arguments.range = store_.norm_range();
    arguments.cells = norm_cells_.as<double>();
    arguments.stage = NormStage::kCells;
    gradient_norm(context, arguments);
    if (!context.dry_run) store_.add_up(arguments.cells, koine::norm_cells(device_, arguments), context.stream);
    arguments.stage = NormStage::kFinish;
    return gradient_norm(context, arguments);
  }
  if (lazy_) {
    arguments.row_list = reinterpret_cast<const std::int32_t*>(step_list_.as<std::byte>() + kListBegin);
    arguments.listed = most_rows;
    arguments.listed_from = &step_list_.as<Numbers>()->listed;
  }
  gradient_norm(context, arguments);
}

void Optimizer::launch_update(const Context& context) {
  rule_->launch(context, &step_list_.as<Numbers>()->scalars, &results_.as<Results>()->factor);
}

AdamWRowsArguments Optimizer::table_arguments() const {
  const ParameterSpec& spec = store_.table()[table_index_];
  AdamWRowsArguments arguments;
  arguments.rows = spec.rows();
  arguments.width = spec.width();
  arguments.parameter = store_.master(table_index_);
  arguments.gradient = store_.gradient(table_index_);
  const RowMoments moments = rule_->row_moments(table_index_);
  arguments.first_moment = moments.first;
  arguments.second_moment = moments.second;
  arguments.working = store_.working_bfloat16(table_index_);
  arguments.last_step = last_step_.as<std::int32_t>();
  arguments.history = history_.as<AdamWStep>();
  arguments.zero_gradient = false;
  return arguments;
}

}  // namespace koine
