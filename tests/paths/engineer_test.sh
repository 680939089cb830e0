#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A cloud engineer with docs/cloud.md: mpirun with a hostfile through jobs/on-hosts.sh, metrics for Prometheus, JSON logs, `status --watch` from
# another terminal, ranks that are killed and an instance that is taken away with notice; the same command continues each time.
set -euo pipefail
source "$(dirname "$0")/paths.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 SLUICE_MPIRUN=--oversubscribe
mkdir metrics
echo 'localhost slots=2' >hosts
head -n 500 data/tasks.jsonl >tasks.jsonl
cat >tasks.yaml <<YAML
model: {path: data/small-model}
data: {input: tasks.jsonl}
generate: {max_new_tokens: 120, n: 2, seed: 5, ignore_eos: true} # half a minute of one core: long after the second in which rows are kept
engine: {max_sequences: 4}
output: {path: out/tasks.h5, metrics: metrics/sluice.prom}
YAML
sluice check tasks.yaml --ranks 2 --ranks-per-host 1 >"$work/out" 2>"$work/err" || fail "check"
start() { # NAME
    jobs/on-hosts.sh hosts tasks.yaml --log-format json 2>"$work/$1.log" &
    job=$!
}
join() {
    status=0
    wait "$job" || status=$?
}
ranks() { pgrep -f -- "^$(realpath "$SLUICE") run tasks.yaml --log-format json$|^sluice run tasks.yaml --log-format json$" | while read -r pid; do
    [ "$(readlink "/proc/$pid/cwd")" != "$PWD" ] || echo "$pid"; done; }

# A rank is killed.
start first
wait_for rows_done out/tasks.h5 4
grep -q '^sluice_job_running{output="out/tasks.h5"} 1$' metrics/sluice.prom || fail "metrics of a job that runs: $(cat metrics/sluice.prom)"
sluice status --watch out/tasks.h5 >"$work/watched" 2>&1 &
watcher=$!
mapfile -t pids < <(ranks)
[ "${#pids[@]}" -eq 2 ] || fail "${#pids[@]} ranks"
kill -KILL "${pids[1]}"
join
[ "$status" -ne 0 ] || fail "a killed rank: exit status 0"
wait "$watcher" || fail "status --watch: exit status $?"
grep -q '^out/tasks.h5: running$' "$work/watched" && grep -q '^out/tasks.h5: stopped; ' "$work/watched" || fail "--watch: $(cat "$work/watched")"

# The instance is to be taken away: its watcher sends USR1 to the script.
start second
kept=$(sluice status --json out/tasks.h5 | sed -n 's/.*"rows_done":\([0-9]*\).*/\1/p')
continued() { rows_done out/tasks.h5 $((kept + 4)) && sluice status out/tasks.h5 | grep -q '^out/tasks.h5: running$'; }
wait_for continued
kill -USR1 "$job"
join
[ "$status" -eq 75 ] || fail "notice: exit status $status"
grep -qE '"message":"stopped: [1-9][0-9]* rows are kept; the same command continues"' "$work/second.log" || fail "notice: $(cat "$work/second.log")"

# On one host fewer: the rest.
echo 'localhost slots=1' >hosts
start third
join
[ "$status" -eq 0 ] || { fail "the rest: exit status $status"; cat "$work/third.log"; }
grep -qE '"message":"[1-9][0-9]* rows kept from an earlier start"' "$work/third.log" || fail "began again"
grep -q '^sluice_job_running{output="out/tasks.h5"} 0$' metrics/sluice.prom && grep -q '^sluice_rows_done_total{output="out/tasks.h5"} 500$' metrics/sluice.prom ||
    fail "metrics of a job that is over: $(cat metrics/sluice.prom)"
[ "$(find metrics -type f | wc -l)" -eq 1 ] || fail "metrics leave a file"
if command -v promtool >/dev/null; then promtool check metrics <metrics/sluice.prom || fail promtool; fi
sluice status --json out/tasks.h5 | grep -q '"state":"complete"' || fail "not complete"
if command -v python3 >/dev/null; then
    python3 - "$work"/*.log <<'PYTHON' || fail "a log that is no JSON"
import json, sys
for path in sys.argv[1:]:
    for line in open(path):
        if line.startswith(("{", "sluice")):  # the others are mpirun's and the script's
            try:
                message = json.loads(line)
            except ValueError:
                sys.exit(f"{path}: {line}")
            assert {"level", "message"} <= message.keys(), line
PYTHON
fi
# A Ctrl-C comes from the terminal to the script, to mpirun and to all that share their process group: what stops is stopped at once.
if command -v python3 >/dev/null; then
    python3 -c 'import os, signal, sys; os.setsid(); signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])' \
        jobs/on-hosts.sh hosts tasks.yaml --set output.path=out/typed.h5 --set output.metrics=null 2>"$work/typed.log" &
    job=$!
    wait_for rows_done out/typed.h5 4
    kill -INT -- "-$job"
    join
    [ "$status" -eq 75 ] && grep -q '^sluice: stopped: ' "$work/typed.log" || fail "Ctrl-C: exit status $status: $(cat "$work/typed.log")"
fi
# The same file as an undisturbed run's.
sluice run tasks.yaml --quiet --set output.path=out/whole.h5 --set output.metrics=null 2>"$work/err" || fail "an undisturbed run"
sluice compare out/tasks.h5 out/whole.h5 >"$work/out" || fail "interrupted: $(tail -n 3 "$work/out")"
cd "$work" && finish
