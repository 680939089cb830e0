#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Data sets of every kind as people have them, and outputs that would take an input's place.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

printf '{"prompt":"abc"}\n' >rows.jsonl
cp -r "$model" model
cat >job.yaml <<YAML
model: {path: model}
data: {input: rows.jsonl}
generate: {max_new_tokens: 2, temperature: 0}
output: {path: out.h5, overwrite: true}
YAML

# both TEXT ARGUMENTS…: check and run refuse with exit status 2 and say the same.
both() {
    local text=$1
    shift
    expect_error 2 "$text" check "$@"
    expect_error 2 "$text" run --quiet "$@"
}

# ---- An output that is an input: by what the file is, not by how its path is spelt ----

# protected FILE TEXT ARGUMENTS…: refused, and the file is as it was.
protected() {
    local file=$1 text=$2 before
    before=$(sha256sum <"$file")
    shift 2
    both "$text" "$@"
    [ "$before" = "$(sha256sum <"$file")" ] || fail "$*: $file is no longer what it was"
}

protected rows.jsonl 'output.path: rows.jsonl would replace the data set, rows.jsonl (data.input)' job.yaml --set output.path=rows.jsonl
protected rows.jsonl 'would replace the data set' job.yaml --set output.path=./model/../rows.jsonl
protected rows.jsonl 'would replace the data set' job.yaml --set output.path=rows.jsonl --set output.overwrite=false
ln -s rows.jsonl link.h5
ln rows.jsonl hard.h5
protected rows.jsonl 'would replace the data set' job.yaml --set output.path=link.h5
protected rows.jsonl 'would replace the data set' job.yaml --set output.path=hard.h5
protected rows.jsonl 'would replace the data set' job.yaml --set data.input=link.h5 --set output.path=rows.jsonl
cp rows.jsonl that.h5.partial
protected that.h5.partial 'that.h5.partial would replace the data set' job.yaml --set data.input=that.h5.partial --set output.path=that.h5
mkdir that.h5.sluice
cp rows.jsonl that.h5.sluice/journal
protected that.h5.sluice/journal 'that.h5.sluice would replace the data set' \
    job.yaml --set data.input=that.h5.sluice/journal --set output.path=that.h5
rm -r that.h5.*
protected job.yaml 'would replace the job file, job.yaml' job.yaml --set output.path=job.yaml
ln -s job.yaml job-link.yaml
protected job.yaml 'would replace the job file' job-link.yaml --set output.path=job.yaml
for file in config.json model.safetensors tokenizer.json training.json; do
    protected "model/$file" 'would replace a file in the model' job.yaml --set "output.path=model/$file"
done
mkdir model/more
echo '{}' >model/more/notes.json
protected model/more/notes.json 'would replace a file in the model' job.yaml --set output.path=model/more/notes.json
# As in a cache: the model's files are links to elsewhere.
mkdir cache linked
cp "$model/config.json" cache/blob
for file in "$model"/*; do [ "${file##*/}" = config.json ] || ln -s "$file" linked/; done
ln -s ../cache/blob linked/config.json
protected cache/blob 'would replace a file of the model, linked/config.json' job.yaml --set model.path=linked --set output.path=cache/blob
echo GGUF >split-00001-of-00002.gguf
echo GGUF >split-00002-of-00002.gguf
protected split-00001-of-00002.gguf 'would replace the model' \
    job.yaml --set model.path=split-00001-of-00002.gguf --set output.path=split-00001-of-00002.gguf
protected split-00002-of-00002.gguf 'would replace a part of the model' \
    job.yaml --set model.path=split-00001-of-00002.gguf --set output.path=split-00002-of-00002.gguf

# A new name beside the model is fine, and so is that very output another time.
expect_quiet run --quiet job.yaml --set output.path=model/answers.h5
expect_quiet run --quiet job.yaml --set output.path=model/answers.h5 --set generate.max_new_tokens=1
rm model/answers.h5

# ---- Job files as editors leave them ----

{ printf '\xEF\xBB\xBF'; cat job.yaml; } >marked.yaml
expect_quiet run --quiet marked.yaml
iconv -f UTF-8 -t UTF-16 job.yaml >wide.yaml
both 'wide.yaml: is UTF-16 text; save it as UTF-8' wide.yaml
iconv -f UTF-8 -t UTF-32LE job.yaml >wide.yaml
both 'wide.yaml: is UTF-32 text; save it as UTF-8' wide.yaml

# ---- ~ as a shell has it ----

