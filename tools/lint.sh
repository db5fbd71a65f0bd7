#!/usr/bin/env bash
# clang-tidy with the committed configuration over the sources of the release build, or the files given. It takes many minutes, so it is
# no part of tools/test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-tidy >/dev/null || { echo "clang-tidy is not installed"; exit 1; }
[ -f build/compile_commands.json ] || cmake --preset release
if [ "$#" -gt 0 ]; then
  files=("$@")
else
  mapfile -t files < <(find kernels engine models tasks tools -name '*.cpp' | sort)
fi
printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 clang-tidy -p build --quiet
