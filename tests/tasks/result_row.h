#pragma once

#include <cstdint>
#include <string>

#include "tasks/report/results.h"

namespace koine {

/// A row of results of model "m", for tests of what is made of rows.
inline ResultRow result_row(const std::string& arm, const std::string& target, const std::string& language,
                            const std::string& metric, std::uint32_t seed, double value) {
  return {.model = "m",
          .intermediate = arm,
          .target = target,
          .language = language,
          .metric = metric,
          .value = value,
          .seed = seed,
          .examples = 10,
          .tokens = 100,
          .seconds = 0.5};
}

}  // namespace koine
