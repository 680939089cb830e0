#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A data set that cannot be read any more in the middle: one message with the line, what was finished is kept, and the same
# command continues once it can be read.
set -euo pipefail
source "$(dirname "$0")/../cli/expect.sh"
: "${FAULT_SHIM:?fault_shim.so}"

# More than three of the blocks of 256 KiB in which files are read.
awk 'BEGIN { for (i = 0; i < 1500; i++)
    printf "{\"id\": \"r%d\", \"prompt_token_ids\": [%d, 5, %d], \"note\": \"%0600d\"}\n", i, 3 + i % 200, 3 + i % 150, i }' >data.jsonl
cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/tests/data/models/llama"}
data: {input: data.jsonl, order: file} # so that two runs read alike
generate: {max_new_tokens: 2, ignore_eos: true}
engine: {max_sequences: 16, kv_memory: 1MiB}
output: {path: whole.h5}
YAML
status=0
LD_PRELOAD=$FAULT_SHIM FAULT_KIND=read FAULT_REPORT=report "$SLUICE" run job.yaml --quiet 2>err || status=$?
[ "$status" -eq 0 ] || fail "the whole run: exit status $status"
"$SLUICE" export whole.h5 >whole.jsonl
reads=$(sed -n 's/^count //p' report)

# The reads of the data set while rows run are among the last of a run; the journal is read back after them.
found=0
for ((n = reads; n > 0 && found < 2; n--)); do
    rm -rf out.h5 out.h5.sluice
    status=0
    LD_PRELOAD=$FAULT_SHIM FAULT_KIND=read FAULT_NTH=$n FAULT_ERRNO=5 "$SLUICE" run job.yaml --quiet \
        --set output.path=out.h5 2>err || status=$?
    # A thread counts the rows ahead. A read of its own that fails costs the total and nothing else.
    if [ "$status" -eq 0 ] && [ ! -s err ] && "$SLUICE" export out.h5 | cmp -s - whole.jsonl; then continue; fi
    [ "$status" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] || fail "read $n: exit status $status, $(wc -l <err) lines"
    if ! grep -q '^sluice: data.jsonl: line [1-9][0-9]*: byte [1-9][0-9]*: Input/output error$' err; then continue; fi
    found=$((found + 1))
    run_program run job.yaml --set output.path=out.h5
    [ "$status" -eq 0 ] || fail "read $n: continued: exit status $status"
    grep -q '1500 rows (0 with errors), ' err || fail "read $n: continued: another summary"
    grep -q '[1-9][0-9]* rows kept from an earlier start' err || fail "read $n: continued: nothing kept"
    "$SLUICE" export out.h5 | cmp -s - whole.jsonl || fail "read $n: other rows"
done
[ "$found" -eq 2 ] || fail "no read of the data set in the middle among $reads"
finish
