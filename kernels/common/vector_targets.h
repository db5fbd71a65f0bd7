#pragma once

// Which processors the vector code is compiled for, in one place: on x86 the baseline (SSSE3, 2006), AVX2 with FMA (2013)
// and AVX-512 (2017); elsewhere what Highway chooses. Each file is compiled once per target and the best one is chosen when
// the program runs.
//
// A file of vector code begins
//
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels/<op>/<op>_cpu.cpp"
//   #include "kernels/common/vector_targets.h"
//   #include "kernels/common/vector-inl.h"
//
// and is included again by the first of these headers for every target but the last.

#if defined(__x86_64__)
// Bits as in hwy/detect_targets.h: 0-7 are the kinds above AVX3 (which differ between versions), 11 is SSE4.
#define HWY_DISABLED_TARGETS (0xffLL | (1LL << 11))
#define HWY_BASELINE_TARGETS (1LL << 12)
#endif

#include <hwy/foreach_target.h>
