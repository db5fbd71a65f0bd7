// wgmma (kernels/cuda/hopper/warpgroup.h). The first warp that issues a product keeps its operands; each further warp finds
// them as they were, and so does the first one to wait for it, which computes it for all. In between the sums are NaN. A
// warp's wait returns when the other warps have issued the products too, as the product is one operation of all four.

#include "kernels/cuda/hopper/warpgroup.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/cuda/host/machine.h"
#include "kernels/cuda/host/tensor_core.h"

namespace koine::cuda::host {
namespace {

constexpr int kRows = 64;
constexpr int kDepth = 16;
constexpr std::uint32_t kChunk = 16;
constexpr std::uint32_t kUnderWay = 0x7fa00000u;  // a signalling NaN, what sums under way hold

/// Where 8 neighbours of an operand lie (PTX ISA, "Canonical layouts").
struct Layout {
  std::uint32_t start;
  std::uint32_t leading;
  std::uint32_t stride;
  Swizzle swizzle;

  /// Of row (m or n) `row`, depth 8 * `group` on.
  std::uint32_t depth_chunk(int row, int group) const {
    const auto r = static_cast<std::uint32_t>(row);
    const auto g = static_cast<std::uint32_t>(group);
    if (swizzle == Swizzle::kNone) return start + r / 8 * stride + r % 8 * kChunk + g * leading;
    return swizzled(start + r / 8 * stride + r % 8 * static_cast<std::uint32_t>(swizzle_bytes(swizzle)) + g * kChunk,
                    swizzle);
  }
  /// Of depth `depth`, rows 8 * `group` on.
  std::uint32_t row_chunk(int depth, int group) const {
    const auto d = static_cast<std::uint32_t>(depth);
    const auto g = static_cast<std::uint32_t>(group);
    if (swizzle == Swizzle::kNone) return start + g * stride + d / 8 * leading + d % 8 * kChunk;
    const auto line = static_cast<std::uint32_t>(swizzle_bytes(swizzle));
    const std::uint32_t chunks = line / kChunk;
    return swizzled(start + g / chunks * leading + d / 8 * stride + d % 8 * line + g % chunks * kChunk, swizzle);
  }
};

constexpr std::uint64_t kUnusedBits =
    std::uint64_t{3} << 14 | std::uint64_t{3} << 30 | std::uint64_t{7} << 46 | std::uint64_t{0x3ff} << 52;

Layout decode(std::uint64_t descriptor, const char* name) {
  if ((descriptor & kUnusedBits) != 0)
    fail(concatenate("the descriptor of ", name, " has bits that mean nothing: ", descriptor));
  if ((descriptor >> 49 & 7) != 0)
    fail(concatenate("the descriptor of ", name, " has a base offset, which nothing here needs"));
  const auto field = [&](int shift) { return static_cast<std::uint32_t>(descriptor >> shift & 0x3fff) << 4; };
  constexpr Swizzle kSwizzles[] = {Swizzle::kNone, Swizzle::k128Bytes, Swizzle::k64Bytes, Swizzle::k32Bytes};
  const Layout layout = {field(0), field(16), field(32), kSwizzles[descriptor >> 62]};
  // The first line's place in its period has to be that of the pattern.
  const auto period = static_cast<std::uint32_t>(swizzle_period(layout.swizzle));
  if (layout.swizzle != Swizzle::kNone && (layout.start & (period - 1) & ~127u) != 0) {
    fail(concatenate("the descriptor of ", name, " begins inside of a period of its swizzle, ", layout.start % period,
                     " bytes behind a multiple of ", period));
  }
  return layout;
}

float bfloat16_at(const unsigned char* bytes, int element) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, bytes + 2 * element, sizeof bits);
  return to_float(BFloat16{bits});
}

bool holds(const HeldRegisters& held, const void* begin, std::size_t bytes) {
  const auto* const first = static_cast<const char*>(held.begin);
  const auto* const wanted = static_cast<const char*>(begin);
  return wanted >= first && wanted + bytes <= first + held.values.size();
}

}  // namespace

void Machine::fence_products(const RegisterRange* registers, int count, Site site) {
  at_warp(site, nullptr, nullptr, false);
  Thread& self = current();
  self.fenced.clear();
  for (int i = 0; i < count; ++i) {
    const auto* const begin = static_cast<const unsigned char*>(registers[i].begin);
    self.fenced.push_back({begin, {begin, begin + registers[i].bytes}});
  }
}

