#include "models/shell/search.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr float kImpossible = -1e9f;

struct RunningBeam {
  std::vector<std::int32_t> ids;
  float log_probability = 0;
  std::int32_t row = 0;  ///< of the decoding
};

struct FinishedBeam {
  std::vector<std::int32_t> ids;
  float score = kImpossible;
  bool finished = false;
};

struct Candidate {
  std::size_t beam = 0;
  std::int32_t token = 0;
  float log_probability = 0;
  bool ends = false;
};

void require_known(const std::vector<std::int32_t>& answer, std::int64_t vocabulary) {
  for (const std::int32_t id : answer) {
    require(id >= 0 && id < vocabulary, "an answer has the token ", id, ", the vocabulary is of ", vocabulary);
  }
}

/// Which tokens may follow what was written, where only some answers are allowed.
class Answers {
 public:
  Answers(const std::vector<std::vector<std::int32_t>>& answers, std::int32_t end, std::int64_t vocabulary) {
    for (const std::vector<std::int32_t>& answer : answers) {
      require(!answer.empty() && answer.back() == end, "an answer that is allowed does not end");
      require_known(answer, vocabulary);
      std::vector<std::int32_t> prefix;
      for (const std::int32_t id : answer) {
        std::vector<std::int32_t>& next = next_[prefix];
        if (std::find(next.begin(), next.end(), id) == next.end()) next.push_back(id);
        prefix.push_back(id);
      }
    }
  }
  const std::vector<std::int32_t>& behind(const std::vector<std::int32_t>& ids) const {
    static const std::vector<std::int32_t> kNone;
    const auto found = next_.find(ids);
    return found == next_.end() ? kNone : found->second;
  }

 private:
  std::map<std::vector<std::int32_t>, std::vector<std::int32_t>> next_;
};

/// Of all sources one, or one each; none where everything may be answered.
std::vector<Answers> allowed_answers(const GenerationSettings& settings, std::int64_t sources, std::int64_t vocabulary) {
  std::vector<Answers> allowed;
  require(settings.answers.empty() || settings.own_answers.empty(),
          "answers are allowed for all sources, or each has its own");
  require(settings.own_answers.empty() || std::ssize(settings.own_answers) == sources, std::ssize(settings.own_answers),
          " lists of answers for ", sources, " sources");
  if (!settings.answers.empty()) allowed.emplace_back(settings.answers, settings.end, vocabulary);
  for (const std::vector<std::vector<std::int32_t>>& own : settings.own_answers) {
    require(!own.empty(), "a source has no answer that is allowed");
    allowed.emplace_back(own, settings.end, vocabulary);
  }
  return allowed;
}

/// The beams of one text, as transformers' _beam_search has them for one row of its batch.
class TextSearch {
 public:
  TextSearch(const GenerationSettings& settings, std::int32_t row)
      : settings_(settings), running_(1), finished_(static_cast<std::size_t>(settings.beams)) {
    running_.front().row = row;
  }

  bool done() const { return done_; }
  /// The rows that the decoding gave the beams, from `row` on, which moves behind them.
  void number_rows(std::int32_t& row) {
    for (RunningBeam& beam : running_) beam.row = row++;
  }
  const std::vector<RunningBeam>& running() const { return running_; }

  void advance(const NextTokens& next) {
    std::vector<Candidate> candidates = best_candidates(next);
    finish(candidates);
    go_on(candidates);
    ++length_;
    update_done();
  }

  Generation result() const {
    const FinishedBeam& best = finished_.front();
    return {best.ids, best.score};
  }

 private:
  bool all_finished() const {
    return std::all_of(finished_.begin(), finished_.end(), [](const FinishedBeam& beam) { return beam.finished; });
  }
  double by_length(double log_probability, std::int64_t length) const {
    return log_probability / std::pow(static_cast<double>(length), settings_.length_penalty);
  }

  std::vector<Candidate> best_candidates(const NextTokens& next) const {
    std::vector<Candidate> candidates;
    for (std::size_t beam = 0; beam < running_.size(); ++beam) {
      const auto first = static_cast<std::size_t>(running_[beam].row * next.count);
      for (std::size_t i = first; i < first + static_cast<std::size_t>(next.count); ++i) {
        if (next.ids[i] < 0) continue;
        candidates.push_back(
            {beam, next.ids[i], next.log_probabilities[i] + running_[beam].log_probability, next.ids[i] == settings_.end});
      }
    }
    const auto better = [](const Candidate& a, const Candidate& b) { return a.log_probability > b.log_probability; };
    std::stable_sort(candidates.begin(), candidates.end(), better);
    candidates.resize(std::min(candidates.size(), static_cast<std::size_t>(2 * settings_.beams)));
    const bool last = length_ + 1 == settings_.maximum_length;
    for (Candidate& candidate : candidates) candidate.ends = candidate.ends || last;
    return candidates;
  }

