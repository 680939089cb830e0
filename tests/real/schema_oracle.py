# SPDX-License-Identifier: Apache-2.0
"""Random schemas of the keywords that are compiled, held against Python's jsonschema.

    schema_oracle.py write SEED COUNT >cases.jsonl        cases for bench_grammar: schemas, values that fit and that do not, walks
    schema_oracle.py expected cases.jsonl outcomes.jsonl  cases that say themselves what comes out (strangers.jsonl)
    schema_oracle.py check cases.jsonl outcomes.jsonl     values in canonical form are taken exactly where jsonschema takes them; what a
                                                          walk under the masks wrote is valid

Names of declared members ascend, and others begin with z, so that a value's canonical order is mostly the alphabetic one; an object is
tried in every order of its members. `minProperties` stands with `additionalProperties: false`: what is not declared counts once.
"""

import itertools
import json
import random
import sys

FORMATS = {  # texts that have the format, and others
    "date": (["2024-02-29", "1999-12-31"], ["2023-02-29", "2023-13-01", "1-1-1", ""]),
    "time": (["23:59:59Z", "00:00:00.5+01:30"], ["24:00:00Z", "23:59:59", "x"]),
    "date-time": (["2024-02-29T12:00:00Z", "1999-12-31T23:59:59.123-08:00"], ["2024-02-30T12:00:00Z", "2024-02-29 12:00:00Z"]),
    "uuid": (["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000", "g23e4567-e89b-12d3-a456-426614174000"]),
    "email": (["a.b+c@example.com"], ["a@b@c.de", "@example.com", "a@"]),
    "ipv4": (["127.0.0.1", "255.255.255.255"], ["256.1.1.1", "1.2.3", "01.2.3.4"]),
    "ipv6": (["::1", "2001:db8::8a2e:370:7334"], ["1::2::3", ":1", "12345::"]),
    "uri": (["https://example.com/a?b=c#d", "urn:isbn:123"], ["//example.com", "no uri", ""]),
}
PATTERNS = ["^[a-c]+$", "^a", "b$", "x", "^(ab|c)*$", "^[0-9]{2,4}$", "^\\d+-\\w$", "^.$", "^[^a]*$", "^$", "é|ü", "^\\u0041"]
TEXTS = ["", "a", "ab", "abc", "abab", "c", "x", "b", "12", "1234", "12345", "7-k", "é", "日本", "a\"b", "back\\slash", "new\nline", "\x01", "😀",
         "A", "Zz", "/", "aaaaaaaaaaaa"]
