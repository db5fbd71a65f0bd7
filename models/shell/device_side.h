#pragma once

// What a model on a device has besides its parameters.

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>

#include "engine/batch/batch_view.h"
#include "engine/batch/device_batch.h"
#include "engine/training/model.h"
#include "kernels/cuda/runtime.h"

namespace koine {

/// A stream, batches on their way, and the recordings of steps.
class DeviceSide {
 public:
  /// Batches of up to `lists` lists of up to `tokens` tokens from now on. What was recorded for the old memory is forgotten.
  void reserve(std::int64_t tokens, int lists) {
    cuda::synchronize_device();
    graphs_.clear();
    uploader_ = std::make_unique<BatchUploader>(tokens, lists);
  }

  void* stream() const { return stream_.handle(); }
  BatchUploader& uploader() { return *uploader_; }

  /// Marks, behind what is in the stream (recorded or not), that the gradients of the first `parameters` are final.
  const cuda::Event& mark(int parameters) {
    if (next_mark_ == marks_.size()) marks_.emplace_back();
    Mark& mark = marks_[next_mark_++];
    mark.event.record(stream());
    mark.parameters = parameters;
    return mark.event;
  }
  /// Whether or not `work` ran or its recording did, its marks are set: all work sets the same ones.
  void tell(const GradientReady& ready) const {
    for (const Mark& mark : marks_) ready(mark.parameters, &mark.event);
  }
  void begin_marks() { next_mark_ = 0; }

  /// Runs `work`, which depends on nothing but the batch's sizes: the first time as it is, the second time it is recorded,
  /// from then on the recording.
  template <class Work>
  void run_recorded(const BatchView& batch, const StepIdentity& step, const Work& work) {
    Recorded& recorded = graphs_[size_of(batch, step)];
    recorded.last_use = ++uses_;
    if (recorded.graph.empty()) {
      if (++recorded.seen == 1) {
        work();
        forget_the_oldest();
        return;
      }
      cuda::Graph::begin_recording(stream());
      try {
        work();
      } catch (...) {
        cuda::Graph::abandon_recording(stream());
        throw;
      }
      recorded.graph = cuda::Graph::end_recording(stream());
    }
    recorded.graph.launch(stream());
  }

 private:
  using Size = std::array<std::int64_t, 14>;
  static Size size_of(const BatchView& batch, const StepIdentity& step) {
    const SequencesView& source = batch.source;
    const SequencesView& target = batch.target;
    return {source.tokens,
            source.sequences,
            source.maximum_length,
            source.by_id.groups,
            source.by_position.groups,
            target.tokens,
            target.sequences,
            target.maximum_length,
            target.by_id.groups,
            target.by_position.groups,
            batch.labelled ? 1 : 0,
            batch.head,
            batch.group,
            step.seed};
  }
  struct Recorded {
    int seen = 0;
    std::int64_t last_use = 0;
    cuda::Graph graph;
  };
  struct Mark {
    cuda::Event event;
    int parameters = 0;
  };
  static constexpr std::size_t kMostGraphs = 64;

  void forget_the_oldest() {
    if (graphs_.size() <= kMostGraphs) return;
    const auto older = [](const auto& a, const auto& b) { return a.second.last_use < b.second.last_use; };
    cuda::synchronize(stream());  // it may still run
    graphs_.erase(std::min_element(graphs_.begin(), graphs_.end(), older));
  }

  cuda::Stream stream_;
  std::unique_ptr<BatchUploader> uploader_;
  std::deque<Mark> marks_;  ///< of a backward: recordings refer to them, and go first
  std::map<Size, Recorded> graphs_;
  std::int64_t uses_ = 0;
  std::size_t next_mark_ = 0;
};

}  // namespace koine
