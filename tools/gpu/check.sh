#!/usr/bin/env bash
# Checks and measures the CUDA backend on this machine's GPU.
#   tools/gpu/check.sh OUTDIR [--build DIR] [--host] [part...]
#   tools/gpu/check.sh quick OUTDIR ...      the first quarter of an hour on a device: see tools/gpu/quick.sh
# Parts (all by default), each within 8 minutes, each alone if wanted:
#   tests     the operation suite against the double reference, the engine, models, parity with transformers: the test programs
#   demo      a small experiment on generated languages on the GPU and on the CPU: the same figures within a tolerance
#   sanitize  compute-sanitizer's memcheck, racecheck, initcheck, synccheck over every kernel on tiny shapes
#   bench     every variant of every operation on real shapes (bench_operations)
#   step      whole steps: tokens per second, share of the product's rate, time by operation (bench_step)
#   race      against transformers' three ways on the same batches (bench/peers/race_gpu.py; KOINE_PYTHON names a Python with torch)
#   trace     no allocation and no wait inside a training step
#   models    base, large, XL train some steps; memory used beside the estimate
# DIR holds the programs (build-cuda by default): a build directory, or a bundle of tools/gpu/build.sh. It needs nothing else but this checkout and
# CUDA's and PyTorch's libraries. --host: programs of a KOINE_CUDA=HOST build, tiny sizes; that shows that the parts work and measures nothing.
# OUTDIR gets raw results as JSON, logs, and summary.md. Exit code 1 where a part failed. A part that cannot run here is skipped and says why.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
limit=480 # seconds a part
all=(tests demo sanitize bench step race trace models)
python=${KOINE_PYTHON:-python3}

fail() { echo "check.sh: $*" >&2 && exit 2; }
# Ends a part that cannot run here.
skip() { echo "skipped: $*" && exit 77; }

if [ "${1:-}" = quick ]; then shift && exec bash "$root/tools/gpu/quick.sh" "$@"; fi
if [ $# -eq 0 ]; then fail "usage: tools/gpu/check.sh OUTDIR [--build DIR] [--host] [part...]"; fi
out=$1 && shift
build=$root/build-cuda host= inside= parts=()
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=$2 && shift 2 ;;
    --host) host=1 && shift ;;
    --inside) inside=$2 && shift 2 ;; # this script's own: one part, in a process that can be stopped
    -*) fail "unknown option $1" ;;
    *) parts+=("$1") && shift ;;
  esac
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=$(cd "$build" 2>/dev/null && pwd) || fail "the folder of programs is not there; build with tools/gpu/build.sh, and see --build"
cd "$root"

# On the host implementation everything is tiny.
device=cuda command_device=cuda tiny=()
if [ -n "$host" ]; then command_device=cuda-on-cpu tiny=(--tiny); fi

# --- parts ------------------------------------------------------------------------------------------------------------------------------

# Runs a test program in several processes, each with a share of the tests.
sharded() {
  local program=$1 filter=$2 shards=$3 shard pids=() failed=0
  for shard in $(seq 0 $((shards - 1))); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard "$build/$program" --gtest_filter="$filter" --gtest_brief=1 \
      "--gtest_output=json:$out/$program-$shard.json" > "$out/$program-$shard.log" 2>&1 &
    pids+=($!)
  done
  for shard in $(seq 0 $((shards - 1))); do
    if ! wait "${pids[$shard]}"; then
      echo "$program failed, shard $shard of $shards:"
      tail -n 40 "$out/$program-$shard.log"
      failed=1
    fi
  done
  grep -h -E '^\[  (PASSED|SKIPPED)' "$out/$program"-*.log || true
  return $failed
}

part_tests() {
  local failed=0
  if [ -n "$host" ]; then
    sharded test_kernels 'Cast*:Runtime*' 1
    return
  fi
  sharded test_kernels '*' 4 || failed=1
  sharded test_engine '*' 2 || failed=1
  sharded test_models '*' 2 || failed=1
  sharded test_parity '*' 2 || failed=1
  return $failed
}

part_demo() {
  local one
  python3 tools/gpu/inputs.py demo "$out/demo.toml" ${host:+--tiny}
  for one in cpu "$command_device"; do
    rm -rf "$out/demo-$one"
    "$build/koine" run "$out/demo.toml" --output "$out/demo-$one" --device "$one" --precision fp32 > "$out/demo-$one.log" 2>&1 ||
      { tail -n 20 "$out/demo-$one.log"; return 1; }
  done
  python3 tools/gpu/inputs.py compare "$out/demo-cpu/results.json" "$out/demo-$command_device/results.json"
}

part_sanitize() {
  if [ -n "$host" ]; then skip "kernels on the CPU: the host implementation makes these checks itself"; fi
  command -v compute-sanitizer > /dev/null || skip "compute-sanitizer is not installed"
  local tool failed=0
  # It refuses some machines: that is no finding.
  if ! compute-sanitizer "$build/bench_operations" --tiny --device cuda --benchmark_filter=cast > "$out/sanitize-first.log" 2>&1 &&
    grep -q -i 'not supported' "$out/sanitize-first.log"; then
    skip "compute-sanitizer: $(grep -i -m 1 'not supported' "$out/sanitize-first.log")"
  fi
  for tool in memcheck racecheck initcheck synccheck; do
    compute-sanitizer --tool $tool --error-exitcode 9 "$build/bench_operations" --tiny --device cuda --benchmark_filter=-vendor \
      > "$out/sanitize-$tool.log" 2>&1 || { failed=1 && echo "$tool:" && grep -m 20 '^=========' "$out/sanitize-$tool.log"; }
    tail -n 1 "$out/sanitize-$tool.log"
  done
  return $failed
}

