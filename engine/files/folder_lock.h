#pragma once

// One writer for a folder.
//
// The holder keeps FOLDER/run.lock locked (flock) and in it {"host", "boot", "process", "started"}: who it is, for messages
// and for machines between which locks do not reach. The system lets go of a process's locks when it ends, however it ends,
// so what a killed process of this machine left is taken over at once. Of other machines only the time of the file is known,
// which its holder renews twice a minute: after kLockSilence without that it counts as dead.

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace koine {

inline constexpr const char* kLockFile = "run.lock";
inline constexpr std::chrono::seconds kLockSilence{300};

class FolderLock {
 public:
  /// Takes the lock of a folder that is there. UserError naming the folder, the holder and what to do where another process
  /// has it, or where the file cannot be made. `wait`, where given, is asked a few times a second while another process has
  /// it, whether to go on waiting; false ends in that error.
  explicit FolderLock(const std::filesystem::path& folder, const std::function<bool()>& wait = {});
  /// Removes the file.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  bool try_to_take();
  void renew_until_released();

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool released_ = false;
  std::thread heartbeat_;
};

/// UserError, as FolderLock gives it, where another process has the folder's lock. Takes nothing, makes nothing.
void require_unlocked(const std::filesystem::path& folder);

}  // namespace koine
