#include "tasks/formats/mewslix.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/json_fields.h"
#include "tasks/scorers/python_text.h"

namespace koine {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// [start, end) in code points of a text.
struct Span {
  std::size_t start = 0;
  std::size_t end = 0;
};

Span span_of(const json& value, std::size_t length, const std::string& where) {
  const auto number = [&](const char* name) {
    return static_cast<std::size_t>(number_field(value, name, static_cast<std::int32_t>(length) + 1, where));
  };
  const Span span = {number("start"), number("end")};
  require(span.start < span.end, where, ": \"start\" ", span.start, " must be before \"end\" ", span.end);
  return span;
}

std::vector<Span> spans_of(const json& object, std::size_t length, const std::string& where) {
  const json& values = json_field(object, "sentence_spans", where);
  require(values.is_array(), where, ": \"sentence_spans\" must be an array");
  std::vector<Span> spans;
  for (const json& value : values) {
    spans.push_back(span_of(value, length, concatenate(where, ": \"sentence_spans\"[", spans.size(), "]")));
  }
  return spans;
}

/// Python's str.splitlines: what ends a line.
bool ends_line(char32_t c) {
  return (c >= U'\n' && c <= U'\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

/// " ".join(text.splitlines()).replace("  ", " ").strip()
std::string on_one_line(const std::u32string& text) {
  std::u32string joined;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == U'\r' && i + 1 < text.size() && text[i + 1] == U'\n') ++i;
    if (!ends_line(text[i])) {
      joined += text[i];
    } else if (i + 1 < text.size()) {
      joined += U' ';
    }
  }
  std::u32string result;
  for (std::size_t i = 0; i < joined.size(); ++i) {
    result += joined[i];
    if (joined[i] == U' ' && i + 1 < joined.size() && joined[i + 1] == U' ') ++i;
  }
  const auto inside = [](char32_t c) { return !python_is_space(c); };
  const auto begin = std::find_if(result.begin(), result.end(), inside);
  const auto end = std::find_if(result.rbegin(), result.rend(), inside).base();
  return begin < end ? encode_utf8(std::u32string(begin, end)) : "";
}

/// Pairs of braces on one line, "{...}", become parentheses: braces mark the mention.
std::u32string without_braces(std::u32string text) {
  for (std::size_t open = text.find(U'{'); open != std::u32string::npos; open = text.find(U'{', open + 1)) {
    const std::size_t close = text.find_first_of(U"}\n", open + 1);
    if (close == std::u32string::npos || text[close] == U'\n') continue;
    text[open] = U'(';
    text[close] = U')';
    open = close;
  }
  return text;
}

/// A text in which mentions stand.
struct Context {
  std::string language;
  std::u32string text;
  std::vector<Span> sentences;
};

Context context_of(const json& value, const std::string& where) {
  Context context{text_field(value, "language", where), decode_utf8(text_field(value, "text", where)), {}};
  context.sentences = spans_of(value, context.text.size(), where);
  return context;
}

std::string mention_text(const json& mention, const Context& context, const std::string& where) {
  const json& value = json_field(mention, "mention_span", where);
  const std::string here = where + ": \"mention_span\"";
  const Span span = span_of(value, context.text.size(), here);
  const std::u32string text = context.text.substr(span.start, span.end - span.start);
  require(encode_utf8(text) == text_field(value, "text", here), here, ": from character ", span.start,
          " on the context has \"", encode_utf8(text), "\", not the \"text\" \"", text_field(value, "text", here), "\"");
  const auto sentence = std::find_if(context.sentences.begin(), context.sentences.end(), [&](const Span& one) {
    return one.start <= span.start && span.start < one.end && span.end <= one.end;
  });
  require(sentence != context.sentences.end(), here, ": the mention from character ", span.start, " to ", span.end,
          " is in none of the context's \"sentence_spans\"");
  const std::u32string left = without_braces(context.text.substr(sentence->start, span.start - sentence->start));
  const std::u32string right = without_braces(context.text.substr(span.end, sentence->end - span.end));
  return on_one_line(text + U": " + left + U" { " + text + U" } " + right);
}

std::string entity_text(const json& entity, const std::string& where) {
  const std::u32string description = decode_utf8(text_field(entity, "description", where));
  std::u32string text;
  for (const Span& sentence : spans_of(entity, description.size(), where)) {
    if (!text.empty()) text += U' ';
    text += description.substr(sentence.start, sentence.end - sentence.start);
  }
  return on_one_line(text);
}

/// The candidates of a file of mentions.
fs::path candidates_file(const fs::path& mentions) {
  const fs::path name = "candidate_set_entities.jsonl";
  const fs::path beside = mentions.parent_path() / name;
  const fs::path above = mentions.parent_path().parent_path() / name;
  if (fs::exists(beside)) return beside;
  require(fs::exists(above), mentions.string(), ": its candidates are missing: there is neither ", beside.string(), " nor ",
          above.string());
  return above;
}

std::unordered_set<std::string> read_candidates(const fs::path& path, CandidatePool& pool) {
  std::unordered_set<std::string> ids;
  for_each_json_line(path, [&](const json& entity, std::int64_t line) {
    const std::string where = concatenate(path.string(), ":", line);
    const std::string& id = text_field(entity, "entity_id", where);
    require(ids.insert(id).second, where, ": entity ", id, " stands twice");
    pool.candidates.push_back({id, entity_text(entity, where)});
  });
  require(!pool.candidates.empty(), path.string(), ": no entities; is the file complete?");
  return ids;
}

}  // namespace

