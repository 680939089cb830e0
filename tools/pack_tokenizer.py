#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Packs a tokenizer.json of the BPE kind for the tests: the vocabulary as a list in id order, a merge
as two numbers (the difference of the merged token's id to that of the merge before, and how many
bytes of it are the left part). tests/parity/tokenizer_parity_test.c turns it back.

    python3 tools/pack_tokenizer.py tokenizer.json packed.json.gz
"""
import gzip
import json
import sys


def main(source, target):
    with open(source, encoding="utf-8") as file:
        tokenizer = json.load(file)
    model = tokenizer["model"]
    vocabulary, merges = model.pop("vocab"), model.pop("merges")
    tokens = [None] * len(vocabulary)
    for token, index in vocabulary.items():
        tokens[index] = token
    assert None not in tokens
    pairs = isinstance(merges[0], list)
    packed, before = [], 0
    for merge in merges:
        left, right = merge if pairs else merge.split(" ")
        index = vocabulary[left + right]
        packed += [index - before, len(left.encode())]
        before = index
    out = {"tokenizer": tokenizer, "merges_are_pairs": pairs, "tokens": tokens, "merges": packed}
    data = json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode()
    with open(target, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as zipped:
        zipped.write(data)


main(*sys.argv[1:])
