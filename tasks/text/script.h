#pragma once

// Scripts of texts, to see answers that were translated instead of copied ("accidental translation", Xue et al., arXiv
// 2010.11934, section 5.3: a model trained on English alone answers in English where the text is not).

#include <string>
#include <string_view>

namespace koine {

/// The script that most letters are of, by Unicode's property (ISO 15924's code, "Latn"); kana counts as Han, for Japanese
/// is written in both; of equally many the alphabetically first. Empty: no letter has one.
std::string main_script(std::string_view text);

/// Whether an answer is in another main script than its context, and not a part of it (white space aside). An answer without
/// letters is not.
bool in_other_script(std::string_view answer, std::string_view context);

}  // namespace koine
