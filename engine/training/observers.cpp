#include "engine/training/observers.h"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <iomanip>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr double kSecondsBetweenBars = 0.1;  // as often as an eye can follow

double rate_of(const TrainingObserver::Step& step) {
  return step.seconds > 0 ? static_cast<double>(step.tokens) / step.seconds : 0.0;
}

bool is_logged(const TrainingObserver::Step& step, std::int64_t logging_steps) {
  return step.step == 1 || step.step == step.total || step.step % logging_steps == 0;
}

/// The lines of a metrics file up to `step`, without what cannot be read.
std::string lines_up_to(const std::filesystem::path& path, std::int64_t step) {
  std::istringstream lines(read_file(path));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find('\0') != std::string::npos) continue;  // zeros of a crash; the parser would take them for the end
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) continue;
    if (json["step"].get<std::int64_t>() <= step) kept += line + "\n";
  }
  return kept;
}

}  // namespace

// --- metrics.jsonl ------------------------------------------------------------------------------------------------------

MetricsFile::MetricsFile(std::filesystem::path path, std::int64_t logging_steps)
    : path_(std::move(path)), logging_steps_(logging_steps) {
  check(logging_steps > 0, "logging_steps is ", logging_steps);
}

MetricsFile::~MetricsFile() {
  if (file_ != nullptr) std::fclose(file_);
}

void MetricsFile::on_start(std::int64_t step, std::int64_t) {
  if (file_ != nullptr) std::fclose(file_);
  file_ = nullptr;
  const bool continues = step > 0 && std::filesystem::exists(path_);
  write_file_atomically(path_, continues ? lines_up_to(path_, step) : std::string());
  file_ = std::fopen(path_.c_str(), "a");
  require(file_ != nullptr, "cannot write ", path_.string(), ": ", std::strerror(errno));
}

void MetricsFile::on_step(const Step& step) {
  if (!is_logged(step, logging_steps_)) return;
  nlohmann::ordered_json line = {{"type", "step"},
                                 {"step", step.step},
                                 {"total", step.total},
                                 {"epoch", step.epoch},
                                 {"task", step.task},
                                 {"loss", step.loss},
                                 {"gradient_norm", step.gradient_norm},
                                 {"learning_rate", step.learning_rate},
                                 {"tokens", step.tokens},
                                 {"seconds", step.seconds},
                                 {"tokens_per_second", rate_of(step)}};
  if (step.probability) line["probability"] = *step.probability;
  if (step.communication) {
    line["communication_seconds"] = step.communication->all;
    line["communication_waited_seconds"] = step.communication->waited;
  }
  if (step.communication_bytes) line["communication_bytes"] = *step.communication_bytes;
  write_line(line.dump());
}

void MetricsFile::on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) {
  const nlohmann::ordered_json line = {{"type", "evaluation"}, {"step", step}, {"best", best}, {"metrics", metrics}};
  write_line(line.dump());
}

void MetricsFile::write_line(const std::string& line) {
  check(file_ != nullptr, "metrics are written before on_start");
  const std::string text = line + "\n";
  const bool written = std::fwrite(text.data(), 1, text.size(), file_) == text.size() && std::fflush(file_) == 0;
  require(written, "cannot write ", path_.string(), ": ", std::strerror(errno));
}

// --- TensorBoard --------------------------------------------------------------------------------------------------------

TensorBoardObserver::TensorBoardObserver(std::filesystem::path directory, std::int64_t logging_steps)
    : directory_(std::move(directory)), logging_steps_(logging_steps) {
  check(logging_steps > 0, "logging_steps is ", logging_steps);
}

void TensorBoardObserver::on_start(std::int64_t, std::int64_t) { writer_ = std::make_unique<TensorBoardWriter>(directory_); }

void TensorBoardObserver::on_step(const Step& step) {
  check(writer_ != nullptr, "events are written before on_start");
  if (!is_logged(step, logging_steps_)) return;
  writer_->scalar("train/loss", static_cast<float>(step.loss), step.step);
  writer_->scalar("train/learning_rate", static_cast<float>(step.learning_rate), step.step);
  writer_->scalar("train/gradient_norm", static_cast<float>(step.gradient_norm), step.step);
  writer_->scalar("train/tokens_per_second", static_cast<float>(rate_of(step)), step.step);
}

void TensorBoardObserver::on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool) {
  check(writer_ != nullptr, "events are written before on_start");
  for (const auto& [name, value] : metrics) writer_->scalar("eval/" + name, static_cast<float>(value), step);
}

// --- the progress line --------------------------------------------------------------------------------------------------

