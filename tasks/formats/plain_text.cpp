#include "tasks/formats/plain_text.h"

#include <iterator>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"

namespace koine {

void TextFile::append(TextFile&& more) { std::move(more.lines.begin(), more.lines.end(), std::back_inserter(lines)); }

TextFile read_plain_lines(const FoundFile& file, const ReadRequest& request) {
  TextFile result;
  result.path = file.path;
  for_each_line(file.path, [&](std::string_view text, std::int64_t) {
    const bool wanted = request.max_examples <= 0 || static_cast<std::int64_t>(result.lines.size()) < request.max_examples;
    if (wanted && text.find_first_not_of(" \t") != std::string_view::npos) result.lines.emplace_back(text);
  });
  require(!result.lines.empty(), file.path.string(), ": no text");
  return result;
}

}  // namespace koine
