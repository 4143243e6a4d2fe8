#!/usr/bin/python3
"""Reference logits for the model tests: a plain Llama forward pass in double precision.

It shares no code with the program under test. Usage: make_logits.py stories260K.bin
Every file of this folder but the script and README.md is written anew, beside the script.
"""
import json
import os
import struct
import sys

import numpy as np

FOLDER = os.path.dirname(os.path.abspath(__file__))
PROMPT = [1, 403, 407, 261, 378]  # "Once upon a time" for stories260K, start token first


def llama2c(path):
    """A llama2.c v0 file: 7 int32, then float32 tensors, each kind for all layers together."""
    with open(path, "rb") as file:
        dim, hidden, layers, heads, kv_heads, vocab, length = struct.unpack("<7i", file.read(28))
        floats = np.frombuffer(file.read(), "<f4").astype(np.float64)
    head_dim, at = dim // heads, 0

    def take(*shape):
        nonlocal at
        at += int(np.prod(shape))
        return floats[at - int(np.prod(shape)):at].reshape(shape)

    embedding = take(abs(vocab), dim)
    kinds = {"norm1": take(layers, dim),
             "q": take(layers, heads * head_dim, dim), "k": take(layers, kv_heads * head_dim, dim),
             "v": take(layers, kv_heads * head_dim, dim), "o": take(layers, dim, heads * head_dim),
             "norm2": take(layers, dim),
             "gate": take(layers, hidden, dim), "down": take(layers, dim, hidden),
             "up": take(layers, hidden, dim)}
    norm = take(dim)
    take(2, length, head_dim // 2)  # tables of cosines and sines, computed here instead
    head = embedding if vocab > 0 else take(-vocab, dim)
    assert at == len(floats), f"{path}: {len(floats)} floats, the header asks for {at}"
    return {"embedding": embedding, "norm": norm, "head": head, "heads": heads,
            "kv_heads": kv_heads, "base": 10000.0, "eps": 1e-5, "halves": False,
            "layers": [{kind: w[i] for kind, w in kinds.items()} for i in range(layers)]}


def rms_norm(x, gain, eps):
    return gain * x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def rotate(x, base, halves):
    """Rotary positions of x [tokens, heads, head_dim], on (i, i + d/2) or on (2i, 2i + 1)."""
    n, _, d = x.shape
    angle = np.arange(n)[:, None] * base ** (-np.arange(0, d, 2) / d)
    c, s = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    first, second = (x[..., :d // 2], x[..., d // 2:]) if halves else (x[..., ::2], x[..., 1::2])
    a, b = first * c - second * s, first * s + second * c
    return np.concatenate([a, b], -1) if halves else np.stack([a, b], -1).reshape(x.shape)


def logits(model, tokens):
    """Logits after each token, [tokens, vocab], float64."""
    n, x = len(tokens), model["embedding"][tokens]
    future = np.triu(np.full((n, n), -np.inf), 1)
    for layer in model["layers"]:
        h = rms_norm(x, layer["norm1"], model["eps"])
        q = (h @ layer["q"].T).reshape(n, model["heads"], -1)
        k = (h @ layer["k"].T).reshape(n, model["kv_heads"], -1)
        v = (h @ layer["v"].T).reshape(n, model["kv_heads"], -1)
        q, k = (rotate(each, model["base"], model["halves"]) for each in (q, k))
        shared = model["heads"] // model["kv_heads"]  # query heads j*shared.. read KV head j
        k, v = np.repeat(k, shared, axis=1), np.repeat(v, shared, axis=1)
        score = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(q.shape[-1]) + future
        score = np.exp(score - score.max(-1, keepdims=True))
        score /= score.sum(-1, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", score, v).reshape(n, -1) @ layer["o"].T
        h = rms_norm(x, layer["norm2"], model["eps"])
        gate = h @ layer["gate"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ layer["up"].T)) @ layer["down"].T
    return rms_norm(x, model["norm"], model["eps"]) @ model["head"].T


def greedy(model, tokens, n_new):
    tokens = list(tokens)
    for _ in range(n_new):
        tokens.append(int(logits(model, tokens)[-1].argmax()))
    return tokens


def write_logits(name, model, tokens):
    values = logits(model, tokens).astype("<f4")
    with open(os.path.join(FOLDER, name), "wb") as file:
        file.write(struct.pack("<2i", *values.shape))
        file.write(np.asarray(tokens, "<i4").tobytes() + values.tobytes())


def make_fixture(folder):
    """A small LlamaForCausalLM folder of random weights; returns the model it holds."""
    dim, hidden, n_layers, heads, kv_heads, vocab = 48, 80, 2, 6, 2, 99
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama",
              "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
              "hidden_act": "silu", "hidden_size": dim, "intermediate_size": hidden,
              "max_position_embeddings": 64, "num_attention_heads": heads,
              "num_hidden_layers": n_layers, "num_key_value_heads": kv_heads,
              "rms_norm_eps": 1e-6, "rope_theta": 50000.0, "rope_scaling": None,
              "tie_word_embeddings": False, "torch_dtype": "float32", "vocab_size": vocab}
    random = np.random.RandomState(20240229)  # a stream that numpy has frozen

    def matrix(rows, cols):
        return (1.5 / np.sqrt(cols) * random.standard_normal((rows, cols))).astype("<f4")

    def gain():
        return (1 + 0.2 * random.standard_normal(dim)).astype("<f4")

    kv_dim = kv_heads * dim // heads
    names = {"norm1": "input_layernorm", "q": "self_attn.q_proj", "k": "self_attn.k_proj",
             "v": "self_attn.v_proj", "o": "self_attn.o_proj", "norm2": "post_attention_layernorm",
             "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj"}
    layers = [{"norm1": gain(), "q": matrix(dim, dim), "k": matrix(kv_dim, dim),
               "v": matrix(kv_dim, dim), "o": matrix(dim, dim), "norm2": gain(),
               "gate": matrix(hidden, dim), "up": matrix(hidden, dim),
               "down": matrix(dim, hidden)} for _ in range(n_layers)]
    model = {"embedding": matrix(vocab, dim), "norm": gain(), "head": matrix(vocab, dim),
             "layers": layers, "heads": heads, "kv_heads": kv_heads, "base": 50000.0,
             "eps": 1e-6, "halves": True}
    tensors = {"model.embed_tokens.weight": model["embedding"], "model.norm.weight": model["norm"],
               "lm_head.weight": model["head"]}
    for i, layer in enumerate(layers):
        tensors.update({f"model.layers.{i}.{names[kind]}.weight": layer[kind] for kind in names})

    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name in sorted(tensors):
        start, data = len(data), data + tensors[name].tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape),
                        "data_offsets": [start, len(data)]}
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)  # so that the floats are aligned
    pieces = ["<unk>", "<s>", "</s>"] + [chr(c) for c in range(32, 127)] + ["\n"]
    assert len(pieces) == vocab

    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="ascii") as file:
        json.dump(config, file, indent=2)
        file.write("\n")
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + data)
    with open(os.path.join(folder, "tokenizer.bin"), "wb") as file:
        file.write(struct.pack("<i", max(map(len, pieces))))
        for piece in pieces:
            file.write(struct.pack("<fi", 0.0, len(piece)) + piece.encode())
    model["embedding"], model["norm"], model["head"] = (
        model[k].astype(np.float64) for k in ("embedding", "norm", "head"))
    model["layers"] = [{k: w.astype(np.float64) for k, w in layer.items()} for layer in layers]
    return model


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    stories = llama2c(sys.argv[1])
    random = np.random.RandomState(70)
    write_logits("stories260k-text.bin", stories, greedy(stories, PROMPT, 27))
    write_logits("stories260k-random.bin", stories, random.randint(0, 512, 70).tolist())
    fixture = make_fixture(os.path.join(FOLDER, "tiny-llama"))
    write_logits("tiny-llama.bin", fixture, random.randint(0, 99, 40).tolist())


if __name__ == "__main__":
    main()
