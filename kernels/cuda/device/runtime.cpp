// kernels/cuda/runtime.h on CUDA.

#include "kernels/cuda/runtime.h"

#include <cuda_runtime_api.h>

#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "kernels/common/check.h"
#include "kernels/cuda/launch.h"

namespace koine::cuda {

namespace device {
void launch(const Launch& launch, const void* function, void** arguments);
}  // namespace device

namespace {

std::atomic<std::int64_t> allocations{0};
std::atomic<std::int64_t> synchronizations{0};
std::atomic<std::int64_t> launches{0};
std::atomic<std::int64_t> graph_launches{0};
std::atomic<std::int64_t> copies{0};
std::atomic<std::int64_t> device_bytes{0};

template <class... Parts>
void require_success(cudaError_t status, Message what, const Parts&... parts) {
  if (status == cudaSuccess) return;
  check(
      false,
      concatenate("CUDA: ", cudaGetErrorName(status), ", ", cudaGetErrorString(status), ": ", what.text, parts...).c_str());
}

cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(void* event) { return static_cast<cudaEvent_t>(event); }

/// Beyond 48 KiB a kernel has to be allowed its shared memory, once.
void allow_shared_memory(const Launch& launch, const void* function) {
  constexpr std::size_t kAlwaysAllowed = 48 << 10;
  if (launch.shared_bytes <= kAlwaysAllowed) return;
  static std::mutex mutex;
  static std::map<const void*, std::size_t> allowed;
  const std::lock_guard lock(mutex);
  std::size_t& bytes = allowed[function];
  if (bytes >= launch.shared_bytes) return;
  require_success(
      cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(launch.shared_bytes)),
      "asking for shared memory of ", describe(launch));
  bytes = launch.shared_bytes;
}

}  // namespace

void device::launch(const Launch& launch, const void* function, void** arguments) {
  allow_shared_memory(launch, function);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(launch.grid.x, launch.grid.y, launch.grid.z);
  config.blockDim = dim3(static_cast<unsigned>(launch.threads));
  config.dynamicSmemBytes = launch.shared_bytes;
  config.stream = stream_of(launch.stream);
  cudaLaunchAttribute attributes[2] = {};
  config.attrs = attributes;
  if (has_clusters(launch)) {
    cudaLaunchAttribute& cluster = attributes[config.numAttrs++];
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim = {launch.cluster.x, launch.cluster.y, launch.cluster.z};
  }
  if (launch.overlap) {
    cudaLaunchAttribute& overlap = attributes[config.numAttrs++];
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
  }
  // Only what fails is described: that takes longer than the launch.
  const cudaError_t status = cudaLaunchKernelExC(&config, function, arguments);
  if (status != cudaSuccess) require_success(status, "launching ", describe(launch));
  ++launches;
#if !defined(NDEBUG)
  cudaStreamCaptureStatus recording = cudaStreamCaptureStatusNone;
  require_success(cudaStreamIsCapturing(stream_of(launch.stream), &recording), "asking for a recording");
  if (recording == cudaStreamCaptureStatusNone) {
    require_success(cudaStreamSynchronize(stream_of(launch.stream)), "running ", describe(launch));
  }
#endif
}

bool on_host() { return false; }

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

DeviceProperties device_properties(int device) {
  cudaDeviceProp found = {};
  require_success(cudaGetDeviceProperties(&found, device), "asking for the properties of device ", device);
  DeviceProperties properties;
  properties.name = found.name;
  properties.architecture = 10 * found.major + found.minor;
  properties.multiprocessors = found.multiProcessorCount;
  properties.memory_bytes = found.totalGlobalMem;
  properties.cache_bytes = static_cast<std::size_t>(found.l2CacheSize);
  require_success(cudaDriverGetVersion(&properties.driver_version), "asking for the driver's version");
  return properties;
}

void set_device(int device) { require_success(cudaSetDevice(device), "choosing device ", device); }

int current_device() {
  int device = 0;
  require_success(cudaGetDevice(&device), "asking for the thread's device");
  return device;
}

std::size_t free_memory() {
  std::size_t free_bytes = 0;
  std::size_t all_bytes = 0;
  require_success(cudaMemGetInfo(&free_bytes, &all_bytes), "asking for free memory");
  return free_bytes;
}

DeviceMemory::DeviceMemory(std::string name, std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  const cudaError_t status = cudaMalloc(&data_, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(concatenate("the device has not enough memory for ", name, ": ", bytes, " bytes asked for, ", free_memory(),
                            " free; take smaller batches (max_tokens_per_batch) or a smaller model"));
  }
  require_success(status, "allocating ", bytes, " bytes for ", name);
  ++allocations;
  device_bytes += static_cast<std::int64_t>(bytes);
}

