"""The tokenizer of SmolLM2's GGUF file, made by the tokenizers library of its vocabulary and merges."""
import tokenizers
from tokenizers import decoders, models, pre_tokenizers


def load_tokenizer(reader):
    get = lambda key: reader.fields[f"tokenizer.ggml.{key}"].contents()
    assert (get("model"), get("pre")) == ("gpt2", "smollm")
    tokens = get("tokens")
    tokenizer = tokenizers.Tokenizer(models.BPE(
        vocab={token: i for i, token in enumerate(tokens)},
        merges=[tuple(merge.split(" ")) for merge in get("merges")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, get("token_type")) if kind == 3]
    tokenizer.add_special_tokens(special)
    return tokenizer
