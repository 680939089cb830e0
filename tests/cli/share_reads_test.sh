#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The ranks of a host read the weights together: each byte once, whatever the layout, and the same results.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 12}
generate: {max_new_tokens: 6}
output: {path: unset.h5}
YAML
# Containers may have hardly any memory to share; then each rank reads for itself.
room=$(df --output=avail -k /dev/shm | tail -n 1)
size=$(stat -c %s "$model/model.safetensors")

# run_ranks NAME SETTING…: on 4 ranks.
run_ranks() {
    local name=$1 settings=() setting
    shift
    for setting; do settings+=(--set "$setting"); done
    "${run_mpi[@]}" -n 4 "$SLUICE" run job.yaml --set "output.path=$name.h5" "${settings[@]}" 2>err || fail "$name: exit status $?"
}
run_ranks own run.share_reads=never
grep -q 'were read from the files' err && fail "never: reads were shared"
run_ranks local # on a file system of this machine
for layout in "tp=1 pp=1" "tp=4 pp=1" "tp=2 pp=2"; do
    read -r tp pp <<<"$layout"
    name=$tp$pp
    run_ranks "$name" run.share_reads=always "layout.$tp" "layout.$pp"
    "$SLUICE" compare own.h5 "$name.h5" >out 2>&1 || fail "$layout: the results differ"
    [ "$room" -gt 40000 ] || continue
    read -r megabytes < <(sed -n 's/.*weights: \([0-9.]*\) MB were read from the files, for all ranks of a host together/\1/p' err) ||
        fail "$layout: nothing of shared reads"
    awk -v read="${megabytes:-0}" -v size="$size" 'BEGIN { exit !(read * 1e6 > 0.95 * size && read * 1e6 < 1.02 * size) }' ||
        fail "$layout: $megabytes MB were read of a file of $size bytes"
done
finish
