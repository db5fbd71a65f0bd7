#include "tasks/text/script.h"

#include <unicode/uchar.h>
#include <unicode/uscript.h>

#include <map>

#include "tasks/scorers/python_text.h"
#include "tasks/text/text_form.h"

namespace koine {

std::string main_script(std::string_view text) {
  std::map<std::string, int> letters;
  for (const char32_t c : decode_utf8(text)) {
    if (u_isalpha(static_cast<UChar32>(c)) == 0) continue;
    UErrorCode error = U_ZERO_ERROR;
    UScriptCode script = uscript_getScript(static_cast<UChar32>(c), &error);
    if (U_FAILURE(error) != 0 || script == USCRIPT_COMMON || script == USCRIPT_INHERITED) continue;
    if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA) script = USCRIPT_HAN;
    ++letters[uscript_getShortName(script)];
  }
  std::string most;
  int count = 0;
  for (const auto& [script, number] : letters) {
    if (number <= count) continue;
    most = script;
    count = number;
  }
  return most;
}

bool in_other_script(std::string_view answer, std::string_view context) {
  const std::string script = main_script(answer);
  return !script.empty() && script != main_script(context) && !holds(context, answer);
}

}  // namespace koine
