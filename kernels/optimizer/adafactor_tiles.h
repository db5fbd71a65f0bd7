#pragma once

// How adafactor's variants cut tensors, and where their workspace has what: on the host and in kernels.

#include "kernels/optimizer/adafactor.h"

namespace koine {

inline constexpr std::int64_t kAdafactorTileRows = 128;
inline constexpr std::int64_t kAdafactorTileColumns = 256;
inline constexpr float kAdafactorSquareEpsilon = 1e-30f;  ///< added to every squared gradient
inline constexpr double kAdafactorLeastScale = 1e-3;      ///< of a parameter: its RMS counts as at least this

KOINE_HOST_DEVICE std::int64_t adafactor_row_tiles(const AdafactorTensor& tensor) {
  return (tensor.rows + kAdafactorTileRows - 1) / kAdafactorTileRows;
}
KOINE_HOST_DEVICE std::int64_t adafactor_column_tiles(const AdafactorTensor& tensor) {
  return (tensor.width + kAdafactorTileColumns - 1) / kAdafactorTileColumns;
}
KOINE_HOST_DEVICE std::int64_t adafactor_tiles_of(const AdafactorTensor& tensor) {
  return adafactor_row_tiles(tensor) * adafactor_column_tiles(tensor);
}

/// Rows first_row .. first_row + rows - 1 and as many columns of a tensor. Neighbours in a row of tiles are neighbours.
struct AdafactorTile {
  std::int64_t tensor = 0;
  std::int64_t row_tile = 0;
  std::int64_t column_tile = 0;
  std::int64_t first_row = 0;
  std::int64_t first_column = 0;
  int rows = 0;
  int columns = 0;
};

/// The last of a numbered list that begins at or before `place`, where `first` is what the list is numbered by.
KOINE_HOST_DEVICE std::int64_t adafactor_find(const AdafactorTensor* list, std::int64_t tensors,
                                              std::int64_t AdafactorTensor::*first, std::int64_t place) {
  std::int64_t begin = 0;
  std::int64_t end = tensors;  // it is one of [begin, end)
  while (end - begin > 1) {
    const std::int64_t middle = (begin + end) / 2;
    if (list[middle].*first <= place) {
      begin = middle;
    } else {
      end = middle;
    }
  }
  return begin;
}

KOINE_HOST_DEVICE AdafactorTile adafactor_tile(const AdafactorTensor* list, std::int64_t tensors, std::int64_t number) {
  AdafactorTile tile;
  tile.tensor = adafactor_find(list, tensors, &AdafactorTensor::first_tile, number);
  const AdafactorTensor& tensor = list[tile.tensor];
  const std::int64_t inside = number - tensor.first_tile;
  tile.row_tile = inside / adafactor_column_tiles(tensor);
  tile.column_tile = inside % adafactor_column_tiles(tensor);
  tile.first_row = tile.row_tile * kAdafactorTileRows;
  tile.first_column = tile.column_tile * kAdafactorTileColumns;
  const std::int64_t rows = tensor.rows - tile.first_row;
  const std::int64_t columns = tensor.width - tile.first_column;
  tile.rows = static_cast<int>(rows < kAdafactorTileRows ? rows : kAdafactorTileRows);
  tile.columns = static_cast<int>(columns < kAdafactorTileColumns ? columns : kAdafactorTileColumns);
  return tile;
}

/// What a tensor's update is multiplied by.
struct AdafactorScale {
  float keep = 1;  ///< of the parameter
  float step = 0;  ///< of x
};

/// The workspace, a list of arrays.
struct AdafactorWorkspace {
  double* row_partials = nullptr;
  double* column_partials = nullptr;
  double* update_squares = nullptr;     ///< [tiles] of x
  double* parameter_squares = nullptr;  ///< [tiles]
  float* row_means = nullptr;           ///< [tensors] mean(R)
  AdafactorScale* scales = nullptr;     ///< [tensors]
};

inline std::size_t adafactor_workspace(const AdafactorArguments& a) {
  const AdafactorSizes& sizes = a.sizes;
  return static_cast<std::size_t>(sizes.row_partials + sizes.column_partials + 2 * sizes.tiles) * sizeof(double) +
         static_cast<std::size_t>(sizes.tensors) * (sizeof(float) + sizeof(AdafactorScale));
}
inline AdafactorWorkspace adafactor_arrays(const AdafactorSizes& sizes, void* workspace) {
  AdafactorWorkspace arrays;
  arrays.row_partials = static_cast<double*>(workspace);
  arrays.column_partials = arrays.row_partials + sizes.row_partials;
  arrays.update_squares = arrays.column_partials + sizes.column_partials;
  arrays.parameter_squares = arrays.update_squares + sizes.tiles;
  arrays.scales = reinterpret_cast<AdafactorScale*>(arrays.parameter_squares + sizes.tiles);
  arrays.row_means = reinterpret_cast<float*>(arrays.scales + sizes.tensors);
  return arrays;
}

}  // namespace koine
