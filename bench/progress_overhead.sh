#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What it costs to say how a job stands: the share of a run's wall time that rank 0 spends on the live line, the lines of the log, the file of
# `sluice status` and the file of metrics, as the program measures it itself (SLUICE_LOG=debug), on a terminal and in a log; meanwhile
# somebody asks for the status five times a second. The difference of two wall times is smaller than their noise.
# Usage: bench/progress_overhead.sh [JOB] [BUILD_FOLDER] [--set key=value]…     (jobs/small.yaml build/release)
set -euo pipefail
cd "$(dirname "$0")/.."
job=${1:-jobs/small.yaml} build=${2:-build/release}
shift $(($# < 2 ? $# : 2))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
run=("$build/sluice" run "$job" --set "output.path=$work/out.h5" --set output.overwrite=true --set "output.metrics=$work/out.prom" "$@")
printf '%-10s %12s %12s %10s\n' where 'progress s' 'wall s' 'share %'
for where in terminal log; do
    while sleep 0.2; do "$build/sluice" status --json "$work/out.h5" >/dev/null 2>&1 || true; done &
    asking=$!
    if [ "$where" = terminal ]; then
        TERM=xterm SLUICE_LOG=debug script -qec "$(printf '%q ' "${run[@]}")" "$work/log" >/dev/null </dev/null
    else
        SLUICE_LOG=debug "${run[@]}" 2>"$work/log"
    fi
    kill "$asking"
    wait "$asking" 2>/dev/null || true
    sed -nE 's/.*progress, status and metrics took ([0-9.]+) s of ([0-9.]+) s.*/\1 \2/p' "$work/log" |
        awk -v where="$where" '{ printf "%-10s %12.4f %12.2f %10.3f\n", where, $1, $2, 100 * $1 / $2 }'
done
