#include "engine/files/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <utility>

#include "kernels/common/check.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::chrono::seconds kHeartbeat{30};
constexpr std::chrono::milliseconds kBetweenTries{200};

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "this machine";
}

/// What tells two machines of one name, and two starts of one machine, apart; empty where the system does not say.
std::string boot_id() {
  const int descriptor = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  char text[64];
  const ssize_t got = descriptor < 0 ? 0 : read(descriptor, text, sizeof text);
  if (descriptor >= 0) close(descriptor);
  std::string id(text, got > 0 ? static_cast<std::size_t>(got) : 0);
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

std::string time_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

json own_record() { return {{"host", host_name()}, {"boot", boot_id()}, {"process", getpid()}, {"started", time_now()}}; }

/// What the holder wrote; an object without members where it did not come to that.
json read_record(int descriptor) {
  char text[1024];
  const ssize_t got = pread(descriptor, text, sizeof text, 0);
  json record = json::parse(text, text + std::max<ssize_t>(got, 0), nullptr, false);
  return record.is_object() ? record : json::object();
}

std::string text_of(const json& record, const char* key) {
  return record.contains(key) && record[key].is_string() ? record[key].get<std::string>() : "";
}

std::int64_t process_of(const json& record) {
  return record.contains("process") && record["process"].is_number_integer() ? record["process"].get<std::int64_t>() : 0;
}

std::int64_t seconds_since_renewed(int descriptor) {
  struct stat state;
  if (fstat(descriptor, &state) != 0) return 0;
  return static_cast<std::int64_t>(std::time(nullptr) - state.st_mtime);
}

bool lives(std::int64_t process) { return process > 0 && (kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM); }

enum class Locking { kTaken, kHeldByAnother, kUnknownHere };

Locking try_lock(int descriptor) {
  while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    return errno == EWOULDBLOCK ? Locking::kHeldByAnother : Locking::kUnknownHere;
  }
  return Locking::kTaken;
}

class HeldByAnother : public UserError {
 public:
  using UserError::UserError;
};

/// HeldByAnother unless the file's holder is known to be gone.
void require_gone(const fs::path& file, int descriptor, Locking locking) {
  const json record = read_record(descriptor);
  const std::int64_t process = process_of(record);
  const bool here = text_of(record, "boot") == boot_id() && text_of(record, "host") == host_name();
  const std::int64_t silence = seconds_since_renewed(descriptor);
  bool alive = locking == Locking::kHeldByAnother;
  if (!alive && process > 0) {
    alive =
        here ? locking == Locking::kUnknownHere && process != getpid() && lives(process) : silence < kLockSilence.count();
  }
  if (!alive) return;
  std::string holder = "another process";
  if (process > 0) {
    holder = concatenate("process ", process, " on ", text_of(record, "host"), ", since ", text_of(record, "started"));
  }
  const std::string folder = file.parent_path().string();
  if (here || process == 0) {
    throw HeldByAnother(concatenate(folder, " is being written by another koine (", holder,
                                    "); wait until it is done, end it, or choose another --output"));
  }
  throw HeldByAnother(
      concatenate(folder, " is being written by another koine (", holder, "; last sign of life ", silence,
                  " s ago); wait until it is done, or choose another --output; if that machine is gone, this command works ",
                  kLockSilence.count(), " s after its last sign of life, or once ", file.string(), " is deleted"));
}

/// Whether the file that is open still has its name.
bool is_still_there(const fs::path& path, int descriptor) {
  struct stat open_file;
  struct stat named;
  return fstat(descriptor, &open_file) == 0 && stat(path.c_str(), &named) == 0 && open_file.st_ino == named.st_ino &&
         open_file.st_dev == named.st_dev;
}

/// A descriptor that is closed unless it is kept.
class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  int keep() { return std::exchange(number_, -1); }

 private:
  int number_;
};

}  // namespace

FolderLock::FolderLock(const fs::path& folder, const std::function<bool()>& wait) : path_(folder / kLockFile) {
  bool taken = false;
  while (!taken) {
    try {
      taken = try_to_take();
    } catch (const HeldByAnother&) {
      if (!wait || !wait()) throw;
      std::this_thread::sleep_for(kBetweenTries);
    }
  }
  heartbeat_ = std::thread([this] { renew_until_released(); });
}

/// False where its holder has just released it.
bool FolderLock::try_to_take() {
  Descriptor file(open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
  require(file.get() >= 0, path_.string(), ": cannot be made: ", std::strerror(errno));
  require_gone(path_, file.get(), try_lock(file.get()));
  if (!is_still_there(path_, file.get())) return false;
  const std::string text = own_record().dump() + "\n";
  const bool written =
      ftruncate(file.get(), 0) == 0 && pwrite(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  require(written, path_.string(), ": cannot be written: ", std::strerror(errno));
  descriptor_ = file.keep();
  return true;
}

FolderLock::~FolderLock() {
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    released_ = true;
  }
  wake_.notify_all();
  heartbeat_.join();
  // Another machine that had not heard of this one may have taken it over.
  if (process_of(read_record(descriptor_)) == getpid()) unlink(path_.c_str());
  close(descriptor_);
}

void FolderLock::renew_until_released() {
  std::unique_lock<std::mutex> guard(mutex_);
  while (!wake_.wait_for(guard, kHeartbeat, [this] { return released_; })) futimens(descriptor_, nullptr);
}

void require_unlocked(const fs::path& folder) {
  const fs::path path = folder / kLockFile;
  const Descriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (file.get() >= 0) require_gone(path, file.get(), try_lock(file.get()));
}

}  // namespace koine
