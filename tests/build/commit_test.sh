#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Which commit a build says it is of: that of a clone, also after the next commit; none of a tarball, wherever it is unpacked.
set -euo pipefail
: "${SLUICE_SOURCE_DIR:?the root of the repository}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
git() {
    command git -C "$work/clone" -c user.name=test -c user.email=test@localhost -c commit.gpgsign=false "$@"
}
# expect COMMIT FOLDER
expect() {
    cmake -DSOURCE="$2" -DHEADER="$work/commit.h" -P "$SLUICE_SOURCE_DIR/cmake/commit.cmake"
    [ "$(<"$work/commit.h")" = "#define SLUICE_COMMIT \"$1\"" ] && return
    failures=$((failures + 1))
    echo "FAILED: $(<"$work/commit.h") instead of $1 in ${2#"$work"}"
}

mkdir "$work/clone"
git init -q
echo one >"$work/clone/file"
git add file
git commit -q -m one
first=$(git rev-parse HEAD)
expect "${first:0:12}" "$work/clone"
git tag v9
expect "${first:0:12}" "$work/clone"
touched=$(stat -c %Y.%i "$work/commit.h")
sleep 1.1
expect "${first:0:12}" "$work/clone"
[ "$touched" = "$(stat -c %Y.%i "$work/commit.h")" ] || { failures=$((failures + 1)); echo "FAILED: the header is written again where nothing has changed"; }
echo two >"$work/clone/file"
expect "${first:0:12}-changed" "$work/clone"
git commit -q -a -m two
second=$(git rev-parse HEAD)
expect "${second:0:12}" "$work/clone"

mkdir "$work/clone/unpacked" "$work/alone"
expect unknown "$work/clone/unpacked"
expect unknown "$work/alone"
# Without git on the path, as on a machine with nothing installed.
cmake=$(command -v cmake)
PATH=$work/none "$cmake" -DSOURCE="$work/clone" -DHEADER="$work/commit.h" -P "$SLUICE_SOURCE_DIR/cmake/commit.cmake"
grep -q '"unknown"' "$work/commit.h" || { failures=$((failures + 1)); echo "FAILED: without git: $(<"$work/commit.h")"; }
echo "$failures failures"
[ "$failures" -eq 0 ]
