"""Runs that version 0.1 began: they continue, and replay, with the bits that it would have made."""
import base64
import json
import os
import shutil
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
        # What is lost is looked for before any model is: under sanitizers two runs show it.
        cls.some = list(cls.runs)[:2] if b.SLOW else list(cls.runs)

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
        for name in self.runs:
            run = self.left(name)
            self.check(name, run, b.run(self.command(name, run)))

    def command(self, name, run):
        """That which began the run."""
        words = [word for setting in self.runs[name]["settings"] for word in ("-s", setting)]
        return ["train", b.JOB, "--run", run, *words]

    def test_a_run_continues_without_its_journal(self):
        """The newest checkpoint has a copy of it, and says on which data the run was begun."""
        damages = {"removed": os.remove,
                   "with a damaged header": lambda path: b.flip_bit(path, 8 * 50),
                   "cut within its header": lambda path: os.truncate(path, 100)}
        for name in self.some:
            for what, damage in damages.items():
                with self.subTest(run=name, journal=what):
                    run = self.left(name)
                    damage(os.path.join(run, "ballots.journal"))
                    result = b.run(self.command(name, run))
                    self.assertIn(f"the journal is put back from {run}/{CHECKPOINT}", result.err)
                    self.check(name, run, result)

    def test_a_run_continues_without_its_job_file(self):
        for name in self.some:
            for lost in (["job.ini"], ["job.ini", "ballots.journal"]):
                with self.subTest(run=name, lost=lost):
                    run = self.left(name)
                    for file in lost:
                        os.remove(os.path.join(run, file))
                    self.check(name, run, b.run(self.command(name, run), ranks=len(lost)))

    def test_what_decides_no_code_may_change(self):
        """Options that say nothing may be left out, and evaluations come when they are wanted."""
        for name, expected in self.runs.items():
            run = self.left(name)
            settings = [word for setting in expected["settings"] for word in ("-s", setting)
                        if name != "i8-carry" or not setting.startswith(("rule.eta", "model.group"))]
            result = b.run(["train", b.JOB, "--run", run, *settings, "-s", "run.eval_every=3", "-s",
                            "run.keep=9", "-s", "run.checkpoint_every=4", "-s", "data.dev_examples=2"])
            self.assertEqual(b.printed_fingerprint(result), expected["fingerprint"], name)
            again = b.run(["train", os.path.join(run, "job.ini"), "--run", run])
            self.assertEqual(b.printed_fingerprint(again), expected["fingerprint"], name)
            other = b.run(["train", os.path.join(run, "job.ini"), "--run", run, "-s",
                           "data.batch=77"], expect=b.USAGE)
            self.assertIn("belongs to another job", other.err)

    def test_its_job_file_is_taken_without_the_journal(self):
        """It has options that do not apply; a checkpoint, or a lock, shows where it is from."""
        run = self.left("i8-carry")
        job = os.path.join(run, "job.ini")
        os.remove(os.path.join(run, "ballots.journal"))
        b.run(["config", job])
        self.check("i8-carry", run, b.run(["train", job, "--run", run]))
        for name in os.listdir(run):
            if name not in ("job.ini", "run.lock"):
                os.remove(os.path.join(run, name))
        with open(job, "wb") as file:
            with tarfile.open(os.path.join(FOLDER, "i8-carry.tar.xz")) as tar:
                file.write(tar.extractfile("job.ini").read())
        b.run(["config", job])
        os.remove(os.path.join(run, "run.lock"))
        self.assertIn("group = 32 does not apply", b.run(["config", job], expect=b.USAGE).err)

    def test_only_what_its_job_file_says_is_taken_although_it_does_not_apply(self):
        job, new = os.path.join(self.left("i8-carry"), "job.ini"), self.folder("new")
        b.run(["config", job, "-s", "vote.density=0.5"])
        for option, said in (("rule.eta=9", "[rule] eta = 9"),
                             ("model.group=128", "[model] group = 128")):
            result = b.run(["config", job, "-s", option], expect=b.USAGE)
            self.assertIn(f"-s {option}: {said} does not apply", result.err)
        b.run(["train", job, "-s", "rule.eta=9", "--run", new], expect=b.USAGE)
        self.assertFalse(os.path.exists(new))

    def test_what_config_makes_of_its_job_file_is_a_job_file(self):
        for name in self.runs:
            run = self.left(name)
            job = self.write("printed.ini", b.run(["config", os.path.join(run, "job.ini")]).out)
            b.run(["config", job])
            self.check(name, run, b.run(["train", job, "--run", run]))

    def test_it_is_replayed_by_another_job_file(self):
        name = "i8-carry"
        run, alone = self.left(name), self.folder("alone.journal")
        shutil.copy(os.path.join(run, "ballots.journal"), alone)
        base, rebuilt = self.runs[name]["base"], os.path.join(self.class_dir, "alone.h5")
        with open(os.path.join(run, "job.ini"), encoding="utf-8") as file:
            job = self.write("my.ini", file.read())
        result = b.run(["replay", base, alone, "--job", job, "--step", 12, "-o", rebuilt])
        self.assertRegex(result.err, r"(?m)^warning: .*my.ini:4: \[model\] group = 32 does not apply")
        self.assertEqual(b.inspect(rebuilt, "--verify")["fingerprint"],
                         b.inspect(os.path.join(run, CHECKPOINT), "--verify")["fingerprint"])

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
