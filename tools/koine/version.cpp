#include "tools/koine/version.h"

namespace koine {

const std::string kVersion = KOINE_VERSION " (" KOINE_COMMIT ")";
const std::string kBuildType = KOINE_BUILD_TYPE;
const std::string kOnednnVersion = KOINE_ONEDNN_VERSION;

}  // namespace koine
