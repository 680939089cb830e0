#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Kills ranks of a job with SIGKILL at random moments, again and again, with another layout at each start, until the job is
# done; then the next job, until there were enough kills. Every finished file must hold the rows of the undisturbed run.
# Usage: kill_walk.sh [KILLS]     (20)
# SLUICE: the program; SLUICE_SOURCE_DIR: the repository (this script's); KILL_SEED: printed, and the same again gives the same kills as far as
# moments can be the same; KILL_ROWS (2000); KILL_FOLDER: where to work (a temporary folder)
set -euo pipefail
: "${SLUICE:?the program to test}"
: "${SLUICE_SOURCE_DIR:=$(cd "$(dirname "$0")/../.." && pwd)}"
wanted=${1:-20}
rows=${KILL_ROWS:-2000}
RANDOM=${KILL_SEED:=$$}
work=$(mktemp -d -p "${KILL_FOLDER:-${TMPDIR:-/tmp}}")
cd "$work"
# The shell tells of every process that dies of a signal; here that is no news.
exec 3>&2 2>shell.err
trap 'grep -v Killed shell.err >&3 || true; rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)

# Short prompts; every hundredth row has two samples, every 500th is bad.
awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++) {
    if (i % 500 == 77) print "{\"prompt\": " i "}"
    else printf "{\"id\": \"r%d\", \"prompt\": \"%d + %d =\", \"n\": %d}\n", i, i % 97, i % 89, i % 100 == 5 ? 2 : 1
}}' >data.jsonl
cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model"}
data: {input: data.jsonl}
generate: {max_new_tokens: 4, temperature: 0.8, seed: 7, ignore_eos: true, logprobs: 0}
output: {path: unset.h5, include_token_ids: true}
YAML
layouts=("4 1 1" "4 2 1" "4 1 2" "3 1 1" "4 2 2" "2 1 2" "3 1 3" "1 1 1" "4 4 1")

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
# start OUTPUT LAYOUT: sets mpi_pid and ranks.
start() {
    read -r ranks tp pp <<<"$2"
    "${run_mpi[@]}" -n "$ranks" "$SLUICE" run job.yaml --quiet --set "output.path=$1" --set "layout.tp=$tp" --set "layout.pp=$pp" 2>err &
    mpi_pid=$!
}
give_up() {
    echo "FAILED (seed $KILL_SEED, job $job, start $starts, $kills kills): $*"
    sed 's/^/    /' err
    exit 1
}

# mpirun may hang at its own end with all ranks gone (Open MPI 4.1.4, once in some hundred kills: PMIx waits for a lock of its own). After 30 s it
# is ended here; ranks that live still are found by the caller.
hung=0
end_mpirun() {
    local i
    for ((i = 0; i < 300; i++)); do
        kill -0 "$mpi_pid" 2>/dev/null || return 0
        sleep 0.1
    done
    hung=$((hung + 1))
    kill -KILL "$mpi_pid"
}

