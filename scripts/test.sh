#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs all tests. SLUICE_TEST_QUICK=1 leaves out the sanitizer build; SLUICE_TEST_FUZZ=60 also
# fuzzes every parser for so many seconds. The CUDA backend is built too where the CUDA toolkit and NCCL are there; its tests skip
# themselves without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh

install_packages "${packages[@]}" "${test_packages[@]}"

echo "== format"
mapfile -t sources < <(git ls-files '*.c' '*.h' '*.cu' '*.cuh')
clang-format-14 --dry-run --Werror "${sources[@]}"

echo "== build and test"
build dev
ctest --test-dir build/dev --output-on-failure -j 2

if [ -n "${SLUICE_TEST_FUZZ:-}" ]; then
    echo "== every parser, fuzzed for $SLUICE_TEST_FUZZ s"
    install_packages "${fuzz_packages[@]}"
    tests/fuzz/run.sh --jobs "$(nproc)" "$SLUICE_TEST_FUZZ"
fi

echo "== the CUDA backend"
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if ! [ -x "$nvcc" ]; then
    echo "skipped: no CUDA toolkit (nvcc)"
elif ! "$nvcc" -E -x cu - <<<'#include <nccl.h>' >/dev/null 2>&1; then
    echo "skipped: no NCCL (nccl.h)"
else
    build cuda -DSLUICE_CUDA_ARCHITECTURES="80-real;90a-real" -DSLUICE_WARNINGS_AS_ERRORS=ON
    ctest --test-dir build/cuda --output-on-failure -L gpu
fi

if [ -z "${SLUICE_TEST_QUICK:-}" ]; then
    echo "== the same under AddressSanitizer and UndefinedBehaviorSanitizer"
    build asan
    ctest --test-dir build/asan --output-on-failure -j 2 -LE slow
fi
