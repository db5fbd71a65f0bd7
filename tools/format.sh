#!/usr/bin/env bash
# Formats the sources; with --check only says which are not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-format-14 || true)
if [ -z "$tool" ]; then
  echo "clang-format-14 is not installed: formatting is not checked"
  exit 0
fi
mapfile -t files < <(find kernels engine models tasks tools bench tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | sort)
if [ "${1:-}" = --check ]; then
  "$tool" --dry-run --Werror "${files[@]}"
  echo "${#files[@]} files are formatted"
else
  "$tool" -i "${files[@]}"
fi
