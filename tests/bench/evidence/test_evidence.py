#!/usr/bin/python3
"""evidence.py searches, compares and draws what was measured; a short whole run where there is torch.

usage: test_evidence.py BALLOT SCRATCH
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../../.."))
sys.path.insert(0, os.path.join(ROOT, "analysis"))
sys.path.insert(0, HERE)
import evidence  # noqa: E402
import rows  # noqa: E402

BALLOT, SCRATCH = sys.argv.pop(1), sys.argv.pop(1)
PYTHON = shutil.which("python3")  # that of the user, who has torch; not Debian's


def lacks(*packages):
    """Why a comparison cannot run."""
    found = PYTHON and subprocess.run([PYTHON, "-c", "import " + ", ".join(packages)],
                                      capture_output=True, check=False).returncode == 0
    return None if found else "pip install " + " ".join(packages)


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


def asked(evaluations, per_pass, rows=4, seed=1):
    """A run on a task: (passes, dev loss, dev accuracy, test accuracy or None)."""
    points = [{"passes": passes, "backward": 0, "seconds": per_pass * passes, "loss": loss,
               "accuracy": dev, **({"test": {"loss": loss + 1, "accuracy": test}} if test else {})}
              for passes, loss, dev, test in evaluations]
    return {"points": points, "diverged": False, "seed": seed, "rate": 1e-6, "eps": 1e-3,
            "slots": 64, "rows": rows, "tokens": 64}


def made_up_task():
    """ballot is best before its end, by the loss; a peer's accuracy falls while its loss still does."""
    start = (0, 1.0, 0.5, 0.5)
    return {"ballot": {"grid": [], "runs": [
                asked([start, (50, 0.4, 0.7, 0.86), (100, 0.5, 0.8, None)], 0.1, 64, 1),
                asked([start, (50, 0.6, 0.7, None), (100, 0.42, 0.8, 0.84)], 0.1, 64, 2)],
                       "shorter": [[asked([start, (50, 0.6, 0.7, 0.8)], 0.1, 64)]]},
            "mezo": {"grid": [], "runs": [asked([start, (9, 0.9, 0.6, 0.61), (40, 0.8, 0.65, 0.66),
                                                 (100, 0.7, 0.6, 0.64), (200, 0.75, 0.9, None),
                                                 (400, 0.6, 0.7, 0.7)], 1.0)]}}


class Fake:
    """Runs of peers that are not made: the loss says how far the rate is from the best."""

    def __init__(self, kind, best):
        self.kind, self.best, self.asked = kind, best, []

    def peer(self, method, rate, eps, passes, seed, shares=(), test=False):
        self.asked.append((rate, passes, seed, tuple(shares), test))
        far = abs(math.log10(rate / self.best))
        return {"points": [{"passes": 0, "backward": 0, "seconds": 0.0, "loss": 9.0},
                           {"passes": passes, "backward": 0, "seconds": 2.0 * passes, "loss": far}],
                "diverged": False, "seed": seed, "rate": rate, "eps": eps}


def settings(**more):
    return argparse.Namespace(**{"quick": False, "passes": 1600, "peer_passes": None,
                                 "search": 1 / 16, "finalists": 1, "seeds": 2, **more})


