"""The man page and the bash completion, which stand beside the program in the build folder, have
what the program has: every command, every option of each, every option of a job.
"""
import json
import os
import re
import shlex
import subprocess

import ballot_run as b

BUILD = os.path.dirname(b.BALLOT)
SCRIPT = """source "$0"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_ballot
printf '%s\\n' "${COMPREPLY[@]}"
"""


def ran(words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=True, env=dict(os.environ, LC_ALL="C.UTF-8"))
    if done.stderr:
        raise AssertionError(f"{shlex.join(words)}: {done.stderr}")
    return done.stdout


def completed(*words):
    """What Tab offers after these words, cut as bash cuts them."""
    found = ran(["bash", "-c", SCRIPT, os.path.join(BUILD, "ballot.bash"), "ballot", *words])
    return {line for line in found.splitlines() if line}


class Manual(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.commands = re.findall(r"^  (\w+) ", b.run(["--help"]).out, re.M)
        cls.options = {c: set(re.findall(r"(--[\w-]+)", b.run([c, "--usage"]).out))
                       for c in cls.commands}
        cls.job = json.loads(b.run(["config", "--json"]).out)

    def test_man_page_has_everything(self):
        page = ran(["groff", "-man", "-ww", "-P-cbou", "-Tutf8", "-rLL=5000n",
                    os.path.join(BUILD, "ballot.1")])
        for command in self.commands:
            section = re.search(rf"^   {command}\n(.*?)(?=^   ?\S)", page, re.M | re.S).group(1)
            self.assertEqual(set(re.findall(r"^ +(?:-\S, )?(--[\w-]+)", section, re.M)),
                             self.options[command], command)
        self.assertIn(b.run(["--version"]).out.strip(), page.splitlines()[-1])
        for name, option in self.job.items():
            self.assertRegex(page, rf"(?m)^ +{re.escape(name)}\n +{re.escape(option['help'])}\n")
        for code, words in ((0, "done"), (2, "usage or job file"), (75, "stopped or ranks lost")):
            self.assertRegex(page, rf"(?m)^ +{code} +{words}")

    def test_completion_of_commands_and_options(self):
        self.assertEqual(completed(""), {*self.commands, "--help", "--version"})
        self.assertEqual(completed("tr"), {"train"})
        for command in self.commands:
            self.assertEqual({word for word in completed(command, "--")}, self.options[command])
        self.assertEqual(completed("eval", "--split", ""), {"dev", "test", "train"})
        self.assertEqual(completed("eval", "--split", "=", "te"), {"test"})
        self.assertEqual(completed("train", "--max-hours", ""), set())

    def test_completion_of_job_options(self):
        keys = {f"{name}=" for name in self.job}
        self.assertEqual(completed("train", "-s", ""), keys)
        self.assertEqual(completed("config", b.JOB, "--set", "=", ""), keys)
        self.assertEqual(completed("train", "-s", "model.codes", "=", ""), {"i8", "i4", "nf4"})
        self.assertEqual(completed("train", "--set", "=", "rule.name", "=", "zo"), {"zoqo"})
        self.assertEqual(completed("train", "-s", "run.steps", "=", ""), set())

    def test_completion_of_files(self):
        self.assertEqual(completed("train", "jobs/shake"), {"jobs/shakespeare.ini"})
        self.assertEqual(completed("train", "--run", "tests/e2"), {"tests/e2e"})
        self.assertEqual(completed("train", "-s", "data.train", "=", "data/shake"),
                         {"data/shakespeare"})


b.main()
