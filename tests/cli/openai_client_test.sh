#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An OpenAI batch file with forms and tools: every line of the export is read by the types of OpenAI's own client library, and answers have
# their forms by jsonschema. Skipped where Python lacks these packages.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
python3 -c 'import openai, jsonschema' 2>/dev/null || exit 77

cat >job.yaml <<YAML
model: {path: "$model", tool_calls: hermes}
data: {input: rows.jsonl}
generate:
  max_new_tokens: 120
  structured: {close: true}
output: {path: out.h5, overwrite: true}
YAML
python3 - <<'PY'
import json
person = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 10}, "born": {"type": "string", "format": "date"},
          "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3}}, "required": ["name", "born", "tags"], "additionalProperties": False}
tools = [{"type": "function", "function": {"name": "find", "parameters": person}}, {"type": "function", "function": {"name": "stop"}}]
chat = [{"role": "user", "content": "Hi"}]
bodies = {
    "plain": {"messages": chat, "max_tokens": 5},
    "schema": {"messages": chat, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": person}}},
    "samples": {"messages": chat, "n": 3, "logprobs": True, "top_logprobs": 2,
                "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": person}}},
    "object": {"messages": chat, "response_format": {"type": "json_object"}},
    "required": {"messages": chat, "tools": tools, "tool_choice": "required"},
    "named": {"messages": chat, "tools": tools, "tool_choice": {"type": "function", "function": {"name": "find"}}},
    "auto": {"messages": chat, "tools": tools, "tool_choice": "auto", "max_tokens": 5},
    "refused": {"messages": chat, "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": {"not": {}}}}},
    "text": {"prompt": "Hi", "guided_choice": ["yes", "no"]},
}
with open("rows.jsonl", "w") as rows:
    for name, body in bodies.items():
        url = "/v1/completions" if "prompt" in body else "/v1/chat/completions"
        rows.write(json.dumps({"custom_id": name, "method": "POST", "url": url, "body": {"model": "m", **body}}) + "\n")
json.dump(person, open("person.json", "w"))
PY
run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
run_program export --format openai out.h5
[ "$status" -eq 0 ] || fail "export: exit status $status"
python3 - <<'PY' 2>err || fail "the client library does not read it so"
import json
import jsonschema
from openai.types import Completion
from openai.types.chat import ChatCompletion

person = json.load(open("person.json"))
lines = {line["custom_id"]: line for line in map(json.loads, open("out"))}
assert list(lines) == ["plain", "schema", "samples", "object", "required", "named", "auto", "refused", "text"], list(lines)
assert lines["refused"]["response"]["status_code"] == 400 and "#/not" in lines["refused"]["error"]["message"], lines["refused"]
answers = {}
for name, line in lines.items():
    body = line["response"]["body"]
    if name != "refused":
        kind = Completion if name == "text" else ChatCompletion
        answers[name] = kind.model_validate(body, strict=True)
        assert json.loads(answers[name].model_dump_json(exclude_unset=True)) == body, name
for name in ("schema", "samples"):
    for choice in answers[name].choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), person)
assert len(answers["samples"].choices) == 3 and len(answers["samples"].choices[0].logprobs.content[0].top_logprobs) == 2
assert isinstance(json.loads(answers["object"].choices[0].message.content), dict)
for name in ("required", "named"):
    choice = answers[name].choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    for call in choice.message.tool_calls:
        assert call.type == "function" and call.function.name in ("find", "stop")
        jsonschema.validate(json.loads(call.function.arguments), person if call.function.name == "find" else {"maxProperties": 0})
assert [call.function.name for call in answers["named"].choices[0].message.tool_calls] == ["find"]
assert answers["auto"].choices[0].message.tool_calls is None and answers["text"].choices[0].text in ("yes", "no")
PY
[ "$failures" -eq 0 ]
