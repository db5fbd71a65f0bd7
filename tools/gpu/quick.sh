#!/usr/bin/env bash
# The first quarter of an hour on a GPU, in one call of ten minutes and one of five:
#   tools/gpu/check.sh quick OUTDIR [--build DIR] [--host] [--second] [--seconds N] [STEP...]
# The first call: ceilings; every primitive for 9.0 by itself; the kernels' suites, each in a process of its own, those with vendors last; every
# operation on XLM-R large's shapes at 16,384 tokens; whole steps, with the vendor's products and with the variants for 9.0; models; sanitizers on
# few kernels; steps on MNLI's lengths and of 512 tokens. --second: the race against transformers, and ncu on three kernels.
#
# Each step has its own seconds and is stopped behind them; what does not fit into --seconds (570, or 300) any more is not begun. A step leaves small
# files of its own, and after each the archive is written anew: whoever is killed loses what it was doing. OUTDIR gets quick-1.tar.gz (or quick-2)
# and steps-1.tsv, nothing else, whatever fails. Exit code 1 where a step failed.
# --host: programs of a KOINE_CUDA=HOST build, tiny sizes. That shows that the script works and measures nothing.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
python=${KOINE_PYTHON:-python3}

fail() { echo "check.sh quick: $*" >&2 && exit 2; }

if [ $# -eq 0 ]; then fail "usage: tools/gpu/check.sh quick OUTDIR [--build DIR] [--host] [--second] [--seconds N] [STEP...]"; fi
out=$1 && shift
build=$root/build-cuda host='' call=1 seconds='' inside='' here='' chosen=()
while [ $# -gt 0 ]; do
  case $1 in
    --build) build=$2 && shift 2 ;;
    --host) host=1 && shift ;;
    --second) call=2 && shift ;;
    --seconds) seconds=$2 && shift 2 ;;
    --inside) inside=$2 here=$3 && shift 3 ;; # this script's own: one step, in a process that can be stopped
    -*) fail "unknown option $1" ;;
    *) chosen+=("$1") && shift ;;
  esac
done
build=$(cd "$build" 2> /dev/null && pwd) || fail "the folder of programs is not there; build with tools/gpu/build.sh, and see --build"
mkdir -p "$out" || fail "$out cannot be made"
out=$(cd "$out" && pwd)
cd "$root" || exit 2
: "${seconds:=$([ $call = 1 ] && echo 570 || echo 300)}"

# --- steps ------------------------------------------------------------------------------------------------------------------------------
# Each writes to $here, by way of standard output or to files; exit code 77: it cannot run here and says why.

tiny=()
if [ -n "$host" ]; then tiny=(--tiny); fi
bench_operations() { "$build/bench_operations" --device cuda "${tiny[@]}" "$@"; }
# One line of JSON of bench_step for each call.
bench_step() {
  if [ -n "$host" ]; then
    "$build/bench_step" --device cuda --precision bf16 --size tiny --layers 1 --vocabulary 64 --lengths 2x8 --batch 2 --repeats 1 "$@"
  else
    "$build/bench_step" --device cuda --precision bf16 --size large --tokens 16384 "$@"
  fi
}
# Not with --host, where bench_step has its own.
sizes() { if [ -z "$host" ]; then echo "$@"; fi; }

# A run of nothing much has both ceilings at its head.
step_ceilings() {
  bench_operations --filter "$([ -n "$host" ] && echo 'cast/' || echo '^cast/.*/large/16384/')" --repetitions 1 --iterations 2 "--benchmark_out=$here/ceilings.json"
}

step_primitives() { "$build/test_kernels" --gtest_filter="$([ -n "$host" ] && echo 'HopperLayer.Swizzles*' || echo 'HopperLayer.*:HopperProbe.*:CudaCluster.*')"; }

