#!/usr/bin/python3
"""sweep.py shows every run of a sweep as it stands, and refuses bad records with one sentence."""
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}; Debian has python3-numpy and python3-h5py")
    sys.exit(77)

SWEEP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../analysis/sweep.py")
HEADER = '{"ballot":"0.1.0","steps":4,"tensors":{}}\n'


def step(number, dev="null"):
    return f'{{"step":{number},"loss_nats":5.0,"dev_loss_nats":{dev},"forward_passes":8}}\n'


class Sweep(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.settings = self.path("settings.txt")
        self.write(self.settings, "# seeds\nrun.seed=1\n\n  run.seed=2 'vote.train=codes gains'\n"
                                  "run.seed=3\nrun.seed=4\n")

    def path(self, *names):
        return os.path.join(self.scratch.name, *names)

    def write(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def job(self, run, seed, train="codes"):
        self.write(self.path(run, "job.ini"),
                   f"[vote]\nslots = 64\ntrain = {train}\n[run]\nseed = {seed}\n")

    def checkpoint(self, *names):
        with h5py.File(self.path(*names), "w", userblock_size=512) as file:
            file.attrs["fingerprint"] = np.bytes_("00000000deadbeef")

    def sweep(self, *arguments):
        return subprocess.run([sys.executable, SWEEP, *arguments], capture_output=True, text=True)

    def test_each_run_as_it_stands(self):
        self.write(self.path("000", "metrics.jsonl"),
                   HEADER + step(0, 5.25) + step(1) + step(2, 4.5) + step(3) +
                   '{"final":true,"step":4,"dev_loss_nats":4.75,"forward_passes":32}\n')
        self.checkpoint("000", "step-000004.h5")
        # stopped after two steps, continued, and just now writing its last line
        self.write(self.path("001", "metrics.jsonl"),
                   HEADER + step(0, 5.5) + step(1) + HEADER + step(1) + step(2, 5.0) +
                   '{"step":3,"lo')
        self.checkpoint("001", "step-000002.h5")
        self.write(self.path("002", "metrics.jsonl"), HEADER)
        self.job("000", 1)
        self.job("001", 2, "codes gains")
        self.job("002", 3)
        result = self.sweep(self.scratch.name, self.settings)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        rows = [[cell.strip() for cell in line.strip("|").split("|")]
                for line in result.stdout.splitlines()[2:]]
        self.assertEqual(rows, [
            ["000", "run.seed=1 vote.train=codes", "finished", "4 of 4", "4.7500", "4.5000", "00000000deadbeef"],
            ["001", "run.seed=2 'vote.train=codes gains'", "unfinished", "3 of 4", "5.0000",
             "5.0000", ""],
            ["002", "run.seed=3 vote.train=codes", "unfinished", "0 of 4", "", "", ""],
            ["003", "run.seed=4", "not begun", "", "", "", ""]])

    def test_settings_are_those_of_the_runs_whatever_the_list_says_now(self):
        for run, seed, train in (("000", 7, "codes"), ("001", 2, "gains"), ("004", 9, "codes")):
            self.write(self.path(run, "metrics.jsonl"), HEADER)
            self.job(run, seed, train)
        self.write(self.settings, "run.seed=1\nrun.seed=2\nrun.seed=3\n")
        result = self.sweep(self.scratch.name, self.settings)
        rows = [line.split(" | ")[1] for line in result.stdout.splitlines()[2:]]
        self.assertEqual(rows, ["run.seed=7 vote.train=codes", "run.seed=2 vote.train=gains",
                                "run.seed=3", "", "run.seed=9 vote.train=codes"])
        self.assertEqual(result.stderr, f"sweep.py: {self.settings}: run 000 was started with "
                                        "run.seed = 7, and not 1\n")

    def refuses(self, words, *arguments):
        result = self.sweep(*arguments)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(words, result.stderr)

    def test_bad_input_gets_one_sentence(self):
        self.refuses("none.txt: cannot be read", self.scratch.name, self.path("none.txt"))
        self.write(self.path("empty.txt"), "# nothing\n\n")
        self.refuses("has no line of settings", self.scratch.name, self.path("empty.txt"))
        self.write(self.path("bare.txt"), "run.seed\n")
        self.refuses("expected section.key=value", self.scratch.name, self.path("bare.txt"))
        self.refuses("none: cannot be read", self.path("none"), self.settings)
        self.write(self.path("000", "metrics.jsonl"), HEADER)
        self.refuses("000/job.ini: cannot be read", self.scratch.name, self.settings)
        self.job("000", 1)
        for text, words in ((HEADER + "nonsense\n", "no line of metrics: nonsense"),
                            (HEADER + '{"step":"x"}\n', "no line of metrics"),
                            (HEADER + "[1]\n", "no line of metrics"),
                            (step(0), "no header with the steps")):
            self.write(self.path("000", "metrics.jsonl"), text)
            self.refuses(words, self.scratch.name, self.settings)
        self.write(self.path("000", "metrics.jsonl"), HEADER)
        self.write(self.path("000", "step-000004.h5"), "torn")
        self.refuses("step-000004.h5: is not a whole ballot checkpoint", self.scratch.name,
                     self.settings)
        self.assertEqual(self.sweep(self.scratch.name).returncode, 2)


if __name__ == "__main__":
    unittest.main()
