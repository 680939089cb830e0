#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Memory that runs out on one rank of two, anywhere from reading the model on: all ranks end, one message, which names the rank.
set -euo pipefail
source "$(dirname "$0")/../cli/expect.sh"
: "${FAULT_SHIM:?fault_shim.so}"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)

for i in $(seq 20); do printf '{"id": "r%d", "prompt_token_ids": [%d, 5, 7]}\n' "$i" "$((i + 3))"; done >data.jsonl
cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/tests/data/models/llama"}
data: {input: data.jsonl}
generate: {max_new_tokens: 4, ignore_eos: true}
layout: {tp: 2}
engine: {max_sequences: 4, kv_memory: 1MiB}
output: {path: out.h5}
YAML
# Only rank 1 has the fault.
cat >on_rank_1.sh <<'SH'
#!/bin/sh
if [ "$OMPI_COMM_WORLD_RANK" -eq 1 ]; then export LD_PRELOAD="$FAULT_SHIM" FAULT_KIND=memory FAULT_ERRNO=12 FAULT_STAYS=1; fi
exec "$@"
SH
chmod +x on_rank_1.sh
run() {
    status=0
    FAULT_NTH=$1 FAULT_REPORT=$work/report timeout 60 "${run_mpi[@]}" -n 2 ./on_rank_1.sh "$SLUICE" run job.yaml --quiet \
        >out 2>err || status=$?
}

run 0
[ "$status" -eq 0 ] || fail "without a fault: exit status $status"
"$SLUICE" export out.h5 >whole.jsonl
total=$(sed -n 's/^count //p' report)
rm out.h5
named=0
for share in 10 35 60 80 90 95 99; do
    run $((total * share / 100))
    [ "$status" -eq 1 ] || fail "allocation $((total * share / 100)) of $total: exit status $status"
    [ "$(grep -c '^sluice: ' err)" -eq 1 ] || fail "allocation $((total * share / 100)) of $total: $(grep -c '^sluice: ' err) messages"
    grep '^sluice: ' err
    if grep -q "^sluice: rank 1 on .*out of memory" err; then named=$((named + 1)); fi
done
[ "$named" -ge 2 ] || fail "the rank is named $named times"
run 0
[ "$status" -eq 0 ] || fail "afterwards: exit status $status"
"$SLUICE" export out.h5 | cmp -s - whole.jsonl || fail "afterwards: other rows"
finish
