#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Exports into files: forms, packed or not, chosen columns and results, the input's fields joined again; what is refused.
# Parquet is read back in tests/real/python_test.sh.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >rows.jsonl <<'ROWS'
{"id": "a", "prompt": "apple pie", "label": 1, "note": "x, \"y\"\nz", "text": "mine"}
{"id": 12.50, "prompt": "apple jam", "label": 2.5, "tags": ["p", "q"], "n": 2}
{"id": "bad", "label": null}

{"custom_id": "c", "prompt": "apple tea", "max_tokens": 1, "label": 4, "ok": true}
ROWS
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 3, temperature: 0}
output: {path: o.h5}
YAML
run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
run_program export o.h5
cp out lines

# ---- Into files, packed by their names; a file that is there stays ----

for name in o.jsonl o.jsonl.gz o.jsonl.zst; do expect_quiet export o.h5 -o $name; done
cmp -s o.jsonl lines || fail "-o writes other lines than standard output gets"
gzip -dc o.jsonl.gz | cmp -s - lines || fail "gzip does not unpack to the same lines"
head -c 4 o.jsonl.zst | od -An -tx1 | grep -q '28 b5 2f fd' || fail "not packed with zstd"
if command -v zstd >/dev/null; then zstd -qdc o.jsonl.zst | cmp -s - lines || fail "zstd does not unpack to the same lines"; fi
expect_error 1 'o.jsonl exists; --overwrite replaces it' export o.h5 -o o.jsonl
expect_quiet export o.h5 --where error -o o.jsonl --overwrite
[ "$(wc -l <o.jsonl)" -eq 1 ] || fail "--overwrite does not replace"
expect_error 1 '-o o.h5: is what is read' export o.h5 -o o.h5 --overwrite --format csv
cp o.h5 twin.h5 && "$SLUICE" compare o.h5 twin.h5 >out || fail "a refused export has changed the output"
expect_error 1 'no/o.csv.partial: ' export o.h5 -o no/o.csv
expect_error 1 'columns: no result has "lable"; there are id, ' export o.h5 --columns id,lable -o never.csv
[ ! -e never.csv ] && [ ! -e never.csv.partial ] || fail "a failed export leaves a file"

# ---- Forms ----

expect_quiet export o.h5 -o o.csv
cat >expected <<'CSV'
id,row,sample,text,finish_reason,prompt_tokens,completion_tokens,error,label,note,input_text,tags,max_tokens,ok
CSV
head -n 1 o.csv | sed 's/,max_tokens//' | cmp -s - <(sed 's/,max_tokens//' expected) || fail "names of CSV: $(head -n 1 o.csv)"
grep -q '^a,0,0,.*,1,"x, ""y""$' o.csv && grep -q '^z",mine,' o.csv || fail "quotes of CSV: $(cat o.csv)"
grep -q '^12.50,1,1,.*,2.5,,,"\[""p"",""q""\]",' o.csv || fail "lists in CSV: $(cat o.csv)"
run_program export o.h5 --format text
[ "$(wc -l <out)" -eq "$(wc -l <lines)" ] || fail "text has another number of lines than results"
sed -n 4p out | grep -qx '' || fail "an error has no answer"
run_program export o.h5 --format text --columns note,id --where ok
head -n 1 out | grep -qx 'x, "y"\\nz	a' || fail "text of columns: $(head -n 1 out)"
expect_quiet export o.h5 -o o.parquet
[ "$(head -c 4 o.parquet)$(tail -c 4 o.parquet)" = PAR1PAR1 ] || fail "o.parquet is no Parquet"
expect_quiet export o.h5 -o again.parquet
cmp -s o.parquet again.parquet || fail "two exports differ"
expect_quiet export o.h5 -o o.openai.jsonl
grep -q '"custom_id":"c","response":{' o.openai.jsonl || fail "the name does not say OpenAI's form"

# ---- Chosen columns and results ----

run_program export o.h5 --columns label,seconds,id,status_code --where ok
sed -E 's/[0-9]\.[0-9]{3,}/S/' out | sed -n 2p | grep -qxE '\{"label":2.5,"seconds":[^,]*,"id":12.50,"status_code":200\}' || fail "columns: $(sed -n 2p out)"
[ "$(wc -l <out)" -eq 4 ] || fail "--where ok: $(wc -l <out) results"
run_program export o.h5 --columns input_text
head -n 1 out | grep -qx '{"input_text":"mine"}' && sed -n 2p out | grep -qx '{}' || fail "a field with a name of ours: $(cat out)"
run_program export o.h5 --where error
grep -q '^{"id":"bad",' out && [ "$(wc -l <out)" -eq 1 ] || fail "--where error: $(cat out)"
run_program export o.h5 --where finish=length
[ "$(wc -l <out)" -eq "$(grep -c '"finish_reason":"length"' lines)" ] || fail "--where finish=length: $(wc -l <out) results"
run_program export o.h5 --where finish=error --format openai
grep -q '"custom_id":"bad","response":{"status_code":400' out && [ "$(wc -l <out)" -eq 1 ] || fail "openai of errors: $(cat out)"
expect_error 2 '--where: expected error, ok, finish=stop, finish=length or finish=error, not "done"' export o.h5 --where done
expect_error 2 '--columns: an empty name' export o.h5 --columns id,,text
expect_error 2 '--format: expected jsonl, openai, csv, parquet or text, not "xml"' export o.h5 --format xml
expect_error 1 'the form openai is a fixed one' export o.h5 --format openai --columns id
expect_error 2 'parquet is packed already' export o.h5 --format parquet -o o.parquet.gz

