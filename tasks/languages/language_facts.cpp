#include "tasks/languages/language_facts.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/files/languages.h"
#include "tasks/formats/labels.h"

namespace koine {
namespace {

// clang-format off
constexpr LanguageFacts kFacts[] = {
    // code, flores, name, family, branch, script, CC-100 GiB, word order
    {"af", "afr", "Afrikaans", "indo-european", "germanic", "latin", 1.3, ""},
    {"am", "amh", "Amharic", "afro-asiatic", "semitic", "ethiopic", 0.8, "SOV"},
    {"ar", "arb", "Arabic", "afro-asiatic", "semitic", "arabic", 28, "VSO"},
    {"as", "asm", "Assamese", "indo-european", "indic", "bengali", 0.1, "SOV"},
    {"az", "azj", "Azerbaijani", "turkic", "turkic", "latin", 6.5, "SOV"},
    {"be", "bel", "Belarusian", "indo-european", "slavic", "cyrillic", 4.3, "none"},
    {"bg", "bul", "Bulgarian", "indo-european", "slavic", "cyrillic", 57.5, "SVO"},
    {"bn", "ben", "Bengali", "indo-european", "indic", "bengali", 8.4, "SOV"},
    {"br", "bre", "Breton", "indo-european", "celtic", "latin", 0.1, "SVO"},
    {"bs", "bos", "Bosnian", "indo-european", "slavic", "latin", 0.1, ""},
    {"ca", "cat", "Catalan", "indo-european", "romance", "latin", 10.1, "SVO"},
    {"cs", "ces", "Czech", "indo-european", "slavic", "latin", 16.3, "SVO"},
    {"cy", "cym", "Welsh", "indo-european", "celtic", "latin", 0.8, "VSO"},
    {"da", "dan", "Danish", "indo-european", "germanic", "latin", 45.6, "SVO"},
    {"de", "deu", "German", "indo-european", "germanic", "latin", 66.6, "none"},
    {"el", "ell", "Greek", "indo-european", "greek", "greek", 46.9, "none"},
    {"en", "eng", "English", "indo-european", "germanic", "latin", 300.8, "SVO"},
    {"eo", "epo", "Esperanto", "constructed", "constructed", "latin", 0.9, ""},
    {"es", "spa", "Spanish", "indo-european", "romance", "latin", 53.3, "SVO"},
    {"et", "est", "Estonian", "uralic", "finnic", "latin", 6.1, "SVO"},
    {"eu", "eus", "Basque", "basque", "basque", "latin", 2, "SOV"},
    {"fa", "pes", "Persian", "indo-european", "iranian", "arabic", 111.6, "SOV"},
    {"fi", "fin", "Finnish", "uralic", "finnic", "latin", 54.3, "SVO"},
    {"fr", "fra", "French", "indo-european", "romance", "latin", 56.8, "SVO"},
    {"fy", "fry", "Frisian", "indo-european", "germanic", "latin", 0.2, "none"},
    {"ga", "gle", "Irish", "indo-european", "celtic", "latin", 0.5, "VSO"},
    {"gd", "gla", "Gaelic", "indo-european", "celtic", "latin", 0.1, "VSO"},
    {"gl", "glg", "Galician", "indo-european", "romance", "latin", 2.9, ""},
    {"gu", "guj", "Gujarati", "indo-european", "indic", "gujarati", 1.9, "SOV"},
    {"ha", "hau", "Hausa", "afro-asiatic", "west-chadic", "latin", 0.3, "SVO"},
    {"he", "heb", "Hebrew", "afro-asiatic", "semitic", "hebrew", 31.6, "SVO"},
    {"hi", "hin", "Hindi", "indo-european", "indic", "devanagari", 20.2, "SOV"},
    {"hr", "hrv", "Croatian", "indo-european", "slavic", "latin", 20.5, "SVO"},
    {"ht", "hat", "Haitian", "creole", "creole", "latin", 0, ""},
    {"hu", "hun", "Hungarian", "uralic", "ugric", "latin", 58.4, "none"},
    {"hy", "hye", "Armenian", "indo-european", "armenian", "armenian", 5.5, "none"},
    {"id", "ind", "Indonesian", "austronesian", "malayo-sumbawan", "latin", 148.3, "SVO"},
    {"is", "isl", "Icelandic", "indo-european", "germanic", "latin", 3.2, "SVO"},
    {"it", "ita", "Italian", "indo-european", "romance", "latin", 30.2, "SVO"},
    {"ja", "jpn", "Japanese", "japanese", "japanese", "japanese", 69.3, "SOV"},
    {"jv", "jav", "Javanese", "austronesian", "javanese", "latin", 0.2, ""},
    {"ka", "kat", "Georgian", "kartvelian", "kartvelian", "georgian", 9.1, "SOV"},
    {"kk", "kaz", "Kazakh", "turkic", "turkic", "cyrillic", 6.4, ""},
    {"km", "khm", "Khmer", "austro-asiatic", "khmer", "khmer", 1.5, "SVO"},
    {"kn", "kan", "Kannada", "dravidian", "dravidian", "kannada", 3.3, "SOV"},
    {"ko", "kor", "Korean", "korean", "korean", "hangul", 54.2, "SOV"},
    {"ku", "kmr", "Kurdish", "indo-european", "iranian", "latin", 0.4, ""},
    {"ky", "kir", "Kyrgyz", "turkic", "turkic", "cyrillic", 1.2, ""},
    {"la", "lat", "Latin", "indo-european", "italic", "latin", 2.5, ""},
    {"lo", "lao", "Lao", "tai-kadai", "kam-tai", "lao", 0.6, "SVO"},
    {"lt", "lit", "Lithuanian", "indo-european", "baltic", "latin", 13.7, "SVO"},
    {"lv", "lvs", "Latvian", "indo-european", "baltic", "latin", 8.8, "SVO"},
    {"mg", "plt", "Malagasy", "austronesian", "barito", "latin", 0.2, "VOS"},
    {"mk", "mkd", "Macedonian", "indo-european", "slavic", "cyrillic", 4.8, "SVO"},
    {"ml", "mal", "Malayalam", "dravidian", "dravidian", "malayalam", 7.6, "SOV"},
    {"mn", "khk", "Mongolian", "mongolic", "mongolic", "cyrillic", 3, "SOV"},
    {"mr", "mar", "Marathi", "indo-european", "indic", "devanagari", 2.8, "SOV"},
    {"ms", "zsm", "Malay", "austronesian", "malayo-sumbawan", "latin", 8.5, ""},
    {"my", "mya", "Burmese", "sino-tibetan", "burmese-lolo", "burmese", 2.0, "SOV"},
    {"ne", "npi", "Nepali", "indo-european", "indic", "devanagari", 3.8, "SOV"},
    {"nl", "nld", "Dutch", "indo-european", "germanic", "latin", 29.3, "none"},
    {"no", "nob", "Norwegian", "indo-european", "germanic", "latin", 49, "SVO"},
    {"om", "gaz", "Oromo", "afro-asiatic", "lowland-east-cushitic", "latin", 0.1, "SOV"},
    {"or", "ory", "Oriya", "indo-european", "indic", "odia", 0.6, "SOV"},
    {"pa", "pan", "Panjabi", "indo-european", "indic", "gurmukhi", 0.8, "SOV"},
    {"pl", "pol", "Polish", "indo-european", "slavic", "latin", 44.6, "SVO"},
    {"ps", "pbt", "Pashto", "indo-european", "iranian", "arabic", 0.7, "SOV"},
    {"pt", "por", "Portuguese", "indo-european", "romance", "latin", 49.1, "SVO"},
    {"qu", "quy", "Quechua", "quechuan", "quechuan", "latin", 0, ""},
    {"ro", "ron", "Romanian", "indo-european", "romance", "latin", 61.4, "SVO"},
    {"ru", "rus", "Russian", "indo-european", "slavic", "cyrillic", 278, "SVO"},
    {"sa", "san", "Sanskrit", "indo-european", "indic", "devanagari", 0.3, ""},
    {"sd", "snd", "Sindhi", "indo-european", "indic", "arabic", 0.4, ""},
    {"si", "sin", "Sinhala", "indo-european", "indic", "sinhala", 3.6, "SOV"},
    {"sk", "slk", "Slovak", "indo-european", "slavic", "latin", 23.2, ""},
    {"sl", "slv", "Slovene", "indo-european", "slavic", "latin", 10.3, "SVO"},
    {"so", "som", "Somali", "afro-asiatic", "lowland-east-cushitic", "latin", 0.4, "SOV"},
    {"sq", "als", "Albanian", "indo-european", "albanian", "latin", 5.4, "SVO"},
    {"sr", "srp", "Serbian", "indo-european", "slavic", "cyrillic", 9.1, "SVO"},
    {"su", "sun", "Sundanese", "austronesian", "malayo-sumbawan", "latin", 0.1, "SVO"},
    {"sv", "swe", "Swedish", "indo-european", "germanic", "latin", 85, "SVO"},
    {"sw", "swh", "Swahili", "niger-congo", "bantu", "latin", 1.6, "SVO"},
    {"ta", "tam", "Tamil", "dravidian", "dravidian", "tamil", 12.2, "SOV"},
    {"te", "tel", "Telugu", "dravidian", "dravidian", "telugu", 4.7, "SOV"},
    {"th", "tha", "Thai", "tai-kadai", "kam-tai", "thai", 71.7, "SVO"},
    {"tl", "tgl", "Tagalog", "austronesian", "greater-central-philippine", "latin", 3.1, "VSO"},
    {"tr", "tur", "Turkish", "turkic", "turkic", "latin", 20.9, "SOV"},
    {"ug", "uig", "Uyghur", "turkic", "turkic", "arabic", 0.4, "SOV"},
    {"uk", "ukr", "Ukrainian", "indo-european", "slavic", "cyrillic", 84.6, "SVO"},
    {"ur", "urd", "Urdu", "indo-european", "indic", "arabic", 5.7, "SOV"},
    {"uz", "uzn", "Uzbek", "turkic", "turkic", "latin", 0.7, "SOV"},
    {"vi", "vie", "Vietnamese", "austro-asiatic", "vietic", "latin", 137.3, "SVO"},
    {"wo", "wol", "Wolof", "niger-congo", "wolof", "latin", 0, "SVO"},
    {"xh", "xho", "Xhosa", "niger-congo", "bantu", "latin", 0.1, "SVO"},
    {"yi", "ydd", "Yiddish", "indo-european", "germanic", "hebrew", 0.3, ""},
    {"yo", "yor", "Yoruba", "niger-congo", "defoid", "latin", 0, "SVO"},
    {"zh", "zho", "Chinese", "sino-tibetan", "chinese", "chinese", 63.5, "SVO"},
};
// clang-format on

std::string normal(std::string_view name) {
  std::string text(name);
  for (char& c : text) c = c == ' ' || c == '_' ? '-' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool belongs(const LanguageFacts& facts, const std::string& group) {
  return facts.family == group || facts.branch == group || facts.script == group;
}

void add_new(std::vector<std::string>& list, const std::string& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

}  // namespace

std::span<const LanguageFacts> all_language_facts() { return kFacts; }

const LanguageFacts* language_facts(std::string_view code) {
  const std::string_view bare = code.substr(0, code.find('_'));
  const std::string two = two_letter_code(bare);
  for (const LanguageFacts& facts : kFacts) {
    if (facts.code == two || facts.flores == bare) return &facts;
  }
  return nullptr;
}

std::vector<std::string> language_groups() {
  std::set<std::string> groups;
  for (const LanguageFacts& facts : kFacts) {
    for (const std::string_view group : {facts.family, facts.branch, facts.script}) groups.emplace(group);
  }
  return {groups.begin(), groups.end()};
}

bool is_language_group(const std::string& name) {
  const std::string group = normal(name);
  return std::any_of(std::begin(kFacts), std::end(kFacts),
                     [&](const LanguageFacts& facts) { return belongs(facts, group); });
}

std::vector<std::string> expand_languages(const std::vector<std::string>& wanted, const std::vector<std::string>& there,
                                          const std::string& where) {
  std::vector<std::string> languages;
  for (const std::string& entry : wanted) {
    const std::string group = normal(entry);
    if (std::find(there.begin(), there.end(), entry) != there.end() || !is_language_group(group)) {
      languages.push_back(entry);
      continue;
    }
    bool any = false;
    for (const std::string& language : there) {
      const LanguageFacts* facts = language_facts(language);
      if (facts == nullptr || !belongs(*facts, group)) continue;
      add_new(languages, language);
      any = true;
    }
    require(any, where, ": none of the languages that are there is ", group, "; there are ", join_names(there));
  }
  return languages;
}

std::string language_hint(const std::string& name) {
  if (name.size() <= 2) return "";
  for (const LanguageFacts& facts : kFacts) {
    if (normal(facts.name) == normal(name)) return concatenate("; ", facts.name, " is \"", facts.code, "\"");
  }
  const std::string near = nearest_name(normal(name), language_groups());
  return near.empty() ? "" : concatenate("; did you mean \"", near, "\"?");
}

}  // namespace koine
