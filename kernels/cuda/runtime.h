#pragma once

// The device as the host sees it: memory, streams, events, graphs. One implementation speaks to CUDA (device/), one runs
// everything on the CPU (host/); a build has one of them.
//
// The host implementation keeps CUDA's promises and no more: work on a stream waits until something makes it run, streams
// that no event orders run in any order, device memory cannot be touched by host code (the program stops), a graph replays
// the arguments it recorded. So what works by luck on a GPU fails here.
//
// Errors: Error with what was asked for and what CUDA said.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace koine::cuda {

/// Whether this build runs kernels on the CPU for testing, instead of on a device.
bool on_host();

struct DeviceProperties {
  std::string name;
  int architecture = 0;  ///< compute capability times ten
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t cache_bytes = 0;  ///< L2
  int driver_version = 0;       ///< as CUDA counts: 13000 is 13.0
};

/// Devices that are there; 0 without a driver. The host implementation is one device.
int device_count();
DeviceProperties device_properties(int device);
/// The calling thread works with this device from now on. Every thread begins with device 0.
void set_device(int device);
int current_device();
/// Bytes of the device's memory that nobody has taken.
std::size_t free_memory();

/// Memory of the device, on a multiple of 256 bytes. Giving it back waits for the device, which may still use it.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(std::string name, std::size_t bytes);
  ~DeviceMemory();
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Host memory the device can copy from and to while the host goes on. Giving it back waits for the device.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  explicit PinnedMemory(std::size_t bytes);
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// A queue of work of the device. Passed to operations as Context::stream.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

/// A place in a stream, to wait for.
class Event {
 public:
  Event();
  ~Event();
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;

  /// Marks what is in the stream now. Where the stream is being recorded, every launch of the graph marks the event anew,
  /// for streams outside of it; the event is to stay as long as the graph.
  void record(void* stream);
  /// What comes into `stream` after this runs when the mark is passed. An event never recorded is passed.
  void wait_on(void* stream) const;
  /// The calling thread waits.
  void synchronize() const;
  bool passed() const;
  /// Milliseconds between two passed events.
  static double milliseconds(const Event& begin, const Event& end);

 private:
  void* handle_ = nullptr;
};

/// Work recorded from one stream, to be run again with one call.
class Graph {
 public:
  Graph() = default;
  ~Graph();
  Graph(Graph&& other) noexcept;
  Graph& operator=(Graph&& other) noexcept;

  /// Between these two, work put into `stream` is recorded and not run.
  static void begin_recording(void* stream);
  static Graph end_recording(void* stream);
  /// Ends a recording that failed; throws nothing.
  static void abandon_recording(void* stream) noexcept;

  bool empty() const { return handle_ == nullptr; }
  void launch(void* stream) const;

 private:
  void* handle_ = nullptr;
};

// All of these put work into a stream and return; the memory is to stay until it has run. The default stream (null) is
// ordered with no Stream: whoever mixes them waits in between.
void copy_to_device(void* device, const void* host, std::size_t bytes, void* stream);
void copy_to_host(void* host, const void* device, std::size_t bytes, void* stream);
void copy_on_device(void* to, const void* from, std::size_t bytes, void* stream);
void fill_with_zero(void* device, std::size_t bytes, void* stream);
/// The calling thread waits until everything in the stream has run; throws what went wrong in it.
void synchronize(void* stream);
/// The calling thread waits for all streams. For the start and the end of things, and for errors; never in a step.
void synchronize_device();

/// What this process has asked of the device so far, for tests that promise "nothing in a step waits or allocates".
struct Trace {
  std::int64_t allocations = 0;
  std::int64_t synchronizations = 0;  ///< of streams and events
  std::int64_t launches = 0;          ///< of kernels, those recorded into a graph included
  std::int64_t graph_launches = 0;
  std::int64_t copies = 0;
  std::int64_t device_bytes = 0;  ///< of DeviceMemory that is alive now
};
Trace trace();

}  // namespace koine::cuda
