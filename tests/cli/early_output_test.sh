#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The output that a thread writes while the job runs: the same rows in the same order as one that is written at the end, columns that a late
# row asks for included, from several files, and after a kill.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1

# Rows that are errors are quick, and every hundredth is not; a late one asks for columns of its own.
awk 'BEGIN { for (i = 0; i < 40000; i++) {
    if (i == 20000) printf "{\"id\": \"r%d\", \"prompt\": \"late =\", \"logprobs\": 2}\n", i
    else if (i % 100 == 5) printf "{\"id\": \"r%d\", \"prompt\": \"%d + 1 =\"}\n", i, i % 97
    else printf "{\"id\": \"r%d\", \"prompt\": %d}\n", i, i
}}' >all.jsonl
head -n 10000 all.jsonl >first.jsonl
tail -n +10001 all.jsonl >second.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: [first.jsonl, second.jsonl]}
generate: {max_new_tokens: 2, temperature: 0, ignore_eos: true}
output: {path: unset.h5}
YAML
# lines FILE: what does not depend on time and rank.
lines() { "$SLUICE" export "$1" | sed 's/"seconds":[^,]*,//'; }

SLUICE_LOG=debug run_program run job.yaml --set output.path=early.h5
[ "$status" -eq 0 ] || fail "exit status $status"
written=$(sed -n 's/.*debug: \([0-9]*\) rows of the output were written while the job ran/\1/p' err)
[ "${written:-0}" -ge 16384 ] || fail "$written rows were written while the job ran"
lines early.h5 >early.jsonl
sed -n 's/^{"id":"r\([0-9]*\)".*/\1/p' early.jsonl | awk '$1 != NR - 1 { exit 1 } END { if (NR != 40000) exit 1 }' || fail "rows out of order"
sed -n 10000p early.jsonl | grep -q '"file":"first.jsonl"' || fail "row 9999 has another file"
sed -n 10001p early.jsonl | grep -q '"file":"second.jsonl"' || fail "row 10000 has another file"
sed -n 20001p early.jsonl | grep -q '"top_logprob_ids"' || fail "the late row has no columns of its own"
[ ! -e early.h5.partial ] || fail "a partial file is left"

# Parts of it, which are too small to be begun early, say the same.
run_program run job.yaml --quiet --set output.path=part.h5 --set data.limit=12000
lines part.h5 >part.jsonl
[ "$(wc -l <part.jsonl)" -eq 12000 ] || fail "a part of $(wc -l <part.jsonl) rows"
# (a row without columns of its own is one of the whole file without their names)
cmp -s <(sed 's/,"token_ids":\[[^]]*\]//' part.jsonl) <(head -n 12000 early.jsonl | sed 's/,"token_ids":\[[^]]*\]//') ||
    fail "rows written early are others"

# Killed after the file has begun: the next start writes the same.
"$SLUICE" run job.yaml --quiet --set output.path=killed.h5 2>err &
pid=$!
for ((i = 0; i < 2000; i++)); do
    [ ! -e killed.h5.partial ] && kill -0 $pid 2>/dev/null || break
    sleep 0.005
done
kill -KILL $pid 2>/dev/null || true
{ wait $pid || true; } 2>/dev/null
run_program run job.yaml --quiet --set output.path=killed.h5
[ "$status" -eq 0 ] || fail "after a kill: exit status $status"
lines killed.h5 | cmp -s - early.jsonl || fail "after a kill: other rows"
[ ! -e killed.h5.partial ] && [ ! -e killed.h5.sluice ] || fail "after a kill: something is left"
finish
