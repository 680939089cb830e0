#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The scripts of slurm/ on a real Slurm of two nodes that this test starts for itself: a job is requeued, preempted, cancelled, runs into
# its time limit, loses a rank, and its rows come out as those of a run that nothing happened to. Exit status 77: Slurm cannot be had here.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
cd "$SLUICE_SOURCE_DIR"

skip() {
    echo "SKIPPED: $*"
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip "this test starts Slurm's daemons, which need root"
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" >/dev/null || skip "$program is not installed; scripts/test.sh installs Slurm"
done

work=$(mktemp -d)
chmod 0755 "$work"
cluster=$work/cluster
. tests/slurm/cluster.sh
stopped=()
end() {
    [ ${#stopped[@]} -eq 0 ] || kill -CONT "${stopped[@]}" 2>/dev/null || true
    cluster_stop
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT TERM

failures=0
fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
}
step() {
    printf '%3d s  %s\n' "$SECONDS" "$*"
}

# What goes wrong in the cluster itself is told by its logs.
give_up() {
    echo "FAILED: $*"
    squeue -o '%i %j %T %r' 2>/dev/null || true
    tail -n 15 "$work"/*.log "$cluster"/log/* 2>/dev/null || true
    exit 1
}

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1 SLUICE OMP_NUM_THREADS=1
cat >"$work/job.yaml" <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 300}
generate: {max_new_tokens: 32, n: 2, seed: 7, temperature: 1.5, ignore_eos: true, logprobs: 1}
engine: {max_sequences: 16}
output: {path: "$work/unset.h5", include_token_ids: true, include_prompt: true}
YAML

# submit NAME [sbatch's options] SCRIPT [--set …]…: sets id; the output is NAME.h5, what the job says is NAME.log.
submit() {
    local name=$1
    shift
    local options=()
    while [[ $1 == --* ]]; do
        options+=("$1")
        shift
    done
    local script=$1
    shift
    id=$(sbatch --parsable --job-name="$name" --output="$work/$name.log" "${options[@]}" "slurm/$script" "$work/job.yaml" \
        --set "output.path=$work/$name.h5" "$@")
}

job_fact() { # JOB KEY
    scontrol --oneliner show job "$1" | grep -o " $2=[^ ]*" | head -n 1 | cut -d = -f 2
}
job_is() { # JOB STATE
    [ "$(job_fact "$1" JobState)" = "$2" ]
}
wait_for_state() { # SECONDS JOB STATE
    cluster_wait "$1" "job $2 $3" job_is "$2" "$3" || give_up "job $2 is $(job_fact "$2" JobState) instead of $3"
}

# The processes that write to an output; not srun's or mpirun's.
ranks_of() { # NAME
    pgrep -f -- "^[^ ]*sluice run .*$work/$1\.h5" || true
}
has_journal() { # NAME BYTES
    [ "$(stat -c %s "$work/$1.h5.sluice/journal" 2>/dev/null || echo 0)" -gt "$2" ]
}

# stop_in_the_middle NAME COUNT: stands the ranks still once some rows are kept, so that what comes next strikes a job that is under way.
stop_in_the_middle() {
    cluster_wait_closely 60 "journal of $1" has_journal "$1" 8000 || give_up "$1 has not begun to work"
    local ranks
    mapfile -t ranks < <(ranks_of "$1")
    [ ${#ranks[@]} -eq "$2" ] || give_up "$1 has ${#ranks[@]} ranks instead of $2"
    kill -STOP "${ranks[@]}" || give_up "$1 was over before it could be stopped"
    stopped+=("${ranks[@]}")
    [ ! -e "$work/$1.h5" ] || give_up "$1 was over before it could be stopped"
}

has_line() { # NAME PATTERN
    grep -q -- "$2" "$work/$1.log"
}

# same NAME: the rows are those of the undisturbed run, dataset by dataset; only who ran them and how long it took may differ.
columns_of() { # FILE
    h5ls "$1/results" | cut -d ' ' -f 1
}
same() {
    local column differences
    diff <(columns_of "$work/undisturbed.h5") <(columns_of "$work/$1.h5") || return 1
    for column in $(columns_of "$work/undisturbed.h5"); do
        [[ $column != seconds && $column != rank ]] || continue
        # What it cannot compare it says with -c, and ends with 0.
        if ! differences=$(h5diff -c "$work/undisturbed.h5" "$work/$1.h5" "/results/$column" 2>&1) || [ -n "$differences" ]; then
            printf '%s\n' "$differences" | head -n 5
            return 1
        fi
    done
    "$SLUICE" export "$work/$1.h5" | cmp -s - "$work/undisturbed.jsonl"
}
expect_same() { # NAME
    [ -e "$work/$1.h5" ] || { fail "$1: no output"; tail -n 20 "$work/$1.log"; return; }
    same "$1" || fail "$1: the rows differ from the undisturbed run's"
    [ ! -e "$work/$1.h5.sluice" ] || fail "$1: the journal is left"
}
expect_log() { # NAME PATTERN
    has_line "$@" || { fail "$1: nothing of \"$2\" in the log"; tail -n 20 "$work/$1.log"; }
}

no_ranks() { # NAME
    [ -z "$(ranks_of "$1")" ]
}
has_left() { # JOB: it waits, runs and ends no more
    [ -z "$(squeue -h -j "$1" 2>/dev/null)" ]
}

# expect_end NAME JOB STATE: the job has ended for good, its finished rows are kept and the log says so.
expect_end() {
    wait_for_state 30 "$2" "$3"
    cluster_wait 60 "end of $1" has_left "$2" || give_up "$1 does not end"
    cluster_wait 30 "end of the ranks of $1" no_ranks "$1" || give_up "$1: ranks are left"
    job_is "$2" "$3" && [ "$(job_fact "$2" Restarts)" -eq 0 ] || fail "$1: is $(job_fact "$2" JobState) after $(job_fact "$2" Restarts) restarts"
    has_journal "$1" 8000 || fail "$1: no journal is left"
    [ ! -e "$work/$1.h5" ] || fail "$1: has an output"
    expect_log "$1" 'finished rows are kept, and .*sbatch.* continues'
}

step "an undisturbed run"
"$SLUICE" run "$work/job.yaml" --quiet --set "output.path=$work/undisturbed.h5"
"$SLUICE" export "$work/undisturbed.h5" >"$work/undisturbed.jsonl"

step "munged, slurmctld, two slurmd"
cluster_start || give_up "Slurm has not come up"

# The time limit is looked at twice a minute, so this job goes first; the others pass it by.
step "a job of one minute on both nodes, by mpirun; it stands still until the warning comes"
export SLUICE_LAUNCHER=mpirun
submit limit --nodes=2 --ntasks-per-node=1 --time=1 --signal=B:USR1@45 long.sbatch
limit=$id
unset SLUICE_LAUNCHER
stop_in_the_middle limit 2

step "one node, srun through PMIx, preempted"
submit preempted --nodes=1 --ntasks=2 long.sbatch
preempted=$id
stop_in_the_middle preempted 2
scontrol requeue "$preempted"

step "the time limit's warning"
cluster_wait 100 "USR1 for limit" has_line limit "^long.sbatch: USR1" || give_up "the warning has not come"
mapfile -t ranks < <(ranks_of limit)
kill -CONT "${ranks[@]}"

# Its next start has time enough, however slow the machine is; should the job be at the end of this one, it is warned again.
scontrol update "JobId=$limit" TimeLimit=60

step "a chain whose first link loses a rank"
export SBATCH_PARTITION=all
mapfile -t chain < <(slurm/chain.sh 3 --nodes=1 --ntasks=2 --job-name=chain --open-mode=append --output="$work/chain.log" \
    slurm/many-nodes.sbatch "$work/job.yaml" --set "output.path=$work/chain.h5")
stop_in_the_middle chain 2
kill -KILL "$(ranks_of chain | tail -n 1)"
kill -CONT "$(ranks_of chain | head -n 1)"
wait_for_state 45 "${chain[0]}" FAILED
wait_for_state 60 "${chain[1]}" COMPLETED
wait_for_state 60 "${chain[2]}" CANCELLED
expect_same chain
expect_log chain '[1-9][0-9]* rows kept from an earlier start'

step "the preempted job has continued"
wait_for_state 90 "$preempted" COMPLETED
[ "$(job_fact "$preempted" Restarts)" -ge 1 ] || fail "preempted: was not started again"
expect_same preempted
expect_log preempted '[1-9][0-9]* rows kept from an earlier start'

step "a job of one minute that is not warned and stands still until Slurm ends it"
submit late --nodes=1 --ntasks=1 --time=1 --signal=B:CONT@1 long.sbatch
late=$id
stop_in_the_middle late 1

step "both nodes by mpirun, two ranks each; one node by mpirun; an array of two jobs"
# Two "nodes" of one machine would take each other's shared memory for their own.
export OMPI_MCA_btl=self,tcp
export SLUICE_LAUNCHER=mpirun
submit both --nodes=2 --ntasks-per-node=2 many-nodes.sbatch
both=$id
unset SLUICE_LAUNCHER OMPI_MCA_btl
submit one --ntasks=2 one-node.sbatch
one=$id
cat >"$work/list.txt" <<LIST
$work/job.yaml --set output.path=$work/first.h5
$work/job.yaml --set output.path=$work/second.h5 --set generate.seed=8
LIST
array=$(sbatch --parsable --array=1-2 --ntasks=1 --output="$work/array%a.log" slurm/array.sbatch "$work/list.txt")
for job in "$one" "$both" "${array}_1" "${array}_2"; do
    wait_for_state 150 "$job" COMPLETED
done
expect_same one
expect_same both
expect_same first
[ -e "$work/second.h5" ] || fail "array: no output of the second task"
! same second >/dev/null || fail "another seed gives the same rows: the comparison does not compare"

has_restarted() { # JOB
    [ "$(job_fact "$1" Restarts)" -ge 1 ]
}
cluster_wait 150 "second start of late" has_restarted "$late" || give_up "the job that was not warned is not started again"
scontrol update "JobId=$late" TimeLimit=60

step "the job that was warned has continued"
wait_for_state 300 "$limit" COMPLETED
[ "$(job_fact "$limit" Restarts)" -ge 1 ] || fail "limit: was not started again"
expect_log limit '^sluice: stopped: [1-9][0-9]* rows are kept'
expect_log limit '[1-9][0-9]* rows kept from an earlier start'
expect_same limit

step "scancel of a job of each script"
submit cancel-one --ntasks=1 one-node.sbatch
cancelled_one=$id
submit cancel-many --nodes=1 --ntasks=1 many-nodes.sbatch
cancelled_many=$id
submit cancel-long --nodes=1 --ntasks=1 long.sbatch
cancelled_long=$id
echo "$work/job.yaml --set output.path=$work/cancel-array.h5" >"$work/cancel-list.txt"
cancelled_array=$(sbatch --parsable --array=1 --ntasks=1 --output="$work/cancel-array.log" slurm/array.sbatch "$work/cancel-list.txt")
for name in cancel-one cancel-many cancel-long cancel-array; do stop_in_the_middle "$name" 1; done
scancel "$cancelled_one" "$cancelled_many" "$cancelled_long" "${cancelled_array}_1"
expect_end cancel-one "$cancelled_one" CANCELLED
expect_end cancel-many "$cancelled_many" CANCELLED
expect_end cancel-long "$cancelled_long" CANCELLED
expect_end cancel-array "${cancelled_array}_1" CANCELLED

step "preemption that cancels, and one that requeues"
submit doomed --partition=cancelled --nodes=1 --nodelist=sluice2 --ntasks=2 long.sbatch
doomed=$id
stop_in_the_middle doomed 2
urgent=$(sbatch --parsable --partition=urgent --nodes=1 --nodelist=sluice2 --ntasks=2 --output=/dev/null --wrap 'sleep 1')
expect_end doomed "$doomed" PREEMPTED
wait_for_state 60 "$urgent" COMPLETED
submit spare --partition=requeued --nodes=1 --nodelist=sluice2 --ntasks=2 long.sbatch
spare=$id
stop_in_the_middle spare 2
urgent=$(sbatch --parsable --partition=urgent --nodes=1 --nodelist=sluice2 --ntasks=2 --output=/dev/null --wrap 'sleep 1')
wait_for_state 60 "$urgent" COMPLETED

step "what was cancelled continues, on another launcher"
SLUICE_LAUNCHER=srun submit cancel-one --ntasks=1 one-node.sbatch
again=("$id")
submit cancel-many --nodes=1 --ntasks=1 many-nodes.sbatch
again+=("$id")
submit cancel-long --nodes=1 --ntasks=1 long.sbatch
again+=("$id")
again+=("$(SLUICE_LAUNCHER=mpirun sbatch --parsable --array=1 --ntasks=1 --open-mode=append --output="$work/cancel-array.log" slurm/array.sbatch \
    "$work/cancel-list.txt")_1")
submit doomed --ntasks=1 long.sbatch
again+=("$id")
for job in "${again[@]}" "$spare"; do wait_for_state 240 "$job" COMPLETED; done
[ "$(job_fact "$spare" Restarts)" -ge 1 ] || fail "spare: was not started again"
for name in cancel-one cancel-many cancel-long cancel-array doomed spare; do
    expect_same "$name"
    expect_log "$name" '[1-9][0-9]* rows kept from an earlier start'
done

step "srun without PMIx; alone in the script of a job of two tasks"
status=0
srun --mpi=none --ntasks=2 "$SLUICE" run "$work/job.yaml" --set "output.path=$work/separate.h5" >"$work/separate.log" 2>&1 || status=$?
[ "$status" -eq 2 ] || fail "separate: exit status $status instead of 2"
[ "$(grep -c '^sluice: SLURM_STEP_NUM_TASKS is 2, but to MPI every process is a world of its own' "$work/separate.log")" -eq 1 ] ||
    { fail "separate: another message"; cat "$work/separate.log"; }
[ ! -e "$work/separate.h5" ] && [ ! -e "$work/separate.h5.sluice" ] || fail "separate: something was opened"
alone=$(sbatch --parsable --ntasks=2 --output="$work/alone.log" --wrap "$SLUICE run $work/job.yaml --set output.path=$work/alone.h5")
wait_for_state 120 "$alone" COMPLETED
expect_same alone

step "the job that was not warned has continued"
wait_for_state 200 "$late" COMPLETED
[ "$(job_fact "$late" Restarts)" -ge 1 ] || fail "late: was not started again"
expect_log late '[1-9][0-9]* rows kept from an earlier start'
expect_same late

step "$failures failures"
[ "$failures" -eq 0 ]