NAMES = "abcdef"
OTHER_NAMES = ["z1", "z2", "zq\"", "zz", "zé"]


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.defs = {}

    def schema(self, depth):
        kinds = [self.string, self.integer, self.number, self.any_of_values, self.simple]
        if depth > 0:
            kinds += [self.object, self.object, self.object, self.array, self.array, self.choice, self.one_of, self.all_of, self.reference]
        return self.rng.choice(kinds)(depth)

    def simple(self, _depth):
        return self.rng.choice([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {"type": ["integer", "boolean"]}, True, {},
                                {"const": self.value(1)}, {"type": "string", "default": "x", "description": "text"}])

    def string(self, _depth):
        out = {"type": "string"}
        if self.rng.random() < 0.3:
            out["format"] = self.rng.choice(sorted(FORMATS))
            return out
        if self.rng.random() < 0.4:
            out["minLength"] = self.rng.randint(0, 3)
        if self.rng.random() < 0.4:
            out["maxLength"] = self.rng.choice([0, 1, 2, 4, 60])
        if self.rng.random() < 0.4:
            out["pattern"] = self.rng.choice(PATTERNS)
        return out

    def bounds(self, draw):
        out = {}
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if self.rng.random() < 0.3:
                out[key] = draw()
        return out

    def integer(self, _depth):
        out = {"type": "integer", **self.bounds(lambda: self.rng.choice([-100, -7, -1, 0, 1, 5, 12, 100, 1000]))}
        if self.rng.random() < 0.2:
            out["multipleOf"] = 1
        return out

    def number(self, _depth):
        return {"type": "number", **self.bounds(lambda: self.rng.choice([-10.5, -1, -0.25, 0, 0.1, 1, 2.75, 10, 99.99]))}

    def any_of_values(self, _depth):
        return {"enum": [self.value(1) for _ in range(self.rng.randint(1, 4))]}

    def choice(self, depth):
        return {"anyOf": [self.schema(depth - 1) for _ in range(self.rng.randint(1, 3))]}

    def one_of(self, depth):
        kinds = [self.string, self.integer, self.object, self.array]
        self.rng.shuffle(kinds)
        return {"oneOf": [kind(depth - 1) for kind in kinds[: self.rng.randint(1, 3)]]}

    def all_of(self, depth):
        return {"allOf": [self.part(NAMES[:3], depth), self.part(NAMES[3:], depth)], "type": "object"}

    def part(self, names, depth):
        names = sorted(self.rng.sample(names, 2))
        return {"properties": {name: self.schema(depth - 1) for name in names}, "required": names[: self.rng.randint(0, 2)]}

    def reference(self, depth):
        name = f"d{self.rng.randint(0, 1)}"
        if name not in self.defs:
            self.defs[name] = {}  # so that it may refer to itself
            self.defs[name].update({"type": "object", "properties": {"a": self.schema(0), "b": {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}},
                                    "required": ["a"], "additionalProperties": False})
        return {"$ref": f"#/$defs/{name}"}

    def object(self, depth):
        rng = self.rng
        names = sorted(rng.sample(NAMES, rng.randint(0, 4)))
        out = {"type": "object", "properties": {name: self.schema(depth - 1) for name in names}}
        out["required"] = [name for name in names if rng.random() < 0.5]
        if rng.random() < 0.15:
            out["required"].append("z1")
        if rng.random() < 0.6:
            out["additionalProperties"] = rng.choice([False, False, self.schema(0)])
        if rng.random() < 0.15:
            out["patternProperties"] = {rng.choice(["^z", "1$"]): self.schema(0)}
        if rng.random() < 0.4 and out.get("additionalProperties") is False and "patternProperties" not in out:
            out["minProperties"] = rng.randint(0, 3)
        if rng.random() < 0.15:
            out["maxProperties"] = rng.randint(0, 4)
        if rng.random() < 0.1:
            out["propertyNames"] = rng.choice([{"maxLength": 1}, {"pattern": "^[a-z]"}, {"enum": ["a", "b", "c", "z1"]}])
        return out

    def array(self, depth):
        rng = self.rng
        out = {"type": "array"}
        if rng.random() < 0.7:
            out["items"] = rng.choice([self.schema(depth - 1), self.schema(0), False])
        if rng.random() < 0.3:
            out["prefixItems"] = [self.schema(0) for _ in range(rng.randint(1, 2))]
        if rng.random() < 0.3:
            out["minItems"] = rng.randint(0, 3)
        if rng.random() < 0.3:
            out["maxItems"] = rng.randint(0, 4)
        return out

    # ---- Values ----

    def value(self, depth):
        rng = self.rng
        kinds = [lambda: rng.choice(TEXTS), lambda: rng.choice([-101, -8, -1, 0, 1, 4, 5, 6, 13, 99, 1000, 123456]), lambda: rng.choice([-10.5, -0.3, 0.05, 0.1, 2.75, 99.995]),
                 lambda: rng.choice([True, False, None])]
        if depth > 0:
            kinds += [lambda: [self.value(depth - 1) for _ in range(rng.randint(0, 3))],
                      lambda: {name: self.value(depth - 1) for name in sorted(rng.sample(OTHER_NAMES, rng.randint(0, 3)))}]
        return rng.choice(kinds)()

    def like(self, schema, root, depth=6):
        """A value that probably fits."""
        rng = self.rng
        if not isinstance(schema, dict) or depth == 0 or rng.random() < 0.06:
            return self.value(1)
        if "$ref" in schema:
            return self.like(root["$defs"][schema["$ref"].split("/")[-1]], root, depth - 1)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.like(rng.choice(schema[key]), root, depth)
        if "allOf" in schema:
            out = {}
            for part in schema["allOf"]:
                out.update({name: self.like(inner, root, depth - 1) for name, inner in part["properties"].items() if rng.random() < 0.8})
            return out
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return rng.choice(schema["enum"])
        kind = schema.get("type")
        kind = rng.choice(kind) if isinstance(kind, list) else kind
        if kind == "object":
            out = {name: self.like(inner, root, depth - 1) for name, inner in schema.get("properties", {}).items()
                   if name in schema.get("required", ()) or rng.random() < 0.6}
            if rng.random() < 0.4 or "z1" in schema.get("required", ()):
                extra = schema.get("additionalProperties", True)
                for pattern, inner in schema.get("patternProperties", {}).items():
                    extra = inner
                out[rng.choice(OTHER_NAMES) if "z1" not in schema.get("required", ()) else "z1"] = self.like(extra, root, depth - 1)
            return out
        if kind == "array":
            first = schema.get("prefixItems", [])
            count = rng.randint(schema.get("minItems", 0), max(schema.get("minItems", 0), schema.get("maxItems", 3)))
            return [self.like(first[i] if i < len(first) else schema.get("items", True), root, depth - 1) for i in range(count)]
        if kind == "string" and "format" in schema:
            return rng.choice(FORMATS[schema["format"]][rng.random() < 0.2])
        simple = {"string": lambda: rng.choice(TEXTS), "integer": lambda: rng.randint(-12, 110), "number": lambda: rng.randint(-1100, 10100) / 100,
                  "boolean": lambda: rng.random() < 0.5, "null": lambda: None}
        return simple[kind]() if kind in simple else self.value(1)


