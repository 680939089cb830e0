#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The README's commands under "Run your own" do what they say in a clone, with nothing downloaded.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

mkdir bin clone
ln -s "$SLUICE" bin/sluice
ln -s "$SLUICE_SOURCE_DIR"/{data,jobs} clone
# As on a machine with cores for all, and no root.
cat >bin/mpirun <<SH
#!/bin/sh
exec $(command -v mpirun) --oversubscribe --allow-run-as-root "\$@"
SH
chmod +x bin/mpirun
export PATH=$PWD/bin:$PATH

lines=$(sed -n '/^## Run your own/,/^## /s/^    \(\(mkdir\|sluice\|mpirun\) .*\)/\1/p' "$SLUICE_SOURCE_DIR/README.md" | sed 's/ *#.*//')
[ "$(wc -l <<<"$lines")" -ge 6 ] || { : >err; fail "the README has only these commands: $lines"; }
while IFS= read -r line; do
    (cd clone && bash -c "$line") >out 2>err </dev/null || fail "$line: exit status $?"
    [[ $line != *"--score"* ]] || grep -q 'score' out || fail "$line: no score"
done <<<"$lines"
for name in small four parts; do
    "$SLUICE" export "clone/out/$name.h5" >"$name.jsonl" 2>err || fail "out/$name.h5 cannot be exported"
done
cmp small.jsonl four.jsonl && cmp small.jsonl parts.jsonl || fail "other layouts give other answers"
finish
