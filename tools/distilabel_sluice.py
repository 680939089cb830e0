#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A distilabel task over sluice, in two steps with a job between them: `requests` writes the task's prompts as JSON lines, `results` takes
the answers apart as the task does. docs/distilabel.md shows both. Needs distilabel and, for `results`, sluice in PATH or $SLUICE."""
import argparse
import importlib
import json
import os
import subprocess
import sys

from distilabel.models.llms import LLM
from distilabel.typing import GenerateOutput


class Nobody(LLM):
    """A task wants a model; this one is asked nothing."""

    def load(self):
        super().load()

    @property
    def model_name(self):
        return "sluice"

    def generate(self, inputs, num_generations=1, **kwargs) -> "list[GenerateOutput]":
        raise NotImplementedError("sluice generates")


def make_task(arguments):
    module, _, name = arguments.task.rpartition(".")
    task = getattr(importlib.import_module(module or "distilabel.steps.tasks"), name)(llm=Nobody(), **json.loads(arguments.settings))
    task.load()
    return task


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def write_requests(arguments):
    task, rows = make_task(arguments), read_rows(arguments.rows)
    with open(arguments.output, "w", encoding="utf-8") as out:
        for number, row in enumerate(rows):
            asked = task.format_input(row)
            asked = {"prompt": asked} if isinstance(asked, str) else {"messages": asked}
            print(json.dumps({"id": str(number), **asked}, ensure_ascii=False), file=out)
    print(f"{arguments.output}: {len(rows)} rows")


def write_results(arguments):
    task, rows = make_task(arguments), read_rows(arguments.rows)
    exported = subprocess.run([os.environ.get("SLUICE", "sluice"), "export", arguments.answers], check=True, stdout=subprocess.PIPE).stdout
    bad = 0
    with open(arguments.output, "w", encoding="utf-8") as out:
        for answer in map(json.loads, exported.splitlines()):
            row = rows[int(answer["id"])]
            failed = answer.get("error")
            bad += bool(failed)
            # As distilabel's own models: no text is None, and the task says what becomes of that.
            parsed = task.format_output(None if failed else answer["text"], row)
            print(json.dumps({**row, **parsed, "model_name": "sluice", **({"error": failed} if failed else {})}, ensure_ascii=False), file=out)
    print(f"{arguments.output}: {len(rows)} rows, {bad} without an answer", file=sys.stderr)


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--task", required=True, help="a task's class, TextGeneration or my.module.MyTask")
    common.add_argument("--settings", default="{}", help="its arguments as JSON")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    step = steps.add_parser("requests", parents=[common])
    step.add_argument("rows", help="the task's inputs as JSON lines")
    step.add_argument("output", help="the data set for sluice")
    step.set_defaults(run=write_requests)
    step = steps.add_parser("results", parents=[common])
    step.add_argument("rows", help="the same inputs")
    step.add_argument("answers", help="sluice's output file")
    step.add_argument("output", help="inputs with the task's outputs, as JSON lines")
    step.set_defaults(run=write_results)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
