#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A signal to any one rank, or to mpirun, in any phase: status 75 within 20 seconds, one message, nobody left behind, and the
# same command continues. With --stuck: also while a rank does not move at all, which takes the deadline's 18 seconds.
set -euo pipefail
stuck=${1:-}
source "$(dirname "$0")/../cli/expect.sh"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)
exec 3>&2 2>shell.err
trap 'cat shell.err >&3; rm -rf "$work"' EXIT

cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 200}
generate: {max_new_tokens: 60, n: 2, seed: 7, ignore_eos: true}
layout: {tp: 2}
output: {path: unset.h5}
YAML

start() {
    "${run_mpi[@]}" -n 4 "$SLUICE" run job.yaml --quiet --set "output.path=$1.h5" 2>err &
    mpi_pid=$!
}
# wait_for COMMAND…: until it succeeds, for a minute.
wait_for() {
    for ((i = 0; i < 1200; i++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.05
    done
    fail "$name: nothing of \"$*\""
}
ranks_are_there() { [ "$(pgrep -c -P "$mpi_pid" -x sluice)" -eq 4 ]; }
has_rows() { [ "$(stat -c %s "$name.h5.sluice/journal")" -gt 4000 ]; }
# expect_stopped: what came of it.
expect_stopped() {
    local asked=$1 status=0
    wait "$mpi_pid" || status=$?
    local took=$(($(date +%s%N) / 1000000 - asked))
    [ "$status" -eq 75 ] || fail "$name: exit status $status"
    [ "$took" -le 20000 ] || fail "$name: $took ms"
    [ "$(grep -c '^sluice: stopped' err)" -eq 1 ] || fail "$name: $(grep -c '^sluice: stopped' err) messages"
    wait_for no_rank_left
    echo "$name: $took ms: $(grep -m1 '^sluice: stopped' err)"
}
no_rank_left() {
    local pid
    for pid in "${pids[@]}"; do
        if [ -e "/proc/$pid/exe" ] && readlink "/proc/$pid/exe"; then return 1; fi
    done
}
now() { echo $(($(date +%s%N) / 1000000)); }
collect() { mapfile -t pids < <(pgrep -P "$mpi_pid" -x sluice | sort -n); }

signals=(TERM INT USR1 TERM)
for victim in 0 1 2 3; do
    name=rank$victim
    start "$name"
    wait_for has_rows
    collect
    kill -"${signals[victim]}" "${pids[victim]}"
    expect_stopped "$(now)"
done

name=mpirun
start "$name"
wait_for has_rows
collect
kill -USR1 "$mpi_pid" # which passes it on to all ranks
expect_stopped "$(now)"

# While ranks start and read the model: as early as the handlers are there.
name=early
start "$name"
wait_for test -e "$name.h5.sluice/lock"
collect
kill -USR1 "${pids[3]}"
expect_stopped "$(now)"

if [ -n "$stuck" ]; then
    name=stuck
    start "$name"
    wait_for has_rows
    collect
    kill -STOP "${pids[2]}"
    kill -USR1 "${pids[0]}"
    expect_stopped "$(now)"
fi

# timeout signals the process and then its group: twice within a moment is once. A second signal that a person sends does not wait for the
# deadline: here a rank does not move, and the steps of the others wait for it.
name=timeout
status=0
timeout --preserve-status 600 "$SLUICE" run job.yaml --quiet --set "output.path=$name.h5" --set layout.tp=1 2>err &
mpi_pid=$!
wait_for has_rows
kill -TERM "$mpi_pid"
wait "$mpi_pid" || status=$?
[ "$status" -eq 75 ] || fail "$name: exit status $status"
[ "$(grep -c '^sluice: stopped: [1-9]' err)" -eq 1 ] || fail "$name: another message"

name=twice
start "$name"
wait_for has_rows
collect
kill -STOP "${pids[2]}" "${pids[3]}" "${pids[1]}"
sleep 0.3
asked=$(now)
kill -TERM "${pids[0]}"
kill -TERM "${pids[0]}"
sleep 0.5
[ -e "/proc/${pids[0]}/exe" ] || fail "$name: two signals within a moment ended the process"
sleep 0.8
kill -TERM "${pids[0]}"
kill -CONT "${pids[1]}" "${pids[2]}" "${pids[3]}"
status=0
wait "$mpi_pid" || status=$?
[ "$status" -eq 143 ] || fail "$name: exit status $status"
[ "$(($(now) - asked))" -le 15000 ] || fail "$name: waited for the deadline"
wait_for no_rank_left

# The same command continues: none of it is lost or twice.
run_program run job.yaml --quiet --set layout.tp=1 --set output.path=rank0.h5
[ "$status" -eq 0 ] || fail "continued: exit status $status"
[ "$("$SLUICE" export rank0.h5 | wc -l)" -eq 400 ] || fail "continued: $("$SLUICE" export rank0.h5 | wc -l) results"
finish
