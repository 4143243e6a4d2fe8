"""The programs of examples/ say what the program says. They stand beside it in the build folder."""
import json
import os
import re
import struct

import ballot_run as b
from test_estimate import random_model

TEXT = "data/shakespeare/dev.txt"


def example(name, *arguments, ranks=1, expect=b.DONE):
    program = os.path.join(os.path.dirname(b.BALLOT), "examples", name)
    launch = [b.MPIEXEC, "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []
    return b.finish(b.start_command([*launch, program, *arguments]), expect)


class Examples(b.TestCase):
    def test_loss(self):
        words = [line.split() for line in example("loss", b.STORIES, TEXT).out.splitlines()]
        said = {line[0]: float(line[1]) for line in words}
        score = json.loads(b.run(["eval", "--json", b.STORIES, "--job", b.JOB,
                                  "-s", f"data.dev={TEXT}", "-s", "data.context=128"]).out)
        self.assertAlmostEqual(said["loss"], score["loss_nats"], places=4)
        self.assertAlmostEqual(said["perplexity"], score["perplexity"], places=3)
        self.assertAlmostEqual(said["accuracy"], 100 * score["accuracy"], places=2)
        self.assertEqual(int(words[0][-2]), score["tokens"])

    def test_step(self):
        alone, several = (example("step", b.STORIES, TEXT, ranks=n).out for n in (1, 3))
        self.assertEqual(alone, several)
        run = self.folder("run")
        b.run(["train", b.JOB, "--run", run, "--max-hours", "1e-9", "-s", f"model.path={b.STORIES}",
               *sum((["-s", setting] for setting in (
                   "run.steps=100", "vote.slots=64", "data.context=64", "data.batch=2",
                   "rule.travel=4", f"data.train={TEXT}", "data.dev=")), [])], expect=b.STOPPED)
        fingerprint = b.inspect(os.path.join(run, "step-000001.h5"))["fingerprint"]
        self.assertRegex(alone, rf"^\d+ of 64 directions .*\nfingerprint {fingerprint}\n$")

    def test_rule(self):
        said = example("rule", b.STORIES, TEXT).out
        losses = [float(line.split()[2]) for line in said.splitlines()]
        self.assertEqual(len(losses), 10)
        self.assertLess(losses[-1], losses[0] - 0.2)
        if not b.SLOW:
            self.assertEqual(example("rule", b.STORIES, TEXT).out, said)

    def test_dataset(self):
        """A last token costs what a whole sum costs more than all but its last character."""
        out = example("dataset", b.STORIES).out
        if not b.SLOW:
            self.assertEqual(out, example("dataset", b.STORIES).out, "drawn otherwise")
        nats = [float(n) for n in re.findall(r"([\d.]+) nats each", out)]
        sums = [f"{i // 10}+{i % 10}={i // 10 + i % 10}" for i in range(100)]
        costs, tokens = [], []
        for name, texts in (("whole", sums), ("start", [text[:-1] for text in sums])):
            file = self.write(name, "\n\n".join(texts))
            score = json.loads(b.run(["eval", "--json", b.STORIES, "--job", b.JOB, "-s",
                                      f"data.dev={file}", "-s", "data.examples=documents"]).out)
            costs.append(score["loss_nats"] * score["tokens"])
            tokens.append(score["tokens"])
        self.assertEqual(tokens[0] - tokens[1], 100)
        self.assertAlmostEqual(nats[0], (costs[0] - costs[1]) / 100, places=4)
        self.assertTrue(0 < nats[1] < 2 * nats[0], out)

    def test_journal(self):
        run = self.folder("run")
        b.run(b.tiny(run))
        head, _, *rows = example("journal", os.path.join(run, "ballots.journal")).out.splitlines()
        steps = b.metrics(run)
        words = [w for w, in struct.iter_unpack("<Q", b.bytes_of(run, "ballots.journal")[128:])]
        self.assertEqual(head, f"{len(steps)} of {len(steps)} steps of 8 votes, seed 1")
        self.assertEqual(len(rows), len(steps))
        for row, step in zip((row.split() for row in rows), steps):
            self.assertEqual(int(row[0]), step["step"])
            self.assertAlmostEqual(float(row[1]), step["loss_nats"], places=4)
            votes, against = words[14 * step["step"] + 11:][:2]  # 14 words a step, see journal.c
            counts = [(votes & ~against).bit_count(), (against & ~votes).bit_count()]
            self.assertEqual([int(n) for n in row[2:5]], counts + [8 - sum(counts)])
            self.assertEqual(len(row) == 6, step["dev_loss_nats"] is not None)
            if len(row) == 6:
                self.assertAlmostEqual(float(row[5]), step["dev_loss_nats"], places=4)

    def test_the_journal_of_slots_of_one_pass(self):
        run = self.folder("one-pass")
        b.run(b.tiny(run, vote__probe="one-sided", vote__bits=8))
        rows = example("journal", os.path.join(run, "ballots.journal")).out.splitlines()[2:]
        for row, step in zip(rows, b.metrics(run), strict=True):
            self.assertAlmostEqual(float(row.split()[1]), step["loss_nats"], places=4)

    def test_what_they_cannot_do(self):
        for name, arguments in (("loss", ["/nowhere", TEXT]), ("step", ["/nowhere", TEXT]),
                                ("journal", ["/nowhere"])):
            result = example(name, *arguments, expect=b.INPUT)
            self.assertRegex(result.err, r"^/nowhere\b")
            self.assertIn("usage", example(name, expect=b.USAGE).err)
        deep = self.folder("deep")  # 70 layers of 16 tensors each
        random_model(deep, n_layers=70, dim=16, hidden=16, n_heads=2)
        for name in ("step", "rule"):
            self.assertRegex(example(name, deep, TEXT, expect=b.INPUT).err,
                             r"the model has \d+ tensors; this example has room for 1024")


b.main()
