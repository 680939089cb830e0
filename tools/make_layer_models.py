#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tiny models of random weights for families with layers that are no attention over keys and values. Their forward pass is written
here, in float64, position by position: the recurrent form of each.

    pip install numpy
    python3 tools/make_layer_models.py make tests/data/models          the models of MODELS that are not there yet
    python3 tools/make_layer_models.py make-fp8 tests/data/models_fp8  those of FP8_MODELS
    python3 tools/make_layer_models.py check tests/data/models/NAME…   golden logits of these folders against this forward pass

The folders are those of tools/make_golden_models.py. `check` also takes models that transformers has made: this forward pass was held to
transformers 5.17.0 for every row of MODELS.
"""
import numpy as np

import make_family_models as family
from make_family_models import activate, rms, rope, softmax

# The class of transformers, and what differs from SHAPE of make_family_models.py.
MODELS = {
    "lfm2": ("Lfm2ForCausalLM", dict(num_hidden_layers=4, layer_types=["conv", "full_attention", "conv", "conv"], conv_L_cache=3, conv_bias=True,
                                     block_auto_adjust_ff_dim=False, norm_eps=1e-5, tie_word_embeddings=True) | rope(1e6)),
    "qwen3_5": ("Qwen3_5ForCausalLM", dict(layer_types=["linear_attention", "linear_attention", "full_attention"], linear_conv_kernel_dim=4,
                                           linear_num_key_heads=3, linear_num_value_heads=6, linear_key_head_dim=6, linear_value_head_dim=10,
                                           rms_norm_eps=1e-6, partial_rotary_factor=0.5) | rope(1e7, partial_rotary_factor=0.5)),
}
GRANITE = dict(num_hidden_layers=3, layer_types=["mamba", "attention", "mamba"], shared_intermediate_size=40, num_local_experts=0, num_experts_per_tok=0,
               mamba_n_heads=6, mamba_n_groups=2, mamba_d_state=9, mamba_d_head="auto", mamba_d_conv=4, mamba_expand=3, mamba_conv_bias=True,
               mamba_proj_bias=True, embedding_multiplier=3.0, residual_multiplier=0.6, attention_multiplier=0.4, logits_scaling=1.25,
               rms_norm_eps=1e-6, position_embedding_type="rope", tie_word_embeddings=True)
MODELS["qwen3_next"] = ("Qwen3NextForCausalLM", MODELS["qwen3_5"][1] | dict(
    linear_num_key_heads=2, linear_num_value_heads=4, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=12,
    shared_expert_intermediate_size=20, norm_topk_prob=True, mlp_only_layers=[1], decoder_sparse_step=1))
MODELS["granite_hybrid"] = ("GraniteMoeHybridForCausalLM", GRANITE | rope())
DEEPSEEK = dict(num_key_value_heads=4, head_dim=6, kv_lora_rank=20, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=12, first_k_dense_replace=1,
                n_routed_experts=6, num_experts_per_tok=2, n_group=3, topk_group=2, moe_intermediate_size=12, rms_norm_eps=1e-6)
MODELS["deepseek_v2"] = ("DeepseekV2ForCausalLM", DEEPSEEK | dict(
    q_lora_rank=None, n_shared_experts=2, topk_method="group_limited_greedy", scoring_func="softmax", norm_topk_prob=False, routed_scaling_factor=1.5)
    | rope(**family.YARN, mscale=0.707, mscale_all_dim=0.707))
MODELS["deepseek_v3"] = ("DeepseekV3ForCausalLM", DEEPSEEK | dict(
    q_lora_rank=18, n_shared_experts=1, topk_method="noaux_tc", scoring_func="sigmoid", norm_topk_prob=True, routed_scaling_factor=2.5)
    | rope(**family.YARN, mscale=1.0, mscale_all_dim=1.0))
MODELS["falcon_h1"] = ("FalconH1ForCausalLM", dict(
    mamba_n_heads=6, mamba_n_groups=2, mamba_d_state=9, mamba_d_head=5, mamba_d_ssm=30, mamba_d_conv=4, mamba_conv_bias=True, mamba_rms_norm=True,
    mamba_norm_before_gate=True, rms_norm_eps=1e-5, embedding_multiplier=3.0, lm_head_multiplier=0.5, attention_in_multiplier=1.1,
    attention_out_multiplier=0.9, key_multiplier=0.7, ssm_in_multiplier=1.2, ssm_out_multiplier=0.7, ssm_multipliers=[0.7, 0.9, 0.8, 1.1, 0.6],
    mlp_multipliers=[0.8, 0.6]) | rope(1e5))
MODELS["nemotron_h"] = ("NemotronHForCausalLM", dict(
    num_hidden_layers=6, hybrid_override_pattern="ME*-ME", mamba_num_heads=6, mamba_head_dim=5, n_groups=2, ssm_state_size=9, conv_kernel=4,
    use_conv_bias=True, use_bias=True, mlp_hidden_act="relu2", layer_norm_epsilon=1e-5, n_routed_experts=5, num_experts_per_tok=2,
    moe_intermediate_size=12, moe_shared_expert_intermediate_size=20, n_group=1, topk_group=1, norm_topk_prob=True, routed_scaling_factor=2.5))
family.SEEDS["qwen3_5"] = 29  # where SEED leaves states that magnify an arithmetic's error tenfold


def convolve(x, weight, bias):
    """x [T, channels], weight [channels, 1, taps]: each channel over its latest positions."""
    taps = weight.shape[2]
    padded = np.concatenate([np.zeros((taps - 1, x.shape[1])), x])
    return sum(padded[j:j + len(x)] * weight[:, 0, j] for j in range(taps)) + (0 if bias is None else bias)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


class Model(family.Model):
    def __init__(self, config, tensors):
        super().__init__(config, tensors)
        self.prefix = "backbone." if "backbone.embeddings.weight" in tensors else self.prefix
        self.kind = config["architectures"][0].removesuffix("ForCausalLM").removesuffix("ForConditionalGeneration")
        self.epsilon = next(self.c[key] for key in ("rms_norm_eps", "norm_eps", "layer_norm_epsilon") if key in self.c)

    def scores(self, q, k, v, scale):
        """q, k, v [T, heads, …]: causal attention, [T, heads · values]."""
        count = len(q)
        k, v = (np.repeat(a, q.shape[1] // a.shape[1], axis=1) for a in (k, v))
        seen = np.arange(count)[:, None] >= np.arange(count)[None, :]
        weights = softmax(np.where(seen, np.einsum("qhd,khd->hqk", q, k) * scale, -np.inf))
        return np.einsum("hqk,khd->qhd", weights, v).reshape(count, -1)

    # ---- LFM2 ----

    def lfm2_attention(self, x, layer):
        q, k, v = (self.linear(layer, f"self_attn.{n}_proj", x).reshape(len(x), -1, self.dim) for n in "qkv")
        q, k = (self.rotate(rms(a, self.get(layer, f"self_attn.{n}_layernorm.weight"), self.epsilon), layer) for a, n in ((q, "q"), (k, "k")))
        return self.linear(layer, "self_attn.out_proj", self.scores(q, k, v, self.dim ** -0.5))

    def lfm2_convolution(self, x, layer):
        b, c, x = np.split(self.linear(layer, "conv.in_proj", x), 3, axis=-1)
        x = c * convolve(b * x, self.get(layer, "conv.conv.weight"), self.get(layer, "conv.conv.bias"))
        return self.linear(layer, "conv.out_proj", x)

    def lfm2_layer(self, x, layer):
        mixer = self.lfm2_attention if self.is_full(layer) else self.lfm2_convolution
        x = x + mixer(self.norm(x, layer, "operator_norm"), layer)
        normed = self.norm(x, layer, "ffn_norm")
        w1, w3 = (self.linear(layer, f"feed_forward.{n}", normed) for n in ("w1", "w3"))
        return x + self.linear(layer, "feed_forward.w2", activate("silu", w1) * w3)

    # ---- Qwen3-Next, Qwen 3.5 ----

    def qwen_norm(self, x, weight):
        return rms(x, 1 + weight, self.epsilon)

    def qwen_attention(self, x, layer):
        q, gates = np.split(self.linear(layer, "self_attn.q_proj", x).reshape(len(x), self.heads, 2 * self.dim), 2, axis=-1)
        k, v = (self.linear(layer, f"self_attn.{n}_proj", x).reshape(len(x), self.kv, self.dim) for n in "kv")
        q, k = (self.rotate(self.qwen_norm(a, self.get(layer, f"self_attn.{n}_norm.weight")), layer) for a, n in ((q, "q"), (k, "k")))
        mixed = self.scores(q, k, v, self.dim ** -0.5)
        return self.linear(layer, "self_attn.o_proj", mixed * sigmoid(gates.reshape(len(x), -1)))

    def delta_inputs(self, x, layer):
        if self.kind != "Qwen3Next":
            return (self.linear(layer, f"linear_attn.in_proj_{n}", x) for n in ("qkv", "z", "b", "a"))
        c, count = self.c, len(x)
        keys, key = c["linear_num_key_heads"], c["linear_key_head_dim"]
        heads = c["linear_num_value_heads"] // keys
        value = heads * c["linear_value_head_dim"]
        all_of = self.linear(layer, "linear_attn.in_proj_qkvz", x).reshape(count, keys, -1)  # key head by key head
        q, k, v, z = (a.reshape(count, -1) for a in np.split(all_of, (key, 2 * key, 2 * key + value), axis=-1))
        b, a = (a.reshape(count, -1) for a in np.split(self.linear(layer, "linear_attn.in_proj_ba", x).reshape(count, keys, -1), 2, axis=-1))
        return np.concatenate([q, k, v], axis=-1), z, b, a

    def delta(self, x, layer):
        c, count = self.c, len(x)
        keys, values = c["linear_num_key_heads"], c["linear_num_value_heads"]
        key, value = c["linear_key_head_dim"], c["linear_value_head_dim"]
        qkv, z, b, a = self.delta_inputs(x, layer)
        qkv = activate("silu", convolve(qkv, self.get(layer, "linear_attn.conv1d.weight"), None))
        q, k, v = np.split(qkv, (keys * key, 2 * keys * key), axis=-1)
        q, k = (a.reshape(count, keys, key) / np.sqrt((a.reshape(count, keys, key) ** 2).sum(-1, keepdims=True) + 1e-6) for a in (q, k))
        q, k = (np.repeat(a, values // keys, axis=1) for a in (q / key ** 0.5, k))
        v, beta = v.reshape(count, values, value), sigmoid(b)
        decay = np.exp(-np.exp(self.get(layer, "linear_attn.A_log")) * softplus(a + self.get(layer, "linear_attn.dt_bias")))
        state, out = np.zeros((values, key, value)), np.zeros((count, values, value))
        for t in range(count):
            state *= decay[t][:, None, None]
            change = (v[t] - np.einsum("hk,hkv->hv", k[t], state)) * beta[t][:, None]
            state += k[t][:, :, None] * change[:, None, :]
            out[t] = np.einsum("hk,hkv->hv", q[t], state)
        out = rms(out, self.get(layer, "linear_attn.norm.weight"), self.epsilon) * activate("silu", z.reshape(out.shape))
        return self.linear(layer, "linear_attn.out_proj", out.reshape(count, -1))

    def qwen_layer(self, x, layer):
        mixer = self.qwen_attention if self.is_full(layer) else self.delta
        x = x + mixer(self.qwen_norm(x, self.get(layer, "input_layernorm.weight")), layer)
        normed = self.qwen_norm(x, self.get(layer, "post_attention_layernorm.weight"))
        return x + (self.mlp(normed, layer) if self.get(layer, "mlp.gate.weight") is None else self.qwen_mixture(normed, layer))

    def qwen_mixture(self, x, layer):
        out = sigmoid(self.linear(layer, "mlp.shared_expert_gate", x)) * self.gated_mlp(x, layer, "mlp.shared_expert.")
        chances = softmax(self.linear(layer, "mlp.gate", x))
        for row, chance in enumerate(chances):
            chosen = np.argsort(-chance)[:self.c["num_experts_per_tok"]]
            for expert in chosen:
                out[row] += chance[expert] / chance[chosen].sum() * self.gated_mlp(x[row], layer, f"mlp.experts.{expert}.")
        return out

    def gated_mlp(self, x, layer, prefix):
        gate, up = (self.linear(layer, f"{prefix}{n}_proj", x) for n in ("gate", "up"))
        return self.linear(layer, prefix + "down_proj", activate("silu", gate) * up)

    # ---- Granite 4 ----

    def granite_attention(self, x, layer):
        q, k, v = (self.linear(layer, f"self_attn.{n}_proj", x).reshape(len(x), -1, self.dim) for n in "qkv")
        if self.c.get("position_embedding_type") == "rope":
            q, k = self.rotate(q, layer), self.rotate(k, layer)
        return self.linear(layer, "self_attn.o_proj", self.scores(q, k, v, self.c["attention_multiplier"]))

    def space(self, x, layer):
        c, count = self.c, len(x)
        heads, groups, size = c["mamba_n_heads"], c["mamba_n_groups"], c["mamba_d_state"]
        inner = c["mamba_expand"] * c["hidden_size"]
        z, xbc, dt = np.split(self.linear(layer, "mamba.in_proj", x), (inner, 2 * inner + 2 * groups * size), axis=-1)
        xbc = activate("silu", convolve(xbc, self.get(layer, "mamba.conv1d.weight"), self.get(layer, "mamba.conv1d.bias")))
        x, b, out = np.split(xbc, (inner, inner + groups * size), axis=-1)
        x = x.reshape(count, heads, -1)
        b, out = (np.repeat(a.reshape(count, groups, size), heads // groups, axis=1) for a in (b, out))
        step = softplus(dt + self.get(layer, "mamba.dt_bias"))
        decay = np.exp(-np.exp(self.get(layer, "mamba.A_log")) * step)
        state, y = np.zeros((heads, size, x.shape[-1])), np.zeros(x.shape)
        for t in range(count):
            state = state * decay[t][:, None, None] + b[t][:, :, None] * (step[t][:, None] * x[t])[:, None, :]
            y[t] = np.einsum("hn,hnd->hd", out[t], state) + self.get(layer, "mamba.D")[:, None] * x[t]
        y = rms(y.reshape(count, -1) * activate("silu", z), self.get(layer, "mamba.norm.weight"), self.epsilon)
        return self.linear(layer, "mamba.out_proj", y)

    def granite_layer(self, x, layer):
        c, is_full = self.c, self.c["layer_types"][layer] in ("attention", "full_attention")
        mixer = self.granite_attention if is_full else self.space
        x = x + c["residual_multiplier"] * mixer(self.norm(x, layer, "input_layernorm"), layer)
        gate, up = np.split(self.linear(layer, "shared_mlp.input_linear", self.norm(x, layer, "post_attention_layernorm")), 2, axis=-1)
        return x + c["residual_multiplier"] * self.linear(layer, "shared_mlp.output_linear", activate("silu", gate) * up)

    # ---- DeepSeek V2, V3 ----

    def rotate_pairs(self, x, layer):
        """x [T, heads, dim]: values 2i and 2i + 1 against each other, left as halves."""
        self.dim = x.shape[-1]
        return self.rotate(np.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1), layer)

    def latent_attention(self, x, layer):
        c, count = self.c, len(x)
        key, turned, latent = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["kv_lora_rank"]
        if c.get("q_lora_rank"):
            compressed = rms(self.linear(layer, "self_attn.q_a_proj", x), self.get(layer, "self_attn.q_a_layernorm.weight"), 1e-6)
            q = self.linear(layer, "self_attn.q_b_proj", compressed)
        else:
            q = self.linear(layer, "self_attn.q_proj", x)
        q = q.reshape(count, self.heads, key + turned)
        kept = self.linear(layer, "self_attn.kv_a_proj_with_mqa", x)
        whole = rms(kept[:, :latent], self.get(layer, "self_attn.kv_a_layernorm.weight"), 1e-6)
        k, v = np.split(self.linear(layer, "self_attn.kv_b_proj", whole).reshape(count, self.heads, -1), [key], axis=-1)
        q = np.concatenate([q[..., :key], self.rotate_pairs(q[..., key:], layer)], axis=-1)
        shared = np.repeat(self.rotate_pairs(kept[:, None, latent:], layer), self.heads, axis=1)
        facts = self.rope_parameters(layer)
        mscale = 0.1 * (facts.get("mscale_all_dim") or 0) * np.log(facts.get("factor", 1)) + 1
        return self.linear(layer, "self_attn.o_proj", self.scores(q, np.concatenate([k, shared], axis=-1), v, (key + turned) ** -0.5 * mscale ** 2))

    def deepseek_mixture(self, x, layer):
        c, v3 = self.c, self.kind == "DeepseekV3"
        logits = self.linear(layer, "mlp.gate", x)
        chances = sigmoid(logits) if v3 else softmax(logits)
        order = chances + (self.get(layer, "mlp.gate.e_score_correction_bias") if v3 else 0)
        groups = c.get("n_group") if c.get("topk_method") != "greedy" else None
        out = self.gated_mlp(x, layer, "mlp.shared_experts.")
        for row, (chance, rank) in enumerate(zip(chances, order)):
            if groups:
                each = np.sort(rank.reshape(groups, -1), axis=-1)
                best = np.argsort(-(each[:, -2:].sum(-1) if v3 else each[:, -1]))[:c["topk_group"]]
                rank = np.where(np.isin(np.arange(len(rank)) // each.shape[1], best), rank, -np.inf)
            chosen = np.argsort(-rank)[:c["num_experts_per_tok"]]
            total = chance[chosen].sum() if c["norm_topk_prob"] else 1
            for expert in chosen:
                out[row] += chance[expert] / total * c["routed_scaling_factor"] * self.gated_mlp(x[row], layer, f"mlp.experts.{expert}.")
        return out

    def deepseek_layer(self, x, layer):
        x = x + self.latent_attention(self.norm(x, layer, "input_layernorm"), layer)
        normed = self.norm(x, layer, "post_attention_layernorm")
        return x + (self.mlp(normed, layer) if layer < self.c["first_k_dense_replace"] else self.deepseek_mixture(normed, layer))

    # ---- Falcon-H1, Nemotron-H ----

    def scan(self, x, layer, prefix, heads, groups, scales):
        """The state space of the rows x: y [T, heads · values], z."""
        count, size = len(x), self.c.get("mamba_d_state") or self.c["ssm_state_size"]
        inner = self.get(layer, prefix + "out_proj.weight").shape[1]
        z, v, b, out, dt = np.split(self.linear(layer, prefix + "in_proj", x), np.cumsum((inner, inner, groups * size, groups * size)), axis=-1)
        z, v, b, out, dt = (a * scale for a, scale in zip((z, v, b, out, dt), scales))
        mixed = convolve(np.concatenate([v, b, out], axis=-1), self.get(layer, prefix + "conv1d.weight"), self.get(layer, prefix + "conv1d.bias"))
        v, b, out = np.split(activate("silu", mixed), (inner, inner + groups * size), axis=-1)
        v = v.reshape(count, heads, -1)
        b, out = (np.repeat(a.reshape(count, groups, size), heads // groups, axis=1) for a in (b, out))
        step = softplus(dt + self.get(layer, prefix + "dt_bias"))
        decay = np.exp(-np.exp(self.get(layer, prefix + "A_log")) * step)
        state, y = np.zeros((heads, size, v.shape[-1])), np.zeros(v.shape)
        for t in range(count):
            state = state * decay[t][:, None, None] + b[t][:, :, None] * (step[t][:, None] * v[t])[:, None, :]
            y[t] = np.einsum("hn,hnd->hd", out[t], state) + self.get(layer, prefix + "D")[:, None] * v[t]
        return y.reshape(count, -1), z

    def group_norm(self, x, layer, prefix, groups):
        parts = x.reshape(len(x), groups, -1)
        return rms(parts, 1, self.epsilon).reshape(x.shape) * self.get(layer, prefix + "norm.weight")

    def falcon_layer(self, x, layer):
        c, normed = self.c, self.norm(x, layer, "input_layernorm")
        groups = c["mamba_n_groups"]
        y, z = self.scan(c["ssm_in_multiplier"] * normed, layer, "mamba.", c["mamba_n_heads"], groups, c["ssm_multipliers"])
        if not c["mamba_rms_norm"]:
            y = y * activate("silu", z)
        elif c["mamba_norm_before_gate"]:
            y = self.group_norm(y, layer, "mamba.", groups) * activate("silu", z)
        else:
            y = self.group_norm(y * activate("silu", z), layer, "mamba.", groups)
        q, k, v = (self.linear(layer, f"self_attn.{n}_proj", c["attention_in_multiplier"] * normed).reshape(len(x), -1, self.dim) for n in "qkv")
        q, k = self.rotate(q, layer), self.rotate(k * c["key_multiplier"], layer)
        attended = self.linear(layer, "self_attn.o_proj", self.scores(q, k, v, self.dim ** -0.5))
        x = x + c["attention_out_multiplier"] * attended + c["ssm_out_multiplier"] * self.linear(layer, "mamba.out_proj", y)
        normed = self.norm(x, layer, "pre_ff_layernorm")
        gate, up = (self.linear(layer, f"feed_forward.{n}_proj", normed) for n in ("gate", "up"))
        gate = activate("silu", c["mlp_multipliers"][0] * gate)
        return x + c["mlp_multipliers"][1] * self.linear(layer, "feed_forward.down_proj", gate * up)

    def squared_mlp(self, x, layer, prefix):
        return self.linear(layer, prefix + "down_proj", np.maximum(self.linear(layer, prefix + "up_proj", x), 0) ** 2)

    def nemotron_mixture(self, x, layer):
        out, chances = self.squared_mlp(x, layer, "mixer.shared_experts."), sigmoid(self.linear(layer, "mixer.gate", x))
        for row, chance in enumerate(chances):
            chosen = np.argsort(-(chance + self.get(layer, "mixer.gate.e_score_correction_bias")))[:self.c["num_experts_per_tok"]]
            for expert in chosen:
                weight = chance[expert] / chance[chosen].sum() * self.c["routed_scaling_factor"]
                out[row] += weight * self.squared_mlp(x[row], layer, f"mixer.experts.{expert}.")
        return out

    def nemotron_layer(self, x, layer):
        c, normed = self.c, self.norm(x, layer, "norm")
        kind = c["hybrid_override_pattern"][layer] if "hybrid_override_pattern" in c else {
            "linear_attention": "M", "full_attention": "*", "mlp": "-", "moe": "E"}[c["layers_block_type"][layer]]
        if kind == "M":
            y, z = self.scan(normed, layer, "mixer.", c["mamba_num_heads"], c["n_groups"], (1, 1, 1, 1, 1))
            return x + self.linear(layer, "mixer.out_proj", self.group_norm(y * activate("silu", z), layer, "mixer.", c["n_groups"]))
        if kind == "*":
            q, k, v = (self.linear(layer, f"mixer.{n}_proj", normed).reshape(len(x), -1, self.dim) for n in "qkv")
            return x + self.linear(layer, "mixer.o_proj", self.scores(q, k, v, self.dim ** -0.5))
        return x + (self.squared_mlp(normed, layer, "mixer.") if kind == "-" else self.nemotron_mixture(normed, layer))

    # ---- All ----

    def layer(self, x, layer):
        if self.kind in ("FalconH1", "NemotronH"):
            return (self.falcon_layer if self.kind == "FalconH1" else self.nemotron_layer)(x, layer)
        if self.kind.startswith("Deepseek"):
            return self.deepseek_layer(x, layer)
        return {"Lfm2": self.lfm2_layer, "Qwen3_5": self.qwen_layer, "Qwen3_5Moe": self.qwen_layer, "Qwen3Next": self.qwen_layer, "GraniteMoeHybrid": self.granite_layer}[self.kind](x, layer)

    def logits(self, ids):
        embedding = next(self.t[self.prefix + n] for n in ("embed_tokens.weight", "embeddings.weight") if self.prefix + n in self.t)
        x = embedding[ids] * self.c.get("embedding_multiplier", 1)
        for layer in range(self.c.get("num_hidden_layers") or len(self.c["layers_block_type"])):
            x = self.layer(x, layer)
        final = next(self.t[self.prefix + n] for n in ("embedding_norm.weight", "norm.weight", "final_layernorm.weight", "norm_f.weight") if self.prefix + n in self.t)
        head = self.t.get("lm_head.weight", embedding)
        return rms(x, final + self.kind.startswith("Qwen3"), self.epsilon) @ head.T / self.c.get("logits_scaling", 1) * self.c.get("lm_head_multiplier", 1)


# ---- Shapes ----

def lfm2_shapes(c, i):
    h, dim, wide = c["hidden_size"], c["head_dim"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    out = {"operator_norm.weight": (h,), "ffn_norm.weight": (h,), "feed_forward.w1.weight": (wide, h), "feed_forward.w3.weight": (wide, h),
           "feed_forward.w2.weight": (h, wide)}
    if c["layer_types"][i] == "full_attention":
        return out | {"self_attn.q_proj.weight": (q, h), "self_attn.k_proj.weight": (kv, h), "self_attn.v_proj.weight": (kv, h),
                      "self_attn.out_proj.weight": (h, q), "self_attn.q_layernorm.weight": (dim,), "self_attn.k_layernorm.weight": (dim,)}
    return out | {"conv.in_proj.weight": (3 * h, h), "conv.in_proj.bias": (3 * h,), "conv.conv.weight": (h, 1, c["conv_L_cache"]),
                  "conv.conv.bias": (h,), "conv.out_proj.weight": (h, h), "conv.out_proj.bias": (h,)}


def qwen3_5_shapes(c, i):
    h, dim, wide = c["hidden_size"], c["head_dim"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    out = {"input_layernorm.weight": (h,), "post_attention_layernorm.weight": (h,), "mlp.gate_proj.weight": (wide, h), "mlp.up_proj.weight": (wide, h),
           "mlp.down_proj.weight": (h, wide)}
    if c["layer_types"][i] == "full_attention":
        return out | {"self_attn.q_proj.weight": (2 * q, h), "self_attn.k_proj.weight": (kv, h), "self_attn.v_proj.weight": (kv, h),
                      "self_attn.o_proj.weight": (h, q), "self_attn.q_norm.weight": (dim,), "self_attn.k_norm.weight": (dim,)}
    keys, values = c["linear_num_key_heads"], c["linear_num_value_heads"]
    key, value = c["linear_key_head_dim"], c["linear_value_head_dim"]
    channels = 2 * keys * key + values * value
    return out | {"linear_attn.in_proj_qkv.weight": (channels, h), "linear_attn.in_proj_z.weight": (values * value, h),
                  "linear_attn.in_proj_b.weight": (values, h), "linear_attn.in_proj_a.weight": (values, h),
                  "linear_attn.conv1d.weight": (channels, 1, c["linear_conv_kernel_dim"]), "linear_attn.A_log": (values,),
                  "linear_attn.dt_bias": (values,), "linear_attn.norm.weight": (value,), "linear_attn.out_proj.weight": (h, values * value)}


def qwen3_next_shapes(c, i):
    out, h, heads = qwen3_5_shapes(c, i), c["hidden_size"], 2 * c["linear_num_value_heads"]
    wide = sum(out.pop(f"linear_attn.in_proj_{n}.weight", (0,))[0] for n in ("qkv", "z", "b", "a"))
    if wide > 0:
        out |= {"linear_attn.in_proj_qkvz.weight": (wide - heads, h), "linear_attn.in_proj_ba.weight": (heads, h)}
    if i in c["mlp_only_layers"]:
        return out
    for n in ("gate", "up", "down"):
        del out[f"mlp.{n}_proj.weight"]
    experts = {f"experts.{e}": c["moe_intermediate_size"] for e in range(c["num_experts"])} | {"shared_expert": c["shared_expert_intermediate_size"]}
    for name, width in experts.items():
        out |= {f"mlp.{name}.gate_proj.weight": (width, h), f"mlp.{name}.up_proj.weight": (width, h), f"mlp.{name}.down_proj.weight": (h, width)}
    return out | {"mlp.gate.weight": (c["num_experts"], h), "mlp.shared_expert_gate.weight": (1, h)}


def granite_hybrid_shapes(c, i):
    h, dim, wide = c["hidden_size"], c["head_dim"], c["shared_intermediate_size"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    out = {"input_layernorm.weight": (h,), "post_attention_layernorm.weight": (h,), "shared_mlp.input_linear.weight": (2 * wide, h),
           "shared_mlp.output_linear.weight": (h, wide)}
    if c["layer_types"][i] == "attention":
        return out | {f"self_attn.{n}_proj.weight": (rows, h) for n, rows in (("q", q), ("k", kv), ("v", kv))} | {"self_attn.o_proj.weight": (h, q)}
    heads, inner = c["mamba_n_heads"], c["mamba_expand"] * h
    channels = inner + 2 * c["mamba_n_groups"] * c["mamba_d_state"]
    return out | {"mamba.in_proj.weight": (inner + channels + heads, h), "mamba.in_proj.bias": (inner + channels + heads,),
                  "mamba.conv1d.weight": (channels, 1, c["mamba_d_conv"]), "mamba.conv1d.bias": (channels,), "mamba.A_log": (heads,),
                  "mamba.dt_bias": (heads,), "mamba.D": (heads,), "mamba.norm.weight": (inner,), "mamba.out_proj.weight": (h, inner),
                  "mamba.out_proj.bias": (h,)}


def deepseek_shapes(c, i):
    h, heads, wide = c["hidden_size"], c["num_attention_heads"], c["intermediate_size"]
    key, turned, value, latent = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"]
    out = {"input_layernorm.weight": (h,), "post_attention_layernorm.weight": (h,), "self_attn.kv_a_proj_with_mqa.weight": (latent + turned, h),
           "self_attn.kv_a_layernorm.weight": (latent,), "self_attn.kv_b_proj.weight": (heads * (key + value), latent),
           "self_attn.o_proj.weight": (h, heads * value)}
    query = c["q_lora_rank"]
    if query:
        out |= {"self_attn.q_a_proj.weight": (query, h), "self_attn.q_a_layernorm.weight": (query,),
                "self_attn.q_b_proj.weight": (heads * (key + turned), query)}
    else:
        out["self_attn.q_proj.weight"] = (heads * (key + turned), h)
    if i < c["first_k_dense_replace"]:
        return out | {"mlp.gate_proj.weight": (wide, h), "mlp.up_proj.weight": (wide, h), "mlp.down_proj.weight": (h, wide)}
    width = c["moe_intermediate_size"]
    experts = {f"experts.{e}": width for e in range(c["n_routed_experts"])} | {"shared_experts": c["n_shared_experts"] * width}
    for name, width in experts.items():
        out |= {f"mlp.{name}.gate_proj.weight": (width, h), f"mlp.{name}.up_proj.weight": (width, h), f"mlp.{name}.down_proj.weight": (h, width)}
    out["mlp.gate.weight"] = (c["n_routed_experts"], h)
    return out | ({"mlp.gate.e_score_correction_bias": (c["n_routed_experts"],)} if c["scoring_func"] == "sigmoid" else {})


def falcon_h1_shapes(c, i):
    h, dim, wide = c["hidden_size"], c["head_dim"], c["intermediate_size"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    out = {"input_layernorm.weight": (h,), "pre_ff_layernorm.weight": (h,), "self_attn.q_proj.weight": (q, h), "self_attn.k_proj.weight": (kv, h),
           "self_attn.v_proj.weight": (kv, h), "self_attn.o_proj.weight": (h, q), "feed_forward.gate_proj.weight": (wide, h),
           "feed_forward.up_proj.weight": (wide, h), "feed_forward.down_proj.weight": (h, wide)}
    return out | space_shapes("mamba.", h, c["mamba_n_heads"], c["mamba_d_ssm"], c["mamba_n_groups"] * c["mamba_d_state"], False)


def space_shapes(prefix, h, heads, inner, groups, has_bias):
    channels = inner + 2 * groups
    out = {"in_proj.weight": (inner + channels + heads, h), "conv1d.weight": (channels, 1, 4), "conv1d.bias": (channels,), "A_log": (heads,),
           "dt_bias": (heads,), "D": (heads,), "norm.weight": (inner,), "out_proj.weight": (h, inner)}
    out |= {"in_proj.bias": (inner + channels + heads,), "out_proj.bias": (h,)} if has_bias else {}
    return {prefix + name: shape for name, shape in out.items()}


def nemotron_h_shapes(c, i):
    h, dim, kind = c["hidden_size"], c["head_dim"], c["hybrid_override_pattern"][i]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    out = {"norm.weight": (h,)}
    if kind == "M":
        heads = c["mamba_num_heads"]
        return out | space_shapes("mixer.", h, heads, heads * c["mamba_head_dim"], c["n_groups"] * c["ssm_state_size"], True)
    if kind == "*":
        return out | {f"mixer.{n}_proj.weight": (rows, h) for n, rows in (("q", q), ("k", kv), ("v", kv))} | {"mixer.o_proj.weight": (h, q)}
    widths = {"": c["intermediate_size"]}
    if kind == "E":
        widths = {f"experts.{e}.": c["moe_intermediate_size"] for e in range(c["n_routed_experts"])}
        widths["shared_experts."] = c["moe_shared_expert_intermediate_size"]
        out |= {"mixer.gate.weight": (c["n_routed_experts"], h), "mixer.gate.e_score_correction_bias": (c["n_routed_experts"],)}
    for name, width in widths.items():
        out |= {f"mixer.{name}up_proj.weight": (width, h), f"mixer.{name}down_proj.weight": (h, width)}
    return out


def shapes(kind, c):
    if kind == "nemotron_h":
        out = {"backbone.embeddings.weight": (c["vocab_size"], c["hidden_size"]), "backbone.norm_f.weight": (c["hidden_size"],)}
        for i in range(c["num_hidden_layers"]):
            out |= {f"backbone.layers.{i}.{name}": shape for name, shape in nemotron_h_shapes(c, i).items()}
        return out | {"lm_head.weight": (c["vocab_size"], c["hidden_size"])}
    layer_shapes, final = {"lfm2": (lfm2_shapes, "embedding_norm"), "qwen3_5": (qwen3_5_shapes, "norm"),
                           "granite_hybrid": (granite_hybrid_shapes, "norm"), "falcon_h1": (falcon_h1_shapes, "final_layernorm"),
                           "deepseek_v2": (deepseek_shapes, "norm"), "deepseek_v3": (deepseek_shapes, "norm"),
                           "qwen3_next": (qwen3_next_shapes, "norm")}[kind]
    out = {"model.embed_tokens.weight": (c["vocab_size"], c["hidden_size"]), f"model.{final}.weight": (c["hidden_size"],)}
    for i in range(c["num_hidden_layers"]):
        out |= {f"model.layers.{i}.{name}": shape for name, shape in layer_shapes(c, i).items()}
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (c["vocab_size"], c["hidden_size"])
    return out


# ---- FP8 in blocks, as DeepSeek publishes it ----

FP8_MODELS = {"deepseek_v3_block": ("DeepseekV3ForCausalLM", MODELS["deepseek_v3"][1] | dict(
    model_type="deepseek_v3", num_attention_heads=8, num_key_value_heads=8, kv_lora_rank=136, qk_nope_head_dim=16, v_head_dim=20,
    quantization_config=dict(quant_method="fp8", fmt="e4m3", activation_scheme="dynamic", weight_block_size=[128, 128])))}
E4M3 = np.array([(1 + c % 8 / 8) * 2.0 ** (c // 8 - 7) if c >= 8 else c / 8 * 2.0 ** -6 for c in range(127)])  # codes of numbers from 0 to 448
quantised = {}  # by name: codes, scales


def draw_fp8(name, shape, random, draw=family.draw):
    values = draw(name, shape, random)
    if not name.endswith("_proj.weight") and not name.endswith("_proj_with_mqa.weight"):
        return values
    codes, out = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    scales = np.zeros([-(-n // 128) for n in shape], np.float32)
    for i, j in np.ndindex(*scales.shape):
        block = np.s_[128 * i:128 * i + 128, 128 * j:128 * j + 128]
        scales[i, j] = np.abs(values[block]).max() / 448
        nearest = np.abs(np.abs(values[block] / scales[i, j])[..., None] - E4M3).argmin(-1)
        out[block] = np.sign(values[block]).astype(np.float32) * E4M3[nearest].astype(np.float32) * scales[i, j]
        codes[block] = nearest + 128 * (values[block] < 0)
    quantised[name] = codes, scales
    return out


def write_fp8(path):
    tensors, header, data = family.read_tensors(path), {}, b""
    for name, values in tensors.items():
        codes, scales = quantised.get(name, (None, None))
        parts = [(name, "F32", values.astype("<f4"))] if codes is None else [
            (name, "F8_E4M3", codes), (name.removesuffix(".weight") + ".weight_scale_inv", "F32", scales)]
        for part, kind, array in parts:
            raw = array.tobytes()
            header[part] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    text = family.json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def make_fp8(parent):
    family.draw = draw_fp8
    for name in FP8_MODELS:
        if not (parent / name).exists():
            family.make(parent / name, name, FP8_MODELS, lambda _, c: shapes("deepseek_v3", c), Model)
            write_fp8(parent / name / "model.safetensors")


if __name__ == "__main__":
    if family.sys.argv[1] == "make-fp8":
        make_fp8(family.pathlib.Path(family.sys.argv[2]))
    else:
        family.main(MODELS, shapes, Model)
