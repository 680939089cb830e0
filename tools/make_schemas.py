# SPDX-License-Identifier: Apache-2.0
"""Writes JSON schemas of the shapes that people ask models for, one a line with a name: the half of
bench_grammar's set that no other project has published. Always the same ones.

    python3 tools/make_schemas.py 150 >schemas.jsonl
"""

import json
import random
import sys

WORDS = ("name title age email city country price amount status created_at updated_at description "
         "category tags score rating url phone address street zip_code currency quantity summary "
         "reason confidence label sentiment language author year month day start end count total "
         "items options answer question steps result explanation is_valid active priority").split()


def leaf(rng):
    """A schema of one value."""
    return rng.choice([
        lambda: {"type": "string"},
        lambda: {"type": "string", "description": "free text", "minLength": 1, "maxLength": rng.choice([20, 80, 200])},
        lambda: {"type": "string", "format": rng.choice(["date", "date-time", "email", "uuid", "uri"])},
        lambda: {"type": "string", "pattern": rng.choice(["^[A-Z]{2,3}-[0-9]{4}$", "^\\+?[0-9 ]{7,15}$", "^[a-z0-9_]+$"])},
        lambda: {"enum": rng.sample(["low", "medium", "high", "urgent", "none", "positive", "negative", "neutral"], 3)},
        lambda: {"type": "integer", "minimum": 0, "maximum": rng.choice([5, 100, 120, 10000])},
        lambda: {"type": "integer"},
        lambda: {"type": "number", "minimum": 0, "maximum": 1},
        lambda: {"type": "number"},
        lambda: {"type": "boolean"},
        lambda: {"type": ["string", "null"]},
        lambda: {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        lambda: {"const": rng.choice(["v1", 1, True])},
    ])()


def record(rng, fields, value=leaf):
    """An object of so many fields, most of them required."""
    names = rng.sample(WORDS, fields)
    properties = {name: value(rng) for name in names}
    required = [name for name in names if rng.random() < 0.75]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def nested(rng, depth):
    """Objects and lists in each other."""
    def value(inner):
        if depth > 0 and inner.random() < 0.4:
            return nested(inner, depth - 1)
        return {"type": "array", "items": leaf(inner), "maxItems": 5} if inner.random() < 0.2 else leaf(inner)
    return record(rng, rng.randint(2, 5), value)


def rows(rng):
    """A list of records."""
    return {"type": "object", "properties": {"items": {"type": "array", "items": record(rng, rng.randint(2, 6)),
                                                       "minItems": 1, "maxItems": rng.choice([3, 10, 50])}},
            "required": ["items"], "additionalProperties": False}


def union(rng):
    """Cases that a constant tells apart."""
    cases = []
    for kind in rng.sample(["circle", "square", "text", "image", "error", "event"], rng.randint(2, 4)):
        case = record(rng, rng.randint(1, 4))
        case["properties"] = {"type": {"const": kind}, **case["properties"]}
        case["required"] = ["type"] + case["required"]
        cases.append(case)
    return {rng.choice(["anyOf", "oneOf"]): cases}


def recursive(rng):
    """A tree."""
    node = record(rng, rng.randint(1, 3))
    node["properties"]["children"] = {"type": "array", "items": {"$ref": "#/$defs/node"}}
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def pydantic(rng):
    """As Pydantic writes models: titles everywhere, definitions, unions with null."""
    inner = record(rng, rng.randint(2, 4))
    outer = record(rng, rng.randint(2, 4))
    for schema, title in ((inner, "Inner"), (outer, "Outer")):
        schema.pop("additionalProperties")
        schema["title"] = title
        for name, value in schema["properties"].items():
            value["title"] = name.replace("_", " ").title()
    outer["properties"]["inner"] = {"$ref": "#/$defs/Inner"}
    outer["properties"]["other"] = {"anyOf": [{"$ref": "#/$defs/Inner"}, {"type": "null"}], "default": None}
    return {"$defs": {"Inner": inner}, **outer}


def tool(rng):
    """The arguments of a function."""
    schema = record(rng, rng.randint(1, 4))
    schema["properties"]["unit"] = {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "of the result"}
    return schema


SHAPES = {"flat": lambda rng: record(rng, rng.randint(2, 9)), "wide": lambda rng: record(rng, rng.randint(15, 30)),
          "nested": lambda rng: nested(rng, 3), "rows": rows, "union": union, "recursive": recursive,
          "pydantic": pydantic, "tool": tool, "single": leaf, "open": lambda rng: {
              key: value for key, value in record(rng, 5).items() if key != "additionalProperties"}}


def main():
    for i in range(int(sys.argv[1])):
        shape = list(SHAPES)[i % len(SHAPES)]
        rng = random.Random(i)
        print(json.dumps({"name": f"{shape}_{i}", "schema": SHAPES[shape](rng)}, separators=(",", ":")))


main()
