#include "engine/training/optimizer.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "kernels/common/check.h"
#include "kernels/reduce/reduce.h"

namespace koine {

Optimizer::Optimizer(ParameterStore& store, const TrainingSettings& settings, bool lazy)
    : store_(store), settings_(settings) {
  check(store.training(), "an optimizer needs parameters with training state");
  const ParameterTable& table = store.table();
  for (int index = 0; lazy && index < table.size(); ++index) {
    if (!table[index].lazy_rows) continue;
    check(lazy_index_ < 0, "two parameters are lazy: ", table[index].name);
    lazy_index_ = index;
  }
  collect_runs();
  if (lazy_index_ < 0) return;
  const auto rows = static_cast<std::size_t>(table[lazy_index_].rows());
  last_step_.resize(rows);
  touched_.reserve(rows);
  merged_.reserve(rows);
  history_.reserve(static_cast<std::size_t>(std::max<std::int64_t>(settings.max_steps, 1 << 12)) + 1);
  history_.resize(1);
}

// What lies between neighbours is zero in weights, gradients and moments, and AdamW leaves it so: epsilon is above zero.
void Optimizer::collect_runs() {
  const ParameterTable& table = store_.table();
  bool extend = false;
  for (int index = 0; index < table.size(); ++index) {
    const ParameterSpec& spec = table[index];
    if (index == lazy_index_) {
      extend = false;
      continue;
    }
    if (!extend || runs_.back().decay != spec.decay) runs_.push_back({index, 0, spec.decay});
    Run& run = runs_.back();
    run.count = spec.offset + spec.count() - table[run.first].offset;
    extend = true;
  }
}

AdamWStep Optimizer::scalars_of(double learning_rate, bool decay) const {
  return adamw_step(steps_ + 1, learning_rate, settings_.adam_beta1, settings_.adam_beta2, settings_.adam_epsilon,
                    decay ? settings_.weight_decay : 0.0);
}

// The scratch is this class's own, so that a model's plan need not know the optimizer. The dry run goes over whole tables,
// which is the most any step asks for.
Context Optimizer::with_scratch(const Context& context) {
  Context own = context;
  if (scratch_ == nullptr) {
    StackMemory plan;
    own.scratch = &plan;
    own.dry_run = true;
    sum_gradients(own);
    update(own, 0.0);
    if (lazy_index_ >= 0) run_lazy_rows(own, nullptr, 0, false);
    const std::size_t guard =
        StackMemory::kAlignment;  // a guard behind each allocation in debug builds, one alive at a time
    scratch_ = std::make_unique<StackMemory>("optimizer scratch", plan.peak() + guard);
  }
  own.scratch = scratch_.get();
  own.dry_run = context.dry_run;
  return own;
}

void Optimizer::prepare_rows(const Context& context, const PackedBatch& batch) {
  if (lazy_index_ < 0) return;
  const std::vector<std::int32_t>& rows = batch.by_id.keys;
  check(!rows.empty() && rows.front() >= 0 && rows.back() < store_.table()[lazy_index_].rows(),
        "a batch's word ids lie outside of ", store_.table()[lazy_index_].name);
  run_lazy_rows(with_scratch(context), rows.data(), static_cast<std::int64_t>(rows.size()), false);
  mark_touched(rows);
}

void Optimizer::mark_touched(const std::vector<std::int32_t>& rows) {
  merged_.clear();
  std::set_union(touched_.begin(), touched_.end(), rows.begin(), rows.end(), std::back_inserter(merged_));
  touched_.swap(merged_);
}

double Optimizer::step(const Context& context, double learning_rate) {
  const Context own = with_scratch(context);
  sum_gradients(own);
  if (!std::isfinite(scalars_.norm)) return scalars_.norm;
  update(own, learning_rate);
  touched_.clear();
  ++steps_;
  return scalars_.norm;
}

void Optimizer::sum_gradients(const Context& context) {
  const ParameterTable& table = store_.table();
  scalars_ = {};
  for (int index = 0; index < table.size(); ++index) {
    SumOfSquaresArguments sum;
    sum.rows = table[index].rows();
    sum.width = table[index].width();
    sum.input = store_.gradient(index);
    sum.output = &scalars_.sum_of_squares;
    if (index == lazy_index_ && !context.dry_run) {
      if (touched_.empty()) continue;
      sum.row_list = touched_.data();
      sum.listed = static_cast<std::int64_t>(touched_.size());
    }
    sum_of_squares(context, sum);
  }
  clip_factor(context,
              {&scalars_.sum_of_squares, static_cast<float>(settings_.max_grad_norm), &scalars_.norm, &scalars_.factor});
}

void Optimizer::update(const Context& context, double learning_rate) {
  for (const Run& run : runs_) {
    AdamWArguments arguments;
    arguments.count = run.count;
    arguments.parameter = store_.master(run.first);
    arguments.gradient = store_.gradient(run.first);
    arguments.first_moment = store_.first_moment(run.first);
    arguments.second_moment = store_.second_moment(run.first);
    arguments.working = store_.working_bfloat16(run.first);
    arguments.step = scalars_of(learning_rate, run.decay);
    arguments.gradient_factor = &scalars_.factor;
    adamw(context, arguments);
  }
  if (lazy_index_ < 0 || context.dry_run) return;
  history_.push_back(scalars_of(learning_rate, store_.table()[lazy_index_].decay));
  if (!touched_.empty()) run_lazy_rows(context, touched_.data(), static_cast<std::int64_t>(touched_.size()), true);
}

void Optimizer::run_lazy_rows(const Context& context, const std::int32_t* rows, std::int64_t listed, bool with_gradient) {
  const ParameterSpec& spec = store_.table()[lazy_index_];
  AdamWRowsArguments arguments;
  arguments.rows = spec.rows();
  arguments.width = spec.width();
  arguments.parameter = store_.master(lazy_index_);
  arguments.gradient = store_.gradient(lazy_index_);
  arguments.first_moment = store_.first_moment(lazy_index_);
  arguments.second_moment = store_.second_moment(lazy_index_);
  arguments.working = store_.working_bfloat16(lazy_index_);
  arguments.row_list = rows;
  arguments.listed = listed;
  arguments.last_step = last_step_.data();
  arguments.history = history_.data();
  arguments.step = steps_ + (with_gradient ? 1 : 0);
  arguments.with_gradient = with_gradient;
  arguments.gradient_factor = &scalars_.factor;
  arguments.zero_gradient = with_gradient;
  adamw_rows(context, arguments);
}

void Optimizer::catch_up(const Context& context) {
  if (lazy_index_ >= 0) run_lazy_rows(with_scratch(context), nullptr, 0, false);
}

void Optimizer::restore(std::int64_t steps) {
  check(steps >= 0 && steps < std::numeric_limits<std::int32_t>::max(), "an optimizer cannot continue from step ", steps);
  steps_ = steps;
  touched_.clear();
  if (lazy_index_ < 0) return;
  std::fill(last_step_.begin(), last_step_.end(), static_cast<std::int32_t>(steps));
  history_.assign(static_cast<std::size_t>(steps) + 1, AdamWStep{});
}

}  // namespace koine
