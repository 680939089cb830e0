#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A large data set is hashed while its first rows run: the output's identity, stops, resumes and changes of the data set are those of a small one.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

# 80 rows with much white space in them, 84 MB in all.
awk 'BEGIN { blank = " "; while (length(blank) < 1000000) blank = blank blank; for (i = 0; i < 80; i++) printf "{\"prompt\": \"Count to %d:\"%s}\n", i, blank }' >rows.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 24, temperature: 0, ignore_eos: true}
engine: {max_sequences: 2}
output: {path: out.h5}
YAML
sum=$(sha256sum rows.jsonl | cut -d' ' -f1)

ASAN_OPTIONS=detect_leaks=0 "$SLUICE" run job.yaml >out 2>err &
program=$!
for _ in $(seq 2400); do
    if [ -e out.h5 ] || [ "$(stat -c %s out.h5.sluice/journal 2>/dev/null || echo 0)" -gt 3000 ]; then break; fi
    sleep 0.02
done
[ ! -e out.h5 ] || fail "the job was done before it could be stopped"
kill -TERM "$program"
status=0
wait "$program" || status=$?
[ "$status" -eq 75 ] || fail "stopped: exit status $status instead of 75"
grep -q '^sluice: stopped: [1-9][0-9]* rows are kept' err || fail "stopped: another message"
grep -q 'hashing the data set' err && fail "stopped: the rows waited for the hash"
grep -aq "data sha256: $sum" out.h5.sluice/journal || fail "stopped: the journal has another hash"
[ ! -e out.h5.sluice/journal.new ] || fail "stopped: the journal has both names"

# Another data set of the same size is another job; the same one is continued.
sed '1s/Count/Sound/' rows.jsonl >other.jsonl
mv rows.jsonl kept.jsonl
mv other.jsonl rows.jsonl
cp out.h5.sluice/journal journal.kept
expect_error 1 "holds rows of another job: \"data sha256: $sum\" there" run --quiet job.yaml
grep -q '; start afresh with --fresh or choose another output$' err || fail "another data set: another message"
cmp -s out.h5.sluice/journal journal.kept || fail "another data set: its rows went into the journal"
expect_error 1 'holds rows of another job: "data sha256: ' run --quiet job.yaml --set generate.temperature=1
mv kept.jsonl rows.jsonl
run_program run job.yaml
[ "$status" -eq 0 ] || fail "continued: exit status $status"
grep -q '[1-9][0-9]* rows kept from an earlier start' err || fail "continued: no rows were kept"
grep -q '80 rows (0 with errors), ' err || fail "continued: another summary"
grep -q 'hashing the data set' err && fail "continued: the rows waited for the hash"
"$SLUICE" export out.h5 >continued.jsonl

# From start to end; the same command then finds nothing to do.
run_program run --quiet job.yaml --set output.path=whole.h5
[ "$status" -eq 0 ] || fail "whole: exit status $status"
[ ! -e whole.h5.sluice ] || fail "whole: the journal is left"
"$SLUICE" export whole.h5 | cmp -s - continued.jsonl || fail "whole: other rows than the stopped and continued job's"
"$SLUICE" inspect --json whole.h5 | grep -q "$sum" || fail "whole: the output has another hash"
cp whole.h5 before.h5
run_program run --quiet job.yaml --set output.path=whole.h5
[ "$status" -eq 0 ] && cmp -s whole.h5 before.h5 || fail "again: exit status $status, or another output"
finish
