#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/models: a tiny model of random weights for each architecture, and what transformers computes from it.

    pip install torch transformers==5.17.0
    python3 tools/make_golden_models.py make tests/data/models            the models of MODELS that are not there yet
    python3 tools/make_golden_models.py make --seed 12 FOLDER llama       one of them, with other weights, elsewhere
    python3 tools/make_golden_models.py check tests/data/models           today's files against the table and the reference
    python3 tools/make_golden_models.py check-encoders tests/data/encoders

A new architecture is a row of MODELS: the class of its configuration and what differs from SHAPE. `make` never touches a folder that is
there. `check` compares, for each model: config.json and the weights with what the table and the seed give, to the bit; the logits, greedy
tokens and margins with those that the reference computes now from the stored files, within the tolerance of the parity tests; rows.jsonl
with golden.json. `check-encoders` holds the embeddings of tools/make_encoder_models.py, which come from the papers' formulas, against
transformers.

The weights are drawn after the model was built, from the same generator: another release of torch or transformers may draw more or less
while it builds, which `check` then shows.
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

SEED = 11
LENGTHS = (1, 2, 7, 16, 33, 64)  # of the prompts
ANSWER = 32  # tokens that greedy decoding appends
FIRST_ID = 3  # below it are padding, begin and end
CLOSE = 1e-4  # relative error of a position's logits, and the margin below which another token is no fault: tests/parity/forward_test.c

# What the models share. Tiny, and with no dimension equal to another that it could be taken for.
SHAPE = dict(vocab_size=320, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2,
             max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0)
# Of mixtures, which hold each expert's weights.
SMALL = dict(vocab_size=72, hidden_size=32, intermediate_size=40, num_attention_heads=4, head_dim=8)


def rope(theta, **more):
    return {"rope_type": "default", "rope_theta": theta} | more


MODELS = {
    "llama": ("LlamaConfig", dict(rms_norm_eps=1e-5)),
    "llama3": ("LlamaConfig", dict(
        rms_norm_eps=1e-5, tie_word_embeddings=True, max_position_embeddings=1024,
        rope_parameters=rope(500000.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=64))),
    "mistral": ("MistralConfig", dict(head_dim=16, sliding_window=16)),
    "mixtral": ("MixtralConfig", dict(num_local_experts=4, num_experts_per_tok=2)),
    "gemma": ("GemmaConfig", dict(num_attention_heads=4, num_key_value_heads=1, head_dim=32, hidden_activation="gelu_pytorch_tanh")),
    "gemma2": ("Gemma2Config", dict(
        num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=24, sliding_window=16,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0)),
    "gemma3": ("Gemma3TextConfig", dict(
        num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=32, sliding_window=16,
        sliding_window_pattern=6)),
    "qwen2": ("Qwen2Config", dict(tie_word_embeddings=True, rope_parameters=rope(1000000.0))),
    "qwen3": ("Qwen3Config", dict(head_dim=24, rope_parameters=rope(1000000.0))),
    "qwen3_moe": ("Qwen3MoeConfig", dict(head_dim=16, moe_intermediate_size=48, num_experts=8, num_experts_per_tok=2, norm_topk_prob=True)),
    "phi3": ("Phi3Config", dict(original_max_position_embeddings=512)),
    "granite": ("GraniteConfig", dict(
        rms_norm_eps=1e-5, embedding_multiplier=1.5, attention_multiplier=0.3, residual_multiplier=0.7, logits_scaling=3.0)),
    # The shared expert is no whole number of experts wide.
    "qwen2_moe": ("Qwen2MoeConfig", SMALL | dict(
        moe_intermediate_size=12, shared_expert_intermediate_size=20, num_experts=6, num_experts_per_tok=2, mlp_only_layers=[1],
        use_sliding_window=True, sliding_window=16, max_window_layers=2)),
    "granitemoe": ("GraniteMoeConfig", SMALL | dict(
        intermediate_size=12, num_local_experts=6, num_experts_per_tok=3, attention_bias=True, embedding_multiplier=1.5,
        attention_multiplier=0.3, residual_multiplier=0.7, logits_scaling=3.0)),
    "granitemoeshared": ("GraniteMoeSharedConfig", SMALL | dict(
        intermediate_size=12, shared_intermediate_size=28, num_local_experts=5, num_experts_per_tok=2, embedding_multiplier=1.5,
        attention_multiplier=0.3, residual_multiplier=0.7, logits_scaling=3.0, tie_word_embeddings=True)),
    "glm4_moe": ("Glm4MoeConfig", SMALL | dict(
        moe_intermediate_size=12, n_routed_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2, routed_scaling_factor=1.8,
        first_k_dense_replace=1, n_shared_experts=1, attention_bias=True, use_qk_norm=True, num_nextn_predict_layers=0)),
    "minimax_m2": ("MiniMaxM2Config", SMALL | dict(
        intermediate_size=12, num_local_experts=6, num_experts_per_tok=2, rope_parameters=rope(5e6, partial_rotary_factor=0.5))),
    "ernie4_5_moe": ("Ernie4_5_MoeConfig", SMALL | dict(
        num_hidden_layers=5, moe_intermediate_size=12, moe_num_experts=6, moe_k=2, moe_num_shared_experts=2, moe_layer_interval=2,
        moe_layer_start_index=1, moe_layer_end_index=3, tie_word_embeddings=True)),
    "gpt_oss": ("GptOssConfig", SMALL | dict(
        num_hidden_layers=4, intermediate_size=20, num_local_experts=6, num_experts_per_tok=2, sliding_window=16,
        rope_parameters=rope(150000.0, rope_type="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=32.0, beta_slow=1.0,
                             truncate=False))),
}