/// Keeps an operand's bytes.
void Machine::note_operand(IssuedProduct& product, std::uint64_t descriptor, bool rows_major, int rows, const char* name) {
  const Layout layout = decode(descriptor, name);
  const int groups = rows_major ? rows / 8 : kDepth / 8;
  for (int line = 0; line < (rows_major ? kDepth : rows); ++line) {
    for (int group = 0; group < groups; ++group) {
      const std::uint32_t offset = rows_major ? layout.row_chunk(line, group) : layout.depth_chunk(line, group);
      if (offset < window_ || offset - window_ + kChunk > shape_.shared_bytes) {
        fail(concatenate("wgmma reads ", name, " outside of the block's ", shape_.shared_bytes,
                         " bytes of shared memory: at byte ", static_cast<std::int64_t>(offset) - window_, ", line ", line,
                         ", chunk ", group));
      }
      product.chunks.push_back(offset);
      const char* const at = address_of(rank(), offset);
      product.bytes.insert(product.bytes.end(), at, at + kChunk);
      races::async_read_shared(product.clock, at, kChunk, __builtin_return_address(0));
    }
  }
  for (const auto& transfer : transfers_) {
    if (transfer->kind == Transfer::Kind::kStore || transfer->rank != rank()) continue;
    for (const std::uint32_t chunk : product.chunks) {
      if (chunk - transfer->offset < transfer->bytes) {
        fail(concatenate("wgmma reads ", name, " at byte ", chunk - window_, " of shared memory, where the copy of ",
                         transfer->site.file, ":", transfer->site.line, " has not landed"));
      }
    }
  }
}

void Machine::compare_operands(const IssuedProduct& product, const char* when) {
  for (std::size_t i = 0; i < product.chunks.size(); ++i) {
    if (std::memcmp(product.bytes.data() + i * kChunk, address_of(rank(), product.chunks[i]), kChunk) == 0) continue;
    fail(concatenate("an operand of the wgmma of ", product.site.file, ":", product.site.line,
                     " changed between its issue and ", when, ": byte ", product.chunks[i] - window_, " of shared memory"));
  }
}

void Machine::issue_product(const Product& what, Site site) {
  at_warp(site, nullptr, nullptr, false);
  Thread& self = current();
  Warpgroup& group = warpgroup();
  if (shape_.threads % kWarpgroupThreads != 0) fail("wgmma needs whole warpgroups");
  if (architecture() != 90) fail(concatenate("wgmma is of compute capability 9.0 alone, this device has ", architecture()));
  // One lane comes first: it speaks for the warp. Each adds its registers.
  const std::int64_t number = self.products++;
  const int place = execution.thread % kWarpgroupThreads;
  const unsigned bit = 1u << (place / kWarp);
  if (number - group.first >= static_cast<std::int64_t>(group.products.size())) {
    IssuedProduct made;
    made.site = site;
    made.what = what;
    group.products.push_back(std::move(made));
    IssuedProduct& product = group.products.back();
    product.clock = races::begin_async_product(rank(), execution.thread / kWarpgroupThreads);
    if (what.registers == nullptr) note_operand(product, what.a, what.rows_major_a, kRows, "A");
    note_operand(product, what.b, what.rows_major_b, what.columns, "B");
  }
  IssuedProduct& product = group.products[static_cast<std::size_t>(number - group.first)];
  const Product& first = product.what;
  if (!same(product.site, site) || first.a != what.a || first.b != what.b || first.columns != what.columns ||
      first.add != what.add || first.rows_major_a != what.rows_major_a || first.rows_major_b != what.rows_major_b) {
    fail(concatenate("the warps of a warpgroup issue different products: of ", product.site.file, ":", product.site.line,
                     " and of ", site.file, ":", site.line,
                     product.site.line == site.line ? " with other descriptors" : ""));
  }
  if ((product.warps & bit) == 0) {
    product.warps |= bit;
    compare_operands(product, "that by another warp");
  }

  // The sums.
  const std::size_t words = static_cast<std::size_t>(what.columns) / 2;
  if (product.sums == nullptr) {
    for (auto earlier = group.products.rbegin(); earlier != group.products.rend(); ++earlier) {
      const std::shared_ptr<Sums>& sums = earlier->sums;
      if (sums == nullptr || sums->registers[static_cast<std::size_t>(place)] != what.d) continue;
      if (sums->columns != what.columns)
        fail("two products of different widths are under way for the same sums: wait for one first");
      product.sums = sums;
      break;
    }
    if (product.sums == nullptr) {
      product.sums = std::make_shared<Sums>();
      product.sums->columns = what.columns;
      product.sums->values.resize(static_cast<std::size_t>(kRows * what.columns));
    }
    product.sums->last = number;
  }
  Sums& sums = *product.sums;
  float*& registers = sums.registers[static_cast<std::size_t>(place)];
  const int row = place / kWarp * 16 + lane() / 4;
  const int column = 2 * (lane() % 4);
  if (registers == nullptr) {
    registers = what.d;
    const auto held = std::find_if(self.fenced.begin(), self.fenced.end(),
                                   [&](const HeldRegisters& one) { return holds(one, what.d, 4 * words); });
    if (held == self.fenced.end())
      fail("sums were touched by other instructions, or never, and no warpgroup_fence() named them since");
    const auto offset = reinterpret_cast<const unsigned char*>(what.d) - static_cast<const unsigned char*>(held->begin);
    if (std::memcmp(held->values.data() + offset, what.d, 4 * words) != 0) {
      fail("sums were written between warpgroup_fence() and the product");
    }
    for (std::size_t i = 0; i < words; ++i) {
      const auto r = static_cast<std::size_t>(row) + i % 4 / 2 * 8;
      const auto c = static_cast<std::size_t>(column) + i / 4 * 8 + i % 2;
      sums.values[r * static_cast<std::size_t>(what.columns) + c] = what.d[i];
      std::memcpy(what.d + i, &kUnderWay, sizeof kUnderWay);
    }
  } else if (registers != what.d) {
    fail("the warps of a warpgroup use different sums in one product");
  } else {
    for (std::size_t i = 0; i < words; ++i) {
      if (std::memcmp(what.d + i, &kUnderWay, sizeof kUnderWay) != 0)
        fail("sums were written while products for them are under way");
    }
  }
  if (what.registers != nullptr) {
    const auto held = std::find_if(self.fenced.begin(), self.fenced.end(),
                                   [&](const HeldRegisters& one) { return holds(one, what.registers, 16); });
    if (held == self.fenced.end()) fail("a fragment of A was not named by warpgroup_fence() since it was written");
    const auto offset =
        reinterpret_cast<const unsigned char*>(what.registers) - static_cast<const unsigned char*>(held->begin);
    if (std::memcmp(held->values.data() + offset, what.registers, 16) != 0) {
      fail("a fragment of A was written between warpgroup_fence() and the product");
    }
    std::memcpy(product.fragments[static_cast<std::size_t>(place)].data(), what.registers, 16);
    product.fragment_places[static_cast<std::size_t>(place)] = what.registers;
  }
  if (++product.issued == kWarpgroupThreads) {
    for (int t = current_ - place; t < current_ - place + kWarpgroupThreads; ++t) {
      if (threads_[static_cast<std::size_t>(t)].state == State::kAtProducts) make_ready(t);
    }
  }
}