suites_of() { "$build/test_kernels" --gtest_list_tests | sed -n 's/^\([A-Za-z0-9_/]*\)\.$/\1/p'; }
# A suite a process, four at a time; a line each in suites.tsv.
step_kernels() {
  local vendors='^(Gemm|Attention|WeightGradients)' suites
  if [ -n "$host" ]; then
    suites=$(printf 'Cast\nRuntime\n')
  else
    suites=$(suites_of | grep -vE "$vendors"; suites_of | grep -E "$vendors")
  fi
  # shellcheck disable=SC2016 # expanded by the shell that xargs starts
  echo "$suites" | xargs -P 4 -I @ bash -c '
    if timeout 90 "$1/test_kernels" --gtest_filter="@.*" --gtest_brief=1 > "$2/@.txt" 2>&1; then verdict=passed; else verdict="failed ($?)"; fi
    tail -c 20000 "$2/@.txt" > "$2/@.tail" && mv "$2/@.tail" "$2/@.txt"
    printf "@\t%s\n" "$verdict" >> "$2/suites.tsv"' _ "$build" "$here"
  cat "$here/suites.tsv"
  ! grep -v 'passed$' "$here/suites.tsv"
}

step_operations() {
  bench_operations --filter "$([ -n "$host" ] && echo 'cast/' || echo '/large/16384/bf16/')" --repetitions 1 "--benchmark_out=$here/raw.json" > "$here/table.txt" 2>&1
  local status=$?
  "$python" tools/gpu/summarise.py condense "$here/raw.json" "$here/operations.json" && rm -f "$here/raw.json"
  return $status
}

# shellcheck disable=SC2046 # words
step_step() { bench_step --mode train $(sizes --lengths 128x128 --batch 128 --repeats 5) --profile; }
# shellcheck disable=SC2046
step_step_vendor() { KOINE_FORCE=$([ -n "$host" ] && echo gemm:portable || echo gemm:vendor) bench_step --mode train $(sizes --lengths 128x128 --batch 128 --repeats 3) --profile; }
# shellcheck disable=SC2046
step_step_sm90() {
  local force=gemm:sm90,attention_forward:sm90,attention_backward:sm90
  if [ -n "$host" ]; then force=gemm:portable; fi
  KOINE_FORCE=$force bench_step --mode train $(sizes --lengths 128x128 --batch 128 --repeats 3) --profile
}
# shellcheck disable=SC2046
step_step_encode() { bench_step --mode encode $(sizes --lengths 128x128 --batch 128 --repeats 3); }

step_models() { "$build/test_models" --gtest_brief=1 --gtest_filter="$([ -n "$host" ] && echo 'DeviceSide.*' || echo '*Device*')"; }

step_sanitize() {
  if [ -n "$host" ]; then echo "skipped: the host implementation makes these checks itself" && return 77; fi
  command -v compute-sanitizer > /dev/null || { echo "skipped: compute-sanitizer is not installed" && return 77; }
  local tool failed=0
  for tool in memcheck racecheck synccheck; do
    timeout 25 compute-sanitizer --tool $tool --error-exitcode 9 "$build/bench_operations" --tiny --device cuda --no-ceilings \
      --filter 'gemm/.*(portable|sm90)$|attention_.*(portable|sm90)$' > "$here/$tool.txt" 2>&1 || { failed=1 && echo "$tool: exit code $?"; }
    tail -n 1 "$here/$tool.txt"
  done
  return $failed
}

# Batches of lengths that change: trace.graph_launches_per_step is the share of steps that a recording served.
# shellcheck disable=SC2046
step_lengths() {
  local failed=0
  if [ -z "$host" ]; then "$python" tools/gpu/inputs.py lengths "$here/mnli.txt" 3200 || return 1; fi
  bench_step --mode train $(sizes --lengths "$here/mnli.txt" --batch 32 --repeats 2) || failed=1
  bench_step --mode train $(sizes --lengths 32x512 --batch 32 --repeats 2) || failed=1
  return $failed
}

step_race() {
  "$python" -c 'import torch, transformers' 2> /dev/null || { echo "skipped: $python has no torch and transformers (KOINE_PYTHON names another)" && return 77; }
  local arguments=(--size large --rounds 4)
  if [ -n "$host" ]; then arguments=(--device cpu --koine-device cuda --tiny --rounds 1 --warm-up 1 --ways sdpa --sets mnli); fi
  "$python" bench/peers/race_gpu.py --bench "$build/bench_step" --output "$here/race.json" "${arguments[@]}"
}

