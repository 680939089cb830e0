#!/usr/bin/env bash
# Installs what is missing, builds, and runs all tests. SLUICE_TEST_QUICK=1 leaves out the sanitizer build; SLUICE_TEST_FUZZ=60 also
# fuzzes every parser for so many seconds.
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

if [ -z "${SLUICE_TEST_QUICK:-}" ]; then
    echo "== the same under AddressSanitizer and UndefinedBehaviorSanitizer"
    build asan
    ctest --test-dir build/asan --output-on-failure -j 2 -LE slow
fi

if [ -n "${SLUICE_TEST_FUZZ:-}" ]; then
    echo "== every parser, fuzzed for $SLUICE_TEST_FUZZ s"
    install_packages "${fuzz_packages[@]}"
    tests/fuzz/run.sh --jobs "$(nproc)" "$SLUICE_TEST_FUZZ"
fi
