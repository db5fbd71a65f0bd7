#pragma once

// A kernel for 9.0 alone that says which cluster its blocks are in: what cuda_cluster_test.cpp and architectures.cmake look
// at.

#include "kernels/cuda/launch.h"

namespace koine::cuda {

/// to[block] = {block's rank in its cluster, blocks of the cluster}, [blocks of the grid, 2], blocks counted with x fastest.
void launch_cluster_probe(Index3 grid, Index3 cluster, std::int32_t* to, void* stream);

}  // namespace koine::cuda
