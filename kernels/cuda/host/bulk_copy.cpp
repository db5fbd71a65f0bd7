// Tensor and bulk copies (kernels/cuda/hopper/bulk_copy.h). The destination of a load is NaN from the moment it is asked
// for; it lands when the order of the schedule says so, or when nothing else can go on. A store reads when its thread waits
// for that, at the latest, and writes when its thread waits for that or the cluster has ended.

#include "kernels/cuda/hopper/bulk_copy.h"

#include <algorithm>
#include <cstring>

#include "kernels/common/check.h"
#include "kernels/cuda/host/machine.h"
#include "kernels/cuda/host/tensor_map.h"

namespace koine::cuda::host {
namespace {

constexpr std::uint32_t kLineAlignment = 128;
constexpr std::uint32_t kChunk = 16;

/// Of every how many turns of the scheduler one lets a copy go on, by the schedule's seed. 0: only where nothing else can.
constexpr std::size_t kPatience[] = {0, 1, 4, 32, 0, 200};

std::string name_of(const Transfer& transfer) {
  const char* const kinds[] = {"load", "store", "copy to a block"};
  return concatenate("the ", transfer.tensor ? "tensor " : "bulk ", kinds[static_cast<int>(transfer.kind)], " of ",
                     transfer.site.file, ":", transfer.site.line);
}

}  // namespace

// --- when ---

void Machine::run_transfers_at_random() {
  const std::size_t patience = order_ == nullptr ? 0 : kPatience[seed_ % std::size(kPatience)];
  if (patience != 0 && order_->below(patience) == 0) run_one_transfer(order_->below(transfers_.size()));
  while (ready_.empty() && !transfers_.empty()) {
    run_one_transfer(order_ == nullptr ? 0 : order_->below(transfers_.size()));
  }
}

void Machine::run_one_transfer(std::size_t number) {
  Transfer& transfer = *transfers_[number];
  if (transfer.kind == Transfer::Kind::kStore) {
    if (!transfer.read) return read_store(transfer);
    write_store(transfer);
  } else {
    deliver(transfer);
  }
  transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(number));
}

// --- what ---

/// Moves a box between its tensor and shared memory.
void Machine::fill_box(const Transfer& transfer, bool from_tensor) {
  const TensorLayout& layout = *layout_of(transfer.map);
  const auto element = static_cast<std::int64_t>(size_of(layout.type));
  const std::int64_t line_bytes = layout.box[0] * element;
  const std::int64_t first = transfer.at.c[0];
  const std::int64_t begin = std::clamp<std::int64_t>(-first, 0, layout.box[0]);
  const std::int64_t end = std::clamp<std::int64_t>(layout.extent[0] - first, begin, layout.box[0]);
  row_.resize(static_cast<std::size_t>(line_bytes));
  const int planes = layout.dimensions == 3 ? layout.box[2] : 1;
  for (std::int64_t line = 0; line < std::int64_t{planes} * layout.box[1]; ++line) {
    const std::int64_t index[2] = {transfer.at.c[1] + line % layout.box[1], transfer.at.c[2] + line / layout.box[1]};
    bool inside = begin < end && index[0] >= 0 && index[0] < layout.extent[1];
    std::int64_t offset = index[0] * layout.stride_bytes[1] + (first + begin) * element;
    if (layout.dimensions == 3) {
      inside = inside && index[1] >= 0 && index[1] < layout.extent[2];
      offset += index[1] * layout.stride_bytes[2];
    }
    const auto bytes = static_cast<std::size_t>((end - begin) * element);
    // Reckoned with numbers: outside of the tensor there is no address.
    auto* const global =
        reinterpret_cast<char*>(reinterpret_cast<std::uintptr_t>(layout.data) + static_cast<std::uintptr_t>(offset));
    unsigned char* const part = row_.data() + begin * element;
    if (from_tensor) {
      std::fill(row_.begin(), row_.end(), static_cast<unsigned char>(0));
      if (inside) {
        races::async_read(transfer.read_clock, global, bytes, transfer.place);
        std::memcpy(part, global, bytes);
      }
    }
    for (std::int64_t chunk = 0; chunk < line_bytes; chunk += kChunk) {
      const auto linear = transfer.offset + static_cast<std::uint32_t>(line * line_bytes + chunk);
      char* const shared = address_of(transfer.rank, swizzled(linear, layout.swizzle));
      if (from_tensor) {
        std::memcpy(shared, row_.data() + chunk, kChunk);
      } else {
        std::memcpy(row_.data() + chunk, shared, kChunk);
      }
    }
    if (!from_tensor && inside) {
      races::async_write(transfer.write, global, bytes, transfer.place);
      std::memcpy(global, part, bytes);
    }
  }
}

