#!/usr/bin/env python3
"""Small random-weight model folders of transformers' own classes, with the logits they give.

Every folder beside this script, and losses.tsv, is made anew. Needs transformers (README.md says
which); nothing is fetched. Usage: make_families.py [NAME]...
"""
import copy
import os
import shutil
import struct
import sys
import zlib

import load_export as load  # first: it forbids the network before transformers is imported
import family_tokenizers as kinds
import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = os.path.join(HERE, "..", "..", "..", "data", "tinystories", "dev.txt")

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
         "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.02, "use_cache": True,
         "hidden_size": 40, "intermediate_size": 80, "num_hidden_layers": 2,
         "num_attention_heads": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
         "max_position_embeddings": 64, "torch_dtype": "float32"}
LLAMA3 = {**LLAMA, "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False,
          "pretraining_tp": 1, "rope_theta": 500000.0, "num_key_value_heads": 2,
          "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 0.5,
                           "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}
MISTRAL = {**LLAMA, "architectures": ["MistralForCausalLM"], "model_type": "mistral",
           "rope_theta": 10000.0, "num_key_value_heads": 2, "sliding_window": 8}
OPT = {"architectures": ["OPTForCausalLM"], "model_type": "opt", "activation_function": "relu",
       "activation_dropout": 0.0, "attention_dropout": 0.0, "dropout": 0.1, "layerdrop": 0.0,
       "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "prefix": "</s>",
       "init_std": 0.02, "use_cache": True, "torch_dtype": "float16", "num_hidden_layers": 2}
GPT2 = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_head": 4, "n_layer": 2,
        "n_embd": 36, "n_positions": 48, "n_ctx": 48, "layer_norm_epsilon": 1e-5,
        "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1, "initializer_range": 0.02}
ROBERTA = {"architectures": ["RobertaForMaskedLM"], "model_type": "roberta", "hidden_act": "gelu",
           "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "type_vocab_size": 1,
           "layer_norm_eps": 1e-5, "attention_probs_dropout_prob": 0.1,
           "hidden_dropout_prob": 0.1, "initializer_range": 0.02}
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
         "hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-6,
         "rope_theta": 1000000.0, "max_position_embeddings": 64, "initializer_range": 0.02,
         "attention_dropout": 0.0, "use_cache": True, "use_sliding_window": False,
         "torch_dtype": "bfloat16"}
QWEN3 = {**QWEN2, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
         "attention_bias": False, "rope_scaling": None, "sliding_window": None}


def decoder_only(model):
    """The tensors of OPTModel, as the first facebook folders have them: decoder.*, no head."""
    return dict(model.model.state_dict())


