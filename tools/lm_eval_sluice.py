#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lm-evaluation-harness over sluice, in two steps with a job between them: `requests` writes what the tasks ask of a model as JSON
lines, `results` takes the answers back and lets lm-eval compute its metrics. docs/lm-eval.md shows both.

Needs lm_eval (no torch, no transformers) and, for `results`, sluice in PATH or $SLUICE."""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import lm_eval
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from lm_eval.utils import make_table


def request_id(kind, arguments):
    """The same request has the same id in both steps, whatever order lm-eval asks in."""
    return hashlib.sha256(json.dumps([kind, arguments], sort_keys=True).encode()).hexdigest()[:32]


def score_row(context, continuation):
    # As lm-eval's own models split a pair: spaces at the context's end belong to what is scored.
    spaces = len(context) - len(context.rstrip())
    if spaces > 0:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    return {"prompt": context, "completion": continuation} if context else {"text": continuation}


def generate_row(context, settings):
    row = {"prompt": context, "temperature": settings.get("temperature", 0) if settings.get("do_sample") else 0}
    until = settings.get("until", [])
    row["stop"] = [until] if isinstance(until, str) else list(until)
    row["max_tokens"] = settings.get("max_gen_toks", 256)
    for name in ("top_p", "top_k"):
        if settings.get("do_sample") and name in settings:
            row[name] = settings[name]
    return row


class Recorder(LM):
    """Answers nothing, and keeps what was asked."""

    def __init__(self):
        super().__init__()
        self.rows = {"score": {}, "generate": {}}

    def _keep(self, mode, kind, arguments, row):
        self.rows[mode][request_id(kind, arguments)] = row

    def loglikelihood(self, requests):
        for request in requests:
            self._keep("score", "pair", request.args, score_row(*request.args))
        return [(0.0, False)] * len(requests)

    def loglikelihood_rolling(self, requests):
        for request in requests:
            self._keep("score", "whole", request.args, {"text": request.args[0]})
        return [0.0] * len(requests)

    def generate_until(self, requests):
        for request in requests:
            self._keep("generate", "until", request.args, generate_row(*request.args))
        return [""] * len(requests)


class Reader(LM):
    """Answers with what sluice has computed."""

    def __init__(self, answers):
        super().__init__()
        self.answers = answers

    def _find(self, kind, request):
        answer = self.answers.get(request_id(kind, request.args))
        if answer is None:
            sys.exit("lm_eval_sluice: the outputs have no answer to a request: were tasks, --limit and --num-fewshot the same?")
        if answer.get("error"):
            sys.exit(f"lm_eval_sluice: row {answer['row']}: {answer['error']}")
        return answer

    def loglikelihood(self, requests):
        answers = [self._find("pair", request) for request in requests]
        return [(answer["logprob_sum"], answer["is_greedy"]) for answer in answers]

    def loglikelihood_rolling(self, requests):
        return [self._find("whole", request)["logprob_sum"] for request in requests]

    def generate_until(self, requests):
        return [self._find("until", request)["text"] for request in requests]


def read_outputs(paths):
    """An output file, or its export as JSON lines."""
    answers = {}
    for path in paths:
        if path.endswith(".h5"):
            lines = subprocess.run([os.environ.get("SLUICE", "sluice"), "export", path], check=True, stdout=subprocess.PIPE).stdout.splitlines()
        else:
            lines = pathlib.Path(path).read_bytes().splitlines()
        answers.update((answer["id"], answer) for answer in map(json.loads, lines))
    return answers


def evaluate(model, arguments):
    return lm_eval.simple_evaluate(model, tasks=arguments.tasks, num_fewshot=arguments.num_fewshot, limit=arguments.limit,
                                   task_manager=TaskManager(include_path=arguments.include_path), bootstrap_iters=arguments.bootstrap)


def write_requests(arguments):
    recorder = Recorder()
    evaluate(recorder, arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for mode, rows in recorder.rows.items():
        if rows:
            path = arguments.folder / f"{mode}.jsonl"
            path.write_text("".join(json.dumps({"id": name, **row}) + "\n" for name, row in rows.items()))
            print(f"{path}: {len(rows)} rows")


def print_results(arguments):
    results = evaluate(Reader(read_outputs(arguments.outputs)), arguments)
    if arguments.json:
        print(json.dumps(results["results"], default=str))
    else:
        print(make_table(results))


def main():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--tasks", required=True, type=lambda text: text.split(","), help="names with commas between")
    common.add_argument("--include-path", help="a folder with tasks of your own")
    common.add_argument("--num-fewshot", type=int)
    common.add_argument("--limit", type=int, help="documents of each task")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(required=True)
    step = steps.add_parser("requests", parents=[common])
    step.add_argument("folder", type=pathlib.Path, help="gets score.jsonl and generate.jsonl, those that the tasks need")
    step.set_defaults(run=write_requests, bootstrap=0)
    step = steps.add_parser("results", parents=[common])
    step.add_argument("outputs", nargs="+", help="what sluice made of them: .h5, or exports as .jsonl")
    step.add_argument("--json", action="store_true")
    step.add_argument("--bootstrap", type=int, default=100000, help="samples for standard errors")
    step.set_defaults(run=print_results)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
