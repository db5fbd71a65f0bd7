#pragma once

// Copies between host memory and the memory of either device, done when they return. On a device they wait for all of its
// work before and for the copy itself: for the start and the end of things, never in a step.

#include <cstddef>

#include "kernels/common/types.h"

namespace koine {

void copy_from_host(Device device, void* to, const void* from, std::size_t bytes);
void copy_to_host(Device device, void* to, const void* from, std::size_t bytes);

}  // namespace koine
