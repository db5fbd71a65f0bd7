#include "tasks/formats/squad_sentences.h"

#include <algorithm>

#include "engine/files/text_file.h"
#include "kernels/common/check.h"
#include "tasks/formats/lareqa.h"
#include "tasks/formats/sentence_breaks.h"
#include "tasks/formats/squad.h"

namespace koine {

TextPairs read_squad_sentences(const FoundFile& file, const ReadRequest& request) {
  const SquadFile squad = parse_squad(read_file(file.path), file.path, {.places = true, .unanswerable = false});
  TextPairs result;
  result.path = squad.path;
  result.labelled = squad.labelled;
  if (!squad.labelled) return result;
  std::size_t paragraph = squad.contexts.size();
  std::vector<std::pair<std::size_t, std::size_t>> sentences;
  for (const SquadQuestion& question : squad.questions) {
    const std::string& context = squad.contexts[question.paragraph];
    if (question.paragraph != paragraph) sentences = sentence_breaks(context);
    paragraph = question.paragraph;
    const auto begin = static_cast<std::size_t>(question.answers.front().begin);
    const auto holder = std::find_if(sentences.begin(), sentences.end(), [begin](const auto& sentence) {
      return begin >= sentence.first && begin < sentence.second;
    });
    if (holder == sentences.end()) {
      ++result.left_out;
      continue;
    }
    const std::string_view sentence = std::string_view(context).substr(holder->first, holder->second - holder->first);
    result.pairs.push_back({question.question, sentence_in_context(sentence, context)});
    if (request.max_examples > 0 && std::ssize(result.pairs) == request.max_examples) break;
  }
  require(!result.pairs.empty(), file.path.string(), ": no question's answer begins in a sentence of its context");
  return result;
}

}  // namespace koine
