#!/usr/bin/env python3
"""Compare a GGUF file with a Hugging Face folder of the same model in float32, by the gguf package.

Usage: check_gguf.py FILE.gguf FOLDER. Metadata against config.json and the tokenizer's files, every
tensor byte for byte against what gguf.quants makes of the folder's floats. Needs gguf, safetensors.
"""
import json
import math
import os
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

LLAMA = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
GPT2 = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
           "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
           "transformer.ln_f": "output_norm"}
ARCH = {"mistral": "llama"}


def permute(weights, n_head):
    """As convert_hf_to_gguf.py, LlamaModel.permute."""
    return (weights.reshape(n_head, 2, weights.shape[0] // n_head // 2, *weights.shape[1:])
            .swapaxes(1, 2).reshape(weights.shape))


def expected_tensors(config, folder):
    """name -> float32 array, as llama.cpp wants them."""
    family, tensors = config["model_type"], {}
    for name, values in load_file(os.path.join(folder, "model.safetensors")).items():
        stem, tail = name.rsplit(".", 1)
        if stem in OUTSIDE:
            tensors[f"{OUTSIDE[stem]}.{tail}"] = values
            continue
        layer, part = stem.split(".", 3)[2:]
        if family == "gpt2":
            if part in GPT2 and part not in ("ln_1", "ln_2") and tail == "weight":
                values = np.ascontiguousarray(values.T)
            tensors[f"blk.{layer}.{GPT2[part]}.{tail}"] = values
            continue
        if ARCH.get(family, family) == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            heads = config["num_attention_heads"]
            if part == "self_attn.k_proj":
                heads = config.get("num_key_value_heads") or heads
            values = permute(values, heads)
        tensors[f"blk.{layer}.{LLAMA[part]}.{tail}"] = values
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type") == "llama3":
        tensors["rope_freqs.weight"] = rope_factors(config, rope)
    return tensors


def rope_factors(config, rope):
    """As convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors."""
    base = rope.get("rope_theta") or config.get("rope_theta", 10000.0)
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    freqs = 1.0 / (base ** (np.arange(0, dim, 2, dtype=np.float32) / dim))
    old = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for freq in freqs:
        wavelen = 2 * math.pi / freq
        if wavelen < old / high:
            factors.append(1)
        elif wavelen > old / low:
            factors.append(rope["factor"])
        else:
            smooth = (old / wavelen - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def check_tensors(reader, expected, kind):
    found = {tensor.name: tensor for tensor in reader.tensors}
    assert sorted(found) == sorted(expected), set(found) ^ set(expected)
    n_bytes, worst = 0, 0.0
    for name, values in expected.items():
        tensor = found[name]
        assert list(tensor.shape) == list(reversed(values.shape)), name
        assert tensor.data_offset % 32 == 0, name
        want = kind
        if values.ndim == 1 or name == "position_embd.weight":
            want = gguf.GGMLQuantizationType.F32
        elif values.shape[-1] % 32 and kind != gguf.GGMLQuantizationType.F16:
            want = gguf.GGMLQuantizationType.F16
        assert tensor.tensor_type == want, (name, tensor.tensor_type, want)
        data = gguf.quants.quantize(values, want)
        if name == "rope_freqs.weight":  # of frequencies in single precision
            assert np.allclose(tensor.data, values, rtol=1e-5, atol=0), name
            continue
        assert tensor.data.tobytes() == data.tobytes(), name
        n_bytes += data.nbytes
        back = gguf.quants.dequantize(tensor.data, want).reshape(values.shape)
        worst = max(worst, float(np.abs(back - values).max()))
    return len(found), n_bytes, worst


def check_settings(fields, config, arch):
    get = lambda key: fields[key].contents() if key in fields else None
    names = {"context_length": ("max_position_embeddings", "n_positions"),
             "embedding_length": ("hidden_size", "n_embd"),
             "block_count": ("num_hidden_layers", "n_layer"),
             "attention.head_count": ("num_attention_heads", "n_head"),
             "vocab_size": ("vocab_size",)}
    for key, theirs in names.items():
        assert get(f"{arch}.{key}") in [config.get(name) for name in theirs], key
    hidden = config.get("intermediate_size") or config.get("n_inner") or 4 * config["n_embd"]
    assert get(f"{arch}.feed_forward_length") == hidden
    heads = get(f"{arch}.attention.head_count")
    assert get(f"{arch}.attention.head_count_kv") == (config.get("num_key_value_heads") or heads)
    eps = get(f"{arch}.attention.layer_norm_rms_epsilon") or get(
        f"{arch}.attention.layer_norm_epsilon")
    want = config.get("rms_norm_eps") or config.get("layer_norm_epsilon", 1e-6)
    assert np.float32(eps) == np.float32(want), (eps, want)
    if arch == "gpt2":
        return
    dim = config.get("head_dim") or config["hidden_size"] // heads
    for key in ("attention.key_length", "attention.value_length", "rope.dimension_count"):
        assert get(f"{arch}.{key}") == dim, key
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    base = rope.get("rope_theta") or config.get("rope_theta", 10000.0)
    assert get(f"{arch}.rope.freq_base") == base
    linear = (rope.get("rope_type") or rope.get("type")) == "linear"
    assert get(f"{arch}.rope.scaling.type") == ("linear" if linear else None)
    assert get(f"{arch}.rope.scaling.factor") == (rope["factor"] if linear else None)
    window = config.get("sliding_window") if config["model_type"] == "mistral" else None
    assert get(f"{arch}.attention.sliding_window") == window


def check_tokenizer(fields, config, folder):
    get = lambda key: fields[f"tokenizer.ggml.{key}"].contents()
    tokens, types = get("tokens"), get("token_type")
    assert len(tokens) == len(types) == config["vocab_size"]
    assert len(set(tokens)) == len(tokens), "a token twice"
    path = os.path.join(folder, "tokenizer.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            root = json.load(file)
        vocab, merges = root["model"]["vocab"], root["model"]["merges"]
        added = {each["content"]: each for each in root["added_tokens"]}
        pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    elif os.path.exists(os.path.join(folder, "vocab.json")):
        with open(os.path.join(folder, "vocab.json"), encoding="utf-8") as file:
            vocab, added = json.load(file), {}
        with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as file:
            pairs = [line for line in file.read().split("\n") if line and line[0] != "#"]
    else:
        return "llama2.c"
    ids = dict(vocab, **{content: each["id"] for content, each in added.items()})
    for content, index in ids.items():
        assert tokens[index] == content, (index, tokens[index], content)
    for index in set(range(len(tokens))) - set(ids.values()):
        assert (tokens[index], types[index]) == (f"[PAD{index}]", 5), index
    for content, each in added.items():
        assert types[each["id"]] in ((2, 3) if each["special"] else (4,)), content
    if get("model") == "gpt2":
        assert get("merges") == pairs
    else:
        scores = get("scores")
        for rank, pair in reversed(list(enumerate(pairs))):
            assert scores[vocab[pair.replace(" ", "")]] == -rank, pair
        for byte in range(256):
            if f"<0x{byte:02X}>" in vocab:
                assert types[vocab[f"<0x{byte:02X}>"]] == 6
    return f"{get('model')}, {get('pre')}"


def main():
    path, folder = sys.argv[1:]
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    reader = gguf.GGUFReader(path)
    arch = ARCH.get(config["model_type"], config["model_type"])
    assert reader.fields["GGUF.version"].contents() == 3
    assert reader.fields["general.architecture"].contents() == arch
    kind = {1: gguf.GGMLQuantizationType.F16, 2: gguf.GGMLQuantizationType.Q4_0,
            7: gguf.GGMLQuantizationType.Q8_0}[reader.fields["general.file_type"].contents()]
    check_settings(reader.fields, config, arch)
    tokenizer = check_tokenizer(reader.fields, config, folder)
    n, n_bytes, worst = check_tensors(reader, expected_tensors(config, folder), kind)
    print(f"{path}: {arch}, {kind.name}, {n} tensors, {n_bytes} bytes alike; at most {worst:.2e} "
          f"from float32; tokenizer {tokenizer}")


if __name__ == "__main__":
    main()