# ---- The model ----

def make_model(name, seed):
    """Weights of about the size that training leaves: a layer neither drowns the residual nor vanishes in it. Norms and biases are not
    trivial, so that one which is left out shows."""
    kind, facts = MODELS[name]
    config = getattr(transformers, kind)(**(SHAPE | facts))
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter_name, values in model.named_parameters():
            random = torch.randn(values.shape)
            if values.dim() == 1:
                values.copy_((values if "norm" in parameter_name else 0) + 0.1 * random)
            elif "bias" in parameter_name:
                values.copy_(0.1 * random)
            else:
                values.copy_(random * (0.35 if "embed_tokens" in parameter_name else 1.6 / values.shape[-1] ** 0.5))
        for buffer_name, values in model.named_buffers():
            if "correction_bias" in buffer_name:
                values.copy_(0.1 * torch.randn(values.shape))
    return model


def read_model(folder):
    """`eager`, since `sdpa` leaves out Gemma 2's soft cap of attention."""
    return transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


# ---- The reference ----

def make_prompts(vocabulary):
    random = np.random.default_rng(SEED)
    return [[int(token) for token in random.integers(FIRST_ID, vocabulary, length)] for length in LENGTHS]


@torch.no_grad()
def run_reference(model):
    """The cases of golden.json, and the logits of each prompt, [tokens, vocabulary]."""
    cases, logits = [], {}
    for i, prompt in enumerate(make_prompts(model.config.vocab_size)):
        logits[f"logits_{i}"] = model(torch.tensor([prompt])).logits[0].contiguous()
        ids, margins = list(prompt), []
        for _ in range(ANSWER):
            best = torch.topk(model(torch.tensor([ids])).logits[0, -1], 2)
            ids.append(int(best.indices[0]))
            margins.append(float(best.values[0] - best.values[1]))
        cases.append({"prompt": prompt, "greedy32": ids[len(prompt):], "margin32": margins, "min_margin": min(margins)})
    return cases, logits


def golden_text(cases):
    return json.dumps({"transformers": transformers.__version__, "dtype": "float32",
                       "note": "greedy32: argmax continuation with no stop token; logits_i: [len(prompt), vocab] float32", "cases": cases})


def rows_text(cases):
    """The same as a data set, for `sluice run`."""
    rows = ({"prompt_token_ids": case["prompt"], "greedy": case["greedy32"], "margin": [float(f"{m:.3g}") for m in case["margin32"]]} for case in cases)
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def make(folder, name, seed):
    model = make_model(name, seed)
    model.save_pretrained(folder)
    cases, logits = run_reference(read_model(folder))
    (folder / "golden.json").write_text(golden_text(cases))
    (folder / "rows.jsonl").write_text(rows_text(cases))
    save_file(logits, folder / "golden_logits.safetensors")
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters; smallest margin {min(case['min_margin'] for case in cases):.2g}")


# ---- Checks ----

