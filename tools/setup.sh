#!/usr/bin/env bash
# Installs what building koine needs on Debian 12 and Ubuntu 24.04, where it is missing. Sourced by quickstart.sh and test.sh; may be
# run by itself. As root, or through sudo. Doing it twice changes nothing.
set -euo pipefail

say() { printf '== %s (after %d s)\n' "$*" "$SECONDS"; }

packages=(
  g++ cmake ninja-build ccache git ca-certificates
  libdnnl-dev            # matrix products
  libgloo-dev            # runs of many processes
  libhwy-dev             # vector code for the processor at hand
  libsentencepiece-dev
  libicu-dev             # text folding as the scorers need it
  libxxhash-dev nlohmann-json3-dev libcli11-dev libtomlplusplus-dev
  libboost-dev           # Boost.Math's distributions
  libgtest-dev libbenchmark-dev
)
# clang-format differs between versions; only this one decides whether the sources are formatted. Debian 12 and Ubuntu 24.04 have it.
formatter=clang-format-14
# The build with sanitizers is Clang's: it compiles that in half of GCC's time, and is a second compiler's opinion.
sanitizers=(clang-14 libclang-rt-14-dev)

missing() {
  local name
  for name in "$@"; do
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed$' || printf '%s\n' "$name"
  done
}

setup() {
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here: install by hand: ${packages[*]}"
    return 0
  fi
  local wanted
  mapfile -t wanted < <(missing "${packages[@]}" "$@")
  if [ "${#wanted[@]}" -eq 0 ]; then
    say "all packages are installed"
    return 0
  fi
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      say "missing packages, and neither root nor sudo: ${wanted[*]}"
      return 1
    fi
    root=(sudo)
  fi
  say "installing ${wanted[*]}"
  "${root[@]}" apt-get update -qq
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then setup "$@"; fi
