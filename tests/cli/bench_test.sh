#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sluice bench: counts that must add up, as text and as JSON, alone and on two ranks.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

expect_output "serial bound" bench --random-weights "$model/config.json" --requests 3 --prompt-tokens 20 --new-tokens 4 --max-batch-tokens 64
grep -q '^ *12 ' out || fail "bench: not 12 output tokens"
grep -q '^prefill  *[1-9][0-9]*  *60 ' out || fail "bench: prefill steps of other than 60 tokens"
grep -q '^decode  *3  *9 ' out || fail "bench: not 3 decode steps of 9 tokens"
grep -q '^sampling ' out || fail "bench: no phases"
expect_output "output/s" bench --model "$model" --requests 2 --prompt-tokens 5 --new-tokens 2 --no-phases --repeat 2 --dtype bfloat16 --max-batch-tokens 64
grep -q '^sampling ' out && fail "bench --no-phases prints phases"
grep -q '^# runs  *[0-9.]* [0-9.]* output/s' out || fail "bench --repeat 2 does not print two runs"

expect_error 2 "one of --model and --random-weights is missing" bench --model x --random-weights y
expect_error 2 '--dtype: expected one of auto, float32, bfloat16, float16, fp8, not "int4"' bench --model x --dtype int4
expect_error 2 '--device: expected one of auto, cpu, cuda, not "tpu"' bench --model x --device tpu
expect_error 2 "--tp: expected 1, 2, 4 or 8, not 3" bench --model x --tp 3
expect_error 1 "model.dtype" bench --model "$model" --dtype fp8 --device cpu
expect_error 1 "cannot be divided into replicas of tp 2 x pp 1" bench --model "$model" --tp 2
expect_error 1 "the model has 1024 positions" bench --model "$model" --prompt-tokens 1024 --new-tokens 1

expect_error 1 "--profile nowhere/trace.json: No such file" bench --model "$model" --profile nowhere/trace.json
expect_error 1 "the model has 1024 positions" bench --model "$model" --prompt-tokens 1024 --new-tokens 1 --profile none.json
[ ! -e none.json ] || fail "bench --profile leaves a file of nothing"

python=$(command -v python3 || true)
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)

# measure RANKS ARGUMENTS…: into out, as JSON.
measure() {
    local ranks=$1
    shift
    status=0
    ASAN_OPTIONS=detect_leaks=0 mpirun "${root[@]}" -n "$ranks" "$SLUICE" bench --model "$model" --json "$@" >out 2>err || status=$?
    [ "$status" -eq 0 ] || fail "bench on $ranks ranks, $*: exit status $status"
}

# expect_json CONDITION: on the object d.
expect_json() {
    [ -z "$python" ] || "$python" -c "import json; d = json.load(open('out')); assert $1, d" 2>>err || fail "bench --json: not $1"
}

# expect_timeline CONDITION: on the events e of trace.json; x has those with a length, by process.
expect_timeline() {
    [ -z "$python" ] || "$python" -c "
import json; e = json.load(open('trace.json'))['traceEvents']; p = {v['pid'] for v in e}
x = {i: [v for v in e if v['pid'] == i and v['ph'] == 'X'] for i in p}
assert $1, e" 2>>err || fail "bench --profile: not $1"
}

# The same lengths, whether the scheduler knows them or not: both end where they are drawn to end.
expect_error 2 '--lengths: expected one of equal, spread, spread-known, not "long"' bench --model x --lengths long
for lengths in spread-known spread; do
    measure 1 --requests 30 --prompt-tokens 12 --new-tokens 8 --lengths "$lengths" --no-phases --max-batch-tokens 64 --max-sequences 4
    expect_json "d['lengths'] == '$lengths' and d['prompt_tokens'] == sum(r['prompt_tokens'] for r in d['ranks']) != 30 * 12 and d['output_tokens'] != 30 * 8"
    grep -o '"prompt_tokens":[0-9]*,"output_tokens":[0-9]*' out | head -1 >"$lengths"
