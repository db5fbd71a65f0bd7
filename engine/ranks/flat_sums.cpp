#include "engine/ranks/flat_sums.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "kernels/gather/gather.h"
#include "kernels/reduce/reduce.h"

namespace koine {
namespace {

std::int64_t round_up_to(std::int64_t value, std::int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

std::int64_t exchanged_at_once(std::int64_t exchange_elements, std::int64_t elements, int ranks) {
  return round_up_to(std::min(exchange_elements, elements), ranks * kShareMultiple);
}

std::int64_t share_of_rank(std::int64_t count, std::int64_t ranks) {
  return round_up_to((count + ranks - 1) / ranks, kShareMultiple);
}

FlatSpan FlatSpan::part(std::int64_t first, std::int64_t count) const {
  FlatSpan part = *this;
  part.units = count;
  if (rows == nullptr) {
    part.begin += first;
  } else {
    part.rows += first;
  }
  return part;
}

FlatSpan SpanShare::of_rank(const FlatSpan& span, std::int64_t rank) const {
  const std::int64_t first = std::min(rank * units, span.units);
  return span.part(first, std::min(units, span.units - first));
}

SpanShare share_of_span(const FlatSpan& span, std::int64_t ranks) {
  if (span.rows == nullptr) return {share_of_rank(span.units, ranks), share_of_rank(span.units, ranks)};
  const std::int64_t units = (span.units + ranks - 1) / ranks;
  return {units, round_up_to(units * span.width, kShareMultiple)};
}

std::int64_t units_at_once(const FlatSpan& span, std::int64_t exchanged_at_once, std::int64_t ranks) {
  return exchanged_at_once / ranks / span.width * ranks;
}

std::vector<FlatSpan> pieces_of_span(const FlatSpan& span, std::int64_t exchanged_at_once, std::int64_t ranks) {
  const std::int64_t at_once = units_at_once(span, exchanged_at_once, ranks);
  std::vector<FlatSpan> pieces;
  for (std::int64_t at = 0; at < span.units; at += at_once)
    pieces.push_back(span.part(at, std::min(at_once, span.units - at)));
  return pieces;
}

std::int64_t elements_of_shares(const FlatSpan& span, std::int64_t exchanged_at_once, std::int64_t ranks) {
  std::int64_t elements = 0;
  for (const FlatSpan& piece : pieces_of_span(span, exchanged_at_once, ranks))
    elements += share_of_span(piece, ranks).elements;
  return elements;
}

void FlatSums::add(float* to, const float* from, std::int64_t count, void* stream) {
  if (count == 0) return;
  if (device_ == Device::kCuda) {
    const Context context = in_stream(stream);
    for (std::int64_t at = 0; at < count; at += kExchangeElements) {
      const std::int64_t piece = std::min(kExchangeElements, count - at);
      column_sum(context, {DType::kFloat32, 1, piece, piece, from + at, to + at});
    }
    return;
  }
  parallel_ranges(count, 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

void FlatSums::copy(float* to, const float* from, std::int64_t count, void* stream) const {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  if (count == 0) return;
  if (device_ == Device::kCuda) {
    cuda::copy_on_device(to, from, bytes, stream);
  } else {
    std::memcpy(to, from, bytes);
  }
}

void FlatSums::clear(float* values, std::int64_t count, void* stream) const {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  if (device_ == Device::kCuda) {
    cuda::fill_with_zero(values, bytes, stream);
  } else {
    std::memset(values, 0, bytes);
  }
}

void FlatSums::pack(float* to, const float* flat, const FlatSpan& from, void* stream) {
  if (from.rows == nullptr) return copy(to, flat + from.begin, from.units, stream);
  gather_rows(in_stream(stream),
              {DType::kFloat32, from.units, from.width, from.table_rows, from.rows, flat + from.begin, to});
}

void FlatSums::unpack(float* flat, const float* from, const FlatSpan& to, void* stream) {
  if (to.rows == nullptr) return copy(flat + to.begin, from, to.units, stream);
  scatter_rows(in_stream(stream),
               {DType::kFloat32, to.units, to.width, to.table_rows, to.rows, from, flat + to.begin, true});
}

/// With scratch of its own. Streams that use it are ordered.
Context FlatSums::in_stream(void* stream) {
  Context context;
  if (device_ == Device::kCpu) return context;
  context.device = device_;
  context.architecture = 80;  // what column_sum and the copies of rows ask for
  context.stream = stream;
  if (!scratch_.made()) {
    const std::int64_t most = std::min(kExchangeElements, most_ + kShareMultiple);
    scratch_ = OwnScratch(context, "scratch of sums of gradients", [&](const Context& dry) {
      column_sum(dry, {DType::kFloat32, 1, most, most, nullptr, nullptr});
    });
  }
  return scratch_.in(context);
}

}  // namespace koine