part_bench() {
  rm -f "$out"/operations*.json
  "$build/bench_operations" --device $device "${tiny[@]}" "--benchmark_out=$out/operations-raw.json" --benchmark_out_format=json \
    > "$out/operations.log" 2>&1 || { tail -n 20 "$out/operations.log"; return 1; }
  python3 tools/gpu/summarise.py condense "$out/operations-raw.json" "$out/operations.json"
}

# A line of JSON of bench_step, appended to FILE: step FILE ARGUMENT...
step() {
  local file=$1 && shift
  "$build/bench_step" --device $device "$@" > "$out/line.json" 2> "$out/errors.log" || { cat "$out/errors.log"; return 1; }
  cat "$out/line.json" >> "$out/$file"
  python3 tools/gpu/summarise.py step "$out/line.json"
}

part_step() {
  rm -f "$out"/step-*.json
  if [ -n "$host" ]; then
    for mode in train encode; do step step-$mode-bf16.json --mode $mode --precision bf16 --size tiny --lengths 4x16 --batch 4 --repeats 1 --profile; done
    return
  fi
  python3 tools/gpu/inputs.py lengths "$out/mnli.txt" 2048
  local mode size
  for mode in train encode; do
    for size in base large xl; do
      step step-$mode-bf16.json --mode $mode --precision bf16 --size $size --lengths 128x128 --batch 128 --tokens 16384 --repeats 10 --profile
    done
    step step-$mode-bf16.json --mode $mode --precision bf16 --size large --lengths 32x512 --batch 32 --tokens 16384 --repeats 10 --profile
    step step-$mode-bf16.json --mode $mode --precision bf16 --size large --lengths "$out/mnli.txt" --batch 32 --tokens 16384 --repeats 5 --profile
  done
}

part_race() {
  rm -f "$out/race.json"
  "$python" -c 'import torch, transformers' 2> /dev/null || skip "$python has no torch and transformers (KOINE_PYTHON names another)"
  local arguments=(--size large --rounds 12)
  if [ -n "$host" ]; then arguments=(--device cpu --koine-device cuda --tiny --rounds 1 --warm-up 1 --ways eager sdpa --sets mnli); fi
  "$python" bench/peers/race_gpu.py --bench "$build/bench_step" --output "$out/race.json" "${arguments[@]}"
}

part_trace() {
  local arguments=(--size large --lengths 128x128 --batch 32 --repeats 3)
  if [ -n "$host" ]; then arguments=(--size tiny --lengths 8x16 --batch 4 --repeats 1); fi
  rm -f "$out/trace.json"
  step trace.json --mode train --precision bf16 "${arguments[@]}" --expect trace
}

part_models() {
  rm -f "$out/models.json"
  if [ -n "$host" ]; then
    step models.json --mode train --precision bf16 --size tiny --lengths 4x16 --batch 4 --repeats 1 --expect memory
    return
  fi
  local size failed=0
  for size in base large xl; do
    step models.json --mode train --precision bf16 --size $size --lengths 128x128 --batch 128 --repeats 2 --expect memory || failed=1
  done
  step models.json --mode train --precision fp32 --size base --lengths 32x128 --batch 32 --repeats 2 --expect memory || failed=1
  return $failed
}

# --- all of them -------------------------------------------------------------------------------------------------------------------------

if [ -n "$inside" ]; then
  "part_$inside"
  exit
fi

# CUDA's libraries may be PyTorch's.
torch_libraries=$("$python" -c 'import glob, os, torch; print(":".join(glob.glob(os.path.join(os.path.dirname(os.path.dirname(torch.__file__)), "nvidia", "*", "lib"))))' \
  2> /dev/null || true)
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${torch_libraries:+$torch_libraries:}/usr/local/cuda/lib64

if [ ${#parts[@]} -eq 0 ]; then parts=("${all[@]}"); fi
for part in "${parts[@]}"; do
  [ "$(type -t "part_$part")" = function ] || fail "unknown part $part; there are ${all[*]}"
done
python3 tools/gpu/summarise.py machine "$out/machine.json" --build "$build" ${host:+--host}
failed=0
for part in "${parts[@]}"; do
  echo "== $part"
  started=$SECONDS status=0
  timeout --kill-after=10 $limit bash "$root/tools/gpu/check.sh" "$out" --build "$build" ${host:+--host} --inside "$part" > "$out/$part.log" 2>&1 || status=$?
  case $status in 0) verdict=passed ;; 77) verdict=skipped ;; 124 | 137) verdict="ran past $limit s" ;; *) verdict=failed ;; esac
  if [ $status -ne 0 ] && [ $status -ne 77 ]; then failed=1; fi
  tail -n 25 "$out/$part.log"
  echo "== $part $verdict, $((SECONDS - started)) s"
  printf '%s\t%s\t%s\n' "$part" "$verdict" "$((SECONDS - started))" > "$out/part-$part.tsv"
done
python3 tools/gpu/summarise.py summary "$out"
exit $failed
