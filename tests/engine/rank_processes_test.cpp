// Real processes as ranks: they meet, talk, train to the same bits in whatever number, and end together.

#include "tests/engine/rank_processes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "engine/batch/step_parts.h"
#include "engine/files/text_file.h"
#include "engine/ranks/agreement.h"
#include "engine/ranks/ordered_sum.h"
#include "engine/ranks/rank_place.h"
#include "kernels/cuda/runtime.h"
#include "kernels/random/random.h"
#include "tests/engine/bag_model.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

// --- where a rank is ------------------------------------------------------------------------------------------------------

Variables variables_of(const std::map<std::string, std::string>& values) {
  return [values](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

TEST(RankPlace, IsWhatTorchrunSays) {
  const RankPlace place = find_rank_place(variables_of({{"RANK", "5"},
                                                        {"WORLD_SIZE", "8"},
                                                        {"LOCAL_RANK", "1"},
                                                        {"LOCAL_WORLD_SIZE", "4"},
                                                        {"MASTER_ADDR", "node1"},
                                                        {"MASTER_PORT", "29500"},
                                                        {"SLURM_PROCID", "0"},
                                                        {"SLURM_NTASKS", "1"}}));
  EXPECT_EQ(place.launcher, "torchrun");
  EXPECT_EQ(place.rank, 5);
  EXPECT_EQ(place.size, 8);
  EXPECT_EQ(place.local_rank, 1);
  EXPECT_EQ(place.local_size, 4);
  EXPECT_EQ(place.host, "node1");
  EXPECT_EQ(place.port, 29501) << "torchrun's agent listens at MASTER_PORT";
}

TEST(RankPlace, IsWhatMpirunAndSrunSay) {
  const RankPlace mpi = find_rank_place(variables_of({{"OMPI_COMM_WORLD_RANK", "1"},
                                                      {"OMPI_COMM_WORLD_SIZE", "2"},
                                                      {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                                                      {"PMIX_NAMESPACE", "1234"}}));
  EXPECT_EQ(mpi.launcher, "mpirun");
  EXPECT_EQ(mpi.rank, 1);
  EXPECT_EQ(mpi.host, "127.0.0.1");
  EXPECT_GE(mpi.port, 20000);
  const std::map<std::string, std::string> srun = {{"SLURM_PROCID", "3"},  {"SLURM_NTASKS", "4"},
                                                   {"SLURM_LOCALID", "1"}, {"SLURM_NTASKS_PER_NODE", "2"},
                                                   {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_NODELIST", "gpu[07-08,11]"}};
  const RankPlace slurm = find_rank_place(variables_of(srun));
  EXPECT_EQ(slurm.launcher, "srun");
  EXPECT_EQ(slurm.host, "gpu07");
  EXPECT_EQ(slurm.run, "77");
  std::map<std::string, std::string> other = srun;
  other["SLURM_STEP_NODELIST"] = "a1,b2";
  EXPECT_EQ(find_rank_place(variables_of(other)).host, "a1");
  other["KOINE_RANKS_FOLDER"] = "/shared/meeting";
  EXPECT_EQ(find_rank_place(variables_of(other)).folder, "/shared/meeting");
}

TEST(RankPlace, RefusesWhatCannotBe) {
  const auto refused = [](std::map<std::string, std::string> values, const std::vector<std::string>& parts) {
    expect_user_error([&] { find_rank_place(variables_of(values)); }, parts);
  };
  refused({}, {"RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "--ranks N"});
  refused({{"RANK", "2"}, {"WORLD_SIZE", "2"}}, {"RANK is \"2\"", "from 0 to 1"});
  refused({{"RANK", "0"}, {"WORLD_SIZE", "two"}}, {"WORLD_SIZE is \"two\""});
  refused({{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_WORLD_SIZE", "2"}}, {"MASTER_ADDR", "KOINE_RANKS_FOLDER"});
  refused(
      {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "here"}, {"MASTER_PORT", "29500"}, {"KOINE_RANKS_PORT", "29500"}},
      {"KOINE_RANKS_PORT is MASTER_PORT"});
  refused({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"KOINE_RANKS_TIMEOUT", "0"}}, {"KOINE_RANKS_TIMEOUT is \"0\""});
}

// --- the tree -------------------------------------------------------------------------------------------------------------

TEST(OrderedSum, RanksHaveAllPartsAndTheirSumsFillTheTree) {
  for (const std::int64_t parts : {1, 2, 4, 8, 32}) {
    for (int ranks = 1; ranks <= parts; ++ranks) {
      std::int64_t next = 0;
      std::vector<PartRange> all;
      for (int rank = 0; rank < ranks; ++rank) {
        const PartRange own = parts_of_rank(parts, ranks, rank);
        EXPECT_EQ(own.first, next);
        EXPECT_GE(own.count(), 1);
        next = own.last;
        const std::vector<PartRange> sums = sums_of(own);
        const bool power_of_two = (ranks & (ranks - 1)) == 0;
        EXPECT_TRUE(!power_of_two || sums.size() == 1);
        for (const PartRange& sum : sums) {
          EXPECT_EQ(sum.first % sum.count(), 0) << "a place in the tree";
          all.push_back(sum);
          while (all.size() > 1 && are_siblings(all[all.size() - 2], all.back())) {
            all[all.size() - 2].last = all.back().last;
            all.pop_back();
          }
        }
      }
      EXPECT_EQ(all, (std::vector<PartRange>{{0, parts}}));
    }
  }
  expect_user_error([] { parts_of_rank(4, 5, 0); }, {"gradient_parts is 4", "5 ranks"});
}

TEST(StepParts, HoldEveryExampleOnceAndCostAboutTheSame) {
  const Dataset data = bag_dataset(400);
  std::vector<std::int64_t> groups;
  for (std::int64_t i = 0; i < 256; ++i) groups.push_back(3 * i % 400);
  const std::vector<StepPlan> plans = plan_parts(data, groups, 8, 64, 24);
  ASSERT_EQ(plans.size(), 8u);
  std::multiset<std::int64_t> found;
  std::vector<std::int64_t> costs;
  for (const StepPlan& plan : plans) {
    costs.push_back(0);
    for (const std::vector<std::int64_t>& batch : plan.micro_batches) {
      std::int64_t tokens = 0;
      for (const std::int64_t group : batch) {
        const std::int64_t length = std::ssize(data.examples[static_cast<std::size_t>(group)].ids);
        found.insert(group);
        tokens += length;
        costs.back() += sequence_cost(length, 24);
      }
      EXPECT_LE(tokens, 64);
    }
  }
  EXPECT_EQ(found, std::multiset<std::int64_t>(groups.begin(), groups.end()));
  // The dearest first: no two parts differ by more than the dearest example.
  const auto [least, most] = std::minmax_element(costs.begin(), costs.end());
  EXPECT_LE(*most - *least, sequence_cost(20, 24));
  // More parts than examples.
  const std::vector<StepPlan> few = plan_parts(data, std::span(groups).first(3), 8, 64, 24);
  EXPECT_EQ(std::count_if(few.begin(), few.end(), [](const StepPlan& plan) { return plan.micro_batches.empty(); }), 5);
}

TEST(Agreement, NumbersKeepEveryBit) {
  const std::map<std::string, double> numbers = {{"mnli dev", 1.0 / 3}, {"b", -0.0}, {"c", 1e-320}};
  EXPECT_EQ(numbers_of_text(text_of_numbers(numbers)), numbers);
  EXPECT_TRUE(numbers_of_text("").empty());
}

// --- processes ------------------------------------------------------------------------------------------------------------

class Processes : public ::testing::Test {
 protected:
  void SetUp() override {
#ifndef KOINE_HAVE_GLOO
    GTEST_SKIP() << "this build has no Gloo";
#endif
  }

  static void expect_success(const std::vector<RankOutcome>& outcomes) {
    for (std::size_t rank = 0; rank < outcomes.size(); ++rank)
      ASSERT_EQ(outcomes[rank].exit_code, 0) << "rank " << rank << ": " << outcomes[rank].errors;
  }

  /// Trains in `folder`, and gives what every rank wrote, which is the same.
  std::string trained(int ranks, const std::string& name, std::vector<std::string> arguments,
                      const std::string& what = "train") {
    const fs::path folder = folder_ / name;
    fs::create_directories(folder);
    arguments.insert(arguments.begin(), {what, "output=" + folder.string()});
    const std::vector<RankOutcome> outcomes = run_ranks(ranks, arguments, short_timeouts);
    std::string text;
    for (int rank = 0; rank < ranks; ++rank) {
      const RankOutcome& outcome = outcomes[static_cast<std::size_t>(rank)];
      EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
      const fs::path file = folder / ("rank-" + std::to_string(rank) + ".txt");
      if (!fs::exists(file)) return "";
      const std::string written = read_file(file);
      EXPECT_TRUE(rank == 0 || written == text) << "rank " << rank << " has\n" << written << "rank 0\n" << text;
      text = written;
    }
    return text;
  }

  static std::vector<std::string> short_timeouts(int) { return {"KOINE_RANKS_TIMEOUT=20", "KOINE_RANKS_MEETING=30"}; }

  /// All that decides how a run goes on, but for the seconds it took.
  std::map<std::string, std::string> checkpoint_of(const std::string& name, std::int64_t step) const {
    std::map<std::string, std::string> files;
    const fs::path folder = folder_ / name / "checkpoints" / ("step-" + std::to_string(step));
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string file = entry.path().filename().string();
      if (entry.path().extension() == ".safetensors") files[file] = xxh3_file(entry.path());
      if (file != "state.json") continue;
      nlohmann::json state = read_json(entry.path());
      state.erase("seconds");
      files[file] = state.dump();
    }
    return files;
  }

  TemporaryFolder folder_;
};

TEST_F(Processes, EveryOperationIsWhatItSays) {
  for (const int ranks : {1, 2, 3, 4}) expect_success(run_ranks(ranks, {"collectives"}));
}

TEST_F(Processes, SumsHaveTheSameBitsOnEveryRankAndInEveryRun) {
  const auto sums = [&](const std::string& name) {
    expect_success(run_ranks(4, {"sums", "output=" + (folder_ / name).string()}));
    std::set<std::string> texts;
    for (const char* rank : {".0", ".1", ".2", ".3"}) texts.insert(read_file((folder_ / name).string() + rank));
    return texts;
  };
  const std::set<std::string> first = sums("first");
  EXPECT_EQ(first.size(), 1u);
  EXPECT_EQ(sums("second"), first);
}

TEST_F(Processes, MeetAtRankZeroToo) {
  const std::string port = std::to_string(20000 + getpid() % 10000);
  const auto at_rank_zero = [&](int) {
    return std::vector<std::string>{"MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port, "KOINE_RANKS_ADDRESS="};
  };
  expect_success(run_ranks(3, {"collectives"}, at_rank_zero));
}

TEST_F(Processes, WhoDoesNotComeIsNamed) {
  for (const bool at_rank_zero : {false, true}) {
    const std::string port = std::to_string(20000 + (getpid() + 77) % 10000);
    const std::vector<RankOutcome> outcomes = run_ranks(3, {"meet"}, [&](int rank) {
      std::vector<std::string> variables = {"KOINE_RANKS_MEETING=1"};
      if (at_rank_zero) variables.insert(variables.end(), {"MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port});
      if (rank == 2) variables.push_back("WORLD_SIZE=two");  // it ends before it meets anybody
      return variables;
    });
    EXPECT_EQ(outcomes[2].exit_code, 2);
    for (const std::size_t rank : {0, 1}) {
      EXPECT_EQ(outcomes[rank].exit_code, 1);
      EXPECT_NE(outcomes[rank].errors.find("rank 2 of 3 did not come"), std::string::npos) << outcomes[rank].errors;
    }
  }
}

// The heart of it. Dropout, two heads, several batches a part, steps of two tasks, an evaluation that finds the best.
TEST_F(Processes, AnyNumberTrainsToTheSameBits) {
  const std::vector<std::string> arguments = {"parts=8", "steps=6", "save=3", "eval=2"};
  const std::string one = trained(1, "one", arguments);
  ASSERT_NE(one.find("step 6"), std::string::npos) << one;
  for (const int ranks : {2, 3, 4}) {
    const std::string name = std::to_string(ranks);
    // What several do is written by rank 0 alone; the others report the same.
    EXPECT_EQ(trained(ranks, name, arguments), one) << ranks << " ranks";
    EXPECT_EQ(checkpoint_of(name, 6), checkpoint_of("one", 6)) << ranks << " ranks";
  }
}

// Batches of three, so that in a step no rank touches most rows of the table: their gradients are not told, and AdamW with fp32
// masters leaves them for later. It is as if they were, and as one process.
TEST_F(Processes, TellTheRowsThatAreTouchedToTheSameBits) {
  const auto trained_with = [&](int ranks, const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"parts=8", "steps=7", "batch=3", "save=7", "eval=3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return trained(ranks, name, arguments);
  };
  const auto bytes_of = [&](const std::string& name) { return std::stod(read_file(folder_ / name / "bytes-0.txt")); };
  const std::string one = trained_with(1, "one", {});
  ASSERT_NE(one.find("step 7"), std::string::npos) << one;
  for (const int ranks : {2, 4}) {
    const std::string name = std::to_string(ranks);
    EXPECT_EQ(trained_with(ranks, name, {}), one);
    EXPECT_EQ(checkpoint_of(name, 7), checkpoint_of("one", 7));
  }
  EXPECT_EQ(trained_with(4, "whole-table", {"sparse=0"}), one);
  EXPECT_EQ(trained_with(3, "gradients-shared", {"zero=2"}), one);
  // Of 3,268 elements the table has 2,328, of which a step touches a third.
  EXPECT_LT(bytes_of("4"), 0.8 * bytes_of("whole-table"));
  EXPECT_EQ(bytes_of("one"), 0);
  const std::vector<std::string> remainders = {"type=bf16", "master=remainder"};
  EXPECT_EQ(trained_with(3, "remainders-3", remainders), trained_with(1, "remainders-1", remainders));
  EXPECT_EQ(checkpoint_of("remainders-3", 7), checkpoint_of("remainders-1", 7));
}

// The sum by the communicator's own all_reduce, and one process as it always was: the same but for rounding.
TEST_F(Processes, TrainToTheSameCurveByAllReduce) {
  const auto losses = [](const std::string& text) {
    std::vector<double> found;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t at = line.find("loss ");
      if (at != std::string::npos) found.push_back(std::strtod(line.c_str() + at + 5, nullptr));
    }
    return found;
  };
  const std::vector<double> one = losses(trained(1, "one", {"parts=0"}));
  const std::vector<double> three = losses(trained(3, "three", {"parts=0"}));
  const std::vector<double> ordered = losses(trained(2, "ordered", {}));
  ASSERT_EQ(one.size(), 8u);
  ASSERT_EQ(three.size(), one.size());
  ASSERT_EQ(ordered.size(), one.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    // Eight steps from the same weights: fp32 sums in other orders, 1e-6 each.
    EXPECT_NEAR(three[i], one[i], 1e-5 * one[i]) << i;
    EXPECT_NEAR(ordered[i], one[i], 1e-5 * one[i]) << i;
  }
}

// Numbers that say which batch they are of: rank 0 has those of one process, and every rank has computed its part of them.
TEST_F(Processes, PredictTogetherWhatOneProcessPredicts) {
  expect_success(run_ranks(3, {"predict", "output=" + folder_.path().string()}, short_timeouts));
  std::vector<int> batches;
  for (const char* rank : {"rank-0.txt", "rank-1.txt", "rank-2.txt"})
    batches.push_back(std::stoi(read_file(folder_ / rank)));
  const auto [least, most] = std::minmax_element(batches.begin(), batches.end());
  EXPECT_GT(*least, 50);
  EXPECT_LE(*most - *least, 4) << "two passes, the last round of each of which need not come out even";
}

TEST_F(Processes, AHelperThatIsKilledEndsAll) {
  const std::string port = std::to_string(20000 + (getpid() + 500) % 10000);
  const std::vector<RankOutcome> outcomes =
      run_ranks(3, {"predict", "output=" + folder_.path().string(), "end-rank=1"}, [&](int) {
        return std::vector<std::string>{"KOINE_RANKS_TIMEOUT=20", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port};
      });
  EXPECT_EQ(outcomes[1].exit_code, 128 + SIGKILL);
  for (const std::size_t rank : {0, 2}) {
    EXPECT_EQ(outcomes[rank].exit_code, 1);
    EXPECT_NE(outcomes[rank].errors.find("rank 1 is gone"), std::string::npos) << outcomes[rank].errors;
    EXPECT_LT(outcomes[rank].seconds, 20);
  }
}

// The same with devices, and with the communicator of devices.
TEST_F(Processes, AnyNumberOfDevicesTrainsToTheSameBits) {
  if (!cuda::on_host()) GTEST_SKIP() << "the stand-in for NCCL moves memory of the host implementation of CUDA";
  expect_success(run_ranks(3, {"collectives", "device=cuda"}));
  const std::string one = trained(1, "one", {"parts=4", "device=cuda"}, "encoder");
  ASSERT_NE(one.find("step 2"), std::string::npos) << one;
  EXPECT_EQ(trained(2, "two", {"parts=4", "device=cuda"}, "encoder"), one);
  EXPECT_EQ(trained(3, "three", {"parts=4", "device=cuda", "zero=2"}, "encoder"), one);
}

// Interrupted three times, each time by the last rank alone, and continued by others.
TEST_F(Processes, ResumeInAnotherNumber) {
  const std::string whole = trained(1, "whole", {"parts=8", "steps=9", "save=9", "eval=2"});
  const auto part = [&](int ranks, const std::string& stop) {
    return trained(ranks, "parts", {"parts=8", "steps=9", "save=9", "eval=2", "stop-at=" + stop});
  };
  EXPECT_NE(part(4, "3").find("interrupted"), std::string::npos);
  EXPECT_NE(part(2, "5").find("resumed behind step 3"), std::string::npos);
  EXPECT_NE(part(1, "6").find("interrupted"), std::string::npos);
  part(3, "-1");
  EXPECT_EQ(checkpoint_of("parts", 9), checkpoint_of("whole", 9));
  EXPECT_EQ(whole.substr(whole.find("weights")),
            read_file(folder_ / "parts" / "rank-2.txt").substr(read_file(folder_ / "parts" / "rank-2.txt").find("weights")));
}

// --- masters and moments that ranks share out -----------------------------------------------------------------------------

// Everything that is left: weights of every kind, codes, scales, moments. In fp32 mode each rank has all weights.
TEST_F(Processes, AShareOfTheOptimizerOnEachRankLeavesTheSameBits) {
  const std::vector<std::vector<std::string>> kinds = {{"optimizer=adamw"},
                                                       {"optimizer=adamw", "type=bf16"},
                                                       {"optimizer=adamw_8bit", "type=bf16", "master=remainder"},
                                                       {"optimizer=adamw_8bit", "type=bf16", "master=none"}};
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    const std::string name = concatenate("optimizer-", kind, "-");
    const std::string one = trained(1, name + "1", kinds[kind], "optimizer");
    ASSERT_NE(one.find("word master"), std::string::npos) << one;
    for (const int ranks : kind == 2 ? std::vector<int>{2, 3, 4} : std::vector<int>{3}) {
      std::vector<std::string> arguments = kinds[kind];
      arguments.emplace_back(ranks == 2 || kind == 1 ? "zero=1" : "zero=2");
      EXPECT_EQ(trained(ranks, name + std::to_string(ranks), arguments, "optimizer"), one);
    }
  }
}

TEST_F(Processes, AShareOfTheOptimizerOnEachDeviceLeavesTheSameBits) {
  if (!cuda::on_host()) GTEST_SKIP() << "the stand-in for NCCL moves memory of the host implementation of CUDA";
  std::vector<std::string> arguments = {"optimizer=adamw_8bit", "type=bf16", "master=remainder", "device=cuda"};
  const std::string one = trained(1, "one-device", arguments, "optimizer");
  arguments.emplace_back("zero=2");
  EXPECT_EQ(trained(3, "three-devices", arguments, "optimizer"), one);
}

// Clipping, evaluations, the best weights, checkpoints, whose files are those of one process.
TEST_F(Processes, TrainingsThatShareTheOptimizerAreTheSame) {
  const std::vector<std::string> usual = {"parts=8", "steps=6", "save=3", "eval=2"};
  for (const std::vector<std::string>& kind :
       {std::vector<std::string>{}, {"type=bf16"}, {"type=bf16", "master=remainder"}, {"type=bf16", "master=none"}}) {
    std::vector<std::string> arguments = usual;
    arguments.insert(arguments.end(), kind.begin(), kind.end());
    const std::string name = "sharing-" + (kind.empty() ? "fp32" : kind.back());
    const std::string one = trained(1, name + "-1", arguments);
    ASSERT_NE(one.find("step 6"), std::string::npos) << one;
    arguments.emplace_back();
    for (const int ranks : kind.empty() ? std::vector<int>{2, 4} : std::vector<int>{3}) {
      const std::string other = concatenate(name, "-", ranks);
      if (kind.empty()) arguments.insert(arguments.begin(), concatenate("overlap=", ranks == 4 ? 1 : 0));
      arguments.back() = ranks == 4 || (kind.size() == 2 && kind.back() == "master=remainder") ? "zero=2" : "zero=1";
      EXPECT_EQ(trained(ranks, other, arguments), one) << other;
      EXPECT_EQ(checkpoint_of(other, 6), checkpoint_of(name + "-1", 6)) << other;
    }
  }
}

TEST_F(Processes, ResumeWithAndWithoutSharing) {
  const std::vector<std::string> usual = {"parts=8", "steps=9", "save=9", "eval=2", "type=bf16", "master=remainder"};
  trained(1, "usual", usual);
  const auto part = [&](int ranks, const std::string& zero, const std::string& stop) {
    std::vector<std::string> arguments = usual;
    arguments.insert(arguments.end(), {"zero=" + zero, "stop-at=" + stop});
    return trained(ranks, "changing", arguments);
  };
  EXPECT_NE(part(4, "1", "3").find("interrupted"), std::string::npos);
  EXPECT_NE(part(2, "0", "5").find("resumed behind step 3"), std::string::npos);
  EXPECT_NE(part(3, "2", "7").find("resumed behind step 5"), std::string::npos);
  part(1, "0", "-1");
  EXPECT_EQ(checkpoint_of("changing", 9), checkpoint_of("usual", 9));
}

// A rank has no place for what two micro-batches of a part add up.
TEST_F(Processes, GradientsAreSharedOutMicroBatchByMicroBatch) {
  for (const RankOutcome& outcome :
       run_ranks(2, {"train", "output=" + (folder_ / "several").string(), "parts=2", "zero=2"}, short_timeouts)) {
    EXPECT_EQ(outcome.exit_code, 2);
    for (const char* part : {"zero = 2", "step 1 has a part of", "raise gradient_parts (2)", "max_tokens_per_batch (64)"})
      EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors;
  }
}

TEST_F(Processes, EndEarlyTogether) {
  const std::string early = trained(2, "early", {"steps=20", "eval=1", "patience=3"});
  EXPECT_NE(early.find("stopped early"), std::string::npos) << early;
}

TEST_F(Processes, WhoDiffersIsNamedWithWhatDiffers) {
  const auto expect_named = [&](const std::string& argument, const std::vector<std::string>& parts) {
    for (const RankOutcome& outcome :
         run_ranks(3, {"train", "output=" + (folder_ / "differs").string(), argument}, short_timeouts)) {
      EXPECT_EQ(outcome.exit_code, 1);
      for (const std::string& part : parts)
        EXPECT_NE(outcome.errors.find(part), std::string::npos) << outcome.errors << " lacks " << part;
    }
  };
  expect_named("other-rate=2", {"rank 2 does not agree with rank 0", "learning_rate is 0.01", "and 0.02"});
  expect_named("other-model=1", {"rank 1 does not agree with rank 0", "weights"});
}

/// Every rank but the one that ends by itself ends with an error that names it, within `seconds`.
void expect_all_end(const std::vector<RankOutcome>& outcomes, std::size_t culprit, const std::string& name, double seconds) {
  for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
    EXPECT_LT(outcomes[rank].seconds, seconds) << rank;
    if (rank == culprit) continue;
    EXPECT_EQ(outcomes[rank].exit_code, 1) << outcomes[rank].errors;
    EXPECT_NE(outcomes[rank].errors.find(name), std::string::npos) << "rank " << rank << ": " << outcomes[rank].errors;
  }
}

TEST_F(Processes, AKilledRankEndsAllAndTheRunResumes) {
  const std::string whole = trained(1, "whole", {"parts=8", "steps=8", "save=2"});
  RandomStream random(static_cast<std::uint64_t>(getpid()), 3);
  for (const std::size_t culprit : {std::size_t{0}, std::size_t{2}}) {
    const fs::path folder = folder_ / concatenate("killed-", culprit);
    fs::create_directories(folder);
    const std::int64_t step = 3 + random.below(5);
    const std::string port = std::to_string(20000 + (getpid() + 300 + static_cast<int>(culprit)) % 10000);
    const std::vector<RankOutcome> outcomes = run_ranks(
        4,
        {"train", "output=" + folder.string(), "parts=8", "steps=8", "save=2", "end=kill", concatenate("end-at=", step),
         concatenate("end-rank=", culprit)},
        [&](int) {
          return std::vector<std::string>{"KOINE_RANKS_TIMEOUT=20", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + port};
        });
    EXPECT_EQ(outcomes[culprit].exit_code, 128 + SIGKILL) << "step " << step << outcomes[culprit].errors;
    expect_all_end(outcomes, culprit, concatenate("rank ", culprit, " is gone"), 30);
    trained(4, concatenate("killed-", culprit), {"parts=8", "steps=8", "save=2"});
    EXPECT_EQ(checkpoint_of(concatenate("killed-", culprit), 8), checkpoint_of("whole", 8)) << "killed behind step " << step;
  }
}

TEST_F(Processes, AStoppedRankEndsAll) {
  const std::vector<RankOutcome> outcomes =
      run_ranks(3, {"train", "output=" + (folder_ / "stopped").string(), "end=stop", "end-at=2", "end-rank=1"},
                [](int) { return std::vector<std::string>{"KOINE_RANKS_TIMEOUT=6"}; });
  expect_all_end(outcomes, 1, "rank 1 is gone or stopped", 20);
}

TEST_F(Processes, ALateRankEndsAll) {
  const std::vector<RankOutcome> outcomes =
      run_ranks(3, {"train", "output=" + (folder_ / "late").string(), "end=late", "end-at=2", "end-rank=1"},
                [](int) { return std::vector<std::string>{"KOINE_RANKS_TIMEOUT=5"}; });
  expect_all_end(outcomes, 1, "rank 1 is late", 20);
  EXPECT_EQ(outcomes[1].exit_code, 1) << "it is ended too";
}

TEST_F(Processes, AnErrorOfOneIsToldByAll) {
  const std::vector<RankOutcome> outcomes = run_ranks(
      3, {"train", "output=" + (folder_ / "error").string(), "end=throw", "end-at=2", "end-rank=2"}, short_timeouts);
  expect_all_end(outcomes, 2, "rank 2 ended: this rank has had enough", 30);
  EXPECT_EQ(outcomes[2].exit_code, 1);
}

}  // namespace
}  // namespace koine
