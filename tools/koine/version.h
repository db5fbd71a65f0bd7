#pragma once

#include <string>

namespace koine {

/// "0.1.0 (c3e17ee)": the program's version and the commit it was built from.
extern const std::string kVersion;
extern const std::string kBuildType;      ///< CMake's
extern const std::string kOnednnVersion;  ///< empty: built without

}  // namespace koine