TextPairs read_mewslix_pairs(const FoundFile& file, const ReadRequest& request) {
  TextPairs result;
  result.path = file.path;
  for_each_json_line(file.path, [&](const json& row, std::int64_t line) {
    if (request.max_examples > 0 && std::ssize(result.pairs) >= request.max_examples) return;
    const std::string where = concatenate(file.path.string(), ":", line);
    const std::string mention_where = where + ": \"contextual_mention\"";
    const json& mention = json_field(row, "contextual_mention", where);
    const Context context = context_of(json_field(mention, "context", mention_where), mention_where + ": \"context\"");
    result.pairs.push_back({mention_text(json_field(mention, "mention", mention_where), context, mention_where),
                            entity_text(json_field(row, "entity", where), where + ": \"entity\"")});
  });
  require(!result.pairs.empty(), file.path.string(), ": no pairs; is the file complete?");
  return result;
}

CandidatePool read_mewslix(const FoundFile& file, const ReadRequest& request) {
  CandidatePool pool;
  pool.path = file.path;
  const std::unordered_set<std::string> candidates = read_candidates(candidates_file(file.path), pool);
  std::unordered_set<std::string> ids;
  for_each_json_line(file.path, [&](const json& row, std::int64_t line) {
    const std::string where = concatenate(file.path.string(), ":", line);
    const Context context = context_of(json_field(row, "context", where), where + ": \"context\"");
    if (context.language != request.language) return;
    const json& mentions = json_field(row, "mentions", where);
    require(mentions.is_array(), where, ": \"mentions\" must be an array");
    for (const json& mention : mentions) {
      const std::string& id = text_field(mention, "example_id", where);
      const std::string here = concatenate(where, ": mention ", id);
      require(ids.insert(id).second, here, ": the id stands twice; ids must differ");
      pool.queries.push_back({id, context.language, mention_text(mention, context, here)});
      const std::string& entity = text_field(mention, "entity_id", here);
      if (entity.empty()) continue;
      require(candidates.contains(entity), here, ": \"entity_id\" ", entity, " is none of the candidates");
      pool.targets[id] = {entity};
    }
  });
  require(!pool.queries.empty(), file.path.string(), ": no mentions in language ", request.language);
  pool.labelled = !pool.targets.empty();
  require(!pool.labelled || pool.targets.size() == pool.queries.size(), file.path.string(), ": ",
          pool.queries.size() - pool.targets.size(), " of ", pool.queries.size(), " mentions have no \"entity_id\"");
  return pool;
}

std::set<std::string> languages_of_mewslix(const FoundFile& file, const ReadRequest&) {
  std::set<std::string> languages;
  for_each_json_line(file.path, [&](const json& row, std::int64_t line) {
    const std::string where = concatenate(file.path.string(), ":", line);
    languages.insert(text_field(json_field(row, "context", where), "language", where + ": \"context\""));
  });
  return languages;
}

}  // namespace koine
