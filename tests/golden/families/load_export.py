#!/usr/bin/env python3
"""Does transformers load an exported folder, and as the same model? Run by hand.

load_export.py DIR REFERENCE_DIR [--at-most X]
Loads both folders with transformers' own classes and prints the largest difference of every tensor,
of the logits (in double precision, on the sequences of REFERENCE_DIR/logits.bin if there is one)
and of the token ids. Exits 1 when names, shapes or token ids differ, or any number by more than X.
"""
import argparse
import json
import os
import struct
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
import numpy as np  # noqa: E402  (the environment comes first)
import torch  # noqa: E402
from transformers import (AutoModelForCausalLM, AutoModelForMaskedLM,  # noqa: E402
                          AutoTokenizer, logging)

TEXT = ["Once upon a time, there was a little girl.", "  two  spaces\n\tand 1234's tabs",
        "na\u00efve \u65e5\u672c\u8a9e \U0001f680 e\u0301", ""]


def load_model(folder, attention="eager"):
    """The model in double precision on its weights as stored, and what loading had to say."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        masked = json.load(file)["architectures"][0].endswith("ForMaskedLM")
    model, info = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_pretrained(
        folder, dtype=torch.float32, attn_implementation=attention, output_loading_info=True)
    return model.double().eval(), info


def logits_alone(model, tokens):
    """Logits of one sequence without padding, [tokens, vocab], float64."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0].numpy()


def read_logits(path):
    """The (tokens, logits) of every sequence of a logits.bin."""
    with open(path, "rb") as file:
        data = file.read()
    n_sequences, n_vocab = struct.unpack_from("<2i", data)
    at, sequences = 8, []
    for _ in range(n_sequences):
        n, = struct.unpack_from("<i", data, at)
        tokens = np.frombuffer(data, "<i4", n, at + 4)
        logits = np.frombuffer(data, "<f4", n * n_vocab, at + 4 + 4 * n).reshape(n, n_vocab)
        at += 4 + 4 * n + 4 * n * n_vocab
        sequences.append((tokens.tolist(), logits))
    assert at == len(data), f"{path}: {len(data)} bytes, the counts ask for {at}"
    return sequences


def sequences_of(folder, tokenizer):
    path = os.path.join(folder, "logits.bin")
    if os.path.exists(path):
        return [tokens for tokens, _ in read_logits(path)]
    return [ids for ids in (tokenizer(text)["input_ids"] for text in TEXT) if ids]


def compare_tensors(ours, theirs):
    """Largest difference over all tensors; a line each. None: names or shapes differ."""
    same, worst = True, 0.0
    for name in sorted(set(ours) | set(theirs)):
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape:
            print(f"{name}: " + " against ".join(
                str(list(each[name].shape)) if name in each else "nothing"
                for each in (ours, theirs)))
            same = False
            continue
        difference = float((ours[name] - theirs[name]).abs().max())
        scale = float(theirs[name].abs().max())
        print(f"{name} {list(theirs[name].shape)}: {difference:.3e} of at most {scale:.3e}")
        worst = max(worst, difference)
    return worst if same else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder")
    parser.add_argument("reference")
    parser.add_argument("--at-most", type=float, default=np.inf, help="largest difference allowed")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    ours, info = load_model(options.folder)
    theirs, _ = load_model(options.reference)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        print(f"{kind}: {sorted(info[kind]) or 'none'}")
    good = not info["missing_keys"] and not info["mismatched_keys"]

    tensors = compare_tensors(ours.state_dict(), theirs.state_dict())
    good = good and tensors is not None
    our_tokenizer, their_tokenizer = (AutoTokenizer.from_pretrained(folder)
                                      for folder in (options.folder, options.reference))
    for text in TEXT:
        pair = [each(text)["input_ids"] for each in (our_tokenizer, their_tokenizer)]
        if pair[0] != pair[1]:
            print(f"token ids of {text!r}: {pair[0]} against {pair[1]}")
            good = False

    logits, largest = 0.0, 0.0
    if tensors is not None:
        for tokens in sequences_of(options.reference, their_tokenizer):
            a, b = logits_alone(ours, tokens), logits_alone(theirs, tokens)
            logits, largest = max(logits, np.abs(a - b).max()), max(largest, np.abs(b).max())
        print(f"tensors differ by at most {tensors:.3e}; "
              f"logits by at most {logits:.3e} of at most {largest:.3e}")
        good = good and max(tensors, logits) <= options.at_most
    print("the same names, shapes and token ids" if good else "DIFFERENT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
