#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tiny models of random weights for families whose forward pass is written here, in float64, from their papers and reports.

    pip install numpy
    python3 tools/make_family_models.py make tests/data/models          the models of MODELS that are not there yet
    python3 tools/make_family_models.py check tests/data/models/NAME…   golden logits of these folders against this forward pass

The folders are those of tools/make_golden_models.py. `check` also takes models that transformers has made, and so shows that the forward
pass here is transformers' own: it was held to transformers 5.17.0 for every row of MODELS.
"""
import json
import pathlib
import struct
import sys

import numpy as np

SEED = 11
LENGTHS = (1, 2, 7, 16, 33, 64)
ANSWER = 32
FIRST_ID = 3
SHAPE = dict(vocab_size=72, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
             max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0, torch_dtype="float32", tie_word_embeddings=False)


def rope(theta=10000.0, **more):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta} | more}


YARN = dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=32, beta_fast=32.0, beta_slow=1.0)

# The class of transformers, and what differs from SHAPE.
MODELS = {
    "smollm3": ("SmolLM3ForCausalLM", dict(num_hidden_layers=5, no_rope_layers=[1, 0, 1, 1, 0], rms_norm_eps=1e-6) | rope(2e6)),
    "glm4": ("Glm4ForCausalLM", dict(attention_bias=True, rms_norm_eps=1e-5, partial_rotary_factor=0.5) | rope(partial_rotary_factor=0.5)),
    "seed_oss": ("SeedOssForCausalLM", dict(attention_bias=True, attention_out_bias=True, rms_norm_eps=1e-6) | rope(1e7)),
    "ernie4_5": ("Ernie4_5ForCausalLM", dict(head_dim=12, use_bias=True, rms_norm_eps=1e-5, tie_word_embeddings=True) | rope(5e5)),
    "starcoder2": ("Starcoder2ForCausalLM", dict(use_bias=True, norm_epsilon=1e-5, sliding_window=16, hidden_act="gelu_pytorch_tanh",
                                                 tie_word_embeddings=True) | rope(1e5)),
    "cohere2": ("Cohere2ForCausalLM", dict(num_hidden_layers=5, layer_norm_eps=1e-5, sliding_window=16, sliding_window_pattern=4, logit_scale=0.7,
                                           tie_word_embeddings=True) | rope(5e4)),
    "olmo2": ("Olmo2ForCausalLM", dict(num_attention_heads=6, rms_norm_eps=1e-6) | rope(5e5)),
    "olmo3": ("Olmo3ForCausalLM", dict(num_hidden_layers=4, sliding_window=16, rms_norm_eps=1e-6, rope_theta=5e5, rope_scaling=YARN,
                                       layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"])),
    "ministral3": ("Ministral3ForCausalLM", dict(rms_norm_eps=1e-5) | rope(1e6, **YARN, mscale=1.0, mscale_all_dim=1.0, llama_4_scaling_beta=0.3)),
    "mistral3": ("Mistral3ForConditionalGeneration", dict(model_type="mistral", sliding_window=None, rms_norm_eps=1e-5) | rope(1e9)),
}
SEEDS = {"starcoder2": 12}  # where SEED leaves two tokens too close to each other
PREFIXES = {"mistral3": "language_model."}


# ---- Files ----

def read_tensors(path):
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            data = raw[8 + length + begin:8 + length + end]
            if entry["dtype"] == "BF16":
                values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                values = np.frombuffer(data, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
            out[name] = values.reshape(entry["shape"]).astype(np.float64)
    return out


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        raw = array.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


# ---- The forward pass ----

def rms(x, weight, epsilon):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def layer_norm(x, weight, bias, epsilon):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight + (0 if bias is None else bias)


def activate(name, x):
    if name == "gelu_pytorch_tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Model:
    def __init__(self, config, tensors):
        text = config.get("text_config", config)
        self.kind = config["architectures"][0].removesuffix("ForCausalLM")
        if self.kind == "Mistral3ForConditionalGeneration":
            self.kind = {"mistral": "Mistral", "ministral3": "Ministral3"}[text["model_type"]]
        self.c, self.t = text, tensors
        self.prefix = next(p for p in ("language_model.model.", "model.language_model.", "model.") if p + "embed_tokens.weight" in tensors or p == "model.")
        self.heads, self.kv = text["num_attention_heads"], text["num_key_value_heads"]
        self.dim = text.get("head_dim") or text["hidden_size"] // self.heads
        self.epsilon = text.get("rms_norm_eps") or text.get("norm_epsilon") or text.get("layer_norm_eps")

    def get(self, layer, name):
        return self.t.get(f"{self.prefix}layers.{layer}.{name}")

    def linear(self, layer, name, x):
        bias = self.get(layer, name + ".bias")
        return x @ self.get(layer, name + ".weight").T + (0 if bias is None else bias)

    def norm(self, x, layer, name):
        weight, bias = self.get(layer, name + ".weight"), self.get(layer, name + ".bias")
        return layer_norm(x, weight, bias, self.epsilon) if self.kind in ("Starcoder2", "Cohere2") else rms(x, weight, self.epsilon)

    def is_full(self, layer):
        if "layer_types" in self.c:
            return self.c["layer_types"][layer] == "full_attention"
        return not self.c.get("sliding_window") or ("sliding_window_pattern" in self.c and (layer + 1) % self.c["sliding_window_pattern"] == 0)

    def rope_parameters(self, layer):
        found = self.c.get("rope_parameters") or self.c.get("rope_scaling") or {}
        if "full_attention" in found:
            found = found["full_attention" if self.is_full(layer) else "sliding_attention"]
        elif self.kind == "Olmo3" and not self.is_full(layer):
            found = {}  # only layers of full attention see farther than they were trained
        return {"rope_theta": self.c.get("rope_theta"), "rope_type": "default"} | found

    def has_rope(self, layer):
        if self.kind == "SmolLM3":
            return self.c["no_rope_layers"][layer] == 1
        return self.kind != "Cohere2" or not self.is_full(layer)

    def rotate(self, x, layer):
        """x [T, heads, dim]."""
        if not self.has_rope(layer):
            return x
        facts = self.rope_parameters(layer)
        turned = int(self.dim * (facts.get("partial_rotary_factor") or self.c.get("partial_rotary_factor") or 1))
        frequency = facts["rope_theta"] ** (-np.arange(0, turned, 2) / turned)
        magnitude = 1.0
        if facts["rope_type"] == "yarn":
            def at(turns):
                return turned * np.log(facts["original_max_position_embeddings"] / (turns * 2 * np.pi)) / (2 * np.log(facts["rope_theta"]))
            low, high = max(np.floor(at(facts["beta_fast"])), 0), min(np.ceil(at(facts["beta_slow"])), turned - 1)
            ramp = np.clip((np.arange(turned // 2) - low) / max(high - low, 0.001), 0, 1)
            frequency = frequency / facts["factor"] * ramp + frequency * (1 - ramp)

            def mscale(by):
                return 0.1 * by * np.log(facts["factor"]) + 1
            by, whole = facts.get("mscale"), facts.get("mscale_all_dim")
            magnitude = mscale(by) / mscale(whole) if by and whole else mscale(1)
        angle = np.arange(len(x))[:, None] * frequency
        cos, sin = magnitude * np.cos(angle)[:, None, :], magnitude * np.sin(angle)[:, None, :]
        pairs = self.kind in ("Glm4", "Ernie4_5", "Cohere2")
        first, second = (x[..., 0:turned:2], x[..., 1:turned:2]) if pairs else (x[..., :turned // 2], x[..., turned // 2:turned])
        a, b = first * cos - second * sin, second * cos + first * sin
        out = x.copy()
        if pairs:
            out[..., 0:turned:2], out[..., 1:turned:2] = a, b
        else:
            out[..., :turned // 2], out[..., turned // 2:turned] = a, b
        return out

    def attention(self, x, layer):
        count = len(x)
        q, k, v = (self.linear(layer, f"self_attn.{n}_proj", x) for n in "qkv")
        if self.kind in ("Olmo2", "Olmo3"):
            q, k = (rms(a, self.get(layer, f"self_attn.{n}_norm.weight"), self.epsilon) for a, n in ((q, "q"), (k, "k")))
        q, k, v = q.reshape(count, self.heads, self.dim), k.reshape(count, self.kv, self.dim), v.reshape(count, self.kv, self.dim)
        q, k = self.rotate(q, layer), self.rotate(k, layer)
        if self.kind == "Ministral3":
            facts = self.rope_parameters(layer)
            passed = np.floor(np.arange(count) / facts["original_max_position_embeddings"])
            q = q * (1 + facts["llama_4_scaling_beta"] * np.log(1 + passed))[:, None, None]
        k, v = (np.repeat(a, self.heads // self.kv, axis=1) for a in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(self.dim)
        back = np.arange(count)[:, None] - np.arange(count)[None, :]
        seen = (back >= 0) & (self.is_full(layer) | (back < (self.c.get("sliding_window") or count)))
        weights = softmax(np.where(seen, scores, -np.inf))
        return self.linear(layer, "self_attn.o_proj", np.einsum("hqk,khd->qhd", weights, v).reshape(count, -1))

    def mlp(self, x, layer):
        name = self.c.get("hidden_act", "silu")
        if self.kind == "Starcoder2":
            return self.linear(layer, "mlp.c_proj", activate(name, self.linear(layer, "mlp.c_fc", x)))
        if self.kind == "Glm4":
            gate, up = np.split(self.linear(layer, "mlp.gate_up_proj", x), 2, axis=-1)
        else:
            gate, up = self.linear(layer, "mlp.gate_proj", x), self.linear(layer, "mlp.up_proj", x)
        return self.linear(layer, "mlp.down_proj", activate(name, gate) * up)

    def layer(self, x, layer):
        if self.kind in ("Olmo2", "Olmo3"):
            x = x + self.norm(self.attention(x, layer), layer, "post_attention_layernorm")
            return x + self.norm(self.mlp(x, layer), layer, "post_feedforward_layernorm")
        normed = self.norm(x, layer, "input_layernorm")
        if self.kind == "Cohere2":
            return x + self.attention(normed, layer) + self.mlp(normed, layer)
        if self.kind == "Glm4":
            x = x + self.norm(self.attention(normed, layer), layer, "post_self_attn_layernorm")
            return x + self.norm(self.mlp(self.norm(x, layer, "post_attention_layernorm"), layer), layer, "post_mlp_layernorm")
        x = x + self.attention(normed, layer)
        return x + self.mlp(self.norm(x, layer, "post_attention_layernorm"), layer)

    def logits(self, ids):
        x = self.t[self.prefix + "embed_tokens.weight"][ids]
        for layer in range(self.c["num_hidden_layers"]):
            x = self.layer(x, layer)
        weight, bias = self.t[self.prefix + "norm.weight"], self.t.get(self.prefix + "norm.bias")
        x = layer_norm(x, weight, bias, self.epsilon) if self.kind in ("Starcoder2", "Cohere2") else rms(x, weight, self.epsilon)
        head = next((self.t[n] for n in ("lm_head.weight", "language_model.lm_head.weight") if n in self.t), self.t[self.prefix + "embed_tokens.weight"])
        return x @ head.T * self.c.get("logit_scale", 1)


# ---- Making ----

def shapes(kind, c):
    """Names behind the prefix, and shapes."""
    h, q, kv, wide = c["hidden_size"], c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"], c["intermediate_size"]
    out = {"model.embed_tokens.weight": (c["vocab_size"], h), "model.norm.weight": (h,)}
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (c["vocab_size"], h)
    if kind == "starcoder2":
        out["model.norm.bias"] = (h,)
    for i in range(c["num_hidden_layers"]):
        layer = {"self_attn.q_proj": (q, h), "self_attn.k_proj": (kv, h), "self_attn.v_proj": (kv, h), "self_attn.o_proj": (h, q)}
        if kind == "starcoder2":
            layer |= {"mlp.c_fc": (wide, h), "mlp.c_proj": (h, wide)}
        elif kind == "glm4":
            layer |= {"mlp.gate_up_proj": (2 * wide, h), "mlp.down_proj": (h, wide)}
        else:
            layer |= {"mlp.gate_proj": (wide, h), "mlp.up_proj": (wide, h), "mlp.down_proj": (h, wide)}
        if kind in ("olmo2", "olmo3"):
            out |= {f"model.layers.{i}.self_attn.q_norm.weight": (q,), f"model.layers.{i}.self_attn.k_norm.weight": (kv,)}
        norms = ["post_feedforward_layernorm" if kind.startswith("olmo") else "input_layernorm"] + ([] if kind == "cohere2" else ["post_attention_layernorm"])
        norms += ["post_self_attn_layernorm", "post_mlp_layernorm"] if kind == "glm4" else []
        for name, shape in layer.items():
            out[f"model.layers.{i}.{name}.weight"] = shape
            is_qkv = name[-6:-5] in "qkv" and "self_attn" in name and "o_proj" not in name
            if c.get("use_bias") or (c.get("attention_bias") and is_qkv) or (c.get("attention_out_bias") and name == "self_attn.o_proj"):
                out[f"model.layers.{i}.{name}.bias"] = shape[:1]
        for name in norms:
            out[f"model.layers.{i}.{name}.weight"] = (h,)
            if kind == "starcoder2":
                out[f"model.layers.{i}.{name}.bias"] = (h,)
    return out


def draw(name, shape, random):
    if "norm" in name:
        return (0 if name.endswith("bias") else 1) + 0.1 * random.standard_normal(shape)
    if name.endswith("bias"):
        return 0.1 * random.standard_normal(shape)
    return random.standard_normal(shape) * (0.35 if "embed" in name else 1.6 / shape[-1] ** 0.5)


def make(folder, name, models=MODELS, shapes=shapes, model_class=Model):
    architecture, facts = models[name]
    config = {"architectures": [architecture], "model_type": name} | SHAPE | facts
    random = np.random.default_rng(SEEDS.get(name, SEED))
    prefix = PREFIXES.get(name, "")
    tensors = {prefix + n: draw(n, shape, random).astype(np.float32) for n, shape in shapes(name, config).items()}
    if prefix:
        config = {"architectures": [architecture], "model_type": name, "text_config": config, "vision_config": {"hidden_size": 7}}
        tensors["vision_tower.patch_conv.weight"] = np.full((1, 2, 3, 4), np.nan)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_tensors(folder / "model.safetensors", tensors)
    model = model_class(config, {n: t.astype(np.float64) for n, t in tensors.items()})
    draws = np.random.default_rng(SEED)
    cases, logits = [], {}
    for i, length in enumerate(LENGTHS):
        ids = [int(token) for token in draws.integers(FIRST_ID, SHAPE["vocab_size"], length)]
        logits[f"logits_{i}"] = model.logits(ids)
        prompt, margins = list(ids), []
        for _ in range(ANSWER):
            row = model.logits(ids)[-1]
            first, second = np.argsort(-row)[:2]
            margins.append(float(row[first] - row[second]))
            ids.append(int(first))
        cases.append({"prompt": prompt, "greedy32": ids[length:], "margin32": margins, "min_margin": min(margins)})
    note = f"by tools/{pathlib.Path(sys.argv[0]).name} in float64; greedy32: argmax continuation with no stop token; logits_i: [len(prompt), vocab] float32"
    (folder / "golden.json").write_text(json.dumps({"note": note, "cases": cases}))
    rows = ({"prompt_token_ids": c["prompt"], "greedy": c["greedy32"], "margin": [float(f"{m:.3g}") for m in c["margin32"]]} for c in cases)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    write_tensors(folder / "golden_logits.safetensors", logits)
    print(f"{name}: smallest margin {min(c['min_margin'] for c in cases):.2g}, {sum(f.stat().st_size for f in folder.iterdir()) // 1000} KB")


def check(folder, model_class=Model):
    model = model_class(json.loads((folder / "config.json").read_text()), read_tensors(folder / "model.safetensors"))
    golden = read_tensors(folder / "golden_logits.safetensors")
    cases = json.loads((folder / "golden.json").read_text())["cases"]
    worst = max(np.abs(model.logits(case["prompt"]) - golden[f"logits_{i}"]).max() for i, case in enumerate(cases))
    print(f"{folder.name}: largest difference {worst:.2g}")
    return worst < 1e-4


def main(models=MODELS, shapes=shapes, model_class=Model):
    if sys.argv[1] == "make":
        for name in models:
            folder = pathlib.Path(sys.argv[2]) / name
            if not folder.exists():
                make(folder, name, models, shapes, model_class)
    elif not all([check(pathlib.Path(name), model_class) for name in sys.argv[2:]]):
        sys.exit("other logits")


if __name__ == "__main__":
    main()