void Machine::deliver(Transfer& transfer) {
  if (transfer.tensor) {
    fill_box(transfer, true);
  } else if (transfer.kind == Transfer::Kind::kLoad) {
    races::async_read(transfer.read_clock, transfer.from, transfer.bytes, transfer.place);
    std::memcpy(address_of(transfer.rank, transfer.offset), transfer.from, transfer.bytes);
  } else {
    std::memcpy(address_of(transfer.rank, transfer.offset), transfer.from, transfer.bytes);
  }
  land(transfer);
}

/// A store has read its box: kept until it is written.
void Machine::read_store(Transfer& transfer) {
  const char* const from = address_of(transfer.rank, transfer.offset);
  transfer.data.assign(from, from + transfer.bytes);
  transfer.read = true;
}

void Machine::write_store(Transfer& transfer) {
  if (!transfer.tensor) {
    races::async_write(transfer.write, transfer.to, transfer.bytes, transfer.place);
    std::memcpy(transfer.to, transfer.data.data(), transfer.bytes);
    return;
  }
  // Through shared memory's addresses, where the swizzle is reckoned, and back to what may lie there by now.
  char* const place = address_of(transfer.rank, transfer.offset);
  const std::vector<unsigned char> after(place, place + transfer.bytes);
  std::memcpy(place, transfer.data.data(), transfer.bytes);
  fill_box(transfer, false);
  std::memcpy(place, after.data(), after.size());
}

void Machine::finish_stores() {
  while (!transfers_.empty()) run_one_transfer(0);
}

// --- asking for it ---

void Machine::check_shared_range(std::uint32_t offset, std::size_t bytes, const char* what) {
  if (offset - window_ + bytes > shape_.shared_bytes) {
    fail(concatenate(what, " goes outside of the block's ", shape_.shared_bytes, " bytes of shared memory: ", bytes,
                     " bytes at byte ", offset - window_));
  }
}

static void check_device() {
  if (architecture() >= 90) return;
  fail(concatenate("bulk copies need compute capability 9.0, this device has ", architecture() / 10, ".",
                   architecture() % 10));
}

/// Checks a tensor copy's map and place; its bytes.
static std::uint32_t checked_box(const Transfer& transfer, const void* shared) {
  const TensorLayout* const layout = layout_of(transfer.map);
  if (layout == nullptr) fail("a tensor copy's map was not made by make_tensor_map()");
  if (layout->dimensions != transfer.at.dimensions) {
    fail(concatenate("a copy in ", transfer.at.dimensions, " dimensions of a tensor of ", layout->dimensions));
  }
  if (reinterpret_cast<std::uintptr_t>(shared) % kLineAlignment != 0) fail_misaligned(shared, kLineAlignment);
  return static_cast<std::uint32_t>(box_bytes(*layout));
}

static void check_bulk(const void* first, const void* second, int bytes) {
  check_aligned(first, kChunk);
  check_aligned(second, kChunk);
  if (bytes <= 0 || bytes % static_cast<int>(kChunk) != 0)
    fail(concatenate("a bulk copy moves a multiple of 16 bytes, not ", bytes));
}