DeviceMemory::~DeviceMemory() {
  if (data_ == nullptr) return;
  cudaDeviceSynchronize();
  cudaFree(data_);
  device_bytes -= static_cast<std::int64_t>(bytes_);
}

PinnedMemory::PinnedMemory(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  require_success(cudaMallocHost(&data_, bytes), "allocating ", bytes, " bytes of pinned memory");
  ++allocations;
}
PinnedMemory::~PinnedMemory() {
  if (data_ == nullptr) return;
  cudaDeviceSynchronize();
  cudaFreeHost(data_);
}

Stream::Stream() {
  cudaStream_t stream = nullptr;
  require_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  handle_ = stream;
}
Stream::~Stream() { cudaStreamDestroy(stream_of(handle_)); }

Event::Event() {
  cudaEvent_t event = nullptr;
  require_success(cudaEventCreate(&event), "making an event");
  handle_ = event;
}
Event::~Event() {
  if (handle_ != nullptr) cudaEventDestroy(event_of(handle_));
}
void Event::record(void* stream) {
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  if (stream != nullptr) require_success(cudaStreamIsCapturing(stream_of(stream), &capture), "asking for a recording");
  const unsigned flags = capture == cudaStreamCaptureStatusNone ? cudaEventRecordDefault : cudaEventRecordExternal;
  require_success(cudaEventRecordWithFlags(event_of(handle_), stream_of(stream), flags), "recording an event");
}
void Event::wait_on(void* stream) const {
  require_success(cudaStreamWaitEvent(stream_of(stream), event_of(handle_), 0), "letting a stream wait for an event");
}
void Event::synchronize() const {
  ++synchronizations;
  require_success(cudaEventSynchronize(event_of(handle_)), "waiting for an event");
}
bool Event::passed() const {
  const cudaError_t status = cudaEventQuery(event_of(handle_));
  if (status == cudaErrorNotReady) return false;
  require_success(status, "asking for an event");
  return true;
}
double Event::milliseconds(const Event& begin, const Event& end) {
  float result = 0;
  require_success(cudaEventElapsedTime(&result, event_of(begin.handle_), event_of(end.handle_)), "timing two events");
  return result;
}

Graph::~Graph() {
  if (handle_ != nullptr) cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(handle_));
}
void Graph::begin_recording(void* stream) {
  require_success(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
                  "beginning to record a graph");
}
Graph Graph::end_recording(void* stream) {
  cudaGraph_t recorded = nullptr;
  require_success(cudaStreamEndCapture(stream_of(stream), &recorded), "recording a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, recorded, 0);
  cudaGraphDestroy(recorded);
  require_success(status, "making a recorded graph executable");
  Graph graph;
  graph.handle_ = executable;
  return graph;
}
void Graph::abandon_recording(void* stream) noexcept {
  cudaGraph_t recorded = nullptr;
  if (cudaStreamEndCapture(stream_of(stream), &recorded) == cudaSuccess && recorded != nullptr) cudaGraphDestroy(recorded);
  cudaGetLastError();
}
void Graph::launch(void* stream) const {
  ++graph_launches;
  require_success(cudaGraphLaunch(static_cast<cudaGraphExec_t>(handle_), stream_of(stream)), "launching a graph");
}

namespace {
void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, void* stream) {
  if (bytes == 0) return;
  ++copies;
  require_success(cudaMemcpyAsync(to, from, bytes, kind, stream_of(stream)), "copying ", bytes, " bytes");
}
}  // namespace

void copy_to_device(void* device, const void* host, std::size_t bytes, void* stream) {
  copy(device, host, bytes, cudaMemcpyHostToDevice, stream);
}
void copy_to_host(void* host, const void* device, std::size_t bytes, void* stream) {
  copy(host, device, bytes, cudaMemcpyDeviceToHost, stream);
}
void copy_on_device(void* to, const void* from, std::size_t bytes, void* stream) {
  copy(to, from, bytes, cudaMemcpyDeviceToDevice, stream);
}
void fill_with_zero(void* device, std::size_t bytes, void* stream) {
  if (bytes == 0) return;
  ++copies;
  require_success(cudaMemsetAsync(device, 0, bytes, stream_of(stream)), "filling ", bytes, " bytes with zero");
}

void synchronize(void* stream) {
  ++synchronizations;
  require_success(cudaStreamSynchronize(stream_of(stream)), "waiting for a stream");
}

void synchronize_device() {
  ++synchronizations;
  require_success(cudaDeviceSynchronize(), "waiting for the device");
}

Trace trace() { return {allocations, synchronizations, launches, graph_launches, copies, device_bytes}; }

}  // namespace koine::cuda
