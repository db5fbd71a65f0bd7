#pragma once

// The rows of T5's descendants: mT5 (arXiv 2010.11934), T5 v1.1 and umT5 (arXiv 2304.09151), which are one function.

namespace koine {

struct ModelFamily;

const ModelFamily& mt5_family();
const ModelFamily& t5_family();
const ModelFamily& umt5_family();

}  // namespace koine
