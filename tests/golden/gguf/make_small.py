#!/usr/bin/env python3
"""Make small.gguf, small-pieces.gguf and small-lines.gguf: models of one layer, as llama.cpp's converter
would describe them, with a tokenizer of each kind. Usage: make_small.py [FOLDER]. Needs gguf (0.19.0)
and numpy."""
import os
import sys

import gguf
import numpy as np

DIM, HIDDEN, HEADS, KV_HEADS, HEAD_DIM = 32, 64, 2, 1, 16
LETTERS = list("abcdefghijklmnopqrstuvwxyz") + ["\u0120", "\u010a", ".", ",", "'", "1", "2"]
KINDS = {"token_embd": "Q8_0", "attn_q": "Q4_1", "attn_k": "Q4_0", "attn_v": "Q5_0",
         "attn_output": "Q5_1", "ffn_gate": "Q4_1", "ffn_up": "F16", "ffn_down": "BF16",
         "output": "Q4_0"}


def add_words(writer):
    """Byte-level BPE, split as SmolLM's."""
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + LETTERS
    merges = ["t h", "th e", "\u0120 a", "\u0120 the", "i n"]
    tokens += [merge.replace(" ", "") for merge in merges] + ["[PAD41]"]
    types = [3] * 3 + [1] * (len(tokens) - 4) + [5]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(0)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template([{"name": "default", "template": "{{ messages }}"},
                              {"name": "tool_use", "template": "{{ tools }}"}])
    return len(tokens)


def add_pieces(writer):
    """SentencePiece, with an id that nothing uses within the others."""
    tokens = ["<unk>", "<s>", "</s>", "[UNUSED]", "<|user|>", "\u2581", "\u2581the", "th", "\u2581t", "e"]
    tokens += list("abcdfghijklmnopqrstuvwxyz.")
    types = [2, 3, 3, 5, 4] + [1] * (len(tokens) - 5)
    scores = [0.0] * 5 + [-float(i) for i in range(len(tokens) - 5)]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages }}")
    return len(tokens)


def add_lines(writer):
    """WordPiece, as BertModel.set_vocab of the converter spells it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "a", "##b", ".", "sat"]
    tokens = [word if word[0] == "[" else word[2:] if word[:2] == "##" else "\u2581" + word for word in words]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 5 + [1] * (len(tokens) - 5))
    writer.add_unk_token_id(1)
    writer.add_sep_token_id(3)
    writer.add_pad_token_id(0)
    return len(tokens)


def add_tensor(writer, rng, name, *shape):
    values = (rng.standard_normal(shape) * (0.1 if len(shape) == 2 else 0.05)).astype(np.float32)
    if len(shape) == 1:
        writer.add_tensor(name + ".weight", 1 + values)
        return
    kind = gguf.GGMLQuantizationType[KINDS[name.split(".")[-1]]]
    data = gguf.quants.quantize(values, kind)
    writer.add_tensor(name + ".weight", data, raw_dtype=None if kind.name == "F16" else kind)


def write(path, add_tokenizer, tied):
    rng = np.random.RandomState(14)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("model")
    writer.add_name("small")
    n_vocab = add_tokenizer(writer)
    for add, value in ((writer.add_vocab_size, n_vocab), (writer.add_context_length, 64),
                       (writer.add_embedding_length, DIM), (writer.add_block_count, 1),
                       (writer.add_feed_forward_length, HIDDEN), (writer.add_head_count, HEADS),
                       (writer.add_head_count_kv, KV_HEADS), (writer.add_rope_dimension_count, HEAD_DIM),
                       (writer.add_rope_freq_base, 100000.0), (writer.add_layer_norm_rms_eps, 1e-5)):
        add(value)
    tensors = [("token_embd", n_vocab, DIM), ("output_norm", DIM)]
    if not tied:
        tensors.append(("output", n_vocab, DIM))
    tensors += [("blk.0." + name, *shape) for name, *shape in (
        ("attn_norm", DIM), ("attn_q", HEADS * HEAD_DIM, DIM), ("attn_k", KV_HEADS * HEAD_DIM, DIM),
        ("attn_v", KV_HEADS * HEAD_DIM, DIM), ("attn_output", DIM, HEADS * HEAD_DIM), ("ffn_norm", DIM),
        ("ffn_gate", HIDDEN, DIM), ("ffn_up", HIDDEN, DIM), ("ffn_down", DIM, HIDDEN))]
    for name, *shape in tensors:
        add_tensor(writer, rng, name, *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    write(os.path.join(folder, "small.gguf"), add_words, tied=True)
    write(os.path.join(folder, "small-pieces.gguf"), add_pieces, tied=False)
    write(os.path.join(folder, "small-lines.gguf"), add_lines, tied=True)


if __name__ == "__main__":
    main()
