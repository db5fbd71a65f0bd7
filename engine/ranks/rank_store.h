#pragma once

// A small store of texts that all ranks of a run see: how they meet, and how they learn of one another's end. Either a folder
// of files, or a server in rank 0 that the others connect to.

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/ranks/rank_place.h"

namespace koine {

/// Calls may come from any thread. Error where the store is gone.
class RankStore {
 public:
  virtual ~RankStore() = default;
  virtual void set(const std::string& key, const std::string& value) = 0;
  /// What was set, or nothing yet; does not wait.
  virtual std::optional<std::string> get(const std::string& key) = 0;
  /// The address of this rank as the store's other end sees it, where there is one.
  virtual std::string own_address() const { return ""; }
};

/// Files "<run>.<key>" in a folder, which is made. Each appears whole, by renaming.
class FolderStore : public RankStore {
 public:
  FolderStore(std::filesystem::path folder, std::string run);
  void set(const std::string& key, const std::string& value) override;
  std::optional<std::string> get(const std::string& key) override;

 private:
  std::filesystem::path path_of(const std::string& key) const;

  std::filesystem::path folder_;
  std::string run_;
};

/// What the others connect to: lives in rank 0, in a thread of its own. A rank whose connection ends before it has set "left/<rank>" is
/// told in "failed", where nothing stands there yet.
class RankServer {
 public:
  /// UserError where the port is taken.
  RankServer(int port, std::string run);
  ~RankServer();
  RankServer(const RankServer&) = delete;
  RankServer& operator=(const RankServer&) = delete;

 private:
  struct Connection {
    int descriptor = -1;
    int rank = -1;
    std::string input;
  };

  void serve();
  void accept_one();
  bool read_from(Connection& connection);
  bool answer(Connection& connection, const std::vector<std::string>& request);
  void lose(Connection& connection);

  std::string run_;
  int listener_ = -1;
  std::vector<Connection> connections_;
  std::map<std::string, std::string> values_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class ServedStore : public RankStore {
 public:
  /// Connects as rank `place.rank`, trying again until `place.meeting` seconds are over: Error naming where nobody listens. UserError
  /// where what listens there is of another run.
  explicit ServedStore(const RankPlace& place);
  ~ServedStore() override;
  void set(const std::string& key, const std::string& value) override;
  std::optional<std::string> get(const std::string& key) override;
  std::string own_address() const override { return own_address_; }
  /// Of the machine of rank 0, as seen from here.
  const std::string& server_address() const { return server_address_; }

 private:
  std::vector<std::string> ask(const std::vector<std::string>& request);

  std::mutex mutex_;
  int descriptor_ = -1;
  double timeout_;
  std::string place_text_;
  std::string own_address_;
  std::string server_address_;
};

}  // namespace koine
