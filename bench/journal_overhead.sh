#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the journal costs: the share of a run's wall time that rank 0 spends in it (opening, notes of rows under way, appending,
# syncing every second, reading back), as the output file's attributes have it. Rank 0 does nothing else meanwhile, so a run
# without a journal is shorter by this much at most. The difference of two wall times is smaller than their noise.
# Usage: bench/journal_overhead.sh [JOB] [BUILD_FOLDER] [RANKS] [RUNS] [--set key=value]…
#        (jobs/demo.yaml build/release 4 3; run scripts/demo.sh before, or take jobs/small.yaml)
set -euo pipefail
cd "$(dirname "$0")/.."
job=${1:-jobs/demo.yaml} build=${2:-build/release} ranks=${3:-4} runs=${4:-3}
shift $(($# < 4 ? $# : 4))
. scripts/common.sh
mkdir -p out
output=$(mktemp -u -p out journal_overhead_XXXXXX).h5
trap 'rm -rf "$output" "$output.sluice"' EXIT
printf '%8s %12s %12s %10s\n' rows 'wall s' 'journal s' 'share %'
for ((i = 0; i < runs; i++)); do
    run_mpi "$ranks" "$build/sluice" run "$job" --quiet --set output.path="$output" --set output.overwrite=true "$@"
    "$build/sluice" inspect "$output" --json | python3 -c '
import json, sys
a = json.load(sys.stdin)["attributes"]
wall, journal = float(a["wall_seconds"]), float(a["journal_seconds"])
print("%8d %12.2f %12.4f %10.3f" % (float(a["rows"]), wall, journal, 100 * journal / wall))'
done
