#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A student on a Slurm cluster with docs/quick-start-slurm.md alone: its commands as they stand there, on a Slurm of two nodes that this
# test starts; then a job that is cancelled on the way, looked at from the login node, and submitted again.
set -euo pipefail
source "$(dirname "$0")/paths.sh"
[ "$(id -u)" -eq 0 ] || skip "this test starts Slurm's daemons, which need root"
for program in munged slurmctld slurmd sbatch; do command -v "$program" >/dev/null || skip "$program is not installed"; done
chmod 0755 "$work"
cluster=$work/cluster
# shellcheck source=../slurm/cluster.sh
source "$SLUICE_SOURCE_DIR/tests/slurm/cluster.sh"
trap 'cluster_stop; rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cluster_start || { fail "Slurm has not come up"; finish; }

# The page's sbatch waits for the job, as a person does.
sbatch=$(command -v sbatch)
printf '#!/bin/sh\nexec %s --wait "$@"\n' "$sbatch" >"$work/bin/sbatch"
chmod +x "$work/bin/sbatch"
# Answers of the toy are short: the page's job is cut to what a test has time for. Two "nodes" of one machine take mpirun and TCP: they would
# take each other's shared memory for their own, and PMIx knows one server a machine.
{
    echo 'set -e'
    page_commands quick-start-slurm.md | sed 's/^\(sbatch .*tasks.yaml\)$/SLUICE_LAUNCHER=mpirun OMPI_MCA_btl=self,tcp OMPI_MCA_rmaps_base_oversubscribe=1 \1 --set data.limit=120/'
} >"$work/commands.sh"
[ "$(grep -cE '^(sluice|sbatch) ' "$work/commands.sh")" -ge 10 ] || fail "the page has only these commands: $(<"$work/commands.sh")"
bash "$work/commands.sh" >"$work/out" 2>"$work/err" </dev/null || { fail "the page's commands"; cat "$work/out" slurm-*.out; }
rm "$work/bin/sbatch"
cd "$work/clone"
grep -q '^out/tasks.h5: complete$' "$work/out" || fail "status does not say that the job is complete"
grep -q '4 ranks on 2 hosts\|4 ranks on 1 host' slurm-*.out || fail "the log does not say how many ranks there are: $(cat slurm-*.out)"
[ "$(wc -l <answers.csv)" -ge 121 ] && [ -s answers.parquet ] || fail "the exports"
[ "$(tail -n 1 report.html)" = '</body></html>' ] || fail "the report"
grep -q '^score: ' "$work/out" || fail "no score"

# Cancelled on the way: what the student sees, and that the same command continues.
submit() {
    id=$("$sbatch" --parsable --output="slurm-$1.out" --ntasks=1 slurm/many-nodes.sbatch tasks.yaml --set output.path=out/big.h5 \
        --set generate.ignore_eos=true --set generate.max_new_tokens=24 --set data.limit=200 --set engine.max_sequences=4)
}
submit first
wait_for rows_done out/big.h5 5
scancel "$id"
is_stopped() { sluice status out/big.h5 | grep -q '^out/big.h5: stopped; the command that started it continues it'; }
wait_for is_stopped
left() { [ -z "$(squeue -h -j "$id" 2>/dev/null)" ]; }
wait_for left
grep -q 'finished rows are kept, and the same sbatch command continues' slurm-first.out || fail "the log does not say what is kept: $(cat slurm-first.out)"
submit second
is_complete() { sluice status out/big.h5 | grep -q '^out/big.h5: complete'; }
wait_for is_complete
grep -qE '[1-9][0-9]* rows kept from an earlier start' slurm-second.out || fail "the second job has begun again: $(cat slurm-second.out)"
sluice inspect out/big.h5 | grep -qE '^rows +200, .*[1-9][0-9]* kept' || fail "not all rows, or none kept"
cd "$work" && finish
