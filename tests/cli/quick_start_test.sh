#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The commands of docs/quick-start.md, as they stand there, in a clone that has been built.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

mkdir bin clone
ln -s "$SLUICE" bin/sluice
ln -s "$SLUICE_SOURCE_DIR/data" clone
cat >bin/mpirun <<SH
#!/bin/sh
exec $(command -v mpirun) --oversubscribe --allow-run-as-root "\$@"
SH
chmod +x bin/mpirun
export PATH=$PWD/bin:$PATH OMP_NUM_THREADS=1

page=$SLUICE_SOURCE_DIR/docs/quick-start.md
{
    echo "set -e"
    sed -n '/^```sh$/,/^```$/{ /^```/!p }' "$page" | grep -vE '^(cmake|export PATH)'
} >commands.sh
[ "$(grep -c '^\(sluice\|mpirun\) ' commands.sh)" -ge 8 ] || { : >err; fail "the page has only these commands: $(<commands.sh)"; }
(cd clone && bash ../commands.sh) >out 2>err </dev/null || fail "the page's commands: exit status $?"
answer=$(sed -n 's/^    \({"id":"sum".*\)$/\1/p' "$page")
[ -n "$answer" ] && grep -qF -- "$answer" out || fail "the first answer is not the page's: $answer"
expect_output "arithmetic" export clone/out/questions.h5
mv out questions
for name in two parts; do
    expect_output "arithmetic" export "clone/out/$name.h5"
    cmp questions out || fail "other layouts give other answers"
done
finish
