#include "tasks/formats/tydiqa.h"

#include <algorithm>
#include <utility>

#include "kernels/common/check.h"

namespace koine {
namespace {

constexpr std::pair<std::string_view, std::string_view> kLanguages[] = {
    {"arabic", "ar"}, {"bengali", "bn"}, {"english", "en"}, {"finnish", "fi"}, {"indonesian", "id"},
    {"korean", "ko"}, {"russian", "ru"}, {"swahili", "sw"}, {"telugu", "te"}};

/// "finnish-12-3" -> "fi"; empty where it does not begin with a language.
std::string_view language_in(const std::string& id) {
  const std::string_view name = std::string_view(id).substr(0, id.find('-'));
  for (const auto& [known, code] : kLanguages) {
    if (known == name) return code;
  }
  return {};
}

std::string_view language_of(const std::string& id, const std::filesystem::path& path) {
  const std::string_view language = language_in(id);
  if (!language.empty()) return language;
  fail_user(path.string(), ": question ", id, ": the id does not begin with a language of TyDiQA (finnish-...)");
}

}  // namespace

SquadFile read_tydiqa(const FoundFile& file, const ReadRequest& request) {
  SquadFile all = read_squad(file, request);
  if (file.layout == FileLayout::kXtreme) return all;
  SquadFile wanted;
  wanted.path = all.path;
  wanted.labelled = all.labelled;
  std::size_t last = all.contexts.size();  // whose context is the last of `wanted`
  for (SquadQuestion& question : all.questions) {
    if (language_of(question.id, all.path) != request.language) continue;
    if (question.paragraph != last) {
      last = question.paragraph;
      wanted.contexts.push_back(std::move(all.contexts[last]));
    }
    question.paragraph = wanted.contexts.size() - 1;
    wanted.questions.push_back(std::move(question));
  }
  return wanted;
}

std::set<std::string> languages_of_tydiqa(const FoundFile& file, const ReadRequest& request) {
  std::set<std::string> languages;
  if (file.layout == FileLayout::kXtreme) return languages;
  const SquadFile all = read_squad(file, request);
  const bool silent = std::all_of(all.questions.begin(), all.questions.end(),
                                  [](const SquadQuestion& question) { return language_in(question.id).empty(); });
  if (silent) return languages;
  for (const SquadQuestion& question : all.questions) languages.emplace(language_of(question.id, file.path));
  return languages;
}

}  // namespace koine