void Machine::commit_products(Site site) {
  at_warp(site, nullptr, nullptr, false);
  if (lane() == 0) warp().committed.push_back(current().products);
}

/// A product of which all warps have issued their part.
void Machine::compute(IssuedProduct& product) {
  compare_operands(product, "the wait for it");
  const Product& what = product.what;
  const auto columns = static_cast<std::size_t>(what.columns);
  static thread_local std::vector<float> b;  // [16, columns]: of no fibre's stack
  static thread_local float a[kRows][kDepth];
  b.resize(kDepth * columns);
  const unsigned char* bytes = product.bytes.data();
  if (what.registers != nullptr) {
    for (int t = 0; t < kWarpgroupThreads; ++t) {
      const int row = t / kWarp * 16 + t % kWarp / 4;
      const int column = 2 * (t % 4);
      for (int i = 0; i < 4; ++i) {
        const std::uint32_t pair = product.fragments[static_cast<std::size_t>(t)][static_cast<std::size_t>(i)];
        a[row + i % 2 * 8][column + i / 2 * 8] = low_bfloat16(pair);
        a[row + i % 2 * 8][column + i / 2 * 8 + 1] = high_bfloat16(pair);
      }
    }
  } else {
    for (int line = 0; line < (what.rows_major_a ? kDepth : kRows); ++line) {
      for (int i = 0; i < (what.rows_major_a ? kRows : kDepth); ++i) {
        (what.rows_major_a ? a[i][line] : a[line][i]) = bfloat16_at(bytes, i);
      }
      bytes += 2 * (what.rows_major_a ? kRows : kDepth);
    }
  }
  for (std::size_t line = 0; line < (what.rows_major_b ? kDepth : columns); ++line) {
    const std::size_t length = what.rows_major_b ? columns : kDepth;
    for (std::size_t i = 0; i < length; ++i) {
      b[what.rows_major_b ? line * columns + i : i * columns + line] = bfloat16_at(bytes, static_cast<int>(i));
    }
    bytes += 2 * length;
  }
  const bool truncates = truncating_sums();
  for (std::size_t row = 0; row < kRows; ++row) {
    float* const d = product.sums->values.data() + row * columns;
    if (!what.add) std::fill(d, d + columns, 0.0f);
    if (truncates) {
      for (std::size_t c = 0; c < columns; ++c) d[c] = truncated_sum(d[c], a[row], 1, b.data() + c, what.columns);
      continue;
    }
    for (std::size_t k = 0; k < kDepth; ++k) {
      const float factor = a[row][k];
      const float* const line = b.data() + k * columns;
      for (std::size_t c = 0; c < columns; ++c) d[c] += factor * line[c];
    }
  }
  product.computed = true;
  product.bytes.clear();
  product.chunks.clear();
}

