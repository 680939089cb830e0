#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizers/folders.json.gz: small tokenizers in the files of model directories
without tokenizer.json, with what the libraries that the files are of make of some texts.

    pip install sentencepiece transformers tokenizers tiktoken protobuf
    python3 tools/make_tokenizer_folders.py tests/data/tokenizers/folders.json.gz
    python3 tools/make_tokenizer_folders.py --write FOLDER    the directories themselves
    python3 tools/make_tokenizer_folders.py --compare SLUICE  ... and the program's ids beside theirs
"""
import argparse
import base64
import collections
import gzip
import io
import json
import os
import pathlib
import random
import subprocess
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import sentencepiece
import tiktoken
import transformers
from tokenizers import ByteLevelBPETokenizer, BertWordPieceTokenizer
from tokenizers.pre_tokenizers import ByteLevel
from transformers.integrations.mistral.tokenizer import MistralConverter

DATA = pathlib.Path(__file__).parent.parent / "tests/data/tokenizers"

OWN_TEXTS = [
    "", " ", "  ", "   lead", "trail   ", "  both  ", "a", " a", "a ", "a  b   c", "\n", "\t", "\n\n  x\n", "a\r\nb", "▁", "▁a ▁▁b▁", "\u00a0x\u3000y",
    "x<sep>y", "<sep>", " <sep> ", "<sep><sep>z", "a <|im|> b", "①②ﬁﬀ ｆｕｌｌ", "e\u0301 n\u0303 \u1100\u1161 \u0344", "\x00\x01\x07\x7f\u0085\u200b\ufeff",
    "🙂👨\u200d👩\u200d👧 🇩🇪", "日本語テキスト한국어中文", "\U00020000\U00031350", "unseen: ੴ ༄ ꙮ", "ꙮꙮꙮ", "a ꙮ b", "I'LL it's don'T", "1234567 3.14 ٣٤", " " * 300 + "x",
    "ab" * 300, "<0x41><0x0A>", "HELLO Hello hELLO", "word," * 40, "hyphen-ated (x) {y} [z] «w»", "ſ K İı ß", "naïve Ärger",
]
# Words that are special to some folder: a library on its own reads them as plain text.
SPECIAL_TEXTS = [
    "<unk>", "a <unk>b", "<s>hi</s>", "a<s> b</s>c", "<s> <s>", "x<pad>y", "<|user|>\nhi<|end|>\n<|assistant|>", "  <|user|>  a", "<|end|>", "a <mask> b", "<mask>",
    "<|endoftext|>x", "x <|endoftext|> y", "<|im_start|>user\nhi<|im_end|>\n", "[CLS] a [SEP] [MASK]b", "<extra_id_0> x <extra_id_99>", "<new> <NEW>x<new>",
    "<|begin_of_text|>a<|eot_id|>", "<start_of_turn>user\na<end_of_turn>",
]


def corpus():
    with gzip.open(DATA / "expected.json.gz") as file:
        return json.load(file)["texts"]


def texts():
    chosen = [text for text in corpus() if len(text) <= 400]
    random.Random(5).shuffle(chosen)
    return OWN_TEXTS + chosen[:110]


# ---- Training ----

TRAINING = [text for text in corpus() if 0 < len(text) <= 2000]


def common_lines():
    """Lines of the commonest characters: small vocabularies have room for no others."""
    lines = [line for text in TRAINING for line in text.split("\n") if line.strip()]
    common = {character for character, _ in collections.Counter("".join(lines)).most_common(130)}
    return [line for line in lines if set(line) <= common]


# A character map of a few rules: a whole one is many times a small vocabulary's size.
RULES = {"ﬁ": "fi", "ﬀ": "ff", "①": "1", "②": "2", "ｆ": "f", "ｕ": "u", "ｌ": "l", "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "\r": " ", "▁": " ", "e\u0301": "é",
         "n\u0303": "ñ", "\u0344": "\u0308\u0301", "\x07": "", "\u200b": " ", "\u212a": "k", "H": "h", "E": "e", "…": "..."}


def points(text):
    return " ".join(f"{ord(character):X}" for character in text)


def train_sentencepiece(kind, size, **options):
    out = io.BytesIO()
    if "normalization_rule_name" not in options:
        rules = tempfile.NamedTemporaryFile("w", suffix=".tsv")
        rules.write("".join(f"{points(given)}\t{points(to)}\n" for given, to in RULES.items()))
        rules.flush()
        options["normalization_rule_tsv"] = rules.name
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(common_lines()), model_writer=out, model_type=kind, vocab_size=size,
        minloglevel=2, num_threads=1, **options)
    return out.getvalue()


def train_bytes(size, special=()):
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TRAINING, size, special_tokens=list(special), show_progress=False)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_model(folder)
        read = pathlib.Path(folder)
        return {name: (read / name).read_bytes() for name in ("vocab.json", "merges.txt")}


def ranks(size):
    """A tiktoken vocabulary: bytes, then what merges make, in their order."""
    merges = train_bytes(size)["merges.txt"].decode().split("\n")[1:]
    alphabet = sorted(ByteLevel.alphabet())
    to_byte = {c: (ord(c) if ord(c) < 256 else None) for c in alphabet}
    others = iter(byte for byte in range(256) if byte not in {ord(c) for c in alphabet if ord(c) < 256})
    for c in sorted(c for c in alphabet if ord(c) >= 256):
        to_byte[c] = next(others)
    tokens = {bytes([byte]): byte for byte in range(256)}
    for merge in merges:
        if merge:
            token = bytes(to_byte[c] for c in merge.replace(" ", ""))
            tokens.setdefault(token, len(tokens))
    return tokens


def write_ranks(tokens):
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in tokens.items())


def added(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True, **flags}


def to_json(value):
    return json.dumps(value, ensure_ascii=False).encode()


# ---- Folders ----

class Folder:
    """Files and, for any text, ids with the tokens that stand around a text, and the text of ids."""

    def __init__(self, name, files, model_type=None, special=False):
        self.name, self.files, self.special = name, files, special
        self.config = {"model_type": model_type} if model_type else None


class OfSentencePiece(Folder):
    def __init__(self, name, model, config=None, **options):
        files = {"tokenizer.model": model}
        if config is not None:
            files["tokenizer_config.json"] = to_json(config)
        super().__init__(name, files, **options)
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.bos = self.processor.bos_id() >= 0 and (config or {}).get("add_bos_token", True)

    def encode(self, text):
        return self.processor.encode(text, add_bos=bool(self.bos))

    def decode(self, ids):
        """An unknown piece is " \u2047 " here, and nothing where special tokens are left away."""
        return None if self.processor.unk_id() in ids else self.processor.decode(ids)


class OfTransformers(Folder):
    def __init__(self, name, files, build, **options):
        super().__init__(name, files, special=True, **options)
        with tempfile.TemporaryDirectory() as folder:
            self.write(pathlib.Path(folder))
            self.tokenizer = build(folder)

    def write(self, folder):
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        if self.config is not None:
            (folder / "config.json").write_bytes(to_json(self.config))

    def encode(self, text):
        return self.tokenizer.encode(text)

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


class OfTiktoken(Folder):
    def __init__(self, name, file, tokens, pattern, special, config, before=(), normalize=None, **options):
        super().__init__(name, {file: write_ranks(tokens), "tokenizer_config.json": to_json(config)}, special=True, **options)
        self.encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=tokens, special_tokens=special)
        self.before = [special[token] for token in before]
        self.normalize = normalize or (lambda text: text)

    def encode(self, text):
        return self.before + self.encoding.encode(self.normalize(text), allowed_special="all")

    def decode(self, ids):
        special = set(self.encoding._special_tokens.values())
        return self.encoding.decode([index for index in ids if index not in special])


def sentencepiece_folders():
    symbols = {"user_defined_symbols": ["<sep>", "<|im|>"]}
    yield OfSentencePiece("bpe-bytes", train_sentencepiece("bpe", 900, byte_fallback=True, split_digits=True, normalization_rule_name="identity",
                                                          remove_extra_whitespaces=False, character_coverage=1.0))
    yield OfSentencePiece("bpe-symbols", train_sentencepiece("bpe", 800, byte_fallback=True, normalization_rule_name="identity",
                                                            remove_extra_whitespaces=False, character_coverage=1.0, **symbols), {"add_bos_token": False})
    yield OfSentencePiece("bpe-nfkc", train_sentencepiece("bpe", 800, character_coverage=1.0, add_dummy_prefix=False,
                                                         **symbols))
    yield OfSentencePiece("unigram", train_sentencepiece("unigram", 800, character_coverage=1.0, normalization_rule_name="nmt_nfkc"))
    yield OfSentencePiece("unigram-symbols", train_sentencepiece("unigram", 1000, byte_fallback=True, character_coverage=1.0,
                                                                remove_extra_whitespaces=False, **symbols))
    yield OfSentencePiece("unigram-whole", train_sentencepiece("unigram", 800, character_coverage=1.0, split_by_whitespace=False, bos_id=-1, pad_id=3))


def class_folders():
    load = transformers.AutoTokenizer.from_pretrained
    llama = train_sentencepiece("bpe", 900, byte_fallback=True, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                                character_coverage=1.0)
    config = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "<|end|>",
              "unk_token": "<unk>", "pad_token": "<pad>",
              "added_tokens_decoder": {"0": added("<unk>"), "1": added("<s>"), "2": added("</s>"), "900": added("<pad>"), "901": added("<|user|>"),
                                       "902": added("<|end|>"), "903": added("<|assistant|>", rstrip=True)}}
    yield OfTransformers("llama", {"tokenizer.model": llama, "tokenizer_config.json": to_json(config)}, load, model_type="llama")
    plain = train_sentencepiece("unigram", 800, character_coverage=1.0, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    yield OfTransformers("t5", {"spiece.model": plain, "tokenizer_config.json": to_json({"tokenizer_class": "T5Tokenizer"})}, load, model_type="t5")
    fairseq = train_sentencepiece("unigram", 800, character_coverage=1.0)
    yield OfTransformers("xlm-roberta", {"sentencepiece.bpe.model": fairseq, "tokenizer_config.json": to_json({"tokenizer_class": "XLMRobertaTokenizer"})}, load,
                         model_type="xlm-roberta")
    yield OfTransformers("camembert", {"sentencepiece.bpe.model": fairseq, "tokenizer_config.json": to_json({"tokenizer_class": "CamembertTokenizer"})}, load,
                         model_type="camembert")
    gemma = train_sentencepiece("bpe", 900, byte_fallback=True, split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
                                add_dummy_prefix=False, character_coverage=1.0, pad_id=0, eos_id=1, bos_id=2, unk_id=3, bos_piece="<bos>", eos_piece="<eos>",
                                user_defined_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>", "\n\n", "▁▁", "▁▁▁"])
    yield OfSentencePiece("gemma", gemma, {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<bos>", "eos_token": "<eos>",
                                           "pad_token": "<pad>", "unk_token": "<unk>"}, model_type="gemma")


def byte_folders():
    load = transformers.AutoTokenizer.from_pretrained
    files = train_bytes(700, ["<|endoftext|>"])
    yield OfTransformers("gpt2", {**files, "tokenizer_config.json": to_json({"tokenizer_class": "GPT2Tokenizer"})}, load, model_type="gpt2")
    yield OfTransformers("gpt2-prefix", {**files, "added_tokens.json": to_json({"<new>": 700, "<pad>": 701}),
                                         "special_tokens_map.json": to_json({"pad_token": "<pad>", "bos_token": "<|endoftext|>"}),
                                         "tokenizer_config.json": to_json({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True, "add_bos_token": True})},
                         load, model_type="gpt2")
    decoder = {"700": added("<|endoftext|>"), "701": added("<|im_start|>"), "702": added("<|im_end|>"), "703": added("<new>", special=False)}
    qwen = train_bytes(700)
    yield OfTransformers("qwen2", {**qwen, "tokenizer_config.json": to_json({"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>",
                                                                              "pad_token": "<|endoftext|>", "added_tokens_decoder": decoder})}, load,
                         model_type="qwen2")
    roberta = train_bytes(700, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    yield OfTransformers("roberta", {**roberta, "tokenizer_config.json": to_json({"tokenizer_class": "RobertaTokenizer"})}, load, model_type="roberta")


def word_folders():
    load = transformers.AutoTokenizer.from_pretrained
    for name, lower in (("bert-uncased", True), ("bert-cased", False)):
        tokenizer = BertWordPieceTokenizer(lowercase=lower)
        tokenizer.train_from_iterator(TRAINING, 900, show_progress=False)
        vocabulary = "".join(token + "\n" for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])).encode()
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower, "tokenize_chinese_chars": lower}
        yield OfTransformers(name, {"vocab.txt": vocabulary, "tokenizer_config.json": to_json(config)}, load, model_type="bert")


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace("{1,3}", "")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
KIMI = "|".join([r"[\p{Han}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}&&[^\p{{Han}}]]*[{LOWER}&&[^\p{{Han}}]]+{ENDS}",
                 rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}&&[^\p{{Han}}]]+[{LOWER}&&[^\p{{Han}}]]*{ENDS}", r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*",
                 r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])


def rank_folders():
    import unicodedata
    tokens = ranks(700)
    size = len(tokens)

    def listed(*names):
        special = {name: size + i for i, name in enumerate(names)}
        return special, {str(index): added(name) for name, index in special.items()}

    special, decoder = listed("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>")
    yield OfTiktoken("llama3", "tokenizer.model", tokens, LLAMA3, special, {"added_tokens_decoder": decoder}, ["<|begin_of_text|>"], model_type="llama")
    special, decoder = listed("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    yield OfTiktoken("qwen", "qwen.tiktoken", tokens, QWEN, special, {"tokenizer_class": "QWenTokenizer", "added_tokens_decoder": decoder},
                     normalize=lambda text: unicodedata.normalize("NFC", text), model_type="qwen")
    special, decoder = listed("[BOS]", "[EOS]", "<|im_end|>", "[UNK]", "[PAD]")
    yield OfTiktoken("kimi", "tiktoken.model", tokens, KIMI, special, {"tokenizer_class": "TikTokenTokenizer", "added_tokens_decoder": decoder},
                     model_type="kimi_k2")


class OfTekken(Folder):
    """With <s> before a text, as Mistral's models have it."""

    def __init__(self, tokens, pattern, special, size):
        data = {"config": {"pattern": pattern, "default_vocab_size": size, "default_num_special_tokens": 20, "version": "v7"},
                "vocab": [{"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None} for token, rank in tokens.items()],
                "special_tokens": [{"rank": rank, "token_str": token, "is_control": True} for rank, token in enumerate(special)]}
        super().__init__("tekken", {"tekken.json": to_json(data)}, model_type="mistral", special=True)
        with tempfile.TemporaryDirectory() as folder:
            write(self, pathlib.Path(folder))
            converter = MistralConverter(os.path.join(folder, "tekken.json"))
            self.tokenizer = converter.converted()
        self.tokenizer.add_special_tokens(list(special))

    def encode(self, text):
        return [1] + self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids):
        return self.tokenizer.decode(ids)


def tekken_folders():
    pattern = "|".join([rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]*[{LOWER}]+", rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}]+[{LOWER}]*", r"\p{N}",
                        r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
    yield OfTekken(ranks(700), pattern, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "<pad>", "<new>"], 620)


def folders():
    for group in (sentencepiece_folders, class_folders, byte_folders, word_folders, rank_folders, tekken_folders):
        yield from group()


# ---- Output ----

def texts_of(folder):
    return texts() + (SPECIAL_TEXTS if folder.special else [])


def decoded(folder, text):
    """0 where it is the text itself."""
    result = folder.decode(folder.encode(text))
    return 0 if result == text else result


def write(folder, place):
    place.mkdir(parents=True, exist_ok=True)
    OfTransformers.write(folder, place)


def compare(folder, program):
    with tempfile.TemporaryDirectory() as place:
        write(folder, pathlib.Path(place))
        config = pathlib.Path(place) / "config.json"
        config.unlink(missing_ok=True)
        if folder.config == {"model_type": "llama"}:
            config.write_bytes((DATA.parent.parent.parent / "data/small-model/config.json").read_bytes())
        given = texts_of(folder)
        lines = "".join(json.dumps({"text": text}) + "\n" for text in given)
        result = subprocess.run([program, "tokenize", "--model", place, "--special"], input=lines.encode(), capture_output=True)
        answers = [json.loads(line) for line in result.stdout.decode().splitlines()]
        if len(answers) != len(given):
            return f"{folder.name}: {result.stderr.decode()[:400]}"
        wrong = [(text, folder.encode(text), answer) for text, answer in zip(given, answers) if answer.get("ids") != folder.encode(text)]
        shown = "".join(f"\n    {text[:60]!r}\n      right {right[:24]}\n      ours  {answer.get('ids', answer)[:24] if 'ids' in answer else answer}"
                        for text, right, answer in wrong[:8])
        return f"{folder.name}: {len(wrong)} of {len(given)} differ{shown}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?")
    parser.add_argument("--write")
    parser.add_argument("--compare")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    chosen = [folder for folder in folders() if arguments.only is None or folder.name in arguments.only.split(",")]
    if arguments.compare:
        for folder in chosen:
            print(compare(folder, arguments.compare), flush=True)
        return
    if arguments.write:
        for folder in chosen:
            write(folder, pathlib.Path(arguments.write) / folder.name)
        return
    given = texts()
    blobs = sorted({data for folder in chosen for data in folder.files.values()})
    result = {"texts": given, "special_texts": SPECIAL_TEXTS, "blobs": [base64.b64encode(data).decode() for data in blobs],
              "folders": [{"name": folder.name, "model_type": (folder.config or {}).get("model_type"),
                           "files": {name: blobs.index(data) for name, data in folder.files.items()},
                           "ids": [folder.encode(text) for text in texts_of(folder)],
                           "decoded": [decoded(folder, text) for text in texts_of(folder)]} for folder in chosen]}
    data = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode()
    with open(arguments.out, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as zipped:
        zipped.write(data)


main()
