#!/usr/bin/python3
"""A step of MeZO (Malladi et al. 2023) in PyTorch on one thread: what ballot's probe replaces.

A Llama-style decoder with the shape of `ballot bench --shape opt-125m`. A step perturbs all
parameters by +eps, runs the model, perturbs by -2 eps, runs it again, restores, and updates, with
seeded normal noise made anew each time. Variants, the same arithmetic up to rounding:
  literal   as published: torch.normal for each whole tensor, p.data = p.data + scale * z * eps
  mezo      in place, noise in blocks that stay in the cache
  fused     mezo, restoring and updating in one pass over the parameters: three passes, not four
  kept      noise made once and kept: faster, with a second copy of the model in memory
Prints one JSON object. Needs Debian's python3-torch.
"""
import argparse
import json
import math
import statistics
import sys
import time

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    sys.exit("mezo_torch.py needs PyTorch: install the Debian package python3-torch and use "
             "/usr/bin/python3")

SHAPES = {"opt-125m": dict(dim=768, n_layers=12, n_heads=12, hidden=2048, vocab=50272),
          "check": dict(dim=64, n_layers=2, n_heads=4, hidden=172, vocab=512)}
BLOCK = 1 << 16  # noise values made at a time: 256 KiB
EPS, RATE = 1e-3, 1e-6


class RMSNorm(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-5)
        return y.to(x.dtype) * self.weight


