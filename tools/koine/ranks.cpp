#include "tools/koine/ranks.h"

#include <algorithm>
#include <charconv>

#include "engine/ranks/nccl_communicator.h"
#include "kernels/common/check.h"
#include "kernels/common/parallel.h"
#include "kernels/cuda/runtime.h"
#include "tools/koine/local_ranks.h"

namespace koine {

namespace {

/// 0 where the text is no number.
int rank_count(const std::string& text) {
  int count = 0;
  const std::from_chars_result read = std::from_chars(text.data(), text.data() + text.size(), count);
  return read.ec == std::errc() && read.ptr == text.data() + text.size() ? count : 0;
}

/// Each of the ranks of a machine has a device of its own.
void choose_own_device(CommonOptions& common, const RankPlace& place) {
  const bool any = common.device == "auto" || common.device == "cuda";
  require(any || !common.device.starts_with("cuda:") || place.local_size == 1, "--device ", common.device, ": ",
          place.local_size, " ranks of this machine need a device each; give --device cuda");
  const int devices = cuda::on_host() ? 0 : cuda::device_count();
  if (!any || devices == 0) return;
  // A launcher may show every rank its own device alone.
  require(devices == 1 || devices >= place.local_size, "there are ", place.local_size, " ranks on this machine, but ",
          devices, " devices; start as many ranks, or give --device cpu");
  common.device = concatenate("cuda:", devices == 1 ? 0 : place.local_rank);
}

}  // namespace

std::string check_ranks(const std::string& text) {
  if (text == "launcher") return "";
  const int count = rank_count(text);
  return count >= 1 && count <= 1024 ? "" : "it is " + text + " and must be a number from 1 to 1024, or launcher";
}

RankSession::RankSession(CommonOptions& common) {
  if (common.ranks.empty() || common.ranks == "1") return;
  const RankPlace place = find_rank_place(environment());
  if (place.size == 1) return;
  choose_own_device(common, place);
  const int threads = common.threads > 0 ? common.threads : thread_count();
  common.threads = std::max(1, threads / place.local_size);
  if (place.rank != 0) common.quiet = true;
  group_ = std::make_unique<RankGroup>(place);
}

void RankSession::join(Execution& execution) {
  if (group_ == nullptr) return;
  execution.communicator = &group_->communicator();
  if (execution.device == Device::kCpu) return;
  require(!cuda::on_host(), "--device cuda-on-cpu is one device, for one rank");
  use_device(execution);
  on_devices_ = make_nccl_communicator(group_->communicator(), nccl::library(), group_->watch(), group_->place().timeout);
  execution.communicator = on_devices_.get();
}

bool RankSession::wait_to_begin(RankJob& job) {
  job = next_job(group_->communicator());
  return job.kind != RankJob::Kind::kEnd;
}

void RankSession::finish() {
  if (group_ == nullptr) return;
  if (leads()) tell_job(&group_->communicator(), {});
  on_devices_.reset();
  group_->leave();
}

void RankSession::fail(const std::string& why) noexcept {
  if (group_ != nullptr) group_->fail(why);
}

int with_ranks(CommonOptions& common, const std::function<int(RankSession& ranks)>& command) {
  const int count = rank_count(common.ranks);
  if (count > 1 && !is_local_rank()) return run_local_ranks(count, common.words);
  RankSession ranks(common);
  try {
    const int code = command(ranks);
    ranks.finish();
    return code;
  } catch (const std::exception& error) {
    ranks.fail(error.what());
    throw;
  }
}

}  // namespace koine
