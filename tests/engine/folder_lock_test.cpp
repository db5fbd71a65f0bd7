#include "engine/files/folder_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

/// A lock file as a process of another machine left it, renewed so many seconds ago.
void write_foreign_lock(const TemporaryFolder& folder, int seconds_ago) {
  const std::filesystem::path file = folder / kLockFile;
  write_file_atomically(file,
                        R"({"host": "node17", "boot": "another", "process": 4711, "started": "2026-01-02 03:04:05 UTC"})");
  const timespec then = {std::time(nullptr) - seconds_ago, 0};
  const timespec times[2] = {then, then};
  ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
}

TEST(FolderLock, TheSecondComerIsToldWhoHasIt) {
  const TemporaryFolder folder;
  {
    const FolderLock lock(folder.path());
    const nlohmann::json record = read_json(folder / kLockFile);
    EXPECT_EQ(record.at("process"), getpid());
    const std::vector<std::string> parts = {folder.path().string(), "another koine", concatenate("process ", getpid()),
                                            record.at("host").get<std::string>(), "--output"};
    expect_user_error([&] { FolderLock second(folder.path()); }, parts);
    expect_user_error([&] { require_unlocked(folder.path()); }, parts);
  }
  EXPECT_EQ(folder.entries(), 0u) << "the file goes with the lock";
  require_unlocked(folder.path());
  const FolderLock again(folder.path());
}

TEST(FolderLock, TheSecondComerMayWait) {
  const TemporaryFolder folder;
  auto first = std::make_unique<FolderLock>(folder.path());
  int asked = 0;
  const FolderLock second(folder.path(), [&] {
    if (++asked == 2) first.reset();
    return true;
  });
  EXPECT_EQ(asked, 2);
  expect_user_error([&] { FolderLock third(folder.path(), [] { return false; }); }, {"another koine"});
}

TEST(FolderLock, WhatAKilledProcessLeftIsTakenOver) {
  const TemporaryFolder folder;
  const pid_t child = fork();
  if (child == 0) {
    new FolderLock(folder.path());  // never destroyed, as by a kill
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(read_json(folder / kLockFile).at("process"), child);
  require_unlocked(folder.path());
  const FolderLock lock(folder.path());
  EXPECT_EQ(read_json(folder / kLockFile).at("process"), getpid());
}

TEST(FolderLock, AnotherMachineCountsAsDeadWhenItHasBeenSilentForLong) {
  const TemporaryFolder folder;
  write_foreign_lock(folder, 100);
  expect_user_error([&] { FolderLock lock(folder.path()); },
                    {"process 4711 on node17", "2026-01-02 03:04:05 UTC", " s ago", "300 s", kLockFile, "deleted"});
  write_foreign_lock(folder, 301);
  const FolderLock lock(folder.path());
  EXPECT_EQ(read_json(folder / kLockFile).at("process"), getpid());
}

TEST(FolderLock, AFileThatWasNotWrittenToItsEndSaysNothing) {
  const TemporaryFolder folder;
  for (const char* text : {"", "{\"host\": \"no", "[1]", "{\"process\": \"x\"}"}) {
    write_file_atomically(folder / kLockFile, text);
    const FolderLock lock(folder.path());
    EXPECT_EQ(read_json(folder / kLockFile).at("process"), getpid()) << text;
  }
  expect_user_error([&] { FolderLock lock(folder / "nowhere"); }, {"nowhere", kLockFile, "cannot be made"});
}

}  // namespace
}  // namespace koine
