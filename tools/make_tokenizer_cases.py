#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizers/cases.json.gz: small tokenizers, one or more for each part that the
reference library has, with what the library makes of some texts.

    pip install tokenizers==0.23.2 sentencepiece
    python3 tools/make_tokenizer_cases.py tests/data/tokenizers/cases.json.gz
    python3 tools/make_tokenizer_cases.py OUT.json.gz --random 200 --seed 7   other texts
"""
import argparse
import base64
import functools
import gzip
import io
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

DATA = pathlib.Path(__file__).parent.parent / "tests/data/tokenizers"

TEXTS = [
    "", " ", "  ", "\n", " a", "a ", "a", "Hello, world!", "Hello  world\n\nagain\t tab", "it's we'll I'D they'RE 'S",
    "The quick brown fox jumps over the lazy dog.", "lower UPPER Title cAmElCase HTTPServer", "1234567890 3.14 1,000 ٣٤ ²³ ½ Ⅷ",
    "é e\u0301 ñ n\u0303 Å \u212b ﬁ ① ｆｕｌｌ", "中文字符和日本語テキスト 한국어", "Привет, мир! Ёлка", "ПРИВЕТ ΣΑΣ İI ıi ẞß",
    "🙂👨\u200d👩\u200d👧 🇩🇪 ☕\ufe0f", "a\u200bb\ufeffc\u00a0d\u3000e\u2028f\u0085g", "<s>hi</s> <unk> [CLS] [SEP][MASK] x",
    "[MASK]a [MASK] b[MASK]", "   [MASK]   [MASK]", "x<tok>y <tok> z", "<tok> <TOK> newword NEWWORD new word", "newwordx xnewword new-newword",
    "hyphen-ated under_score a.b.c (x) {y} \"q\" 'z' «w» ¿q? $5 #1 +=<>|~^`", "▁meta ▁▁x ▁", " ▁", "a▁b", "\x00\x01\x07\x7f\x9f\u00ad control",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababab cdcd", "word " * 8, "don't can't won't do not . , ! ?",
    "สวัสดีครับ नमस्ते العربية עברית", "a\u0323\u0301 \u0301x \u0344 \u1ea5", "tab\tnew\nline\r\ncr\rend", "U.S.A. e.g. 3rd 4th", "https://example.com/a?b=c&d=e#f",
    "def f(x):\n    return x + 1\n", "\u0e33\u0eb3 \uf900 \U0002f800 \u2460 \u3392 ㌀", "ſtrange K kelvin Ωohm", "\U00031350 \U0002ebf0 \u1c89", "q\u0307\u0323 \u0f77 \ufb2c",
    "  lead", "trail  ", "\u3000ideographic", "x\u0300\u0301\u0302\u0303y", "mixed中english文text", "0x1F 1e-5 -3 +4", "a b c d e f g", "zzz unknownword qqq",
]
PIECES = list("aabbcdeehilnorstwABEHT0129 \t\n\r'.,!?-_()[]<>/$▁") + list("éßİſK中文日本ひらカタ한абВЁΣσς٣²½①ﬁ\u00a0\u3000\u200b\u200d\u0301\u0323\u0e33\u00ad🙂") + [
    "'s", "'LL", " the", "ing", "<s>", "</s>", "<unk>", "[MASK]", "[CLS]", "<tok>", "newword", "  ", "hello", "World", "\U00031350"]


@functools.cache
def corpus():
    with gzip.open(DATA / "expected.json.gz") as file:
        return json.load(file)["texts"]


def train(tokenizer, trainer, texts=None):
    tokenizer.train_from_iterator(texts or corpus(), trainer)
    return tokenizer


def trained_once(build):
    """Training takes long and its result is taken in many variants."""
    known = {}

    def get(*arguments, **options):
        key = (arguments, tuple(sorted(options.items())))
        if key not in known:
            known[key] = build(*arguments, **options).to_str()
        return Tokenizer.from_str(known[key])
    return get


def bpe(size=600, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    affixes = {k: v for k, v in options.items() if k in ("continuing_subword_prefix", "end_of_word_suffix")}
    return tokenizer, trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=["<unk>", "<s>", "</s>", "[MASK]"],
                                          limit_alphabet=200, **affixes)


@trained_once
def byte_level(size=600, prefix=False, use_regex=True, **options):
    tokenizer, trainer = bpe(size, **options)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    trainer.initial_alphabet = pre_tokenizers.ByteLevel.alphabet()
    return train(tokenizer, trainer)


def chars(normalizer=None, pre_tokenizer=None, decoder=None):
    """One token a character, so that every change of the text is seen; unknown ones by byte."""
    vocabulary = {"<unk>": 0}
    for byte in range(256):
        vocabulary[f"<0x{byte:02X}>"] = len(vocabulary)
    for c in sorted(set("".join(corpus()) + "▁")):
        vocabulary.setdefault(c, len(vocabulary))
    for word in ("the", "▁the", "Ġ", "ab", "##a"):
        vocabulary.setdefault(word, len(vocabulary))
    model = models.BPE(vocabulary, [("a", "b")], byte_fallback=True, unk_token="<unk>", fuse_unk=True)
    tokenizer = Tokenizer(model)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoder or decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def words(pre_tokenizer, normalizer=None):
    """One token a piece of the pre-tokenizer: shows where it cuts."""
    pieces = {}
    texts = TEXTS + corpus()[:200]
    for text in texts:
        if normalizer is not None:
            text = normalizer.normalize_str(text)
        for piece, _ in pre_tokenizer.pre_tokenize_str(text):
            pieces.setdefault(piece, len(pieces) + 1)
            if len(pieces) > 1500:
                break
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, **pieces}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer


def sentencepiece_map(rule):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([t for t in corpus() if all(ord(c) < 0x180 for c in t)]), model_writer=out, vocab_size=2000, model_type="unigram", character_coverage=0.98,
        hard_vocab_limit=False, normalization_rule_name=rule, minloglevel=2)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(out.getvalue())
    return model


@trained_once
def unigram(**options):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**options)
    tokenizer.decoder = decoders.Metaspace(**{k: v for k, v in options.items()})
    trainer = trainers.UnigramTrainer(vocab_size=700, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    return train(tokenizer, trainer, [text for text in corpus() if all(ord(c) < 0x180 for c in text)])


@trained_once
def wordpiece(lowercase=True, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", **options))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    train(tokenizer, trainers.WordPieceTrainer(vocab_size=700, show_progress=False, limit_alphabet=200,
                                               special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    return tokenizer


def edited(tokenizer, edit):
    """A tokenizer with its JSON changed."""
    data = json.loads(tokenizer.to_str())
    edit(data)
    return Tokenizer.from_str(json.dumps(data))


def model_cases():
    yield "bpe byte level", byte_level()
    yield "bpe byte level prefix space", byte_level(prefix=True)
    yield "bpe byte level no regex", byte_level(use_regex=False)
    yield "bpe ignore merges", edited(byte_level(), lambda d: d["model"].update(ignore_merges=True, merges=d["model"]["merges"][:40]))
    yield "bpe old merges", edited(byte_level(), lambda d: d["model"].update(merges=["#version: 0.2"] + [" ".join(m) for m in d["model"]["merges"]]))
    for name, options in (("plain", {}), ("unknown", dict(unk_token="<unk>")), ("fused unknown", dict(unk_token="<unk>", fuse_unk=True)),
                          ("suffix", dict(unk_token="<unk>", end_of_word_suffix="</w>")),
                          ("prefix", dict(unk_token="<unk>", continuing_subword_prefix="##"))):
        tokenizer, trainer = bpe(**options)
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
        yield f"bpe {name}", train(tokenizer, trainer)
    tokenizer, trainer = bpe(unk_token="<unk>", fuse_unk=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    yield "bpe metaspace normalizer", train(tokenizer, trainer)
    yield "chars", chars()
    yield "chars partial bytes", edited(chars(), lambda d: [d["model"]["vocab"].pop(f"<0x{b:02X}>") for b in (0xC3, 0x9F, 0xE4, 0xF0)])
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            yield f"unigram metaspace {scheme} {split}", unigram(prepend_scheme=scheme, split=split)
    yield "unigram no decoder", edited(unigram(), lambda d: d.update(decoder=None))

    def add_bytes(d):
        d["model"]["byte_fallback"] = True
        d["model"]["vocab"] += [[f"<0x{b:02X}>", 0.0] for b in range(256)]
        d["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, d["decoder"]]}
    yield "unigram byte fallback", edited(unigram(), add_bytes)
    yield "unigram ties", Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0), ("ab", -2.0), ("aa", -2.0), ("bab", -3.0), ("c", -1.0)], 0, False))
    yield "wordpiece", wordpiece()
    yield "wordpiece cased", wordpiece(lowercase=False)
    yield "wordpiece short words", wordpiece(max_input_chars_per_word=4)
    tokenizer = wordpiece()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    yield "wordpiece no cleanup", tokenizer
    yield "wordpiece empty prefix", edited(wordpiece(), lambda d: d["model"].update(continuing_subword_prefix=""))


def normalizer_cases():
    n = normalizers
    for name, normalizer in (
        ("NFC", n.NFC()), ("NFD", n.NFD()), ("NFKC", n.NFKC()), ("NFKD", n.NFKD()), ("Lowercase", n.Lowercase()), ("StripAccents", n.StripAccents()),
        ("NFD StripAccents", n.Sequence([n.NFD(), n.StripAccents()])), ("Nmt", n.Nmt()), ("Strip", n.Strip()), ("Strip left", n.Strip(right=False)),
        ("Strip right", n.Strip(left=False)), ("Prepend", n.Prepend("▁ ")), ("Replace string", n.Replace("a", "bb")), ("Replace gone", n.Replace(" ", "")),
        ("Replace regex", n.Replace(Regex(r"\s+"), " ")), ("Replace empty", n.Replace(Regex(r"x*"), "-")), ("Replace start", n.Replace(Regex("^"), "> ")),
        ("Replace wide", n.Replace(Regex(r" {2,}"), "▁")), ("Bert", n.BertNormalizer()), ("Bert cased", n.BertNormalizer(lowercase=False)),
        ("Bert accents", n.BertNormalizer(lowercase=False, strip_accents=True)), ("Bert keep accents", n.BertNormalizer(strip_accents=False)),
        ("Bert bare", n.BertNormalizer(clean_text=False, handle_chinese_chars=False, lowercase=False)), ("ByteLevel", n.ByteLevel()),
        ("Nested", n.Sequence([n.Sequence([n.NFKC(), n.Lowercase()]), n.Sequence([]), n.Strip()])),
    ):
        yield f"normalizer {name}", chars(n.Sequence([normalizer]) if name == "Replace start" else normalizer)
    for rule in ("nmt_nfkc", "nmt_nfkc_cf"):
        model = sentencepiece_map(rule)
        tokenizer = chars()
        data = json.loads(tokenizer.to_str())
        data["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()}
        yield f"normalizer Precompiled {rule}", Tokenizer.from_str(json.dumps(data))
        if rule == "nmt_nfkc":
            data["model"] = {"type": "Unigram", "unk_id": 0, "byte_fallback": False, "vocab": [[p.piece, p.score] for p in model.pieces]}
            data["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
            data["decoder"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
            data["normalizer"] = {"type": "Sequence", "normalizers": [data["normalizer"], {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
            yield "sentencepiece unigram", Tokenizer.from_str(json.dumps(data))


def pre_tokenizer_cases():
    p = pre_tokenizers
    patterns = {"dash": "-", "vowels": Regex("[aeiou]"), "space runs": Regex(r"\s+"), "empty": Regex(r"x*"),
                "gpt4": Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
                "gpt4o": Regex(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
                "possessive": Regex(r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"),
                "intersection": Regex(r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]+|\p{N}|\s+"), "word": Regex(r"\w+|[^\w\s]+"), "digits ahead": Regex(r"\d{1,3}(?=(?:\d{3})*\b)")}
    for name, pattern in patterns.items():
        for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
            if name in ("dash", "vowels", "space runs", "empty") or behavior in ("isolated", "removed"):
                yield f"split {name} {behavior}", words(p.Split(pattern, behavior))
        yield f"split {name} inverted", words(p.Split(pattern, "removed", invert=True))
    yield "split vowels inverted contiguous", words(p.Split(Regex("[aeiou]"), "contiguous", invert=True))
    yield "split vowels inverted next", words(p.Split(Regex("[aeiou]"), "merged_with_next", invert=True))
    for name, pre_tokenizer in (
        ("Whitespace", p.Whitespace()), ("WhitespaceSplit", p.WhitespaceSplit()), ("Bert", p.BertPreTokenizer()), ("Digits", p.Digits()),
        ("Digits individual", p.Digits(individual_digits=True)), ("Delimiter", p.CharDelimiterSplit("e")), ("FixedLength", p.FixedLength(3)),
        ("Metaspace", p.Metaspace()), ("Metaspace first", p.Metaspace(prepend_scheme="first")), ("Metaspace never", p.Metaspace(prepend_scheme="never")),
        ("Metaspace underscore", p.Metaspace(replacement="_")), ("Metaspace whole", p.Metaspace(split=False)), ("ByteLevel", p.ByteLevel(add_prefix_space=False)),
        ("ByteLevel prefix", p.ByteLevel()), ("ByteLevel whole", p.ByteLevel(use_regex=False)),
        ("Sequence", p.Sequence([p.WhitespaceSplit(), p.Digits(individual_digits=True), p.Punctuation(), p.Metaspace(prepend_scheme="first")])),
        ("Sequence bytes", p.Sequence([p.Digits(individual_digits=True), p.ByteLevel()])),
        ("Sequence bytes first", p.Sequence([p.ByteLevel(add_prefix_space=False), p.Split("Ġ", "merged_with_next")])),
        ("Sequence nested", p.Sequence([p.Sequence([p.Whitespace()]), p.Sequence([]), p.Split(Regex("[A-Z]"), "merged_with_next")])),
    ):
        yield f"pre-tokenizer {name}", words(pre_tokenizer)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        yield f"pre-tokenizer Punctuation {behavior}", words(p.Punctuation(behavior))
    yield "metaspace first stripped", words(p.Metaspace(prepend_scheme="first"), normalizers.Strip())
    yield "metaspace first replaced", words(p.Metaspace(prepend_scheme="first"), normalizers.Replace(Regex(r"\s+"), " "))


def added_cases():
    for flags in range(32):
        bits = [bool(flags >> i & 1) for i in range(5)]
        options = dict(zip(("single_word", "lstrip", "rstrip", "normalized"), bits))
        if flags in (3, 7, 11, 13, 19, 23, 29):
            continue
        tokenizer = byte_level(400)
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.add_tokens([AddedToken("newword", special=bits[4], **options), AddedToken("<tok>", special=bits[4], **options),
                              AddedToken("<TOK> ", **options), AddedToken("the", **options), AddedToken("zz", special=True, **options)])
        yield f"added {flags}", tokenizer
    tokenizer = unigram(prepend_scheme="first")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True), "[CLS]"])
    tokenizer.add_tokens(["newword", AddedToken("▁hello", normalized=False), "a b", "a", "ab", "abab"])
    yield "added with prepend", tokenizer
    tokenizer = wordpiece()
    tokenizer.add_tokens([AddedToken("NEWWORD", normalized=True), AddedToken("Hello", normalized=False), AddedToken("É", normalized=True)])
    yield "added with bert", tokenizer
    tokenizer = byte_level(400)
    tokenizer.normalizer = normalizers.ByteLevel()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("Ġ"), "merged_with_next")
    tokenizer.add_tokens([AddedToken("é n", normalized=True), AddedToken("中", normalized=False)])
    yield "added with byte level normalizer", tokenizer


def post_cases():
    tokenizer = byte_level(400)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    yield "roberta", tokenizer
    tokenizer = wordpiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    yield "bert", tokenizer
    tokenizer = wordpiece()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    yield "template", tokenizer
    tokenizer = wordpiece()
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(
        single="$A [SEP] $A [X]", pair="$A $B", special_tokens=[("[SEP]", 3), {"id": "[X]", "ids": [4, 2], "tokens": ["[MASK]", "[CLS]"]}])])
    yield "template twice", tokenizer
    tokenizer = byte_level(400)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    yield "byte level processor", tokenizer


def decoder_cases():
    d = decoders
    for name, decoder in (
        ("Fuse", d.Fuse()), ("ByteFallback", d.ByteFallback()), ("Replace string", d.Replace("a", "xyz")), ("Replace regex", d.Replace(Regex("[aeiou]"), "")),
        ("Replace fused", d.Sequence([d.Fuse(), d.Replace("th", "T")])), ("Strip", d.Strip("e", 1, 0)), ("Strip both", d.Strip("a", 2, 0)),
        ("Strip fused", d.Sequence([d.ByteFallback(), d.Fuse(), d.Strip(" ", 2, 2)])), ("Metaspace", d.Metaspace()), ("Metaspace never", d.Metaspace(prepend_scheme="never")),
        ("WordPiece", d.WordPiece(cleanup=True)), ("BPE", d.BPEDecoder(suffix="e")), ("ByteLevel", d.ByteLevel()),
        ("Llama", d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 0)])),
        ("Bytes then strip", d.Sequence([d.ByteLevel(), d.Strip(" ", 1, 0)])), ("Fuse twice", d.Sequence([d.Fuse(), d.Fuse()])),
    ):
        tokenizer = chars(decoder=decoder)
        tokenizer.add_special_tokens(["<s>", "</s>"])
        yield f"decoder {name}", tokenizer
    yield "no decoder", edited(chars(), lambda data: data.update(decoder=None))


def safe(function, *arguments, **options):
    """The reference panics on some inputs; those are left out."""
    try:
        return function(*arguments, **options)
    except BaseException:
        return None


def row(tokenizer, text):
    encoded = safe(tokenizer.encode, text, add_special_tokens=False)
    special = safe(tokenizer.encode, text, add_special_tokens=True)
    if encoded is None or special is None:
        return None
    out = {"ids": encoded.ids}
    if special.ids != encoded.ids:
        out["ids_special"] = special.ids
    for key, skip in (("decoded", False), ("decoded_skip", True)):
        decoded = safe(tokenizer.decode, special.ids, skip_special_tokens=skip)
        if decoded is None:
            return None
        if decoded != text:
            out[key] = decoded
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--random", type=int, default=0, help="this many random texts instead of the chosen ones")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    texts = TEXTS
    if arguments.random > 0:
        generator = random.Random(arguments.seed)
        texts = ["".join(generator.choice(PIECES) for _ in range(generator.randint(1, 30))) for _ in range(arguments.random)]
    cases = []
    for group in (model_cases, normalizer_cases, pre_tokenizer_cases, added_cases, post_cases, decoder_cases):
        for name, tokenizer in group():
            cases.append({"name": name, "tokenizer": json.loads(tokenizer.to_str()), "rows": [row(tokenizer, text) for text in texts]})
    data = json.dumps({"texts": texts, "cases": cases}, ensure_ascii=False, separators=(",", ":")).encode()
    with open(arguments.output, "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as zipped:
        zipped.write(data)
    print(len(cases), "tokenizers,", sum(r is not None for c in cases for r in c["rows"]), "rows")


main()
