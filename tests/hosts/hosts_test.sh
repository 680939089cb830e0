#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A job on two hosts, 2 + 2 ranks, one of which vanishes: it ends with status 75 and the host's name, and the same command on the other host
# makes the file that an undisturbed run makes. Hosts are network namespaces; skipped where none may be made.
#   hosts_test.sh SCENARIO
set -euo pipefail
scenario=${1:?a scenario}
# shellcheck source=two_hosts.sh
source "$(dirname "$0")/two_hosts.sh"
skip() {
    echo "skipped: $*"
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
for program in ip unshare mpirun; do command -v $program >/dev/null || skip "there is no $program"; done
case $scenario in
dropped) command -v nft >/dev/null || skip "there is no nft" ;;
esac
mpirun --version 2>/dev/null | grep -q 'Open MPI' || skip "mpirun is not Open MPI's"
hosts_up 2>/dev/null || { hosts_down; skip "network namespaces cannot be made here"; }
source "$SLUICE_SOURCE_DIR/tests/cli/expect.sh"
exec 3>&2 2>shell.err # what the shell says of processes that are killed
trap 'hosts_down; cat shell.err >&3; rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
export SLUICE_MPIRUN="--oversubscribe --mca plm_rsh_agent $two_hosts_agent --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24"

limit=6 slots=2 settings=()
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 80}
generate: {max_new_tokens: 50, n: 2, seed: 7, ignore_eos: true}
engine: {max_sequences: 4}
output: {path: job.h5}
run: {silence_warn: 2}
YAML
now() { date +%s%N | sed 's/......$//'; }
seconds() { awk -v from="$1" -v to="$2" 'BEGIN { printf "%.1f s", (to - from) / 1000 }'; }
# wait_for COMMAND…: until it succeeds, for a minute.
wait_for() {
    local i
    for ((i = 0; i < 1200; i++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.05
    done
    fail "nothing of \"$*\""
}
has_rows() { [ "$(stat -c %s job.h5.sluice/journal)" -gt 4000 ]; }
no_rank_on() { [ -z "$(ranks_of "$1")" ]; }
start() {
    printf '10.77.0.%s slots=%s\n' 1 "$slots" 2 "$slots" >hostfile
    in_host ha "$SLUICE_SOURCE_DIR/jobs/on-hosts.sh" hostfile job.yaml --set "run.silence_limit=$limit" "${settings[@]}" 2>err &
    job=$!
}
# The status of the command that was started.
join_job() {
    status=0
    wait "$job" || status=$?
}
signal_ranks() { # NAME HOST…
    local name=$1 host
    shift
    for host; do ranks_of "$host" | xargs -r kill "-$name" || true; done # one may have ended by itself
}
# expect_lost HOST RANKS: the job ends for its silence soon after the limit.
expect_lost() {
    local host=$1 ranks=$2 detected
    wait_for grep -q "^sluice: warning: host $host ($ranks) has been silent for" err
    wait_for grep -q "^sluice: stopped: nothing was heard of host $host ($ranks) for" err
    detected=$(now)
    [ $((detected - event)) -le $(((limit + 4) * 1000)) ] || fail "noticed after $(seconds "$event" "$detected")"
    join_job
    [ "$status" -eq 75 ] || fail "exit status $status"
    [ "$(grep -c '^sluice: stopped' err)" -eq 1 ] || fail "$(grep -c '^sluice: stopped' err) last lines"
    wait_for no_rank_on ha
    echo "$scenario: noticed after $(seconds "$event" "$detected"), ended after $(seconds "$event" "$(now)")"
}
# expect_continued HOST ADDRESS: the same command on one host ends the job, with the file that it ought to make.
expect_continued() {
    local from
    from=$(now)
    printf '%s slots=2\n' "$2" >hostfile
    status=0
    in_host "$1" "$SLUICE_SOURCE_DIR/jobs/on-hosts.sh" hostfile job.yaml --set layout.tp=1 --set layout.pp=1 2>err || status=$?
    [ "$status" -eq 0 ] || fail "continued: exit status $status"
    grep -q 'kept from an earlier start' err || fail "continued: no rows were kept"
    expect_equal
    echo "$scenario: continued on $1 in $(seconds "$from" "$(now)")"
}
expect_equal() {
    "$SLUICE" run job.yaml --quiet --set output.path=undisturbed.h5 2>err || fail "undisturbed: exit status $?"
    "$SLUICE" compare undisturbed.h5 job.h5 >out 2>err || fail "the files differ: $(head -n 3 out)"
}
begin() {
    start
    wait_for has_rows
    event=$(now)
}
lose_other_host() {
    begin
    "$@"
    expect_lost hb "$([ "$slots" -eq 1 ] && echo "rank 1" || echo "ranks 2-3")"
    wait_for no_rank_on hb
    expect_continued ha 10.77.0.1
}
# Cut for so many seconds: two lines, and no byte of difference.
cut_for() {
    begin
    link_cut
    sleep "$1"
    link_join
    join_job
    [ "$status" -eq 0 ] || fail "exit status $status"
    grep -q 'host hb (.*) has been silent for' err || fail "no warning"
    # Replicas do all else meanwhile, and their job may end before the next look.
    [ "$slots" -eq 2 ] || grep -q 'host hb (.*) is heard again, after' err || fail "nothing of the host's return"
    expect_equal
    echo "$scenario: cut for $1 s, ended $(seconds "$event" "$(now)") after the cut began"
}

case $scenario in
link_down) lose_other_host link_cut ;;
dropped) lose_other_host packets_drop ;;
tensor)
    slots=1 settings=(--set layout.tp=2)
    lose_other_host link_cut
    ;;
pipeline)
    slots=1 settings=(--set layout.pp=2)
    lose_other_host packets_drop
    ;;
stopped) # all of one host's ranks, in a job that goes on elsewhere, are as good as lost
    begin
    signal_ranks STOP hb
    expect_lost hb "ranks 2-3"
    signal_ranks KILL hb
    expect_continued ha 10.77.0.1
    ;;
suspended) # a job that is suspended as a whole loses nobody
    begin
    signal_ranks STOP ha hb
    sleep $((2 * limit))
    signal_ranks CONT ha hb
    join_job
    [ "$status" -eq 0 ] || fail "exit status $status"
    expect_equal
    echo "$scenario: suspended for $((2 * limit)) s, the limit is $limit s"
    ;;
first_host) # rank 0 and mpirun go with their host: the other ranks end by themselves
    begin
    link_cut
    signal_ranks KILL ha
    ip netns pids "$TWO_HOSTS-ha" | xargs -r kill -KILL || true
    wait_for no_rank_on hb
    [ $(($(now) - event)) -le $(((limit + 6) * 1000)) ] || fail "ended after $(seconds "$event" "$(now)")"
    echo "$scenario: the other ranks ended after $(seconds "$event" "$(now)")"
    join_job
    expect_continued hb 10.77.0.2
    ;;
slow)
    packets_slow 2>/dev/null || skip "there is neither netem nor nft here"
    event=$(now)
    start
    join_job
    [ "$status" -eq 0 ] || fail "exit status $status"
    if grep -q 'silent' err; then fail "a slow link is not silence"; fi
    echo "$scenario: ended after $(seconds "$event" "$(now)")"
    expect_equal
    ;;
transient) limit=30; cut_for 5 ;;
transient_tensor)
    limit=30 slots=1 settings=(--set layout.tp=2)
    cut_for 5
    ;;
minute) limit=90; cut_for 60 ;;
*) fail "no such scenario" ;;
esac
[ "$failures" -eq 0 ] || cat err
finish
