#include "kernels/cuda/matrix.h"

#include <cstring>

#include "kernels/cuda/hopper/store_matrix.h"
#include "kernels/cuda/host/race_hooks.h"
#include "kernels/cuda/host/tensor_core.h"

namespace koine::cuda::host {
namespace {

constexpr int kLanes = 32;

struct Load {
  const void* row;
  std::uint32_t* to;
};

BFloat16 element(void* const* lanes, int matrix, int row, int column) {
  const auto* from = static_cast<const BFloat16*>(static_cast<const Load*>(lanes[8 * matrix + row])->row);
  return from[column];
}

template <bool kTransposed>
void load_all(void* const* lanes) {
  for (int lane = 0; lane < kLanes; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const BFloat16 first = kTransposed ? element(lanes, matrix, 2 * t, g) : element(lanes, matrix, g, 2 * t);
      const BFloat16 second = kTransposed ? element(lanes, matrix, 2 * t + 1, g) : element(lanes, matrix, g, 2 * t + 1);
      static_cast<Load*>(lanes[lane])->to[matrix] = first.bits | static_cast<std::uint32_t>(second.bits) << 16;
    }
  }
}

/// A lane's words of four matrices, to the rows whose addresses the lanes give.
struct Store {
  void* row;
  const std::uint32_t* from;
};

template <bool kTransposed>
void store_all(void* const* lanes) {
  const auto element = [&](int matrix, int row, int column) -> BFloat16& {
    return static_cast<BFloat16*>(static_cast<const Store*>(lanes[8 * matrix + row])->row)[column];
  };
  for (int lane = 0; lane < kLanes; ++lane) {
    const int g = lane / 4;
    const int t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const std::uint32_t pair = static_cast<const Store*>(lanes[lane])->from[matrix];
      for (int i = 0; i < 2; ++i) {
        BFloat16& to = kTransposed ? element(matrix, 2 * t + i, g) : element(matrix, g, 2 * t + i);
        to.bits = static_cast<std::uint16_t>(pair >> (16 * i));
      }
    }
  }
}

struct Product {
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
};

void multiply_all(void* const* lanes) {
  float a[16][16];
  float b[16][8];
  float d[16][8];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto* mine = static_cast<const Product*>(lanes[lane]);
    const int g = lane / 4;
    const int t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i % 2);
      const int column = 2 * t + 8 * (i / 2);
      a[row][column] = low_bfloat16(mine->a[i]);
      a[row][column + 1] = high_bfloat16(mine->a[i]);
      d[g + 8 * (i / 2)][2 * t + i % 2] = mine->d[i];
    }
    for (int i = 0; i < 2; ++i) {
      b[2 * t + 8 * i][g] = low_bfloat16(mine->b[i]);
      b[2 * t + 8 * i + 1][g] = high_bfloat16(mine->b[i]);
    }
  }
  const bool truncates = truncating_sums();
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 8 && truncates; ++column) {
      d[row][column] = truncated_sum(d[row][column], a[row], 1, &b[0][column], 8);
    }
    for (int k = 0; k < 16 && !truncates; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto* mine = static_cast<const Product*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) mine->d[i] = d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
  }
}

}  // namespace

void load_matrix(std::uint32_t (&x)[4], const void* row, bool transposed, Site site) {
  check_aligned(row, 16);
  races::read(row, 16, __builtin_return_address(0));
  std::uint32_t result[4];
  Load deposit = {row, result};
  warp_collective(site, &deposit, transposed ? load_all<true> : load_all<false>);
  std::memcpy(x, result, sizeof x);
}

void store_matrix(void* row, const std::uint32_t (&x)[4], bool transposed, Site site) {
  check_aligned(row, 16);
  races::write(row, 16, __builtin_return_address(0));
  Store deposit = {row, x};
  warp_collective(site, &deposit, transposed ? store_all<true> : store_all<false>);
}

void multiply_add(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], Site site) {
  Product deposit = {d, a, b};
  warp_collective(site, &deposit, multiply_all);
}

}  // namespace koine::cuda::host
