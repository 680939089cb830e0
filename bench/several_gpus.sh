#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Scaling over the GPUs of one host: rows for the tables "Several GPUs of one host" in docs/performance.md, for 1, 2, 4 and 8 GPUs as far as they are there.
# Usage: bench/several_gpus.sh [BUILD_FOLDER [PART…]]     parts: replicas, layouts, sums (all)
# The floors: replicas, a GPU's own figure times their number; layouts, the serial bound (src/measure/serial_bound.c), which divides a model's work by its ranks;
# sums, NCCL's all-reduce.
# GPUS: use so many; LENGTHS: only these of the table's prompt/output lengths ("1000/1000 2048/128"); REQUESTS: a GPU's requests
# instead of the table's (a quick look); DEVICE (cuda), SMALL, LARGE (shapes), TYPES (--dtype fp8 --kv-dtype fp8)
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build/cuda-dev}
shift || true
[ $# -gt 0 ] || set -- replicas layouts sums
: "${GPUS:=$(nvidia-smi -L | grep -c '^GPU')}" "${DEVICE:=cuda}" "${TYPES:=--dtype fp8 --kv-dtype fp8}"
: "${SMALL:=$root/bench/shapes/llama-3.1-8b.json}" "${LARGE:=$root/bench/shapes/llama-3.3-70b.json}"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# measure RANKS ARGUMENTS…: the report in report.json; what fails says so in place of a row.
measure() {
    local ranks=$1
    shift
    # shellcheck disable=SC2086  # TYPES are words
    "${run_mpi[@]}" -n "$ranks" "$build/sluice" bench --device "$DEVICE" $TYPES --json --no-phases "$@" >"$work/report.json" 2>"$work/err" && return
    echo "| failed on $ranks ranks: $* | $(grep -m 1 '^sluice' "$work/err" || tail -n 1 "$work/err") |"
    return 1
}

# wanted LENGTHS
wanted() {
    [ -z "${LENGTHS:-}" ] || [[ " $LENGTHS " == *" $1 "* ]]
}

replicas() {
    echo '| devices | prompt/output | replicas | output tokens/s | a GPU | share of linear |'
    echo '| --- | --- | --- | --- | --- | --- |'
    #   prompt output requests a GPU
    while read -r prompt output requests; do
        wanted "$prompt/$output" || continue
        for ((ranks = 1; ranks <= GPUS; ranks *= 2)); do
            local compare=()
            [ "$ranks" -eq 1 ] || compare=(--compare-one)
            measure "$ranks" --random-weights "$SMALL" --tp 1 --pp 1 --prompt-tokens "$prompt" --new-tokens "$output" \
                --requests $((${REQUESTS:-$requests} * ranks)) "${compare[@]}" </dev/null || continue
            python3 - "$work/report.json" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
rate = r["output_tokens_per_second"]
share = "%.1f%%" % (100 * r["linear_share"]) if "linear_share" in r else ""
print("| %d × %s | %d/%d | %d | %s | %s | %s |" % (len(r["ranks"]), r["ranks"][0]["device"], r["request_prompt_tokens"],
      r["request_new_tokens"], r["dp"], format(round(rate), ","), format(round(rate / r["dp"]), ","), share))
P
        done
    done <<<'128 128 4096
1000 1000 500'
}

layouts() {
    echo '| devices | prompt/output | tp × pp | output tokens/s | a GPU | serial bound | share | communication, stage by stage |'
    echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
    #   prompt output requests a GPU
    while read -r prompt output requests; do
        wanted "$prompt/$output" || continue
        while read -r tp pp; do
            [ $((tp * pp)) -le "$GPUS" ] || continue
            measure $((tp * pp)) --random-weights "$LARGE" --tp "$tp" --pp "$pp" --prompt-tokens "$prompt" --new-tokens "$output" \
                --requests $((${REQUESTS:-$requests} * tp * pp)) </dev/null || continue
            python3 - "$work/report.json" <<'P'
import json, sys
r = json.load(open(sys.argv[1]))
rate, gpus = r["output_tokens_per_second"], r["tp"] * r["pp"]
stages = [k for k in r["ranks"] if k["tp"] == 0]  # the last one leads
waiting = ", ".join("%.1f%%" % (100 * k["communication_seconds"] / k["seconds"]) for k in sorted(stages, key=lambda k: k["pp"]))
print("| %d × %s | %d/%d, %d requests | %d × %d | %s | %s | %s | %.1f%% | %s |" % (gpus, r["ranks"][0]["device"], r["request_prompt_tokens"],
      r["request_new_tokens"], r["requests"], r["tp"], r["pp"], format(round(rate), ","), format(round(rate / gpus), ","),
      format(round(r["serial_bound"]), ","), 100 * r["serial_bound_share"], waiting))
P
        done <<<'2 1
4 1
8 1
1 2
1 4
2 2'
    done <<<'128 2048 256
2048 128 48'
}

sums() {
    for ((ranks = 2; ranks <= GPUS; ranks *= 2)); do
        echo "sums over $ranks GPUs"
        "${run_mpi[@]}" -n "$ranks" "$build/bench/bench_gpu_allreduce"
    done
}

echo "$(date -I), commit $(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown), $GPUS GPUs"
for part; do
    case $part in
    replicas | layouts | sums) "$part" ;;
    *) echo "$part: no part; replicas, layouts, sums" >&2; exit 2 ;;
    esac
done
