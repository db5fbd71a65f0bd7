#pragma once

// For tests of the layer for 9.0 where it runs on the CPU.

#include "kernels/cuda/host/execution.h"

namespace koine::cuda {

/// The host implementation is such a device as long as this lives.
class Emulated {
 public:
  explicit Emulated(int architecture) : before_(host::architecture()) { host::set_architecture(architecture); }
  ~Emulated() { host::set_architecture(before_); }
  Emulated(const Emulated&) = delete;
  Emulated& operator=(const Emulated&) = delete;

 private:
  int before_;
};

}  // namespace koine::cuda
