"""Tasks: questions with answers, evaluated and learned; the same bits everywhere, and after a kill."""
import json
import math
import os
import re
import shutil

import xxhash

import ballot_run as b

SST2, COPA = "data/tasks/sst2.ini", "data/tasks/copa.ini"
STEPS = 4 if b.SLOW else 12
# stories260k has a vocabulary of 512 tokens: a sentence is long.
LEARN = {"data__task": SST2, "data__train": "", "data__dev": "", "data__context": 384,
         "data__train_rows": 40, "data__batch": 2, "data__dev_examples": 6, "run__steps": STEPS,
         "run__eval_every": 3}
WRITTEN = """
[rows]
format = jsonl
train = rows.jsonl
test = rows.jsonl
[fields]
question = question
answer = answer[]
[answer]
metric = token_f1
stop = "\\n"
tokens = 5
[splits]
train = 2
dev = 1
test = 3
[template]
prompt = "{question}"
answers = "{answer}\\n"
"""
# Labels that the model mixes up: choices change with few codes.
CHOSEN = """
[rows]
format = tsv
train = rows.tsv
[answer]
labels = 0, 1, 2
metric = macro_f1
[splits]
train = 20
dev = 4
test = 12
[template]
prompt = "{text} "
candidates = He, She, They
neutral = "Then "
"""
CHOSEN_ROWS = "text\tlabel\n" + "".join(
    f"{name} {verb} {thing}.\t{label if (row + thing_at) % 3 else 2}\n"
    for row, (name, label) in enumerate((("Lily", 1), ("Tom", 0), ("Max", 0), ("Sue", 1)))
    for verb in ("saw", "liked", "found")
    for thing_at, thing in enumerate(("the dog", "a ball", "the cat")))
# Questions whose answers the model changes with few codes.
WRITTEN_ROWS = "".join(
    json.dumps({"question": f"{name} {verb} the {thing}. {name} {verb} the",
                "answer": [thing, f"big {thing}"]}) + "\n"
    for name in ("Lily", "Tom", "Max", "Sue") for verb in ("saw", "liked", "found")
    for thing in ("dog", "ball", "cat"))
ROWS = '{"question": "Once upon a", "answer": ["time", "day"]}\n' * 3


