#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Loading on many ranks of a host from a slow file system: seconds to load and bytes that were read from it, beside one plain read.
#   bench/load_ranks.sh [RATE]     RATE: bytes a second, as bindfs takes them (default 200M)
# The file system is bindfs (Debian: bindfs) with a limit on its reads and without the page cache, so that each read costs what it costs
# on a file system that many hosts share. Takes 1.2 GB of disk and 1.6 GB of memory a rank. As root, or with fusermount.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/common.sh
build=${BUILD:-build/bench}
sluice=$PWD/$build/sluice make_model=$PWD/$build/bench/bench_make_model
command -v bindfs >/dev/null || { echo "bench/load_ranks.sh: no bindfs: apt-get install bindfs" >&2; exit 1; }
work=$(mktemp -d)
trap 'fusermount -u "$work/slow" 2>/dev/null || umount "$work/slow"; rm -rf "$work"' EXIT
mkdir "$work/slow"
"$make_model" "$work/model" 8 2048 16 4 8192 32000 >/dev/null
bindfs -f --read-rate="${1:-200M}" -o direct_io "$work/model" "$work/slow" &
server=$!
for _ in $(seq 100); do mountpoint -q "$work/slow" && break; sleep 0.1; done
read_bytes() { awk '/^rchar/ { print $2 }' "/proc/$server/io"; }

export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
start=$(date +%s.%N) before=$(read_bytes)
cat "$work"/slow/* >/dev/null
printf '%-28s %8s %12s\n' layout seconds 'MB read'
printf '%-28s %8.1f %12d\n' 'one plain read' "$(echo "$(date +%s.%N) - $start" | bc)" $((($(read_bytes) - before) / 1000000))
for layout in '1 1 1' '2 1 1' '4 1 1' '2 2 1' '4 4 1' '4 1 4'; do
    read -r ranks tp pp <<<"$layout"
    before=$(read_bytes)
    mpirun -n "$ranks" "$sluice" bench --model="$work/slow" --device=cpu --dtype=bfloat16 --tp="$tp" --pp="$pp" \
        --requests=$((ranks / tp / pp)) --prompt-tokens=4 --new-tokens=1 --max-sequences=1 --max-batch-tokens=64 --no-phases \
        >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
    # rank, dp, tp, pp, tokens a second, milliseconds, share of communication, seconds to load
    seconds=$(awk '$1 == "rank" { table = 1; next } table && $1 == "0" { print $8; exit }' "$work/out")
    printf '%-28s %8s %12d\n' "$ranks ranks, tp $tp, pp $pp" "$seconds" $((($(read_bytes) - before) / 1000000))
done