def with_head(model):
    """A tied head stored once more, under its own name."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def with_rotary_tables(model):
    """The buffers that LLaMA folders of transformers before 4.32 carry in float32."""
    tensors = dict(model.state_dict())
    for i in range(model.config.num_hidden_layers):
        tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = \
            model.model.rotary_emb.inv_freq.float().clone()
    return tensors


def bare_with_masks(model):
    """The original gpt2 folder: no "transformer." before the names, the causal masks as floats."""
    tensors = dict(model.transformer.state_dict())
    n = model.config.n_positions
    for i in range(model.config.n_layer):
        tensors[f"h.{i}.attn.bias"] = torch.tril(torch.ones(n, n)).view(1, 1, n, n)
        tensors[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return tensors


def shared_with_masks(model):
    """A whole state_dict: head and embedding share one storage; causal masks as booleans."""
    tensors, n = model.state_dict(), model.config.n_positions
    for i in range(model.config.n_layer):
        tensors[f"transformer.h.{i}.attn.bias"] = \
            torch.tril(torch.ones(n, n, dtype=torch.bool)).view(1, 1, n, n)
    return tensors


def with_pooler(model):
    """roberta-base: a pooler that the head does not read, and the position numbers as int64."""
    tensors, dim = dict(model.state_dict()), model.config.hidden_size
    for name in ("lm_head.decoder.weight", "lm_head.decoder.bias"):
        del tensors[name]  # tied
    tensors["roberta.embeddings.position_ids"] = \
        torch.arange(model.config.max_position_embeddings).view(1, -1)
    for name, shape in (("weight", (dim, dim)), ("bias", (dim,))):
        tensors[f"roberta.pooler.dense.{name}"] = torch.tensor(
            noise("roberta/pooler/" + name, shape) * 0.1, dtype=torch.float32)
    return tensors


# name: configuration, tokenizer, its merges, tokens of the longest sequence, padding, how stored:
#   tensors: what is stored instead of what save_pretrained chooses; file: under which name;
#   shards: into how many files; style: 4 or 5 (transformers' way with config.json), or "files"
FAMILIES = {
    "opt-pre": ({**OPT, "vocab_size": 304, "hidden_size": 40, "ffn_dim": 88,
                 "num_attention_heads": 4, "max_position_embeddings": 32,
                 "word_embed_proj_dim": 40, "do_layer_norm_before": True,
                 "_remove_final_layer_norm": False}, kinds.opt, 40, 32, "left",
                {"tensors": decoder_only, "file": "pytorch_model.bin"}),
    "opt-post": ({**OPT, "vocab_size": 300, "hidden_size": 48, "ffn_dim": 96,
                  "num_attention_heads": 6, "max_position_embeddings": 64,
                  "word_embed_proj_dim": 28, "do_layer_norm_before": False}, kinds.opt, 40, 30,
                 "right", {}),
    "llama-tied": ({**LLAMA, "vocab_size": 341, "hidden_size": 36, "intermediate_size": 60,
                    "num_attention_heads": 6, "rms_norm_eps": 1e-6, "pad_token_id": 0,
                    "tie_word_embeddings": True}, kinds.llama, 42, 26, "right",
                   {"tensors": with_head}),
    "llama3": ({**LLAMA3, "vocab_size": 301, "bos_token_id": 298, "eos_token_id": [299, 300],
                "head_dim": 16, "torch_dtype": "bfloat16"}, kinds.llama3, 42, 40, "left",
               {"shards": 3}),
    "llama3-tied": ({**LLAMA3, "vocab_size": 299, "bos_token_id": 296, "eos_token_id": 297,
                     "rope_scaling": {**LLAMA3["rope_scaling"], "factor": 32.0},
                     "hidden_size": 36, "intermediate_size": 56, "num_attention_heads": 6,
                     "num_key_value_heads": 3, "head_dim": 12, "num_hidden_layers": 3,
                     "tie_word_embeddings": True, "torch_dtype": "bfloat16"}, kinds.llama3, 40, 36,
                    "right", {"style": 5}),
    "llama-linear": ({**LLAMA, "vocab_size": 340, "num_key_value_heads": 4, "pretraining_tp": 1,
                      "rope_scaling": {"type": "linear", "factor": 2.0},
                      "torch_dtype": "float16"}, kinds.llama, 40, 30, "right", {}),
    "llama-bias": ({**LLAMA, "vocab_size": 352, "attention_bias": True, "mlp_bias": True,
                    "hidden_size": 32, "intermediate_size": 60, "head_dim": 12,
                    "rms_norm_eps": 1e-3, "num_key_value_heads": 1, "rope_theta": 20000.0,
                    "rope_scaling": None, "torch_dtype": "float16"},
                   kinds.metaspace, 40, 24, "left", {}),
    "vicuna": ({**LLAMA, "vocab_size": 340, "hidden_size": 32, "intermediate_size": 88,
                "max_position_embeddings": 48, "pad_token_id": 0, "torch_dtype": "float16"},
               kinds.llama, 40, 28, "right",
               {"tensors": with_rotary_tables, "file": "pytorch_model.bin", "shards": 2}),
    "mistral-window": ({**MISTRAL, "vocab_size": 338, "hidden_size": 48, "num_attention_heads": 6,
                        "torch_dtype": "bfloat16"}, kinds.llama, 38, 36, "left", {}),
    "mistral-full": ({**MISTRAL, "vocab_size": 340, "hidden_size": 32, "head_dim": 10,
                      "intermediate_size": 64, "num_key_value_heads": 1, "sliding_window": None,
                      "rope_theta": 1000000.0, "torch_dtype": "bfloat16"}, kinds.metaspace, 40, 32,
                     "right", {"shards": 2}),
    "gpt2": ({**GPT2, "vocab_size": 297, "bos_token_id": 296, "eos_token_id": 296,
              "activation_function": "gelu_new", "n_inner": None}, kinds.gpt2, 40, 30, "right",
             {"style": "files"}),
    "gpt2-old": ({**GPT2, "vocab_size": 297, "bos_token_id": 296, "eos_token_id": 296,
                  "n_embd": 32, "n_head": 2, "n_positions": 32, "n_ctx": 32,
                  "activation_function": "gelu_new"}, kinds.gpt2, 40, 32, "right",
                 {"tensors": bare_with_masks}),
    "gpt2-inner": ({**GPT2, "vocab_size": 304, "bos_token_id": 294, "eos_token_id": 294,
                    "n_head": 3, "n_inner": 75, "layer_norm_epsilon": 1e-3,
                    "activation_function": "gelu", "scale_attn_weights": True,
                    "scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": False},
                   kinds.gpt2, 38, 28, "left",
                   {"tensors": shared_with_masks, "file": "pytorch_model.bin"}),
    "roberta": ({**ROBERTA, "vocab_size": 301, "hidden_size": 36, "intermediate_size": 72,
                 "num_attention_heads": 4, "num_hidden_layers": 2,
                 "max_position_embeddings": 34}, kinds.roberta, 40, 32, "right",
                {"tensors": with_pooler}),
    "roberta-untied": ({**ROBERTA, "vocab_size": 299, "hidden_size": 33, "intermediate_size": 61,
                        "num_attention_heads": 3, "num_hidden_layers": 3,
                        "max_position_embeddings": 66, "tie_word_embeddings": False,
                        "layer_norm_eps": 1e-3, "torch_dtype": "float16"}, kinds.roberta, 38, 29,
                       "left", {}),
    "qwen2": ({**QWEN2, "vocab_size": 304, "bos_token_id": 296, "eos_token_id": 296,
               "sliding_window": 8, "max_window_layers": 1, "tie_word_embeddings": True},
              kinds.qwen, 40, 30, "left", {}),
    "qwen2-untied": ({**QWEN2, "vocab_size": 299, "bos_token_id": 296, "eos_token_id": 298,
                      "hidden_size": 42, "intermediate_size": 70, "num_attention_heads": 7,
                      "num_key_value_heads": 1, "tie_word_embeddings": False,
                      "torch_dtype": "float16"}, kinds.qwen, 40, 27, "right", {}),
    "qwen3": ({**QWEN3, "vocab_size": 299, "bos_token_id": 296, "eos_token_id": 298,
               "head_dim": 16, "rms_norm_eps": 1e-3, "tie_word_embeddings": False},
              kinds.qwen, 40, 30, "right", {}),
    "qwen3-tied": ({**QWEN3, "vocab_size": 320, "bos_token_id": 296, "eos_token_id": 298,
                    "hidden_size": 36, "intermediate_size": 56,
                    "num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 6,
                    "tie_word_embeddings": True, "torch_dtype": "float32"}, kinds.qwen, 40, 30,
                   "left", {}),
}


def noise(name, shape):
    """Normal noise that depends on the name alone, from a stream that numpy has frozen."""
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


def fill(folder, model):
    """Weights with which logits vary by several units, attention is uneven and no bias is 0."""
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            shape = tuple(parameter.shape)
            values = noise(f"{folder}/{module_name}.{name}", shape)
            if name == "bias":
                values *= 0.3
            elif len(shape) == 1:  # the gain of a norm
                values = 1 + 0.2 * values
            elif module_name.endswith(("embed_tokens", "wte", "word_embeddings", "lm_head",
                                       "lm_head.decoder")):
                values *= 2 / np.sqrt(shape[1])
            elif isinstance(module, torch.nn.Embedding):  # positions, token types
                values *= 0.7 / np.sqrt(shape[1])
            else:  # Conv1D holds [inputs, outputs]
                conv = isinstance(module, transformers.pytorch_utils.Conv1D)
                values *= 1.4 / np.sqrt(shape[0 if conv else 1])
            with torch.no_grad():
                parameter.copy_(torch.tensor(values, dtype=torch.float32))
    if model.config.model_type == "roberta":  # one bias under two names, before transformers 5
        model.lm_head.bias.data.copy_(model.lm_head.decoder.bias.data)


def shard(tensors, n_shards):
    """The tensors in order, in n_shards dictionaries of about as many bytes each."""
    total = sum(tensor.nbytes for tensor in tensors.values())
    shards, seen = [{} for _ in range(n_shards)], 0
    for name, tensor in tensors.items():
        shards[min(n_shards - 1, seen * n_shards // total)][name] = tensor
        seen += tensor.nbytes
    return shards


def write_tensors(folder, tensors, file_name):
    if file_name.endswith(".safetensors"):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()},
                  os.path.join(folder, file_name), metadata={"format": "pt"})
    else:
        torch.save(tensors, os.path.join(folder, file_name))


def save_weights(folder, model, tensors=None, file="model.safetensors", shards=1):
    """What save_pretrained writes, or the given tensors in its place."""
    if tensors is None:
        model.save_pretrained(folder, max_shard_size="50GB" if shards == 1 else sum(
            tensor.nbytes for tensor in model.parameters()) // shards * 11 // 10)
        written = [name for name in os.listdir(folder) if name.endswith(".safetensors")]
        assert len(written) == shards, written
        return
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "model.safetensors"))
    tensors = tensors(model)
    if shards == 1:
        write_tensors(folder, tensors, file)
        return
    stem, ending = file.rsplit(".", 1)
    where = {}
    for i, part in enumerate(shard(tensors, shards)):
        name = f"{stem}-{i + 1:05d}-of-{shards:05d}.{ending}"
        write_tensors(folder, part, name)
        where.update({tensor: name for tensor in part})
    total = sum(tensor.nbytes for tensor in tensors.values())
    kinds.write_json(os.path.join(folder, file + ".index.json"),
                     {"metadata": {"total_size": total}, "weight_map": where})


def choose_sequences(name, config, tokenizer, text, n_longest):
    """One token, a few random ones out of the whole vocabulary, and the beginning of a text."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    allowed = [token for token in range(config["vocab_size"])
               if token != config.get("pad_token_id")]
    longest = tokenizer.encode(text).ids
    if config["model_type"] == "roberta":  # <s> text </s>, some of it masked
        longest = longest[:n_longest - 1] + longest[-1:]
        longest[5] = longest[n_longest // 2] = tokenizer.token_to_id("<mask>")
    return [random.choice(allowed, 1).tolist(), random.choice(allowed, 6).tolist(),
            longest[:n_longest]]


def logits_padded(model, sequences, side, pad):
    """Logits of every sequence from one batch, with the padding's rows left out. In double
    precision this takes the sdpa attention: eager rounds its softmax to float32, where the mask's
    lowest double is infinite and a row of padding on the left becomes NaN."""
    width = max(map(len, sequences))
    tokens = torch.full((len(sequences), width), pad)
    mask = torch.zeros_like(tokens)
    spans = []
    for i, sequence in enumerate(sequences):
        start = width - len(sequence) if side == "left" else 0
        spans.append(slice(start, start + len(sequence)))
        tokens[i, spans[i]] = torch.tensor(sequence)
        mask[i, spans[i]] = 1
    more = {}
    if model.config.model_type != "roberta":  # which counts the tokens that are not padding
        more["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        rows = model(input_ids=tokens, attention_mask=mask, **more).logits.numpy()
    return [rows[i, span] for i, span in enumerate(spans)]


def mean_loss(masked, tokens, logits):
    """Nats per token: of the next token or, with a masked head, of the token itself."""
    rows, targets = (logits, tokens) if masked else (logits[:-1], tokens[1:])
    top = rows.max(1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(rows - top).sum(1))
    return float(np.mean(log_sum - rows[np.arange(len(targets)), targets]))


def write_logits(folder, sequences, logits):
    with open(os.path.join(folder, "logits.bin"), "wb") as file:
        file.write(struct.pack("<2i", len(sequences), logits[0].shape[1]))
        for tokens, rows in zip(sequences, logits):
            file.write(struct.pack("<i", len(tokens)) + np.asarray(tokens, "<i4").tobytes())
            file.write(rows.astype("<f4").tobytes())


def check_tokenizer(folder, tokenizer, text):
    """The folder's tokenizer gives the ids of the one that was trained: its tokenizer.json always,
    transformers' class but for texts that begin with a space, before which LlamaTokenizer of
    transformers 5 puts no other, whatever tokenizer.json says."""
    path, texts = os.path.join(folder, "tokenizer.json"), load.TEXT + [text]
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    for each in texts:
        expected = tokenizer.encode(each).ids
        if os.path.exists(path):
            assert Tokenizer.from_file(path).encode(each).ids == expected, (folder, each)
        if not (each.startswith(" ") and "Llama" in type(loaded).__name__):
            assert loaded(each)["input_ids"] == expected, (folder, each)


def make(name, text):
    config, kind, n_merges, n_longest, side, stored = FAMILIES[name]
    style = stored.get("style", 4)
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    tokenizer, tokenizer_config = kind(text[:8000], n_merges)
    assert tokenizer.get_vocab_size() <= config["vocab_size"], (name, tokenizer.get_vocab_size())

    model_class = getattr(transformers, config["architectures"][0])
    model = model_class(model_class.config_class.from_dict(copy.deepcopy(config))).eval()
    fill(name, model)
    model.to(getattr(torch, config.get("torch_dtype", "float32")))
    save_weights(folder, model, **{key: value for key, value in stored.items() if key != "style"})
    if style != 5:
        kinds.write_json(os.path.join(folder, "config.json"), config)
    length = config.get("max_position_embeddings", config.get("n_positions"))
    kinds.save(folder, tokenizer, tokenizer_config,
               length - 2 if config["model_type"] == "roberta" else length, style)
    check_tokenizer(folder, tokenizer, text[8000:12000])

    model, info = load.load_model(folder)
    assert not info["missing_keys"] and not info["mismatched_keys"], (name, info)
    sequences = choose_sequences(name, config, tokenizer, text[8000:], n_longest)
    alone = [load.logits_alone(model, tokens) for tokens in sequences]
    logits = logits_padded(load.load_model(folder, "sdpa")[0], sequences, side,
                           config.get("pad_token_id", 0))
    difference = max(np.abs(a - b).max() for a, b in zip(logits, alone))
    assert difference < 1e-5, (name, difference)
    write_logits(folder, sequences, logits)

    loss = mean_loss(config["model_type"] == "roberta", sequences[-1], logits[-1])
    size = sum(os.path.getsize(os.path.join(folder, file)) for file in os.listdir(folder))
    print(f"{name}: {size} bytes, vocabulary {tokenizer.get_vocab_size()} of "
          f"{config['vocab_size']}, logits {logits[-1].min():.2f} to {logits[-1].max():.2f}, "
          f"deviation {logits[-1].std():.2f}, padding {difference:.1e}, loss {loss:.6f}, "
          f"unexpected {sorted(info['unexpected_keys'])}", flush=True)
    return loss


def main():
    with open(TEXT, encoding="utf-8") as file:
        text = file.read(20000)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = sys.argv[1:] or list(FAMILIES)
    losses = {name: make(name, text) for name in names}
    if len(sys.argv) == 1:
        with open(os.path.join(HERE, "losses.tsv"), "w", encoding="utf-8") as file:
            file.write("folder\tloss_nats\n")
            file.writelines(f"{name}\t{loss:.9f}\n" for name, loss in losses.items())


if __name__ == "__main__":
    main()
