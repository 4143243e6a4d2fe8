#!/usr/bin/env python3
"""Steps are their papers' formulas, and the problem is ballot's: tokens, windows and dev loss. Needs torch.

usage: test_methods.py BALLOT
"""
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import numpy as np  # noqa: E402
import torch  # noqa: E402

import methods  # noqa: E402
import peer  # noqa: E402
import rows  # noqa: E402
import stories  # noqa: E402

BALLOT = sys.argv.pop(1) if len(sys.argv) > 1 else os.path.join(stories.ROOT,
                                                                "build/release/ballot")
TOKENS = os.path.join(stories.ROOT, "tests/golden/tokens/tok512.txt")


class Tiny:
    """Two parameters, parts of one vector; the loss is a sum of squares, weighted by the data."""

    def __init__(self, dtype=torch.float32):
        self.flat, self.parameters = stories.flatten(
            [torch.arange(1.0, 7.0).view(2, 3) / 8, torch.tensor([0.5, -2.0])], dtype)

    def draw(self, generator):
        return torch.rand(8, generator=generator).to(self.flat.dtype)

    def loss(self, batch):
        return (batch * torch.cat([p.reshape(-1) for p in self.parameters]).square()).sum()

    def evaluate(self):
        return {"loss": float(self.loss(torch.ones(8, dtype=self.flat.dtype)).detach())}


def generators():
    return torch.Generator().manual_seed(5), torch.Generator().manual_seed(6)


def loss_of(flat, weights):
    return float((weights * flat ** 2).sum())


class Steps(unittest.TestCase):
    def setUp(self):
        data, noise = generators()
        self.start = Tiny().flat.double().numpy()
        self.weights, self.noise = torch.rand(8, generator=data).double().numpy(), noise

    def step(self, make, *settings, dtype=torch.float32):
        problem = Tiny(dtype)
        make(problem, *settings).step(*generators())
        return problem.flat.double().numpy()

    def test_mezo_goes_along_its_noise_by_the_slope(self):
        z, eps, rate = torch.empty(8).normal_(generator=self.noise).double().numpy(), 0.01, 0.03
        slope = (loss_of(self.start + eps * z, self.weights) -
                 loss_of(self.start - eps * z, self.weights)) / (2 * eps)
        self.assertGreater(abs(slope), 0.1)
        np.testing.assert_allclose(self.step(methods.Mezo, rate, eps),
                                   self.start - rate * slope * z, atol=3e-6)

    def test_fzoo_divides_by_the_deviation_of_its_losses(self):
        n, eps, rate = methods.Fzoo.directions, 0.01, 0.003
        u = 2.0 * torch.empty(n, 8, dtype=torch.int8).random_(0, 2, generator=self.noise).numpy() - 1
        self.assertEqual(set(u.flatten()), {-1.0, 1.0})
        losses = np.array([loss_of(self.start + eps * each, self.weights) for each in u])
        g = ((losses - loss_of(self.start, self.weights))[:, None] * u).sum(0) / (eps * n)
        np.testing.assert_allclose(self.step(methods.Fzoo, rate, eps),
                                   self.start - rate * g / losses.std(ddof=1), atol=3e-5)

    def test_adam_begins_with_the_sign_of_the_gradient(self):
        np.testing.assert_allclose(self.step(methods.Adam, 0.01),
                                   self.start - 0.01 * np.sign(self.weights * self.start), atol=1e-6)

    def test_a_rate_of_zero_leaves_what_rounding_leaves(self):
        exact = self.step(methods.Mezo, 0.0, 0.01) - self.start
        coarse = self.step(methods.Mezo, 0.0, 0.01, dtype=torch.bfloat16) - self.start
        self.assertLess(abs(exact).max(), 1e-6)
        self.assertGreater(abs(coarse).max(), 0)  # the drift of 16 bits, not hidden
        self.assertLess(abs(coarse).max(), 0.02)

    def test_passes_are_counted_and_a_run_that_diverges_is_over(self):
        for name, settings in (("mezo", (1e-3, 1e-2)), ("fzoo", (1e-4, 1e-2)), ("adam", (1e-3,))):
            problem = Tiny()
            points, diverged = peer.train(problem, methods.METHODS[name][0](problem, *settings), 1,
                                          90, (0.5, 1))
            last = points[-1]
            self.assertLess(last["loss"], points[0]["loss"], name)
            self.assertEqual(last["passes"] + last["backward"], 90, name)
            self.assertEqual(last["backward"], 60 if name == "adam" else 0)
            self.assertFalse(diverged)
        problem = Tiny()
        points, diverged = peer.train(problem, methods.Mezo(problem, 50.0, 1e-2), 1, 90, (0.5, 1))
        self.assertTrue(diverged)


