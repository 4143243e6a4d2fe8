#!/usr/bin/python3
"""run.py makes the right ratios of what was measured; needs neither oneDNN nor PyTorch.

Usage: test_run.py [unittest options]
"""
import copy
import os
import py_compile
import stat
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import run  # noqa: E402


def peer(library, types, gops, implementation):
    return {"library": library, "types": types, "m": 256, "n": 2048, "k": 768, "gops": gops,
            "implementation": implementation}


def one_round(slow=1.0):
    """A round; slow > 1: the machine was slower, for everybody."""
    def peers(isa, speed):
        return {"isa": isa, "onednn": "2.6.3", "products": [
            peer("openblas", "f32 f32 f32", 150 / slow, "SkylakeX"),
            peer("onednn", "s8 s8 f32", 0.9 * speed / slow, f"brg:avx512_core_{isa}"),
            peer("onednn", "u8 s8 f32", speed / slow, f"brg:avx512_core_{isa}")]}

    def bench(isa, gops):
        return {"peak_gops": {"avx512": 900.0, "amx": 3000.0}, "products": [
            {"isa": isa, "format": "i8", "m": 256, "n": 2048, "k": 768, "gops": gops / slow,
             "share_of_peak": 0.75},
            {"isa": isa, "format": "i8", "m": 7, "n": 7, "k": 7, "gops": 1.0,
             "share_of_peak": 0.1}]}

    def step(isa, seconds):
        return {"shape": "opt-125m", "isa": isa, "tokens": 512, "sequences": 4,
                "seconds_per_probe": slow * seconds, "update_seconds": slow * 0.1}

    return {"peers": {"best": peers("amx_int8", 2000.0), "avx512": peers("vnni", 700.0)},
            "benches": [bench("amx", 1500.0), bench("avx512", 630.0)],
            "steps": [step("amx", 0.2), step("avx512", 0.5)],
            "torch": [{"dtype": "float32", "tokens": 512, "variants": [
                {"variant": "fused", "seconds_per_step": slow * 3.0, "seconds":
                 {"perturb": slow * 0.8, "forward": slow * 1.7, "update": slow * 0.5}}]}]}


class Tables(unittest.TestCase):
    def setUp(self):
        self.rounds = [one_round(), one_round(slow=3.0), one_round()]

    def line(self, text, *words):
        found = [line for line in text.split("\n") if all(word in line for word in words)]
        self.assertEqual(len(found), 1, text)
        return [cell.strip() for cell in found[0].strip("| ").split("|")]

    def test_products_are_compared_with_the_fastest_types_of_each_peer(self):
        speeds, amx, avx512 = run.product_tables(self.rounds)
        self.assertEqual(self.line(speeds, "2048 x 768"),
                         ["256", "2048 x 768", "150", "2000", "700"])
        self.assertEqual(self.line(speeds, "tokens M")[2:],
                         ["OpenBLAS f32", "oneDNN amx_int8", "oneDNN vnni"])
        self.assertEqual(self.line(amx, "2048 x 768")[2:],
                         ["1500", "75 %", "10.00", "0.75", "2.14"])
        self.assertEqual(self.line(avx512, "2048 x 768")[2:],
                         ["630", "75 %", "4.20", "0.32", "0.90"])

    def test_a_slow_round_changes_no_ratio(self):
        self.assertEqual(run.product_tables(self.rounds)[1:], run.product_tables([one_round()])[1:])
        self.assertEqual(run.step_table(self.rounds), run.step_table([one_round()]))

    def test_a_step_is_a_probe_and_an_update(self):
        cells = self.line(run.step_table(self.rounds), "float32")
        self.assertEqual(cells[:6], ["PyTorch float32, noise made anew", "2.50", "0.80", "1.70",
                                     "0.50", "0.33"])
        self.assertEqual(cells[6:], ["12.5 x", "10.0 x", "5.0 x", "5.0 x"])

    def test_the_peers_alone_make_a_table(self):
        for row in self.rounds:
            del row["benches"], row["steps"], row["torch"]
        self.assertIn("oneDNN 2.6.3, instructions: avx512: brg:avx512_core_vnni.",
                      run.report(self.rounds))

    def test_a_missing_key_is_named(self):
        for part, key in (("benches", "products"), ("steps", "seconds_per_probe"),
                          ("steps", "update_seconds"), ("steps", "isa"), ("steps", "tokens")):
            rounds = copy.deepcopy(self.rounds)
            for row in rounds:
                del row[part][0][key]
            with self.assertRaisesRegex(run.Failure, f'ballot bench.*has no "{key}"'):
                run.report(rounds)

    def test_what_cannot_be_compared_is_refused(self):
        rounds = copy.deepcopy(self.rounds)
        rounds[0]["steps"][0]["tokens"] = 256
        with self.assertRaisesRegex(run.Failure, "different work"):
            run.report(rounds)
        rounds = copy.deepcopy(self.rounds)
        for row in rounds:
            for bench in row["benches"]:
                bench["products"] = bench["products"][1:]
        with self.assertRaisesRegex(run.Failure, "no product that the peers measured"):
            run.report(rounds)
        rounds = copy.deepcopy(self.rounds)
        rounds[0]["benches"][0]["products"][0]["gops"] = None
        with self.assertRaisesRegex(run.Failure, "gops.*expected a number above 0"):
            run.report(rounds)


class Programs(unittest.TestCase):
    def test_a_program_that_fails_is_quoted(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ballot")
            for script, words in (("echo 'there is no bench' >&2; exit 2", "there is no bench"),
                                  ("echo hello", "printed no JSON object"),
                                  ("echo '[1]'", "printed no JSON object")):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(f"#!/bin/sh\n{script}\n")
                os.chmod(path, stat.S_IRWXU)
                with self.assertRaisesRegex(run.Failure, words):
                    run.run([path])
            with self.assertRaisesRegex(run.Failure, "cannot be started"):
                run.run([os.path.join(folder, "none")])

    def test_the_programs_compile_and_explain_themselves(self):
        with tempfile.TemporaryDirectory() as folder:
            py_compile.compile(os.path.join(HERE, "mezo_torch.py"), os.path.join(folder, "x.pyc"),
                               doraise=True)
        done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "run.py"), "--help"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
