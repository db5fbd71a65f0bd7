#include "engine/training/observers.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "engine/files/text_file.h"
#include "tests/engine/temporary_folder.h"

namespace koine {
namespace {

TrainingObserver::Step step_at(std::int64_t step, std::int64_t total, double seconds = 0.5) {
  return {step, total, 0.25, 1.0 / 3, 2.5, 1e-5, 1000, seconds, "mnli"};
}

std::vector<std::int64_t> steps_in(const std::filesystem::path& path) {
  std::vector<std::int64_t> steps;
  for (const std::string& line : read_lines(path)) steps.push_back(nlohmann::json::parse(line).at("step"));
  return steps;
}

TEST(MetricsFile, HoldsOneObjectALineAndIsFlushedAtOnce) {
  const TemporaryFolder folder;
  MetricsFile metrics(folder / "metrics.jsonl", 5);
  metrics.on_start(0, 12);
  for (std::int64_t step = 1; step <= 12; ++step) metrics.on_step(step_at(step, 12));
  metrics.on_evaluation(12, {{"accuracy", 81.25}, {"f1", 2.0 / 3}}, true);
  EXPECT_EQ(steps_in(folder / "metrics.jsonl"), (std::vector<std::int64_t>{1, 5, 10, 12, 12}));
  const std::vector<std::string> lines = read_lines(folder / "metrics.jsonl");
  const nlohmann::json first = nlohmann::json::parse(lines.front());
  EXPECT_EQ(first.at("type"), "step");
  EXPECT_EQ(first.at("loss").get<double>(), 1.0 / 3);  // written so that it reads back as the same double
  EXPECT_EQ(first.at("tokens_per_second"), 2000);
  EXPECT_EQ(first.at("task"), "mnli");
  const nlohmann::json last = nlohmann::json::parse(lines.back());
  EXPECT_EQ(last.at("type"), "evaluation");
  EXPECT_EQ(last.at("best"), true);
  EXPECT_EQ(last.at("metrics").at("f1").get<double>(), 2.0 / 3);
}

TEST(MetricsFile, AResumedRunDropsWhatWillComeAgain) {
  const TemporaryFolder folder;
  {
    MetricsFile metrics(folder / "metrics.jsonl");
    metrics.on_start(0, 10);
    for (std::int64_t step = 1; step <= 6; ++step) metrics.on_step(step_at(step, 10));
    metrics.on_evaluation(4, {{"accuracy", 50}}, true);
    metrics.on_evaluation(6, {{"accuracy", 60}}, true);
  }
  std::ofstream(folder / "metrics.jsonl", std::ios::app) << R"({"type": "step", "st)";  // killed while writing
  MetricsFile metrics(folder / "metrics.jsonl");
  metrics.on_start(4, 10);
  metrics.on_step(step_at(5, 10));
  EXPECT_EQ(steps_in(folder / "metrics.jsonl"), (std::vector<std::int64_t>{1, 2, 3, 4, 4, 5}));
  metrics.on_start(0, 10);  // a fresh run
  EXPECT_TRUE(steps_in(folder / "metrics.jsonl").empty());
}

TEST(MetricsFile, WhatCannotBeWrittenIsNamed) {
  MetricsFile metrics("/nowhere/at/all/metrics.jsonl");
  expect_user_error([&] { metrics.on_start(0, 10); }, {"/nowhere/at/all"});
}

TEST(TensorBoardObserver, WritesItsScalarsUnderTheirNames) {
  const TemporaryFolder folder;
  TensorBoardObserver events(folder.path(), 5);
  events.on_start(0, 12);
  for (std::int64_t step = 1; step <= 12; ++step) events.on_step(step_at(step, 12));
  events.on_evaluation(12, {{"accuracy", 81.25}}, true);
  ASSERT_EQ(folder.entries(), 1u);
  const std::string file = read_file(std::filesystem::directory_iterator(folder.path())->path());
  const auto occurrences = [&](const std::string& tag) {
    int count = 0;
    for (std::size_t at = file.find(tag); at != std::string::npos; at = file.find(tag, at + 1)) ++count;
    return count;
  };
  for (const char* tag : {"train/loss", "train/learning_rate", "train/gradient_norm", "train/tokens_per_second"}) {
    EXPECT_EQ(occurrences(tag), 4) << tag;  // steps 1, 5, 10, 12
  }
  EXPECT_EQ(occurrences("eval/accuracy"), 1);
}

TEST(ProgressLine, WritesPlainLinesNowAndThenWhereThereIsNoTerminal) {
  std::ostringstream output;
  {
    ProgressLine progress(output, false, 10);
    progress.on_start(0, 100);
    for (std::int64_t step = 1; step <= 100; ++step) progress.on_step(step_at(step, 100));
    progress.on_evaluation(100, {{"accuracy", 81.254}}, true);
    progress.on_end();
  }
  EXPECT_EQ(output.str(),
            "step 1/100  loss 0.3333  2000 tokens/s  0:50 left\n"  // 99 steps of half a second
            "step 21/100  loss 0.3333  2000 tokens/s  0:40 left\n"
            "step 41/100  loss 0.3333  2000 tokens/s  0:30 left\n"
            "step 61/100  loss 0.3333  2000 tokens/s  0:20 left\n"
            "step 81/100  loss 0.3333  2000 tokens/s  0:10 left\n"
            "step 100/100  loss 0.3333  2000 tokens/s  0:00 left\n"
            "evaluation behind step 100:  accuracy 81.25  (best so far)\n");
}

TEST(ProgressLine, RewritesOneLineOnATerminal) {
  std::ostringstream output;
  {
    ProgressLine progress(output, true);
    progress.on_start(10, 20);
    progress.on_step(step_at(11, 20));
    progress.on_message("saved");
    progress.on_step(step_at(20, 20, 0.01));
  }
  const std::string first = "[================              ] 11/20  loss 0.3333  2000 tokens/s  0:05 left";
  EXPECT_EQ(output.str(), "\r\x1b[K" + first + "\r\x1b[Ksaved\n" + first +
                              "\r\x1b[K[==============================] 20/20  loss 0.3333  11800 tokens/s  0:00 left\n");
}

TEST(ProgressLine, ShowsHowFarAnEvaluationIs) {
  std::ostringstream output;
  ProgressLine progress(output, true);
  progress.on_start(0, 20);
  progress.on_step(step_at(10, 20));
  const std::string step = output.str().substr(output.str().find("[="));
  output.str("");
  progress.on_evaluating("mnli dev", 0, 1000);
  EXPECT_EQ(output.str(), "") << "not before an eye could follow";
  std::this_thread::sleep_for(std::chrono::milliseconds(110));
  progress.on_evaluating("mnli dev", 500, 1000);
  EXPECT_EQ(output.str(), "\r\x1b[K[===============               ] evaluating mnli dev  50 %  0:00 left");
  output.str("");
  progress.on_evaluation(10, {{"accuracy", 81.254}}, false);
  EXPECT_EQ(output.str(), "\r\x1b[K" + step + "\r\x1b[Kevaluation behind step 10:  accuracy 81.25\n" + step);
  output.str("");
  progress.on_end();
  EXPECT_EQ(output.str(), "\n");

  std::ostringstream plain;
  ProgressLine lines(plain, false, 0.0);
  lines.on_evaluating("xnli de", 0, 10);
  lines.on_evaluating("xnli de", 10, 10);
  lines.on_end();
  EXPECT_NE(plain.str().find("evaluating xnli de  100 %  0:00 left\n"), std::string::npos) << plain.str();
  EXPECT_EQ(plain.str().find('\r'), std::string::npos);
}

TEST(ProgressLine, DurationsReadLikeAClock) {
  EXPECT_EQ(format_duration(7.4), "0:07");
  EXPECT_EQ(format_duration(12 * 60 + 34), "12:34");
  EXPECT_EQ(format_duration(3 * 3600 + 4 * 60 + 5), "3:04:05");
  EXPECT_EQ(format_duration(-1), "0:00");
}

}  // namespace
}  // namespace koine