class Tasks(b.TestCase):
    def evaluate(self, task, *more, ranks=1, expect=b.DONE, settings=(), model=b.STORIES):
        words = ["eval", model, "-s", f"data.task={task}", "-s", "data.context=384", "--json"]
        result = b.run([*words, *[w for s in settings for w in ("-s", s)], *more], ranks=ranks,
                       expect=expect)
        return json.loads(result.out) if expect == b.DONE else result

    def learn(self, name, *more, ranks=1, expect=b.DONE, **options):
        run = self.folder(name)
        return run, b.run(b.tiny(run, *more, **{**LEARN, **options}), ranks=ranks, expect=expect)

    def test_an_evaluation_is_the_same_on_any_ranks_and_kernels(self):
        first = self.evaluate(SST2)
        self.assertEqual((first["rows"], first["metric"]), (400, "accuracy"))
        self.assertEqual(sum(c["rows"] for c in first["classes"]), 400)
        self.assertEqual(sum(c["chosen"] for c in first["classes"]), 400)
        self.assertEqual(sum(c["right"] for c in first["classes"]), first["right"])
        self.assertTrue(first["low"] < first["value"] < first["high"])
        for ranks in (2, 4):
            self.assertEqual(self.evaluate(SST2, ranks=ranks), first)
        neutral = self.evaluate(SST2, settings=["data.score=calibrated"])
        self.assertEqual([c["label"] for c in neutral["classes"]], ["0", "1"])
        for level in b.isa_levels():
            self.assertEqual({**self.evaluate(SST2, "--isa", level), "kernels": 0},
                             {**first, "kernels": 0})

    def test_few_dev_rows_are_a_sample_of_all(self):
        """The file has one label first, then the other."""
        few = self.evaluate("data/tasks/cr.ini", settings=["data.dev_examples=30"])
        self.assertEqual(few["rows"], 30)
        self.assertGreater(min(label["rows"] for label in few["classes"]), 3)

    def test_predictions_say_what_became_of_each_row(self):
        path = self.folder("predictions.jsonl")
        whole = self.evaluate(COPA, "--split", "test", "--predictions", path, ranks=2)
        with open(path, encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        self.assertEqual([row["row"] for row in rows], list(range(whole["rows"])))
        self.assertEqual(sum(row["chosen"] == row["right"] for row in rows), whole["right"])
        for row in rows:
            self.assertEqual(max(row["scores"]), row["scores"][row["chosen"]])
        full = self.evaluate(COPA, "--split", "test", "--predictions", "/dev/full", expect=b.FAILURE)
        self.assertIn("No space left on device", full.err)

    def predictions(self, task, *more):
        path = self.folder("predictions.jsonl")
        whole = self.evaluate(task, "--split", "test", "--predictions", path, *more)
        with open(path, encoding="utf-8") as file:
            return whole, [json.loads(line) for line in file]

    def test_scores_of_single_words_are_log_probabilities_too(self):
        self.write("rows.tsv", CHOSEN_ROWS)
        task = self.write("chosen.ini", CHOSEN)
        whole, rows = self.predictions(task)
        self.assertEqual({key for row in rows for key in row},
                         {"row", "line", "right", "chosen", "loss_nats", "scores"})
        for row in rows:
            self.assertEqual(max(row["scores"]), row["scores"][row["chosen"]])
            self.assertLess(sum(math.exp(score) for score in row["scores"]), 1)
        alone = self.evaluate(task, "--split", "test")
        for key in "value", "right", "classes":
            self.assertEqual(alone[key], whole[key], key)
        self.assertAlmostEqual(alone["loss_nats"], whole["loss_nats"], places=5)

    def test_predictions_have_the_answers_that_were_written(self):
        self.write("rows.jsonl", WRITTEN_ROWS)
        task = self.write("written.ini", WRITTEN.replace("test = 3", "test = 20"))
        whole, rows = self.predictions(task)
        prompts = [json.loads(line) for line in WRITTEN_ROWS.splitlines()]
        self.assertGreater(len({row["answer"] for row in rows}), 1)
        for row in rows:
            asked = prompts[row["line"] - 1]
            said = b.run(["generate", b.STORIES, asked["question"], "--tokens", "5",
                          "--temperature", "0", "--json"]).out
            text = json.loads(said)["text"].removeprefix(asked["question"]).removeprefix(" ")
            self.assertEqual(row["answer"], text.partition("\n")[0])
        self.assertAlmostEqual(sum(row["f1"] for row in rows) / len(rows), whole["value"], places=5)

    def test_the_loss_of_training_rows_is_that_of_an_evaluation(self):
        few = ["data.train_rows=9"]
        found = [self.evaluate(SST2, "--split", "train", settings=[*few, *more])
                 for more in (["data.objective=candidates"], ["data.objective=label"],
                              ["data.objective=f1"], ["data.objective=f1", "data.batch=2"])]
        for other in found[1:]:
            self.assertEqual(other, found[0])

    def test_what_is_wrong_with_test_rows_is_said_before_the_first_step(self):
        long = self.write("long.tsv", "sentence\tlabel\n" + "so " * 400 + "\t1\n")
        for path, said in (("/nonexistent.tsv", "/nonexistent.tsv"), (long, "long.tsv:2: prompt")):
            run = self.folder("bad-test")
            train = b.tiny(run, **LEARN, data__test=path)
            for words in (train, ["doctor", *train[1:]], ["estimate", train[1], *train[4:]]):
                self.assertIn(said, b.run(words, expect=b.INPUT).err)
            self.assertFalse(os.path.exists(run))

    def test_a_test_that_fails_is_a_failure(self):
        run, _ = self.learn("untested")
        os.remove(os.path.join(run, "test.json"))
        os.mkdir(os.path.join(run, ".test.json.new"))
        again = b.run(["train", os.path.join(run, "job.ini"), "--run", run], expect=b.FAILURE)
        self.assertIn("the run is complete, but not its test: ", again.err)

    def test_scores_templates_and_demonstrations_matter(self):
        asked = [(), ("data.score=sum",), ("data.score=calibrated",), ("data.prompt=plain",),
                 ("data.shots=1",), ("data.shots=2",), ("data.shots=2", "data.split_seed=1")]
        found = [self.evaluate(COPA, "--split", "test", settings=s)["loss_nats"] for s in asked]
        self.assertEqual(len(set(found)), len(asked), dict(zip(asked, found)))

    def test_written_answers_are_graded(self):
        self.write("rows.jsonl", ROWS)
        task = self.write("written.ini", WRITTEN)
        found = self.evaluate(task, "--split", "test")
        self.assertEqual((found["metric"], found["rows"], found["classes"]), ("token_f1", 3, []))
        # F1 of "time there was", for articles do not count, and "time".
        self.assertAlmostEqual(found["value"], 2 / 4, places=5)
        self.assertEqual(self.evaluate(task, "--split", "test", ranks=2), found)

    def check_best(self, run, result, task, context):
        """The best model is the one that was found, by the metric of the task."""
        best = json.loads(b.run(["eval", run, "-s", f"data.task={task}",
                                 "-s", f"data.context={context}", "-s", "data.dev_examples=6",
                                 "--json"]).out)
        shown = re.search(r"best (\d+\.\d\d) %, loss (\d+\.\d+)", result.out)
        self.assertEqual((f"{100 * best['value']:.2f}", f"{best['loss_nats']:.4f}"), shown.groups())

    def test_learning_is_the_same_on_any_ranks(self):
        prints = set()
        for ranks in (1, 2, 4):
            run, result = self.learn(f"ranks{ranks}", ranks=ranks)
            prints.add((b.printed_fingerprint(result), b.bytes_of(run, "ballots.journal")))
            self.assertRegex(result.out, r"(?m)^dev +\d+\.\d\d %, loss \d")
        self.assertEqual(len(prints), 1)
        self.check_best(run, result, SST2, 384)

    def test_the_best_model_is_what_the_job_says(self):
        for name, best in (("by-metric", "metric"), ("by-loss", "loss"), ("last", "last")):
            run, result = self.learn(name, run__best=best, run__eval_every=1)
            scores = [(row["dev_metric"], row["dev_loss_nats"]) for row in b.metrics(run)
                      if row.get("dev_loss_nats") is not None]
            last = re.search(r"(?m)^dev +(\d+\.\d\d) %, loss (\d+\.\d+), "
                             r"best (\d+\.\d\d) %, loss (\d+\.\d+)", result.out).groups()
            scores.append((float(last[0]) / 100, float(last[1])))
            key = {"metric": lambda s: (-s[0], s[1]), "loss": lambda s: s[1], "last": lambda s: 0}
            metric, loss = min(reversed(scores), key=key[best])
            self.assertEqual((f"{100 * metric:.2f}", f"{loss:.4f}"), last[2:])

    def test_a_killed_run_ends_in_the_same_bits(self):
        whole, _ = self.learn("whole")
        run = self.folder("killed")
        arguments = b.tiny(run, **LEARN)
        process = b.start(arguments)
        journal = os.path.join(run, "ballots.journal")
        b.wait_until(process, lambda: os.path.exists(journal) and os.path.getsize(journal) > 600)
        b.kill(b.members(process))
        b.wait_gone(process)
        b.run(arguments, ranks=2)
        self.assertEqual(b.bytes_of(run, "ballots.journal"), b.bytes_of(whole, "ballots.journal"))

    def test_a_run_is_evaluated_by_its_own_job(self):
        run, result = self.learn("own")
        best = json.loads(b.run(["eval", run, "--json"]).out)
        self.assertIn(f"best {100 * best['value']:.2f} %, loss {best['loss_nats']:.4f}", result.out)
        shown = json.loads(b.run(["eval", run, "--json", "--split", "test", "-s", "data.test_rows=9",
                                  "-s", "data.shots=1"]).out)
        self.assertEqual((shown["rows"], shown["task"]), (9, SST2))

    def test_the_journal_says_which_task_and_a_changed_one_is_refused(self):
        lines = "".join(f"The cat is {i}\t{i % 2}\n" for i in range(40))
        rows = self.write("cats.tsv", "text\tlabel\n" + lines)
        text = ("[rows]\nformat = tsv\ntrain = cats.tsv\n[answer]\nlabels = 0, 1\n[splits]\n"
                "train = 20\ndev = 5\ntest = 5\n[template]\nprompt = \"{text} \"\n"
                "candidates = no, yes now\n")
        task = self.write("cats.ini", text)
        run, _ = self.learn("cats", data__task=task, data__train_rows=0)
        for path in (run, os.path.join(run, "ballots.journal")):
            self.assertEqual(b.inspect(path)["task_hash"], xxhash.xxh3_64_hexdigest(text.encode()))
            self.assertRegex(b.run(["inspect", path]).out, r"(?m)^task +[0-9a-f]{16}$")
        again = ["train", os.path.join(run, "job.ini"), "--run", run]
        for setting, sentence in (("run.steps=7", "the run is planned for"),
                                  ("data.batch=7", "batch = 7"), ("data.shots=1", "shots = 1")):
            said = b.run([*again, "-s", setting], expect=b.USAGE).err
            self.assertIn(sentence, said, "what differs is named, and not the task file")
        for old, new in (("[splits]", "score = sum\n[splits]"), ("{text} ", "So {text} ")):
            self.write("cats.ini", text.replace(old, new))
            self.assertIn(f"{run}: the run was started with another {task}: this task file has "
                          "changed since", b.run(again, expect=b.USAGE).err)
        self.write("cats.ini", text)
        self.write("cats.tsv", "text\tlabel\n" + lines.replace("cat", "dog"))
        self.assertIn(f"started on other rows of {task} than", b.run(again, expect=b.USAGE).err)
        self.write("cats.tsv", "text\tlabel\n" + lines)
        os.rename(task, self.write("moved.ini", ""))
        said = b.run([*again, "-s", "data.task=" + os.path.join(self.class_dir, "moved.ini")]).err
        self.assertIn("is complete", said)

    def test_objectives_learn_different_things(self):
        prints = {b.printed_fingerprint(self.learn(f"aim-{aim}", data__objective=aim)[1])
                  for aim in ("label", "candidates", "accuracy")}
        self.assertEqual(len(prints), 3)

    def learns_the_same(self, name, **options):
        """On any ranks and kernels, audited, and after a kill. The fingerprint."""
        options = {"data__objective": "f1", "data__context": 48, "data__batch": 8,
                   "data__train_rows": 0, "vote__audit": 1, **options}
        whole, first = self.learn(name, **options)
        journal = b.bytes_of(whole, "ballots.journal")
        for ranks, level in ((2, "ref"), (4, "avx2")):
            run, _ = self.learn(f"{name}-{ranks}", "--isa", level, ranks=ranks, **options)
            self.assertEqual(b.bytes_of(run, "ballots.journal"), journal)
        run = self.folder(f"{name}-killed")
        arguments = b.tiny(run, **{**LEARN, **options})
        process = b.start(arguments)
        path = os.path.join(run, "ballots.journal")
        b.wait_until(process, lambda: os.path.exists(path) and os.path.getsize(path) > 600)
        b.kill(b.members(process))
        b.wait_gone(process)
        b.run(arguments, ranks=2)
        self.assertEqual(b.bytes_of(run, "ballots.journal"), journal)
        return b.printed_fingerprint(first)

    def test_f1_of_choices_is_learned_the_same_everywhere(self):
        self.write("rows.tsv", CHOSEN_ROWS)
        task = self.write("chosen.ini", CHOSEN)
        prints = {self.learns_the_same("f1", data__task=task),
                  self.learns_the_same("centred", data__task=task, data__objective="centred")}
        for aim in "accuracy", "candidates":
            run, result = self.learn(aim, data__task=task, data__objective=aim, data__context=48,
                                     data__batch=8, data__train_rows=0)
            prints.add(b.printed_fingerprint(result))
            self.check_best(run, result, task, 48)
        self.assertEqual(len(prints), 4)

    def test_scores_are_centred_only_where_rows_share_answers_and_a_mini_batch_has_enough(self):
        self.write("rows.tsv", CHOSEN_ROWS)
        task = self.write("chosen.ini", CHOSEN)
        for n, (rows, batch, sentence) in enumerate((
                (task, 5, "set batch to at least 6, two rows for each label"),
                (COPA, 8, "for tasks whose rows have the same answers"))):
            said = self.learn(f"alone{n}", data__task=rows, data__objective="centred",
                              data__batch=batch, data__train_rows=0, expect=b.USAGE)[1].err
            self.assertIn(sentence, said)

    def test_scores_are_centred_unasked_from_8_rows_of_each_label_on(self):
        self.write("rows.tsv", CHOSEN_ROWS)
        task = self.write("chosen.ini", CHOSEN)
        for batch, same, other in (24, "centred", "candidates"), (23, "candidates", "centred"):
            prints = {aim: b.printed_fingerprint(self.learn(
                f"{aim}{batch}", data__task=task, data__objective=aim, data__context=48,
                data__batch=batch, data__train_rows=0, vote__bits=8)[1])
                for aim in ("auto", same, other)}
            self.assertEqual(prints["auto"], prints[same])
            self.assertNotEqual(prints["auto"], prints[other])
        self.learn("copa", data__task=COPA, data__batch=24, data__train_rows=0, run__steps=1)

    def test_f1_of_written_answers_is_learned_the_same_everywhere(self):
        self.write("rows.jsonl", WRITTEN_ROWS)
        task = self.write("written.ini", WRITTEN.replace("train = 2", "train = 20"))
        shots = {"data__task": task, "data__shots": 1, "data__context": 64}
        f1 = self.learns_the_same("f1-written", **shots)
        _, result = self.learn("label", **shots, data__objective="label", data__batch=8,
                               data__train_rows=0)
        self.assertNotEqual(f1, b.printed_fingerprint(result))
        for aim in "accuracy", "candidates":
            said = self.learn(aim, data__task=task, data__objective=aim, expect=b.USAGE)[1].err
            self.assertIn("answers to " + task + " are written, not chosen; set it to label or f1",
                          said)
        said = self.learn("score", data__task=task, data__score="sum", expect=b.USAGE)[1].err
        self.assertIn("answers to " + task + " are written, not chosen by a score", said)

    def answers(self, name, *more, **options):
        """A run whose prompts are read by its base; its settings."""
        self.write("rows.tsv", CHOSEN_ROWS)
        task = self.write("chosen.ini", CHOSEN)
        options = {"data__task": task, "data__context": 48, "data__batch": 8, "data__train_rows": 0,
                   "vote__positions": "answer", **options}
        return *self.learn(name, *more, **options), options

    def test_what_a_base_has_read_is_answered_the_same_everywhere(self):
        prints = set()
        for n, more in enumerate(({}, {"vote__tensors": "upper"}, {"data__score": "calibrated"},
                                  {"data__shots": 2, "data__context": 96})):
            run, result, options = self.answers(f"answer{n}", **more)
            same = self.learns_the_same(f"answer-again{n}",
                                        **{**options, "data__objective": "candidates"})
            prints.add(b.printed_fingerprint(result))
            self.assertEqual(b.printed_fingerprint(result), same)
            for ranks, cache, share in ((1, 0, "node"), (2, 1, "node"), (2, 1, "rank")):
                _, other, _ = self.answers(f"answer{n}-{ranks}-{cache}-{share}",
                                           data__cache=cache, run__share=share, **more)
                self.assertEqual(b.printed_fingerprint(other), same)
            best = json.loads(b.run(["eval", run, "--json"]).out)
            self.assertIn(f"best {100 * best['value']:.2f} %, loss {best['loss_nats']:.4f}",
                          result.out)
        _, plain, _ = self.answers("answer-all", vote__positions="all")
        prints.add(b.printed_fingerprint(plain))
        self.assertEqual(len(prints), 5)

    def test_layers_that_never_move_are_kept_without_a_trace(self):
        results = {cache: self.learn(f"kept-{cache}", vote__tensors="upper", data__cache=cache)[1]
                   for cache in (0, 1, 64)}
        self.assertEqual(len({b.printed_fingerprint(result) for result in results.values()}), 1)
        for cache, result in results.items():
            self.assertEqual("data.cache = " in result.err, cache < 2, f"{cache}: {result.err}")

    def test_a_model_with_a_base_goes_nowhere_without_it(self):
        base = self.folder("base")
        shutil.copytree(b.STORIES, base)
        run, result, options = self.answers("based", "-s", f"model.path={base}", rule__travel=40)
        prompt = ["Lily saw the dog. ", "--tokens", "20"]
        said = b.run(["generate", run, *prompt]).out
        whole = json.loads(b.run(["eval", run, "--json"]).out)
        again, folder = self.folder("again.h5"), self.folder("exported")
        b.run(["replay", base, run, "-o", again])
        self.assertEqual(b.inspect(again)["base"], base)
        last = json.loads(b.run(["eval", again, "-j", os.path.join(run, "job.ini"), "--json"]).out)
        shown = re.search(r"(?m)^dev +(\d+\.\d\d) %, loss (\d+\.\d+)", result.out)
        self.assertEqual((f"{100 * last['value']:.2f}", f"{last['loss_nats']:.4f}"), shown.groups())
        self.assertEqual(last["fingerprint"], b.printed_fingerprint(result))
        floats = ["--format", "f32", "--json", "-j", os.path.join(run, "job.ini")]
        b.run(["export", run, folder])
        found = [json.loads(b.run(["eval", model, *floats]).out) for model in (run, folder)]
        self.assertAlmostEqual(found[0]["loss_nats"], found[1]["loss_nats"], places=4)
        alone = json.loads(b.run(["eval", os.path.join(folder, "base"), *floats]).out)
        self.assertGreater(abs(alone["loss_nats"] - found[0]["loss_nats"]), 1e-3)
        for words, sentence in (
                (["export", run, self.folder("one.gguf")], "a GGUF file has one model"),
                (["quantize", run, "-o", self.folder("i4.h5")], "cannot be rounded again by itself"),
                (b.tiny(self.folder("on"), model=run, **LEARN), f"prompts are read by {base}")):
            self.assertIn(sentence, b.run(words, expect=b.USAGE).err)
        moved = self.folder("moved")
        os.rename(base, moved)
        self.assertIn(f"its prompts are read by the model that it was tuned from: {base}",
                      b.run(["eval", run], expect=b.INPUT).err)
        self.assertEqual(json.loads(b.run(["eval", run, "--base", moved, "--json"]).out), whole)
        self.assertEqual(b.run(["generate", run, *prompt, "--base", moved]).out, said)
        self.assertIn(f"which {folder} is no more: say where that is with --base",
                      b.run(["eval", run, "--base", folder], expect=b.USAGE).err)

    def test_a_base_reads_the_prompts_of_choices_alone(self):
        self.write("rows.jsonl", WRITTEN_ROWS)
        task = self.write("written.ini", WRITTEN)
        said = self.learn("written", data__task=task, vote__positions="answer", expect=b.USAGE)[1].err
        self.assertIn(f"[vote] positions = answer: answers to {task} are written, not chosen", said)
        said = b.run(b.tiny(self.folder("text"), vote__positions="answer"), expect=b.USAGE).err
        self.assertIn("positions", said)

    def test_patience_ends_a_run_for_good(self):
        run, result = self.learn("patience", run__steps=10 * STEPS, run__eval_every=1,
                                 run__patience=1, vote__slots=4)
        steps = len(b.metrics(run))
        self.assertLess(steps, 10 * STEPS)
        again = b.run(["train", os.path.join(run, "job.ini"), "--run", run])
        self.assertEqual(b.printed_fingerprint(again), b.printed_fingerprint(result))
        self.assertEqual(len(b.metrics(run)), steps)

    def refused(self, sentence, *settings, task=None, rows=None, split="test"):
        """A sentence and exit code 3."""
        if rows is not None:
            self.write("rows.tsv", rows)
            task = self.write("bad.ini", task)
        result = self.evaluate(task, "--split", split, expect=b.INPUT, settings=settings)
        self.assertRegex(result.err, sentence)
        self.assertEqual(len(result.err.splitlines()), 1, result.err)

    def test_a_task_is_a_word_or_a_task_file(self):
        for word in ("ml", "sst2", ".ini", ""):
            said = b.run(["config", "-s", f"data.task={word}"], expect=b.USAGE).err
            self.assertIn(f"task = {word}; expected lm, mlm or a task file", said)

    def test_what_is_wrong_is_a_sentence(self):
        begin = ("[rows]\nformat = tsv\ntrain = rows.tsv\ntest = rows.tsv\n[answer]\nlabels = 0, 1\n"
                 "[splits]\ntrain = 1\ndev = 1\ntest = 9\n")
        end = '[template]\nprompt = "{text} "\ncandidates = no, yes\n'
        rows = "text\tlabel\nOnce upon a time\t0\nLily was sad\t1\n"
        self.refused(r"rows.tsv:3", task=begin + end, rows=rows.replace("\t1", "\t2"))
        self.refused(r"rows.tsv:2", task=begin + end.replace("yes", "no"), rows=rows)
        self.refused(r"rows.tsv:2.*tokens", "data.context=4", task=begin + end, rows=rows)
        self.refused(r"rows.tsv", task=begin + end, rows="text\tlabel\n")
        self.refused(r"rows.tsv:3", task=begin + end, rows=rows.replace("\t1", ""))
        self.refused(r"sentence", task=begin + end.replace("{text}", "{sentence}"), rows=rows)


if __name__ == "__main__":
    b.main()
