#pragma once

// Where a training run reports to: metrics.jsonl, TensorBoard, the user's terminal.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <string>

#include "engine/files/tensorboard.h"
#include "engine/training/trainer.h"

namespace koine {

/// metrics.jsonl, one JSON object a line, flushed as it is written:
///   {"type": "step", "step", "total", "epoch", "task", "loss", "gradient_norm", "learning_rate", "tokens", "seconds",
///    "tokens_per_second"}           every `logging_steps` steps, the first and the last; figures of that step alone; in a run
///   of several tasks also "probability": with which the step's task was drawn
///   {"type": "evaluation", "step", "best", "metrics": {name: value}}
/// A fresh run begins a new file. A resumed one continues it: lines beyond the step it resumes behind (and a last line that
/// was cut off) are dropped, so that no step stands there twice. UserError naming the file when it cannot be written.
class MetricsFile : public TrainingObserver {
 public:
  explicit MetricsFile(std::filesystem::path path, std::int64_t logging_steps = 1);
  ~MetricsFile() override;
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;

  void on_start(std::int64_t step, std::int64_t total) override;
  void on_step(const Step& step) override;
  void on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) override;
  void on_message(const std::string&) override {}

 private:
  void write_line(const std::string& line);

  std::filesystem::path path_;
  std::int64_t logging_steps_;
  std::FILE* file_ = nullptr;
};

/// TensorBoard scalars: train/loss, train/learning_rate, train/gradient_norm, train/tokens_per_second every `logging_steps`
/// steps, the first and the last; eval/<metric> at every evaluation. Each call of train() begins an event file of its own in
/// `directory`, which TensorBoard shows as one run.
class TensorBoardObserver : public TrainingObserver {
 public:
  explicit TensorBoardObserver(std::filesystem::path directory, std::int64_t logging_steps = 1);

  void on_start(std::int64_t step, std::int64_t total) override;
  void on_step(const Step& step) override;
  void on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) override;
  void on_message(const std::string&) override {}

 private:
  std::filesystem::path directory_;
  std::int64_t logging_steps_;
  std::unique_ptr<TensorBoardWriter> writer_;
};

/// What a person watches. On a terminal one line that is rewritten (bar, steps, loss, tokens/s, time left), with evaluations
/// and messages as lines of their own above it; elsewhere a plain line whenever `seconds_between_lines` of steps have
/// passed, and for the last step; evaluations have such a bar of their own, or a line as often. Tokens per second are those of recent steps, the time left is that of the remaining steps
/// at the mean of this call of train(), evaluations not included.
class ProgressLine : public TrainingObserver {
 public:
  /// `output` outlives this. `terminal`: whether it can rewrite a line; the caller finds out.
  ProgressLine(std::ostream& output, bool terminal, double seconds_between_lines = 10);
  ~ProgressLine() override;
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void on_start(std::int64_t step, std::int64_t total) override;
  void on_step(const Step& step) override;
  void on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) override;
  void on_message(const std::string& text) override;
  void on_evaluating(const std::string& what, std::int64_t done, std::int64_t total) override;
  void on_end() override;

 private:
  void show_bar(std::int64_t done, std::int64_t total, const std::string& text);
  std::string figures(const Step& step) const;
  void write_line(const std::string& text);
  void end_evaluation_bar();
  void end_bar();

  std::ostream& output_;
  bool terminal_;
  double seconds_between_lines_;
  std::int64_t steps_ = 0;        ///< of this call of train()
  double seconds_ = 0;            ///< of those steps
  double tokens_per_second_ = 0;  ///< of recent steps
  double seconds_since_line_ = 0;
  std::string step_bar_;  ///< of the last step shown
  std::chrono::steady_clock::time_point evaluation_began_;
  std::chrono::steady_clock::time_point evaluation_shown_;
  std::string bar_;  ///< the line that stands unfinished on the terminal; empty: none
};

/// "0:07", "12:34", "3:04:05".
std::string format_duration(double seconds);

}  // namespace koine