# Each choice in each form, each form packed, and nothing at all.
for where in error ok finish=stop finish=length finish=error; do
    run_program export o.h5 --where $where
    [ "$status" -eq 0 ] && [ ! -s err ] || fail "--where $where: exit status $status"
    count=$(wc -l <out)
    case $where in error | finish=error) [ "$count" -eq 1 ] ;; ok) [ "$count" -eq 4 ] ;; *) [ "$count" -le 4 ] ;; esac || fail "--where $where: $count results"
    run_program export o.h5 --where $where --format csv --columns row,sample
    [ "$(wc -l <out)" -eq $((count + 1)) ] || fail "--where $where in CSV: $(cat out)"
    run_program export o.h5 --where $where --format text --columns row,sample
    [ "$(wc -l <out)" -eq "$count" ] || fail "--where $where in text: $(cat out)"
    run_program export o.h5 --where $where --format openai
    [ "$(grep -o '"index":\|"custom_id":"bad"' out | wc -l)" -eq "$count" ] || fail "--where $where in OpenAI's form: $(cat out)"
    expect_quiet export o.h5 --where $where -o where.parquet --overwrite
    [ "$(head -c 4 where.parquet)$(tail -c 4 where.parquet)" = PAR1PAR1 ] || fail "--where $where: no Parquet"
done
for form in csv txt openai.jsonl; do
    expect_quiet export o.h5 -o "plain.$form"
    expect_quiet export o.h5 -o "packed.$form.gz"
    gzip -dc "packed.$form.gz" | cmp -s - "plain.$form" || fail "$form.gz does not unpack to the same"
    expect_quiet export o.h5 -o "packed.$form.zst"
    if command -v zstd >/dev/null; then zstd -qdc "packed.$form.zst" | cmp -s - "plain.$form" || fail "$form.zst does not unpack to the same"; fi
done
for form in csv parquet; do
    expect_error 1 'columns: no result has "nothing"; there are id, ' export o.h5 --columns id,nothing --where error -o "never.$form"
    [ ! -e "never.$form" ] || fail "unknown columns leave a file"
done

# ---- Nobody reads any more; no room is left ----

for k in $(seq 300); do sed "s/\"bad\"/\"bad-$k\"/" rows.jsonl; done | grep -v '^$' >long.jsonl
run_program run --quiet job.yaml --set data.input=long.jsonl --set output.path=long.h5 --set generate.max_new_tokens=1
[ "$status" -eq 0 ] || fail "run: exit status $status"
for form in jsonl csv openai; do # more than a pipe holds
    { "$SLUICE" export long.h5 --format $form 2>err || echo $? >code; } | head -c 10 >/dev/null
    [ "$(cat code)" -eq 141 ] && [ ! -s err ] || fail "$form into a pipe that is closed: exit status $(cat code)"
    rm code
    (trap '' PIPE; "$SLUICE" export long.h5 --format $form 2>err || echo $? >code) | head -c 10 >/dev/null
    [ "$(cat code)" -eq 141 ] && [ ! -s err ] || fail "$form, started with SIGPIPE ignored: exit status $(cat code)"
done
for form in jsonl csv text openai parquet; do
    status=0
    "$SLUICE" export long.h5 --format $form >/dev/full 2>err || status=$?
    [ "$status" -eq 1 ] && [ "$(cat err)" = 'sluice: standard output: No space left on device' ] || fail "$form onto a full disk: exit status $status"
done

# ---- The input's fields ----

run_program export o.h5 --rejoin rows.jsonl
[ "$status" -eq 0 ] || fail "--rejoin: exit status $status"
sed -n 1p out | grep -q '"prompt":"apple pie","label":1,"note":"x, \\"y\\"\\nz","input_text":"mine"}$' || fail "rejoined: $(sed -n 1p out)"
sed -n 3p out | grep -q '^{"id":12.50,"row":1,"sample":1,.*"prompt":"apple jam","label":2.5,"tags":\["p","q"\],"n":2}$' || fail "rejoined: $(sed -n 3p out)"
sed -n 5p out | grep -q '^{"id":"c","row":3,.*"prompt":"apple tea","max_tokens":1,' || fail "rejoined: $(sed -n 5p out)"
run_program export o.h5 --rejoin rows.jsonl --columns prompt,text --where ok --format csv
head -n 2 out | tail -n 1 | grep -q '^apple pie,' || fail "rejoined columns: $(cat out)"
sed 's/pie/pea/' rows.jsonl >other.jsonl
expect_error 1 '--rejoin: other.jsonl: another data set than the one that the output was made from' export o.h5 --rejoin other.jsonl
expect_error 1 '--rejoin: nothing.jsonl' export o.h5 --rejoin nothing.jsonl

finish