class Tasks(unittest.TestCase):
    def test_a_run_is_judged_where_its_dev_loss_is_lowest(self):
        first, second = made_up_task()["ballot"]["runs"]
        self.assertEqual(evidence.outcome(first), 0.4)
        self.assertEqual(evidence.best(first)["test"]["accuracy"], 0.86)
        self.assertEqual(evidence.best(second, evidence.cost, 60)["loss"], 0.6)
        self.assertEqual(evidence.outcome(run([5, 4, 4.5])), 4.5)  # of a text the last

    def test_test_accuracies_are_those_of_the_best_by_dev_loss(self):
        found = evidence.summary(made_up_task())
        ours = found["ballot"]["test"]["accuracy"]
        self.assertAlmostEqual(ours["mean"], 0.85)
        self.assertAlmostEqual(ours["deviation"], 0.02 / 2 ** 0.5)
        self.assertEqual(found["mezo"]["test"]["accuracy"], {"mean": 0.7, "deviation": None})
        self.assertAlmostEqual(found["mezo"]["test"]["loss"]["mean"], 1.6)
        head, _, line, _ = evidence.table(found).split("\n")
        cells = dict(zip(head.split(" | "), line.split(" | ")))
        self.assertEqual(cells["test accuracy, best by dev loss"], "85.0 \u00b1 1.4 %")
        self.assertEqual(cells["dev accuracy there"], "75.0 \u00b1 7.1 %")
        self.assertEqual((cells["rows per pass"], cells["tokens per pass"]), ("64", "64"))
        self.assertIn("| 50 | 64 | 0.6000 | 5.0 | 80.0 % |", evidence.lengths(made_up_task()))

    def test_the_others_stand_beside_ballot_in_its_time_and_in_its_passes(self):
        _, table, ours, others = evidence.same_effort(evidence.summary(made_up_task()))
        self.assertIn("one token of each of its 64 rows", ours)
        self.assertIn("MeZO, float32, reads 4 rows whole, 64 tokens", others)
        head, _, ours, mezo = table.split("\n")
        self.assertIn("| passes in 10 seconds | test accuracy | passes, 100 at most |", head)
        self.assertIn("| 100 | 85.0 \u00b1 1.4 % | 100 | 10 | 85.0 \u00b1 1.4 % |", ours)
        self.assertIn("| 9 | 61.0 % | 100 | 100 | 64.0 % |", mezo)
        self.assertEqual(evidence.same_effort(evidence.summary(made_up())), [])

    def test_a_run_of_ballot_has_what_its_best_model_makes_of_the_test_rows(self):
        made = asked([(0, 1.0, 0.5, None), (64, 0.4, 0.7, None), (128, 0.6, 0.8, None)], 0.1)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("metrics.jsonl", {"ballot": "0", "batch": 32}),
                               ("test.json", {"loss_nats": 0.3, "accuracy": 0.9, "value": 0.8})):
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    print(json.dumps(text), file=file)
            evidence.add_test(made, folder)
        self.assertEqual([point.get("test") for point in made["points"]],
                         [None, {"loss": 0.3, "accuracy": 0.9}, None])
        self.assertEqual((made["rows"], made["tokens"]), (32, 32))

    def test_a_search_is_short_and_never_sees_the_test_rows(self):
        runs = Fake("task", 1e-6)
        made = evidence.tuned(runs, "mezo", settings(), 320.0)
        self.assertEqual({row["passes"] for row in made["grid"]}, {100, 1600})
        self.assertEqual([(seed, shares[-1]) for rate, passes, seed, shares, test in runs.asked
                          if test and passes == 1600 and rate == 1e-6], [(1, 1), (1, 1), (2, 1)])
        self.assertFalse([each for each in runs.asked if each[4] != (each[1] == 1600)])
        shares = runs.asked[-1][3]
        self.assertAlmostEqual(min(set(shares) - set(evidence.WHOLE)), 0.095)  # 160 passes of 1600
        self.assertEqual(shares, tuple(sorted(shares)))

    def test_what_is_best_early_has_fewer_passes(self):
        runs = Fake("task", 3e-6)
        evidence.tuned(runs, "adam", settings(finalists=2), 1e9)
        self.assertEqual({passes for _, passes, _, _, _ in runs.asked}, {100, 200})
        self.assertEqual(len({rate for rate, passes, *_ in runs.asked if passes == 200}), 2)
        self.assertEqual({shares for _, passes, _, shares, _ in runs.asked if passes == 200},
                         {evidence.WHOLE})

    def test_peers_may_have_fewer_passes_than_ballot(self):
        for method, passes in (("mezo", 400), ("adam", 200)):
            runs = Fake("task", 1e-6)
            evidence.tuned(runs, method, settings(peer_passes=400), 320.0)
            self.assertEqual({each[1] for each in runs.asked}, {100, passes})

    def test_a_text_has_the_shares_and_the_search_that_it_had(self):
        runs = Fake("shakespeare", 1e-4)
        evidence.tuned(runs, "mezo", settings(search=1 / 4, finalists=2), 320.0)
        self.assertEqual({(passes, shares, test) for _, passes, _, shares, test in runs.asked},
                         {(400, (), False), (1600, (), False)})