void Machine::wait_products(int pending, const RegisterRange* registers, int count, Site site) {
  at_warp(site, nullptr, nullptr, false);
  Thread& self = current();
  Warp& mine = warp();
  Warpgroup& group = warpgroup();
  const auto keep = static_cast<std::size_t>(pending);
  const std::int64_t end = mine.committed.size() > keep ? mine.committed[mine.committed.size() - keep - 1] : 0;
  const auto number = [&](std::int64_t n) -> IssuedProduct& {
    return group.products[static_cast<std::size_t>(n - group.first)];
  };
  if (end > group.first) {
    bool all = number(end - 1).issued == kWarpgroupThreads;
    while (!all) {
      wait_in(State::kAtProducts, site);
      all = number(end - 1).issued == kWarpgroupThreads;
    }
  }
  const int place = execution.thread % kWarpgroupThreads;
  const auto named = [&](const void* begin, std::size_t bytes) {
    for (int i = 0; i < count; ++i) {
      const auto* const first = static_cast<const char*>(registers[i].begin);
      const auto* const wanted = static_cast<const char*>(begin);
      if (wanted >= first && wanted + bytes <= first + registers[i].bytes) return true;
    }
    return false;
  };
  for (std::int64_t n = group.first; n < end; ++n) {
    IssuedProduct& product = number(n);
    if (!product.computed) compute(product);
    races::acquire_async(product.clock);
    if (product.what.registers != nullptr) {
      const void* const fragment = product.fragment_places[static_cast<std::size_t>(place)];
      if (fragment != nullptr && !named(fragment, 16))
        fail("warpgroup_wait() does not name a fragment of a product it waits for");
      if (fragment != nullptr && std::memcmp(fragment, product.fragments[static_cast<std::size_t>(place)].data(), 16) != 0) {
        fail("a fragment of A was written while a product of it was under way");
      }
      product.fragment_places[static_cast<std::size_t>(place)] = nullptr;
    }
    Sums& sums = *product.sums;
    float*& mine_of = sums.registers[static_cast<std::size_t>(place)];
    if (sums.last >= end || mine_of == nullptr || sums.last != n) continue;
    const std::size_t words = static_cast<std::size_t>(sums.columns) / 2;
    if (!named(mine_of, 4 * words)) fail("warpgroup_wait() does not name the sums of a product it waits for");
    const int row = place / kWarp * 16 + lane() / 4;
    const int column = 2 * (lane() % 4);
    for (std::size_t i = 0; i < words; ++i) {
      if (std::memcmp(mine_of + i, &kUnderWay, sizeof kUnderWay) != 0)
        fail("sums were written while products for them were under way");
      const auto r = static_cast<std::size_t>(row) + i % 4 / 2 * 8;
      const auto c = static_cast<std::size_t>(column) + i / 4 * 8 + i % 2;
      mine_of[i] = sums.values[r * static_cast<std::size_t>(sums.columns) + c];
    }
    mine_of = nullptr;
    ++sums.delivered;
    self.fenced.clear();  // read from here on: another product needs another fence
  }
  while (!group.products.empty() && group.products.front().computed &&
         group.products.front().sums->delivered == kWarpgroupThreads) {
    group.products.pop_front();
    ++group.first;
  }
}

std::string Machine::check_products_of_thread() {
  if (current().products == 0) return {};
  const int place = execution.thread % kWarpgroupThreads;
  for (const IssuedProduct& product : warpgroup().products) {
    if (product.sums != nullptr && product.sums->registers[static_cast<std::size_t>(place)] != nullptr) {
      return concatenate("a thread leaves while the wgmma of ", product.site.file, ":", product.site.line, " is under way");
    }
  }
  return {};
}

void warpgroup_fence(const RegisterRange* registers, int count, Site site) {
  machine->fence_products(registers, count, site);
}
void warpgroup_multiply(const Product& product, Site site) { machine->issue_product(product, site); }
void warpgroup_commit(Site site) { machine->commit_products(site); }
void warpgroup_wait(int pending, const RegisterRange* registers, int count, Site site) {
  machine->wait_products(pending, registers, count, site);
}

}  // namespace koine::cuda::host
