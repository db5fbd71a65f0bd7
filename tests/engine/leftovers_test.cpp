// What killed programs leave under temporary names, and hashes that are taken once.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/files/atomic_file.h"
#include "engine/files/hash_cache.h"
#include "engine/files/text_file.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

TEST(Leftovers, HaveNamesOfTheirOwn) {
  for (const char* name : {".config.toml.17-0.tmp", ".a.1-22.tmp", "..2-3.tmp"})
    EXPECT_TRUE(is_temporary_name(name)) << name;
  for (const char* name : {"config.toml.17-0.tmp", ".config.toml.tmp", ".config.toml.17-.tmp", ".config.toml.x7-0.tmp",
                           ".tmp", ".17-0.tmp", ".config.toml.17-0", ".vimrc", ""})
    EXPECT_FALSE(is_temporary_name(name)) << name;
}

TEST(Leftovers, AreRemovedButForThoseOfALivingWriter) {
  const TemporaryFolder folder;
  write_file_atomically(folder / ".model.safetensors.99-0.tmp", "half a model");
  make_directory(folder / "model");
  write_file_atomically(folder / "model" / ".config.json.99-1.tmp", "{");
  make_directory(folder / ".checkpoints.99-2.tmp" / "step-3");
  write_file_atomically(folder / "notes.tmp", "the user's");
  AtomicFile living(folder / "metrics");
  living.write("first");
  remove_leftovers(folder.path(), false);
  EXPECT_FALSE(fs::exists(folder / ".model.safetensors.99-0.tmp"));
  EXPECT_FALSE(fs::exists(folder / ".checkpoints.99-2.tmp"));
  EXPECT_TRUE(fs::exists(folder / "model" / ".config.json.99-1.tmp")) << "only the folder itself was asked for";
  EXPECT_TRUE(fs::exists(folder / "notes.tmp"));
  remove_leftovers(folder.path(), true);
  EXPECT_FALSE(fs::exists(folder / "model" / ".config.json.99-1.tmp"));
  living.commit();
  EXPECT_EQ(read_file(folder / "metrics"), "first");
  EXPECT_EQ(folder.entries(), 3u);
}

TEST(Leftovers, WhatIsRemovedAtOnceGoesWhole) {
  const TemporaryFolder folder;
  make_directory(folder / "checkpoints/step-1");
  remove_at_once(folder / "checkpoints");
  remove_at_once(folder / "checkpoints");
  EXPECT_EQ(folder.entries(), 0u);
}

/// Gives a file's bytes another value and its old time.
void change_keeping_time(const fs::path& path, const std::string& text) {
  struct stat state;
  ASSERT_EQ(stat(path.c_str(), &state), 0);
  const int descriptor = open(path.c_str(), O_WRONLY);  // the same inode
  ASSERT_EQ(pwrite(descriptor, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  const timespec times[2] = {state.st_atim, state.st_mtim};
  ASSERT_EQ(futimens(descriptor, times), 0);
  close(descriptor);
}

TEST(HashCache, TakesAHashOnceUntilTheFileChanges) {
  const TemporaryFolder folder;
  const fs::path file = folder / "data";
  write_file_atomically(file, "abc");
  const timespec long_ago[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), long_ago, 0), 0);
  {
    HashCache cache(folder / "hashes.json");
    EXPECT_EQ(cache.hash(file), xxh3_hex("abc"));
    cache.save();
  }
  // Nothing but reading the bytes again would notice this: what shows that they are not read again.
  change_keeping_time(file, "abd");
  EXPECT_EQ(HashCache(folder / "hashes.json").hash(file), xxh3_hex("abc"));
  EXPECT_EQ(HashCache().hash(file), xxh3_hex("abd"));
  const timespec later[2] = {{2000, 0}, {2000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), later, 0), 0);
  EXPECT_EQ(HashCache(folder / "hashes.json").hash(file), xxh3_hex("abd"));
  write_file_atomically(folder / "hashes.json", "{\"/x\": 1}");
  EXPECT_EQ(HashCache(folder / "hashes.json").hash(file), xxh3_hex("abd")) << "a broken cache is no cache";
  expect_user_error([&] { HashCache().hash(folder / "nowhere"); }, {"nowhere"});
}

TEST(HashCache, DoesNotTrustATimeThatIsOfJustNow) {
  const TemporaryFolder folder;
  const fs::path file = folder / "data";
  write_file_atomically(file, "abc");
  HashCache cache;
  EXPECT_EQ(cache.hash(file), xxh3_hex("abc"));
  change_keeping_time(file, "abd");
  EXPECT_EQ(cache.hash(file), xxh3_hex("abd"));
}

}  // namespace
}  // namespace koine