  std::vector<std::int32_t> ids_of(const Candidate& candidate) const {
    std::vector<std::int32_t> ids = running_[candidate.beam].ids;
    ids.push_back(candidate.token);
    return ids;
  }

  /// Of the best as many candidates as there are beams, those that end take the place of finished ones that are worse.
  void finish(const std::vector<Candidate>& candidates) {
    if (settings_.early_stopping == EarlyStopping::kYes && all_finished()) return;
    for (std::size_t i = 0; i < std::min(candidates.size(), finished_.size()); ++i) {
      if (!candidates[i].ends) continue;
      finished_.push_back(
          {ids_of(candidates[i]), static_cast<float>(by_length(candidates[i].log_probability, length_ + 1)), true});
    }
    const auto better = [](const FinishedBeam& a, const FinishedBeam& b) { return a.score > b.score; };
    std::stable_sort(finished_.begin(), finished_.end(), better);
    finished_.resize(static_cast<std::size_t>(settings_.beams));
  }

  void go_on(const std::vector<Candidate>& candidates) {
    std::vector<RunningBeam> next;
    for (const Candidate& candidate : candidates) {
      if (candidate.ends || std::ssize(next) == settings_.beams) continue;
      next.push_back({ids_of(candidate), candidate.log_probability, running_[candidate.beam].row});
    }
    running_ = std::move(next);
  }

  void update_done() {
    done_ = running_.empty() || length_ == settings_.maximum_length;
    if (done_ || !all_finished()) return;
    const bool to_the_end = settings_.early_stopping == EarlyStopping::kNever && settings_.length_penalty > 0;
    const double best = by_length(running_.front().log_probability, to_the_end ? settings_.maximum_length : length_);
    done_ = settings_.early_stopping == EarlyStopping::kYes || best <= finished_.back().score;
  }

  const GenerationSettings& settings_;
  std::vector<RunningBeam> running_;    ///< best first
  std::vector<FinishedBeam> finished_;  ///< best first, as many as beams
  std::int64_t length_ = 0;             ///< tokens written
  bool done_ = false;
};

}  // namespace

std::vector<Generation> search(Decoding& decoding, std::int64_t sources, const GenerationSettings& settings) {
  require(settings.beams >= 1 && 2 * settings.beams <= decoding.vocabulary(), "a search with ", settings.beams,
          " beams over a vocabulary of ", decoding.vocabulary());
  require(settings.maximum_length >= 1, "an answer has at least one token, not ", settings.maximum_length);
  const std::vector<Answers> answers = allowed_answers(settings, sources, decoding.vocabulary());
  std::vector<TextSearch> texts;
  for (std::int64_t source = 0; source < sources; ++source) texts.emplace_back(settings, static_cast<std::int32_t>(source));
  NextTokens next;
  next.count = settings.beams == 1 ? 1 : 2 * settings.beams;
  for (std::int64_t step = 0; step < settings.maximum_length; ++step) {
    DecodingRows rows;
    for (std::size_t source = 0; source < texts.size(); ++source) {
      if (texts[source].done()) continue;
      for (const RunningBeam& beam : texts[source].running()) {
        rows.parents.push_back(beam.row);
        rows.sources.push_back(static_cast<std::int32_t>(source));
        rows.tokens.push_back(beam.ids.empty() ? -1 : beam.ids.back());
        if (!answers.empty()) rows.allowed.push_back(answers[answers.size() == 1 ? 0 : source].behind(beam.ids));
      }
    }
    if (rows.parents.empty()) break;
    decoding.step(rows, next);
    std::int32_t row = 0;
    for (TextSearch& text : texts) {
      if (text.done()) continue;
      text.number_rows(row);
      text.advance(next);
    }
  }
  std::vector<Generation> result;
  for (const TextSearch& text : texts) result.push_back(text.result());
  return result;
}