def made_otherwise(folder, name, seed):
    """What of the stored model does not come of the table and the seed."""
    with tempfile.TemporaryDirectory() as scratch:
        again = pathlib.Path(scratch)
        make_model(name, seed).save_pretrained(again)
        for file in ("config.json", "generation_config.json"):
            if (again / file).read_bytes() != (folder / file).read_bytes():
                yield file
        weights, stored = load_file(again / "model.safetensors"), load_file(folder / "model.safetensors")
        for tensor in sorted(weights.keys() | stored.keys()):
            if tensor not in weights or tensor not in stored or not torch.equal(weights[tensor], stored[tensor]):
                yield tensor


def worst_error(logits, stored):
    return max(float(((logits[key] - stored[key]).norm(dim=1) / stored[key].norm(dim=1)).max()) for key in stored)


def wrong_tokens(cases, stored):
    """Up to the first token of a prompt that was chosen by less than an arithmetic's error."""
    for i, (case, golden) in enumerate(zip(cases, stored)):
        for j, (token, right, margin) in enumerate(zip(case["greedy32"], golden["greedy32"], golden["margin32"])):
            if token != right:
                if margin > CLOSE:
                    yield f"prompt {i}, token {j}: {token} instead of {right}"
                break


def check(folder, name, seed):
    faults = list(made_otherwise(folder, name, seed))
    golden = json.loads((folder / "golden.json").read_text())
    cases, logits = run_reference(read_model(folder))
    stored = load_file(folder / "golden_logits.safetensors")
    if [case["prompt"] for case in cases] != [case["prompt"] for case in golden["cases"]] or logits.keys() != stored.keys():
        return faults + ["prompts"]
    error = worst_error(logits, stored)
    margin = max(abs(a - b) for case, other in zip(cases, golden["cases"]) for a, b in zip(case["margin32"], other["margin32"]))
    faults += wrong_tokens(cases, golden["cases"])
    faults += [f"logits are {error:.1e} from the stored ones"] if error >= CLOSE else []
    faults += ["rows.jsonl is not that of golden.json"] if (folder / "rows.jsonl").read_text() != rows_text(golden["cases"]) else []
    print(f"{name}: logits {error:.1e}, margins {margin:.1e} from the stored ones{'' if faults else '; config and weights are those of the seed'}")
    return faults


@torch.no_grad()
def check_encoder(folder, texts):
    """The embeddings in expected.txt, a line a text: tokens, then the vector with 7 digits."""
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64, add_pooling_layer=False).eval()
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    normalize = any(module["type"].endswith(".Normalize") for module in json.loads((folder / "modules.json").read_text()))
    transformer = folder / "sentence_bert_config.json"
    most = json.loads((transformer if transformer.exists() else folder / "tokenizer_config.json").read_text())
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")).backend_tokenizer
    tokenizer.no_padding()
    tokenizer.enable_truncation(most.get("max_seq_length") or most["model_max_length"])
    worst = 0.0
    for text, line in zip(texts, (folder / "expected.txt").read_text().splitlines(), strict=True):
        ids = tokenizer.encode(text).ids
        hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        vector = hidden[0] if pooling["pooling_mode_cls_token"] else hidden.mean(0)
        vector = vector / vector.norm() if normalize else vector
        count, *values = line.split()
        if int(count) != len(ids):
            return [f"{text[:20]!r}: {len(ids)} tokens instead of {count}"]
        stored = torch.tensor([float(value) for value in values], dtype=torch.float64)
        worst = max(worst, float((vector - stored).norm() / stored.norm()))
    print(f"{folder.name}: embeddings {worst:.1e} from the stored ones")
    return [f"embeddings are {worst:.1e} from the stored ones"] if worst >= 1e-6 else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("make", "check", "check-encoders"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; all where none is named")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the weights ({SEED})")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)  # so small a model gains nothing by more
    faults = []
    if options.command == "check-encoders":
        texts = [json.loads(line)["text"] for line in (options.folder / "texts.jsonl").read_text().splitlines()]
        for folder in sorted(path.parent for path in options.folder.glob("*/expected.txt")):
            faults += [f"{folder.name}: {fault}" for fault in check_encoder(folder, texts)]
    else:
        for name in options.names or MODELS:
            if name not in MODELS:
                parser.error(f"{name}: not in the table; there are {', '.join(MODELS)}")
            folder = options.folder / name
            if options.command == "check":
                faults += [f"{name}: {fault}" for fault in check(folder, name, options.seed)]
            elif folder.exists():
                print(f"{name}: is there, left alone")
            else:
                make(folder, name, options.seed)
    print("".join(f"FAILED: {fault}\n" for fault in faults), end="")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
