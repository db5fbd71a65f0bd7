#include "engine/tokenizer/tokenizer_files.h"

#include <nlohmann/json.hpp>

#include "engine/files/text_file.h"
#include "engine/tokenizer/model_file.h"
#include "engine/tokenizer/tokenizer_json.h"
#include "engine/tokenizer/unigram.h"
#include "kernels/common/check.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kVocabulary = "tokenizer.json";
constexpr const char* kSettings = "tokenizer_config.json";
constexpr const char* kNames = "special_tokens_map.json";

/// Whether the folder's tokenizer.json says what the tokenizer is.
bool describes(const fs::path& folder, const Tokenizer& tokenizer, const TokenizerModel& model) {
  const fs::path file = folder / kVocabulary;
  if (!fs::is_regular_file(file)) return false;
  try {
    return sentencepiece_of_tokenizer_json(read_file(file), tokenizer.numbering(), file.string()) ==
           write_tokenizer_model(model);
  } catch (const UserError&) {
    return false;  // of another kind: then the SentencePiece file is what counts
  }
}

json own_settings(const Tokenizer& tokenizer) {
  // With the class XLMRobertaTokenizer transformers would make the normalizer anew, of the rules alone.
  json settings = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                   {"clean_up_tokenization_spaces", false},
                   {"model_input_names", {"input_ids", "attention_mask"}}};
  if (tokenizer.special().begin >= 0) settings["bos_token"] = settings["cls_token"] = "<s>";
  settings["eos_token"] = settings["sep_token"] = "</s>";
  settings["unk_token"] = "<unk>";
  settings["pad_token"] = "<pad>";
  if (tokenizer.special().mask >= 0) settings["mask_token"] = "<mask>";
  return settings;
}

/// tokenizer_config.json with the longest sequence the model reads.
std::string settings_text(json settings, std::int64_t maximum_length) {
  const json& there = settings["model_max_length"];
  if (!there.is_number() || there.get<double>() > static_cast<double>(maximum_length))
    settings["model_max_length"] = maximum_length;
  return settings.dump(2) + "\n";
}

}  // namespace

void save_tokenizer(const Tokenizer& tokenizer, std::int64_t maximum_length, const fs::path& directory) {
  make_directory(directory);
  write_file_atomically(directory / tokenizer.numbering().file, tokenizer.sentencepiece_model());
  const TokenizerModel model =
      parse_tokenizer_model(tokenizer.sentencepiece_model(), tokenizer.file().string(), tokenizer.numbering());
  const fs::path source = tokenizer.file().parent_path();
  if (tokenizer.numbering().first != kFairseqNumbering.first) {
    for (const char* name : {kVocabulary, kSettings, kNames}) {  // what came with it says the same
      if (fs::is_regular_file(source / name)) write_file_atomically(directory / name, read_file(source / name));
    }
    return;
  }
  if (!UnigramSegmenter::supports(model)) return;
  const bool taken_over = describes(source, tokenizer, model);
  json settings = own_settings(tokenizer);
  if (taken_over && fs::is_regular_file(source / kSettings)) {
    json theirs = read_json(source / kSettings);
    if (theirs.is_object()) settings = std::move(theirs);
  }
  write_file_atomically(directory / kVocabulary,
                        taken_over ? read_file(source / kVocabulary)
                                   : tokenizer_json_of_sentencepiece(tokenizer.sentencepiece_model(), tokenizer.numbering(),
                                                                     tokenizer.file().string()));
  write_file_atomically(directory / kSettings, settings_text(std::move(settings), maximum_length));
  if (taken_over && fs::is_regular_file(source / kNames))
    write_file_atomically(directory / kNames, read_file(source / kNames));
}

}  // namespace koine
