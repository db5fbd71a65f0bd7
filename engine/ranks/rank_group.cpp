#include "engine/ranks/rank_group.h"

#include <chrono>
#include <thread>

#include "engine/ranks/gloo_communicator.h"
#include "kernels/common/check.h"

namespace koine {

namespace {

double seconds_of_clock() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

RankGroup::RankGroup(RankPlace place, RankWatch::End end) : place_(std::move(place)) {
  require(has_gloo() || place_.size == 1,
          "this build of koine has no Gloo, through which ranks talk (Debian: libgloo-dev; configure with -DKOINE_GLOO=ON)");
  if (place_.size == 1) {
    communicator_ = std::make_unique<OneRank>(Device::kCpu);
    return;
  }
  if (!place_.folder.empty()) {
    store_ = std::make_unique<FolderStore>(place_.folder, place_.run);
  } else {
    if (place_.rank == 0) server_ = std::make_unique<RankServer>(place_.port, place_.run);
    store_ = std::make_unique<ServedStore>(place_);
  }
  meet();
  watch_ = std::make_unique<RankWatch>(*store_, place_, std::move(end));
  communicator_ = make_gloo_communicator(place_, *store_, *watch_);
}

RankGroup::~RankGroup() {
  communicator_.reset();
  watch_.reset();
}

// Rank 0 does not know by itself at which of its addresses the others reach it: rank 1 tells.
void RankGroup::meet() {
  const double deadline = seconds_of_clock() + place_.meeting;
  store_->set(concatenate("here/", place_.rank), "yes");
  if (const auto* served = dynamic_cast<const ServedStore*>(store_.get()); served != nullptr && place_.address.empty()) {
    if (place_.rank == 1) store_->set("address/0", served->server_address());
    if (place_.rank == 0) {
      wait_for("address/0", deadline);
      place_.address = *store_->get("address/0");
    } else {
      place_.address = served->own_address();
    }
  }
  for (int rank = 0; rank < place_.size; ++rank) wait_for(concatenate("here/", rank), deadline);
}

void RankGroup::wait_for(const std::string& key, double deadline) const {
  while (!store_->get(key).has_value()) {
    if (const std::optional<std::string> failed = store_->get("failed")) {
      let_others_hear();
      throw Error(*failed);
    }
    if (seconds_of_clock() > deadline) {
      const std::string cause = concatenate("after ", place_.meeting, " s ", missing_ranks(), " of ", place_.size,
                                            " did not come to where ranks meet (KOINE_RANKS_MEETING: seconds to wait)");
      store_->set("failed", cause);
      let_others_hear();
      throw Error(concatenate("rank ", place_.rank, ": ", cause));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

std::string RankGroup::missing_ranks() const {
  std::string text;
  for (int rank = 0; rank < place_.size; ++rank) {
    if (!store_->get(concatenate("here/", rank)).has_value()) text += concatenate(text.empty() ? "rank " : ", ", rank);
  }
  return text;
}

void RankGroup::fail(const std::string& why) noexcept {
  if (watch_ == nullptr) return;
  watch_->fail(concatenate("rank ", place_.rank, " ended: ", why));
  let_others_hear();
}

/// The server ends with rank 0: not before the others have looked for what failed.
void RankGroup::let_others_hear() const noexcept {
  if (server_ != nullptr) std::this_thread::sleep_for(std::chrono::duration<double>(3 * watch_interval(place_)));
}

void RankGroup::leave() {
  if (watch_ == nullptr) return;
  communicator_->barrier();
  watch_->leave();
  // The server outlives the last word of the others.
  const double deadline = seconds_of_clock() + 2;
  for (int rank = 1; server_ != nullptr && rank < place_.size; ++rank) {
    while (!store_->get(concatenate("left/", rank)).has_value() && seconds_of_clock() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace koine
