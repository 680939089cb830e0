#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Parts of a data set: rows of an output that are run again, and rows that have come to its end. Their answers are those of a whole job;
# another data set, another job and what cannot be verified are refused.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)

# A model with sampling values of its own, which are no settings of the job.
mkdir small && cp "$model"/* small
echo '{"do_sample": true, "temperature": 0.9, "top_p": 0.95}' >small/generation_config.json
tasks=$SLUICE_SOURCE_DIR/data/tasks.jsonl
head -n 24 "$tasks" | sed '5s/.*/{"id": "bad"}/; 9s/.*/{"id": "worse", "prompt": 7}/; 3s/"id": "[^"]*"/"note": 1/' >all.jsonl
head -n 16 all.jsonl >rows.jsonl
# job NAME INPUT: NAME.yaml makes NAME.h5.
job() {
    printf 'model: {path: small}\ndata: {input: "%s"}\ngenerate: {max_new_tokens: 6, seed: 4}\noutput: {path: %s.h5}\n' "$2" "$1" >"$1.yaml"
}
# run_quietly ARGUMENTS…: success.
run_quietly() {
    run_program "$@" --quiet
    [ "$status" -eq 0 ] || fail "$*: exit status $status"
}
lines() { "$SLUICE" export "$1" --columns "${2:-id,row,text,finish_reason,error,expected}"; }
job o rows.jsonl
run_quietly run o.yaml

# ---- Again: only those rows, with their numbers, ids and random numbers ----

run_program rerun o.h5 -o errors.h5 --quiet
[ "$status" -eq 1 ] && grep -q 'errors.h5: no row has an answer' err || fail "errors again: exit status $status"
lines errors.h5 id,row,error | cmp -s - <("$SLUICE" export o.h5 --where error --columns id,row,error) || fail "errors again: $(lines errors.h5)"
run_quietly rerun o.h5 --where finish=length -o again.h5
lines again.h5 | cmp -s - <("$SLUICE" export o.h5 --where finish=length --columns id,row,text,finish_reason,error,expected) || fail "rows again: other answers"
[ "$(lines again.h5 | wc -l)" -gt 3 ] || fail "rows again: too few to tell"
run_program rerun o.h5 --where finish=length -o again.h5
[ "$status" -eq 0 ] && grep -q 'again.h5 is complete' err || fail "rows again, twice: exit status $status"
expect_error 1 'again.h5 exists' rerun o.h5 --where ok -o again.h5 --quiet
run_quietly rerun o.h5 --where ok -o again.h5 --overwrite
[ "$(lines again.h5 | wc -l)" -eq 14 ] || fail "--overwrite: $(lines again.h5 | wc -l) rows"
"${run_mpi[@]}" -n 3 "$SLUICE" rerun o.h5 --where finish=length -o longer.h5 --set generate.max_new_tokens=40 --quiet >out 2>err || fail "on three ranks"
lines longer.h5 id,row | cmp -s - <("$SLUICE" export o.h5 --where finish=length --columns id,row) || fail "on three ranks: other rows"
[ "$(lines longer.h5 completion_tokens | grep -o '[0-9]*' | sort -n | tail -n 1)" -gt 6 ] || fail "--set has no effect"
run_program rerun longer.h5 --where error -o never.h5
[ "$status" -eq 0 ] && [ ! -e never.h5 ] && grep -q 'no row of longer.h5 is to be run again' err || fail "no rows: exit status $status"
expect_error 1 'all.jsonl: another data set than the one that o.h5 was made from' rerun o.h5 -o never.h5 --data all.jsonl --quiet
cp rows.jsonl renamed.jsonl
run_quietly rerun o.h5 --where finish=length -o renamed.h5 --data renamed.jsonl
expect_error 2 'output.path: o.h5' rerun o.h5 -o o.h5 --overwrite --quiet
expect_error 2 '-o with the new output file is missing' rerun o.h5
expect_error 2 '--where: expected error, ok, finish=stop' rerun o.h5 -o never.h5 --where bad
expect_error 2 'no-such.h5' rerun no-such.h5 -o never.h5
expect_error 2 'generate.temperature' rerun o.h5 -o never.h5 --set generate.temperature=hot
[ ! -e never.h5 ] && [ ! -e never.h5.sluice ] || fail "a refused start leaves something"

# ---- Appended: the output is that of the whole data set ----

