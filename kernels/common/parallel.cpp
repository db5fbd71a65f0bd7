#include "kernels/common/parallel.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/common/check.h"

#if defined(KOINE_HAVE_OPENMP)
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace koine {
namespace {

thread_local bool inside_task = false;

// How long an idle worker looks for new work before it sleeps: kernels follow one another within microseconds.
constexpr int kSpins = 4000;

void pause_processor() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Libraries that bring their own threads (oneDNN through OpenMP) are to use one thread inside our tasks.
void keep_libraries_single_threaded() {
#if defined(KOINE_HAVE_OPENMP)
  omp_set_num_threads(1);
#endif
}

struct Job {
  const std::function<void(std::int64_t)>* task = nullptr;
  std::int64_t tasks = 0;
  std::atomic<std::int64_t> next{0};
  std::atomic<int> workers_left{0};
  std::mutex error_mutex;
  std::exception_ptr error;

  void work() {
    inside_task = true;
    for (std::int64_t index; (index = next.fetch_add(1, std::memory_order_relaxed)) < tasks;) {
      try {
        (*task)(index);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(error_mutex);
        if (!error) error = std::current_exception();
        next.store(tasks, std::memory_order_relaxed);
      }
    }
    inside_task = false;
  }
};

class Pool {
 public:
  explicit Pool(int threads) {
    keep_libraries_single_threaded();
    for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this] { run_worker(); });
  }
  ~Pool() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  void run(std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
    const std::lock_guard<std::mutex> one_job_at_a_time(run_mutex_);
    job_.task = &task;
    job_.tasks = tasks;
    job_.error = nullptr;
    job_.next.store(0, std::memory_order_relaxed);
    job_.workers_left.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    job_.work();
    for (int spins = 0; job_.workers_left.load(std::memory_order_acquire) > 0; ++spins) {
      if (spins < kSpins) {
        pause_processor();
      } else {
        std::this_thread::yield();
      }
    }
    if (job_.error) std::rethrow_exception(job_.error);
  }

 private:
  void run_worker() {
    keep_libraries_single_threaded();
    std::uint64_t seen = 0;
    while (true) {
      for (int spins = 0; spins < kSpins && generation_.load(std::memory_order_acquire) == seen; ++spins) pause_processor();
      if (generation_.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
      }
      seen = generation_.load(std::memory_order_acquire);
      if (stopping_) return;
      job_.work();
      job_.workers_left.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex run_mutex_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<bool> stopping_{false};
  Job job_;
};

int available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  return 1;
}

std::unique_ptr<Pool>& pool() {
  static std::unique_ptr<Pool> instance = std::make_unique<Pool>(available_processors());
  return instance;
}

}  // namespace

int thread_count() { return pool()->threads(); }

void set_thread_count(int threads) {
  check(threads >= 1, "at least one thread is needed, got ", threads);
  check(!inside_task, "the number of threads cannot change inside a parallel task");
  if (threads == pool()->threads()) return;
  pool().reset();
  pool() = std::make_unique<Pool>(threads);
}

void parallel_for(std::int64_t tasks, const std::function<void(std::int64_t)>& task) {
  if (tasks <= 0) return;
  if (inside_task || tasks == 1 || pool()->threads() == 1) {
    for (std::int64_t index = 0; index < tasks; ++index) task(index);
    return;
  }
  pool()->run(tasks, task);
}

void parallel_ranges(std::int64_t count, std::int64_t grain, const std::function<void(std::int64_t, std::int64_t)>& task) {
  check(grain > 0, "a range needs at least one element, got ", grain);
  parallel_for((count + grain - 1) / grain, [&](std::int64_t index) {
    const std::int64_t begin = index * grain;
    task(begin, begin + grain < count ? begin + grain : count);
  });
}

}  // namespace koine
