#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tiny models of random weights for families with layers that are no attention over keys and values. Their forward pass is written
here, in float64, position by position: the recurrent form of each.

    pip install numpy
    python3 tools/make_layer_models.py make tests/data/models          the models of MODELS that are not there yet
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
}


def convolve(x, weight, bias):
    """x [T, channels], weight [channels, 1, taps]: each channel over its latest positions."""
    taps = weight.shape[2]
    padded = np.concatenate([np.zeros((taps - 1, x.shape[1])), x])
    return sum(padded[j:j + len(x)] * weight[:, 0, j] for j in range(taps)) + (0 if bias is None else bias)


class Model(family.Model):
    def __init__(self, config, tensors):
        super().__init__(config, tensors)
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

    # ---- All ----

    def layer(self, x, layer):
        return {"Lfm2": self.lfm2_layer}[self.kind](x, layer)

    def logits(self, ids):
        embedding = self.t[self.prefix + "embed_tokens.weight"]
        x = embedding[ids]
        for layer in range(self.c["num_hidden_layers"]):
            x = self.layer(x, layer)
        final = next(self.t[self.prefix + n] for n in ("embedding_norm.weight", "norm.weight", "final_layernorm.weight") if self.prefix + n in self.t)
        head = self.t.get("lm_head.weight", embedding)
        return rms(x, final, self.epsilon) @ head.T


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


def shapes(kind, c):
    layer_shapes, final = {"lfm2": (lfm2_shapes, "embedding_norm")}[kind]
    out = {"model.embed_tokens.weight": (c["vocab_size"], c["hidden_size"]), f"model.{final}.weight": (c["hidden_size"],)}
    for i in range(c["num_hidden_layers"]):
        out |= {f"model.layers.{i}.{name}": shape for name, shape in layer_shapes(c, i).items()}
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = (c["vocab_size"], c["hidden_size"])
    return out


if __name__ == "__main__":
    family.main(MODELS, shapes, Model)
