#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A chain of jobs, each of which continues where the one before it was cut off (time limit, lost node, failure); the first that comes
# to the end cancels the rest. For clusters on which jobs may not requeue themselves.
#   slurm/chain.sh LINKS [sbatch's options] slurm/many-nodes.sbatch jobs/my-job.yaml [--set key=value]…
set -euo pipefail
links=${1:?how many jobs}
shift
id=$(sbatch --parsable "$@")
echo "${id%%;*}"
for ((link = 2; link <= links; link++)); do
    id=$(sbatch --parsable --dependency="afternotok:${id%%;*}" --kill-on-invalid-dep=yes "$@")
    echo "${id%%;*}"
done
