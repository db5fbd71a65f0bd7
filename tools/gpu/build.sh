#!/usr/bin/env bash
# Builds what tools/gpu/check.sh needs and packs it, to be carried to a machine with a GPU:
#   tools/gpu/build.sh [--host] [DIR]      DIR: build-gpu by default; the bundle is DIR/bundle.tar.xz
# There: tar xf bundle.tar.xz, then, in a checkout of the same commit, tools/gpu/check.sh OUTDIR --build bundle.
# The bundle holds the programs for compute capability 8.0 and 9.0a, without symbols, and the shared libraries they need beside the C library
# and NVIDIA's own. --host: kernels that run on the CPU, to try check.sh without a GPU. Fails where the bundle is larger than 64 MiB.
set -euo pipefail
cd "$(dirname "$0")/../.."

cuda=ON
if [ "${1:-}" = --host ]; then cuda=HOST && shift; fi
build=${1:-build-gpu}
programs=(koine bench_operations bench_step test_kernels test_engine test_models test_parity)
most=$((64 << 20))

# The tests look for fixtures in the checkout they are run in. Libraries are looked for beside the programs, also by each other: RPATH, not RUNPATH.
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DKOINE_CUDA=$cuda '-DKOINE_CUDA_ARCHITECTURES=80-real;90a-real' \
  -DKOINE_ONEDNN=OFF -DKOINE_TESTS=ON -DKOINE_BENCH=ON "-DCMAKE_CXX_FLAGS=-UKOINE_SOURCE_DIR -DKOINE_SOURCE_DIR='\".\"'" \
  '-DCMAKE_BUILD_RPATH=$ORIGIN/lib' -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags
cmake --build "$build" --target "${programs[@]}" -j "$(nproc)"

bundle=$build/bundle
rm -rf "$bundle" "$bundle.tar.xz"
mkdir -p "$bundle/lib"
for program in "${programs[@]}"; do
  strip -o "$bundle/$program" "$build/$program"
  ldd "$build/$program"
done | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
  { grep -vE '/(libc|libm|libdl|librt|libpthread|libcuda|libcudart|libcublas|libcublasLt|libcudnn[a-z_]*|libnvrtc|libnccl)\.so' || true; } |
  xargs -r cp -L -t "$bundle/lib"
strip --strip-unneeded "$bundle"/lib/*
git describe --always --dirty > "$bundle/commit" 2>/dev/null || echo unknown > "$bundle/commit"
# The programs hold the same device code: a dictionary larger than one of them finds it.
tar -C "$build" -c bundle | xz -T0 --lzma2=preset=6,dict=64MiB > "$bundle.tar.xz"

size=$(stat -c %s "$bundle.tar.xz")
du -h --apparent-size "$bundle"/* | sort -h
echo "$bundle.tar.xz: $((size >> 20)) MiB"
if [ "$size" -gt "$most" ]; then
  echo "the bundle is larger than $((most >> 20)) MiB" >&2
  exit 1
fi
