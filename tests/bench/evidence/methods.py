"""methods.py: steps of other methods in PyTorch, on a problem whose parameters are parts of one vector.

A step draws a mini-batch, moves the vector, and says how many passes it took. A pass is one forward
pass over the mini-batch; going backward counts as two.
"""
import torch


class Mezo:
    """A two-point step along normal noise (Malladi et al. 2023, arXiv 2305.17333, algorithm 1): add
    eps z, take 2 eps z off, add eps z again, in the type of the parameters. In 16 bits this leaves
    what rounding makes of it, as in the authors' program. z is kept between the passes, where theirs
    makes it anew from its seed: the same step in less time."""
    passes, backward = 2, 0

    def __init__(self, problem, rate, eps):
        self.problem, self.rate, self.eps = problem, rate, eps
        self.z = torch.empty_like(problem.flat)

    @torch.no_grad()
    def step(self, data, noise):
        flat, batch = self.problem.flat, self.problem.draw(data)
        self.z.normal_(generator=noise)
        flat.add_(self.z, alpha=self.eps)
        plus = self.problem.loss(batch).item()
        flat.add_(self.z, alpha=-2 * self.eps)
        minus = self.problem.loss(batch).item()
        flat.add_(self.z, alpha=self.eps)
        flat.add_(self.z, alpha=-self.rate * (plus - minus) / (2 * self.eps))


class Fzoo:
    """N one-sided passes along +-1 and one without (Dang et al. 2025, arXiv 2506.09034):
    g = sum of (l_i - l_0) u_i / (eps N), step rate g / sigma, sigma the deviation of the l_i."""
    directions = 8
    passes, backward = directions + 1, 0

    def __init__(self, problem, rate, eps):
        self.problem, self.rate, self.eps = problem, rate, eps
        self.signs = torch.empty(self.directions, len(problem.flat), dtype=torch.int8)
        self.base = torch.empty_like(problem.flat)

    @torch.no_grad()
    def step(self, data, noise):
        flat, batch = self.problem.flat, self.problem.draw(data)
        self.signs.random_(0, 2, generator=noise).mul_(2).sub_(1)
        self.base.copy_(flat)
        clean, losses = self.problem.loss(batch), []
        for u in self.signs:
            torch.add(self.base, u, alpha=self.eps, out=flat)
            losses.append(self.problem.loss(batch))
        flat.copy_(self.base)
        losses = torch.stack(losses)
        sigma = losses.std()
        if sigma > 0:
            scale = -self.rate / (self.eps * self.directions * sigma)
            for u, share in zip(self.signs, (scale * (losses - clean)).tolist()):
                flat.add_(u, alpha=share)


class Adam:
    """The gradient by backpropagation, one mini-batch a step, and torch.optim.Adam."""
    passes, backward = 1, 2

    def __init__(self, problem, rate, eps=None):
        assert eps is None, "Adam has no perturbation"
        self.problem = problem
        self.optimizer = torch.optim.Adam(problem.parameters, lr=rate)

    def step(self, data, noise):
        self.optimizer.zero_grad(set_to_none=True)
        self.problem.loss(self.problem.draw(data)).backward()
        self.optimizer.step()


METHODS = {"mezo": (Mezo, torch.float32), "mezo-bf16": (Mezo, torch.bfloat16),
           "fzoo": (Fzoo, torch.float32),
           "adam": (Adam, torch.float32)}
