# SPDX-License-Identifier: Apache-2.0
"""Inputs for tests/real/pipelines_test.sh, and what must have come of them.

write: documents.jsonl and inputs.jsonl. middle EXPORT: a perplexity that half of the documents lie below.
documents EXPORT MOST: what datatrove kept and dropped. tasks: what distilabel made of the answers."""
import gzip
import json
import math
import pathlib
import sys

WORDS = "apple pie river stone garden window music paper".split()


def write():
    with open("documents.jsonl", "w") as out:
        for i in range(12):
            text = " ".join(WORDS[: 3 + i % 5]) if i % 2 else "zq xv " * (3 + i % 4) + WORDS[i % 8]
            print(json.dumps({"text": text, "id": f"doc/{i}", "metadata": {"url": f"https://example.org/{i}", "n": i}}), file=out)
        print(json.dumps({"text": "", "id": "empty", "metadata": {"n": 12}}), file=out)
    with open("inputs.jsonl", "w") as out:
        for i in range(4):
            print(json.dumps({"instruction": f"Which is larger, {i} or {7 - i}?", "instructions": [f"Count to {i}.", "Sing é."], "mine": i}), file=out)


def exported(path):
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def perplexity(row):
    return math.exp(-row["logprob_mean"]) if row.get("logprob_mean") is not None else math.inf


def middle(path):
    values = sorted(map(perplexity, exported(path)))
    print(repr((values[5] + values[6]) / 2))


def written(folder):
    return [json.loads(line) for path in sorted(pathlib.Path(folder).glob("*.jsonl")) for line in path.open()]


def documents(path, most):
    rows, most = exported(path), float(most)
    inputs = {row["id"]: row for row in map(json.loads, open("documents.jsonl"))}
    kept, dropped = written("kept"), written("dropped")
    assert [row["id"] for row in kept] == [row["id"] for row in rows if perplexity(row) <= most], kept
    # datatrove's reader itself leaves out what has no text.
    assert {row["id"] for row in dropped} == {row["id"] for row in rows if row["text"] and perplexity(row) > most}
    assert len(kept) == 6 and len(kept) + len(dropped) == len(inputs) - 1
    for row in kept:
        given = inputs[row["id"]]
        assert row["text"] == given["text"], row
        assert row["metadata"]["url"] == given["metadata"]["url"] and row["metadata"]["n"] == given["metadata"]["n"], row
        assert row["metadata"]["perplexity"] <= most
    print(f"datatrove: {len(kept)} kept, {len(dropped)} dropped")


def tasks():
    inputs = [json.loads(line) for line in open("inputs.jsonl")]
    for name in ("TextGeneration", "ComplexityScorer"):
        asked = [json.loads(line) for line in open(f"{name}.jsonl")]
        answers = [json.loads(line) for line in open(f"{name}.answers")]
        done = [json.loads(line) for line in open(f"{name}.done")]
        assert len(asked) == len(answers) == len(done) == len(inputs)
        for given, question, answer, row in zip(inputs, asked, answers, done):
            assert row["mine"] == given["mine"] and row["model_name"] == "sluice"
            assert given["instruction"] in json.dumps(question) if name == "TextGeneration" else given["instructions"][0] in json.dumps(question)
            if name == "TextGeneration":
                assert row["generation"] == answer["text"] and answer["text"], row
            else:
                assert row["scores"] == [None], row  # what the task makes of an answer that names no score; the small model names none
    print("distilabel: both tasks have their members")


if __name__ == "__main__":
    {"write": write, "middle": middle, "documents": documents, "tasks": tasks}[sys.argv[1]](*sys.argv[2:])
