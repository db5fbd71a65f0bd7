#include "models/vocabulary.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "engine/files/text_file.h"
#include "engine/tokenizer/model_file.h"
#include "engine/tokenizer/tokenizer_files.h"
#include "engine/tokenizer/unigram.h"
#include "kernels/common/check.h"
#include "models/models.h"

namespace koine {
namespace {

namespace fs = std::filesystem;

/// Tensors with a row for each id: embedding, decoder and bias of the masked-language head (transformers' names).
constexpr std::string_view kRowsOfIds[] = {
    "embeddings.word_embeddings.weight", "lm_head.decoder.weight",       "lm_head.decoder.bias", "lm_head.bias",
    "cls.predictions.decoder.weight",    "cls.predictions.decoder.bias", "cls.predictions.bias"};

bool has_row_of_ids(const std::string& name) {
  return std::any_of(std::begin(kRowsOfIds), std::end(kRowsOfIds),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

/// Which pieces stay: those in use, those that are no text, and the one of least score.
std::vector<bool> pieces_to_keep(const TokenizerModel& model, const Tokenizer& tokenizer, const std::vector<bool>& used) {
  const std::int32_t shift =
      tokenizer.vocabulary_size() - (tokenizer.special().mask < 0 ? 0 : 1) - static_cast<std::int32_t>(model.pieces.size());
  std::vector<bool> keep;
  std::size_t least = 0;
  for (std::size_t piece = 0; piece < model.pieces.size(); ++piece) {
    const bool text = model.pieces[piece].type == ModelPiece::Type::kNormal;
    keep.push_back(!text || used[piece + static_cast<std::size_t>(shift)]);
    if (text && (least == 0 || model.pieces[piece].score < model.pieces[least].score)) least = piece;
  }
  keep[least] = true;
  return keep;
}

/// The old ids that stay, ascending: special ones and those of kept pieces.
std::vector<std::int32_t> ids_to_keep(const Tokenizer& tokenizer, const std::vector<bool>& keep) {
  const SpecialTokens& special = tokenizer.special();
  const auto pieces = static_cast<std::int32_t>(keep.size());
  const std::int32_t shift = tokenizer.vocabulary_size() - (special.mask < 0 ? 0 : 1) - pieces;
  std::vector<std::int32_t> ids;
  for (std::int32_t id = 0; id < tokenizer.vocabulary_size(); ++id) {
    const std::int32_t piece = id - shift;
    if (special.is_special(id) || (piece >= 0 && piece < pieces && keep[static_cast<std::size_t>(piece)])) ids.push_back(id);
  }
  return ids;
}

/// The rows of a tensor that stay, behind each other.
std::vector<std::byte> kept_rows(const std::byte* bytes, std::size_t row_bytes, const std::vector<std::int32_t>& ids) {
  std::vector<std::byte> rows(ids.size() * row_bytes);
  for (std::size_t i = 0; i < ids.size(); ++i)
    std::memcpy(rows.data() + i * row_bytes, bytes + static_cast<std::size_t>(ids[i]) * row_bytes, row_bytes);
  return rows;
}

void write_trimmed_weights(const fs::path& from, const fs::path& to, std::int64_t rows_before,
                           const std::vector<std::int32_t>& ids) {
  const SafetensorsFile file(from);
  std::vector<std::vector<std::byte>> cut;
  cut.reserve(file.tensors().size());
  std::vector<TensorSource> tensors;
  bool embedded = false;
  for (const auto& [name, entry] : file.tensors()) {
    TensorSource tensor{name, entry.dtype, entry.shape, file.bytes(name)};
    if (has_row_of_ids(name)) {
      require(!entry.shape.empty() && entry.shape[0] == rows_before, from.string(), ": ", name, " has ",
              entry.shape.empty() ? 0 : entry.shape[0], " rows, config.json says vocab_size ", rows_before);
      cut.push_back(kept_rows(file.bytes(name), (entry.end - entry.begin) / static_cast<std::uint64_t>(rows_before), ids));
      tensor.shape[0] = std::ssize(ids);
      tensor.data = cut.back().data();
      embedded = embedded || name.ends_with(kRowsOfIds[0]);
    }
    tensors.push_back(std::move(tensor));
  }
  require(embedded, from.string(), ": holds no ", kRowsOfIds[0]);
  write_safetensors(to, tensors, file.metadata());
}

}  // namespace

TrimmedVocabulary trim_vocabulary(const fs::path& directory, const fs::path& output, const std::vector<bool>& used) {
  const ModelConfig config = read_model_config(directory);
  const Tokenizer tokenizer = load_tokenizer(config, directory);
  check(std::ssize(used) == tokenizer.vocabulary_size(), "trim_vocabulary: ", used.size(), " marks for ",
        tokenizer.vocabulary_size(), " ids");
  const fs::path weights = directory / "model.safetensors";
  require(fs::exists(weights), weights.string(),
          ": is not there; `koine convert` makes it of a pytorch_model.bin, and of shards one file is wanted");
  const std::string& bytes = tokenizer.sentencepiece_model();
  const TokenizerModel model = parse_tokenizer_model(bytes, tokenizer.file().string(), tokenizer.numbering());
  require(UnigramSegmenter::supports(model), tokenizer.file().string(),
          ": its vocabulary cannot be trimmed: it is no unigram model as XLM-R's");
  const std::vector<bool> keep = pieces_to_keep(model, tokenizer, used);
  TrimmedVocabulary trimmed{config.vocab_size, ids_to_keep(tokenizer, keep)};

  make_directory(output);
  write_file_atomically(output / "sentencepiece.bpe.model", keep_pieces(bytes, keep, tokenizer.file().string()));
  write_trimmed_weights(weights, output / "model.safetensors", config.vocab_size, trimmed.old_ids);
  nlohmann::json json = config.original;
  json["vocab_size"] = trimmed.old_ids.size();
  state_transformers_version(json);
  write_file_atomically(output / "config.json", json.dump(2) + "\n");
  save_tokenizer(load_tokenizer(config, output), config.maximum_length(), output);
  return trimmed;
}

}  // namespace koine
