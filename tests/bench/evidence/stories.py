"""stories.py: stories260K and Shakespeare for PyTorch, as ballot reads them: the same weights, tokens,
mini-batches of one window each, and dev loss.

The net does in each product what it can (q, k and v in one, gate and up in one), so that PyTorch has
few calls to make. Every parameter is a part of one vector, `flat`.
"""
import heapq
import math
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
DATA = os.path.join(ROOT, "data")
DEV_BATCH = 16  # windows of the dev text at a time


# ---- tokens ----

def read_vocabulary(path):
    with open(path, "rb") as file:
        raw = file.read()
    at, words, scores = 4, [], []
    while at < len(raw):
        score, n = struct.unpack_from("<fi", raw, at)
        words.append(raw[at + 8:at + 8 + n])
        scores.append(score)
        at += 8 + n
    return words, scores


def pieces_of(text, index):
    """Tokens of the characters of a text, or of their bytes where there is none; a space before it."""
    pieces, at = [index[b" "]] if text else [], 0
    while at < len(text):
        end = at + 1
        while end < min(len(text), at + 4) and text[end] & 0xC0 == 0x80:
            end += 1
        raw, at = text[at:end], end
        pieces += [index[raw]] if raw in index else [byte + 3 for byte in raw]
    return pieces


def encode(text, words, scores):
    """Tokens of bytes by llama2.c's rule: of all neighbours that are a token together, the two of the
    highest score become one, the left-most first. A heap has the pairs."""
    index = {word: token for token, word in reversed(list(enumerate(words)))}
    tokens = pieces_of(text, index)
    n = len(tokens)
    before, after, heap = list(range(-1, n - 1)), list(range(1, n + 1)), []

    def offer(left):
        right = after[left] if left >= 0 else n
        if right < n:
            merged = index.get(words[tokens[left]] + words[tokens[right]], -1)
            if merged >= 0:
                heapq.heappush(heap, (-scores[merged], left, right, tokens[left], tokens[right],
                                      merged))

    for left in range(n - 1):
        offer(left)
    while heap:
        _, left, right, a, b, merged = heapq.heappop(heap)
        if after[left] != right or tokens[left] != a or tokens[right] != b:
            continue  # one of the two has been merged with another
        tokens[left], tokens[right], after[left] = merged, -1, after[right]
        if after[right] < n:
            before[after[right]] = left
        offer(before[left])
        offer(left)
    return [token for token in tokens if token >= 0]


def tokens_of(path, cache):
    """Tokens of a text as a vector, kept in a file for the next time."""
    kept = os.path.join(cache, os.path.basename(path) + ".npy")
    if not os.path.exists(kept):
        with open(path, "rb") as file:
            found = encode(file.read(), *read_vocabulary(f"{DATA}/stories260k/tok512.bin"))
        np.save(kept + ".new.npy", np.asarray(found, np.int64))
        os.replace(kept + ".new.npy", kept)  # two programs may do this at once
    return torch.from_numpy(np.load(kept))


# ---- the net ----

