// kernels/cuda/runtime.h on the CPU.

#include "kernels/cuda/runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/cuda/host/memory_guard.h"
#include "kernels/cuda/host/race_hooks.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {
namespace {

using Clock = std::chrono::steady_clock;

struct EventState {
  std::int64_t recorded = 0;  // how often record() was called
  std::int64_t reached = 0;   // the last of them that has run
  void* stream = nullptr;     // of the last record()
  Clock::time_point when;
};

struct Work {
  std::function<void()> run;
  std::shared_ptr<EventState> wait_for;  // runs when this has reached `until`
  std::int64_t until = 0;
};

/// A piece of a graph: work, or an event to be marked.
struct Recorded {
  std::function<void()> run;
  std::shared_ptr<EventState> event;
};

struct StreamState {
  std::deque<Work> queue;
  bool recording = false;
  std::vector<Recorded> recorded;
};

/// Pages of device memory: [fence][guard][what was asked for][guard][fence]. What was asked for begins on a
/// multiple of 256 and not on more.
struct Allocation {
  std::string name;
  char* pages = nullptr;  // the accessible ones
  std::size_t page_bytes = 0;
  char* data = nullptr;
  std::size_t bytes = 0;

  void fill_guards() const {
    host::fill_guard(pages, static_cast<std::size_t>(data - pages));
    host::fill_guard(data + bytes, static_cast<std::size_t>(pages + page_bytes - data) - bytes);
    host::make_unreadable(pages, static_cast<std::size_t>(data - pages));
    host::make_unreadable(data + bytes, static_cast<std::size_t>(pages + page_bytes - data) - bytes);
  }
  bool guards_intact() const {
    const auto before = std::min<std::size_t>(static_cast<std::size_t>(data - pages), kGuardBytes);
    return host::guard_intact(data - before, before) && host::guard_intact(data + bytes, kGuardBytes);
  }
  static constexpr std::size_t kGuardBytes = 256;
  static constexpr std::size_t kFenceBytes = 64 << 10;  // a multiple of any page size
};

/// Everything of the one device, behind one lock.
struct Machine {
  std::recursive_mutex mutex;
  StreamState default_stream;
  std::vector<StreamState*> streams;
  std::map<const void*, Allocation> memory;  // by what was handed out
  int open = 0;                              // depth of code that may touch it
  std::exception_ptr failure;                // of work that nobody waited for; the next who waits gets it
  Trace trace;
  std::uint64_t random = 0x2545F4914F6CDD1Du;

