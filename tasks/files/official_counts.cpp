#include "tasks/files/official_counts.h"

#include <string>

namespace koine {
namespace {

/// "*": every official language that has no row of its own.
struct OfficialCount {
  std::string_view task;
  std::string_view split;
  std::string_view language;
  std::int64_t examples;
};

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
    {"xnli", "dev", "*", 2'490},
    {"xnli", "test", "*", 5'010},
    {"pawsx", "train", "en", 49'401},
    {"pawsx", "dev", "*", 2'000},
    {"pawsx", "test", "*", 2'000},
    {"udpos", "train", "en", 21'253},
    {"udpos", "dev", "en", 3'974},
    {"panx", "train", "en", 20'000},
    {"panx", "dev", "en", 10'000},
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
    {"mlqa", "test", "es", 5'254},
    {"mlqa", "test", "ar", 5'335},
    {"mlqa", "test", "zh", 5'137},
    {"mlqa", "test", "vi", 5'495},
    {"mlqa", "test", "hi", 4'918},
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

}  // namespace

std::optional<std::int64_t> official_count(std::string_view task, std::string_view split, std::string_view language) {
  for (const OfficialCount& count : kCounts) {
    if (count.task == task && count.split == split && (count.language == language || count.language == "*"))
      return count.examples;
  }
  return std::nullopt;
}

}  // namespace koine