class Judged:
    """A problem whose dev losses are given."""

    def __init__(self, losses):
        self.losses, self.tests = list(losses), 0

    def evaluate(self):
        return {"loss": self.losses.pop(0)}

    def test(self):
        self.tests += 1
        return {"accuracy": self.tests}


class Still:
    passes, backward = 1, 0

    def step(self, data, noise):
        pass


class TestRows(unittest.TestCase):
    def test_test_rows_are_asked_where_the_dev_loss_is_lower_than_before(self):
        problem = Judged([1.0, 0.9, 0.95, 0.9, 0.8])
        points, _ = peer.train(problem, Still(), 1, 4, (1 / 4, 1 / 2, 3 / 4, 1), True)
        self.assertEqual([point.get("test", {}).get("accuracy") for point in points],
                         [1, 2, None, None, 3])
        problem = Judged([1.0, 0.9])
        peer.train(problem, Still(), 1, 4, (1,))
        self.assertEqual(problem.tests, 0)  # unless they are wanted


class Stories(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.problem = stories.Problem(cls.scratch.name)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def test_tokens_are_those_of_the_reference(self):
        vocabulary = stories.read_vocabulary(f"{stories.DATA}/stories260k/tok512.bin")
        with open(TOKENS, encoding="ascii") as file:
            lines = [line.split() for line in file]
        self.assertGreater(len(lines), 50)
        for text, *ids in lines:
            raw = b"" if text == "-" else bytes.fromhex(text)
            self.assertEqual(stories.encode(raw, *vocabulary), list(map(int, ids)), raw)

    def test_the_untouched_model_has_the_loss_that_ballot_says(self):
        ours = self.problem.evaluate()["loss"]
        said = subprocess.run([BALLOT, "eval", f"{stories.DATA}/stories260k", "--format", "f32",
                               "--job", os.path.join(stories.ROOT, "jobs/shakespeare.ini"),
                               "--json"], capture_output=True, text=True, check=True,
                              cwd=stories.ROOT).stdout
        self.assertAlmostEqual(ours, json.loads(said)["loss_nats"], delta=1e-4)

    def test_every_parameter_is_a_part_of_the_vector(self):
        batch, flat = self.problem.draw(torch.Generator().manual_seed(1)), self.problem.flat
        before, kept = self.problem.loss(batch).item(), flat.clone()
        flat.zero_()
        without = self.problem.loss(batch).item()
        flat.copy_(kept)
        self.assertAlmostEqual(without, math.log(512), places=5)  # of so many tokens, all alike
        self.assertEqual(self.problem.loss(batch).item(), before)
        self.assertEqual(sum(p.numel() for p in self.problem.parameters), len(self.problem.flat))

    def test_a_mini_batch_is_a_window_of_the_text(self):
        text, seen = self.problem.train, set()
        for seed in range(20):
            batch = self.problem.draw(torch.Generator().manual_seed(seed))
            self.assertEqual(batch.shape, (1, 129))
            places = (text[:len(text) - 128] == batch[0, 0]).nonzero().flatten().tolist()
            found = [p for p in places if torch.equal(text[p:p + 129], batch[0])]
            self.assertTrue(found)
            seen.update(found)
        self.assertGreater(len(seen), 15)


class Smol(unittest.TestCase):
    def test_the_untouched_model_has_the_loss_that_ballot_says(self):
        try:
            import gguf, tokenizers, transformers  # noqa: F401,E401
        except ImportError as missing:
            self.skipTest(str(missing))
        model = os.path.join(stories.DATA, "smollm2-135m")
        if not os.path.isdir(model):
            self.skipTest(f"no {model}: jobs/smollm2.sh brings it")
        import smol
        smol.BALLOT = BALLOT
        with tempfile.TemporaryDirectory() as folder:
            task = rows.few_rows(folder)
            problem = smol.Problem(folder, torch.float32, task)
            said = {split: json.loads(subprocess.run(
                [BALLOT, "eval", model, "--format", "f32", "--json", "--split", split, "-s",
                 f"data.task={task}", "-s", "data.context=128"], check=True, capture_output=True,
                text=True).stdout) for split in ("dev", "test")}
        for split, found in (("dev", problem.evaluate()), ("test", problem.test())):
            self.assertAlmostEqual(found["loss"], said[split]["loss_nats"], delta=1e-4)
            self.assertAlmostEqual(found["accuracy"], said[split]["accuracy"])
        labels = [row[2] for row in problem.draw(torch.Generator().manual_seed(1))]
        self.assertEqual(len(labels), smol.BATCH)
        self.assertEqual(sorted(labels), [0, 0, 1, 1])
        self.assertEqual([len(problem.work[split]) for split in ("train", "dev", "test")],
                         [10, 6, 4])
        self.assertEqual(problem.tokens, 4 * sum(len(row[0]) for row in problem.work["train"]) / 10)


if __name__ == "__main__":
    unittest.main()
