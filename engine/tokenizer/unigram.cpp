#include "engine/tokenizer/unigram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <string>

#include "engine/files/text_file.h"
#include "engine/tokenizer/normalizer.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::uint32_t kBlock = 256;
constexpr std::uint32_t kRoot = kBlock;
constexpr std::uint32_t kUsed = 0x100;
constexpr int kBaseShift = 9;
constexpr std::string_view kSpaceSymbol = "\u2581";
constexpr float kUnknownPenalty = 10;

/// The piece as normalised text spells it.
std::string with_spaces(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    const bool space = piece.starts_with(kSpaceSymbol);
    text += space ? ' ' : piece.front();
    piece.remove_prefix(space ? kSpaceSymbol.size() : 1);
  }
  return text;
}

}  // namespace

/// Places the nodes of the sorted keys in blocks of 256 units, in the first of the last blocks that has room.
class UnigramSegmenter::Builder {
 public:
  using Key = std::pair<std::string, std::int32_t>;

  Builder(const std::vector<Key>& keys, std::vector<Unit>& units) : keys_(keys), units_(units) {
    require_room(nodes_of(keys));
    add_block();
    add_block();
    free_[0] = {};
    take(kRoot);
    units_[kRoot].word = kUsed;
    base_taken_[kRoot] = true;  // the root would be its owner's child for the byte 0
    place(0, keys.size(), 0, kRoot);
  }

 private:
  static constexpr std::size_t kOpenBlocks = 16;  // older blocks with few free units left are not searched again

  /// A node for every prefix of the sorted keys.
  static std::size_t nodes_of(const std::vector<Key>& keys) {
    std::size_t nodes = 1;
    std::string_view before;
    for (const auto& [text, id] : keys) {
      const auto [end, unused] = std::mismatch(text.begin(), text.end(), before.begin(), before.end());
      nodes += static_cast<std::size_t>(text.end() - end);
      before = text;
    }
    return nodes;
  }

  static void require_room(std::size_t units) {
    require(units < (1u << (32 - kBaseShift)),
            "the tokenizer's pieces are too many and too long: their trie has more than 8 million nodes");
  }

  void add_block() {
    units_.resize(units_.size() + kBlock);
    base_taken_.resize(units_.size(), false);
    free_.push_back({~0ull, ~0ull, ~0ull, ~0ull});
    require_room(units_.size());
  }
  bool is_free(std::uint32_t unit) const { return (free_[unit / kBlock][unit % kBlock / 64] >> unit % 64 & 1) != 0; }
  void take(std::uint32_t unit) { free_[unit / kBlock][unit % kBlock / 64] &= ~(1ull << unit % 64); }

  /// A base no node has, at which the units of all `labels` are free.
  std::uint32_t find_base(const std::vector<unsigned char>& labels) {
    for (std::size_t block = std::max<std::size_t>(1, free_.size() - std::min(free_.size(), kOpenBlocks));; ++block) {
      if (block == free_.size()) add_block();
      for (std::uint32_t word = 0; word < 4; ++word) {
        for (std::uint64_t bits = free_[block][word]; bits != 0; bits &= bits - 1) {
          const auto unit =
              static_cast<std::uint32_t>(block * kBlock + word * 64 + static_cast<unsigned>(std::countr_zero(bits)));
          const std::uint32_t base = unit ^ labels.front();
          if (base_taken_[base]) continue;
          if (std::all_of(labels.begin(), labels.end(), [&](unsigned char label) { return is_free(base ^ label); }))
            return base;
        }
      }
    }
  }

  /// Keys [begin, end) share their first `depth` bytes, which lead to `node`.
  void place(std::size_t begin, std::size_t end, std::size_t depth, std::uint32_t node) {
    if (keys_[begin].first.size() == depth) units_[node].id = keys_[begin++].second;
    std::vector<unsigned char> labels;
    std::vector<std::size_t> starts;
    for (std::size_t i = begin; i < end; ++i) {
      const auto label = static_cast<unsigned char>(keys_[i].first[depth]);
      if (!labels.empty() && labels.back() == label) continue;
      labels.push_back(label);
      starts.push_back(i);
    }
    if (labels.empty()) return;
    starts.push_back(end);
    const std::uint32_t base = find_base(labels);
    base_taken_[base] = true;
    units_[node].word |= base << kBaseShift;
    for (const unsigned char label : labels) {
      take(base ^ label);
      units_[base ^ label].word = kUsed | label;
    }
    for (std::size_t i = 0; i < labels.size(); ++i) place(starts[i], starts[i + 1], depth + 1, base ^ labels[i]);
  }

