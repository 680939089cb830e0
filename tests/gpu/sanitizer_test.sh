#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The CUDA kernels under compute-sanitizer: memcheck (accesses out of bounds, misaligned, memory that is not freed) and racecheck (hazards in shared
# memory), over a few cases of the test programs and over jobs of a few rows. Only this program's kernels are checked: the libraries' are left
# alone, and what CUDA calls of theirs return is not reported. Ends with 77 (skipped) where the tool or a GPU is missing.
# SLUICE: the program; SLUICE_SOURCE_DIR: the repository; SLUICE_GPU_TESTS: where gpu_NAME_test are; COMPUTE_SANITIZER: the tool, if not on the path.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the repository}" "${SLUICE_GPU_TESTS:?where the test programs are}"
export SLUICE_GPU_FEW=1
sanitizer=${COMPUTE_SANITIZER:-}
for place in "$(command -v compute-sanitizer || true)" "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" \
    "${CUDA_HOME:-/usr/local/cuda}/compute-sanitizer/compute-sanitizer"; do
    if [ -z "$sanitizer" ] && [ -x "$place" ]; then sanitizer=$place; fi
done
if [ -z "$sanitizer" ]; then
    echo "no compute-sanitizer: skipped"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

head -n 8 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >"$work/tasks.jsonl"
for ids in 45 "7, 12, 33, 5, 90, 4, 61" "9, 9, 31, 2, 77, 18, 40, 23, 11, 50, 6, 3, 29, 64, 70, 15, 8, 21, 35, 44"; do
    echo "{\"prompt_token_ids\": [$ids]}"
done >"$work/ids.jsonl"
cat >"$work/job.yaml" <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model", max_model_len: 128}
data: {input: "$work/tasks.jsonl"}
generate: {max_new_tokens: 6, logprobs: 2, temperature: 0.8, top_k: 20, repetition_penalty: 1.1}
engine: {device: cuda, max_sequences: 8, max_batch_tokens: 96, kv_memory: 8MiB}
output: {path: "$work/out.h5", overwrite: true}
YAML
if ! "$SLUICE" check "$work/job.yaml" >"$work/check.out" 2>"$work/check.err"; then
    if grep -q "this host has 0\|no backend \"cuda\"\|no GPU" "$work/check.err"; then
        echo "no GPU: skipped"
        exit 77
    fi
    cat "$work/check.err"
    exit 1
fi

# Kernels of cuBLAS, and of NCCL, by parts of their names. The option has changed its name.
exclude=--kernel-name-exclude
"$sanitizer" --help >"$work/help"
grep -q -- "$exclude" "$work/help" || exclude=--kernel-regex-exclude
options=(--target-processes application-only --report-api-errors no --error-exitcode 99 --print-limit 20)
for part in cutlass cublas gemm gemv nvjet xmma nccl; do
    options+=("$exclude" "kns=$part")
done

# sanitize TOOL WHAT COMMAND…: one line, and what the tool says where it found something.
failures=0
sanitize() {
    local tool=$1 what=$2 start=$SECONDS code=0 found tools=(--tool "$1")
    shift 2
    if [ "$tool" = memcheck ]; then tools+=(--leak-check full); fi
    timeout 300 "$sanitizer" "${tools[@]}" "${options[@]}" "$@" </dev/null >"$work/log" 2>&1 || code=$?
    found=$(sed -n 's/.*ERROR SUMMARY: \([0-9]* errors\{0,1\}\).*/\1/p; s/.*RACECHECK SUMMARY: \(.*\)/\1/p; s/.*LEAK SUMMARY: \(.*\)/leaked: \1/p' "$work/log" |
        paste -s -d ';')
    printf '%-10s %-28s %s, exit status %d, %d s\n' "$tool" "$what" "${found:-no summary}" "$code" $((SECONDS - start))
    if [ "$code" -ne 0 ] || [ -z "$found" ]; then
        failures=$((failures + 1))
        grep '^=========\|WRONG\|FAILED\|sluice:' "$work/log" | sed -n '1,60p' || tail -n 30 "$work/log"
        [ "$code" -ne 124 ] || tail -n 5 "$work/log"
    fi
}

models=$SLUICE_SOURCE_DIR/tests/data
run_job() {
    local tool=$1 what=$2
    shift 2
    rm -rf "$work"/out.h5*
    sanitize "$tool" "$what" "$SLUICE" run "$work/job.yaml" --quiet "$@"
}
for name in product dense_product attention rows rows_norm experts sample given; do
    sanitize memcheck "gpu_${name}_test" "$SLUICE_GPU_TESTS/gpu_${name}_test"
done
run_job memcheck "small model, bfloat16" --set model.dtype=bfloat16
run_job memcheck "small model, fp8" --set model.dtype=fp8 --set model.kv_dtype=fp8
run_job memcheck "bert" --set "model.path=$models/encoders/bert" --set "data.input=$models/encoders/texts.jsonl" --set model.dtype=bfloat16 \
    --set model.max_model_len=24
for name in qwen3_moe gemma2; do
    run_job memcheck "$name" --set "model.path=$models/models/$name" --set "data.input=$work/ids.jsonl" --set model.dtype=bfloat16 \
        --set model.max_model_len=64
done
# The tool cannot run cuBLAS's kernels of 16 and 8 bits under racecheck, instrumented or not (it says that it failed to handle a hardware
# exception): what needs them is run in float32.
for name in attention rows rows_norm experts sample given; do
    sanitize racecheck "gpu_${name}_test" "$SLUICE_GPU_TESTS/gpu_${name}_test"
done
run_job racecheck "small model, float32" --set model.dtype=float32
for tool in memcheck racecheck; do
    for name in qwen3_moe gemma2; do
        sanitize "$tool" "$name, logits in float32" "$SLUICE" logits --model "$models/models/$name" --device cuda --dtype float32 \
            --ids 45,7,12,33,5,90,4,61,9,31,2,77,18 -o "$work/logits-$tool-$name.h5"
    done
done
echo "$failures failures in $SECONDS s"
[ "$failures" -eq 0 ]
