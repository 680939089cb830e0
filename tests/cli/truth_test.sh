#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The job tells the truth: check foretells how run ends, a job without an answer has failed, errors are said by kind and number, and
# what an earlier start has left is said before and not counted as this start's.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

head -n 4 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >tasks.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: tasks.jsonl}
generate: {max_new_tokens: 2, temperature: 0}
output: {path: out.h5}
YAML

# ends STATUS TEXT ARGUMENTS…: this exit status; the text in what is said, on whichever stream.
ends() {
    local wanted=$1 text=$2
    shift 2
    run_program "$@"
    [ "$status" -eq "$wanted" ] || fail "$*: exit status $status instead of $wanted"
    grep -qF -- "$text" out err || fail "$*: nothing of \"$text\""
}

# both STATUS TEXT SETTINGS…: check and run end alike and say the same.
both() {
    local wanted=$1 text=$2
    shift 2
    ends "$wanted" "$text" check job.yaml "$@"
    ends "$wanted" "$text" run --quiet job.yaml "$@"
}

# ---- Weights ----

copy_model() { # NAME FILE-TO-LEAVE-OUT
    mkdir "$1"
    for file in "$model"/*; do [ "${file##*/}" = "$2" ] || ln -s "$file" "$1/"; done
}
copy_model weightless model.safetensors
both 1 "weightless: there are no weights" --set model.path=weightless --set output.path=weightless.h5
[ ! -e weightless.h5.sluice ] || fail "run without weights has begun a journal"
copy_model deeper config.json
sed -E 's/("num_hidden_layers": *)[0-9]+/\199/' "$model/config.json" >deeper/config.json
both 1 "is missing" --set model.path=deeper --set output.path=deeper.h5
copy_model wider config.json
sed -E 's/("vocab_size": *)[0-9]+/\199999/' "$model/config.json" >wider/config.json
both 1 "where the configuration says" --set model.path=wider --set output.path=wider.h5

# ---- Keys that contradict the model or the device ----

both 1 "engine.kv_block_tokens: 7; on the CPU it has to be a multiple of 16" --set engine.kv_block_tokens=7
both 2 "model.max_model_len: expected" --set model.max_model_len=1
both 1 "layout: 1 rank cannot be divided" --set layout.pp=77

# ---- Every row an error row; some ----

