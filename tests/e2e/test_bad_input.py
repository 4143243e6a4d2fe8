"""Bad input gets one sentence that names file and place, and its exit code, on one rank or many."""
import gzip
import json
import os
import re
import resource
import shutil
import struct

import ballot_run as b

COMMANDS = ("train", "eval", "generate", "inspect", "config", "replay", "export")
MODEL = os.path.join(b.STORIES, "stories260K.bin")
TOKENIZER = os.path.join(b.STORIES, "tok512.bin")


def sentences(result):
    """Lines of the program: "ballot: ...", or "ballot train: ..." about its arguments."""
    return [line for line in result.err.splitlines() if re.match(r"ballot( [a-z]+)?: ", line)]


class BadInput(b.TestCase):
    def assert_refused(self, rc, patterns, arguments, ranks=(1, 3), alone=True):
        """Exit code and one sentence with these patterns. alone: nothing else on stderr, apart
        from what mpirun says. Returns the sentence."""
        said = []
        for n in ranks:
            result = b.run(arguments, ranks=n, expect=None)
            about = f"{result.command}\n{result.out}\n{result.err}"
            self.assertEqual(result.rc, rc, f"exit code of: {about}")
            lines = sentences(result)
            self.assertEqual(len(lines), 1, f"one sentence expected: {about}")
            for pattern in patterns:
                self.assertRegex(lines[0], pattern, about)
            if alone and n == 1:
                self.assertEqual(result.err.splitlines(), lines, f"more than a sentence: {about}")
            said.append(lines[0])
        self.assertEqual(len(set(said)), 1, f"the same sentence on {ranks} ranks: {said}")
        return said[0]

    def refused_job(self, text, *patterns):
        job = self.write("job.ini", text)
        patterns = [p.replace("JOB", re.escape(job)) for p in patterns]
        self.assert_refused(b.USAGE, patterns, ["config", job], ranks=(1,))
        return self.assert_refused(b.USAGE, patterns, ["train", job, "--run", self.folder("run")],
                                   ranks=(3,))

    def llama2c(self, name, model=None, tokenizer=None):
        folder = self.folder(name)
        os.mkdir(folder)
        for path, content in ((MODEL, model), (TOKENIZER, tokenizer)):
            self.write(os.path.join(name, os.path.basename(path)),
                       b.bytes_of(path) if content is None else content)
        return folder

    def refused_model(self, folder, *patterns, ranks=(1, 3)):
        patterns = [re.escape(folder), *patterns]
        self.assert_refused(b.INPUT, patterns, b.tiny(self.folder("run"), model=folder), ranks)
        self.assert_refused(b.INPUT, patterns, ["generate", folder, "a"], ranks=(1,))

    # ---- models ----

    def test_missing_model(self):
        self.refused_model(os.path.join(self.class_dir, "nowhere"), r"No such file|does not exist")

    def test_empty_folder(self):
        folder = self.folder("empty")
        os.mkdir(folder)
        self.refused_model(folder)

    def test_short_model(self):
        whole = b.bytes_of(MODEL)
        for length in (0, 3, 27, 28, 1000, len(whole) - 1):
            self.refused_model(self.llama2c("short", model=whole[:length]), r"stories260K\.bin",
                               r"\d", ranks=(1, 3) if length == 1000 else (1,))

    def test_corrupt_model(self):
        whole = b.bytes_of(MODEL)
        for at, value in ((0, 0), (0, -64), (4, 2**31 - 1), (8, 1000000), (12, 7), (16, 3), (20, 0),
                          (20, 2**31 - 1), (24, -1), (24, 2**31 - 1)):
            broken = whole[:at] + struct.pack("<i", value) + whole[at + 4:]
            self.refused_model(self.llama2c("corrupt", model=broken), r"stories260K\.bin",
                               ranks=(1, 3) if at == 8 else (1,))
        not_a_number = whole[:4000] + struct.pack("<f", float("nan")) + whole[4004:]
        self.refused_model(self.llama2c("corrupt", model=not_a_number), r"stories260K\.bin",
                           ranks=(1,))
        self.refused_model(self.llama2c("corrupt", model=whole + b"more"), r"stories260K\.bin",
                           ranks=(1,))

    def test_corrupt_safetensors(self):
        folder = self.folder("hf")
        b.run(["export", b.STORIES, folder])
        path, config = (os.path.join(folder, n) for n in ("model.safetensors", "config.json"))
        whole, text = b.bytes_of(path), b.bytes_of(config)
        for broken in (b"", whole[:7], whole[:100], whole[:-1], whole + b"x",
                       b"\xff" * 8 + whole[8:], struct.pack("<Q", len(whole)) + whole[8:],
                       whole[:8] + b"[" + whole[9:], whole.replace(b'"F32"', b'"F99"', 1),
                       whole.replace(b'"data_offsets":[0', b'"data_offsets":[4', 1)):
            self.write("hf/model.safetensors", broken)
            self.refused_model(folder, r"model\.safetensors", ranks=(1,))
        self.write("hf/model.safetensors", whole)
        for broken in (b"", b"{", b"[]", text.replace(b'"llama"', b'"gpt2"').replace(
                b"LlamaForCausalLM", b"GPT2LMHeadModel"), text.replace(b": 64", b": -64"),
                text.replace(b": 512", b": 1e99"), text.replace(b": 172", b": 173")):
            self.assertNotEqual(broken, text)
            self.write("hf/config.json", broken)
            self.refused_model(folder, ranks=(1,))
        self.write("hf/config.json", text)
        os.remove(path)
        self.refused_model(folder, r"safetensors")

    def test_wrong_tokenizer(self):
        vocabulary = lambda n: struct.pack("<i", 8) + b"".join(
            struct.pack("<fi", -i, 4) + b"%04d" % (i % 10000) for i in range(n))
        for content in (vocabulary(600), vocabulary(100), b"", b.bytes_of(TOKENIZER)[:-1]):
            self.refused_model(self.llama2c("tokenizer", tokenizer=content), r"tok512\.bin",
                               ranks=(1, 3) if not content else (1,))

    # ---- data ----

    def refused_data(self, path, *patterns, rc=b.INPUT, **options):
        for key in ("data__train", "data__dev"):
            self.assert_refused(rc, [re.escape(path), *patterns],
                                b.tiny(self.folder("run"), **{key: path}, **options))

    def test_missing_data(self):
        self.refused_data(os.path.join(self.class_dir, "no.txt"), r"No such file|does not exist")

    def test_empty_data(self):
        self.refused_data(self.write("empty.txt", ""), r"empty|0 (bytes|tokens)")

    def test_data_shorter_than_an_example(self):
        self.refused_data(self.write("short.txt", "Once upon a time"), r"\d")

    def test_data_that_is_a_folder(self):
        self.refused_data(self.class_dir)

    def test_data_that_is_no_text(self):
        text = "Once upon a time. " * 99
        self.refused_data(self.write("utf-16.txt", text.encode("utf-16")), "UTF-16", "iconv -f UTF-16 ")
        self.refused_data(self.write("text.gz", gzip.compress(text.encode())), "gzip", "gunzip")

    def test_bytes_of_0_in_a_text_are_named_and_read(self):
        file = self.write("zeros.txt", "Once upon a time. \0" * 99)
        result = b.run(["eval", b.STORIES, "--job", b.JOB, "-s", f"data.dev={file}"])
        self.assertRegex(result.err, rf"{re.escape(file)}: 99 bytes are 0 .* tr -d")

    def test_windows_line_ends_in_a_text_are_named_and_read(self):
        file = self.write("windows.txt", "Once upon a time.\r\n" * 99)
        result = b.run(["eval", b.STORIES, "--job", b.JOB, "-s", f"data.dev={file}"])
        self.assertRegex(result.err, rf"{re.escape(file)}: lines end with CR LF.* tr -d '.r' < ")
        same = b.run(["eval", b.STORIES, "--job", b.JOB, "-s", f"data.dev={file}",
                      "-s", "data.examples=documents"])
        self.assertNotIn("CR LF", same.err)  # which has none of them

    def test_documents_in_windows_line_ends_are_fine(self):
        text = b.bytes_of("data/tinystories", "dev.txt")[:6000]
        job = self.write("documents.ini", f"[model]\npath = {b.STORIES}\n[data]\nexamples = documents\n"
                         "dev = " + os.path.join(self.class_dir, "documents.txt") + "\n")
        losses = []
        for twin in text, text.replace(b"\n", b"\r\n"), text.replace(b"\n\n", b"\n \t\n"):
            self.write("documents.txt", twin)
            result = json.loads(b.run(["eval", b.STORIES, "--job", job, "--json"]).out)
            losses.append((result["loss_nats"], result["tokens"], result["bits_per_byte"]))
        self.assertEqual(losses[1:], losses[:1] * 2)
        self.assertLess(losses[0][0], 2.5)

    def test_context_longer_than_the_model(self):
        self.assert_refused(b.USAGE, [r"context = 513", r"\b512\b"],
                            b.tiny(self.folder("run"), data__context=513))
        self.assert_refused(b.USAGE, [r"context = 513|\b513\b", r"\b512\b"],
                            ["eval", b.STORIES, "--job", b.JOB, "-s", "data.context=513"])

    def test_patterns_that_match_no_tensor(self):
        self.assert_refused(b.USAGE, [r"tensors = nothing\*"],
                            b.tiny(self.folder("run"), vote__tensors="nothing*"))

    # ---- job files ----

    def test_unknown_key(self):
        said = self.refused_job("; a job\n[run]\nsteps = 3\nsede = 1\n", r"JOB:4\b", r"sede")
        self.assertRegex(said, r"did you mean seed in \[run\]")

    def test_unknown_section(self):
        said = self.refused_job("[run]\nsteps = 3\n[vot]\n\nslots = 4\n", r"JOB:5\b", r"\[vot\]")
        self.assertRegex(said, r"did you mean slots in \[vote\]")

    def test_option_before_any_section(self):
        self.refused_job("\nsteps = 3\n", r"JOB:2\b", r"steps")

    def test_value_out_of_range(self):
        for line, place in (("steps = 0", "JOB:2"), ("steps = 2147483648", "JOB:2"),
                            ("steps = 3x", "JOB:2"), ("steps = 1e3", "JOB:2"), ("steps =", "JOB:2"),
                            ("steps = 99999999999999999999999", "JOB:2"), ("keep = -1", "JOB:2"),
                            ("[vote]\ndensity = 0", "JOB:3"), ("[vote]\ndensity = nan", "JOB:3"),
                            ("[vote]\ndensity = 1.5", "JOB:3"), ("[rule]\ntravel = inf", "JOB:3"),
                            ("[vote]\ndirections = wolsh", "JOB:3"), ("[vote]\ntrain =", "JOB:3"),
                            ("[model]\ncodes = i4 i8", "JOB:3")):
            key = line.split("\n")[-1].split(" =")[0]
            job = self.write("job.ini", f"[run]\n{line}\n")
            self.assert_refused(b.USAGE, [place.replace("JOB", re.escape(job)) + r"\b", key,
                                          "expected"], ["config", job], ranks=(1,))
        self.refused_job("[run]\nsteps = 0\n", r"JOB:2\b", r"steps = 0", r"expected 1 to")

    def test_options_that_do_not_fit_together(self):
        self.refused_job("[vote]\nnoise = 2\n", r"noise = 2", r"uniform")
        self.refused_job("[vote]\naudit = 0.5\ndealing = node\n", r"audit = 0\.5",
                         r"dealing = fixed")
        self.refused_job("[rule]\nname = zoko\n", r"name = zoko", r"carry", r"zoqo")
        self.refused_job("[rule]\nname = o\n", r"name = o\b", r"carry", r"zoqo")

    def test_duplicate_key(self):
        self.refused_job("[run]\nsteps = 3\nseed = 1\nsteps = 4\n", r"JOB:4\b", r"JOB:2\b", "steps")

    def test_indented_key_names_its_own_line(self):
        job = self.write("job.ini", "[run]\nsteps = 3\n  seed = 7\n[vote]\nslots = 5\n")
        result = b.run(["config", job], expect=None)
        if result.rc == b.DONE:
            self.assertRegex(result.out, r"seed = 7")
        else:
            self.assertEqual((result.rc, len(sentences(result))), (b.USAGE, 1), result.err)
            self.assertRegex(result.err, re.escape(job) + r":3\b", "an indented key is on line 3")

    def test_garbage_line(self):
        self.refused_job("[run]\nsteps = 3\nhello there\n", r"JOB:3\b", "expected")
        self.refused_job("[run\nsteps = 3\n", r"JOB:1\b", "expected")
        self.refused_job("[run]\nsteps = 3 ; " + "x" * 300 + "\n", r"JOB:2\b", "expected")

    def test_binary_job_file(self):
        self.refused_job(bytes(range(256)) * 4, r"JOB", "expected")
        self.refused_job(b.bytes_of(MODEL)[:5000], r"JOB", "expected")

    def test_missing_job_file(self):
        for path in (os.path.join(self.class_dir, "no.ini"), self.class_dir):
            self.assert_refused(b.USAGE, [re.escape(path)],
                                ["train", path, "--run", self.folder("run")])

    def test_windows_line_ends_are_fine(self):
        job = self.write("job.ini", "[run]\r\nsteps = 7\r\n[vote]\r\ntrain = gains\r\n")
        self.assertRegex(b.run(["config", job]).out, r"steps = 7\s")

    def test_bad_overrides(self):
        for text in ("run.steps", "steps=3", "run.stepz=3", "=", ".=", "run.steps=", "run.steps=x",
                     "x" * 5000 + ".y=1", "run." + "k" * 5000 + "=1", "data.train=" + "t" * 5000):
            self.assert_refused(b.USAGE, [r"-s "], ["config", "-s", text], ranks=(1,))

    # ---- run directories ----

    def test_run_directory_of_another_job(self):
        run = self.folder("run")
        b.run(b.tiny(run))
        before = b.contents(run)
        self.assert_refused(b.USAGE, [re.escape(run), r"slots = 8", r"slots = 9"],
                            b.tiny(run, vote__slots=9))
        self.assert_refused(b.USAGE, [re.escape(run), r"travel = 4", r"travel = 5"],
                            b.tiny(run, "-s", "rule.travel=5"))
        other = self.write("other.txt", b.bytes_of("data/tinystories/dev.txt"))
        self.assert_refused(b.USAGE, [re.escape(run), r"data"], b.tiny(run, data__train=other))
        weights = bytearray(b.bytes_of(MODEL))
        weights[5000:5400] = bytes(400)
        base = self.llama2c("base", model=bytes(weights))
        self.assert_refused(b.USAGE, [re.escape(run), r"model"], b.tiny(run, model=base))
        after = b.contents(run)
        self.assertEqual([n for n in before if n != "run.lock" and before[n] != after.get(n)], [],
                         "files of the first job were changed")
        # What decides nothing may change: where the same data lies, how often to save.
        copy = self.write("copy.txt", b.bytes_of("data/shakespeare/dev.txt"))
        b.run(b.tiny(run, data__train=copy, run__keep=5, run__checkpoint_every=7))

    def test_a_journal_of_another_program(self):
        run = self.folder("run")
        os.mkdir(run)
        self.write("run/ballots.journal", b"something else\n" * 100)
        self.assert_refused(b.INPUT, [r"ballots\.journal"], b.tiny(run))
        self.assertEqual(b.bytes_of(run, "ballots.journal"), b"something else\n" * 100)

    def test_directory_that_cannot_be_made(self):
        file = self.write("file", "in the way")
        for path in (file, os.path.join(file, "run"), "/proc/nope/run"):
            self.assert_refused(b.FAILURE, [re.escape(os.path.dirname(path))], b.tiny(path))

    def assert_disk_full(self, result, run, what):
        about = f"{result.command}\n{result.out}\n{result.err}"
        self.assertEqual(result.rc, b.FAILURE, about)
        self.assertEqual(len(sentences(result)), 1, about)
        self.assertRegex(sentences(result)[0], re.escape(run) + f"/.*{what}.*File too large", about)

    def test_disk_full_at_the_start(self):
        fingerprint = b.printed_fingerprint(b.run(b.tiny(self.folder("full-whole"))))
        for what, limit in ((r"run\.lock", 20), (r"job\.ini", 300), (r"metrics\.jsonl", 2000),
                            (r"best\.h5", 500000)):
            run = self.folder("full")
            little = lambda: resource.setrlimit(resource.RLIMIT_FSIZE,
                                                (limit, resource.RLIM_INFINITY))
            # Alone, without its daemon, Open MPI itself writes no files.
            result = b.run(b.tiny(run), expect=None, preexec=little,
                           OMPI_MCA_ess_singleton_isolated="1")
            self.assert_disk_full(result, run, what)
            if what != r"metrics\.jsonl":  # which is full after some steps
                self.assertFalse(os.path.exists(run), what)
            self.assertEqual(b.printed_fingerprint(b.run(b.tiny(run))), fingerprint, what)

    def test_a_job_file_of_the_user_stays_when_the_disk_is_full(self):
        run = self.folder("own")
        os.mkdir(run)
        shutil.copy(b.JOB, os.path.join(run, "job.ini"))
        little = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (500000, resource.RLIM_INFINITY))
        result = b.run(b.tiny(run, job=os.path.join(run, "job.ini")), expect=None, preexec=little,
                       OMPI_MCA_ess_singleton_isolated="1")
        self.assert_disk_full(result, run, r"best\.h5")
        self.assertEqual(sorted(os.listdir(run)), ["job.ini", "run.lock"])

    def test_disk_full_in_the_middle(self):
        options = {"run__steps": 12 if b.SLOW else 60, "vote__slots": 12, "data__context": 32}
        whole = self.folder("full-whole")
        fingerprint = b.printed_fingerprint(b.run(b.tiny(whole, **options)))
        size = lambda run, name: os.path.getsize(os.path.join(run, name))
        # A limit holds for every file: which one meets it first depends on the moment.
        any_file = r"(ballots\.journal|\.metrics\.rows|metrics\.jsonl|(step-\d+|best)\.h5)"
        for what, limit in ((any_file, lambda run: size(run, "ballots.journal") + 20),
                            (any_file, lambda run: size(run, "metrics.jsonl") + 20),
                            (r"(step-\d+|best)\.h5", lambda run: 500000)):
            for ranks in (1, 3):
                run = self.folder("full-middle")
                process = b.start(b.tiny(run, **options), ranks=ranks)
                if b.wait_until(process, lambda: len(b.metrics(run)) >= 3):
                    for pid in b.rank_pids(process):
                        resource.prlimit(pid, resource.RLIMIT_FSIZE,
                                         (limit(run), resource.RLIM_INFINITY))
                self.assert_disk_full(b.finish(process, expect=None), run, what)
                self.assertGreaterEqual(b.inspect(os.path.join(run, "ballots.journal"))["step"], 3)
                end = b.run(b.tiny(run, **options), ranks=ranks)
                self.assertEqual(b.printed_fingerprint(end), fingerprint, end.command)
                self.assertEqual(b.bytes_of(run, "ballots.journal"),
                                 b.bytes_of(whole, "ballots.journal"), end.command)

    def test_run_directory_in_use(self):
        run, options = self.folder("run"), {"run__steps": 60 if b.SLOW else 2000}
        first = b.start(b.tiny(run, **options))
        self.assertTrue(b.wait_until(first, lambda: b.metrics(run)), "the first run ended at once")
        for ranks in (1, 3):
            self.assert_refused(b.FAILURE, [re.escape(run), rf"\b{first.pid}\b"],
                                b.tiny(run, **options), ranks=(ranks,))
            self.assertIsNone(first.poll(), "the first run ended before the test did: more steps")
        end = b.printed_fingerprint(b.finish(first))
        alone = b.run(b.tiny(self.folder("alone"), **options))
        self.assertEqual(end, b.printed_fingerprint(alone), "the first run was harmed")

    # ---- files given to other commands ----

    def test_replay_of_another_base_or_job(self):
        run, out = self.folder("run"), self.folder("out.h5")
        b.run(b.tiny(run))
        journal, last = os.path.join(run, "ballots.journal"), os.path.join(
            run, b.bytes_of(run, "LATEST").decode().strip())
        replay = lambda rc, patterns, *more: self.assert_refused(
            rc, patterns, ["replay", *more, "-o", out])
        replay(b.USAGE, [r"base", "journal"], last, journal)
        replay(b.USAGE, [r"job"], b.STORIES, journal, "--job", b.JOB)
        replay(b.USAGE, [r"\b1000\b", r"\b%d\b" % b.TINY["run.steps"]], b.STORIES, journal,
               "--step", 1000)
        replay(b.INPUT, [re.escape(last)], b.STORIES, last, "--job", os.path.join(run, "job.ini"))
        self.assertFalse(os.path.exists(out), "nothing is written")
        self.assert_refused(b.USAGE, [re.escape(last), "exists"],
                            ["replay", b.STORIES, journal, "-o", last])

    def test_export_into_a_folder_with_files(self):
        folder, free = self.folder("taken"), self.folder("free")
        b.run(["export", b.STORIES, free])
        os.mkdir(folder)
        for name in os.listdir(free):
            path = self.write(f"taken/{name}", "mine")
            self.assert_refused(b.FAILURE, [re.escape(path)], ["export", b.STORIES, folder])
            self.assertEqual(b.contents(folder), {name: b"mine"}, "the folder is as it was")
            os.remove(path)
        file = self.write("file", "mine")
        self.assert_refused(b.FAILURE, [re.escape(file)], ["export", b.STORIES, file])

    def test_inspect_of_something_else(self):
        for path in (os.path.join(self.class_dir, "no.h5"), self.write("x.h5", "text"),
                     self.write("x.journal", "text"), self.write("x.bin", "text"), "jobs"):
            self.assert_refused(b.INPUT, [re.escape(path)], ["inspect", path])

    # ---- arguments ----

    def test_unknown_option_of_a_command(self):
        for arguments, wrong, meant in (
                (["train", "--stpes", "3"], "stpes", "-s run.steps=...?"),
                (["train", b.JOB, "--run.steps=3"], "run.steps", "-s run.steps=...?"),
                (["train", b.JOB, "--rum", "R"], "rum", "--run?"),
                (["eval", b.STORIES, "--josn"], "josn", "--json?"),
                (["generate", b.STORIES, "-p", "--tokns", "--tokns", "3"], "tokns", "--tokens?"),
                (["inspect", "--verfiy", b.STORIES], "verfiy", "--verify?"),
                (["inspect", b.STORIES, "--hepl"], "hepl", "--help?")):
            for ranks in (1, 2) if wrong == "rum" else (1,):
                said = b.run(arguments, ranks, expect=b.USAGE).err
                self.assertIn(f"ballot {arguments[0]}: there is no option --{wrong}; did you mean "
                              f"{meant}\nTry ", said)
                self.assertEqual(said.count("did you mean"), 1)
        for word, reason in (("--zzzzzzzz", "unrecognized"), ("--s", "ambiguous")):
            said = b.run(["eval", b.STORIES, word], expect=b.USAGE).err
            self.assertIn(reason, said)
            self.assertNotIn("did you mean", said)
        b.run(["train", "--he"])
        self.assert_refused(b.INPUT, ["--verfiy"], ["inspect", "--", "--verfiy"])

    def test_unknown_command_or_none(self):
        for word, meant in (("trian", "train"), ("evla", "eval"), ("exprot", "export")):
            self.assert_refused(b.USAGE, [f'"{word}"; did you mean "{meant}"'], [word], alone=False)
        self.assert_refused(b.USAGE, ['there is no command "xyz"$'], ["xyz"], ranks=(1,), alone=False)
        self.assert_refused(b.USAGE, [r"command"], [], alone=False)

    def test_wrong_arguments(self):
        for arguments, pattern in ((["train"], "job file"), (["train", b.JOB], "--run"),
                                   (["train", b.JOB, "two", "--run", "x"], "two"),
                                   (["train", b.JOB, "--run", "x", "--isa", "sse"], "sse"),
                                   (["train", b.JOB, "--run", "x", "--max-hours", "no"], "no"),
                                   (["train", "--bogus"], "--bogus"), (["eval"], "model"),
                                   (["eval", b.STORIES], "--job"),
                                   (["eval", b.STORIES, "--job", b.JOB, "--split", "x"], "split"),
                                   (["generate"], "model"),
                                   (["generate", "a", "b", "-n", "0"], "0"),
                                   (["generate", "a", "b", "-T", "nan"], "nan"),
                                   (["inspect"], "file"), (["config", "a", "b"], "b"),
                                   (["replay", "a"], "journal"), (["replay", "a", "b"], "-o"),
                                   (["export", "a"], "folder")):
            ranks = (1, 3) if arguments in (["train"], ["train", "--bogus"]) else (1,)
            said = self.assert_refused(b.USAGE, [re.escape(pattern)], arguments, ranks, alone=False)
            self.assertTrue(said.startswith(f"ballot {arguments[0]}: "), said)

    def test_split_that_the_job_does_not_name(self):
        self.assert_refused(b.USAGE, [r"test is not set"],
                            ["eval", b.STORIES, "--job", b.JOB, "--split", "test"])

    def test_prompt_longer_than_the_context(self):
        self.assert_refused(b.USAGE, [r"\b512\b|\b511\b"], ["generate", b.STORIES, "word " * 600])

    def test_a_start_that_fails_leaves_no_directory(self):
        run = self.folder("run")
        for ranks in (1, 2):
            b.run(b.tiny(run, data__train="nowhere.txt"), ranks=ranks, expect=b.INPUT)
            self.assertFalse(os.path.exists(run))
            b.run(b.tiny(f"{run}/a//b/", "-s", "rule.name=zoqo"), ranks=ranks, expect=b.USAGE)
            self.assertFalse(os.path.exists(run))
        b.run(b.tiny(f"{run}/{'n' * 300}"), expect=b.FAILURE)
        self.assertFalse(os.path.exists(run))
        os.mkdir(run)  # of its user
        b.run(b.tiny(run, data__train="nowhere.txt"), expect=b.INPUT)
        self.assertEqual(os.listdir(run), ["run.lock"])
        b.run(b.tiny(f"{run}/a/b", data__train="nowhere.txt"), expect=b.INPUT)
        self.assertEqual(os.listdir(run), ["run.lock"])

    def test_a_folder_of_other_files_is_no_run(self):
        run = self.folder("run")
        os.mkdir(run)
        self.write("run/notes.txt", "mine")
        result = b.run(b.tiny(run), ranks=2, expect=b.USAGE)
        self.assertIn("holds files, but no run", result.err)
        self.assertEqual(os.listdir(run), ["notes.txt"])

    def test_a_job_that_was_refused_can_be_corrected(self):
        """Where no step was taken, also if the first start was killed or failed late."""
        run = self.folder("run")
        os.mkdir(run)
        b.run(b.tiny(run, "-s", "rule.name=zoqo"), expect=b.USAGE)
        self.assert_refused(b.USAGE, ["zoqo"], ["doctor", b.JOB, "-s", f"model.path={b.STORIES}",
                                                "-s", "rule.name=zoqo"])
        self.assertEqual(os.listdir(run), ["run.lock"])
        b.run(b.tiny(run))
        os.truncate(os.path.join(run, "ballots.journal"), 128)  # a step was never taken
        for name in os.listdir(run):
            if re.match(r"step-|LATEST|metrics", name):
                os.remove(os.path.join(run, name))
        result = b.run(b.tiny(run, vote__slots=9))
        self.assertRegex(result.err, r"of another job, but without a step; the run begins anew")
        other = self.folder("other")
        fresh = b.run(b.tiny(other, vote__slots=9))
        self.assertEqual(b.printed_fingerprint(result), b.printed_fingerprint(fresh))
        for name in ("job.ini", "ballots.journal"):
            self.assertEqual(b.bytes_of(run, name), b.bytes_of(other, name))

    def test_failures_to_write_name_what_was_asked_for(self):
        """And not the hidden name under which it is written first."""
        little = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, resource.RLIM_INFINITY))
        here, stories = os.getcwd(), os.path.abspath(b.STORIES)
        self.addCleanup(os.chdir, here)
        os.chdir(self.class_dir)
        for command, name in ((["export", stories, "x.gguf"], "x.gguf"),
                              (["export", stories, "./x.gguf"], "x.gguf"),
                              (["export", stories, "made"], "made/model.safetensors"),
                              (["quantize", stories, "-o", "x.h5"], "x.h5")):
            result = b.run(command, expect=b.FAILURE, preexec=little,
                           OMPI_MCA_ess_singleton_isolated="1")
            self.assertRegex(result.err, rf"(?m)^ballot: {re.escape(name)}: ")

    def test_help_of_every_command(self):
        for command in COMMANDS:
            for ranks in (1, 2):
                result = b.run([command, "--help"], ranks=ranks)
                self.assertEqual(result.out.count(f"Usage: ballot {command}"), 1, result.command)

    def test_help_of_the_program(self):
        for option in ("--help", "-h", "help"):
            for ranks in (1, 2):
                result = b.run([option], ranks=ranks)
                self.assertEqual(result.out.count("usage: ballot COMMAND"), 1, result.command)
                for command in COMMANDS:
                    self.assertRegex(result.out, rf"(?m)^  {command} ")
        self.assertEqual(b.run(["--version"], ranks=2).out.count("ballot "), 1, "--version")


if __name__ == "__main__":
    b.main()
