#include "tasks/experiment/rank_jobs.h"

#include <nlohmann/json.hpp>

namespace koine {

bool several_ranks(const Communicator* communicator) { return communicator != nullptr && communicator->size() > 1; }

bool is_leader(const Communicator* communicator) { return communicator == nullptr || communicator->rank() == 0; }

void tell_job(Communicator* communicator, const RankJob& job) {
  if (!several_ranks(communicator)) return;
  const nlohmann::json text = {{"kind", static_cast<int>(job.kind)},
                               {"precision", job.precision},
                               {"data", job.data.string()},
                               {"phase", job.phase},
                               {"seed", job.seed},
                               {"directory", job.directory.string()},
                               {"start", job.start.string()}};
  communicator->share(text.dump(), 0);
}

RankJob next_job(Communicator& communicator) {
  const nlohmann::json text = nlohmann::json::parse(communicator.share("", 0));
  RankJob job;
  job.kind = static_cast<RankJob::Kind>(text.at("kind").get<int>());
  job.precision = text.at("precision");
  job.data = text.at("data").get<std::string>();
  job.phase = text.at("phase");
  job.seed = text.at("seed");
  job.directory = text.at("directory").get<std::string>();
  job.start = text.at("start").get<std::string>();
  return job;
}

}  // namespace koine
