#pragma once

// The languages of the demo: how each sounds, is written and is built.

#include <vector>

#include "tasks/demo/grammar.h"

namespace koine::demo {

/// The source first.
const std::vector<Language>& languages();

}  // namespace koine::demo