job whole all.jsonl
run_quietly run whole.yaml
cp o.h5 before.h5
run_program append o.h5
[ "$status" -eq 0 ] && grep -q 'o.h5 has all rows of the data set' err && cmp -s o.h5 before.h5 || fail "nothing new: exit status $status"
cp all.jsonl rows.jsonl
run_program append o.h5
[ "$status" -eq 0 ] && grep -q 'o.h5 has the first 16 rows' err && grep -q 'o.h5: 24 rows (2 with errors)' err || fail "append: exit status $status"
"$SLUICE" compare o.h5 whole.h5 >out || fail "append: not the whole job's answers"
cmp -s <(lines o.h5) <(lines whole.h5) || fail "append: other fields"
[ ! -e o.h5.sluice ] || fail "append leaves its journal"
run_program run o.yaml
[ "$status" -eq 0 ] && grep -q 'o.h5 is complete' err || fail "append: not the whole job's output: exit status $status"
# On ranks, with another layout, with columns that the old rows lack.
cp before.h5 o.h5
sed -i '$s/{/{"logprobs": 1, /' rows.jsonl
"${run_mpi[@]}" -n 2 "$SLUICE" append o.h5 --quiet --set layout.tp=2 >out 2>err || fail "append on two ranks"
lines o.h5 row,logprobs | tail -n 1 | grep -q '"logprobs":\[-' || fail "a column that came with the new rows"
lines o.h5 row,text | head -n 23 | cmp -s - <(lines whole.h5 row,text | head -n 23) || fail "append on two ranks: other answers"

# ---- Stopped, it continues, and until then the output is the old one ----

cp before.h5 o.h5
{ head -n 16 all.jsonl; sed 's/"id": "/&x/' "$tasks"; } >rows.jsonl
"$SLUICE" append o.h5 --quiet --set generate.max_new_tokens=6 >out 2>err &
pid=$!
for ((i = 0; i < 600; i++)); do
    [ "$(stat -c %s o.h5.sluice/journal 2>/dev/null || echo 0)" -lt 20000 ] || break
    sleep 0.05
done
kill -TERM $pid
status=0
wait $pid || status=$?
[ "$status" -eq 75 ] || fail "stopped: exit status $status"
cmp -s o.h5 before.h5 || fail "stopped: the output has changed"
run_quietly append o.h5
[ "$(lines o.h5 row | wc -l)" -eq $((16 + $(wc -l <"$tasks"))) ] || fail "continued: $(lines o.h5 row | wc -l) rows"
cmp -s <(lines o.h5 | head -n 16) <(lines before.h5) || fail "continued: old rows are not what they were"

# ---- What is refused ----

# refuse TEXT ARGUMENTS…: of an append, which changes nothing.
refuse() {
    local text=$1
    shift
    cp before.h5 o.h5
    expect_error 1 "$text" append o.h5 --quiet "$@"
    cmp -s o.h5 before.h5 && [ ! -e o.h5.sluice ] || fail "refused: $text: something has changed"
}
sed '2s/"id"/"name"/' all.jsonl >rows.jsonl
refuse 'rows.jsonl: its first '
head -c 800 all.jsonl >rows.jsonl
refuse 'rows.jsonl: is shorter than it was'
gzip -k all.jsonl
refuse 'all.jsonl.gz: only of plain lines can it be verified' --data all.jsonl.gz
cp all.jsonl rows.jsonl
refuse 'the output was made otherwise: the default there, "generate.temperature: 0.5" now' --set generate.temperature=0.5
refuse 'data.limit: ' --set data.limit=20
cp again.h5 part.h5
expect_error 1 'part.h5: holds a part of its data set' append part.h5 --quiet
head -c -1 rows.jsonl >cut.jsonl
job cut cut.jsonl
run_quietly run cut.yaml
echo '123}' >>cut.jsonl
expect_error 1 'cut.jsonl: what was its last line did not end, and goes on now' append cut.h5 --quiet

# ---- Several files: new ones come behind the old ones ----

mkdir shards && head -n 10 all.jsonl >shards/b.jsonl && sed -n 11,16p all.jsonl >shards/c.jsonl
job shards 'shards/*.jsonl'
run_quietly run shards.yaml
cp shards.h5 before.h5
tail -n 8 all.jsonl >shards/d.jsonl
run_quietly append shards.h5
cmp -s <(lines shards.h5 id,row,text) <(lines whole.h5 id,row,text) || fail "a new file: other answers"
lines shards.h5 file | tail -n 1 | grep -q 'shards/d.jsonl' || fail "a new file: its rows do not name it"
cp before.h5 shards.h5
mv shards/d.jsonl shards/a.jsonl
expect_error 1 'shards/*.jsonl: another data set than the one that shards.h5 was made from' append shards.h5 --quiet

finish
