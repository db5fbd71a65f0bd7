#include "tasks/formats/choices.h"

#include "kernels/common/check.h"

namespace koine {

void ChoiceFile::add(ChoiceExample&& example, const std::string& where) {
  if (examples.empty()) labelled = example.label >= 0;
  require(labelled == (example.label >= 0), where, labelled ? ": has no label" : ": has a label",
          ", while the examples before it ", labelled ? "have one" : "have none");
  examples.push_back(std::move(example));
}

void ChoiceFile::append(ChoiceFile&& more) {
  if (labelled && !more.labelled) path = more.path;
  labelled = labelled && more.labelled;
  std::move(more.examples.begin(), more.examples.end(), std::back_inserter(examples));
}

}  // namespace koine
