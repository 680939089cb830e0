#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What commands take on jobs of many rows, without a model: `sluice status` of a job that runs and of one that is complete, the report's size,
# `sluice inspect`, and every form of `sluice export` with its speed (bytes of the file a second) and peak memory, on two sizes, so that memory
# that grows with the rows would show.
# Usage: bench/large_job.sh [BUILD_FOLDER [ROWS [STATUS_ROWS]]]     (build/release 1000000 10000000; about 1 KB of disk a row in $TMPDIR)
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build/release}") rows=${2:-1000000} status_rows=${3:-10000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# measure COMMAND…: sets seconds, cpu and peak (MB).
measure() {
    /usr/bin/time -o times -f '%e %U %S %M' "$@"
    read -r seconds user system peak <times
    cpu=$(awk -v u="$user" -v s="$system" 'BEGIN { print u + s }')
    peak=$(awk -v k="$peak" 'BEGIN { printf "%.0f", k / 1e3 }')
}
megabytes() { awk -v b="$(stat -c %s "$1")" 'BEGIN { printf "%.1f", b / 1e6 }'; }

mkfifo end
"$build/bench/bench_large_job" journal big.h5 "$status_rows" <end >held &
exec 3>end
until grep -q held held; do sleep 0.2; done
measure "$build/sluice" status big.h5
echo "status of a job that runs, $status_rows rows in a journal of $(megabytes big.h5.sluice/journal) MB: $seconds s"
exec 3>&-
wait
rm -rf big.h5.sluice
"$build/bench/bench_large_job" output big.h5 "$status_rows"
measure "$build/sluice" status big.h5
echo "status of a complete job, $status_rows rows in $(megabytes big.h5) MB: $seconds s"
rm big.h5

for count in $((rows / 10)) "$rows"; do
    "$build/bench/bench_large_job" output out.h5 "$count"
    echo "$count rows, an output of $(megabytes out.h5) MB"
    measure "$build/sluice" report out.h5 -o out.html --overwrite
    echo "  report of $(stat -c %s out.html) bytes: $seconds s, $peak MB of memory"
    measure "$build/sluice" inspect out.h5 >/dev/null
    echo "  inspect: $seconds s, $peak MB of memory"
    printf '  %-14s %9s %9s %9s %9s %12s %10s\n' export MB seconds 'cpu s' MB/s 'results/s' 'memory MB'
    for name in jsonl jsonl.gz jsonl.zst openai.jsonl csv txt parquet; do
        measure "$build/sluice" export out.h5 -o "out.$name" --overwrite --quiet
        printf '  %-14s %9s %9s %9s %9s %12s %10s\n' "$name" "$(megabytes "out.$name")" "$seconds" "$cpu" \
            "$(awk -v m="$(megabytes "out.$name")" -v s="$seconds" 'BEGIN { printf "%.1f", m / s }')" \
            "$(awk -v n="$count" -v s="$seconds" 'BEGIN { printf "%.0f", n / s }')" "$peak"
        rm "out.$name"
    done
done
