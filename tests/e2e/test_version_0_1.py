"""Runs that version 0.1 began: they continue, and replay, with the bits that it would have made."""
import base64
import json
import os
import tarfile

import ballot_run as b

FOLDER = "tests/golden/version-0.1"
STEPS, CHECKPOINT = 20, "step-000012.h5"


class Version01(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(FOLDER, "runs.json"), encoding="utf-8") as file:
            cls.runs = json.load(file)

    def left(self, name):
        """The run directory as version 0.1 left it."""
        run = self.folder(name)
        with tarfile.open(os.path.join(FOLDER, f"{name}.tar.xz")) as tar:
            tar.extractall(run)
        return run

    def check(self, name, run, result):
        expected = self.runs[name]
        self.assertEqual(b.printed_fingerprint(result), expected["fingerprint"], name)
        self.assertEqual(b.bytes_of(run, "ballots.journal"), base64.b64decode(expected["journal"]),
                         name)

    def test_a_run_continues_from_its_own_job_file(self):
        for ranks, name in enumerate(self.runs):
            run = self.left(name)
            result = b.run(["train", os.path.join(run, "job.ini"), "--run", run], ranks % 2 + 1)
            self.check(name, run, result)
            with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
                self.assertEqual(len(b.metrics(run)), STEPS, file.read())

    def test_a_run_continues_by_the_command_that_began_it(self):
        for name, expected in self.runs.items():
            run = self.left(name)
            settings = [word for setting in expected["settings"] for word in ("-s", setting)]
            result = b.run(["train", b.JOB, "--run", run, *settings])
            self.check(name, run, result)

    def test_what_decides_no_code_may_change(self):
        """Options that say nothing may be left out, and evaluations come when they are wanted."""
        for name, expected in self.runs.items():
            run = self.left(name)
            settings = [word for setting in expected["settings"] for word in ("-s", setting)
                        if name != "i8-carry" or not setting.startswith(("rule.eta", "model.group"))]
            result = b.run(["train", b.JOB, "--run", run, *settings, "-s", "run.eval_every=3", "-s",
                            "run.keep=9", "-s", "run.checkpoint_every=4"])
            self.assertEqual(b.printed_fingerprint(result), expected["fingerprint"], name)
            again = b.run(["train", os.path.join(run, "job.ini"), "--run", run])
            self.assertEqual(b.printed_fingerprint(again), expected["fingerprint"], name)
            other = b.run(["train", os.path.join(run, "job.ini"), "--run", run, "-s",
                           "data.batch=77"], expect=b.USAGE)
            self.assertIn("belongs to another job", other.err)

    def test_its_checkpoint_is_what_its_journal_gives(self):
        for name, expected in self.runs.items():
            run = self.left(name)
            checkpoint = os.path.join(run, CHECKPOINT)
            rebuilt = os.path.join(run, "rebuilt.h5")
            b.run(["replay", expected["base"], os.path.join(run, "ballots.journal"), "--step", 12,
                   "-o", rebuilt])
            self.assertEqual(b.inspect(checkpoint, "--verify")["fingerprint"],
                             b.inspect(rebuilt, "--verify")["fingerprint"], name)
            losses = [b.run(["eval", path, "--job", os.path.join(run, "job.ini"), "--json"]).out
                      for path in (checkpoint, rebuilt)]
            self.assertEqual(json.loads(losses[0])["loss_nats"], json.loads(losses[1])["loss_nats"])


if __name__ == "__main__":
    b.main()
