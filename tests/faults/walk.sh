#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails every system call and every allocation of a small job once, one run each: no crash, no hang, no wrong result. A run
# either succeeds with the right file, or says in one line why not, and the same command then gives the right file.
# Usage: walk.sh [STRIDE]      every call; with a STRIDE only every so many, from a random one on (for a quick look)
# SLUICE: the program; FAULT_SHIM: fault_shim.so; SLUICE_SOURCE_DIR: the repository (this script's);
# FAULT_JOBS: runs at a time (2); FAULT_SEED;
# FAULT_ONLY: a pattern of the walks to go, such as 'fresh-(open|stat)'
set -euo pipefail
: "${SLUICE:?the program to test}" "${FAULT_SHIM:?the shim}"
: "${SLUICE_SOURCE_DIR:=$(cd "$(dirname "$0")/../.." && pwd)}"
stride=${1:-1}
jobs=${FAULT_JOBS:-2}
RANDOM=${FAULT_SEED:=$$}
echo "seed $FAULT_SEED, stride $stride"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export OMP_NUM_THREADS=1

# A model without a tokenizer, six rows: a run of a few hundredths of a second. One row is bad, so that this way is walked as well.
for i in 1 2 3 4 5; do
    printf '{"id": "r%d", "prompt_token_ids": [%d, 5, 7], "note": "n%d"}\n' "$i" "$((i + 3))" "$i"
done >data.jsonl
echo '{"prompt_token_ids": [100000], "id": "bad"}' >>data.jsonl
cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/tests/data/models/llama"}
data: {input: ../../data.jsonl}
generate: {max_new_tokens: 2, ignore_eos: true}
engine: {max_sequences: 4, kv_memory: 1MiB}
output: {path: out.h5, include_token_ids: true}
YAML

# run FOLDER [VARIABLE=VALUE]…: the job in that folder.
run() {
    local folder=$1
    shift
    (cd "$folder" && env "$@" timeout 60 "$SLUICE" run ../../job.yaml --quiet 2>err)
}
export_rows() { "$SLUICE" export "$1/out.h5"; }

# From what a run starts: nothing, or the journal of an earlier one with a torn end.
mkdir -p start/fresh start/resumed
run start/fresh || { cat start/fresh/err; exit 1; }
export_rows start/fresh >expected
rm start/fresh/*
# The output's rename is a job's last.
for ((renames = 0; ; renames++)); do
    rm -rf start/resumed.*
    mkdir start/resumed.next
    run start/resumed.next LD_PRELOAD="$FAULT_SHIM" FAULT_REPORT=report FAULT_KIND=rename FAULT_NTH=$((renames + 1)) || true
    grep -q fired start/resumed.next/report 2>/dev/null || break
    rm -rf start/resumed
    mv start/resumed.next start/resumed
done
rm -rf start/resumed.*
rm -f start/resumed/report
[ "$renames" -ge 3 ] && [ ! -e start/resumed/out.h5 ] || { echo "a job's last rename is not the output's: this test needs a look"; exit 1; }
truncate -s -40 start/resumed/out.h5.sluice/journal

# one FOLDER START VARIABLES…: a run with a fault and, where it fails, one without. The folder is left where something is wrong.
one() {
    local folder=$1 start=$2 status=0
    shift 2
    mkdir -p "${folder%/*}"
    cp -r "start/$start" "$folder"
    run "$folder" LD_PRELOAD="$FAULT_SHIM" FAULT_REPORT=report "$@" || status=$?
    if ! grep -q fired "$folder/report" 2>/dev/null; then
        touch "$folder.unreached"
    fi
    if [ "$status" -ge 124 ]; then
        echo "exit status $status: a crash or a hang" >"$folder.wrong"
    elif [ "$status" -ne 0 ]; then
        [ "$(grep -cv '^sluice: warning: ' "$folder/err")" -eq 1 ] && grep -q '^sluice: .*[a-z]' "$folder/err" ||
            echo "exit status $status without one line that says why" >"$folder.wrong"
        cp "$folder/err" "$folder.said"
        run "$folder" || echo "the run after it: exit status $?" >>"$folder.wrong"
    fi
    export_rows "$folder" 2>&1 | cmp -s - expected || echo "other rows" >>"$folder.wrong"
    if [ -e "$folder.wrong" ]; then sed "s|^|$folder: |" "$folder.wrong" "$folder/err"; else rm -rf "$folder"; fi
}

total=0 walks=0
# walk NAME START VARIABLES…: n = 1, 2, … until a run ends without having come to its n-th call.
walk() {
    [[ $1 =~ ${FAULT_ONLY:-.} ]] || return 0
    local name=$1 start=$2 first=$((stride > 1 ? RANDOM % stride + 1 : 1)) n reached
    shift 2
    n=$first
    mkdir -p "$name"
    while :; do
        for ((i = 0; i < jobs; i++, n += stride)); do one "$name/$n" "$start" "$@" FAULT_NTH="$n" & done
        wait
        if compgen -G "$name/*.unreached" >/dev/null; then break; fi
    done
    reached=$(((n - first) / stride - $(compgen -G "$name/*.unreached" | wc -l)))
    total=$((total + reached))
    walks=$((walks + 1))
    printf '%-24s %5d faults, %4d told of, in words such as: %s\n' "$name" "$reached" \
        "$(compgen -G "$name/*.said" | wc -l)" "$({ cat "$name"/*.said 2>/dev/null || true; } | grep -v warning: | sort | uniq -c |
            sort -rn | sed -n '1s/^ *[0-9]* //p')"
}

EIO=5 ENOMEM=12 EMFILE=24 ENOSPC=28
for start in fresh resumed; do
    walk $start-memory $start FAULT_KIND=memory FAULT_ERRNO=$ENOMEM
    walk $start-memory-gone $start FAULT_KIND=memory FAULT_ERRNO=$ENOMEM FAULT_STAYS=1
    walk $start-read $start FAULT_KIND=read FAULT_ERRNO=$EIO
    walk $start-read-short $start FAULT_KIND=read FAULT_ERRNO=0
    walk $start-write $start FAULT_KIND=write FAULT_ERRNO=$EIO
    walk $start-write-short $start FAULT_KIND=write FAULT_ERRNO=0
    walk $start-disk-full $start FAULT_KIND=write FAULT_ERRNO=$ENOSPC FAULT_STAYS=1
    walk $start-sync $start FAULT_KIND=sync FAULT_ERRNO=$EIO
    walk $start-rename $start FAULT_KIND=rename FAULT_ERRNO=$EIO
    walk $start-open $start FAULT_KIND=open FAULT_ERRNO=$EMFILE
    walk $start-close $start FAULT_KIND=close FAULT_ERRNO=$EIO
    walk $start-map $start FAULT_KIND=map FAULT_ERRNO=$ENOMEM
    walk $start-stat $start FAULT_KIND=stat FAULT_ERRNO=$EIO
    walk $start-unlink $start FAULT_KIND=unlink FAULT_ERRNO=$EIO
    walk $start-lock $start FAULT_KIND=lock FAULT_ERRNO=$EIO
    walk $start-thread $start FAULT_KIND=thread
    walk $start-truncate $start FAULT_KIND=truncate FAULT_ERRNO=$EIO
done
wrong=$(find . -name '*.wrong' | wc -l)
echo "$total faults in $walks walks, $wrong wrong"
[ "$wrong" -eq 0 ] && [ "$total" -gt 0 ]