mkdir home
cp rows.jsonl home/
HOME=$work/home expect_quiet run --quiet job.yaml --set data.input='~/rows.jsonl' --set output.path='~/out/x.h5'
[ -e home/out/x.h5 ] || fail 'an output in the home'
sed -i 's/rows.jsonl/~\/rows.jsonl/' marked.yaml
HOME=$work/home expect_quiet run --quiet marked.yaml --set model.path=model
both 'data.input: ~nobody: homes of others are not looked up' job.yaml --set data.input='~nobody/rows.jsonl'
home=$HOME
unset HOME
both 'output.path: ~/x.h5: HOME is not set' job.yaml --set output.path='~/x.h5'
export HOME=$home

# ---- Compression and formats, by content ----

# rows FILE: the data set is read.
rows() {
    expect_quiet run --quiet job.yaml --set "data.input=$1"
}

# A frame with a window of 2 GiB, as zstd --long=31 writes them, an empty skippable one, and another.
printf '\x28\xB5\x2F\xFD\x00\xA8\x89\x00\x00{"prompt":"abc"}\n\x50\x2A\x4D\x18\x00\x00\x00\x00\x28\xB5\x2F\xFD\x00\xA8\x89\x00\x00{"prompt":"abd"}\n' >long.jsonl.zst
rows long.jsonl.zst
expect_output 'long.jsonl.zst: 2 rows, 0 bad' check job.yaml --set data.input=long.jsonl.zst

# unread NAME TEXT: a file of what standard input says is refused with this text, by check and run.
unread() {
    cat >"$1"
    expect_error 1 "$1: $2" check job.yaml --set "data.input=$1"
    expect_error 1 "$1: $2" run --quiet job.yaml --set "data.input=$1" --set output.path=none.h5
    [ ! -e none.h5.sluice ] || fail "$1: a journal was begun"
}

unread x.jsonl 'is a Parquet file; write JSON lines of it' < <(printf 'PAR1\x15\x04')
unread x.h5 'is no HDF5 file, as its name says, or damaged' < <(printf '\x01\x02\x03 damaged')
unread x.h5 'is no HDF5 file' <<<'{"prompt": "abc"}'
unread table.jsonl 'line 1: is no JSON but looks like CSV' < <(printf 'a,b\n1,2\n')
unread x.xz 'is compressed with xz; unpack it' < <(printf '\xFD7zXZ\x00\x00')
unread x.bz2 'is compressed with bzip2' < <(printf 'BZh91AY&SY')
unread x.lz4 'is compressed with lz4' < <(printf '\x04\x22\x4D\x18d@')
unread x.zip 'is a zip archive' < <(printf 'PK\x03\x04..')
unread x.db 'is an SQLite database' < <(printf 'SQLite format 3\x00..')
unread x.jsonl.br 'is compressed with brotli; unpack it' < <(printf '\x1b\x0e\x00')
unread x.arrow 'is an Arrow (Feather) file' < <(printf 'ARROW1\x00\x00')
unread x.jsonl 'is a Git LFS pointer, not the data; fetch it: git lfs pull' < <(printf 'version https://git-lfs.github.com/spec/v1\n')
unread x.jsonl 'is UTF-16 text; write it as UTF-8' < <(iconv -f UTF-8 -t UTF-16 rows.jsonl)
unread x.jsonl 'is UTF-16 text' < <(iconv -f UTF-8 -t UTF-16LE rows.jsonl)

# ---- Several files ----

mkdir shards
for i in 1 2 10; do printf '{"prompt":"abc%s"}\nbad %s\n' "$i" "$i" >"shards/s$i.jsonl"; done
gzip shards/s2.jsonl

# many ARGUMENTS…: the job over the shards.
many() { run_program run --quiet job.yaml --set output.path=many.h5 --set output.overwrite=false "$@"; }

