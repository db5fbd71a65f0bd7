#!/usr/bin/env bash
# Sets up, builds everything, and runs every check: formatting, tables, all tests, the tests again under the address and undefined behaviour
# sanitizers, the parsers on inputs made by libFuzzer, the CUDA kernels once more with a detector of data races, and, where nvcc is, their
# compilation for real devices. KOINE_DATA and KOINE_FIXTURES point to real data and fixtures, KOINE_STUDY to larger cuts of real data (below its
# folder data), KOINE_MODEL to a real encoder (multilingual-e5-small); tests that need them skip without.
#   tools/test.sh            of the tests that watch every access (sanitizers, races) every fourth one; which ones goes round with the commits
#   tools/test.sh --all      all of them
#   tools/test.sh --quick    without the sanitizers and without the search for races
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/setup.sh

if [ "${1:-}" = --quick ]; then setup "$formatter"; else setup "$formatter" "${sanitizers[@]}"; fi
jobs=$(nproc)
part=()
if [ "${1:-}" != --all ]; then
  # The number of commits says which: the next three take the others. Tests next to each other are of one suite, so that every suite of
  # four or more has a part in each.
  first=$((1 + $(git rev-list --count HEAD 2> /dev/null || echo 0) % 4))
  part=(--tests-information "$first,,4")
fi

say "formatting (.clang-format)"
bash tools/format.sh --check

say "the README's tables (tools/make_tables.py)"
if command -v python3 > /dev/null; then
  python3 tools/make_tables.py --check
else
  say "python3 is not there: the tables are not checked"
fi

say "the kernels' registers and shared memory (tools/gpu/compile_kernels.py), the table of fastest variants (tools/gpu/tune.py)"
if command -v python3 > /dev/null; then
  if command -v nvcc > /dev/null; then resources=(--check --share 0.1); else resources=(--check --documents); fi
  python3 tools/gpu/compile_kernels.py "${resources[@]}"
  python3 tools/gpu/tune.py --check
fi

say "building (preset release)"
# Where nothing is built yet the standard headers are precompiled, and the sources of a folder compiled together, which is faster. A
# build that is there stays what it is. test_kernels_races has the CUDA kernels once more, run on the CPU with every access watched for races.
options=(-DKOINE_TESTS=ON -DKOINE_BENCH=ON)
if [ ! -f build/CMakeCache.txt ]; then options+=(-DKOINE_PRECOMPILE=ON -DKOINE_UNITY=ON); fi
if [ "${1:-}" != --quick ]; then options+=(-DKOINE_CUDA_RACES=ON); fi
cmake --preset release "${options[@]}"
cmake --build --preset release -j "$jobs"

sanitized=0
if [ "${1:-}" != --quick ]; then
  say "building (preset sanitize: address, undefined)"
  cmake --preset sanitize
  cmake --build --preset sanitize -j "$jobs"
  # Whole runs of the program, those of a real encoder, on large real or generated data or that time kernels, whole trainings (that of one
  # step stays) and a thousand simulated studies are left to the release build.
  say "tests under the sanitizers"
  ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ctest --preset sanitize -j "$jobs" "${part[@]}" --exclude-regex 'EndToEnd|CrashPoints|RealModel|RealTasks|RealData|DemoData|Predict|TaskFileProgram\.IsIntermediate|TextTaskCommands\.(Learn|Grids)|ScaleCommand\.Measures|Null(Effects|IsNotFound)|DemoOfAFamily\.Mt5|Command\.(Forced|Doctor|Estimate)|Parity\.Training|DeviceModel\.(Trains(InMixed|AsTheCpu)|Recorded|AnInterrupted)|Architectures|^architecture' || sanitized=$?
  say "inputs made by libFuzzer (tools/fuzz.sh)"
  tools/fuzz.sh 2 || sanitized=$?
fi

say "tests (preset release)"
tested=0
rm -rf build/kernel-counts
KOINE_KERNEL_COUNTS=$PWD/build/kernel-counts ctest --preset release -j "$jobs" --exclude-regex '^races\.' || tested=$?
if [ "${1:-}" != --quick ]; then
  say "the CUDA kernels watched for races"
  ctest --preset release -j "$jobs" "${part[@]}" --tests-regex '^races\.' || tested=$?
fi
if command -v python3 > /dev/null; then
  say "what the kernels took when they ran on the CPU"
  python3 tools/gpu/compile_kernels.py --check --documents --counts build/kernel-counts || tested=$?
fi
if [ "$sanitized" -ne 0 ]; then say "the tests under the sanitizers FAILED (see above)"; fi
exit $((tested != 0 || sanitized != 0))
