"""Remakes tok512.txt: tokens of tok512.bin by llama2.c's greedy algorithm (run.c), transcribed.

    python3 make_llama2c.py        (no packages needed)
"""
import pathlib
import struct

from samples import WRITTEN, write

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parents[2] / "data"
ODD = [bytes(range(128, 256)), bytes(range(1, 128)), b"\xff\xfe", b"a\x80b", b"\xc3", b"\xe2\x82",
       b"\xe2\x82\xac\x80\x80\x80\x80\x80", b"\xf0\x9f\x98", b"\x80" * 9]


def read(path):
    raw = path.read_bytes()
    at, vocab, scores = 4, [], []
    while at < len(raw):
        score, n = struct.unpack_from("<fi", raw, at)
        vocab.append(raw[at + 8 : at + 8 + n])
        scores.append(score)
        at += 8 + n
    return vocab, scores


def encode(text, vocab, scores):
    text = text if isinstance(text, bytes) else text.encode()
    index = {}
    for token, string in enumerate(vocab):
        index.setdefault(string, token)
    tokens = [index[b" "]] if text else []
    at = 0
    while at < len(text):
        end = at + 1
        while end < len(text) and text[end] & 0xC0 == 0x80 and end - at < 4:
            end += 1
        if text[at:end] in index:
            tokens.append(index[text[at:end]])
        else:
            tokens += [byte + 3 for byte in text[at:end]]
        at = end
    while True:
        best_score, best_token, best_at = -1e10, -1, -1
        for i in range(len(tokens) - 1):
            token = index.get(vocab[tokens[i]] + vocab[tokens[i + 1]], -1)
            if token >= 0 and scores[token] > best_score:
                best_score, best_token, best_at = scores[token], token, i
        if best_at < 0:
            return tokens
        tokens[best_at : best_at + 2] = [best_token]


if __name__ == "__main__":
    tokenizer = read(DATA / "stories260k" / "tok512.bin")
    lines = (DATA / "shakespeare" / "dev.txt").read_text().splitlines()
    texts = WRITTEN[:43] + ODD + lines[:8]
    write(HERE / "tok512.txt", texts, lambda text: encode(text, *tokenizer))