many --set 'data.input=shards/*'
[ "$status" -eq 0 ] || fail "several files: exit status $status"
run_program export many.h5
[ "$(grep -o '"file":"[^"]*"' out | cut -d'"' -f4 | tr '\n' ' ')" = \
    'shards/s1.jsonl shards/s1.jsonl shards/s10.jsonl shards/s10.jsonl shards/s2.jsonl.gz shards/s2.jsonl.gz ' ] || fail "files of the rows: $(cat out)"
grep -qF '"row":5,"sample":0,"file":"shards/s2.jsonl.gz"' out || fail 'rows are numbered through'
grep -qF '"error":"shards/s2.jsonl.gz: line 2: ' out || fail 'an error names file and line'
expect_output 'shards/*: 6 rows, 3 bad' check job.yaml --set output.path=none.h5 --set 'data.input=shards/*'
grep -qF 'shards/s10.jsonl: line 2: ' out || fail 'check names file and line'
expect_output ': 2 rows, 1 bad' check job.yaml --set output.path=none.h5 --set 'data.input=[shards/s10.jsonl, shards/s1.jsonl]' --set data.limit=2

expect_error 1 'sluice: shards/s10.jsonl: line 2: ' run --quiet job.yaml --set output.path=strict.h5 \
    --set 'data.input=[shards/s10.jsonl, shards/s1.jsonl]' --set data.skip_bad_rows=false

both 'data.input: shards/*.h5: no file matches' job.yaml --set 'data.input=shards/*.h5'
both 'data.input: shards/s1.jsonl is there twice' job.yaml --set 'data.input=[shards/s1.jsonl, "shards/s*"]'
ln -s s1.jsonl shards/t.jsonl
both 'data.input: shards/t.jsonl and shards/s1.jsonl are the same file' job.yaml --set 'data.input=[shards/t.jsonl, shards/s1.jsonl]'
rm shards/t.jsonl
printf 'prompt\nabc\n' >rows.csv
both 'data.input: rows.jsonl is JSON lines and rows.csv is CSV' job.yaml --set 'data.input=[rows.jsonl, rows.csv]'
both 'data.input: an empty list' job.yaml --set 'data.input=[]'
protected shards/s10.jsonl 'would replace the data set, shards/s10.jsonl' job.yaml --set 'data.input=shards/s*' --set output.path=shards/s10.jsonl

# A file that matches later is named and left out.
printf '{"prompt":"later"}\n' >shards/s3.jsonl
many --set 'data.input=shards/*'
grep -qF 'data.input: 1 file matches now, not there when the job began, and left out: shards/s3.jsonl' err || fail 'a later file'
[ "$status" -eq 0 ] || fail "a later file: exit status $status"
# One that the job names makes it another job.
many --set 'data.input=[shards/s1.jsonl, shards/s10.jsonl, shards/s2.jsonl.gz, shards/s3.jsonl]'
[ "$status" -eq 1 ] && grep -qF 'data files: 3' err || fail 'another list is another job'
rm shards/s3.jsonl many.h5

# ---- CSV, TSV and prompts made of columns ----

printf '\xEF\xBB\xBFword,lang,id\r\nhouse,German,w1\r\n"tree\r\n""x""",,w2\r\nshort,row\r\n"open,x,y\r\nlast,French,w5\r\n' >words.csv
expect_quiet run --quiet job.yaml --set data.input=words.csv --set 'data.prompt_template={word} in {{{lang}}}: ' --set output.include_prompt=true
run_program export out.h5
grep -qF '{"id":"w1","row":0,"sample":0,"prompt":"house in {German}: "' out || fail "a prompt of columns: $(cat out)"
grep -qF '"word":"house","lang":"German"}' out || fail 'columns travel on'
grep -qF '"prompt":"tree\r\n\"x\" in {}: "' out || fail 'quotes and newlines'
grep -qF 'line 5: 2 fields where the header has 3' out || fail 'a field too few'
grep -qF 'line 6: the quote opened in line 6 is not closed' out || fail 'an open quote'
grep -qF '"id":"w5","row":4' out || fail 'an open quote swallows the next row'
gzip -k words.csv
expect_quiet run --quiet job.yaml --set data.input=words.csv.gz --set data.prompt_field=word
expect_error 1 'words.csv: no column wrd (data.prompt_template); there are word, lang, id' \
    run --quiet job.yaml --set data.input=words.csv --set 'data.prompt_template={wrd}' --set output.path=none.h5
expect_error 1 'words.csv: no column prompt (nor text, messages' run --quiet job.yaml --set data.input=words.csv --set output.path=none.h5
[ ! -e none.h5 ] && [ ! -e none.h5.sluice ] || fail 'a column that is not there begins a job'
both 'data.prompt_template: a { with no } after it' job.yaml --set 'data.prompt_template=Say {word'
both 'data.prompt_template: names no column' job.yaml --set 'data.prompt_template=Say word'
both 'data.prompt_template and data.prompt_field: prompts come from one of them' job.yaml --set 'data.prompt_template={a}' --set data.prompt_field=a

# ---- data.system ----

printf '%s\n' '{"prompt":"hello"}' '{"messages":[{"role":"user","content":"u"}]}' \
    '{"messages":[{"role":"system","content":"own"},{"role":"user","content":"u"}]}' '{"prompt_token_ids":[1,2]}' >chat.jsonl
expect_quiet run --quiet job.yaml --set data.input=chat.jsonl --set data.system='Be brief.' --set output.include_prompt=true
run_program export out.h5
[ "$(grep -c 'system\\nBe brief.<' out)" -eq 2 ] || fail "system messages: $(cat out)"
grep -qF 'system\nown<' out || fail 'a system message of its own'
grep -qF 'line 4: token ids go to the model as they are, and data.system asks for a message' out || fail 'token ids and data.system'
both 'data.system is a message for the chat template, and data.chat is never' job.yaml --set data.system=x --set data.chat=never
expect_error 2 'is an encoder, which embeds plain texts' run --quiet job.yaml --set data.system=x \
    --set "model.path=$SLUICE_SOURCE_DIR/tests/data/encoders/bert" --set output.path=none.h5

finish
