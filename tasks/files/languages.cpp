#include "tasks/files/languages.h"

#include <array>
#include <utility>

namespace koine {
namespace {

/// The languages of XTREME and XTREME-R's Tatoeba, by the codes its files carry.
constexpr std::array<std::pair<std::string_view, std::string_view>, 42> kCodes = {{
    {"af", "afr"}, {"ar", "ara"}, {"az", "aze"}, {"bg", "bul"}, {"bn", "ben"}, {"de", "deu"}, {"el", "ell"},
    {"en", "eng"}, {"es", "spa"}, {"et", "est"}, {"eu", "eus"}, {"fa", "pes"}, {"fi", "fin"}, {"fr", "fra"},
    {"he", "heb"}, {"hi", "hin"}, {"hu", "hun"}, {"id", "ind"}, {"it", "ita"}, {"ja", "jpn"}, {"jv", "jav"},
    {"ka", "kat"}, {"kk", "kaz"}, {"ko", "kor"}, {"lt", "lit"}, {"ml", "mal"}, {"mr", "mar"}, {"nl", "nld"},
    {"pl", "pol"}, {"pt", "por"}, {"ro", "ron"}, {"ru", "rus"}, {"sw", "swh"}, {"ta", "tam"}, {"te", "tel"},
    {"th", "tha"}, {"tl", "tgl"}, {"tr", "tur"}, {"uk", "ukr"}, {"ur", "urd"}, {"vi", "vie"}, {"zh", "cmn"},
}};

}  // namespace

std::string three_letter_code(std::string_view two) {
  for (const auto& [short_code, long_code] : kCodes) {
    if (short_code == two) return std::string(long_code);
  }
  return std::string(two);
}

std::string two_letter_code(std::string_view three) {
  for (const auto& [short_code, long_code] : kCodes) {
    if (long_code == three) return std::string(short_code);
  }
  return std::string(three);
}

bool is_private_code(std::string_view code) {
  return code.size() == 3 && code[0] == 'q' && code[1] >= 'a' && code[1] <= 't' && code[2] >= 'a' && code[2] <= 'z';
}

}  // namespace koine