def read_weights(path):
    """Shape and weights of a llama2.c file, in the order of use; rotary pairs become halves."""
    with open(path, "rb") as file:
        dim, hidden, n_layers, heads, kv_heads, vocab, _ = struct.unpack("<7i", file.read(28))
        floats, at = np.frombuffer(file.read(), "<f4"), 0
    head = dim // heads

    def take(*shape):
        nonlocal at
        at += math.prod(shape)
        return torch.from_numpy(floats[at - math.prod(shape):at].copy()).reshape(shape)

    def halves(w):  # rows (2i, 2i + 1) of a head become (i, i + head / 2)
        return w.reshape(n_layers, -1, head // 2, 2, dim).transpose(2, 3).reshape(w.shape)

    embedding, norm1 = take(vocab, dim), take(n_layers, dim)
    q, k = halves(take(n_layers, dim, dim)), halves(take(n_layers, kv_heads * head, dim))
    v, o, norm2 = take(n_layers, kv_heads * head, dim), take(n_layers, dim, dim), take(n_layers, dim)
    gate, down, up = take(n_layers, hidden, dim), take(n_layers, dim, hidden), take(
        n_layers, hidden, dim)
    layers = [w for i in range(n_layers) for w in (
        norm1[i], torch.cat([q[i], k[i], v[i]]), o[i], norm2[i], torch.cat([gate[i], up[i]]),
        down[i])]
    return heads, kv_heads, [embedding, *layers, take(dim)]


def flatten(weights, dtype):
    """One vector, and the weights as parameters that are parts of it."""
    flat = torch.cat([w.reshape(-1) for w in weights]).to(dtype)
    parts = flat.split([w.numel() for w in weights])
    return flat, [torch.nn.Parameter(part.view(w.shape)) for part, w in zip(parts, weights)]


class Net:
    def __init__(self, path, dtype):
        self.heads, self.kv_heads, weights = read_weights(path)
        self.flat, self.weights = flatten(weights, dtype)
        self.dim = weights[0].shape[1]
        self.head = self.dim // self.heads
        self.angles = {}

    def rotation(self, n):
        if n not in self.angles:
            angle = torch.outer(torch.arange(n), 10000.0 ** (
                -torch.arange(0, self.head, 2) / self.head))
            self.angles[n] = [f(torch.cat([angle, angle], 1)).to(self.flat.dtype)
                              for f in (torch.cos, torch.sin)]
        return self.angles[n]

    def attend(self, x, w):
        n, t, _ = x.shape
        qkv = F.linear(x, w).view(n, t, self.heads + 2 * self.kv_heads, self.head).transpose(1, 2)
        both, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], 1)
        cos, sin = self.rotation(t)
        a, b = both.chunk(2, -1)
        q, k = (both * cos + torch.cat([-b, a], -1) * sin).split([self.heads, self.kv_heads], 1)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return heads.transpose(1, 2).reshape(n, t, self.dim)

    def logits(self, tokens):
        embedding, *layers, norm = self.weights
        x = F.embedding(tokens, embedding)
        for i in range(0, len(layers), 6):
            norm1, qkv, out, norm2, gate_up, down = layers[i:i + 6]
            h = F.rms_norm(x, norm1.shape, norm1, 1e-5)
            x = x + F.linear(self.attend(h, qkv), out)
            h = F.rms_norm(x, norm2.shape, norm2, 1e-5)
            gate, up = F.linear(h, gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x, norm.shape, norm, 1e-5), embedding)

    def loss(self, windows, reduction="mean"):
        """Cross-entropy of what follows each token of windows [n, tokens + 1], in float32."""
        return F.cross_entropy(self.logits(windows[:, :-1]).flatten(0, 1).float(),
                               windows[:, 1:].flatten(), reduction=reduction)


class Problem:
    """What a method is given: a vector `flat`, `parameters` that are parts of it, and losses of
    mini-batches; a pass is over so many `rows` and `tokens`."""
    rows = 1

    def __init__(self, cache, dtype=torch.float32, context=128):
        self.net = Net(f"{DATA}/stories260k/stories260K.bin", dtype)
        self.flat, self.parameters = self.net.flat, self.net.weights
        self.train = tokens_of(f"{DATA}/shakespeare/train.txt", cache)
        self.dev = tokens_of(f"{DATA}/shakespeare/dev.txt", cache)
        self.context = self.tokens = context

    def draw(self, generator):
        """A mini-batch: a window anywhere in the text."""
        place = torch.randint(len(self.train) - self.context, (1,), generator=generator)
        return self.train[place:place + self.context + 1].unsqueeze(0)

    def loss(self, batch):
        return self.net.loss(batch)

    def evaluate(self):
        """{"loss"} of all windows of the dev text, the last of which is short."""
        with torch.no_grad():
            n = (len(self.dev) - 1) // self.context
            starts = torch.arange(n).unsqueeze(1) * self.context
            windows = self.dev[starts + torch.arange(self.context + 1)]
            total = sum(self.net.loss(part, "sum").item() for part in windows.split(DEV_BATCH))
            rest = self.dev[n * self.context:]
            if len(rest) > 1:
                total += self.net.loss(rest.unsqueeze(0), "sum").item()
        return {"loss": total / (len(self.dev) - 1)}
