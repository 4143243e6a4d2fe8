"""ballot config: what it prints is a job file, and the option table of docs/job-file.md."""
import json
import os
import re

import ballot_run as b


class Config(b.TestCase):
    def config(self, *arguments, ranks=1):
        return b.run(["config", *arguments], ranks=ranks).out

    def values(self, *arguments):
        return {name: option["value"]
                for name, option in json.loads(self.config(*arguments, "--json")).items()}

    def test_what_it_prints_is_the_same_job(self):
        more = ["-s", "vote.density=0.1", "-s", "rule.travel=3.3333333333333335", "-s",
                "data.test=some where/a file.txt", "-s", "vote.train=gains", "-s",
                "vote.tensors=*.mlp.* *.norm.*", "-s", "data.train=", "-s",
                "vote.deadline=auto", "-s", "vote.audit=0.02"]
        for job in (b.JOB, "jobs/stories260k-tinystories.ini"):
            printed = self.write("printed.ini", self.config(job, *more))
            self.assertEqual(self.values(printed), self.values(job, *more), job)
        printed = self.write("defaults.ini", self.config())
        self.assertEqual(self.values(printed), self.values(), "the defaults")

    def test_every_job_of_the_repository_can_be_read(self):
        for name in sorted(os.listdir("jobs")):
            if name.endswith(".ini"):
                self.config(os.path.join("jobs", name))

    def test_what_it_prints_gives_the_same_run(self):
        given, copied = self.folder("given"), self.folder("copied")
        arguments = b.tiny(given)
        first = b.run(arguments)
        overrides = [a for a in arguments[4:]]
        printed = self.write("same.ini", self.config(b.JOB, *overrides))
        second = b.run(["train", printed, "--run", copied])
        self.assertEqual(b.printed_fingerprint(first), b.printed_fingerprint(second))
        self.assertEqual(b.fingerprints(given), b.fingerprints(copied))
        self.assertEqual(b.bytes_of(given, "ballots.journal"),
                         b.bytes_of(copied, "ballots.journal"))
        again = b.run(["train", os.path.join(given, "job.ini"), "--run", given])
        self.assertEqual(b.printed_fingerprint(first), b.printed_fingerprint(again),
                         "the job.ini of a run directory continues it")

    def test_carriage_returns_are_white_space(self):
        text = "; a comment\n[rule]\ntravel = 2\n\n[data]\ntrain = some/a b.txt\n"
        lf, crlf = self.write("lf.ini", text), self.write("crlf.ini", text.replace("\n", "\r\n"))
        self.assertEqual(self.values(crlf), self.values(lf))
        self.assertEqual(self.values("-s", "rule.travel=3\r", "-s", "data.train= a b \r\n"),
                         self.values("-s", "rule.travel=3", "-s", "data.train=a b"))

    def test_an_option_that_does_not_apply_is_an_error(self):
        for given, sentence in (
                (("rule.eta=0.25",), r"\[rule\] eta = 0.25 does not apply: it is for rule.name=zoqo"),
                (("rule.name=zoqo", "rule.travel=2"), r"travel = 2 does not apply"),
                (("model.group=32",), r"group = 32 does not apply: .*model.codes=i4 or "),
                (("vote.audit_action=warn",), r"audit_action = warn does not apply: .*vote.audit="),
                (("data.dev=", "run.patience=2"), r"patience = 2 does not apply: .*data.dev="),
                (("run.best=loss",), r"best = loss does not apply: .*data.task="),
                (("vote.noise=2",), r"noise = 2 does not apply: .*vote.directions=uniform")):
            settings = [word for setting in given for word in ("-s", setting)]
            for command in (["config"], ["train", b.JOB, "--run", self.folder("run")],
                            ["estimate", b.JOB], ["eval", b.STORIES, "--job", b.JOB]):
                if command[-1] == b.JOB and "travel" in given[-1]:
                    continue  # the file has one too
                said = b.run([*command, *settings], expect=b.USAGE).err
                self.assertRegex(said, rf"ballot: -s {re.escape(given[-1])}: .*{sentence}")
        job = self.write("job.ini", "[rule]\nname = zoqo\n\ntravel = 7\n")
        self.assertIn(f"{job}:4: [rule] travel = 7", b.run(["config", job], expect=b.USAGE).err)
        for applies in (("rule.name=zoqo", "rule.eta=0.25"), ("model.codes=nf4", "model.group=32"),
                        ("model.formats=lm_head*=i4", "model.group=32"),
                        ("vote.audit=1e-5", "vote.audit_action=exclude"),
                        ("rule.eta=0.001",), ("model.group=64",)):  # the last two say nothing new
            self.config(*[word for setting in applies for word in ("-s", setting)])

    def test_options_that_do_not_fit_each_other_are_an_error(self):
        for given, sentence in (
                (("vote.probe=one-sided", "vote.slots=60"), r"slots = 60: .*whole teams of 8"),
                (("rule.warmup=11", "run.steps=10"), r"warmup = 11: .*of 10 steps"),
                (("vote.directions=shared", "vote.probe=one-sided"), r"set probe = two-sided"),
                (("rule.name=sgd", "vote.audit=0.1", "vote.audit_action=exclude"),
                 r"audit_action = exclude: .*set it to stop or warn")):
            settings = [word for setting in given for word in ("-s", setting)]
            for command in (["config"], ["train", b.JOB, "--run", self.folder("run")]):
                self.assertRegex(b.run([*command, *settings], expect=b.USAGE).err, sentence)
        self.config("-s", "rule.warmup=10", "-s", "run.steps=10")

    def test_what_stands_in_a_file_and_does_not_apply_has_its_default(self):
        self.assertIn("\ntravel = 4\n", self.config(b.JOB))
        for rule in ("sgd", "ztest"):
            self.assertIn("; does not apply: travel = auto\n",
                          self.config(b.JOB, "-s", f"rule.name={rule}"))

    def test_a_job_is_written_without_what_does_not_apply(self):
        run = self.folder("run")
        b.run(b.tiny(run, run__steps=1))
        text = b.bytes_of(run, "job.ini").decode()
        self.assertRegex(text, r"(?m)^travel = 4$")
        for key in ("eta", "group", "noise", "audit_action"):
            self.assertNotRegex(text, rf"(?m)^{key} =")

    def test_every_option_shows_its_source(self):
        job = self.write("job.ini", "; a comment\n[run]\nsteps = 7\n\n[vote]\nslots=3\n")
        sources = {name: option["source"] for name, option in
                   json.loads(self.config(job, "-s", "run.seed=5", "--json")).items()}
        self.assertEqual(sources.pop("run.steps"), f"{job}:3")
        self.assertEqual(sources.pop("vote.slots"), f"{job}:6")
        self.assertEqual(sources.pop("run.seed"), "-s run.seed=5")
        self.assertEqual(set(sources.values()), {"default"})
        lines = self.config(job, "-s", "run.seed=5").splitlines()
        options = [i for i, line in enumerate(lines)
                   if re.match(r"(; does not apply: )?[a-z_0-9]+ =", line)]
        self.assertIn("; does not apply: eta = 0.001", lines)
        self.assertEqual(len(options), len(sources) + 3, "options in the text")
        for i in options:  # in a comment on the line above
            self.assertRegex(lines[i - 1], rf"^; .*from (default|{re.escape(job)}:\d+|-s .*)$")
        self.assertIn(f"from {job}:3", lines[lines.index("steps = 7") - 1])

    def test_a_path_that_is_not_utf_8_is_a_path_like_any_other(self):
        odd = os.fsdecode(b"caf\xe9")
        self.assertEqual(self.values("-s", f"data.train={odd}")["data.train"], "caf\ufffd")
        run = self.folder(odd)
        b.run(b.tiny(run))
        with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
            self.assertTrue(json.loads(file.readline())["job"].endswith("caf\ufffd"))

    def test_a_later_override_wins(self):
        self.assertEqual(self.values("-s", "run.seed=5", "-s", "run.seed=6")["run.seed"], "6")

    def test_it_prints_once_on_several_ranks(self):
        for more in ([], ["--json"], ["--markdown"]):
            self.assertEqual(self.config(b.JOB, *more, ranks=3), self.config(b.JOB, *more))

    def test_every_row_of_the_table_has_four_tidy_columns(self):
        for line in self.config("--markdown").splitlines():
            self.assertEqual(line.count("|"), 5, line)
            self.assertNotIn(",  ", line, "two spaces in a list of values")


if __name__ == "__main__":
    b.main()
