#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Usage: help, versions, and every way to call a command wrongly.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

expect_output "Usage: sluice COMMAND" --help
expect_output "sluice " --version
expect_output '| `model.path` |' help job
expect_output '| `temperature` | honoured | `generate.temperature` | rows, bodies | the same |' help fields
expect_output '| llama | `LlamaForCausalLM` | `llama` | generate |' help models
expect_output '| GGUF | `Q4_K` | 4.5 | float32 |' help formats
expect_output '| `compressed-tensors` | `format: float-quantized` |' help formats
expect_error 2 "did you mean formats?" help format
for topic in models formats; do
    run_program help "$topic"
    for page in README.md docs/models.md; do
        [[ "$(<"$SLUICE_SOURCE_DIR/$page")" == *"$(<out)"* ]] || fail "$page does not hold what sluice help $topic prints"
    done
done

run_program help schema
[[ "$(<"$SLUICE_SOURCE_DIR/docs/structured-output.md")" == *"$(<out)"* ]] || fail "docs/structured-output.md does not hold what sluice help schema prints"
run_program help answers
[[ "$(<"$SLUICE_SOURCE_DIR/docs/chat.md")" == *"$(<out)"* ]] || fail "docs/chat.md does not hold what sluice help answers prints"

# A line "key value" for what the program is of.
run_program --version
[ "$(head -n 1 out)" = "sluice $(sed -n 's/^project(sluice VERSION \([0-9.]*\).*/\1/p' "$SLUICE_SOURCE_DIR/CMakeLists.txt")" ] ||
    fail "--version begins with: $(head -n 1 out)"
for line in '^commit ([0-9a-f]{12}(-changed)?|unknown)$' '^mpi .*[0-9].* \(MPI [34]\.[0-9]\)$' '^hdf5 [12]\.[0-9]+\.[0-9]+$' '^compiler [a-zA-Z].*[0-9]'; do
    grep -qE "$line" out || fail "--version has no line $line: $(paste -s -d '|' out)"
done
for command in run rerun append check inspect report compare export bench tokenize render logits; do
    expect_output "Usage: sluice $command" "$command" --help
    expect_output "Usage: sluice $command" help "$command"
    expect_error 2 "--no-such: unknown option" "$command" --no-such
done

expect_error 2 "no command given"
expect_error 2 "did you mean run?" rnu
expect_error 2 "did you mean inspect?" inspcet
expect_error 2 "did you mean export?" exprot
expect_error 2 "did you mean tokenize?" tok
expect_error 2 "did you mean check?" CHECK
expect_error 2 "version: unknown command; did you mean --version?" version
expect_error 2 "--hlep: unknown option; did you mean --help?" --hlep
for form in --help -h '-?' -help --usage; do expect_output "Usage: sluice COMMAND" "$form"; done
for form in --version -V; do expect_output "sluice " "$form"; done
for form in --help -h '-?' --usage; do expect_output "Usage: sluice check" check "$form"; done
expect_error 2 "unknown command" frobnicate
expect_error 2 "unknown command" help frobnicate
expect_error 2 "the job file is missing" run
expect_error 2 "the job file is missing" check
expect_error 2 "b.yaml: one argument too many" check a.yaml b.yaml
expect_error 2 "--set: needs a value" check a.yaml --set
expect_error 2 "--roows: unknown option; did you mean --rows? See sluice inspect --help" inspect a.h5 --roows 3
expect_error 2 "-rows: unknown option; did you mean --rows?" inspect a.h5 -rows 3
expect_error 2 "-x: unknown option; see sluice run --help" run -x a.yaml
for value in x -1 9x 99999999999999999999; do
    expect_error 2 "sluice: --rows: expected an integer from 0" inspect a.h5 "--rows=$value"
done
expect_error 2 "--fresh=1: takes no value" run a.yaml --fresh=1
expect_error 2 '--ranks: expected an integer from 1' check a.yaml --ranks 0
expect_error 2 '--ranks: expected an integer from 1' check a.yaml --ranks=two
expect_error 2 "the output file is missing" inspect
expect_error 2 "--score, which --by belongs to, is missing" inspect a.h5 --by task
expect_error 2 "the output file is missing" export
expect_error 2 "the output file is missing" report
expect_error 2 "the output file is missing" append
expect_error 2 '--format: expected jsonl, openai, csv, parquet or text, not "xml"' export a.h5 --format xml
expect_error 2 "--model is missing" tokenize
expect_error 2 "--model is missing" render
expect_error 2 "--model is missing" logits
expect_error 2 "one of --ids and --ids-file is missing" logits --model x
expect_error 2 "-o FILE is missing" logits --model x --ids 1
expect_error 2 "--ids: expected token ids" logits --model x --ids 1,b -o y
expect_error 2 "no token ids" logits --model x --ids , -o y
expect_error 2 "one of --model and --random-weights is missing" bench
expect_error 2 "--requests: expected an integer" bench --model x --requests -1

expect_error 1 "no-such.h5" inspect no-such.h5
expect_error 1 "no-such.h5" export no-such.h5
expect_error 1 "no-such-model" tokenize --model no-such-model
expect_error 1 "no-such-model" render --model no-such-model
expect_error 1 "no-such-model" logits --model no-such-model --ids 1 -o y
expect_error 1 "no-such-model" bench --model no-such-model
echo text >text.h5
expect_error 1 "text.h5" inspect text.h5

export SLUICE_LOG=loud
expect_error 2 "SLUICE_LOG: loud is none of" help
export SLUICE_LOG=debug
expect_error 1 "no-such.h5" inspect no-such.h5
unset SLUICE_LOG
finish