class Folder(unittest.TestCase):
    def test_runs_of_another_comparison_are_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            options = settings(task="shakespeare", out=folder, ballot=BALLOT, cores=1)
            evidence.Runs(options)
            evidence.Runs(options)
            for what, value in ("quick", True), ("task", os.path.join(ROOT, "data/tasks/cr.ini")), ("ballot", __file__):
                with self.assertRaisesRegex(evidence.report.Failure, "another comparison: .*" + what):
                    evidence.Runs(argparse.Namespace(**{**vars(options), what: value}))

    def test_a_program_that_is_not_there_is_named(self):
        for word in "--ballot", "--python":
            with tempfile.TemporaryDirectory() as folder:
                said = subprocess.run([sys.executable, "-B", os.path.join(ROOT, "analysis/evidence.py"),
                                       "shakespeare", "-o", folder, "--quick", "--ballot", BALLOT,
                                       word, "/none"], capture_output=True, text=True, check=False)
            self.assertEqual(said.returncode, 2)
            self.assertRegex(said.stderr, "(?m)^evidence.py: /none: No such file")


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
        reason = lacks("torch", "numpy")
        if reason:
            self.skipTest(reason)

    def compare(self, task, out, *more):
        words = [sys.executable, "-B", os.path.join(ROOT, "analysis/evidence.py"), task, "-o", out,
                 "--quick", "--ballot", BALLOT, "--python", PYTHON, *more]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(out, "table.json"), encoding="utf-8") as file:
            return json.load(file), done

    def test_methods(self):
        done = subprocess.run([PYTHON, "-B", os.path.join(HERE, "test_methods.py"), BALLOT],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_one_command_compares_all_and_goes_on_where_it_was_cut_off(self):
        out = os.path.join(SCRATCH, "whole")
        shutil.rmtree(out, ignore_errors=True)
        for _ in range(2):
            table, done = self.compare("shakespeare", out)
        self.assertEqual(done.stderr, "")  # the second time nothing was run
        methods = table["methods"]
        self.assertEqual(set(methods), {"ballot", "mezo", "mezo-bf16", "fzoo", "adam"})
        for name, made in methods.items():
            first, last = made["runs"][0]["points"][0], made["runs"][0]["points"][-1]
            self.assertAlmostEqual(first["loss"], 5.0087, delta=0.004, msg=name)  # int8: 5.0120
            self.assertLess(last["loss"], first["loss"], name)
            self.assertTrue(189 <= evidence.cost(last) <= 192, name)
            self.assertGreater(last["seconds"], 0)
        for name in ("table.md", "evidence.png"):
            self.assertGreater(os.path.getsize(os.path.join(out, name)), 500)

    def test_a_task_is_compared_in_parts(self):
        reason = lacks("gguf", "transformers", "tokenizers")
        if reason or not os.path.isdir(evidence.SMOLLM2):
            self.skipTest(reason or f"no {evidence.SMOLLM2}: jobs/smollm2.sh brings it")
        out = os.path.join(SCRATCH, "task")
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        task = rows.few_rows(out)
        first, _ = self.compare(task, out, "--methods", "ballot")
        both, done = self.compare(task, out, "--methods", "ballot", "adam")
        self.assertEqual(first["summary"]["ballot"]["test"], both["summary"]["ballot"]["test"])
        self.assertNotIn("ballot", done.stderr)
        for name, made in both["methods"].items():
            point = made["runs"][0]["points"][0]
            self.assertAlmostEqual(point["loss"], 1.4, delta=0.3, msg=name)  # int8 beside float32
            found = both["summary"][name]
            self.assertIn(found["test"]["accuracy"]["mean"], (0, 0.25, 0.5, 0.75, 1))
            self.assertEqual(found["rows_per_pass"], 64 if name == "ballot" else 4)
            self.assertTrue(16 < found["tokens_per_pass"] < 128)
            self.assertTrue(60 <= found["same_passes"]["passes"] <= 64)
        with open(os.path.join(out, "table.md"), encoding="utf-8") as file:
            self.assertIn("test accuracy, best by dev loss", file.read())


if __name__ == "__main__":
    unittest.main()
