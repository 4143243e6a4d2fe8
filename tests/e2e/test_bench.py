"""ballot bench: figures that can be true, and refusals."""
import json

import ballot_run as b


class Bench(b.TestCase):
    def bench(self, *arguments, ranks=1):
        return json.loads(b.run(["bench", *arguments, "--json"], ranks=ranks).out)

    def test_a_product_stays_below_the_peak(self):
        for isa in b.isa_levels():
            result = self.bench("--product", "20,70,90", "--isa", isa)
            self.assertEqual([row["format"] for row in result["products"]], ["i8", "i4", "nf4"])
            for row in result["products"]:
                self.assertEqual((row["isa"], row["m"], row["n"], row["k"]), (isa, 20, 70, 90))
                self.assertGreater(row["gops"], 0)
                self.assertLess(row["share_of_peak"], 1.1)
                self.assertGreater(row["pair_ratio"], 0.5)
            self.assertEqual(result["products"][0]["i8_ratio"], 1)
            self.assertNotIn("update", result)
            self.assertGreater(result["clock_ghz"], 0.2)

    def test_a_step_has_the_sizes_of_its_shape(self):
        for ranks, share in ((2, "node"),) if b.SLOW else ((1, "node"), (2, "node"), (2, "rank")):
            step = self.bench("--shape", "opt-125m", "--tokens", "8", "--context", "4",
                              "--share", share, ranks=ranks)
            self.assertEqual((step["ranks"], step["tokens"], step["sequences"]), (ranks, 8, 2))
            matrices = 50272 * 768 + 12 * (4 * 768 * 768 + 3 * 768 * 2048)
            gains = 50272 + 12 * (5 * 768 + 2 * 2048)
            self.assertEqual(step["codes"], matrices + gains + 25 * 768)
            self.assertGreater(step["model_bytes"], 2 * matrices)  # a code and a carry
            self.assertLess(step["model_bytes"], 2.02 * matrices)
            self.assertEqual(step["shared"], ranks > 1 and share == "node")
            copies = ranks if share == "rank" else 1
            self.assertGreater(step["pss_bytes"], copies * step["model_bytes"])
            if not b.SLOW:  # sanitizers hold memory of their own
                self.assertLess(step["pss_bytes"],
                                copies * step["model_bytes"] + ranks * 64 * 2**20)
            self.assertLess(step["share_products"], 1)
            self.assertAlmostEqual(step["probes_per_second"] * step["seconds_per_probe"], ranks, 3)

    def test_what_cannot_be_measured_is_refused(self):
        for arguments, word in (
                (["--shape", "gpt-9"], "llama-1b"), (["--product", "1,2"], "M,N,K"),
                (["--product", "1,2,0"], "1 to 65536"), (["--product", "1,2,3,"], "M,N,K"),
                (["--shape", "opt-125m", "--tokens", "10", "--context", "4"], "multiple"),
                (["--shape", "opt-125m", "--context", "4096", "--tokens", "4096"], "2048"),
                (["--tokens", "x"], "number"), (["--share", "all"], "node or rank"),
                (["--shape", "opt-125m", "--product", "1,2,3"], "one of them"),
                (["--product", "8,64,64", "--tokens", "8"], "--tokens is of a step"),
                (["--share", "rank"], "--share is of a step"), (["--isa", "avx"], "amx")):
            result = b.run(["bench", *arguments], expect=b.USAGE)
            self.assertIn(word, result.err, arguments)


if __name__ == "__main__":
    b.main()
