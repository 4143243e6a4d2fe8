#!/usr/bin/python3
"""scale.py predicts what its formulas say, and refuses bad records with one sentence.

Usage: test_scale.py [unittest options]
"""
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SCALE = os.path.join(HERE, "../../analysis/scale.py")
sys.path.insert(0, os.path.dirname(SCALE))
import scale  # noqa: E402

BENCH = {"clock_ghz": 4.0, "peak_gops": {"avx512": 900.0},
         "products": [{"isa": "avx512", "format": form, "m": m, "n": 768, "k": 768, "gops": gops,
                       "share_of_peak": 0.7}
                      for form, m, gops in (("i8", 64, 500.0), ("i8", 256, 640.0),
                                            ("i4", 256, 300.0))],
         "update": {"cycles_per_code": 0.4, "ns_per_code": 0.1, "ns_per_code_wide": 0.3},
         "ballot": {"seconds_per_allreduce": 3e-6, "ranks": 4}}
STEP = {"shape": "opt-125m", "isa": "avx512", "ranks": 1, "codes": 100_000_000, "tokens": 512,
        "sequences": 4, "probes_per_second": 2.0, "seconds_per_probe": 0.5, "share_products": 0.8,
        "share_moves": 0.04, "update_seconds": 0.011, "ballot_seconds": 1e-6}


# Stands for mpirun: P ranks take 64 slots of 1 ms, steps of which vary by 10 %, and update 1,000 codes
# in 2 ms; with more than one, 3 ms of each step are spent waiting.
MPIRUN = """#!/usr/bin/python3
import json, os, sys
words = sys.argv[1:]
ranks, run = int(words[words.index("-n") + 1]), words[words.index("--run") + 1]
settings = dict(words[i + 1].split("=") for i in range(len(words)) if words[i] == "-s")
os.mkdir(run)
with open(os.path.join(run, "job.ini"), "w", encoding="utf-8") as file:
    file.write("[vote]\\nslots = 64\\n")
lines = [{"ballot": "", "tensors": {"a": 600, "b": 400}}]
for step in range(int(settings["run.steps"])):
    vary = 0.9 + step % 2 / 5
    seconds = dict.fromkeys(("vote", "checkpoint", "eval"), 9.0)
    seconds.update(probe=0.064 / ranks * vary, update=0.002 / ranks, journal=0.0005,
                   wait=0.003 * (ranks > 1))
    lines.append({"step": step, "loss_nats": 1.0, "seconds": seconds})
with open(os.path.join(run, "metrics.jsonl"), "w", encoding="utf-8") as file:
    file.writelines(json.dumps(line) + "\\n" for line in [*lines, {"final": True}])
"""


def machine(**changes):
    m = scale.Machine()
    m.per_token, m.per_code, m.update, m.fsync = 1e-6, 2e-6, 1e-6, 2e-4
    m.wide = 3e-6
    m.hop_node, m.hop_net, m.byte, m.cv, m.ranks_per_node = 1e-6, 2e-6, 1e-9, 0.1, 64
    vars(m).update(changes)
    return m