  static Machine& get() {
    static Machine* machine = new Machine;  // never destroyed: memory of statics is given back after main
    return *machine;
  }
};

StreamState& state_of(void* stream) {
  return stream == nullptr ? Machine::get().default_stream : *static_cast<StreamState*>(stream);
}

/// Lets device memory be touched while it lives.
class OpenMemory {
 public:
  OpenMemory() {
    if (Machine::get().open++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  ~OpenMemory() {
    if (--Machine::get().open == 0) protect(PROT_NONE);
  }
  OpenMemory(const OpenMemory&) = delete;
  OpenMemory& operator=(const OpenMemory&) = delete;

 private:
  static void protect(int how) {
    for (const auto& [data, allocation] : Machine::get().memory) mprotect(allocation.pages, allocation.page_bytes, how);
  }
};

bool ready(const StreamState& stream) {
  if (stream.queue.empty()) return false;
  const Work& next = stream.queue.front();
  return next.wait_for == nullptr || next.wait_for->reached >= next.until;
}

/// Runs one piece of work of any stream that can go on. False: there is none.
bool run_one() {
  Machine& machine = Machine::get();
  std::vector<StreamState*> able;
  for (StreamState* stream : machine.streams) {
    if (ready(*stream)) able.push_back(stream);
  }
  if (able.empty()) return false;
  machine.random ^= machine.random << 13;
  machine.random ^= machine.random >> 7;
  machine.random ^= machine.random << 17;
  StreamState* stream = able[machine.random % able.size()];
  const Work work = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (work.run) work.run();
  return true;
}

/// Somebody wrote between the allocations.
void check_guards() {
  for (auto& [data, allocation] : Machine::get().memory) {
    if (allocation.guards_intact()) continue;
    allocation.fill_guards();  // told once
    throw Error(concatenate("something wrote outside of the ", allocation.bytes, " bytes of device memory \"",
                            allocation.name, "\""));
  }
}

template <class Done>
void run_until(Done done) {
  const OpenMemory open;
  try {
    if (std::exception_ptr failure = std::exchange(Machine::get().failure, nullptr)) std::rethrow_exception(failure);
    while (!done()) check(run_one(), "streams wait for each other in vain");
    check_guards();
  } catch (...) {
    // As on a device: after a failure nothing that was asked for runs.
    for (StreamState* stream : Machine::get().streams) stream->queue.clear();
    throw;
  }
}

void drain_all() {
  run_until([] {
    for (const StreamState* stream : Machine::get().streams) {
      if (!stream->queue.empty()) return false;
    }
    return true;
  });
}

}  // namespace

namespace host {

void enqueue(void* stream, std::function<void()> work) {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  ++machine.trace.launches;
  StreamState& state = state_of(stream);
  if (state.recording) {
    state.recorded.push_back({std::move(work), nullptr});
  } else if (stream == nullptr) {
    // At once, and ordered with no other stream, as Streams are made.
    const OpenMemory open;
    work();
  } else {
    state.queue.push_back({std::move(work), nullptr, 0});
  }
}

}  // namespace host

namespace {
void enqueue_copy(void* stream, std::function<void()> work) {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  --machine.trace.launches;
  ++machine.trace.copies;
  host::enqueue(stream, std::move(work));
}
}  // namespace

bool on_host() { return true; }
int device_count() { return 1; }

DeviceProperties device_properties(int device) {
  check(device == 0, "there is no device ", device);
  DeviceProperties properties;
  properties.name = "host implementation of the CUDA kernels";
  properties.architecture = host::architecture();
  properties.multiprocessors = 4;  // few, so that kernels that go by their number are tested with work left over
  properties.memory_bytes =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  properties.cache_bytes = std::size_t{1} << 20;
  return properties;
}

void set_device(int device) { check(device == 0, "there is no device ", device); }

int current_device() { return 0; }

std::size_t free_memory() {
  return static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// --- memory ---

DeviceMemory::DeviceMemory(std::string name, std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t behind = (bytes + 255) / 256 * 256 + Allocation::kGuardBytes;
  Allocation allocation = {std::move(name), nullptr, (behind + page - 1) / page * page, nullptr, bytes};
  const std::size_t mapped = allocation.page_bytes + 2 * Allocation::kFenceBytes;
  void* mapping = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) {
    throw Error(concatenate("cannot allocate ", bytes, " bytes of device memory for ", allocation.name));
  }
  allocation.pages = static_cast<char*>(mapping) + Allocation::kFenceBytes;
  allocation.data = allocation.pages + allocation.page_bytes - behind;
  mprotect(allocation.pages, allocation.page_bytes, PROT_READ | PROT_WRITE);
  // NaN until written. Of very large memory only the beginning, so that what is not used costs nothing.
  constexpr std::size_t kMostPoisoned = std::size_t{256} << 20;
  std::memset(allocation.data, 0xff, std::min(bytes, kMostPoisoned));
  allocation.fill_guards();
  if (machine.open == 0) mprotect(allocation.pages, allocation.page_bytes, PROT_NONE);
  data_ = allocation.data;
  host::races::add_memory(allocation.name, data_, bytes);
  machine.memory[data_] = std::move(allocation);
  ++machine.trace.allocations;
  machine.trace.device_bytes += static_cast<std::int64_t>(bytes);
}

namespace {
/// Before memory goes: what is under way may use it. What goes wrong in it is for the next synchronize to tell.
void finish_quietly() {
  try {
    drain_all();
  } catch (const std::exception&) {
  }
}
}  // namespace

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  finish_quietly();
  machine.trace.device_bytes -= static_cast<std::int64_t>(bytes_);
  const auto found = machine.memory.find(data_);
  const Allocation& allocation = found->second;
  host::make_readable(allocation.pages, allocation.page_bytes);
  host::races::remove_memory(data_);
  munmap(allocation.pages - Allocation::kFenceBytes, allocation.page_bytes + 2 * Allocation::kFenceBytes);
  machine.memory.erase(found);
}

PinnedMemory::PinnedMemory(std::size_t bytes) : data_(bytes == 0 ? nullptr : ::operator new(bytes)), bytes_(bytes) {
  if (bytes == 0) return;
  std::memset(data_, 0xff, bytes);  // whoever reads results before they are there reads NaN
  const std::lock_guard lock(Machine::get().mutex);
  ++Machine::get().trace.allocations;
}
PinnedMemory::~PinnedMemory() {
  if (data_ == nullptr) return;
  {
    const std::lock_guard lock(Machine::get().mutex);
    finish_quietly();
  }
  ::operator delete(data_);
}

// --- streams and events ---

Stream::Stream() {
  auto* state = new StreamState;
  const std::lock_guard lock(Machine::get().mutex);
  Machine::get().streams.push_back(state);
  handle_ = state;
}

Stream::~Stream() {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  auto* state = static_cast<StreamState*>(handle_);
  try {
    if (!state->queue.empty()) run_until([&] { return state->queue.empty(); });
  } catch (...) {
    machine.failure = std::current_exception();
  }
  std::erase(machine.streams, state);
  delete state;
}

Event::Event() : handle_(new std::shared_ptr<EventState>(std::make_shared<EventState>())) {}
Event::~Event() { delete static_cast<std::shared_ptr<EventState>*>(handle_); }

namespace {
void mark(const std::shared_ptr<EventState>& state, void* stream) {
  const std::int64_t number = ++state->recorded;
  state->stream = stream;
  const auto reach = [state, number] {
    state->reached = number;
    state->when = Clock::now();
  };
  if (stream == nullptr) {
    reach();
  } else {
    state_of(stream).queue.push_back({reach, nullptr, 0});
  }
}
}  // namespace

void Event::record(void* stream) {
  const std::lock_guard lock(Machine::get().mutex);
  const auto& event = *static_cast<std::shared_ptr<EventState>*>(handle_);
  if (state_of(stream).recording) {
    state_of(stream).recorded.push_back({nullptr, event});
  } else {
    mark(event, stream);
  }
}

void Event::wait_on(void* stream) const {
  const std::lock_guard lock(Machine::get().mutex);
  check(!state_of(stream).recording, "recorded work does not wait for events");
  const auto state = *static_cast<std::shared_ptr<EventState>*>(handle_);
  if (stream == nullptr) {
    run_until([&] { return state->reached >= state->recorded; });
  } else {
    state_of(stream).queue.push_back({nullptr, state, state->recorded});
  }
}

void Event::synchronize() const {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  ++machine.trace.synchronizations;
  const EventState& state = **static_cast<std::shared_ptr<EventState>*>(handle_);
  run_until([&] { return state.reached >= state.recorded; });
}

bool Event::passed() const {
  const std::lock_guard lock(Machine::get().mutex);
  const EventState& state = **static_cast<std::shared_ptr<EventState>*>(handle_);
  const bool passed = state.reached >= state.recorded;
  if (!passed) {  // who asks again and again sees it come
    int pieces = 1;
    run_until([&] { return pieces-- == 0; });
  }
  return passed;
}

double Event::milliseconds(const Event& begin, const Event& end) {
  const std::lock_guard lock(Machine::get().mutex);
  const auto& first = **static_cast<std::shared_ptr<EventState>*>(begin.handle_);
  const auto& last = **static_cast<std::shared_ptr<EventState>*>(end.handle_);
  check(first.recorded > 0 && last.recorded > 0 && first.reached == first.recorded && last.reached == last.recorded,
        "only events that have passed can be timed");
  return std::chrono::duration<double, std::milli>(last.when - first.when).count();
}

// --- graphs ---

Graph::~Graph() { delete static_cast<std::vector<Recorded>*>(handle_); }

void Graph::begin_recording(void* stream) {
  const std::lock_guard lock(Machine::get().mutex);
  check(stream != nullptr, "the default stream cannot be recorded");
  StreamState& state = state_of(stream);
  check(!state.recording, "the stream is being recorded already");
  state.recording = true;
  state.recorded.clear();
}

Graph Graph::end_recording(void* stream) {
  const std::lock_guard lock(Machine::get().mutex);
  StreamState& state = state_of(stream);
  check(state.recording, "the stream is not being recorded");
  state.recording = false;
  Graph graph;
  graph.handle_ = new std::vector<Recorded>(std::move(state.recorded));
  state.recorded.clear();
  return graph;
}

void Graph::abandon_recording(void* stream) noexcept {
  const std::lock_guard lock(Machine::get().mutex);
  state_of(stream).recording = false;
  state_of(stream).recorded.clear();
}

void Graph::launch(void* stream) const {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  ++machine.trace.graph_launches;
  check(handle_ != nullptr && stream != nullptr, "there is no graph to launch");
  check(!state_of(stream).recording, "graphs are not recorded into graphs");
  for (const Recorded& piece : *static_cast<std::vector<Recorded>*>(handle_)) {
    if (piece.event != nullptr) {
      mark(piece.event, stream);
    } else {
      state_of(stream).queue.push_back({piece.run, nullptr, 0});
    }
  }
}

// --- copies ---

namespace {
void copy(void* to, const void* from, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  enqueue_copy(stream, [=] { std::memmove(to, from, bytes); });
}
}  // namespace

void copy_to_device(void* device, const void* host, std::size_t bytes, void* stream) { copy(device, host, bytes, stream); }
void copy_to_host(void* host, const void* device, std::size_t bytes, void* stream) { copy(host, device, bytes, stream); }
void copy_on_device(void* to, const void* from, std::size_t bytes, void* stream) { copy(to, from, bytes, stream); }
void fill_with_zero(void* device, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  enqueue_copy(stream, [=] { std::memset(device, 0, bytes); });
}

void synchronize(void* stream) {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  ++machine.trace.synchronizations;
  StreamState& state = state_of(stream);
  check(!state.recording, "a stream that is being recorded cannot be waited for");
  run_until([&] { return state.queue.empty(); });
}

void synchronize_device() {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  ++machine.trace.synchronizations;
  drain_all();
}

Trace trace() {
  const std::lock_guard lock(Machine::get().mutex);
  return Machine::get().trace;
}

}  // namespace koine::cuda
