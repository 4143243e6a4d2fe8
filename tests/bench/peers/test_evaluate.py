#!/usr/bin/python3
"""evaluate.py and choices.py: what they ask, the tables they make, and a short run with each peer that
is installed.

usage: test_evaluate.py [BALLOT]
"""
import copy
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import asked  # noqa: E402
import choices  # noqa: E402
import evaluate  # noqa: E402
import questions  # noqa: E402
import run  # noqa: E402

BALLOT = asked.BALLOT
PYTHON = shutil.which("python3")  # that of the user, who has the peers; not Debian's

TASK = r"""; a comment
[rows]
format = jsonl
test = rows.jsonl
each = p.q[].a[] ; every answer
[fields]
text = p.text
asked = p.q[].asked
said = p.q[].a[].said
label = p.q[].a[].is
[answer]
labels = no, yes
[splits]
test = 7
[template]
prompt = "\{ {text|trim|no_end(.)}\n"
prompt = "{asked|upper_first|before( or )}? \"{said|lower_word|map(a b=c\;)}\" "
candidates = "No, {asked|after(or )}", Yes
[template plain]
prompt = {text}
"""
ROW = ('{"p": {"text": " Tea. ", "q": [{"asked": "green or black", "a": '
       '[{"said": "A b", "is": "no"}, {"said": "A b", "is": "yes"}]}]}}')


def needs(program):
    """A test is skipped, with one line, where the model or a package of the peer is missing."""
    if not os.path.isfile(asked.MODEL):
        return unittest.skip(f"no {asked.MODEL}: jobs/smollm2.sh brings it")
    packages = evaluate.missing(program, PYTHON) if PYTHON else ["python3"]
    return unittest.skipIf(packages, f"{program}: there is no {' '.join(packages)}")


class Questions(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_rows_become_texts_as_the_manual_says(self):
        task, rows = questions.read(self.file("t.ini", TASK), self.file("rows.jsonl", ROW + "\n"))
        self.assertEqual([row.right for row in rows], [0, 1])
        self.assertEqual(rows[0].prompt, '{ Tea\nGreen? "c;"')
        self.assertEqual(rows[0].answers, [" No, black", " Yes"])
        self.assertFalse(task.writes)

    def test_a_row_that_does_not_fit_is_named(self):
        for row in ('{"p": {"text": "Tea"}}', ROW.replace('"yes"', '"maybe"'), "{"):
            with self.assertRaisesRegex(questions.Failure, "rows.jsonl does not fit .*t.ini"):
                questions.read(self.file("t.ini", TASK), self.file("rows.jsonl", row))

    def test_a_copy_of_a_task_has_another_split(self):
        made = asked.with_rows(self.file("t.ini", TASK), 3, self.folder)
        self.assertEqual(questions.read_task(made).splits, {"test": "3"})

    def test_answers_as_squad_compares_them(self):
        self.assertEqual(choices.grade("The Tea!", ["green tea", "tea"]), (True, 1.0))
        exact, f1 = choices.grade("a cup of green tea", ["green tea"])
        self.assertFalse(exact)
        self.assertAlmostEqual(f1, 2 * 2 / (4 + 2))


class Tables(unittest.TestCase):
    def setUp(self):
        own, peer = [1, 0, 0, 1], [1, 0, 0, 1]
        rounds = [{"ballot i8": {"rows_per_second": 100.0 / slow, "choices": own},
                   "llama.cpp Q8_0": {"rows_per_second": 40.0 / slow, "choices": peer,
                                      "version": "1.2"}} for slow in (1.0, 3.0, 1.0)]
        self.measured = {"right": [1, 0, 1, 1], "rounds": rounds}

    def test_a_slow_round_changes_no_ratio(self):
        last = evaluate.report(self.measured).split("\n")[-1]
        self.assertEqual([cell.strip() for cell in last.strip("| ").split("|")],
                         ["llama.cpp Q8_0 1.2", "40.0", "75.0 %", "4 of 4", "2.50 x"])

    def test_other_accuracies_are_refused(self):
        other = copy.deepcopy(self.measured)
        other["rounds"][0]["llama.cpp Q8_0"]["choices"] = [0, 0, 0, 0]
        with self.assertRaisesRegex(run.Failure, "25.0 % of the rows, ballot on 75.0 %"):
            evaluate.report(other)


class Peers(unittest.TestCase):
    """Few rows: enough to see that both do the same."""

    def run_program(self, name, *words):
        done = subprocess.run([PYTHON, "-B", os.path.join(HERE, name), "--ballot", BALLOT, *words],
                              capture_output=True, text=True, check=False,
                              env=dict(os.environ, OMP_NUM_THREADS="1"))
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def evaluate(self, *peers):
        with open(os.path.join(asked.ROOT, "data/tasks/sst2/dev.tsv"), encoding="utf-8") as file:
            lines = file.readlines()[:151]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows.tsv")
            with open(path, "w", encoding="utf-8") as file:
                file.writelines(lines)
            made = self.run_program("evaluate.py", "--rounds", "1", "--rows", path, "--peers", *peers)
        for name in peers:
            self.assertRegex(made, rf"\| {name} [0-9.]+ \| [0-9.]+ \| [0-9.]+ % \| (14[5-9]|150) of 150 ")

    @needs("peer_transformers.py")
    def test_transformers_chooses_as_ballot_does(self):
        self.evaluate("transformers float32")

    @needs("peer_llama.py")
    def test_llama_cpp_chooses_as_ballot_does(self):
        self.evaluate("llama.cpp Q8_0")

    @needs("choices.py")
    def test_float32_chooses_as_transformers_does(self):
        tasks = os.path.join(asked.ROOT, "data/tasks")
        made = self.run_program("choices.py", "--rows", "10", f"{tasks}/cr.ini={tasks}/cr/rows.txt",
                                f"{tasks}/copa.ini={tasks}/copa/val.jsonl")
        self.assertRegex(made, r"\| cr \| 10 \| 10 \| 100.0 % \| [0-9.]+e-0[5-9] \|")
        self.assertRegex(made, r"\| copa \| 10 \| 10 \| 100.0 % \| [0-9.]+e-0[5-9] \|")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        BALLOT = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
