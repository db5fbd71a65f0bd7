#include "tasks/files/official_counts.h"

#include <string>

namespace koine {
namespace {

/// "*": every official language that no row before names.
struct OfficialCount {
  std::string_view task;
  std::string_view split;
  std::string_view languages;  ///< one or several, between blanks
  std::int64_t examples;
};

constexpr std::string_view kTenThousand =  // examples of PAN-X
    "en ar bg de el es et eu fa fi fr he hu id it ja ka ko nl pt ru th tr vi zh pl uk lt ro";

constexpr OfficialCount kCounts[] = {
    {"mnli", "train", "en", 392'702},
    {"mnli", "dev", "en", 9'815},  // matched
    {"snli", "train", "en", 549'367},
    {"snli", "dev", "en", 9'842},
    {"anli", "train", "en", 16'946 + 45'460 + 100'459},
    {"anli", "dev", "en", 3'200},
    {"anli", "test", "en", 3'200},
    {"anli+", "train", "en", 1'104'934},
    {"anli+", "dev", "en", 9'842 + 9'815 + 3'200},
    {"qqp", "train", "en", 363'846},
    {"qqp", "dev", "en", 40'430},
    {"squad", "train", "en", 87'599},
    {"squad", "dev", "en", 10'570},
    {"squad2", "train", "en", 130'319},
    {"squad2", "dev", "en", 11'873},
    {"hellaswag", "train", "en", 39'905},
    {"hellaswag", "dev", "en", 10'042},
    {"cosmosqa", "train", "en", 25'262},  // as distributed
    {"cosmosqa", "dev", "en", 2'985},
    {"commonsenseqa", "train", "en", 9'741},
    {"commonsenseqa", "dev", "en", 1'221},
    {"siqa", "train", "en", 33'410},
    {"siqa", "dev", "en", 1'954},
    {"copa", "train", "en", 400},
    {"copa", "dev", "en", 100},
    {"ccg", "train", "en", 38'015},
    {"ccg", "dev", "en", 5'484},
    {"xnli", "dev", "*", 2'490},
    {"xnli", "test", "*", 5'010},
    {"pawsx", "train", "en", 49'401},
    {"pawsx", "dev", "*", 2'000},
    {"pawsx", "test", "*", 2'000},
    {"udpos", "train", "en", 21'253},
    {"udpos", "dev", "en", 3'974},
    {"panx", "train", "jv my yo qu pa gu", 100},
    {"panx", "train", "kk sw te", 1'000},
    {"panx", "train", "af hi mr", 5'000},
    {"panx", "train", "bn eu ka ml tl az lt", 10'000},
    {"panx", "train", "et ta", 15'000},
    {"panx", "train", "en ar bg de el es fa fi fr he hu id it ja ko ms nl pt ru th tr ur vi zh pl uk ro", 20'000},
    {"panx", "dev", "jv my yo qu pa gu", 100},
    {"panx", "dev", "af bn hi kk ml mr ms sw ta te tl ur az", 1'000},
    {"panx", "dev", kTenThousand, 10'000},
    {"panx", "test", "jv my yo qu pa gu", 100},
    {"panx", "test", "af bn hi kk ml mr ms sw ta te tl ur az", 1'000},
    {"panx", "test", kTenThousand, 10'000},
    {"xquad", "test", "*", 1'190},
    {"mlqa", "dev", "en", 1'148},
    {"mlqa", "dev", "de", 512},
    {"mlqa", "dev", "es", 500},
    {"mlqa", "dev", "ar", 517},
    {"mlqa", "dev", "zh", 504},
    {"mlqa", "dev", "vi", 511},
    {"mlqa", "dev", "hi", 507},
    {"mlqa", "test", "en", 11'590},
    {"mlqa", "test", "de", 4'517},
    {"mlqa", "test", "es", 5'253},
    {"mlqa", "test", "ar", 5'335},
    {"mlqa", "test", "zh", 5'137},
    {"mlqa", "test", "vi", 5'495},
    {"mlqa", "test", "hi", 4'918},
    {"mlqa_pairs", "dev", "ar-ar", 517},
    {"mlqa_pairs", "dev", "ar-de de-ar", 207},
    {"mlqa_pairs", "dev", "ar-vi vi-ar", 163},
    {"mlqa_pairs", "dev", "ar-zh zh-ar", 188},
    {"mlqa_pairs", "dev", "ar-en en-ar", 517},
    {"mlqa_pairs", "dev", "ar-es es-ar", 161},
    {"mlqa_pairs", "dev", "ar-hi hi-ar", 186},
    {"mlqa_pairs", "dev", "de-de", 512},
    {"mlqa_pairs", "dev", "de-vi vi-de", 182},
    {"mlqa_pairs", "dev", "de-zh zh-de", 190},
    {"mlqa_pairs", "dev", "de-en en-de", 512},
    {"mlqa_pairs", "dev", "de-es es-de", 196},
    {"mlqa_pairs", "dev", "de-hi hi-de", 163},
    {"mlqa_pairs", "dev", "vi-vi", 511},
    {"mlqa_pairs", "dev", "vi-zh zh-vi", 184},
    {"mlqa_pairs", "dev", "vi-en en-vi", 511},
    {"mlqa_pairs", "dev", "vi-es es-vi", 189},
    {"mlqa_pairs", "dev", "vi-hi hi-vi", 177},
    {"mlqa_pairs", "dev", "zh-zh", 504},
    {"mlqa_pairs", "dev", "zh-en en-zh", 504},
    {"mlqa_pairs", "dev", "zh-es es-zh", 161},
    {"mlqa_pairs", "dev", "zh-hi hi-zh", 189},
    {"mlqa_pairs", "dev", "en-en", 1'148},
    {"mlqa_pairs", "dev", "en-es es-en", 500},
    {"mlqa_pairs", "dev", "en-hi hi-en", 507},
    {"mlqa_pairs", "dev", "es-es", 500},
    {"mlqa_pairs", "dev", "es-hi hi-es", 187},
    {"mlqa_pairs", "dev", "hi-hi", 507},
    {"mlqa_pairs", "test", "ar-ar", 5'335},
    {"mlqa_pairs", "test", "ar-de de-ar", 1'649},
    {"mlqa_pairs", "test", "ar-vi vi-ar", 2'047},
    {"mlqa_pairs", "test", "ar-zh zh-ar", 1'912},
    {"mlqa_pairs", "test", "ar-en en-ar", 5'335},
    {"mlqa_pairs", "test", "ar-es es-ar", 1'978},
    {"mlqa_pairs", "test", "ar-hi hi-ar", 1'831},
    {"mlqa_pairs", "test", "de-de", 4'517},
    {"mlqa_pairs", "test", "de-vi vi-de", 1'675},
    {"mlqa_pairs", "test", "de-zh zh-de", 1'621},
    {"mlqa_pairs", "test", "de-en en-de", 4'517},
    {"mlqa_pairs", "test", "de-es es-de", 1'776},
    {"mlqa_pairs", "test", "de-hi hi-de", 1'430},
    {"mlqa_pairs", "test", "vi-vi", 5'495},
    {"mlqa_pairs", "test", "vi-zh zh-vi", 1'943},
    {"mlqa_pairs", "test", "vi-en en-vi", 5'495},
    {"mlqa_pairs", "test", "vi-es es-vi", 2'018},
    {"mlqa_pairs", "test", "vi-hi hi-vi", 1'947},
    {"mlqa_pairs", "test", "zh-zh", 5'137},
    {"mlqa_pairs", "test", "zh-en en-zh", 5'137},
    {"mlqa_pairs", "test", "zh-es es-zh", 1'947},
    {"mlqa_pairs", "test", "zh-hi hi-zh", 1'767},
    {"mlqa_pairs", "test", "en-en", 11'590},
    {"mlqa_pairs", "test", "en-es es-en", 5'253},
    {"mlqa_pairs", "test", "en-hi hi-en", 4'918},
    {"mlqa_pairs", "test", "es-es", 5'253},
    {"mlqa_pairs", "test", "es-hi hi-es", 1'723},
    {"mlqa_pairs", "test", "hi-hi", 4'918},
    {"tydiqa", "train", "en", 3'696},  // of all languages 49,881
    {"tydiqa", "train", "ar", 14'805},
    {"tydiqa", "train", "bn", 2'390},
    {"tydiqa", "train", "fi", 6'855},
    {"tydiqa", "train", "id", 5'702},
    {"tydiqa", "train", "ko", 1'625},
    {"tydiqa", "train", "ru", 6'490},
    {"tydiqa", "train", "sw", 2'755},
    {"tydiqa", "train", "te", 5'563},
    {"tydiqa", "test", "en", 440},  // the official dev set; of all languages 5,077
    {"tydiqa", "test", "ar", 921},
    {"tydiqa", "test", "bn", 113},
    {"tydiqa", "test", "fi", 782},
    {"tydiqa", "test", "id", 565},
    {"tydiqa", "test", "ko", 276},
    {"tydiqa", "test", "ru", 812},
    {"tydiqa", "test", "sw", 499},
    {"tydiqa", "test", "te", 669},
    {"xcopa", "dev", "*", 100},
    {"xcopa", "test", "*", 500},
    {"lareqa", "test", "mul", 11 * 1'190},  // questions of the pool of all languages
    {"tatoeba", "test", "jv", 205},
    {"tatoeba", "test", "ka", 746},
    {"tatoeba", "test", "kk", 575},
    {"tatoeba", "test", "ml", 687},
    {"tatoeba", "test", "sw", 390},
    {"tatoeba", "test", "ta", 307},
    {"tatoeba", "test", "te", 234},
    {"tatoeba", "test", "th", 548},
    {"tatoeba", "test", "*", 1'000},
};

/// Whether a word is one of those between blanks.
bool is_among(std::string_view words, std::string_view word) {
  for (std::size_t at = words.find(word); at != std::string_view::npos; at = words.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || words[at - 1] == ' ') && (end == words.size() || words[end] == ' ')) return true;
  }
  return false;
}

}  // namespace

std::optional<std::int64_t> official_count(std::string_view task, std::string_view split, std::string_view language) {
  for (const OfficialCount& count : kCounts) {
    if (count.task == task && count.split == split && (count.languages == "*" || is_among(count.languages, language)))
      return count.examples;
  }
  return std::nullopt;
}

}  // namespace koine