class Layer(torch.nn.Module):
    """q, k, v are one product, and so are gate and up: the same weights, fewer calls."""

    def __init__(self, dim, n_heads, hidden):
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm, self.ffn_norm = RMSNorm(dim), RMSNorm(dim)
        self.qkv = torch.nn.Linear(dim, 3 * dim, bias=False)
        self.out = torch.nn.Linear(dim, dim, bias=False)
        self.gate_up = torch.nn.Linear(dim, 2 * hidden, bias=False)
        self.down = torch.nn.Linear(hidden, dim, bias=False)

    def forward(self, x, cos, sin, mask):
        n, t, dim = x.shape
        q, k, v = (part.view(n, t, self.n_heads, -1).transpose(1, 2)
                   for part in self.qkv(self.attention_norm(x)).split(dim, -1))
        q, k = (rotate(a, cos, sin).reshape(n * self.n_heads, t, -1) for a in (q, k))
        v = v.reshape(n * self.n_heads, t, -1)
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(q.shape[-1]))
        heads = torch.bmm(scores.softmax(-1), v).view(n, self.n_heads, t, -1)
        x = x + self.out(heads.transpose(1, 2).reshape(n, t, dim))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Decoder(torch.nn.Module):
    def __init__(self, dim, n_layers, n_heads, hidden, vocab):
        super().__init__()
        self.head_dim = dim // n_heads
        self.embedding = torch.nn.Embedding(vocab, dim)
        self.layers = torch.nn.ModuleList(Layer(dim, n_heads, hidden) for _ in range(n_layers))
        self.norm = RMSNorm(dim)
        for p in self.parameters():
            if p.dim() == 2:
                torch.nn.init.normal_(p, std=0.02)

    def logits(self, tokens):
        t, dtype = tokens.shape[1], self.embedding.weight.dtype
        angle = torch.outer(torch.arange(t), 10000.0 ** (
            -torch.arange(0, self.head_dim, 2) / self.head_dim))
        cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
        mask = torch.full((t, t), -math.inf, dtype=dtype).triu(1)
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, cos, sin, mask)
        return F.linear(self.norm(x), self.embedding.weight)

    def loss(self, tokens):
        """Cross-entropy of every next token, in float32 whatever the model's type. Rows go 16 at
        a time through the softmax: logits are then in the cache (all at once: 50 ms more)."""
        logits, next_tokens = self.logits(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()
        total = sum(F.cross_entropy(rows.float(), targets, reduction="sum")
                    for rows, targets in zip(logits.split(16), next_tokens.split(16)))
        return total.item() / len(next_tokens)


class Stepper:
    def __init__(self, model, variant):
        self.model, self.variant = model, variant
        self.block, self.kept = torch.empty(BLOCK), None

    def move(self, seed, scale):
        """parameters += scale * noise(seed)"""
        if self.variant == "literal":
            torch.manual_seed(seed)
            for p in self.model.parameters():
                z = torch.normal(mean=0, std=1, size=p.data.size(), dtype=p.data.dtype)
                p.data = p.data + scale * z
            return
        if self.variant == "kept":
            torch._foreach_add_([p.data for p in self.model.parameters()], self.kept, alpha=scale)
            return
        generator = torch.Generator().manual_seed(seed)
        for p in self.model.parameters():
            for part in p.data.view(-1).split(BLOCK):
                noise = self.block[:part.numel()].normal_(generator=generator)
                part.add_(noise, alpha=scale)  # float32 noise: for bfloat16 6 times as fast

    def keep_noise(self, seed):
        if self.kept is None:
            self.kept = [torch.empty_like(p) for p in self.model.parameters()]
        generator = torch.Generator().manual_seed(seed)
        for z in self.kept:
            for part in z.view(-1).split(BLOCK):
                part.copy_(self.block[:part.numel()].normal_(generator=generator))

    def step(self, seed, tokens):
        """One step; returns the losses and the seconds of its parts."""
        seconds, last = {"perturb": 0.0, "forward": 0.0, "update": 0.0}, time.perf_counter()

        def lap(part):
            nonlocal last
            now = time.perf_counter()
            seconds[part] += now - last
            last = now

        if self.variant == "kept":
            self.keep_noise(seed)
        self.move(seed, EPS)
        lap("perturb")
        plus = self.model.loss(tokens)
        lap("forward")
        self.move(seed, -2 * EPS)
        lap("perturb")
        minus = self.model.loss(tokens)
        lap("forward")
        slope = (plus - minus) / (2 * EPS)
        if self.variant in ("literal", "mezo"):
            self.move(seed, EPS)
            lap("perturb")
            self.move(seed, -RATE * slope)
        else:
            self.move(seed, EPS - RATE * slope)
        lap("update")
        return plus, minus, seconds


VARIANTS = ["literal", "mezo", "fused", "kept"]


def check(dtype):
    """The model and the step are what they claim to be; returns the loss of a random model."""
    torch.manual_seed(1)
    shape = SHAPES["check"]
    model = Decoder(**shape).to(dtype)
    tokens = torch.randint(0, shape["vocab"], (2, 33))
    loss = model.loss(tokens)
    assert abs(loss - math.log(shape["vocab"])) < 0.2, f"loss {loss} of a random model"
    other = tokens.clone()
    other[:, 20] = (other[:, 20] + 1) % shape["vocab"]
    differs = (model.logits(tokens) != model.logits(other)).any(-1).any(0)
    assert not differs[:20].any() and differs[20:].all(), "attention is not causal"
    start, losses = [p.clone() for p in model.parameters()], {}
    for variant in VARIANTS:
        for p, s in zip(model.parameters(), start):
            p.data.copy_(s)
        losses[variant] = Stepper(model, variant).step(7, tokens)[:2]
        off = max((p - s).abs().max().item() for p, s in zip(model.parameters(), start))
        assert 0 < off < (1e-4 if dtype == torch.float32 else 2e-2), f"{variant}: moved by {off}"
    if dtype == torch.float32:  # in bfloat16 rounding differs between the variants
        assert all(abs(a - b) < 1e-4 for v in ("fused", "kept")
                   for a, b in zip(losses[v], losses["mezo"])), losses
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="opt-125m")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--length", type=int, default=128, help="tokens per sequence")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--rounds", type=int, default=3, help="steps timed per variant")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    dtype = getattr(torch, options.dtype)
    check_loss = check(dtype)
    torch.manual_seed(1)
    shape = SHAPES[options.shape]
    model = Decoder(**shape).to(dtype)
    tokens = torch.randint(0, shape["vocab"], (options.sequences, options.length + 1))
    steppers = {variant: Stepper(model, variant) for variant in options.variants}
    timed = {variant: [] for variant in options.variants}
    for round_ in range(options.rounds + 1):  # interleaved; the first warms up
        for variant, stepper in steppers.items():
            plus, minus, seconds = stepper.step(round_, tokens)
            assert plus != minus, f"{variant}: perturbing changed nothing"
            if round_ > 0:
                timed[variant].append(seconds)
    assert abs(plus - math.log(shape["vocab"])) < 0.5, f"loss {plus} of a random model"

    rows = []
    for variant, steps in timed.items():
        middle = {part: statistics.median(s[part] for s in steps) for part in steps[0]}
        step = statistics.median(sum(s.values()) for s in steps)
        rows.append({"variant": variant, "probes_per_second": 1 / step, "seconds_per_step": step,
                     "seconds": middle})
    print(json.dumps({
        "torch": torch.__version__, "dtype": options.dtype, "shape": options.shape,
        "capability": next(line.split(": ")[1] for line in torch.__config__.show().split("\n")
                           if "capability" in line),
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": options.sequences * options.length, "sequences": options.sequences,
        "check_loss": check_loss, "loss_plus": plus, "loss_minus": minus,
        "rounds": options.rounds, "variants": rows}, indent=1))


if __name__ == "__main__":
    main()
