#!/usr/bin/python3
"""quantize_memory.py: how much memory `ballot quantize` takes for a large folder in several files.

usage: quantize_memory.py BALLOT SCRATCH [--layers N] [--format F] [--keep]

Writes a LLaMA of TinyLlama's widths (2048, hidden 5632, vocabulary 32,000) with random BF16 weights in
SCRATCH, a shard for every few layers (22 layers: 2.2 GB), quantizes it, and compares the peak of
resident memory, what the program takes for nothing taken off, with codes, carries and scales plus
two of the largest tensor as floats. Ends with 1 if it is more.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np

DIM, HIDDEN, HEADS, KV_HEADS, VOCAB = 2048, 5632, 32, 4, 32000
SHARD_LAYERS = 5
TOKENIZER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "families",
                         "llama-tied", "tokenizer.json")


def shapes(layers):
    """Name and shape of every tensor, shard by shard."""
    kv = DIM // HEADS * KV_HEADS
    shards = [[("model.embed_tokens.weight", (VOCAB, DIM))]]
    for layer in range(layers):
        if layer % SHARD_LAYERS == 0:
            shards.append([])
        for name, shape in (("input_layernorm", (DIM,)), ("self_attn.q_proj", (DIM, DIM)),
                            ("self_attn.k_proj", (kv, DIM)), ("self_attn.v_proj", (kv, DIM)),
                            ("self_attn.o_proj", (DIM, DIM)), ("post_attention_layernorm", (DIM,)),
                            ("mlp.gate_proj", (HIDDEN, DIM)), ("mlp.up_proj", (HIDDEN, DIM)),
                            ("mlp.down_proj", (DIM, HIDDEN))):
            shards[-1].append((f"model.layers.{layer}.{name}.weight", shape))
    return shards + [[("model.norm.weight", (DIM,)), ("lm_head.weight", (VOCAB, DIM))]]


def write_shard(path, tensors, noise):
    """BF16: the upper halves of random floats, cut from one block of noise."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        n = int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + 2 * n]}
        at += 2 * n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for i, (_, shape) in enumerate(tensors):
            n = int(np.prod(shape))
            while n > 0:
                piece = noise[i % 97:][:n]
                file.write(piece.tobytes())
                n -= len(piece)
    return at


def write_folder(folder, layers):
    noise = np.random.default_rng(1).normal(0, 0.02, 1 << 22).astype(np.float32)
    noise = (noise.view(np.uint32) >> 16).astype(np.uint16)
    shards, total, where = shapes(layers), 0, {}
    for i, tensors in enumerate(shards):
        name = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        total += write_shard(os.path.join(folder, name), tensors, noise)
        where.update({tensor: name for tensor, _ in tensors})
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as file:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, file)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
                   "hidden_size": DIM, "intermediate_size": HIDDEN, "num_hidden_layers": layers,
                   "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
                   "vocab_size": VOCAB, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
                   "tie_word_embeddings": False}, file)
    shutil.copy(TOKENIZER, folder)
    return total


def peak(words):
    """MiB of resident memory at most, seconds, and output of a program that ends well."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(words)}: status {status}")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ballot")
    parser.add_argument("scratch")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--format", default="i8")
    parser.add_argument("--keep", action="store_true", help="leave what was written")
    options = parser.parse_args()
    folder = os.path.join(options.scratch, "folder")
    shutil.rmtree(options.scratch, ignore_errors=True)
    os.makedirs(folder)
    n_bytes = write_folder(folder, options.layers)
    empty, _, _ = peak([options.ballot, "--version"])
    used, seconds, out = peak([options.ballot, "quantize", folder, "-o",
                               os.path.join(options.scratch, "q.h5"), "--format", options.format])
    model = float(re.search(r"([\d.]+) MiB of codes, carries and scales", out).group(1))
    largest = 4 * VOCAB * DIM / 2 ** 20
    bound = model + 2 * largest
    print(f"{n_bytes / 1e9:.2f} GB in {len(shapes(options.layers))} files, {options.format}: peak "
          f"{used - empty:.0f} MiB more than the {empty:.0f} of the program alone; codes, carries "
          f"and scales {model:.0f} + twice the largest tensor {largest:.0f} = {bound:.0f}; "
          f"{seconds:.0f} s of processor")
    if not options.keep:
        shutil.rmtree(options.scratch)
    return 0 if used - empty <= bound else 1


if __name__ == "__main__":
    sys.exit(main())