cat >rows.jsonl <<'JSON'
{"id": 1, "question": "Which fruit?"}
{"id": 2, "question": "Which tree?"}
{"id": 3, "prompt": 7}
{"id": 4, "question": "Which bird?"}
JSON
bad=(--set data.input=rows.jsonl --set output.path=bad.h5)
ends 1 "no row would have an answer: 3 rows: no prompt" check job.yaml "${bad[@]}" --set output.path=other.h5
grep -qF '(first: line 1); 1 row: prompt: ' err || fail "the second kind is not named"
rm -rf bad.h5
ends 1 "bad.h5: no row has an answer: 3 rows: no prompt" run job.yaml "${bad[@]}"
grep -q 'bad.h5: 4 rows (4 with errors)' err || fail "no summary of a job without answers"
[ -e bad.h5 ] && [ ! -e bad.h5.sluice ] || fail "the output of a job without answers is not left, or its journal is"
[ "$("$SLUICE" export bad.h5 | grep -c '"error":"')" -eq 4 ] || fail "the errors are not in the output"
both 1 "no row has an answer: 3 rows: no prompt" "${bad[@]}"
expect_output "errors                 3 rows: no prompt" inspect --job bad.h5
ends 1 "no row would have an answer: 4 rows: " check job.yaml --set data.prompt_field=question --set output.path=other.h5

echo '{"id": 5, "prompt": "apple pie"}' >>rows.jsonl
some=(--set data.input=rows.jsonl --set output.path=some.h5)
ends 0 "errors     3 rows: no prompt" check job.yaml "${some[@]}"
ends 0 "sluice: errors: 3 rows: no prompt" run job.yaml "${some[@]}"
expect_quiet run --quiet job.yaml "${some[@]}" --set output.overwrite=true
both 1 "rows.jsonl: " "${some[@]}" --set data.skip_bad_rows=false --set output.path=strict.h5

# ---- The start line; ranks that are worlds of their own ----

ends 0 "sluice: info: 1 rank on 1 host (dp 1 x tp 1 x pp 1), cpu: " run job.yaml --set output.path=start.h5 --set data.limit=2
grep -Eq '^sluice: info: hosts [^ ]+ \(1 rank\); it is 20[0-9-]+T[0-9:]+Z$' err || fail "the start block lacks the hosts"
grep -q '^sluice: info: model small-model (llama): computes in float32, ' err || fail "the start block lacks the model"
grep -q '^sluice: info: data tasks.jsonl, the first 2 rows$' err || fail "the start block lacks the data"
status=0
mpirun -n 4 "$SLUICE" run job.yaml --set output.path=four.h5 --set layout.tp=2 2>err || status=$?
[ "$status" -eq 0 ] || fail "four ranks: exit status $status"
[ "$(grep -c ': 4 ranks on 1 host (dp 2 x tp 2 x pp 1), cpu: ' err)" -eq 1 ] || fail "the start line of four ranks is not there once"

# separate TEXT VARIABLE=VALUE…: of two processes with these variables, with their rank for @, one says so and both end with status 2.
separate() {
    local text=$1 rank
    shift
    : >err
    for rank in 1 0; do
        status=0
        env "${@//@/$rank}" "$SLUICE" run no-such.yaml >out 2>>err || status=$?
        [ "$status" -eq 2 ] || fail "$*: exit status $status"
    done
    [ "$(wc -l <err)" -eq 1 ] && grep -qF "sluice: $text, but to MPI every process is a world of its own" err || fail "$*: another message"
}
separate "PMI_SIZE is 2" PMI_SIZE=2 PMI_RANK=@
separate "OMPI_COMM_WORLD_SIZE is 2" OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=@
separate "MPI_LOCALNRANKS is 2" MPI_LOCALNRANKS=2 PMI_RANK=@
separate "SLURM_STEP_NUM_TASKS is 2" SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=2 SLURM_PROCID=@
SLURM_JOB_ID=7 SLURM_NTASKS=8 SLURM_NPROCS=8 SLURM_PROCID=0 expect_error 2 "no-such.yaml: No such file" run no-such.yaml

# ---- Complete; another job's ----

expect_quiet run --quiet job.yaml
ends 0 "out.h5 is complete" run job.yaml
ends 0 "out.h5 is complete" check job.yaml
both 1 'output.path: out.h5 exists; set output.overwrite=true to replace it: it holds rows of another job: the default there, "generate.seed: 9" now' \
    --set generate.seed=9
ends 1 "out.h5 exists" check job.yaml --fresh
ends 1 "out.h5 exists" run job.yaml --fresh
ends 0 "4 rows, 0 bad" check job.yaml --set output.overwrite=true

# ---- The place of the output ----

mkdir folder
both 1 "output.path: folder is a folder" --set output.path=folder
both 1 "output.path: folder is a folder" --set output.path=folder --set output.overwrite=true
: >file
both 1 "output.path: file is not a folder" --set output.path=file/out.h5
: >blocked.h5.sluice
both 1 "blocked.h5.sluice: not a folder, and in the journal's place" --set output.path=blocked.h5

mkdir small
if mount -t tmpfs -o size=16k tmpfs small 2>/dev/null; then # where this is root
    both 1 "small/out.h5" --set output.path=small/out.h5
    run_program check job.yaml --set output.path=small/out.h5
    grep -q 'small/out.h5: 2[0-9.]* kB to [0-9.]* kB will be written, [0-9.]* kB are free$' err || fail "too little room: another message"
    umount small
fi
both 1 "File name too long" --set output.path="$(printf 'x%.0s' $(seq 252)).h5"
[ ! -d /proc/self ] || ends 1 "output.path: cannot write in /proc" check job.yaml --set output.path=/proc/none/out.h5
ends 0 "0 rows, 0 bad" check job.yaml --set data.limit=0 --set output.path=none.h5
expect_quiet run --quiet job.yaml --set data.limit=0 --set output.path=none.h5
both 1 "config.json: there are no weights" --set model.path="$model/config.json" --set output.path=config.h5

# ---- Interrupted ----

cp "$SLUICE_SOURCE_DIR/data/tasks.jsonl" many.jsonl
long=(--set data.input=many.jsonl --set data.limit=120 --set generate.max_new_tokens=64 --set generate.ignore_eos=true
    --set engine.max_sequences=4 --set output.path=long.h5)
"$SLUICE" run job.yaml "${long[@]}" >/dev/null 2>first.err &
running=$!
for _ in $(seq 400); do
    [ "$(stat -c %s long.h5.sluice/journal 2>/dev/null || echo 0)" -lt 6000 ] || break
    sleep 0.05
done
ends 1 "long.h5.sluice/lock: in use by process $running" check job.yaml "${long[@]}"
kill -TERM "$running"
code=0
wait "$running" || code=$?
[ "$code" -eq 75 ] || fail "interrupted: exit status $code"
kept=$(sed -n 's/.*stopped: \([0-9]*\) rows are kept.*/\1/p' first.err)
[ "${kept:-0}" -gt 0 ] || fail "interrupted: nothing kept"
before=$(cksum long.h5.sluice/*)
ends 0 "journal    $kept rows kept from an earlier start" check job.yaml "${long[@]}"
ends 1 'long.h5.sluice/journal: holds rows of another job: the default there, "generate.seed: 9" now' check job.yaml "${long[@]}" --set generate.seed=9
[ "$(cksum long.h5.sluice/*)" = "$before" ] || fail "check has changed the journal"
ends 1 'long.h5.sluice/journal: holds rows of another job: the default there, "generate.seed: 9" now' run job.yaml "${long[@]}" --set generate.seed=9
ends 0 "this start: " run job.yaml "${long[@]}"
grep -q "^sluice: info: $kept rows kept from an earlier start$" err || fail "continued: the kept rows are not said"
grep -q "long.h5: 120 rows (0 with errors)" err || fail "continued: the summary is not of the whole job"
grep -qF "this start: $(((120 - kept) * 64)) output tokens" err || fail "continued: the rate is not of this start's tokens"
finish