std::string format_duration(double seconds) {
  const auto total = static_cast<std::int64_t>(std::llround(std::max(0.0, seconds)));
  std::ostringstream text;
  text << std::setfill('0');
  if (total >= 3600) {
    text << total / 3600 << ':' << std::setw(2) << total / 60 % 60;
  } else {
    text << total / 60;
  }
  text << ':' << std::setw(2) << total % 60;
  return text.str();
}

ProgressLine::ProgressLine(std::ostream& output, bool terminal, double seconds_between_lines)
    : output_(output), terminal_(terminal), seconds_between_lines_(seconds_between_lines) {}

ProgressLine::~ProgressLine() { end_bar(); }

void ProgressLine::on_start(std::int64_t, std::int64_t) {
  steps_ = 0;
  seconds_ = 0;
  tokens_per_second_ = 0;
  seconds_since_line_ = seconds_between_lines_;  // the first step is shown
}

void ProgressLine::on_step(const Step& step) {
  constexpr double kMemory = 0.9;  // weight of the past in the rate shown
  ++steps_;
  seconds_ += step.seconds;
  seconds_since_line_ += step.seconds;
  tokens_per_second_ = steps_ == 1 ? rate_of(step) : kMemory * tokens_per_second_ + (1 - kMemory) * rate_of(step);
  const bool last = step.step == step.total;
  if (!last && seconds_since_line_ < (terminal_ ? kSecondsBetweenBars : seconds_between_lines_)) return;
  seconds_since_line_ = 0;
  if (!terminal_) {
    write_line(concatenate("step ", figures(step)));
    return;
  }
  show_bar(step.step, step.total, figures(step));
  step_bar_ = bar_;
}

void ProgressLine::show_bar(std::int64_t done, std::int64_t total, const std::string& text) {
  constexpr int kWidth = 30;
  const auto filled = static_cast<std::size_t>(kWidth * done / std::max<std::int64_t>(1, total));
  bar_ = concatenate('[', std::string(filled, '='), std::string(kWidth - filled, ' '), "] ", text);
  output_ << "\r\x1b[K" << bar_ << std::flush;
}

void ProgressLine::on_evaluating(const std::string& what, std::int64_t done, std::int64_t total) {
  const auto now = std::chrono::steady_clock::now();
  const auto seconds = [&](std::chrono::steady_clock::time_point since) {
    return std::chrono::duration<double>(now - since).count();
  };
  if (done == 0) {
    evaluation_began_ = now;
    evaluation_shown_ = now;
  }
  if (seconds(evaluation_shown_) < (terminal_ ? kSecondsBetweenBars : seconds_between_lines_)) return;
  evaluation_shown_ = now;
  const double left =
      seconds(evaluation_began_) * static_cast<double>(total - done) / static_cast<double>(std::max<std::int64_t>(1, done));
  const std::string text = concatenate("evaluating ", what, "  ", 100 * done / std::max<std::int64_t>(1, total), " %  ",
                                       format_duration(left), " left");
  if (terminal_) {
    show_bar(done, total, text);
  } else {
    write_line(text);
  }
}

std::string ProgressLine::figures(const Step& step) const {
  const double left = static_cast<double>(step.total - step.step) * seconds_ / static_cast<double>(steps_);
  std::ostringstream text;
  text << step.step << '/' << step.total << "  loss " << std::fixed << std::setprecision(4) << step.loss << "  "
       << std::setprecision(0) << tokens_per_second_ << " tokens/s  " << format_duration(left) << " left";
  return text.str();
}

void ProgressLine::on_evaluation(std::int64_t step, const std::map<std::string, double>& metrics, bool best) {
  std::ostringstream text;
  text << "evaluation behind step " << step << ":" << std::fixed << std::setprecision(2);
  for (const auto& [name, value] : metrics) text << "  " << name << " " << value;
  if (best) text << "  (best so far)";
  end_evaluation_bar();
  write_line(text.str());
}

void ProgressLine::on_message(const std::string& text) { write_line(text); }

void ProgressLine::on_end() { end_bar(); }

// A line of its own goes where the bar stood, and the bar below it.
void ProgressLine::write_line(const std::string& text) {
  if (!bar_.empty()) output_ << "\r\x1b[K";
  output_ << text << '\n' << bar_ << std::flush;
}

/// What stood there before it is there again, or nothing.
void ProgressLine::end_evaluation_bar() {
  if (bar_ == step_bar_) return;
  output_ << "\r\x1b[K" << step_bar_ << std::flush;
  bar_ = step_bar_;
}

void ProgressLine::end_bar() {
  end_evaluation_bar();
  if (!bar_.empty()) output_ << '\n' << std::flush;
  bar_.clear();
  step_bar_.clear();
}

}  // namespace koine
