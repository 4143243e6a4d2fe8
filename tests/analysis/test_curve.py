#!/usr/bin/python3
"""curve.py lines up runs that continue each other, and refuses bad ones with one sentence."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import matplotlib  # noqa: F401
    import numpy  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}; Debian has python3-numpy and python3-matplotlib")
    sys.exit(77)

from test_report import made_up_run, write_jsonl

CURVE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../analysis/curve.py")


def curve(*arguments):
    return subprocess.run([sys.executable, CURVE, *arguments], capture_output=True, text=True)


class Curve(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.paths = []
        for name, n_steps in (("first", 60), ("second", 40)):
            folder = os.path.join(self.scratch.name, name)
            os.mkdir(folder)
            write_jsonl(os.path.join(folder, "metrics.jsonl"), made_up_run(n_steps))
            self.paths.append(folder)
        self.out = os.path.join(self.scratch.name, "out")

    def test_passes_count_on_from_run_to_run(self):
        result = curve(*self.paths, "-o", self.out, "--line", "float32=3.5")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = [row.split("\t") for row in result.stdout.splitlines()]
        self.assertEqual([row[0] for row in rows], ["first"] * 3 + ["second"] * 2)
        # a step is 64 probes of 2 passes; losses stand before steps 0, 20, 40
        self.assertEqual([int(row[1]) for row in rows], [0, 2560, 5120, 7680, 10240])
        for ending in ("png", "svg"):
            self.assertGreater(os.path.getsize(f"{self.out}.{ending}"), 5000)

    def test_a_run_without_dev_is_named_and_counted(self):
        with open(os.path.join(self.paths[0], "metrics.jsonl"), encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        with open(os.path.join(self.paths[0], "metrics.jsonl"), "w", encoding="utf-8") as file:
            for row in rows:
                row.update({"dev_loss_nats": None} if "dev_loss_nats" in row else {})
                file.write(json.dumps(row) + "\n")
        result = curve(*self.paths, "-o", self.out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{self.paths[0]}: has no dev loss", result.stderr)
        rows = [row.split("\t")[:2] for row in result.stdout.splitlines()]
        self.assertEqual(rows, [["second", "7680"], ["second", "10240"]])
        result = curve(self.paths[0], "-o", self.out)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("nothing to draw", result.stderr)

    def test_what_is_no_run_is_named(self):
        empty = os.path.join(self.scratch.name, "empty")
        os.mkdir(empty)
        result = curve(self.paths[0], empty, "-o", self.out)
        self.assertEqual((result.returncode, len(result.stderr.splitlines())), (3, 1))
        self.assertIn(empty, result.stderr)
        self.assertEqual(curve(self.paths[0], "-o", self.out, "--line", "x").returncode, 2)
        result = curve(self.paths[0], "-o", os.path.join(self.scratch.name, "no", "out"))
        self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1))


if __name__ == "__main__":
    unittest.main()
