#pragma once

// CPU threads. One pool per process, sized once by the tool; a kernel splits its work into tasks whose number and borders
// depend on the shapes only, never on the number of threads, and each task writes its own outputs. So one thread and many
// compute the same bits.

#include <algorithm>
#include <cstdint>
#include <functional>

namespace koine {

/// Number of threads parallel_for uses, the caller included. At first: the number of processors this process may run on.
int thread_count();

/// Sets the number of threads (at least 1). Must not be called while a parallel_for runs.
void set_thread_count(int threads);

/// Calls task(index) for index = 0 .. tasks-1, on all threads, in no particular order; returns when all are done. The first
/// exception thrown by a task is rethrown here. A call from inside a task runs its tasks one after the other.
void parallel_for(std::int64_t tasks, const std::function<void(std::int64_t index)>& task);

/// parallel_for over [0, count) cut into ranges of `grain` elements (the last may be shorter): task(begin, end).
void parallel_ranges(std::int64_t count, std::int64_t grain,
                     const std::function<void(std::int64_t begin, std::int64_t end)>& task);

/// Rows of `width` elements that are worth a task: about 16,384 elements, tens of microseconds.
inline std::int64_t rows_of_a_task(std::int64_t width) { return std::max<std::int64_t>(1, 16384 / width); }

}  // namespace koine
