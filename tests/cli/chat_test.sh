#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Conversations, as `render` shows them and as `run` gives them to the model: parts, tool calls, named templates, and what a row may say of all that.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

# make_model FOLDER: the small model without a template.
make_model() {
    mkdir "$1"
    cp "$model"/{config.json,generation_config.json,tokenizer.json} "$1"
    ln -s "$model/model.safetensors" "$1"
    echo '{"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}' >"$1/tokenizer_config.json"
}

# expect_render TEXT MODEL ROW: the prompt, as a JSON string.
expect_render() {
    run_program render --model "$2" <<<"$3"
    [ "$status" -eq 0 ] && [ "$(cat out)" = "{\"text\":$1}" ] || fail "render $3: $(cat out), not $1"
}

# expect_bad_row TEXT MODEL ROW: an error that holds the text.
expect_bad_row() {
    run_program render --model "$2" <<<"$3"
    [ "$status" -eq 1 ] && grep -qF '{"error":' out && grep -qF -- "$1" out || fail "render $3: $(cat out), nothing of $1"
}

# ---- Parts ----
make_model plain
cat >plain/chat_template.jinja <<'JINJA'
{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}
JINJA
parts='"content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, "c"]'
expect_render '"[user] a\nb\nc\n[assistant] "' plain "{\"messages\": [{\"role\": \"user\", $parts}]}"
expect_render '"[tool] a\nb\nc\n[assistant] "' plain "{\"body\": {\"messages\": [{\"role\": \"tool\", $parts}]}, \"custom_id\": \"1\"}"
bad='"content": ["c", {"type": "input_audio", "input_audio": {}}]'
expect_bad_row 'messages[1].content[1]: a part of type input_audio' plain \
    "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"user\", $bad}]}"
expect_bad_row 'body.messages[0].content[1]: a part of type input_audio' plain \
    "{\"body\": {\"messages\": [{\"role\": \"system\", $bad}]}, \"custom_id\": \"1\"}"
expect_bad_row 'messages[0].content[0]: a part without a type' plain '{"messages": [{"role": "user", "content": [{"text": "a"}]}]}'
expect_bad_row 'messages[0].content[0].text: expected a string, not nothing' plain '{"messages": [{"role": "user", "content": [{"type": "text"}]}]}'

make_model iterating
cat >iterating/chat_template.jinja <<'JINJA'
{% for m in messages %}{% set c = m.content %}{% if c is string %}{{ c }}{% else %}{% for p in c %}<{{ p.text }}>{% endfor %}{% endif %}{% endfor %}
JINJA
expect_render '"<a><b><c>"' iterating "{\"messages\": [{\"role\": \"user\", $parts}]}"
expect_bad_row 'a part of type input_audio' iterating "{\"messages\": [{\"role\": \"user\", $bad}]}"

# ---- Named templates ----
make_model named
cat >named/tokenizer_config.json <<'JSON'
{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools | length }}"},
                   {"name": "rag", "template": "documents {{ documents | length }}"}, {"name": "broken", "template": "{% if %}"}]}
JSON
hi='"messages": [{"role": "user", "content": "hi"}]'
expect_render '"plain"' named "{$hi}"
expect_render '"plain"' named "{$hi, \"tools\": []}"
expect_render '"tools 1"' named "{$hi, \"tools\": [{\"type\": \"function\"}]}"
expect_render '"plain"' named "{$hi, \"tools\": [{}], \"chat_template\": \"default\"}"
expect_render '"documents 2"' named "{$hi, \"documents\": [{}, {}], \"chat_template\": \"rag\"}"
expect_render '"own hi"' named "{$hi, \"chat_template\": \"own {{ messages[0].content }}\"}"
expect_bad_row 'the model has default, tool_use, rag, broken' named "{$hi, \"chat_template\": \"rga\"}"
expect_bad_row 'line 1' named "{$hi, \"chat_template\": \"{% if %}\"}"
expect_bad_row 'line 1' named "{$hi, \"chat_template\": \"broken\"}"
expect_bad_row 'chat_template: expected a string, not a number' named "{$hi, \"chat_template\": 1}"
make_model files
mkdir files/additional_chat_templates
echo '{"chat_template": "replaced"}' >files/tokenizer_config.json
printf 'from a file' >files/chat_template.jinja
printf 'tools from a file' >files/additional_chat_templates/tool_use.jinja
expect_render '"from a file"' files "{$hi}"
expect_render '"tools from a file"' files "{$hi, \"tools\": [{}]}"
rm files/chat_template.jinja
expect_render '"replaced"' files "{$hi}"
expect_render '"tools from a file"' files "{$hi, \"tools\": [{}]}"
make_model processor
echo '{"chat_template": "of the processor"}' >processor/chat_template.json
expect_render '"of the processor"' processor "{$hi}"
make_model nameless
echo '{"chat_template": [{"name": "rag", "template": "documents"}]}' >nameless/tokenizer_config.json
expect_bad_row 'none of the chat templates is called default; name one of rag' nameless "{$hi}"

# ---- What a row may say ----
expect_render '"[user] hi\n"' plain "{$hi, \"add_generation_prompt\": false}"
expect_bad_row 'add_generation_prompt: expected a boolean, not a string' plain "{$hi, \"add_generation_prompt\": \"no\"}"
begun='"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "user "}]'
expect_render '"[user] hi\n[assistant] user "' plain "{$begun, \"continue_final_message\": true}"
expect_render '"[user] hi\n[assistant] user "' plain "{$begun, \"continue_final_message\": true, \"add_generation_prompt\": false}"
expect_bad_row 'add_generation_prompt: the prompt cannot both' plain "{$begun, \"continue_final_message\": true, \"add_generation_prompt\": true}"
expect_render '"<a><b><c"' iterating "{\"messages\": [{\"role\": \"user\", $parts}], \"continue_final_message\": true}"
expect_bad_row 'the last message has no text to continue' plain \
    '{"messages": [{"role": "assistant", "content": null}], "continue_final_message": true}'