pause() { sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"; }
# wait_for FILE…: until one is there, or the job is over, and a moment longer.
wait_for() {
    local file
    while kill -0 "$mpi_pid" 2>/dev/null; do
        for file; do if [ -e "$file" ]; then break 2; fi; done
        sleep 0.005
    done
    pause $((RANDOM % 25))
}

job=0 starts=0 kills=0 everybody=0 lost_time=0
begun=$(milliseconds)
start whole.h5 "4 1 1"
wait "$mpi_pid" || give_up "the undisturbed run"
length=$(($(milliseconds) - begun))
"$SLUICE" export whole.h5 >whole.jsonl
results=$((rows + (rows + 94) / 100))
[ "$(wc -l <whole.jsonl)" -eq "$results" ] || give_up "the undisturbed run has $(wc -l <whole.jsonl) of $results results"
declare -A phases=([start]=0 [load]=0 [steps]=0 [finish]=0 [end]=0)
echo "seed $KILL_SEED: $rows rows take $length ms undisturbed on 4 ranks"

# rows_are_out OUTPUT: whether this start has handed out rows: its notes of rows under way come after those of suspects.
rows_are_out() {
    local notes=$1.sluice/attempts suspects
    suspects=$(od -An -tu4 -j12 -N4 "$notes" 2>/dev/null | tr -d ' ') || return 1
    [ "$(stat -c %s "$notes" 2>/dev/null || echo 0)" -gt $((36 + 24 * ${suspects:-0})) ] && [ "$notes" -nt started ]
}
# The phase that a job is in, from what is on disk.
phase() {
    if [ -e "$1" ]; then echo end
    elif [ -e "$1.partial" ]; then echo finish
    elif rows_are_out "$1"; then echo steps
    elif [ -e "$1.sluice/lock" ]; then echo load
    else echo start; fi
}

while [ "$kills" -lt "$wanted" ]; do
    job=$((job + 1)) output=job$job.h5
    while :; do
        starts=$((starts + 1))
        layout=${layouts[RANDOM % ${#layouts[@]}]}
        touch started
        start "$output" "$layout"
        # Most kills come at any time of a run; some wait for the short phases, the output's writing and the end.
        case $((RANDOM % 10)) in
        0 | 1) wait_for "$output.partial" "$output" ;;
        2) wait_for "$output" ;;
        3 | 4 | 5) wait_for "$output.sluice/lock" && pause $((RANDOM * length / 32768 / 2)) ;;
        *) pause $((RANDOM * length / 32768)) ;;
        esac
        if ! mapfile -t pids < <(pgrep -P "$mpi_pid" -x sluice) || [ ${#pids[@]} -eq 0 ]; then
            if ! kill -0 "$mpi_pid" 2>/dev/null; then
                wait "$mpi_pid" || give_up "exit status $? without a kill, layout $layout"
                break
            fi
            pids=("$mpi_pid") # before its first rank
        elif [ $((RANDOM % 3)) -eq 0 ]; then
            pids+=("$mpi_pid")
        else
            pids=("${pids[RANDOM % ${#pids[@]}]}")
        fi
        now=$(phase "$output")
        kill -KILL "${pids[@]}" 2>/dev/null || true
        killed=$(milliseconds) status=0
        end_mpirun
        { wait "$mpi_pid"; } 2>/dev/null || status=$?
        if [ "$status" -eq 0 ]; then break; fi # the job was faster
        # A run's length is taken as it is now: other work on the machine comes and goes.
        case $now in
        end) length=$((length * 9 / 10 + 50)) ;;
        steps) length=$((length * 11 / 10)) ;;
        esac
        kills=$((kills + 1))
        phases[$now]=$((phases[$now] + 1))
        [ ${#pids[@]} -gt 1 ] && everybody=$((everybody + 1))
        # Orphans are looked for by the working folder, which is this script's alone.
        for ((i = 0; i < 300; i++)); do
            left=$(pgrep -f "^$SLUICE run job.yaml --quiet --set output.path=$output " | while read -r pid; do
                [ "$(readlink "/proc/$pid/cwd" || true)" != "$work" ] || echo "$pid"; done || true)
            [ -n "$left" ] || break
            sleep 0.1
        done
        [ -z "$left" ] || give_up "ranks are left 30 s after the kill: $left"
        took=$(($(milliseconds) - killed))
        [ "$took" -le "$lost_time" ] || lost_time=$took
        if [ "$kills" -ge "$wanted" ]; then break; fi
        if [ -e "$output" ] && [ $((RANDOM % 2)) -eq 0 ]; then break; fi
    done
    # The last start of a job is an undisturbed one: it completes, or says that the job is complete.
    start "$output" "${layouts[RANDOM % ${#layouts[@]}]}"
    wait "$mpi_pid" || give_up "the last start: exit status $?"
    [ ! -e "$output.sluice" ] || give_up "the journal is left"
    [ ! -e "$output.partial" ] || give_up "a partial file is left"
    "$SLUICE" export "$output" | cmp - whole.jsonl || give_up "other rows than the undisturbed run's"
    if command -v h5diff >/dev/null; then
        h5diff -q --exclude-path /seconds --exclude-path /rank whole.h5 "$output" /results /results ||
            give_up "h5diff: datasets differ"
    fi
    rm "$output"
done
echo "$kills kills ($everybody of all ranks and mpirun; in phases: start ${phases[start]}, load ${phases[load]}, steps ${phases[steps]}," \
    "finish ${phases[finish]}, end ${phases[end]}) in $starts starts of $job jobs; every file equals the undisturbed one;" \
    "all ranks were gone at most $lost_time ms after a kill, mpirun hung at its own end $hung times; $((($(milliseconds) - begun) / 1000)) s"
