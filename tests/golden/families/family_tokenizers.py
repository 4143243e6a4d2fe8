"""Small tokenizers of the kinds that the families use, trained on a few kB of text.

Knows the structure of each family's tokenizer.json and tokenizer_config.json; knows no model.
"""
import json
import os

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)
from transformers import PreTrainedTokenizerFast

# The splits of Llama 3 and of Qwen2, as their tokenizer.json files give them.
SPLIT_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
                r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPLIT_QWEN = SPLIT_LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def special(text, lstrip=False):
    return AddedToken(text, lstrip=lstrip, rstrip=False, single_word=False, normalized=False,
                      special=True)


def learn(pre_tokenizer, text, n_vocab, alphabet, limit=None):
    """(vocabulary in order, merges) of a byte pair encoding."""
    scratch = Tokenizer(models.BPE())
    scratch.pre_tokenizer = pre_tokenizer
    scratch.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=n_vocab, initial_alphabet=alphabet, show_progress=False,
        limit_alphabet=limit or len(alphabet)))
    model = json.loads(scratch.to_str())["model"]
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    return vocab, [tuple(pair) for pair in model["merges"]]


def bpe(vocab, merges, **options):
    return Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(vocab)}, merges=merges,
                                **options))


def byte_level(text, n_merges, pre_tokenizer):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    return learn(pre_tokenizer, text, 256 + n_merges, alphabet)


def gpt2(text, n_merges):
    """<|endoftext|> is the last token and nothing is added to a text."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocab, merges = byte_level(text, n_merges, split)
    tokenizer = bpe(vocab + ["<|endoftext|>"], merges)
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens([special("<|endoftext|>")])
    end = "<|endoftext|>"
    return tokenizer, {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False,
                       "add_bos_token": False, "bos_token": end, "eos_token": end,
                       "unk_token": end}


def opt(text, n_merges):
    """GPT-2's, with four tokens before the bytes, and </s> before every text."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocab, merges = byte_level(text, n_merges, split)
    tokenizer = bpe(["<s>", "<pad>", "</s>", "<unk>"] + vocab, merges)
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> $B:1", special_tokens=[("</s>", 2)])
    tokenizer.add_special_tokens([special("<pad>"), special("</s>")])
    return tokenizer, {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False,
                       "add_bos_token": True, "bos_token": "</s>", "eos_token": "</s>",
                       "unk_token": "</s>", "pad_token": "<pad>"}


def roberta(text, n_merges):
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocab, merges = byte_level(text, n_merges, split)
    tokenizer = bpe(["<s>", "<pad>", "</s>", "<unk>"] + vocab + ["<mask>"], merges)
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    tokenizer.add_special_tokens([special(token) for token in ("<s>", "<pad>", "</s>", "<unk>")]
                                 + [special("<mask>", lstrip=True)])
    return tokenizer, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": False,
                       "trim_offsets": True, "bos_token": "<s>", "eos_token": "</s>",
                       "unk_token": "<unk>", "sep_token": "</s>", "cls_token": "<s>",
                       "pad_token": "<pad>", "mask_token": "<mask>"}


def split_then_bytes(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3(text, n_merges):
    """Special tokens follow the vocabulary and are no part of the model."""
    split = split_then_bytes(SPLIT_LLAMA3)
    vocab, merges = byte_level(text, n_merges, split)
    tokenizer = bpe(vocab, merges, ignore_merges=True)
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.ByteLevel()
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    tokenizer.add_special_tokens([special(token) for token in (begin, end, "<|eot_id|>")])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{begin} $A", pair=f"{begin} $A {begin} $B:1",
                                      special_tokens=[(begin, len(vocab))])])
    return tokenizer, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": begin,
                       "eos_token": end}


def qwen(text, n_merges):
    split = split_then_bytes(SPLIT_QWEN)
    vocab, merges = byte_level(text, n_merges, split)
    tokenizer = bpe(vocab, merges)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFC(), split
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    end = "<|endoftext|>"
    tokenizer.add_special_tokens([special(token) for token in (end, "<|im_start|>", "<|im_end|>")])
    return tokenizer, {"tokenizer_class": "Qwen2Tokenizer", "add_prefix_space": False,
                       "add_bos_token": False, "errors": "replace", "split_special_tokens": False,
                       "bos_token": None, "eos_token": end, "unk_token": None, "pad_token": end}


def llama(text, n_merges, prefix="normalizer"):
    """Words marked by U+2581, bytes where a character is unknown. The mark before a text comes
    from a normalizer, as in older files, or from a metaspace pre-tokenizer, as in newer ones."""
    n_characters = 40
    marked, merges = learn(pre_tokenizers.Metaspace(), text, n_characters + n_merges, [],
                           limit=n_characters)
    pieces = [left + right for left, right in merges]
    letters = [token for token in marked if token not in pieces]
    vocab = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = bpe(vocab + pieces + letters, merges, unk_token="<unk>", fuse_unk=True,
                    byte_fallback=True)
    if prefix == "normalizer":
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "),
                                           decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([special(token) for token in ("<unk>", "<s>", "</s>")])
    return tokenizer, {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True,
                       "add_eos_token": False, "legacy": False, "sp_model_kwargs": {},
                       "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                       "pad_token": None}


def metaspace(text, n_merges):
    return llama(text, n_merges, prefix="pre_tokenizer")


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True, ensure_ascii=False)
        file.write("\n")


def save(folder, tokenizer, config, max_length, style):
    """Through transformers; then, unless style is 5, the two small files as transformers 4 wrote
    them, with the class name of the real folders. style "files" leaves vocab.json and merges.txt
    as the one description of the vocabulary."""
    names = {key: value for key, value in config.items() if key.endswith("_token")
             and isinstance(value, str)}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length,
                                   clean_up_tokenization_spaces=False, **names)
    fast.save_pretrained(folder)
    if style == 5:
        return
    added = {str(token_id): {"content": token.content, "lstrip": token.lstrip,
                             "normalized": token.normalized, "rstrip": token.rstrip,
                             "single_word": token.single_word, "special": token.special}
             for token_id, token in tokenizer.get_added_tokens_decoder().items()}
    write_json(os.path.join(folder, "tokenizer_config.json"),
               {**config, "model_max_length": max_length, "clean_up_tokenization_spaces": False,
                "added_tokens_decoder": added})
    write_json(os.path.join(folder, "special_tokens_map.json"), names)
    if style == "files":
        tokenizer.model.save(folder)
        os.remove(os.path.join(folder, "tokenizer.json"))
