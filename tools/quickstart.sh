#!/usr/bin/env bash
# From a bare machine to a first result: installs what is missing, builds build/koine, runs `koine demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/setup.sh

setup
say "configuring (preset release)"
cmake --preset release -DKOINE_TESTS=OFF -DKOINE_BENCH=OFF
say "building build/koine"
cmake --build --preset release --target koine -j "$(nproc)"
say "koine demo: the whole method on generated languages, into runs/demo"
exec build/koine demo "$@"
