#pragma once

// The small model of tiny.h, in mixed mode, on its way through two steps of six sentences, alone or as one of the ranks that
// share out what `zero` says.

#include <memory>

#include "engine/training/trainer.h"
#include "tests/models/tiny.h"

namespace koine::tiny {

struct Training {
  explicit Training(Device device, std::int64_t zero = 0, Communicator* ranks = nullptr) {
    ModelOptions options;
    options.execution.communicator = ranks;
    options.shared = zero > 0;
    options.shared_gradients = zero == 2;
    options.execution.device = device;
    options.execution.precision = DType::kBFloat16;
    options.training = true;
    options.heads = {head(HeadKind::kSequence)};
    options.seed = 5;
    model = make_model(config(NormPlacement::kPost), options);
    data.name = "sentences";
    data.classes = 3;
    data.examples = examples(HeadKind::kSequence, {2, 6, 4, 7, 3, 5}, 9);
    TrainingTask task;
    task.name = data.name;
    task.train = &data;
    run.model = model.get();
    run.tasks = {task};
    run.settings.learning_rate = 1e-3;
    run.settings.max_steps = 2;
    run.settings.zero = zero;
    run.settings.per_device_train_batch_size = 4;
    run.settings.max_tokens_per_batch = 12;
  }
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  std::unique_ptr<Model> model;
  Dataset data;
  TrainingRun run;
};

}  // namespace koine::tiny
