#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes rows.jsonl beside each golden.json of tests/data/models: a data set of its prompts, with the tokens that must follow.

    python3 tools/make_greedy_rows.py tests/data/models
"""
import json
import pathlib
import sys

for golden in sorted(pathlib.Path(sys.argv[1]).glob("*/golden.json")):
    cases = json.loads(golden.read_text())["cases"]
    with open(golden.parent / "rows.jsonl", "w") as file:
        for case in cases:
            row = {"prompt_token_ids": case["prompt"], "greedy": case["greedy32"], "margin": [float(f"{m:.3g}") for m in case["margin32"]]}
            print(json.dumps(row, separators=(",", ":")), file=file)
