#!/usr/bin/env bash
# Gives every parser of files that are not ours inputs made by libFuzzer, under the address and undefined behaviour sanitizers, from the seeds in
# tests/fuzz/seeds. A finding (crash, failed check, more than 5 s, more than 2 GiB) ends it; the input is kept and named.
#   tools/fuzz.sh                       10 s of each target
#   tools/fuzz.sh SECONDS [TARGET...]   so long of each, or of those named
# What is found on the way is kept in build-sanitize/corpus/TARGET, where the next call goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
shift || true
build=build-sanitize
if [ ! -f $build/CMakeCache.txt ]; then cmake --preset sanitize; fi
targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
  for folder in tests/fuzz/seeds/*/; do targets+=("$(basename "$folder")"); done
  targets+=(torch_checkpoint)
fi
cmake --build $build -j "$(nproc)" --target fuzz

fuzz() {
  local target=$1 corpus=$build/corpus/$1 seeds=tests/fuzz/seeds/$1 log=$build/corpus/$1.log
  if [ "$target" = torch_checkpoint ]; then seeds=tests/fixtures/torch; fi
  mkdir -p "$corpus"
  if ! KOINE_FUZZ_TARGET=$target $build/fuzz "$corpus" "$seeds" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -max_len=16384 \
    -artifact_prefix=$build/corpus/"$target"- -print_final_stats=1 > "$log" 2>&1; then
    tail -n 40 "$log"
    echo "$target: a finding (see above and $log)"
    return 1
  fi
  echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, no finding"
}
export -f fuzz
export build seconds
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I {} bash -c 'fuzz {}'
