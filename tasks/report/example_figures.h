#pragma once

// Figures of evaluations with their test examples drawn anew: what intervals over examples are made of. Every set of test examples has
// draws of its own, the same for all models, arms and seeds; test sets that are translations of one another (TaskRow::parallel) are one
// set, an example drawn in all its languages together, for its difficulty is much the same in them. And how far answers in two languages
// agree.
//
//     same answer      where answers are chosen of numbered candidates: the share of examples with the same one in both languages.
//                      Unreadable answers agree with none.
//     RankC            Qi, Fernandez and Bisazza, Cross-Lingual Consistency of Factual Knowledge in Multilingual Language Models (EMNLP
//                      2023): of an example with N candidates, sum over j = 1 .. N of w(j) |top j of one & top j of the other| / j, with
//                      w(j) = exp(N - j) / sum over k of exp(N - k); the mean over examples. Their candidates are words, a list for each
//                      question; ours are the task's labels, the same for all examples, ranked by the head's logits. With two labels it
//                      says what the same answer does: 1 / (1 + e) of the way to 1 is always reached.
//     shared right     where answers are texts, which cannot be compared over languages: of the questions answered exactly in at least one
//                      of the two languages, the share answered so in both (the overlap of Jiang et al., X-FACTR, EMNLP 2020). Ours is
//                      that this stands for agreement; questions that both get wrong are not in it, for wrong answers may differ.
//
// All in percent, against the source language's answers of the same model, arm and seed.

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tasks/report/kept_outcomes.h"

namespace koine {

inline constexpr std::int64_t kResamples = 2000;

enum class ExampleMeasure { kFigure, kSameAnswer, kRankC, kSharedRight };

struct ExampleFigure {
  double value = 0;
  std::vector<double> drawn;  ///< [kResamples]
};

class ExampleFigures {
 public:
  ExampleFigures(const std::vector<KeptOutcomes>& kept, const std::string& source_language);

  struct Key {
    ExampleMeasure measure = ExampleMeasure::kFigure;
    std::string model;
    std::string intermediate;
    std::string target;
    std::string language;
    auto operator<=>(const Key&) const = default;
  };
  /// By seed; null where nothing is kept.
  const std::map<std::uint32_t, ExampleFigure>* find(const Key& key) const;
  /// The metric whose figures are kept of a target; empty: none.
  std::string metric(const std::string& target) const;
  /// The set of test examples that a target's figures in a language are of, and how many it has.
  std::pair<std::string, std::int64_t> set_of(const std::string& target, const std::string& language) const;
  /// "xnli sw: 3 of 5010 examples ...": sets said to be translations of one another in which the same answer is right in one
  /// language and wrong in the other.
  const std::vector<std::string>& not_parallel() const { return not_parallel_; }
  bool empty() const { return figures_.empty(); }

 private:
  using Group = std::vector<const KeptOutcomes*>;
  void add_set(const std::string& name, const Group& group, const std::string& source_language);

  std::map<Key, std::map<std::uint32_t, ExampleFigure>> figures_;
  std::map<std::string, std::string> metrics_;
  std::map<std::string, bool> parallel_;          ///< by target
  std::map<std::string, std::int64_t> examples_;  ///< by set
  std::vector<std::string> not_parallel_;
};

/// RankC of one example, 0 to 1. The rankings hold the same numbers.
double rank_consistency(const std::int16_t* one, const std::int16_t* other, std::int64_t candidates);

}  // namespace koine
