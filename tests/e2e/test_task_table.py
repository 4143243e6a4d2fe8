"""jobs/tasks.sh: all tasks of a model in one table, which a kill does not change."""
import json
import os
import re
import shutil
import signal
import statistics

import ballot_run as b

SHORT = ["--ranks", "1", "--limit", "8", "--shots", "1", "--seeds", "2", "--steps", "2",
         "-s", "vote.slots=2", "-s", "vote.team=2", "-s", "data.batch=1"]
SHIPPED = sorted(name[:-4] for name in os.listdir("data/tasks") if name.endswith(".ini"))


def without_time(table):
    if isinstance(table, dict):
        return {key: without_time(value) for key, value in table.items() if key != "seconds"}
    return [without_time(value) for value in table] if isinstance(table, list) else table


class TaskTable(b.TestCase):
    def start(self, out, *words, model=b.STORIES, **environment):
        environment.setdefault("BALLOT", b.BALLOT)
        return b.start_command(["bash", "jobs/tasks.sh", model, *words, "--out", out], **environment)

    def table(self, out, *words, **more):
        result = b.finish(self.start(out, *words, **more))
        with open(os.path.join(out, "table.json"), encoding="utf-8") as file:
            return json.load(file), result

    def evaluate(self, *words):
        return json.loads(b.run(["eval", b.STORIES, "--json", "--split", "test", "-s",
                                 "data.context=512", "-s", "data.test_rows=8", *words]).out)

    def test_the_table_is_what_ballot_says(self):
        out = self.folder("said")
        table, result = self.table(out, "copa", "cr", *SHORT)
        self.assertEqual([row["task"] for row in table["tasks"]], ["copa", "cr"])
        self.assertEqual(table["columns"], ["zero-shot", "1 shot", "tuned, 2 steps"])
        columns = table["tasks"][0]["columns"]
        asked = self.evaluate("-s", "data.task=data/tasks/copa.ini")
        self.assertEqual([columns["zero-shot"][key] for key in ("mean", "low", "high", "rows")],
                         [asked[key] for key in ("value", "low", "high", "rows")])
        shots = [self.evaluate("-s", "data.task=data/tasks/copa.ini", "-s", "data.shots=1", "-s",
                               f"data.split_seed={seed}")["value"] for seed in (1, 2)]
        self.assertEqual((columns["1 shot"]["values"], columns["1 shot"]["spread"]),
                         (shots, statistics.stdev(shots)))
        for seed, value in zip((1, 2), columns["tuned, 2 steps"]["values"]):
            run = os.path.join(out, f"copa-tuned-2-steps-seed{seed}")
            with open(os.path.join(run, "test.json"), encoding="utf-8") as file:
                self.assertEqual(json.load(file)["value"], value)
            self.assertEqual(b.inspect(os.path.join(run, "ballots.journal"))["step"], 2)
            self.assertFalse([name for name in os.listdir(run) if name.endswith(".h5")])
        self.assertRegex(result.out, r"(?m)^\| copa \| accuracy \| 8 \|  \| \d+\.\d \[\d+\.\d, \d+\.\d\]"
                                     r" \| \d+\.\d ± \d+\.\d \(2\) \| \d+\.\d ± \d+\.\d \(2\) \| .* s \|$")
        self.assertRegex(result.err, r"(?m)^\[3/10\] copa, 1 shot, seed 1: \d+\.\d % in .*; about .* left, "
                                     r"and \? for 4 results of another kind$")
        self.assertRegex(result.err, r"(?m)^\[6/10\] .*; \? left$")
        self.assertRegex(result.err, r"(?m)^\[7/10\] .*; about [^?]* left$")
        self.assertEqual(b.bytes_of(out, "table.png")[:4], b"\x89PNG")
        self.assertIn(b.bytes_of(out, "table.md").decode(), result.out)
        self.assertTrue(0.5 <= table["tasks"][1]["majority"] <= 1)
        self.assertEqual(table["tasks"][1]["columns"]["zero-shot"]["centred"],
                         self.evaluate("-s", "data.task=data/tasks/cr.ini")["centred"])

    def test_a_killed_table_goes_on_to_the_same(self):
        words = ["copa", "cr", *SHORT]
        whole, _ = self.table(self.folder("whole"), *words)
        out = self.folder("killed")
        results, journal = os.path.join(out, "results"), "copa-tuned-2-steps-seed2/ballots.journal"
        for there in (lambda: os.path.isdir(results) and len(os.listdir(results)) >= 3,
                      lambda: os.path.exists(os.path.join(out, journal))):
            process = self.start(out, *words)
            self.assertTrue(b.wait_until(process, there), "it was done before it could be killed")
            b.kill(b.members(process))
            b.wait_gone(process)
        process = self.start(out, *words)
        b.wait_until(process, lambda: os.path.exists(os.path.join(out, "cr-tuned-2-steps-seed2")))
        b.kill([process.pid], signal.SIGTERM)
        self.assertEqual(b.finish(process, expect=b.STOPPED).err.splitlines()[-1],
                         "tasks.sh: stopped; the same command continues")
        kept = {name: b.bytes_of(results, name) for name in os.listdir(results)}
        again, _ = self.table(out, *words)
        self.assertEqual(without_time(again), without_time(whole))
        self.assertEqual({name: b.bytes_of(results, name) for name in kept}, kept)

    def test_small_tasks_keep_rows_to_train_on_with_the_usual_limit(self):
        out, rows = self.folder("small"), self.folder("short")
        os.makedirs(os.path.join(rows, "cb"))
        shutil.copy("data/tasks/cb.ini", rows)
        for name in ("cb/train.jsonl", "cb/val.jsonl"):  # as many, but short enough for stories260K
            with open(os.path.join("data/tasks", name), encoding="utf-8") as file:
                texts = [json.loads(line) for line in file]
            with open(os.path.join(rows, name), "w", encoding="utf-8") as file:
                file.writelines(json.dumps({**text, "premise": text["premise"][-100:]}) + "\n"
                                for text in texts)
        table, _ = self.table(out, os.path.join(rows, "cb.ini"), "copa", "--ranks", "1", "--shots", "1",
                              "--seeds", "1", "--steps", "1", *SHORT[-6:])
        for row, rows in zip(table["tasks"], (28, 50)):
            self.assertEqual([cell["rows"] for cell in row["columns"].values()], [rows] * 3)
            job = b.bytes_of(out, f"{row['task']}-tuned-1-steps-seed1", "job.ini").decode()
            self.assertRegex(job, r"(?m)^dev_examples *= 100$")

    def test_a_refused_task_does_not_stop_the_others(self):
        out = self.folder("others")
        self.write("fox.tsv", "text\tlabel\na cat\t0\na fox\t2\n")
        task = self.write("fox.ini", "[rows]\nformat = tsv\ntest = fox.tsv\n[answer]\nlabels = 0, 1\n"
                                      "[template]\nprompt = \"{text} \"\ncandidates = no, yes\n")
        words = [out, task, "copa", *SHORT, "--shots", "0", "--steps", "0"]
        self.refused(words, b.INPUT, "1 of 2 results are refused, .*table.md says why")
        table = json.loads(b.bytes_of(out, "table.json"))
        cells = [row["columns"]["zero-shot"] for row in table["tasks"]]
        self.assertIn("fox.tsv:3", cells[0]["refused"])
        self.assertEqual(cells[1]["rows"], 8)

    def test_results_are_of_one_model(self):
        out, model = self.folder("one"), os.path.join(self.folder("model"), "stories260k")
        shutil.copytree(b.STORIES, model)
        words = [out, "copa", *SHORT, "--shots", "0"]
        self.table(*words, "--steps", "0", model=model)
        weights = os.path.join(model, "stories260K.bin")
        changed = b.bytes_of(weights)[:-4] + b"\0\0\0\0"
        with open(weights, "wb") as file:
            file.write(changed)
        sentence = "one holds results of a model that has changed since; choose another folder"
        self.refused(words, b.USAGE, sentence, model=model)
        self.assertEqual(os.listdir(os.path.join(out, "results")), ["copa-zero-shot.json"])
        out = words[0] = self.folder("while/one")
        changes = self.write("changes.sh", f'#!/bin/sh\n"{b.BALLOT}" "$@" || exit\n'
                                           f'[ "$1" != eval ] || printf x >>"{weights}"\n')
        os.chmod(changes, 0o755)
        self.refused(words, b.USAGE, sentence, model=model, BALLOT=changes)
        self.assertEqual(os.listdir(os.path.join(out, "results")), [])

    def test_rows_are_found_where_official_files_unpack(self):
        rows = self.folder("rows")
        for name, text in (("RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n"
                                           "0\tA cat sat.\tIt sat.\tentailment\n"
                                           "1\tA cat ran.\tIt sat.\tnot_entailment\n"),
                           ("SST-2/dev.tsv", "sentence\tlabel\na fine film\t1\n"),
                           ("SST-2/train.tsv", "sentence\tlabel\n" +
                            "".join(f"film {i}\t{i % 2}\n" for i in range(520)))):
            os.makedirs(os.path.dirname(os.path.join(rows, name)), exist_ok=True)
            with open(os.path.join(rows, name), "w", encoding="utf-8") as file:
                file.write(text)
        table, result = self.table(self.folder("official"), "sst2", "rte", *SHORT, "--steps", "0",
                                   BALLOT_TASK_ROWS=rows)
        self.assertEqual([(row["task"], row["rows"]) for row in table["tasks"]],
                         [("sst2", 1), ("rte", 2)])
        self.assertIsNone(table["tasks"][1]["columns"]["1 shot"])
        self.assertIn("rte, in context and tuned is left out: data/tasks/rte/train.tsv missing. Put "
                      "train.tsv and dev.tsv of https://", result.err)

    def test_each_task_says_where_its_rows_go(self):
        table, _ = self.table(self.folder("all"), "--limit", "1", "--shots", "0", "--steps", "0",
                              "--ranks", "1")
        there = {row["task"] for row in table["tasks"]}
        self.assertTrue({"sst2", "copa", "cr", "subj", "mpqa", "cb"} <= there, there)
        self.assertEqual(sorted(there | set(table["left_out"])), SHIPPED)
        for task, why in table["left_out"].items():
            self.assertRegex(why, rf"^data/tasks/{task}/\S+ missing\. Put .* into {task}/\. Or name")

    def refused(self, words, code, sentence, **more):
        said = b.finish(self.start(*words, **more), expect=code).err
        self.assertRegex(said.splitlines()[-1], "^tasks.sh: .*" + sentence)
        self.assertNotIn("Traceback", said)

    def test_what_cannot_be_is_a_sentence(self):
        out = self.folder("refused")
        rows = self.write("cats.tsv", "text\tlabel\na cat\t0\na dog\t1\n")
        task = self.write("cats.ini", "[rows]\nformat = tsv\ntest = cats.tsv\n[answer]\nlabels = 0, 1\n"
                                      "[template]\nprompt = \"{text} \"\ncandidates = no, yes\n")
        alone = [out, task, *SHORT, "--shots", "0", "--steps", "0"]
        self.refused([out, "sst3"], b.USAGE, "there is no task sst3; expected a task file, or one of "
                                             "boolq, cb, ")
        self.refused([out, "sst2", "data/tasks/sst2.ini"], b.USAGE, "sst2 is given twice")
        self.refused([out, "sst2", "--rows", "nowhere"], b.USAGE, "--rows=nowhere: there is no such")
        self.refused([out, "sst2"], b.USAGE, "nowhere is no program", BALLOT="nowhere")
        self.refused([out, "sst2", "-s", "data.bach=1"], b.USAGE, "data.*bach")
        self.refused([out, "sst2"], b.INPUT, "no/model", model="no/model")
        table, _ = self.table(*alone)
        self.assertEqual(table["tasks"][0]["rows"], 2)
        again, _ = self.table(*alone)
        self.assertEqual(again, table)
        self.refused([*alone, "-s", "model.codes=nf4"], b.USAGE,
                     "another job: model.codes = i8 there, nf4 now; choose another folder with --out")
        with open(rows, "a", encoding="utf-8") as file:
            file.write("a fox\t1\n")
        self.refused(alone, b.USAGE, rf"is a result of another {re.escape(rows)}; move it away")


if __name__ == "__main__":
    b.main()