expect_bad_row "the last message's text is not in the prompt" named "{$begun, \"continue_final_message\": true}"
make_model trimming
printf '%s' '{% for m in messages %}<{{ m.content | trim }}>{% endfor %}' >trimming/chat_template.jinja
expect_render '"<hi><user"' trimming "{$begun, \"continue_final_message\": true}"
printf '%s' 'effort {{ reasoning_effort | default("none") }}, {{ thinking | default("no") }}' >trimming/chat_template.jinja
expect_render '"effort none, no"' trimming "{$hi}"
expect_render '"effort high, no"' trimming "{$hi, \"reasoning_effort\": \"high\"}"
expect_render '"effort low, yes"' trimming \
    "{$hi, \"reasoning_effort\": \"high\", \"chat_template_kwargs\": {\"reasoning_effort\": \"low\", \"thinking\": \"yes\"}}"

# ---- A job gives the model the same ----
cat >rows.jsonl <<JSON
{"id": "parts", "messages": [{"role": "user", $parts}]}
{"id": "audio", "messages": [{"role": "user", $bad}]}
{"id": "go on", $begun, "generated": 1}
{"id": "invite", $begun, "continue_final_message": false}
{"id": "both", $begun, "add_generation_prompt": true}
JSON
cat >job.yaml <<'YAML'
model: {path: plain}
data: {input: rows.jsonl}
generate: {max_new_tokens: 2, temperature: 0, continue_final_message: true}
output: {path: out.h5, include_prompt: true}
YAML
run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
run_program export out.h5
expect_line() {
    sed -n "$1p" out | grep -qF -- "$2" || fail "line $1: $(sed -n "$1p" out), nothing of $2"
}
expect_line 1 '"prompt":"[user] a\nb\nc"'
expect_line 2 'messages[0].content[1]: a part of type input_audio'
expect_line 3 '"prompt":"[user] hi\n[assistant] user "'
expect_line 3 '"generated":1'
expect_line 4 '"prompt":"[user] hi\n[assistant] user \n[assistant] "'
expect_line 5 'add_generation_prompt: the prompt cannot both'

# ---- A job's own template, and its time ----
printf '%s' '{{ strftime_now("%Y-%m-%dT%H:%M:%SZ") }}' >clock.jinja
cat >job.yaml <<'YAML'
model: {path: plain}
data: {input: rows.jsonl, chat_template: clock.jinja, limit: 1}
generate: {max_new_tokens: 2, temperature: 0}
output: {path: clock.h5, include_prompt: true}
YAML
# expect_time TIME ARGUMENTS…: what the template took for now, and what the file says.
expect_time() {
    local wanted=$1
    shift
    run_program run --quiet job.yaml "$@"
    [ "$status" -eq 0 ] || fail "run $*: exit status $status"
    "$SLUICE" export clock.h5 | grep -qF "\"prompt\":\"$wanted\"" || fail "run $*: not $wanted in the prompt"
    "$SLUICE" inspect --json clock.h5 | grep -qF "\"template_time\":\"$wanted\"" || fail "run $*: not $wanted in the attributes"
    rm clock.h5
}
# Of the first start, whenever this one is, and whatever the time zone.
mkdir clock.h5.sluice
echo 2001-02-03T04:05:06Z >clock.h5.sluice/template_time
TZ=Asia/Tokyo expect_time 2001-02-03T04:05:06Z
[ ! -e clock.h5.sluice ] || fail "the time of the first start is left behind"
expect_time 2031-12-31T23:59:59Z --set data.template_time=2031-12-31T23:59:59Z
mkdir clock.h5.sluice
echo 2001-02-03T04 >clock.h5.sluice/template_time
expect_error 1 "template_time: not a time; set data.template_time" run --quiet job.yaml
run_program run --quiet --fresh job.yaml
[ "$status" -eq 0 ] || fail "run --fresh: exit status $status"
"$SLUICE" inspect --json clock.h5 | grep -q '"template_time":"20[2-9]' || fail "run --fresh: not its own time"
# The file is part of what the job is.
printf '%s' ' {{ strftime_now("%Y") }}' >clock.jinja
expect_error 1 "exists" run --quiet job.yaml
expect_error 2 "data.template_time: expected a time such as 2026-01-31T12:00:00Z, or auto" run job.yaml --set data.template_time=2026-02-30T00:00:00Z
expect_error 2 "clock.jinja" run job.yaml --set output.path=clock.jinja --set output.overwrite=true
grep -q strftime_now clock.jinja || fail "the output took the place of the template"
expect_error 1 "data.chat_template: nothing is neither a file nor the name of one" run job.yaml --set data.chat_template=nothing
printf '{%% if %%}' >bad.jinja
expect_error 1 "data.chat_template: bad.jinja: line 1" run job.yaml --set data.chat_template=bad.jinja
run_program render --model named --chat-template rag <<<"{$hi, \"documents\": []}"
grep -qF '"documents 0"' out || fail "render --chat-template: $(cat out)"
run_program render --model plain --chat-template clock.jinja --template-time 1999-01-01T00:00:00Z <<<"{$hi}"
grep -qF '" 1999"' out || fail "render --template-time: $(cat out)"
expect_error 2 "--template-time: expected a time" render --model plain --template-time yesterday
finish