  const std::vector<Key>& keys_;
  std::vector<Unit>& units_;
  std::vector<std::array<std::uint64_t, 4>> free_;  // [blocks] a bit for each unit
  std::vector<bool> base_taken_;
};

bool UnigramSegmenter::supports(const TokenizerModel& model) {
  if (!model.unigram || model.byte_fallback || model.whitespace_as_suffix || !model.add_dummy_prefix ||
      !model.remove_extra_whitespaces || !model.escape_whitespaces) {
    return false;
  }
  const auto matches = [](const ModelPiece& piece) {
    return piece.type == ModelPiece::Type::kNormal && piece.text.find(' ') == std::string_view::npos;
  };
  if (std::none_of(model.pieces.begin(), model.pieces.end(), matches)) return false;
  return std::all_of(model.pieces.begin(), model.pieces.end(), [&](const ModelPiece& piece) {
    return piece.type != ModelPiece::Type::kUserDefined && piece.type != ModelPiece::Type::kByte &&
           (piece.type == ModelPiece::Type::kUnknown) == (&piece == &model.pieces.front()) &&
           invalid_utf8(piece.text) == std::string_view::npos;
  });
}

UnigramSegmenter::UnigramSegmenter(const std::vector<ModelPiece>& pieces) {
  std::vector<Builder::Key> keys;
  float least = std::numeric_limits<float>::max();
  for (std::size_t id = 0; id < pieces.size(); ++id) {
    scores_.push_back(pieces[id].score);
    if (pieces[id].type != ModelPiece::Type::kNormal) continue;
    least = std::min(least, pieces[id].score);
    // A piece with a plain space never matches: normalised text, as SentencePiece spells it, has none.
    if (pieces[id].text.find(' ') != std::string_view::npos) continue;
    keys.emplace_back(with_spaces(pieces[id].text), static_cast<std::int32_t>(id));
  }
  unknown_score_ = least - kUnknownPenalty;
  std::sort(keys.begin(), keys.end());
  check(!keys.empty(), "a vocabulary without pieces");
  Builder(keys, units_);
}

std::vector<UnigramSegmenter::Segment> UnigramSegmenter::segment(std::string_view normal) const {
  struct Best {
    float score = 0;
    std::int32_t start = -1;  // where its last piece begins; -1: not reached
    std::int32_t id = 0;
  };
  const std::size_t size = normal.size();
  std::vector<Best> best(size + 1);
  const auto offer = [&](std::size_t start, std::size_t end, std::int32_t id, double score) {
    Best& target = best[end];
    if (target.start >= 0 && !(score > static_cast<double>(target.score))) return;
    target = {static_cast<float>(score), static_cast<std::int32_t>(start), id};
  };
  for (std::size_t start = 0; start < size;) {
    const float before = best[start].score;
    const std::size_t character_end = std::min(size, start + character_bytes(normal[start]));
    bool single = false;
    std::uint32_t base = units_[kRoot].word >> kBaseShift;
    for (std::size_t at = start; at < size;) {
      const auto byte = static_cast<unsigned char>(normal[at++]);
      const Unit unit = units_[base ^ byte];
      if ((unit.word & 0x1ffu) != (kUsed | byte)) break;
      base = unit.word >> kBaseShift;
      if (unit.id < 0) continue;
      // In double as SentencePiece adds them, rounded when stored: what decides ties.
      offer(start, at, unit.id,
            static_cast<double>(scores_[static_cast<std::size_t>(unit.id)]) + static_cast<double>(before));
      single = single || at == character_end;
    }
    if (!single) offer(start, character_end, 0, static_cast<double>(unknown_score_ + before));
    start = character_end;
  }
  std::vector<Segment> segments;
  for (std::size_t end = size; end > 0; end = static_cast<std::size_t>(best[end].start)) {
    const bool continues_unknown = best[end].id == 0 && !segments.empty() && segments.back().id == 0;
    if (!continues_unknown) segments.push_back({best[end].id, static_cast<std::int32_t>(end)});
  }
  std::reverse(segments.begin(), segments.end());
  return segments;
}

}  // namespace koine
