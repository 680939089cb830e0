#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of this folder with the gguf package (pip install gguf numpy), once.

quants.gguf: a tensor of random blocks of each block format, and beside it ("NAME.expected") what the
package expands it to; tables.gguf: likewise, of formats whose numbers are places in a table.
llama.gguf and mixtral.gguf: tiny random models as llama.cpp's converter lays them out (q and k rows
interleaved, experts stacked), and the same weights as the Hub has them in llama/, mixtral/ and
mixtral_stacked/."""
import json
import pathlib
import struct

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent
random = np.random.default_rng(20240607)


def write_quants():
    # Where the half-precision scales stand in a block, which random bytes must not fill with infinities.
    halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82],
              "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    writer = gguf.GGUFWriter(HERE / "quants.gguf", "llama")
    for name, places in halves.items():
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        rows, blocks = 3, 512 // values
        data = random.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
        for place in places:
            scale = random.standard_normal((rows, blocks, 1)).astype(np.float16)
            data[:, :, place:place + 2] = scale.view(np.uint8)
        data = data.reshape(rows, blocks * size)
        writer.add_tensor(name, data, raw_dtype=kind)
        writer.add_tensor(name + ".expected", gguf.quants.dequantize(data, kind).astype(np.float32))
    for name, dtype in (("F16", np.float16), ("F32", np.float32)):
        data = random.standard_normal((3, 512)).astype(dtype)
        writer.add_tensor(name, data)
        writer.add_tensor(name + ".expected", data.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tables():
    draws = np.random.default_rng(23)
    writer = gguf.GGUFWriter(HERE / "tables.gguf", "llama")
    for name in ("IQ4_NL", "IQ4_XS", "MXFP4"):
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        rows, blocks = 3, 512 // values
        data = draws.integers(0, 256, (rows, blocks, size), dtype=np.uint8)
        if name == "MXFP4":
            data[:, :, 0] = draws.integers(0, 250, (rows, blocks))
        else:
            data[:, :, :2] = draws.standard_normal((rows, blocks, 1)).astype(np.float16).view(np.uint8)
        data = data.reshape(rows, blocks * size)
        writer.add_tensor(name, data, raw_dtype=kind)
        writer.add_tensor(name + ".expected", gguf.quants.dequantize(data, kind).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def permute(weights, heads):
    return (weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2)
            .reshape(weights.shape))


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, value in sorted(tensors.items()):
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + value.nbytes]}
        data += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_stacked(config, hub):
    """The same mixture with its experts as two stacks a layer, as transformers 5 holds them."""
    folder = HERE / "mixtral_stacked"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    stacked = {name: value for name, value in hub.items() if "block_sparse_moe" not in name}
    for i in range(config["num_hidden_layers"]):
        old, new = f"model.layers.{i}.block_sparse_moe.", f"model.layers.{i}.mlp."
        w1, w2, w3 = ([hub[f"{old}experts.{e}.{w}.weight"] for e in range(config["num_local_experts"])] for w in ("w1", "w2", "w3"))
        stacked[new + "experts.gate_up_proj"] = np.stack([np.concatenate(pair) for pair in zip(w1, w3)])
        stacked[new + "experts.down_proj"] = np.stack(w2)
        stacked[new + "gate.weight"] = hub[old + "gate.weight"]
    write_safetensors(folder / "model.safetensors", stacked)


def write_model(name, experts):
    layers, hidden, heads, kv_heads, size, width, vocabulary = 2, 32, 4, 2, 8, 48, 40
    rope = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64, "rope_theta": 10000.0}
    config = {
        "architectures": ["MixtralForCausalLM" if experts else "LlamaForCausalLM"], "num_hidden_layers": layers,
        "hidden_size": hidden, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "intermediate_size": width,
        "vocab_size": vocabulary, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "bos_token_id": 1,
        "eos_token_id": [2, 3], "rope_parameters": rope, "tie_word_embeddings": experts == 0, "dtype": "float32",
        "attention_bias": experts == 0,
    }
    if experts:
        config |= {"num_local_experts": experts, "num_experts_per_tok": 2}
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")

    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", "llama")
    writer.add_block_count(layers)
    writer.add_context_length(256)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(10000.0)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(["t", "0", "t0"] + [f"x{i}" for i in range(3, vocabulary)])
    writer.add_token_types([1] * vocabulary)
    writer.add_token_merges(["t 0"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(3)
    writer.add_chat_template("{% for m in messages %}{{ bos_token }}{{ m['content'] }}{{ eos_token }}{% endfor %}")

    hub = {}

    def tensor(hub_name, gguf_name, *shape, heads=0):
        value = random.standard_normal(shape).astype(np.float32)
        hub[hub_name] = value
        if gguf_name is not None:
            writer.add_tensor(gguf_name, permute(value, heads) if heads else value)
        return value

    # The factors that llama.cpp's converter computes for rope_type llama3.
    inverse = 1.0 / (10000.0 ** (np.arange(0, size, 2, dtype=np.float64) / size))
    factors = []
    for wavelength in 2 * np.pi / inverse:
        if wavelength < 64 / 4.0:
            factors.append(1.0)
        elif wavelength > 64 / 1.0:
            factors.append(4.0)
        else:
            smooth = (64 / wavelength - 1.0) / (4.0 - 1.0)
            factors.append(1 / ((1 - smooth) / 4.0 + smooth))
    writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))

    tensor("model.embed_tokens.weight", "token_embd.weight", vocabulary, hidden)
    tensor("model.norm.weight", "output_norm.weight", hidden)
    if experts:
        tensor("lm_head.weight", "output.weight", vocabulary, hidden)
    for i in range(layers):
        m, g = f"model.layers.{i}.", f"blk.{i}."
        tensor(m + "input_layernorm.weight", g + "attn_norm.weight", hidden)
        tensor(m + "post_attention_layernorm.weight", g + "ffn_norm.weight", hidden)
        for letter, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
            turned = 0 if letter == "v" else count
            tensor(m + f"self_attn.{letter}_proj.weight", g + f"attn_{letter}.weight", count * size, hidden, heads=turned)
            if not experts:
                tensor(m + f"self_attn.{letter}_proj.bias", g + f"attn_{letter}.bias", count * size, heads=turned)
        tensor(m + "self_attn.o_proj.weight", g + "attn_output.weight", hidden, heads * size)
        if not experts:
            tensor(m + "self_attn.o_proj.bias", g + "attn_output.bias", hidden)
        for wide, short, turn in (("gate", "w1", False), ("up", "w3", False), ("down", "w2", True)):
            shape = (hidden, width) if turn else (width, hidden)
            if not experts:
                tensor(m + f"mlp.{wide}_proj.weight", g + f"ffn_{wide}.weight", *shape)
            else:
                stack = [tensor(m + f"block_sparse_moe.experts.{e}.{short}.weight", None, *shape) for e in range(experts)]
                writer.add_tensor(g + f"ffn_{wide}_exps.weight", np.stack(stack))
        if experts:
            tensor(m + "block_sparse_moe.gate.weight", g + "ffn_gate_inp.weight", experts, hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_safetensors(folder / "model.safetensors", hub)
    if experts:
        write_stacked(config, hub)


write_quants()
write_tables()
write_model("llama", 0)
write_model("mixtral", 3)
