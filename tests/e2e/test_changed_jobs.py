"""What may change in a run that goes on, and what is said where it may not."""
import os
import re
import shlex
import shutil

import ballot_run as b

STEPS = 6
OPTIONS = dict(run__steps=STEPS, run__eval_every=2, run__checkpoint_every=2, run__keep=9)
MODEL = "tests/golden/families/llama-tied"


class ChangedJobs(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = os.path.join(cls.class_dir, "whole")
        cls.fingerprint = b.printed_fingerprint(b.run(b.tiny(cls.whole, **OPTIONS)))

    def begun(self, name):
        """A run that was killed after a checkpoint: its last steps are only in the journal."""
        run = self.folder(name)
        shutil.copytree(self.whole, run)
        os.remove(os.path.join(run, f"step-{STEPS:06d}.h5"))
        with open(os.path.join(run, "ballots.journal"), "r+b") as file:
            file.truncate(len(b.bytes_of(run, "ballots.journal")) - 104)
        return run

    def test_how_often_is_free_to_change(self):
        run = self.begun("free")
        options = dict(OPTIONS, run__eval_every=1, run__checkpoint_every=1, run__keep=1,
                       run__check_every=3)
        self.assertEqual(b.printed_fingerprint(b.run(b.tiny(run, **options))), self.fingerprint)
        evaluated = [row["step"] for row in b.metrics(run) if row["dev_loss_nats"] is not None]
        self.assertEqual(evaluated, [0, 2, 4, 5])
        self.assertEqual([name for name in sorted(os.listdir(run)) if name.startswith("step-")],
                         [f"step-{STEPS:06d}.h5"])
        made = os.path.join(self.class_dir, "replayed.h5")
        b.run(["replay", b.STORIES, run, "-o", made])
        self.assertEqual(b.inspect(made)["fingerprint"], self.fingerprint)
        again = b.run(["train", os.path.join(run, "job.ini"), "--run", run])
        self.assertEqual(b.printed_fingerprint(again), self.fingerprint)

    def test_more_steps_are_a_new_run_whose_command_is_said(self):
        run = self.folder("planned")
        shutil.copytree(self.whole, run)
        said = b.run(b.tiny(run + "/", **dict(OPTIONS, run__steps=STEPS + 4)), expect=b.USAGE).err
        self.assertIn(f"{run}: the run is planned for {STEPS} steps", said)
        words = shlex.split(re.search(r"is: ballot (train .*)", said).group(1))
        result = b.run(words)
        self.assertIn(f"the model is {run}/best.h5\n", result.err)
        self.assertRegex(result.out, r"(?m)^steps +4 of 4$")
        header = b.inspect(os.path.join(f"{run}-2", "ballots.journal"))
        self.assertEqual((header["steps"], header["seed"]), (4, 2))
        fewer = b.run(b.tiny(run, **dict(OPTIONS, run__steps=3)), expect=b.USAGE).err
        self.assertIn("-s run.steps=3", fewer)

    def test_the_command_for_more_steps_is_one_for_a_shell(self):
        run, without = self.folder("it's a $RUN"), dict(OPTIONS, data__dev="")
        b.run(b.tiny(run, **without))
        said = b.run(b.tiny(run, **dict(without, run__steps=STEPS + 1)), expect=b.USAGE).err
        self.assertIn("from its latest checkpoint is: ", said)
        words = shlex.split(re.search(r"is: ballot (train .*)", said).group(1))
        self.assertIn(f"the model is {run}/step-{STEPS:06d}.h5\n", b.run(words).err)

    def test_what_does_not_apply_is_an_error_beside_a_journal_too(self):
        run = self.begun("unused")
        said = b.run(b.tiny(run, "-s", "rule.eta=0.25", **OPTIONS), expect=b.USAGE).err
        self.assertIn("-s rule.eta=0.25: [rule] eta = 0.25 does not apply", said)
        job = os.path.join(run, "job.ini")
        with open(job, "a", encoding="utf-8") as file:
            file.write("[rule]\neta = 0.25\n")
        for command in (["config", job], ["train", job, "--run", run],
                        ["replay", b.STORIES, run, "-o", os.path.join(run, "no.h5")]):
            said = b.run(command, expect=b.USAGE).err
            self.assertRegex(said, r"job.ini:\d+: \[rule\] eta = 0.25 does not apply")

    def test_what_decides_is_named_with_both_values(self):
        run = self.begun("decides")
        for option, then in (("data.batch=2", "batch = 1"), ("run.seed=9", "seed = 1"),
                             ("vote.train=gains", "train = codes gains"),
                             ("vote.directions=independent", "directions = walsh")):
            said = b.run(b.tiny(run, "-s", option, **OPTIONS), expect=b.USAGE).err
            now = option.split(".")[1].replace("=", " = ")
            self.assertIn(f'belongs to another job: "{then}" there, "{now}" now', said)

    def test_what_is_not_given_stays_as_the_run_was_begun(self):
        whole, more = self.folder("kept-whole"), ["-s", "vote.density=0.5", "-s", "data.batch=2"]
        fingerprint = b.printed_fingerprint(b.run(b.tiny(whole, *more, **OPTIONS)))
        size = os.path.getsize(os.path.join(whole, "ballots.journal"))
        without = {key: value for key, value in b.TINY.items() if key != "data.batch"}
        for ranks, lost in enumerate(([], ["job.ini"], ["job.ini", "ballots.journal"]), 1):
            run = self.folder(f"kept-{ranks}")
            shutil.copytree(whole, run)
            os.remove(os.path.join(run, f"step-{STEPS:06d}.h5"))
            os.truncate(os.path.join(run, "ballots.journal"), size - 104)
            for name in lost:
                os.remove(os.path.join(run, name))
            job = self.write(f"short-{ranks}.ini", "[data]\ndev = data/shakespeare/dev.txt\n")
            settings = dict(without, **{key.replace("__", "."): OPTIONS[key] for key in OPTIONS})
            words = [word for pair in settings.items() for word in ("-s", "%s=%s" % pair)]
            result = b.run(["train", job, "--run", run, "-s", f"model.path={b.STORIES}", *words],
                           ranks)
            self.assertEqual(b.printed_fingerprint(result), fingerprint, lost)

    def test_a_new_run_takes_nothing_from_a_run_whose_folder_it_is_made_in(self):
        outer = self.folder("outer")
        b.run(b.tiny(outer, **OPTIONS, vote__bits=8))
        inner = os.path.join(outer, "inner")
        b.run(b.tiny(inner, **OPTIONS))
        self.assertIn(b"bits = 2\n", b.bytes_of(inner, "job.ini"))

    def test_a_changed_tokenizer_is_no_changed_text(self):
        model, run, text = self.folder("model"), self.folder("tokens"), self.folder("train.txt")
        shutil.copytree(MODEL, model)
        shutil.copy("data/tinystories/dev.txt", text)
        begin = b.tiny(run, model=model, data__train=text, **OPTIONS)
        b.run(begin)
        with open(os.path.join(model, "tokenizer.json"), "r+", encoding="utf-8") as file:
            kept = file.read()
            file.seek(0)
            file.write(kept.replace('"normalizer": {', '"normalizer": null, "was": {', 1))
            file.truncate()
        said = b.run(begin, expect=b.USAGE).err
        self.assertIn(f"another tokenizer: tokenizer.json of {model} has changed", said)
        self.write("model/tokenizer.json", kept)
        self.assertNotIn("tokenizer", b.run(begin).err)
        with open(text, "a", encoding="utf-8") as file:
            file.write("The end.\n")
        said = b.run(begin, expect=b.USAGE).err
        self.assertIn(f"was started on other data than {text}", said)
        self.assertNotIn("tokenizer", said)


if __name__ == "__main__":
    b.main()
