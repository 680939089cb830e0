#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs all tests. The CUDA backend is built too where the CUDA toolkit and NCCL are there; its tests
# skip themselves without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
usage="Usage: scripts/test.sh [--no-install]
Installs what is missing (apt-get, as root or with sudo), builds, and runs all tests but those labelled long.
  --no-install          installs nothing: names what is missing, and goes on with what is there
  SLUICE_TEST_QUICK=1   leaves out the sanitizer build
  SLUICE_TEST_FUZZ=60   also fuzzes every parser for so many seconds"
take_options "$@"

wanted=("${packages[@]}" "${test_packages[@]}" "${demo_packages[@]}")
[ -z "${SLUICE_TEST_FUZZ:-}" ] || wanted+=("${fuzz_packages[@]}")
# The test of the Slurm scripts starts daemons that need root, and those of two hosts make network namespaces.
[ "$(id -u)" -ne 0 ] || wanted+=("${slurm_packages[@]}" "${host_packages[@]}")
install_packages "${wanted[@]}"

echo "== format"
if ! command -v clang-format-14 >/dev/null; then
    echo "skipped: no clang-format-14"
elif ! [ -e .git ]; then
    echo "skipped: not a clone"
else
    mapfile -t sources < <(git ls-files '*.c' '*.h' '*.cu' '*.cuh')
    clang-format-14 --dry-run --Werror "${sources[@]}"
fi

echo "== build and test"
build dev
ctest --test-dir build/dev --output-on-failure -j 2 -LE long

if [ -n "${SLUICE_TEST_FUZZ:-}" ]; then
    echo "== every parser, fuzzed for $SLUICE_TEST_FUZZ s"
    tests/fuzz/run.sh --jobs "$(nproc)" "$SLUICE_TEST_FUZZ"
fi

echo "== the CUDA backend"
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if ! [ -x "$nvcc" ]; then
    echo "skipped: no CUDA toolkit (nvcc)"
elif ! "$nvcc" -E -x cu - <<<'#include <nccl.h>' >/dev/null 2>&1; then
    echo "skipped: no NCCL (nccl.h)"
else
    build cuda-dev -DSLUICE_CUDA_ARCHITECTURES="80-real;90a-real"
    ctest --test-dir build/cuda-dev --output-on-failure -L gpu
fi

if [ -z "${SLUICE_TEST_QUICK:-}" ]; then
    echo "== the same under AddressSanitizer and UndefinedBehaviorSanitizer"
    build asan
    ctest --test-dir build/asan --output-on-failure -j 2 -LE slow
fi
