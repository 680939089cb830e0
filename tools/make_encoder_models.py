#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/encoders/: two tiny encoders of random weights in sentence-transformers' layout, texts, and their embeddings
computed in float64 from the papers' formulas (BERT, arXiv 1810.04805; RoBERTa, arXiv 1907.11692; Sentence-BERT, arXiv 1908.10084).

    pip install numpy tokenizers==0.23.2
    python3 tools/make_encoder_models.py tests/data/encoders
    python3 tools/make_encoder_models.py --embed MODEL TEXTS.jsonl      embeddings of another model of these families
"""
import argparse
import json
import math
import pathlib
import struct

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = "the quick brown fox jumps over a lazy dog while seven wizards make toxic brew for evil queens and jacks unaffable embeddings of sentences"
TEXTS = [
    "", "a", "The quick brown fox.", "the quick brown fox.", "jumps over the lazy dog", "unaffable wizards make embeddings",
    "Ünaffable WIZARDS, café; naïve", "tabs\tand\nnewlines  and   spaces", "unknown 東京 😀 characters", "x" * 150,
    "seven wizards make toxic brew for evil queens and jacks " * 3, "[CLS] the dog [SEP]", "<s>the dog</s>",
]


# ---- safetensors: a header of JSON, then the values ----

DTYPES = {"F32": np.float32, "F16": np.float16}


def write_tensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    names = {np.dtype(kind): name for name, kind in DTYPES.items()}
    for name, values in tensors.items():
        header[name] = {"dtype": names[values.dtype], "shape": list(values.shape), "data_offsets": [offset, offset + values.nbytes]}
        offset += values.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(np.ascontiguousarray(v).tobytes() for v in tensors.values()))


def read_tensors(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {name: np.frombuffer(data[8 + size:][slice(*facts["data_offsets"])], DTYPES[facts["dtype"]]).reshape(facts["shape"])
            for name, facts in header.items() if facts["dtype"] in DTYPES}


# ---- The reference ----

def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def layer_norm(x, weight, bias, epsilon):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + epsilon) * weight + bias


def hidden_states(config, tensors, ids):
    prefix = next(p for p in ("", "bert.", "roberta.") if p + "embeddings.word_embeddings.weight" in tensors)

    def get(name):
        return tensors[prefix + name].astype(np.float64)

    def linear(x, name):
        return x @ get(name + ".weight").T + get(name + ".bias")

    def norm(x, name):
        return layer_norm(x, get(name + ".weight"), get(name + ".bias"), config["layer_norm_eps"])

    offset = config["pad_token_id"] + 1 if config["model_type"] != "bert" else 0
    x = get("embeddings.word_embeddings.weight")[ids] + get("embeddings.token_type_embeddings.weight")[0]
    x = x + get("embeddings.position_embeddings.weight")[offset:offset + len(ids)]
    x = norm(x, "embeddings.LayerNorm")
    heads = config["num_attention_heads"]
    size = config["hidden_size"] // heads
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}."
        q, k, v = (linear(x, at + "attention.self." + part).reshape(len(ids), heads, size).transpose(1, 0, 2) for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(size)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        attended = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(attended, at + "attention.output.dense"), at + "attention.output.LayerNorm")
        x = norm(x + linear(gelu(linear(x, at + "intermediate.dense")), at + "output.dense"), at + "output.LayerNorm")
    return x


def embed(folder, texts):
    config = json.loads((folder / "config.json").read_text())
    tensors = read_tensors(folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    transformer = folder / "sentence_bert_config.json"
    most = json.loads(transformer.read_text()).get("max_seq_length") if transformer.exists() else None
    most = most or json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"]
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    modules = [module["type"].rsplit(".", 1)[1] for module in json.loads((folder / "modules.json").read_text())]
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    for text in texts:
        ids = tokenizer.encode(text).ids
        hidden = hidden_states(config, tensors, ids)
        pooled = hidden[0] if pooling["pooling_mode_cls_token"] else hidden.max(0) if pooling.get("pooling_mode_max_tokens") else hidden.mean(0)
        if "Normalize" in modules:
            pooled = pooled / max(np.linalg.norm(pooled), 1e-12)
        yield ids, pooled


# ---- The models ----

def random_tensors(config, prefix, seed, dtype):
    random = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def matrix(*shape, scale=0.3):
        return (random.standard_normal(shape) * scale).astype(dtype)

    tensors = {}

    def norm(name):
        tensors[name + ".weight"] = (1 + random.standard_normal(hidden) * 0.2).astype(dtype)
        tensors[name + ".bias"] = matrix(hidden, scale=0.2)

    def linear(name, rows, columns):
        tensors[name + ".weight"] = matrix(rows, columns)
        tensors[name + ".bias"] = matrix(rows)

    at = prefix + "embeddings."
    tensors[at + "word_embeddings.weight"] = matrix(config["vocab_size"], hidden, scale=1)
    tensors[at + "position_embeddings.weight"] = matrix(config["max_position_embeddings"], hidden, scale=0.5)
    tensors[at + "token_type_embeddings.weight"] = matrix(config["type_vocab_size"], hidden, scale=0.5)
    norm(at + "LayerNorm")
    for i in range(config["num_hidden_layers"]):
        at = f"{prefix}encoder.layer.{i}."
        for part in ("query", "key", "value"):
            linear(at + "attention.self." + part, hidden, hidden)
        linear(at + "attention.output.dense", hidden, hidden)
        norm(at + "attention.output.LayerNorm")
        linear(at + "intermediate.dense", inner, hidden)
        linear(at + "output.dense", hidden, inner)
        norm(at + "output.LayerNorm")
    return tensors


def word_pieces():
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = list("abcdefghijklmnopqrstuvwxyz.,;") + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"]
    words = [w for w in WORDS.split() if w not in ("unaffable", "embeddings")] + ["un", "##aff", "##able", "em", "##bed", "##ding", "##s", "##ings"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(specials + letters + words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])])
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(specials)
    tokenizer.enable_truncation(16)  # what another program wished: the model's own files win
    tokenizer.enable_padding(length=16)
    return tokenizer


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([WORDS] * 3, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


MODELS = {
    "bert": dict(
        tokenizer=word_pieces, prefix="", dtype=np.float16, max_seq_length=24, model_max_length=512, pooling="mean", normalize=True,
        config=dict(architectures=["BertModel"], model_type="bert", hidden_size=32, intermediate_size=44, num_attention_heads=4, num_hidden_layers=3,
                    max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-12, pad_token_id=0, hidden_act="gelu", torch_dtype="float16",
                    position_embedding_type="absolute")),
    "roberta": dict(
        tokenizer=byte_pairs, prefix="roberta.", dtype=np.float32, max_seq_length=None, model_max_length=30, pooling="cls", normalize=False,
        config=dict(architectures=["RobertaForMaskedLM"], model_type="roberta", hidden_size=24, intermediate_size=40, num_attention_heads=3,
                    num_hidden_layers=3, max_position_embeddings=34, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0,
                    eos_token_id=2, hidden_act="gelu", dtype="float32")),
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_model(folder, facts, seed):
    tokenizer = facts["tokenizer"]()
    config = facts["config"] | {"vocab_size": tokenizer.get_vocab_size()}
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer_config.json", {"model_max_length": facts["model_max_length"]})
    modules = ["Transformer", "Pooling"] + ["Normalize"] * facts["normalize"]
    write_json(folder / "modules.json", [{"idx": i, "name": str(i), "path": "" if i == 0 else f"{i}_{name}", "type": "sentence_transformers.models." + name}
                                         for i, name in enumerate(modules)])
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": config["hidden_size"], "pooling_mode_cls_token": facts["pooling"] == "cls",
                                                  "pooling_mode_mean_tokens": facts["pooling"] == "mean", "pooling_mode_max_tokens": False})
    if facts["max_seq_length"]:
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": facts["max_seq_length"], "do_lower_case": False})
    (folder / "tokenizer.json").write_text(tokenizer.to_str(pretty=False))
    write_tensors(folder / "model.safetensors", random_tensors(config, facts["prefix"], seed, facts["dtype"]))
    with open(folder / "expected.txt", "w") as file:
        for ids, embedding in embed(folder, TEXTS):
            print(len(ids), *(f"{x:.7g}" for x in embedding), file=file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help="where the models go")
    parser.add_argument("--embed", nargs=2, type=pathlib.Path, metavar=("MODEL", "TEXTS"))
    arguments = parser.parse_args()
    if arguments.embed:
        texts = [json.loads(line)["text"] for line in arguments.embed[1].read_text().splitlines()]
        for ids, embedding in embed(arguments.embed[0], texts):
            print(len(ids), *(f"{x:.7g}" for x in embedding))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with open(arguments.folder / "texts.jsonl", "w") as file:
        for text in TEXTS:
            print(json.dumps({"text": text}), file=file)
    for seed, (name, facts) in enumerate(MODELS.items()):
        write_model(arguments.folder / name, facts, seed + 1)


main()
