#!/usr/bin/env python3
"""What transformers and tokenizers make of data/smollm2-135m: loss.json and ids.txt. Usage:
make_reference.py [ids FILE...], the latter to print what ids.txt would say of other texts. Needs gguf,
torch, transformers and tokenizers; jobs/smollm2.sh brings the model.

The weights are those that gguf.quants makes of the file, in float32, with the rows of q and k in the
order of Hugging Face. The tokenizer is made of the file's own vocabulary and merges. ids.txt has the
number of texts, that of their tokens, and the FNV-1a hash of their ids, as int32, of each file: of the
whole, then of each line. The vocabulary has no token for 21 bytes, such as 0x04 and those that UTF-8
does not have. tokenizers drops them, and ballot refuses them, so texts with one are left out."""
import json
import os
import sys

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from file_tokenizer import load_tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
FILE = os.path.join(ROOT, "data/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf")
TEXT = "data/tinystories/dev.txt"
CONTEXT, EXAMPLES = 500, 4
TEXTS = [TEXT, "data/shakespeare/train.txt", "data/shakespeare/dev.txt", "tests/golden/tokens/lines.txt"]
NAMES = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def unpermute(weights, heads):
    """The reverse of convert_hf_to_gguf.py, LlamaModel.permute."""
    return (weights.reshape(heads, weights.shape[0] // heads // 2, 2, *weights.shape[1:])
            .swapaxes(1, 2).reshape(weights.shape))


def load_model(reader):
    get = lambda key: reader.fields[f"llama.{key}"].contents()
    heads, kv_heads = get("attention.head_count"), get("attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=get("vocab_size"), hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"), num_hidden_layers=get("block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=get("context_length"), rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": get("rope.freq_base")},
        tie_word_embeddings=True)
    weights = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        stem = tensor.name.rsplit(".", 1)[0]
        if stem in OUTSIDE:
            weights[OUTSIDE[stem] + ".weight"] = torch.tensor(values)
            continue
        layer, part = stem.split(".")[1:]
        if part in ("attn_q", "attn_k"):
            values = unpermute(values, heads if part == "attn_q" else kv_heads)
        weights[f"model.layers.{layer}.{NAMES[part]}.weight"] = torch.tensor(np.array(values))
    model = LlamaForCausalLM(config).eval().float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model


def loss_of(model, ids):
    """Mean over windows of CONTEXT tokens, the next token of each scored; in double precision."""
    total = 0.0
    for i in range(EXAMPLES):
        window = torch.tensor(ids[i * CONTEXT:(i + 1) * CONTEXT + 1])
        with torch.no_grad():
            logits = model(window[None, :-1]).logits[0].double()
        total += torch.nn.functional.cross_entropy(logits, window[1:], reduction="sum").item()
    return total / (CONTEXT * EXAMPLES)


def unescape(line):
    """As tests/golden/tokens/lines.py writes what a line cannot show."""
    out, i = bytearray(), 0
    while i < len(line):
        c = line[i]
        if c == 0x5C:
            i += 1
            c = line[i]
            if c == ord("x"):
                c = int(line[i + 1:i + 3], 16)
                i += 2
            else:
                c = {ord("n"): 10, ord("r"): 13}.get(c, c)
        out.append(c)
        i += 1
    return bytes(out)


def texts_of(path):
    """The whole and each line; of lines.txt only lines, those that are UTF-8."""
    with open(path, "rb") as file:
        data = file.read()
    lines = data.split(b"\n")
    if os.path.basename(path) == "lines.txt":
        texts = [unescape(line) for line in lines]
    else:
        texts = [data, *lines]
    for text in texts:
        try:
            yield text.decode("utf-8")
        except UnicodeDecodeError:
            pass


def letters_of_bytes():
    """As bytes_to_unicode of openai/gpt-2, encoder.py."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def summary(tokenizer, path):
    lost = {byte for byte, letter in letters_of_bytes().items() if tokenizer.token_to_id(letter) is None}
    texts = [text for text in texts_of(path) if lost.isdisjoint(text.encode())]
    ids = [each.ids for each in tokenizer.encode_batch(texts, add_special_tokens=False)]
    data = np.array([i for each in ids for i in each], "<i4").tobytes()
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{len(texts)} {len(data) // 4} {value:016x} {os.path.relpath(path, ROOT)}"


def main():
    reader = gguf.GGUFReader(FILE)
    tokenizer = load_tokenizer(reader)
    if sys.argv[1:2] == ["ids"]:
        for path in sys.argv[2:]:
            print(summary(tokenizer, path))
        return
    with open(os.path.join(HERE, "ids.txt"), "w", encoding="utf-8") as file:
        for path in TEXTS:
            print(summary(tokenizer, os.path.join(ROOT, path)), file=file)
    with open(os.path.join(ROOT, TEXT), encoding="utf-8", newline="") as file:
        ids = tokenizer.encode(file.read(), add_special_tokens=False).ids
    made = {"text": TEXT, "context": CONTEXT, "dev_examples": EXAMPLES, "n_tokens": len(ids),
            "first_ids": ids[:32], "loss_nats": loss_of(load_model(reader), ids)}
    with open(os.path.join(HERE, "loss.json"), "w", encoding="utf-8") as file:
        json.dump(made, file, indent=1)
        file.write("\n")
    print(made["loss_nats"])


if __name__ == "__main__":
    main()
