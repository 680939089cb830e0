#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/heads/: tiny models of random float32 weights that end in vectors or in labels, rows of token ids, and what
Hugging Face transformers computes from them in float32 (5.17.0, eager attention), each row alone.

    python3 tools/make_head_models.py MODELS tests/data/heads [NAME...]

MODELS holds a folder for each name with config.json, model.safetensors and golden.json: {"golden": "scores" or "hidden", "cases":
[{"ids", "token_type_ids", "scores", ...}]}, and of the second kind golden_hidden.safetensors with hidden_<case>.
"""
import json
import math
import pathlib
import shutil
import struct
import sys

NAMES = ["llama_cls", "bert_cls", "xlm_roberta_cls", "modernbert_cls", "qwen3_embedding", "distilbert", "mpnet", "nomic_bert", "modernbert"]
LABELS = {"llama_cls": ({"0": "good", "1": "bad", "2": "so-so"}, [1.0, -1.0, 0.5])}


def read_tensors(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: (facts["shape"], data[8 + size:][slice(*facts["data_offsets"])]) for name, facts in header.items()}


def write_tensors(path, tensors):
    header, offset = {}, 0
    for name, (shape, values) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(values)]}
        offset += len(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(values for _, values in tensors.values()))


def floats(values):
    return struct.unpack("<%df" % (len(values) // 4), values)


def mean(values, width):
    rows = [values[i:i + width] for i in range(0, len(values), width)]
    return [math.fsum(column) / len(rows) for column in zip(*rows)]


def softmax(logits):
    powers = [math.exp(x - max(logits)) for x in logits]
    return [p / math.fsum(powers) for p in powers]


def make(source, target, name):
    target.mkdir(parents=True, exist_ok=True)
    golden = json.loads((source / "golden.json").read_text())
    config = json.loads((source / "config.json").read_text())
    tensors = read_tensors(source / "model.safetensors")
    factors = None
    if name in LABELS:  # the one label's row, times a factor for each of several
        config["id2label"], factors = LABELS[name]
        config["label2id"] = {label: int(i) for i, label in config["id2label"].items()}
        row = floats(tensors["score.weight"][1])
        tensors["score.weight"] = ([len(factors), len(row)], b"".join(struct.pack("<%df" % len(row), *(f * x for x in row)) for f in factors))
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copy(source / "config_hub.json", target / "config_hub.json")
    write_tensors(target / "model.safetensors", tensors)
    lines, rows = [], []
    hidden = read_tensors(source / "golden_hidden.safetensors") if golden["golden"] == "hidden" else None
    for i, case in enumerate(golden["cases"]):
        rows.append({"prompt_token_ids": case["ids"], **({"token_type_ids": case["token_type_ids"]} if "token_type_ids" in case else {})})
        if hidden is not None:
            shape, values = hidden["hidden_%d" % i]
            values = floats(values)
            vector = values[-shape[1]:] if name == "qwen3_embedding" else mean(values, shape[1])
        elif factors is not None:
            vector = softmax([f * case["scores"][0] for f in factors])
        else:
            vector = case["scores"]
        lines.append(" ".join([str(len(case["ids"]))] + ["%.9g" % x for x in vector]))
    (target / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (target / "expected.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for wanted in sys.argv[3:] or NAMES:
        make(pathlib.Path(sys.argv[1]) / wanted, pathlib.Path(sys.argv[2]) / wanted, wanted)
