// kernels/cuda/runtime.h on the CPU.

#include "kernels/cuda/runtime.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/common/check.h"
#include "kernels/cuda/host/memory_guard.h"
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

struct StreamState {
  std::deque<Work> queue;
  bool recording = false;
  std::vector<std::function<void()>> recorded;
};

/// Everything of the one device, behind one lock.
struct Machine {
  std::recursive_mutex mutex;
  StreamState default_stream;
  std::vector<StreamState*> streams;
  std::map<std::uintptr_t, std::size_t> memory;  // start and bytes of what was allocated
  int open = 0;                                  // depth of code that may touch it
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
    for (const auto& [start, bytes] : Machine::get().memory) mprotect(reinterpret_cast<void*>(start), bytes, how);
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

template <class Done>
void run_until(Done done) {
  const OpenMemory open;
  try {
    while (!done()) check(run_one(), "streams wait for each other in vain");
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
    state.recorded.push_back(std::move(work));
  } else if (stream == nullptr) {
    // The default stream waits for all others and they for it.
    drain_all();
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
  properties.architecture = 80;
  properties.multiprocessors = 4;  // few, so that kernels that go by their number are tested with work left over
  properties.memory_bytes =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  properties.cache_bytes = std::size_t{1} << 20;
  return properties;
}

void set_device(int device) { check(device == 0, "there is no device ", device); }

std::size_t free_memory() {
  return static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// --- memory
// --------------------------------------------------------------------------------------------------------------------

DeviceMemory::DeviceMemory(std::string name, std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  const int access = machine.open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE;
  data_ = mmap(nullptr, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data_ == MAP_FAILED) {
    data_ = nullptr;
    throw Error(concatenate("cannot allocate ", bytes, " bytes of device memory for ", name));
  }
  machine.memory[reinterpret_cast<std::uintptr_t>(data_)] = bytes;
  ++machine.trace.allocations;
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  host::make_readable(data_, bytes_);
  machine.memory.erase(reinterpret_cast<std::uintptr_t>(data_));
  munmap(data_, bytes_);
}

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedMemory::PinnedMemory(std::size_t bytes) : data_(bytes == 0 ? nullptr : ::operator new(bytes)), bytes_(bytes) {
  ++Machine::get().trace.allocations;
}
PinnedMemory::~PinnedMemory() { ::operator delete(data_); }
PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

// --- streams and events
// ---------------------------------------------------------------------------------------------------------

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
  } catch (const std::exception&) {
    // Whoever wanted to know has called synchronize().
  }
  std::erase(machine.streams, state);
  delete state;
}

Event::Event() : handle_(new std::shared_ptr<EventState>(std::make_shared<EventState>())) {}
Event::~Event() { delete static_cast<std::shared_ptr<EventState>*>(handle_); }
Event::Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
Event& Event::operator=(Event&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

void Event::record(void* stream) {
  Machine& machine = Machine::get();
  const std::lock_guard lock(machine.mutex);
  check(!state_of(stream).recording, "events are not recorded into graphs");
  const auto state = *static_cast<std::shared_ptr<EventState>*>(handle_);
  const std::int64_t number = ++state->recorded;
  state->stream = stream;
  const auto reach = [state, number] {
    state->reached = number;
    state->when = Clock::now();
  };
  if (stream == nullptr) {
    drain_all();
    reach();
  } else {
    state_of(stream).queue.push_back({reach, nullptr, 0});
  }
}

void Event::wait_on(void* stream) const {
  const std::lock_guard lock(Machine::get().mutex);
  const auto state = *static_cast<std::shared_ptr<EventState>*>(handle_);
  if (stream == nullptr) {
    drain_all();
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
  return state.reached >= state.recorded;
}

double Event::milliseconds(const Event& begin, const Event& end) {
  const auto& first = **static_cast<std::shared_ptr<EventState>*>(begin.handle_);
  const auto& last = **static_cast<std::shared_ptr<EventState>*>(end.handle_);
  return std::chrono::duration<double, std::milli>(last.when - first.when).count();
}

// --- graphs
// -----------------------------------------------------------------------------------------------------------------------

Graph::~Graph() { delete static_cast<std::vector<std::function<void()>>*>(handle_); }
Graph::Graph(Graph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
Graph& Graph::operator=(Graph&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

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
  graph.handle_ = new std::vector<std::function<void()>>(std::move(state.recorded));
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
  for (const auto& work : *static_cast<std::vector<std::function<void()>>*>(handle_)) {
    state_of(stream).queue.push_back({work, nullptr, 0});
  }
}

// --- copies
// -----------------------------------------------------------------------------------------------------------------------

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
  if (stream == nullptr) {
    drain_all();
  } else {
    run_until([&] { return state.queue.empty(); });
  }
}

Trace trace() {
  const std::lock_guard lock(Machine::get().mutex);
  return Machine::get().trace;
}

}  // namespace koine::cuda