void Machine::start_load(void* to, Transfer& transfer, void* barrier, int blocks) {
  Thread& self = current();
  self.site = transfer.site;
  check_device();
  if (shape_.overlap && !self.waited_for_dependency) fail("a copy is asked for before dependency_wait()");
  if (transfer.tensor) {
    transfer.bytes = checked_box(transfer, to);
  } else {
    check_bulk(to, transfer.from, static_cast<int>(transfer.bytes));
  }
  transfer.thread = current_;
  transfer.offset = offset_of(to, 0);
  check_shared_range(transfer.offset, transfer.bytes, "a copy to shared memory");
  transfer.barrier = offset_of(barrier, sizeof(std::uint64_t));
  const unsigned all = (1u << cluster_blocks_) - 1;
  if (blocks != kThisBlock && (blocks == 0 || (static_cast<unsigned>(blocks) & ~all) != 0)) {
    fail(concatenate("a multicast to blocks ", blocks, " (by bits) of a cluster of ", cluster_blocks_));
  }
  const unsigned to_blocks = blocks == kThisBlock ? 1u << rank() : static_cast<unsigned>(blocks);
  for (unsigned r = 0; r < cluster_blocks_; ++r) {
    if ((to_blocks >> r & 1) == 0) continue;
    void* const there = r == rank() ? to : in_block(to, r, transfer.bytes);
    barrier_at(r, transfer.barrier);
    transfer.rank = r;
    transfer.write = races::begin_async_at(r, transfer.barrier);
    transfer.read_clock = transfer.write;
    races::async_write(transfer.write, there, transfer.bytes, transfer.place);
    std::memset(there, kPoison, transfer.bytes);
    transfers_.push_back(std::make_unique<Transfer>(transfer));
  }
}

void Machine::start_copy_to_block(void* to, const void* from, Transfer& transfer, void* barrier, unsigned rank) {
  current().site = transfer.site;
  check_bulk(to, from, static_cast<int>(transfer.bytes));
  offset_of(from, transfer.bytes);
  transfer.thread = current_;
  transfer.offset = offset_of(to, transfer.bytes);
  transfer.barrier = offset_of(barrier, sizeof(std::uint64_t));
  void* const there = in_block(to, rank, transfer.bytes);
  barrier_at(rank, transfer.barrier);
  transfer.rank = rank;
  transfer.from = from;
  transfer.write = races::begin_async_at(rank, transfer.barrier);
  transfer.read_clock = transfer.write;
  races::async_read_shared(transfer.read_clock, from, transfer.bytes, transfer.place);
  races::async_write(transfer.write, there, transfer.bytes, transfer.place);
  std::memset(there, kPoison, transfer.bytes);
  transfers_.push_back(std::make_unique<Transfer>(transfer));
}

void Machine::start_store(const void* from, Transfer& transfer) {
  Thread& self = current();
  self.site = transfer.site;
  check_device();
  if (shape_.overlap && !self.waited_for_dependency) fail("a copy is asked for before dependency_wait()");
  if (transfer.tensor) {
    transfer.bytes = checked_box(transfer, from);
  } else {
    check_bulk(from, transfer.to, static_cast<int>(transfer.bytes));
  }
  transfer.kind = Transfer::Kind::kStore;
  transfer.thread = current_;
  transfer.rank = rank();
  transfer.offset = offset_of(from, 0);
  check_shared_range(transfer.offset, transfer.bytes, "a copy from shared memory");
  transfer.group = self.store_groups;
  transfer.read_clock = races::begin_async_store(false);
  transfer.write = races::begin_async_store(true);
  races::async_read_shared(transfer.read_clock, from, transfer.bytes, transfer.place);
  self.store_open = true;
  if (races::kDetects) self.stores.push_back({transfer.group, transfer.read_clock, transfer.write});
  transfers_.push_back(std::make_unique<Transfer>(transfer));
}