class Model(unittest.TestCase):
    def test_one_rank_by_hand(self):
        terms = scale.predict(machine(), codes=1000, tokens=10, ranks=1, slots=4)
        self.assertAlmostEqual(terms["probe"], 0.096)  # 2 * 1000 * (10e-6 + 2e-6) * 4
        self.assertAlmostEqual(terms["update"], 1e-3)  # 1000 codes, one set
        self.assertEqual((terms["imbalance"], terms["ballot"]), (0.0, 0.0))
        self.assertEqual(terms["journal"], 2e-4)

    def test_two_nodes_by_hand(self):
        terms = scale.predict(machine(), codes=1000, tokens=10, ranks=128, slots=1000)
        self.assertAlmostEqual(terms["probe"], 0.192)  # 8 slots on the rank with most
        # the ranks of a node share their slots: the later of two nodes, and one probe of 24 ms
        self.assertAlmostEqual(terms["imbalance"],
                               0.1 * 0.192 * scale.expected_max(2) / 8 + 0.024)
        # 6 hops within the node, 1 between; eight maps of 16 words and 88 bytes
        self.assertAlmostEqual(terms["ballot"], 6e-6 + 2e-6 + 1112e-9, delta=1e-12)
        self.assertAlmostEqual(terms["update"], 1000 * 3e-6 / 64)  # one wide set

    def test_more_than_a_wide_set_takes_two_looks(self):
        for slots, seconds in ((256, 1e-6), (257, 3e-6), (65536, 3e-6), (65537, 6e-6)):
            terms = scale.predict(machine(), codes=1000, tokens=10, ranks=1, slots=slots)
            self.assertAlmostEqual(terms["update"], 1000 * seconds, msg=slots)

    def test_long_probes_are_as_uneven_as_if_nobody_shared_them(self):
        terms = scale.predict(machine(), codes=1000, tokens=10, ranks=128, slots=128)
        self.assertAlmostEqual(terms["imbalance"], 0.1 * 0.024 * scale.expected_max(128))

    def test_largest_of_normal_numbers(self):
        for n, mean in ((1, 0.0), (2, 1 / math.sqrt(math.pi)), (3, 1.5 / math.sqrt(math.pi)),
                        (100, 2.50759), (1000, 3.24144)):
            self.assertAlmostEqual(scale.expected_max(n), mean, delta=2e-5, msg=n)

    def test_only_ranks_with_slots_can_be_late(self):
        few = scale.predict(machine(), 1000, 10, ranks=64, slots=2)
        self.assertAlmostEqual(few["imbalance"], 0.1 * few["probe"] / math.sqrt(math.pi))

    def test_more_ranks_never_slow_a_fixed_step_down_without_imbalance(self):
        ranks = [1 << i for i in range(17)]
        rows = scale.scale(machine(cv=0.0, hop_node=1e-9, hop_net=1e-9), 10**6, 10, ranks,
                           lambda p: 4096)
        steps = [row["step"] for row in rows]
        self.assertTrue(all(b < a for a, b in zip(steps, steps[1:13])), steps)
        self.assertEqual(rows[0]["efficiency"], 1.0)
        self.assertTrue(all(row["efficiency"] <= 1 + 1e-12 for row in rows))

    def test_weak_scaling_adds_probes_and_loses_efficiency(self):
        rows = scale.scale(machine(), 10**6, 10, [1 << i for i in range(17)], lambda p: 2 * p)
        for a, b in zip(rows, rows[1:]):
            self.assertGreater(b["rate"], a["rate"])
            self.assertGreaterEqual(b["terms"]["imbalance"], a["terms"]["imbalance"])
            self.assertGreaterEqual(b["terms"]["ballot"], a["terms"]["ballot"])
        self.assertLess(rows[-1]["efficiency"], 0.8)

    def test_the_longest_term_is_named(self):
        work = dict(codes=1000, tokens=10)
        for term, change in (("probe", {}), ("imbalance", {"cv": 90.0}), ("ballot", {"hop_node": 1}),
                             ("journal", {"fsync": 1.0}), ("update", {"update": 1.0})):
            row, = scale.scale(machine(**change), work["codes"], work["tokens"], [128],
                               lambda p: 128)
            self.assertEqual(scale.ranking(row["terms"])[0], term)
            self.assertIn(f"  {term} ", scale.table([row]).split("\n")[1])


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))
        return path

    def run_on(self, *records, options=("--no-plot",)):
        paths = [self.file(f"{i}.json", record) for i, record in enumerate(records)]
        return subprocess.run([sys.executable, "-B", SCALE, *paths, *options], text=True,
                              capture_output=True, check=False, cwd=self.folder)

    def first_rank(self, done, heading):
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(heading))
        return lines[at + 2].split()

    def test_one_rank_takes_as_long_as_measured(self):
        row = self.first_rank(self.run_on(BENCH, STEP), "Weak")
        self.assertEqual(row[:4], ["1", "4", "2", "s"])  # 4 probes of 0.5 s
        self.assertEqual(row[8:10], ["10", "ms"])        # 1e8 codes of 0.1 ns

    def test_another_length_keeps_the_share_of_moves(self):
        row = self.first_rank(self.run_on(BENCH, STEP, options=(
            "--no-plot", "--tokens", "1024", "--slots-per-rank", "1")), "Weak")
        self.assertEqual(row[2:4], ["980", "ms"])  # 0.5 s of which 4 % do not grow: 0.02 + 0.96

    def test_without_a_step_the_product_nearest_in_length_counts(self):
        row = self.first_rank(self.run_on(BENCH, options=(
            "--no-plot", "--codes", "1e8", "--tokens", "320", "--move-cycles", "0",
            "--slots-per-rank", "1")), "Weak")
        self.assertEqual(row[2:4], ["200", "ms"])  # 4 * 1e8 * 320 / 640e9

    def test_the_measured_allreduce_is_split_into_hops(self):
        self.assertIn("hops 1.5 us in a node", self.run_on(BENCH, STEP).stdout)
        self.assertIn("hops 0.7 us in a node", self.run_on(BENCH, STEP, options=(
            "--no-plot", "--node-hop-us", "0.7")).stdout)

    def check_run(self, *options):
        os.chmod(self.file("mpirun", MPIRUN), 0o755)
        path = self.folder + os.pathsep + os.environ["PATH"]
        return subprocess.run([sys.executable, "-B", SCALE, "--check", "any.ini", *options], text=True,
                              capture_output=True, check=False, env=dict(os.environ, PATH=path))

    def test_runs_are_compared_with_what_the_model_says_of_them(self):
        done = self.check_run("--steps", "40", "--ranks", "2", "4", "--node-hop-us", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        head, _, *rows = done.stdout.splitlines()
        self.assertIn("64 slots, 40 steps; on one rank a probe takes 1 ms, and those of a step vary "
                      "by 10.0 %", head)
        cells = [line.split() for line in rows]
        self.assertEqual([(row[0], row[1]) for row in cells], [
            (p, term) for p in "124" for term in ("probe", "wait", "journal", "update", "step")])
        self.assertEqual(cells[5], "2 probe 32 ms 32 ms 1.000".split())
        # The later of two ranks: 10 % of 32 ms / sqrt(pi) is more than a probe; and a hop.
        self.assertEqual(cells[6], "2 wait 1 ms 3 ms 2.997".split())
        self.assertEqual(cells[8], "2 update 1 ms 1 ms 1.000".split())
        self.assertEqual(cells[13], "4 update 500 us 500 us 1.000".split())

    def test_a_run_that_fails_gets_a_sentence(self):
        os.chmod(self.file("mpirun", "#!/bin/sh\necho a sentence >&2\nexit 3\n"), 0o755)
        path = self.folder + os.pathsep + os.environ["PATH"]
        done = subprocess.run([sys.executable, "-B", SCALE, "--check", "any.ini"], text=True,
                              capture_output=True, check=False, env=dict(os.environ, PATH=path))
        self.assertEqual((done.returncode, done.stderr),
                         (3, "scale.py: any.ini on 1 rank ended with code 3: a sentence\n"))
        for more in ([], ["x.json", "--check", "any.ini"]):
            done = subprocess.run([sys.executable, "-B", SCALE, *more], text=True,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn("or --check JOB.ini", done.stderr)

    def test_bad_input_gets_a_sentence(self):
        def without(record, key):
            return {k: v for k, v in record.items() if k != key}

        run = {"ranks": 1, "slots": 3, "probes_per_second": 2, "update_seconds": 0.1}
        for code, words, records, options in (
                (3, "is not JSON", ["{"], []),
                (3, "is no record", [{"a": 1}], []),
                (3, "has no seconds_per_probe", [BENCH, without(STEP, "seconds_per_probe")], []),
                (3, "update.ns_per_code", [without(BENCH, "update")], ["--codes", "1e6"]),
                (3, "has no update.ns_per_code", [dict(BENCH, update={}), STEP], []),
                (3, "tokens is '-3'", [BENCH, dict(STEP, tokens=-3)], []),
                (3, "neither a step record nor", [dict(BENCH, products=[])], ["--codes", "1e6"]),
                (2, "how many codes?", [BENCH], []),
                (2, "lower --slots-per-rank", [BENCH, STEP], ["--slots-per-rank", "100"]),
                (2, "is not above 0", [BENCH, STEP], ["--bandwidth-gb", "0"]),
                (2, "invalid whole number value", [BENCH, STEP], ["--slots", "x"]),
                (3, "cannot be read", [BENCH, STEP], ["--measured", "none.json"]),
                (3, "expected a list", [BENCH, STEP], ["--measured", self.file("m.json", [{}])]),
                (3, "has 3 slots", [BENCH, STEP], ["--measured", self.file("n.json", [run])])):
            done = self.run_on(*records, options=["--no-plot", *options])
            self.assertEqual(done.returncode, code, words + done.stderr)
            self.assertIn(words, done.stderr)
            self.assertNotIn("Traceback", done.stderr)

    def test_the_picture_shows_model_and_measurements(self):
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            self.skipTest("Debian has python3-matplotlib")
        run = {"ranks": 2, "slots": 8, "probes_per_second": 3.5, "update_seconds": 0.005}
        m = machine()
        laws = [("weak", lambda p: 4 * p), ("strong", lambda p: 64)]
        figure = scale.draw("title", [
            (name, scale.scale(m, STEP["codes"], 512, [1, 2, 4], slots_of),
             scale.points(m, [STEP], [run], slots_of)) for name, slots_of in laws])
        points = [tuple(line.get_xdata()) for ax in figure.axes for line in ax.get_lines()
                  if line.get_gid() == "points"]
        self.assertEqual(points, [(1,), (2,), (1,), (2,), (1,), (1,)])  # parts, run; parts
        done = self.run_on(BENCH, STEP, options=["-o", "picture"])
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(self.folder, "picture.png"), "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    unittest.main()