namespace {

/// What answers of a source have in common at their beginning.
struct SharedBeginning {
  std::int32_t source = 0;
  std::int32_t row = 0;    ///< of the step that gave it but for its last token; at first its source
  std::int32_t last = -1;  ///< its last token; -1: nothing is written
  std::vector<std::size_t> answers;
};

/// The list of a source.
const std::vector<std::vector<std::int32_t>>& list_of(const AnswersOfSources& answers, std::int32_t source) {
  return answers[answers.size() == 1 ? 0 : static_cast<std::size_t>(source)];
}

/// The tokens at `length` of a beginning's answers, each once.
std::vector<std::int32_t> tokens_behind(const SharedBeginning& beginning, const AnswersOfSources& answers,
                                        std::size_t length) {
  std::vector<std::int32_t> tokens;
  for (const std::size_t answer : beginning.answers) {
    const std::int32_t token = list_of(answers, beginning.source)[answer][length];
    if (std::find(tokens.begin(), tokens.end(), token) == tokens.end()) tokens.push_back(token);
  }
  return tokens;
}

float log_probability_of(const NextTokens& next, std::size_t row, std::int32_t token) {
  const auto count = static_cast<std::size_t>(next.count);
  const auto begin = next.ids.begin() + static_cast<std::ptrdiff_t>(row * count);
  const auto found = std::find(begin, begin + next.count, token);
  check(found != begin + next.count, "a decoding told nothing of token ", token);
  return next.log_probabilities[static_cast<std::size_t>(found - next.ids.begin())];
}

}  // namespace

AnswerRows rows_to_compare(std::int64_t sources, const AnswersOfSources& answers) {
  check(answers.size() == 1 || std::ssize(answers) == sources, "answers of ", answers.size(),
        " sources are compared, there are ", sources);
  AnswerRows size = {0, 1};
  for (std::int32_t source = 0; source < sources; ++source) {
    size.rows += std::ssize(list_of(answers, source));
    for (const std::vector<std::int32_t>& answer : list_of(answers, source))
      size.longest = std::max(size.longest, std::ssize(answer));
  }
  size.rows = std::max<std::int64_t>(size.rows, 1);
  return size;
}

std::vector<std::vector<float>> compare(Decoding& decoding, std::int64_t sources, const AnswersOfSources& answers) {
  std::vector<std::vector<double>> sums;
  std::vector<SharedBeginning> open;
  for (std::int32_t source = 0; source < sources; ++source) {
    SharedBeginning nothing = {source, source, -1, {}};
    for (const std::vector<std::int32_t>& answer : list_of(answers, source)) {
      require(!answer.empty(), "an answer that is compared is empty");
      require_known(answer, decoding.vocabulary());
      nothing.answers.push_back(nothing.answers.size());
    }
    sums.emplace_back(nothing.answers.size(), 0.0);
    if (!nothing.answers.empty()) open.push_back(std::move(nothing));
  }
  NextTokens next;
  for (std::size_t length = 0; !open.empty(); ++length) {
    DecodingRows rows;
    next.count = 1;
    for (const SharedBeginning& beginning : open) {
      rows.parents.push_back(beginning.row);
      rows.sources.push_back(beginning.source);
      rows.tokens.push_back(beginning.last);
      rows.allowed.push_back(tokens_behind(beginning, answers, length));
      next.count = std::max(next.count, static_cast<std::int32_t>(rows.allowed.back().size()));
    }
    decoding.step(rows, next);
    std::vector<SharedBeginning> longer;
    for (std::size_t row = 0; row < open.size(); ++row) {
      const SharedBeginning& beginning = open[row];
      for (const std::int32_t token : rows.allowed[row]) {
        const double log_probability = log_probability_of(next, row, token);
        SharedBeginning on = {beginning.source, static_cast<std::int32_t>(row), token, {}};
        for (const std::size_t answer : beginning.answers) {
          const std::vector<std::int32_t>& ids = list_of(answers, beginning.source)[answer];
          if (ids[length] != token) continue;
          sums[static_cast<std::size_t>(beginning.source)][answer] += log_probability;
          if (ids.size() > length + 1) on.answers.push_back(answer);
        }
        if (!on.answers.empty()) longer.push_back(std::move(on));
      }
    }
    open = std::move(longer);
  }
  std::vector<std::vector<float>> scores;
  for (const std::vector<double>& sum : sums) scores.emplace_back(sum.begin(), sum.end());
  return scores;
}

}  // namespace koine
