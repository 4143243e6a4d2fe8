"""ballot estimate: what it says is what a run then takes."""
import json
import os
import re
import shutil
import statistics
import struct
import subprocess

import ballot_run as b
import test_bad_input as bad

SCALE = "analysis/scale.py"
FAMILIES = "tests/golden/families"


def estimate(train, *more, ranks=1, expect=b.DONE):
    """The estimate of the job of b.tiny(...)."""
    job = [a for i, a in enumerate(train[1:]) if "--run" not in train[i:i + 2]]
    return json.loads(b.run(["estimate", *job, "--json", *more], ranks=ranks, expect=expect).out)


def random_model(folder, n_layers, dim=512, hidden=1376, n_heads=8, n_vocab=512, context=128):
    """A llama2.c folder with random weights: in memory, a model is what counts."""
    import numpy
    os.makedirs(folder)
    n = (n_vocab * dim + n_layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim +
         context * dim // n_heads)
    weights = numpy.random.default_rng(1).standard_normal(n, dtype=numpy.float32)
    with open(os.path.join(folder, "model.bin"), "wb") as file:
        file.write(struct.pack("<7i", dim, hidden, n_layers, n_heads, n_heads, n_vocab, context))
        (0.05 * weights).tofile(file)
    shutil.copy(os.path.join(b.STORIES, "tok512.bin"), folder)


def enter_cgroup(case, controller, settings):
    """A preexec function that enters a cgroup of its own with these limits, {file: value}, of
    version 1 or 2; where none can be made, the test is skipped."""
    for root in (f"/sys/fs/cgroup/{controller}", "/sys/fs/cgroup"):
        folder = os.path.join(root, f"ballot-test-{os.getpid()}")
        try:
            os.mkdir(folder)
            case.addCleanup(os.rmdir, folder)
            for name in set(settings) & set(os.listdir(folder)):
                with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                    file.write(settings[name])
                break
            else:
                continue
        except OSError:
            continue

        def enter():
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        return enter
    return case.skipTest(f"no {controller} cgroup can be made here")


class Estimate(b.TestCase):
    def assert_near(self, estimated, real, share, what):
        self.assertLess(abs(estimated / real - 1), share, f"{what}: {estimated}, in truth {real}")

    # ---- files and messages ----

    def compare_files(self, train):
        run = train[train.index("--run") + 1]
        expected = estimate(train)
        result = b.run(train)
        steps = expected["steps"]
        self.assertEqual(os.path.getsize(os.path.join(run, "ballots.journal")),
                         expected["journal_bytes"])
        self.assert_near(expected["checkpoint_bytes"],
                         os.path.getsize(os.path.join(run, f"step-{steps:06d}.h5")), 0.03, run)
        sent = int(re.search(r"^bytes per step +(\d+)", result.out, re.M).group(1))
        self.assertEqual(expected["step_bytes"], sent)
        log = os.path.getsize(os.path.join(run, "metrics.jsonl"))
        self.assertTrue(0.6 < log / expected["log_bytes"] <= 1, (log, expected["log_bytes"]))
        return expected

    def test_files_and_messages_have_the_sizes_that_were_said(self):
        for i, options in enumerate((
                {}, {"vote.slots": 1}, {"vote.slots": 65, "run.steps": 3},
                {"model.codes": "i4", "vote.density": 1},
                {"model.codes": "nf4", "model.group": 32, "vote.density": 1},
                {"vote.slots": 2, "run.steps": 30 if b.SLOW else 1500, "run.eval_every": 0,
                 "run.checkpoint_every": 0, "run.check_every": 0})):
            options = {key.replace(".", "__"): value for key, value in options.items()}
            run = self.folder(f"run{i}")
            expected = self.compare_files(b.tiny(run, run__keep=3, **options))
            self.assertEqual(self.n_kept(expected), 3)

    def n_kept(self, e):
        left = e["disk_bytes"] - e["journal_bytes"] - e["log_bytes"] - e["rows_bytes"]
        self.assertEqual(left % e["checkpoint_bytes"], 0)
        return left // e["checkpoint_bytes"] - 2  # best.h5, and one that is being written

    def test_more_checkpoints_are_not_kept_than_are_made(self):
        """Those of the job, and of eight times that it is stopped."""
        for keep, every, kept in ((2, 3, 2), (1000, 20, 8 + 2), (1000, 0, 8 + 1), (1000, 1, 30)):
            e = estimate(b.tiny("run", run__steps=30, run__keep=keep, run__checkpoint_every=every))
            self.assertEqual(self.n_kept(e), kept)

    def test_files_of_other_families(self):
        for name in ("gpt2", "qwen3", "llama3-tied"):
            self.compare_files(b.tiny(self.folder(name), model=os.path.join(FAMILIES, name),
                                      run__steps=3))

    # ---- memory ----

    def test_memory_is_what_a_run_has_at_its_peak(self):
        """Within 25 %, for small models and large ones, on one rank and more."""
        if b.SLOW:
            self.skipTest("sanitizers hold memory of their own")
        big = self.folder("big")
        random_model(big, 12)
        for model, ranks, options in ((b.STORIES, 1, {}), (big, 1, {}), (big, 2, {}),
                                      (big, 2, {"run__share": "rank"}),
                                      (big, 1, {"model__codes": "i4", "data__batch": 16,
                                                "data__context": 128})):
            train = b.tiny(self.folder("memory"), model=model, run__steps=2,
                           run__checkpoint_every=0, data__dev="",
                           # long: of less than this, what libraries take on the way is a large share
                           data__train="data/shakespeare/train.txt", **options)
            expected = estimate(train, ranks=ranks)
            found = re.search(r"^peak memory .* ([\d.]+) MiB on all ranks",
                              b.run(train, ranks=ranks).out, re.M)
            self.assert_near(expected["node_bytes"], float(found.group(1)) * 2**20, 0.25,
                             f"memory of {model} on {ranks} ranks, {options}")
            self.assertEqual(expected["models_per_node"],
                             2 if options.get("run__share") == "rank" else 1)

    def test_what_is_kept_of_a_task_counts(self):
        task = {"data__task": "data/tasks/sst2.ini", "data__train": "", "data__dev": "",
                "data__context": 384, "data__batch": 4}
        kept = {more: estimate(b.tiny(self.folder("kept"), **task, **dict(more)))["bytes"]["kept"]
                for more in ((), (("vote__tensors", "upper"),), (("vote__positions", "answer"),),
                             (("vote__positions", "answer"), ("data__cache", 2)))}
        none, rows, both, few = kept.values()
        self.assertEqual(none, 0)
        self.assertGreater(rows, 1400 * 30 * 64 * 4, "rows, tokens, elements and bytes of stories260K")
        self.assertGreater(both, rows)
        self.assertTrue(2 * 2**20 < few < 3 * 2**20, "the store and the base")

    def test_memory_by_kind_adds_up(self):
        train = b.tiny(self.folder("kinds"))
        for per_node in (1, 4):
            e = estimate(train, "--ranks", "8", "--ranks-per-node", per_node)
            kinds = e["bytes"]
            model = sum(kinds[k] for k in ("codes", "gains", "carries", "scales", "kept"))
            working = per_node * kinds["work"] + kinds["metrics"] + kinds["saving"]
            self.assertEqual(
                e["node_bytes"], per_node * (kinds["program"] + kinds["text"]) +
                max(per_node * kinds["reading"], model + max(kinds["loading"], working)))
            self.assertEqual(e["rank_bytes"], e["node_bytes"] // per_node)
        self.assertGreater(kinds["carries"], 260032, "a byte for each weight of stories260K")

    def test_what_does_not_fit_fails(self):
        job = ["estimate", b.JOB, "--ranks", "2"]
        failed = b.run([*job, "--memory", "0.01"], expect=b.FAILURE)
        self.assertRegex(failed.out, r"(?m)^fail +a node needs .* has 0\.01: take fewer ranks")
        self.assertEqual(len(bad.sentences(failed)), 1)
        # with much work the program itself, whose share of libraries varies, counts for little
        train = b.tiny("run", data__batch=128, data__context=64 if b.SLOW else 256)
        needs = estimate(train, "--ranks", "2", "--ranks-per-node", "2")["node_bytes"] / 2**30
        for share, rc, result in ((0.8, b.FAILURE, "fail"), (1.05, b.DONE, "warn"),
                                  (1.4, b.DONE, "ok")):
            if not b.SLOW or result != "warn":
                self.assertEqual(estimate(train, "--ranks", "2", "--ranks-per-node", "2",
                                          "--memory", share * needs, expect=rc)["result"], result)

    def test_a_model_that_does_not_fit_here_is_not_loaded(self):
        """In a cgroup with 60 MiB: sizes are said, times are not, and nothing is killed."""
        if b.SLOW:
            self.skipTest("sanitizers need more memory")
        big = self.folder("too-big")
        random_model(big, 12)
        enter = enter_cgroup(self, "memory", {"memory.limit_in_bytes": str(60 << 20),
                                              "memory.max": str(60 << 20)})
        train = b.tiny("run", model=big, data__dev="", data__train="data/tinystories/dev.txt")
        job = [a for i, a in enumerate(train[1:]) if "--run" not in train[i:i + 2]]
        result = b.run(["estimate", *job, "--json"], preexec=enter, expect=b.FAILURE)
        e = json.loads(result.out)
        self.assertEqual(e["memory_bytes"], 60 << 20)
        self.assertEqual((e["result"], e["seconds_per_step"], e["hours"]), ("fail", None, None))
        self.assertGreater(e["checkpoint_bytes"], 60 << 20)

    # ---- time ----

    def compare_seconds(self, ranks):
        """What was said and what was, of the probes of a step and of what a step computes."""
        train = b.tiny(self.folder("time"), run__steps=8 if b.SLOW else 30, run__eval_every=3,
                       vote__slots=32, data__batch=4, data__context=64, data__dev_examples=64,
                       run__checkpoint_every=0)
        e = estimate(train, ranks=ranks)
        b.run(train, ranks=ranks)
        rows = [row["seconds"] for row in b.metrics(train[train.index("--run") + 1])]
        return ((e["seconds_per_probe"] * 32 / ranks,
                 statistics.median(row["probe"] for row in rows)),
                (e["seconds_per_step"],
                 statistics.mean(row["probe"] + row["update"] + row["eval"] for row in rows)))

    def test_seconds_are_those_of_a_run(self):
        """Within a factor of 3. The machine is shared: once out of three times is enough."""
        for ranks in (1, 2):
            for _ in range(3):
                pairs = self.compare_seconds(ranks)
                if all(real / 3 < said < 3 * real for said, real in pairs):
                    break
            else:
                self.fail(f"on {ranks} ranks, said and in truth: {pairs}")

    def test_more_ranks_share_the_work(self):
        for ranks, per_node, audit, travel in ((1, 1, 0.25, 3), (8, 4, "off", "auto"),
                                               (1000, 10, 0.25, "auto")):
            train = b.tiny(self.folder("plan"), vote__slots=100, run__eval_every=7, data__batch=2,
                           data__dev_examples=9, run__steps=20, vote__audit=audit,
                           vote__probe="two-sided", rule__travel=travel)
            e = estimate(train, "--ranks", ranks, "--ranks-per-node", per_node)
            batches = -(-9 // 2)
            probed = 1 + audit if audit != "off" else 1
            whole = (20 * (e["seconds_per_probe"] * -(-100 // ranks) * probed +
                           e["update_seconds"] / per_node) +
                     4 * e["seconds_per_evaluation"] / batches * -(-batches // ranks))
            if travel == "auto":  # after 2, 5 and 10 steps of 200 passes, four points of a line
                whole += 4 * 3 * -(-16 // ranks) * e["seconds_per_probe"] / 2
            self.assertAlmostEqual(e["hours"] * 3600 / whole, 1, 6)
            self.assertAlmostEqual(e["seconds_per_step"] * 20 / whole, 1, 6)

    def test_the_cost_model_reads_it(self):
        path = self.write("estimate.json", json.dumps(estimate(b.tiny("run"))))
        with open(path, encoding="utf-8") as file:
            e = json.load(file)
        result = subprocess.run(["/usr/bin/python3", "-B", SCALE, path, "--ranks", "1", "--no-plot",
                                 "--slots-per-rank", "8", "--move-cycles", "0"],
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        row = re.search(r"^ *1 +8 .* ([\d,.]+) +100\.0 %", result.stdout, re.M)
        self.assertIsNotNone(row, result.stdout)
        step = 8 * e["seconds_per_probe"] + e["update_seconds"] + 2e-4  # its journal record
        self.assert_near(8 / step, float(row.group(1).replace(",", "")), 0.02, result.stdout)

    # ---- output and bad input ----

    def test_it_says_the_same_in_words_and_once(self):
        for ranks in (1, 3):
            lines = b.run(["estimate", b.JOB, "--ranks", "64", "--ranks-per-node", "32"],
                          ranks=ranks).out.splitlines()
            text = "\n".join(lines)
            self.assertEqual(len(re.findall(r"^journal", text, re.M)), 1, text)
            for word in ("64 ranks, 32 to a node", "bytes per step   104 sent", "of each node",
                         "hours for 600 steps"):
                self.assertIn(word, text)
            self.assertRegex(lines[-1], r"^(ok|warn|fail) +a node needs")

    def test_the_keys_are_stable(self):
        e = estimate(b.tiny("run"))
        self.assertEqual(set(e["bytes"]), {"codes", "gains", "carries", "scales", "kept", "program", "text",
                                           "work", "reading", "loading", "metrics", "saving"})
        self.assertEqual(set(e), {
            "bytes", "planned_ranks", "planned_ranks_per_node", "models_per_node", "rank_bytes",
            "node_bytes", "memory_bytes", "step_bytes", "checkpoint_bytes", "journal_bytes",
            "log_bytes", "rows_bytes", "disk_bytes", "steps", "result", "text", "seconds_per_probe", "update_seconds",
            "seconds_per_evaluation", "seconds_per_step", "hours", "shape", "ranks", "codes",
            "tokens", "sequences"})

    def test_nothing_is_written(self):
        before = sorted(os.listdir("."))
        estimate(b.tiny(self.folder("unwritten")))
        self.assertEqual(sorted(os.listdir(".")), before)
        self.assertFalse(os.path.exists(os.path.join(self.class_dir, "unwritten")))

    def test_bad_input_gets_a_sentence(self):
        refused = bad.BadInput.assert_refused
        for rc, pattern, arguments in (
                (b.USAGE, "a job file is missing", []),
                (b.USAGE, "more than one job file", [b.JOB, b.JOB]),
                (b.USAGE, "expected a number from 1", [b.JOB, "--ranks", "0"]),
                (b.USAGE, "expected a number from 1", [b.JOB, "--ranks-per-node", "2x"]),
                (b.USAGE, "expected GiB", [b.JOB, "--memory", "-1"]),
                (b.USAGE, "nowhere.ini", ["nowhere.ini"]),
                (b.USAGE, r"\[model\] path is missing", [b.JOB, "-s", "model.path="]),
                (b.USAGE, r"at most 512 tokens", [b.JOB, "-s", "data.context=513"]),
                (b.USAGE, "no tensor of the model", [b.JOB, "-s", "vote.tensors=nothing"]),
                (b.INPUT, "nowhere", [b.JOB, "-s", "model.path=nowhere"]),
                (b.INPUT, "nowhere.txt", [b.JOB, "-s", "data.dev=nowhere.txt"])):
            refused(self, rc, [pattern], ["estimate", *arguments],
                    ranks=(1, 3) if rc == b.INPUT else (1,), alone=False)


if __name__ == "__main__":
    b.main()
