#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/packed: weights in the layouts of the methods that pack them, and what they mean in float32.

    pip install numpy
    python3 tools/make_packed_weights.py tests/data/packed

One file a method. It holds weights X in the method's tensors, and X.expected, float32 [rows, columns]: what the method's own dequantisation
computes in float32. Numbers are drawn first and packed here bit by bit, with no table of the program's.
"""
import json
import pathlib
import struct
import sys

import numpy as np

RANDOM = np.random.default_rng(23)
FP4 = [0, .5, 1, 1.5, 2, 3, 4, 6]
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


def write(path, tensors):
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    print(path, path.stat().st_size)


def words(numbers, bits, axis):
    """Numbers one behind the other along an axis, from the lowest bit of 32-bit words up."""
    lines = np.moveaxis(numbers, axis, -1)
    out = np.zeros(lines.shape[:-1] + (-(-lines.shape[-1] * bits // 32),), dtype=np.uint64)
    for i in range(lines.shape[-1]):
        for bit in range(bits):
            at = i * bits + bit
            out[..., at // 32] |= ((lines[..., i].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)) << np.uint64(at % 32)
    return np.moveaxis(out, -1, axis).astype(np.uint32).view(np.int32)


def draw(rows, columns, bits):
    return RANDOM.integers(0, 1 << bits, (rows, columns))


def halves(*shape):
    return RANDOM.uniform(0.01, 0.2, shape).astype(np.float16)


def bfloat16(*shape):
    """The stored 16 bits, and their values."""
    stored = (RANDOM.uniform(0.01, 0.2, shape).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return stored, (stored.astype(np.uint32) << 16).view(np.float32)


def groups_of(columns, group, shuffled):
    order = np.arange(columns, dtype=np.int32) // group
    return RANDOM.permutation(order) if shuffled else order


def gptq(is_v2):
    out = {}
    for bits, rows, columns, group, shuffled in [(2, 32, 64, 32, False), (3, 32, 96, 32, True), (4, 40, 56, 16, False), (4, 24, 64, 32, True), (8, 28, 48, 24, False)]:
        name = f"b{bits}{'act' if shuffled else ''}"
        count = -(-columns // group)
        numbers, zeros, scales = draw(rows, columns, bits), draw(rows, count, bits), halves(rows, count)
        order = groups_of(columns, group, shuffled)
        stored = zeros if is_v2 else (zeros - 1) % (1 << bits)
        out[f"{name}.qweight"] = ("I32", words(numbers.T, bits, 0))
        out[f"{name}.qzeros"] = ("I32", words(stored.T, bits, 1))
        out[f"{name}.scales"] = ("F16", scales.T)
        out[f"{name}.g_idx"] = ("I32", order)
        out[f"{name}.expected"] = ("F32", (numbers - zeros[:, order]).astype(np.float32) * scales.astype(np.float32)[:, order])
    return out


def awq():
    out = {}
    for name, rows, columns, group in [("wide", 48, 64, 16), ("all", 16, 40, 40)]:
        count = columns // group
        numbers, zeros, scales = draw(rows, columns, 4), draw(rows, count, 4), halves(rows, count)
        order = groups_of(columns, group, False)

        def pack(values):
            return words(values.T.reshape(values.shape[1], -1, 8)[:, :, [0, 2, 4, 6, 1, 3, 5, 7]].reshape(values.shape[1], -1), 4, 1)
        out[f"{name}.qweight"] = ("I32", pack(numbers))
        out[f"{name}.qzeros"] = ("I32", pack(zeros))
        out[f"{name}.scales"] = ("F16", scales.T)
        out[f"{name}.expected"] = ("F32", (numbers - zeros[:, order]).astype(np.float32) * scales.astype(np.float32)[:, order])
    return out


def e4m3(codes):
    exponent, fraction = (codes >> 3) & 15, codes & 7
    return np.where(exponent > 0, (1 + fraction / 8) * 2.0 ** (exponent.astype(int) - 7), fraction / 8 * 2.0 ** -6).astype(np.float32)


def fp4_values(codes):
    return np.array(FP4 + [-v for v in FP4], dtype=np.float32)[codes]


def nibbles(codes):
    return (codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8)


def compressed():
    out = {}
    for name, bits, rows, columns, group, has_zeros, shuffled in [
            ("sym", 4, 20, 64, 32, False, False), ("asym", 4, 40, 64, 16, True, False), ("order", 4, 24, 64, 16, False, True),
            ("channel", 8, 12, 44, 44, False, False), ("eight", 8, 20, 48, 24, True, True), ("two", 2, 16, 64, 64, True, False)]:
        count = columns // group
        numbers = draw(rows, columns, bits)
        zeros = draw(rows, count, bits) if has_zeros else np.full((rows, count), 1 << (bits - 1))
        stored, scales = bfloat16(rows, count)
        order = groups_of(columns, group, shuffled)
        out[f"{name}.weight_packed"] = ("I32", words(numbers, bits, 1))
        out[f"{name}.weight_scale"] = ("BF16", stored)
        out[f"{name}.weight_shape"] = ("I64", np.array([rows, columns], dtype=np.int64))
        if has_zeros:
            out[f"{name}.weight_zero_point"] = ("I32", words(zeros, bits, 0))
        if shuffled:
            out[f"{name}.weight_g_idx"] = ("I32", order)
        out[f"{name}.expected"] = ("F32", (numbers - zeros[:, order]).astype(np.float32) * scales[:, order])
    codes, scales = draw(12, 48, 4), RANDOM.integers(1, 126, (12, 3)).astype(np.uint8)
    overall = np.array([37.25], dtype=np.float32)
    out["nvfp4.weight_packed"] = ("U8", nibbles(codes))
    out["nvfp4.weight_scale"] = ("F8_E4M3", scales)
    out["nvfp4.weight_global_scale"] = ("F32", overall)
    out["nvfp4.expected"] = ("F32", fp4_values(codes) * np.repeat(e4m3(scales) / overall, 16, axis=1))
    codes, scales = draw(12, 64, 4), RANDOM.integers(100, 140, (12, 2)).astype(np.uint8)
    out["mxfp4.weight_packed"] = ("U8", nibbles(codes))
    out["mxfp4.weight_scale"] = ("U8", scales)
    out["mxfp4.expected"] = ("F32", fp4_values(codes) * np.repeat(np.exp2(scales.astype(np.float32) - 127), 32, axis=1))
    return out


def modelopt():
    codes, scales = draw(12, 48, 4), RANDOM.integers(1, 126, (12, 3)).astype(np.uint8)
    overall = np.array(0.0371, dtype=np.float32)
    return {"nvfp4.weight": ("U8", nibbles(codes)), "nvfp4.weight_scale": ("F8_E4M3", scales), "nvfp4.weight_scale_2": ("F32", overall),
            "nvfp4.expected": ("F32", fp4_values(codes) * np.repeat(e4m3(scales) * overall, 16, axis=1))}


def mxfp4():
    codes, scales = draw(3 * 10, 64, 4), RANDOM.integers(0, 250, (3 * 10, 2)).astype(np.uint8)
    return {"stack_blocks": ("U8", nibbles(codes).reshape(3, 10, 2, 16)), "stack_scales": ("U8", scales.reshape(3, 10, 2)),
            "stack.expected": ("F32", fp4_values(codes) * np.repeat(np.ldexp(np.float32(1), scales.astype(int) - 127), 32, axis=1))}


def state(**facts):
    return ("U8", np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8))


def bitsandbytes():
    out = {}
    for name, rows, columns in [("plain", 12, 40), ("nested", 40, 72)]:
        codes = draw(rows, columns, 4)
        blocks = -(-rows * columns // 64)
        table = np.array(NF4, dtype=np.float32)
        flat = codes.reshape(-1)
        out[f"{name}.weight"] = ("U8", (flat[::2] << 4 | flat[1::2]).astype(np.uint8)[:, None])
        out[f"{name}.weight.quant_map"] = ("F32", table)
        facts = dict(quant_type="nf4", blocksize=64, dtype="bfloat16", shape=[rows, columns])
        if name == "plain":
            largest = RANDOM.uniform(0.5, 4, blocks).astype(np.float32)
            out[f"{name}.weight.absmax"] = ("F32", largest)
        else:
            stored, offset = RANDOM.integers(0, 256, blocks).astype(np.uint8), np.float32(0.3675728440284729)
            nested_map = np.sort(RANDOM.uniform(-1, 1, 256)).astype(np.float32)
            nested = RANDOM.uniform(0.5, 2, -(-blocks // 16)).astype(np.float32)
            largest = nested_map[stored] * np.repeat(nested, 16)[:blocks] + offset
            out[f"{name}.weight.absmax"] = ("U8", stored)
            out[f"{name}.weight.nested_quant_map"] = ("F32", nested_map)
            out[f"{name}.weight.nested_absmax"] = ("F32", nested)
            facts |= dict(nested_blocksize=16, nested_dtype="float32", nested_offset=float(offset))
        out[f"{name}.weight.quant_state.bitsandbytes__nf4"] = state(**facts)
        out[f"{name}.expected"] = ("F32", (table[flat] * np.repeat(largest, 64)[:flat.size]).reshape(rows, columns))
    numbers, largest = RANDOM.integers(-127, 128, (10, 20)).astype(np.int8), RANDOM.uniform(0.5, 4, 10).astype(np.float32)
    out["whole.weight"] = ("I8", numbers)
    out["whole.SCB"] = ("F32", largest)
    out["whole.expected"] = ("F32", numbers.astype(np.float32) * largest[:, None] * np.float32(7.874015718698502315e-3))
    return out


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensors in [("gptq", gptq(False)), ("gptq_v2", gptq(True)), ("awq", awq()), ("compressed", compressed()), ("modelopt", modelopt()),
                          ("mxfp4", mxfp4()), ("bitsandbytes", bitsandbytes())]:
        write(folder / f"{name}.safetensors", tensors)


main()
