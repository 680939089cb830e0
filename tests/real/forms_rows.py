# SPDX-License-Identifier: Apache-2.0
"""Rows that ask for JSON schemas, and whether answers are what the schemas say.

    forms_rows.py write SCHEMAS ROWS >rows.jsonl     SCHEMAS: lines {"name", "schema"}; 20 of them in turn
    forms_rows.py check rows.jsonl answers.jsonl     answers: as `sluice export` writes them; needs jsonschema
"""

import collections
import json
import math
import sys

SUBJECTS = ("a person", "a book", "an order of a shop", "a town", "a recipe", "a film", "a ship", "a bird", "an invoice", "a review")
MOST_TOKENS = 64
LONGEST = 90


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def size(schema, root):
    """About how long the shortest value of a schema is, in characters."""
    if "$ref" in schema:
        return size(root["$defs"][schema["$ref"].split("/")[-1]], root)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return min(size(inner, root) for inner in schema[choice])
    if "properties" in schema:
        inner = schema["properties"]
        return 2 + sum(len(name) + 6 + size(inner[name], root) for name in schema.get("required", ()) if name in inner)
    if "items" in schema:
        return 2 + schema.get("minItems", 0) * (1 + size(schema["items"], root))
    return {"uuid": 38, "date-time": 22}.get(schema.get("format"), 12)


def write(path, count):
    """Objects alone, 20 that few tokens can hold."""
    schemas = [line["schema"] for line in lines(path)]
    schemas = [schema for schema in schemas if schema.get("type") != "string" and 30 < size(schema, schema) <= LONGEST]
    schemas = schemas[:: len(schemas) // 20][:20]
    assert len(schemas) == 20, len(schemas)
    for i in range(count):
        schema = schemas[i % 20]
        prompt = f"Write JSON about {SUBJECTS[i // 20 % len(SUBJECTS)]}, number {i}."
        print(json.dumps({"id": str(i), "prompt": prompt, "max_tokens": MOST_TOKENS,
                          "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}))


def finite(answer):
    """Every number of an answer's log-probabilities is one, or null."""
    def walk(value):
        if isinstance(value, list):
            return all(walk(item) for item in value)
        if isinstance(value, dict):
            return all(walk(item) for item in value.values())
        return not isinstance(value, float) or math.isfinite(value)
    return walk(answer)


def check(rows_path, answers_path):
    import jsonschema
    rows = {row["id"]: row for row in lines(rows_path)}
    counts, wrong = collections.Counter(), []
    for answer in lines(answers_path):
        schema = rows[answer["id"]]["response_format"]["json_schema"]["schema"]
        try:
            valid = jsonschema.Draft202012Validator(schema).is_valid(json.loads(answer.get("text", "")))
        except ValueError:
            valid = False
        counts[f"{answer['finish_reason']}, {'valid' if valid else 'not valid'}"] += 1
        if valid != answer.get("valid") or (answer["finish_reason"] != "length" and not valid) or not finite(answer):
            wrong.append(answer)
    print("; ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    for answer in wrong[:5]:
        print("WRONG:", json.dumps(answer)[:400])
    return not wrong and sum(counts.values()) > 0


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(0 if check(sys.argv[2], sys.argv[3]) else 1)