void Machine::commit_stores() {
  ++current().store_groups;
  current().store_open = false;
}

void Machine::wait_stores(int pending, bool written) {
  const std::int64_t end = current().store_groups - pending;
  for (std::size_t i = 0; i < transfers_.size();) {
    Transfer& transfer = *transfers_[i];
    const bool mine = transfer.kind == Transfer::Kind::kStore && transfer.thread == current_ && transfer.group < end;
    if (mine && !transfer.read) read_store(transfer);
    if (mine && written) write_store(transfer);
    if (mine && written) {
      transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  for (const StoreClocks& clocks : current().stores) {
    if (clocks.group >= end) break;
    races::acquire_async(clocks.read);
    if (written) races::acquire_async(clocks.write);
  }
}

// --- what is left ---

std::string Machine::check_transfers_of_thread() {
  for (const auto& transfer : transfers_) {
    if (transfer->thread != current_ || transfer->kind != Transfer::Kind::kStore || transfer->read) continue;
    return concatenate("a thread leaves while ", name_of(*transfer), " may still read shared memory: bulk_wait_read()");
  }
  if (current().store_open) return "a thread leaves with bulk stores it has not committed";
  return {};
}

std::string Machine::check_transfers_of_block(unsigned rank) const {
  for (const auto& transfer : transfers_) {
    if (transfer->kind == Transfer::Kind::kStore || transfer->rank != rank) continue;
    return concatenate(block_name(rank), " leaves while ", name_of(*transfer), " writes to its shared memory");
  }
  for (const auto& [offset, barrier] : blocks_[rank].barriers) {
    if (barrier.bytes != 0) {
      return concatenate(block_name(rank), " leaves while bytes are to come: ", name_of_barrier(offset, barrier));
    }
  }
  return {};
}

// --- what the header calls ---

void prefetch_tensor_map(const TensorMap& map) {
  if (layout_of(map) == nullptr) fail("a tensor map to be prefetched was not made by make_tensor_map()");
}
void tensor_load(void* to, const TensorMap& map, Coordinates at, void* barrier, int blocks, Site site) {
  Transfer transfer;
  transfer.tensor = true;
  transfer.site = site;
  transfer.place = __builtin_return_address(0);
  transfer.map = map;
  transfer.at = at;
  machine->start_load(to, transfer, barrier, blocks);
}
void tensor_store(const TensorMap& map, const void* from, Coordinates at, Site site) {
  Transfer transfer;
  transfer.tensor = true;
  transfer.site = site;
  transfer.place = __builtin_return_address(0);
  transfer.map = map;
  transfer.at = at;
  machine->start_store(from, transfer);
}
void bulk_load(void* to, const void* from, int bytes, void* barrier, Site site) {
  Transfer transfer;
  transfer.site = site;
  transfer.place = __builtin_return_address(0);
  transfer.from = from;
  transfer.bytes = static_cast<std::uint32_t>(bytes);
  machine->start_load(to, transfer, barrier, kThisBlock);
}
void bulk_store(void* to, const void* from, int bytes, Site site) {
  Transfer transfer;
  transfer.site = site;
  transfer.place = __builtin_return_address(0);
  transfer.to = to;
  transfer.bytes = static_cast<std::uint32_t>(bytes);
  machine->start_store(from, transfer);
}
void bulk_copy_to_block(void* to, const void* from, int bytes, void* barrier, unsigned rank, Site site) {
  Transfer transfer;
  transfer.kind = Transfer::Kind::kToBlock;
  transfer.site = site;
  transfer.place = __builtin_return_address(0);
  transfer.bytes = static_cast<std::uint32_t>(bytes);
  machine->start_copy_to_block(to, from, transfer, barrier, rank);
}
void bulk_commit() { machine->commit_stores(); }
void bulk_wait(int pending, bool written, Site site) {
  machine->current().site = site;
  machine->wait_stores(pending, written);
}

}  // namespace koine::cuda::host
