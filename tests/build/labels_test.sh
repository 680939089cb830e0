#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every test of this build has its folder's name as a label, so that `ctest -L FOLDER` runs a folder.
set -euo pipefail
: "${SLUICE_SOURCE_DIR:?the root of the repository}" "${SLUICE_BUILD_DIR:?where it was built}"
folders=$(cd "$SLUICE_SOURCE_DIR/tests" && ls -d -- */ | tr -d / | paste -s -d '|')
count() { ctest --test-dir "$SLUICE_BUILD_DIR" -N "$@" | sed -n 's/^Total Tests: //p'; }
all=$(count)
labelled=$(count -L "^($folders)\$")
if [ "$all" -eq 0 ] || [ "$labelled" -ne "$all" ]; then
    echo "FAILED: $labelled of $all tests have a folder's label; without one are:"
    ctest --test-dir "$SLUICE_BUILD_DIR" -N -LE "^($folders)\$" | grep ' Test '
    exit 1
fi
echo "$all tests"
