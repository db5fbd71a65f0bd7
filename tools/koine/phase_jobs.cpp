#include "tools/koine/phase_jobs.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <thread>

#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "tasks/experiment/selection.h"
#include "tools/koine/children.h"

namespace koine {

namespace fs = std::filesystem;

namespace {

using JobClock = std::chrono::steady_clock;

enum class JobState { kWaiting, kRunning, kDone };

struct PhaseJob {
  std::size_t phase = 0;  ///< of the plan
  JobState state = JobState::kWaiting;
  std::size_t followers = 0;  ///< phases that wait for it
  pid_t process = 0;
  int slot = 0;  ///< of the processes at a time
  JobClock::time_point begin;
};

class PhaseJobs {
 public:
  PhaseJobs(const Plan& plan, const std::vector<std::size_t>& chosen, int jobs, bool redo, const CommonOptions& common,
            fs::path output)
      : plan_(plan), common_(common), output_(std::move(output)), slots_(static_cast<std::size_t>(jobs), false) {
    devices_ = cuda::on_host() || common.device == "cpu" ? 0 : cuda::device_count();
    require(devices_ == 0 || jobs <= devices_, "--jobs ", jobs, ": there are ", devices_,
            devices_ == 1 ? " device" : " devices", ", of which each process needs one");
    require(!common.device.starts_with("cuda:"), "--device ", common.device,
            ": each of the processes of --jobs has a device of its own");
    for (const std::size_t phase : chosen) {
      PhaseJob& job = jobs_.emplace_back();
      job.phase = phase;
      if (!redo && fs::exists(output_ / plan.phases[phase].folder / "done.json")) job.state = JobState::kDone;
      for (const std::size_t other : chosen) job.followers += plan.phases[other].start == phase ? 1 : 0;
    }
  }
  PhaseJobs(const PhaseJobs&) = delete;
  PhaseJobs& operator=(const PhaseJobs&) = delete;
  ~PhaseJobs() { send_all(SIGKILL); }

  int run() {
    fs::create_directories(output_ / "jobs");
    while (true) {
      if (const int signal = take_signal()) {
        interrupted_ = true;
        send_all(signal);
      }
      while (code_ == 0 && !interrupted_ && begin_next()) {
      }
      if (running() == 0) break;
      int status = 0;
      const pid_t ended = waitpid(-1, &status, WNOHANG);
      if (ended > 0) note_end(ended, status);
      if (ended <= 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return code_ == 0 && interrupted_ ? kExitInterrupted : code_;
  }

 private:
  std::string name_of_job(const PhaseJob& job) const {
    return concatenate("[", job.phase + 1, "/", plan_.phases.size(), "] ", phase_name(plan_, plan_.phases[job.phase]));
  }
  fs::path log_of(const PhaseJob& job) const { return output_ / "jobs" / concatenate(job.phase + 1, ".log"); }
  void say(const std::string& text) const {
    if (!common_.quiet) std::cerr << text << std::endl;
  }
  std::ptrdiff_t running() const {
    return std::count_if(jobs_.begin(), jobs_.end(), [](const PhaseJob& job) { return job.state == JobState::kRunning; });
  }
  void send_all(int signal) const {
    for (const PhaseJob& job : jobs_) {
      if (job.state == JobState::kRunning) kill(job.process, signal);
    }
  }

  /// Whether the phase that it begins with is done, or none of these.
  bool may_begin(const PhaseJob& job) const {
    if (job.state != JobState::kWaiting) return false;
    const std::optional<std::size_t> start = plan_.phases[job.phase].start;
    return std::none_of(jobs_.begin(), jobs_.end(),
                        [&](const PhaseJob& other) { return start == other.phase && other.state != JobState::kDone; });
  }

  bool begin_next() {
    const auto slot = std::find(slots_.begin(), slots_.end(), false);
    if (slot == slots_.end()) return false;
    PhaseJob* next = nullptr;
    for (PhaseJob& job : jobs_) {
      if (may_begin(job) && (next == nullptr || job.followers > next->followers)) next = &job;
    }
    if (next == nullptr) return false;
    *slot = true;
    next->slot = static_cast<int>(slot - slots_.begin());
    next->process = start_child(words_of(*next), {}, log_of(*next));
    next->state = JobState::kRunning;
    next->begin = JobClock::now();
    say(name_of_job(*next) + " begins");
    return true;
  }

  std::vector<std::string> words_of(const PhaseJob& job) const {
    std::vector<std::string> words = without_options(common_.words, {"--jobs", "--only", "--threads", "--device"});
    words.insert(words.end(), {"--only", std::to_string(job.phase + 1)});
    if (devices_ > 0) {
      words.insert(words.end(), {"--device", concatenate("cuda:", job.slot)});
    } else {
      words.insert(words.end(), {"--device", common_.device});
    }
    const int threads = common_.threads > 0 ? common_.threads : thread_count();
    words.insert(words.end(), {"--threads", std::to_string(std::max<int>(1, threads / static_cast<int>(slots_.size())))});
    return words;
  }

  void note_end(pid_t process, int status) {
    const auto job = std::find_if(jobs_.begin(), jobs_.end(), [&](const PhaseJob& one) {
      return one.state == JobState::kRunning && one.process == process;
    });
    if (job == jobs_.end()) return;
    job->state = JobState::kDone;
    slots_[static_cast<std::size_t>(job->slot)] = false;
    const int code = exit_code_of(status);
    const std::chrono::duration<double> taken = JobClock::now() - job->begin;
    if (code == 0) return say(concatenate(name_of_job(*job), " done, ", format_seconds(taken.count())));
    if (code == kExitInterrupted && interrupted_) return;
    if (code_ == 0)
      std::cerr << "koine: " << printable(concatenate("phase ", job->phase + 1, describe_end(status, log_of(*job))))
                << std::endl;
    if (code_ == 0) code_ = code == 2 ? 2 : 1;
  }

  const Plan& plan_;
  const CommonOptions& common_;
  fs::path output_;
  std::vector<PhaseJob> jobs_;
  std::vector<bool> slots_;  ///< taken
  int devices_ = 0;          ///< 0: on processors
  int code_ = 0;
  bool interrupted_ = false;
};

}  // namespace

std::vector<std::string> without_options(const std::vector<std::string>& words, const std::vector<std::string>& options) {
  std::vector<std::string> left;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto names = [&](const std::string& option) { return words[i] == option || words[i].starts_with(option + "="); };
    if (std::none_of(options.begin(), options.end(), names)) {
      left.push_back(words[i]);
    } else if (words[i].find('=') == std::string::npos) {
      ++i;  // its value
    }
  }
  return left;
}

int run_phase_jobs(const Plan& plan, const std::vector<std::size_t>& chosen, int jobs, bool redo,
                   const CommonOptions& common, const fs::path& output) {
  keep_signals();
  return PhaseJobs(plan, chosen, jobs, redo, common, output).run();
}

}  // namespace koine