step_ncu() {
  if [ -n "$host" ]; then echo "skipped: kernels on the CPU have no counters" && return 77; fi
  command -v ncu > /dev/null || { echo "skipped: ncu is not installed" && return 77; }
  ncu --set basic --launch-count 1 --kernel-name 'regex:gemm_sm90|attention_forward_sm90|attention_backward_sm90' \
    "$build/bench_operations" --device cuda --no-ceilings --repetitions 1 --iterations 1 --filter '/large/16384/bf16/.*sm90$'
}

# --- all of them -------------------------------------------------------------------------------------------------------------------------

if [ -n "$inside" ]; then
  "step_$inside"
  exit
fi

work=$(mktemp -d)
results=$work/quick-$call
mkdir "$results"
verdicts=$out/steps-$call.tsv
: > "$verdicts"
running=

# A file is there as a whole or as it was before.
pack() {
  cp "$verdicts" "$results/steps.tsv"
  if tar -C "$work" -czf "$work/archive" "quick-$call"; then mv -f "$work/archive" "$out/quick-$call.tar.gz"; fi
}
finish() {
  local status=$?
  trap - EXIT INT TERM HUP
  if [ -n "$running" ]; then
    kill -TERM $running 2> /dev/null # timeout hands it on
    printf '%s\tstopped with the whole\t%s\n' "$step" $((SECONDS - started)) >> "$verdicts"
  fi
  pack
  rm -rf "$work"
  exit $status
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

# CUDA's libraries may be PyTorch's.
if [ -z "$host" ]; then
  torch_libraries=$("$python" -c 'import glob, os, torch; print(":".join(glob.glob(os.path.join(os.path.dirname(os.path.dirname(torch.__file__)), "nvidia", "*", "lib"))))' \
    2> /dev/null || true)
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${torch_libraries:+$torch_libraries:}/usr/local/cuda/lib64
fi

# Names, and the most seconds each may take.
if [ $call = 1 ]; then
  plan=(ceilings:40 primitives:30 kernels:120 operations:100 step:40 step_vendor:30 step_sm90:30 step_encode:20 models:50 sanitize:60 lengths:50)
else
  plan=(race:210 ncu:90)
fi
if [ ${#chosen[@]} -gt 0 ]; then
  for name in "${chosen[@]}"; do
    case " ${plan[*]} " in *" $name:"*) ;; *) fail "unknown step $name; there are ${plan[*]%%:*}" ;; esac
  done
fi

"$python" tools/gpu/summarise.py machine "$results/machine.json" --build "$build" ${host:+--host}
failed=0 step='' started=0
for entry in "${plan[@]}"; do
  step=${entry%%:*} limit=${entry##*:} started=$SECONDS status=0
  if [ ${#chosen[@]} -gt 0 ]; then
    case " ${chosen[*]} " in *" $step "*) ;; *) continue ;; esac
  fi
  left=$((seconds - SECONDS))
  if [ $left -lt 2 ]; then
    printf '%s\tnot begun: no time was left\t0\n' "$step" >> "$verdicts"
    failed=1
    continue
  fi
  limit=$((limit < left ? limit : left))
  here=$results/$step
  mkdir "$here"
  timeout --kill-after=2 "$limit" bash "$root/tools/gpu/quick.sh" "$out" --build "$build" ${host:+--host} --inside "$step" "$here" > "$here/output.txt" 2>&1 &
  running=$!
  wait $running || status=$?
  running=
  case $status in 0) verdict=passed ;; 77) verdict=skipped ;; 124 | 137) verdict="ran past $limit s" ;; *) verdict="failed ($status)" ;; esac
  if [ $status -ne 0 ] && [ $status -ne 77 ]; then failed=1; fi
  tail -c 200000 "$here/output.txt" > "$here/tail" && mv "$here/tail" "$here/output.txt"
  printf '%s\t%s\t%s\n' "$step" "$verdict" $((SECONDS - started)) >> "$verdicts"
  echo "== $step $verdict, $((SECONDS - started)) s"
  tail -n 3 "$here/output.txt"
  pack
done
exit $failed
