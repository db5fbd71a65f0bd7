#pragma once

// Scratch for operations that run outside of a model's plan of memory.

#include <memory>
#include <string>

#include "kernels/common/registry.h"
#include "kernels/common/stack_memory.h"

namespace koine {

/// As much scratch as a dry run of the same calls takes, on the context's device.
class OwnScratch {
 public:
  OwnScratch() = default;
  /// `calls(context)` calls the operations this is for with the context it is handed. It runs once, dry.
  template <class Calls>
  OwnScratch(const Context& context, std::string name, const Calls& calls) {
    StackMemory plan;
    Context dry = context;
    dry.scratch = &plan;
    dry.profile = nullptr;
    dry.dry_run = true;
    calls(dry);
    stack_ = std::make_unique<StackMemory>(std::move(name), plan.peak(), context.device);
  }

  bool made() const { return stack_ != nullptr; }
  /// `context` with this scratch.
  Context in(Context context) const {
    context.scratch = stack_.get();
    return context;
  }

 private:
  std::unique_ptr<StackMemory> stack_;
};

}  // namespace koine