def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def orders(value):
    """The value with its own members in every order."""
    if not isinstance(value, dict) or not 2 <= len(value) <= 4:
        return [canonical(value)]
    parts = [f"{canonical(name)}:{canonical(inner)}" for name, inner in value.items()]
    return ["{" + ",".join(order) + "}" for order in itertools.permutations(parts)]


def plain(value):
    """Without floats that are integers, which the canonical form writes otherwise."""
    if isinstance(value, float):
        return int(value) if value == int(value) else value
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def write(seed, count):
    for i in range(count):
        maker = Maker(random.Random(f"{seed}-{i}"))
        schema = maker.schema(3)
        if maker.defs and isinstance(schema, dict):
            schema = {**schema, "$defs": maker.defs}
        values = [plain(maker.like(schema, schema)) for _ in range(14)] + [plain(maker.value(2)) for _ in range(4)]
        answers = [orders(value) for value in values]
        print(json.dumps({"name": str(i), "schema": schema, "walks": 3, "answers": list(itertools.chain(*answers)), "orders": [len(item) for item in answers]}))


def told(schema):
    """The schema with formats as lists of the texts that have them."""
    if isinstance(schema, list):
        return [told(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("format"), str) and "type" in schema:
        return {"type": "string", "enum": FORMATS[schema["format"]][0]}
    return {key: item if key in ("enum", "const", "required") else told(item) for key, item in schema.items()}


def check(cases_path, outcomes_path):
    import jsonschema
    counts = dict.fromkeys(("schemas", "refused", "valid", "not valid", "walks", "walks without an end"), 0)
    wrong = []
    with open(cases_path, encoding="utf-8") as cases, open(outcomes_path, encoding="utf-8") as outcomes:
        for case, outcome in zip(map(json.loads, cases), map(json.loads, outcomes), strict=True):
            counts["schemas"] += 1
            oracle = jsonschema.Draft202012Validator(told(case["schema"]))
            plain_oracle = jsonschema.Draft202012Validator(case["schema"])
            if outcome["refused"] is not None:
                counts["refused"] += 1
                valid = [text for text in case["answers"] if oracle.is_valid(json.loads(text))]
                if "no value" in outcome["refused"] or "no text matches" in outcome["refused"]:
                    if valid:
                        wrong.append((case["schema"], valid[0], "nothing fits, it says"))
                elif "#" not in outcome["refused"]:
                    wrong.append((case["schema"], outcome["refused"], "a refusal without a place"))
                continue
            texts, fits = iter(case["answers"]), iter(outcome["fits"])
            for count in case["orders"]:
                text = [next(texts) for _ in range(count)][0]
                fit = any([next(fits) for _ in range(count)])
                valid = oracle.is_valid(json.loads(text))
                counts["valid" if valid else "not valid"] += 1
                if valid != fit:
                    wrong.append((case["schema"], text, "is valid" if valid else "is not valid"))
            for text in outcome["walks"]:
                counts["walks"] += 1
                if text is None:
                    counts["walks without an end"] += 1
                elif not plain_oracle.is_valid(json.loads(text)):
                    wrong.append((case["schema"], text, "a walk that is not valid"))
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    for schema, text, why in wrong[:8]:
        print(f"WRONG: {why}: {text}\n    {json.dumps(schema)}")
    print(len(wrong), "wrong")
    return not wrong and counts["valid"] > 0 and counts["not valid"] > 0


def expected(cases_path, outcomes_path):
    wrong = 0
    with open(cases_path, encoding="utf-8") as cases, open(outcomes_path, encoding="utf-8") as outcomes:
        for case, outcome in zip(map(json.loads, cases), map(json.loads, outcomes), strict=True):
            found = outcome["refused"] if outcome["refused"] is not None else outcome["fits"]
            if found != case["expected"]:
                wrong += 1
                print(f"WRONG: {found}, not {case['expected']}: {json.dumps(case[case['name']])}")
    print(wrong, "of the strangers' forms come out otherwise")
    return wrong == 0


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]))
    else:
        verdict = check if sys.argv[1] == "check" else expected
        sys.exit(0 if verdict(sys.argv[2], sys.argv[3]) else 1)
