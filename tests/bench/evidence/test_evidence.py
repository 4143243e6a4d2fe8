#!/usr/bin/python3
"""evidence.py searches, compares and draws what was measured; a short whole run where there is torch.

usage: test_evidence.py BALLOT SCRATCH
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../../.."))
sys.path.insert(0, os.path.join(ROOT, "analysis"))
import evidence  # noqa: E402

BALLOT, SCRATCH = sys.argv.pop(1), sys.argv.pop(1)
PYTHON = shutil.which("python3")  # that of the user, who has torch; not Debian's


def lacks_torch():
    found = PYTHON and subprocess.run([PYTHON, "-c", "import numpy, torch"], capture_output=True,
                                      check=False).returncode == 0
    return None if found else "there is no torch: pip install torch numpy"


def run(losses, per_pass=0.01, backward=0, seed=1):
    """A run with these losses after 0, 100, 200, 400, ... passes."""
    points = [{"passes": n, "backward": backward * n, "seconds": per_pass * n, "loss": loss}
              for n, loss in zip((0, 100, 200, 400, 800), losses)]
    return {"points": points, "diverged": losses[-1] is None, "seed": seed, "rate": 0.1, "eps": 0.01,
            "slots": 32}


def made_up():
    return {"ballot": {"grid": [], "runs": [run([5, 4.5, 4, 3.5, 3], 0.001, seed=1),
                                            run([5, 4.5, 4, 3.5, 3.2], 0.001, seed=2)],
                       "shorter": [[run([5, 4.4, 3.5], 0.001, seed=seed) for seed in (1, 2)]]},
            "mezo": {"grid": [{"rate": 0.1, "eps": 0.01, "passes": 200, "loss": 4.5},
                              {"rate": 1.0, "eps": 0.01, "passes": 200, "loss": None}],
                     "runs": [run([5, 4.9, 4.8, 4.5, 4])]},
            "fzoo": {"grid": [], "runs": [run([5, 4.8, 4.4, 4, 3.5])]},
            "adam": {"grid": [], "runs": [run([5, 3, 2.5, 2.2, 2], backward=2)]}}


class Figures(unittest.TestCase):
    def test_a_loss_is_reached_between_two_evaluations(self):
        passes = run([5, 4.5, 4, 3.5, 3])
        self.assertAlmostEqual(evidence.reached(passes, 4, evidence.cost), 200)
        self.assertAlmostEqual(evidence.reached(passes, 3.75, evidence.cost), 200 * 2 ** 0.5)
        self.assertEqual(evidence.reached(passes, 4.9, evidence.cost), 100)  # no line from 0
        self.assertIsNone(evidence.reached(passes, 2.9, evidence.cost))
        self.assertEqual(evidence.reached(run([5, 4], backward=2), 4, evidence.cost), 300)

    def test_ballot_is_compared_at_the_last_loss_of_the_others(self):
        found = evidence.summary(made_up())
        self.assertAlmostEqual(found["ballot"]["loss"], 3.1)
        self.assertAlmostEqual(found["ballot"]["spread"], 0.2)
        self.assertAlmostEqual(found["ballot"]["passes_to_mezo"], 100 * 2 ** (4 / 9))
        self.assertAlmostEqual(found["ballot"]["seconds_to_mezo"], 0.1 * 2 ** (4 / 9))
        self.assertAlmostEqual(found["ballot"]["passes_to_fzoo"], 200)
        self.assertAlmostEqual(found["mezo"]["passes_to_mezo"], 800)
        self.assertIsNone(found["mezo"]["passes_to_fzoo"])
        mezo, fzoo = evidence.ratios(found)
        self.assertIn("1/5.9 of the passes and 1/59 of the seconds", mezo)
        self.assertIn("1/4.0 of the passes and 1/40 of the seconds", fzoo)
        line = [row for row in evidence.table(found).split("\n") if "Adam" in row][0]
        self.assertIn("| 800 | 1,600 | 2.0000 |", line)

    def test_shorter_runs_are_shown_by_their_ends(self):
        self.assertIn("| 800 | 32 | 3.1000 | 0.8 |\n| 200 | 32 | 3.5000 | 0.2 |",
                      evidence.lengths(made_up()))

    def test_the_grid_shows_what_diverged(self):
        self.assertIn("| MeZO, float32 | 1 | 0.01 | 200 | diverged |", evidence.grids(made_up()))

    def test_the_search_goes_on_until_the_best_is_inside(self):
        tried = []

        def loss(rate, eps):
            tried.append((rate, eps))
            return abs(rate - 1e-6) + (0.5 if eps == 1e-3 else 0.0)

        found = evidence.search(loss, [1e-3, 1e-4], [1e-3, 1e-2], False)
        self.assertEqual(found[0][0], (1e-6, 1e-2))
        self.assertEqual(evidence.neighbour(0.3, 1), 1.0)
        self.assertEqual(evidence.neighbour(1e-4, -1), 3e-5)
        self.assertIn((3e-7, 1e-3), tried)
        self.assertEqual(len(tried), len(set(tried)))
        self.assertIn((1e-2, 1e-2), [setting for setting, _ in evidence.search(
            lambda rate, eps: abs(rate - 1e-3), [3e-4, 1e-3, 3e-3], [1e-3, 1e-2], True)])

    def test_an_evaluation_of_ballot_is_of_the_model_before_the_step(self):
        rows = [{"ballot": "0", "batch": 1},
                {"step": 0, "dev_loss_nats": 5.0, "forward_passes": 64},
                {"step": 1, "dev_loss_nats": None, "forward_passes": 128},
                {"step": 2, "dev_loss_nats": 4.5, "forward_passes": 192},
                {"final": True, "step": 3, "dev_loss_nats": 4.0, "forward_passes": 192}]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "metrics.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows))
            found = evidence.ballot_points(path)
        self.assertEqual([(p["passes"], p["loss"]) for p in found],
                         [(0, 5.0), (128, 4.5), (192, 4.0)])

    def test_the_picture_is_drawn(self):
        with tempfile.TemporaryDirectory() as folder:
            measured = made_up()
            measured["mezo"]["runs"] = [run([5, 4.9, None])]
            evidence.draw(measured, os.path.join(folder, "x.png"))
            self.assertGreater(os.path.getsize(os.path.join(folder, "x.png")), 10000)

    def test_a_peer_that_cannot_run_is_quoted(self):
        with self.assertRaisesRegex(evidence.report.Failure, "no such luck"):
            evidence.call(["/bin/sh", "-c", "echo no such luck >&2; exit 3"])


class Whole(unittest.TestCase):
    def setUp(self):
        reason = lacks_torch()
        if reason:
            self.skipTest(reason)

    def test_methods(self):
        done = subprocess.run([PYTHON, "-B", os.path.join(HERE, "test_methods.py"), BALLOT],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_one_command_compares_all_and_goes_on_where_it_was_cut_off(self):
        out = os.path.join(SCRATCH, "whole")
        shutil.rmtree(out, ignore_errors=True)
        words = [sys.executable, "-B", os.path.join(ROOT, "analysis/evidence.py"), "shakespeare",
                 "-o", out, "--quick", "--ballot", BALLOT, "--python", PYTHON]
        for _ in range(2):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")  # the second time nothing was run
        with open(os.path.join(out, "table.json"), encoding="utf-8") as file:
            methods = json.load(file)["methods"]
        self.assertEqual(set(methods), {"ballot", "mezo", "mezo-bf16", "fzoo", "adam"})
        for name, made in methods.items():
            first, last = made["runs"][0]["points"][0], made["runs"][0]["points"][-1]
            self.assertAlmostEqual(first["loss"], 5.0087, delta=0.004, msg=name)  # int8: 5.0120
            self.assertLess(last["loss"], first["loss"], name)
            self.assertTrue(189 <= evidence.cost(last) <= 192, name)
            self.assertGreater(last["seconds"], 0)
        for name in ("table.md", "evidence.png"):
            self.assertGreater(os.path.getsize(os.path.join(out, name)), 500)


if __name__ == "__main__":
    unittest.main()