done
[ -s spread ] && cmp -s spread spread-known || fail "bench --lengths: $(cat spread spread-known)"

load=(--requests 7 --prompt-tokens 20 --new-tokens 6 --max-batch-tokens 64 --max-sequences 8)
declare -A replica=([111]=7 [211]=3 [221]=7 [212]=7) # requests of the first
for layout in "1 1 1" "2 1 1" "2 2 1" "2 1 2"; do
    read -r ranks tp pp <<<"$layout"
    measure "$ranks" --tp "$tp" --pp "$pp" "${load[@]}" --compare-one --profile trace.json
    # A process for each rank of the first replica, whose steps are of the last measured run.
    expect_timeline "p == set(range($tp * $pp)) and all(v['dur'] > 0 and v['ts'] >= 0 for i in p for v in x[i])"
    expect_timeline "all(len([v for v in x[i] if v['name'] == 'attention']) >= 10 for i in p)"
    expect_timeline "any(sum(v['args']['tokens'] for v in x[i] if 'args' in v) == ${replica[$ranks$tp$pp]} * (20 + 6 - 1) for i in p)"
    # Lanes do not overlap, but for the rounding of times.
    expect_timeline "all(a['ts'] + a['dur'] <= b['ts'] + 0.002 for i in p for t in range(3) for l in [sorted((v for v in x[i] if v['tid'] == t), key=lambda v: v['ts'])] for a, b in zip(l, l[1:]))"
    expect_timeline "all(any(v['name'] == n for i in p for v in x[i]) for n in ('prefill', 'decode', 'gap', 'plan', 'launch', 'wait', 'complete', 'sliced product', 'sampling'))"
    expect_json 'd["output_tokens"] == 42 and d["prompt_tokens"] == 140'
    expect_json "d['ranks'][-1]['rank'] == $ranks - 1 and d['dp'] == $ranks // $tp // $pp and d['tp'] == $tp and d['pp'] == $pp"
    expect_json 'd["output_tokens_per_second"] > 0 and d["serial_bound"] > 0 and d["copy_bytes_per_second"] > 1e8 and d["linear_share"] > 0'
    # The last token of a sample is never an input.
    expect_json 'sum(r["prefill"]["tokens"] + r["decode"]["tokens"] for r in d["ranks"] if "prefill" in r) == 7 * (20 + 6 - 1)'
    expect_json 'sum(r["output_tokens"] for r in d["ranks"] if "prefill" in r) == 42'
    # Times of steps and of their parts stand one after the other: they do not add up to more than the run.
    expect_json 'all(0 < r["prefill"]["seconds"] + r["decode"]["seconds"] <= 1.001 * r["seconds"] for r in d["ranks"] if "prefill" in r)'
    expect_json 'all(0 < sum(r[n + "_seconds"] for n in ("plan", "launch", "wait", "complete")) <= 1.001 * r["seconds"] for r in d["ranks"] if "prefill" in r)'
    expect_json 'all(r["prefill"]["count"] + r["decode"]["count"] == r["steps"] for r in d["ranks"] if "prefill" in r)'
    expect_json 'all(abs(s["mean"] * s["count"] - s["seconds"]) <= 1e-3 * s["seconds"] and s["median"] <= s["p99"] <= s["seconds"] * 1.001 for r in d["ranks"] if "prefill" in r for s in (r["prefill"], r["decode"]))'
    expect_json 'all(r["communication_seconds"] <= 1.001 * r["seconds"] and r["work_seconds"] + r["idle_seconds"] <= 1.001 * r["seconds"] for r in d["ranks"])'
    expect_json 'all(r["decode_profile"]["products"] > 0 and r["decode_profile"]["attention"] > 0 for r in d["ranks"])'
    expect_json "all((r['decode_profile']['communication'] > 0) == ($tp * $pp > 1) for r in d['ranks'])"
    expect_json 'all(r["host_peak_bytes"] >= r["host_peak_loading_bytes"] > 1e6 for r in d["ranks"])'
done
finish
