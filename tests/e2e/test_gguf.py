"""A GGUF file as MODEL, everywhere; what it holds, against other programs where they are installed."""
import filecmp
import json
import os
import shutil
import subprocess
import unittest

import ballot_run as b

GOLDEN = "tests/golden/gguf"
SMALL = f"{GOLDEN}/small.gguf"
SMOLLM2 = os.environ.get("BALLOT_SMOLLM2", "data/smollm2-135m")
has_smollm2 = unittest.skipUnless(os.path.isdir(SMOLLM2) and os.listdir(SMOLLM2),
                                  f"no {SMOLLM2}: jobs/smollm2.sh brings it")


def python_with(*packages):
    """A Python that has them all, such as one of a virtual environment that PATH names."""
    for python in ("python3", "/usr/bin/python3"):
        words = [python, "-c", "import " + ", ".join(packages)]
        if shutil.which(python) and subprocess.run(words, capture_output=True).returncode == 0:
            return python
    raise unittest.SkipTest("no Python with " + " and ".join(packages))


class Gguf(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stories = os.path.join(cls.class_dir, "stories.gguf")
        b.run(["export", b.STORIES, cls.stories, "--gguf", "f16"])

    def evaluate(self, model, *more):
        return json.loads(b.run(["eval", model, "--job", b.JOB, "-s", "data.context=16", "-s",
                                 "data.dev_examples=40", "--json", *more]).out)

    def test_every_command_takes_it(self):
        self.assertIn("GGUF", b.run(["inspect", self.stories]).out)
        text = b.run(["generate", self.stories, "Once upon", "-n", "12", "--format", "f32"]).out
        self.assertEqual(text, b.run(["generate", b.STORIES, "Once upon", "-n", "12", "--format",
                                      "f32"]).out)
        losses = [self.evaluate(model, "--format", "f32")["loss_nats"]
                  for model in (self.stories, b.STORIES)]
        self.assertAlmostEqual(*losses, delta=2e-3)  # F16
        made = self.folder("rounded.h5")
        b.run(["quantize", self.stories, "-o", made])
        self.assertEqual(b.inspect(made)["fingerprint"],
                         self.evaluate(self.stories, "--format", "i8")["fingerprint"])

    def test_a_run_starts_from_it_and_goes_out_in_either_form(self):
        runs = [self.folder(f"run-{ranks}") for ranks in (1, 2)]
        for ranks, run in enumerate(runs, 1):
            b.run(b.tiny(run, model=self.stories, run__steps=4), ranks=ranks)
        prints = {b.inspect(run)["fingerprint"] for run in runs}
        self.assertEqual(len(prints), 1, prints)
        again, folder = self.folder("again.gguf"), self.folder("folder")
        b.run(["export", runs[0], again, "--gguf", "f16"])
        b.run(["export", runs[0], folder, "--dtype", "f16"])
        self.assertEqual(*(b.run(["generate", model, "Once", "-n", "12", "--format", "f32"]).out
                           for model in (again, folder)))
        replayed = self.folder("replayed.h5")
        b.run(["replay", self.stories, runs[0], "-o", replayed])
        self.assertEqual({b.inspect(replayed)["fingerprint"]},
                         {b.inspect(os.path.join(runs[0], "step-000004.h5"))["fingerprint"]})

    def test_a_folder_or_a_cache_entry_with_one_stands_for_it(self):
        print_of = lambda path: b.run(["inspect", path]).out
        folder, cache = self.folder("folder"), self.folder("models--owner--small")
        snapshot = os.path.join(cache, "snapshots", "abc")
        for place in (folder, snapshot, os.path.join(cache, "refs")):
            os.makedirs(place)
        shutil.copy(SMALL, folder)
        shutil.copy(SMALL, snapshot)
        with open(os.path.join(cache, "refs", "main"), "w", encoding="utf-8") as file:
            file.write("abc")
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
            file.write("{}")  # as repositories of the hub have
        self.assertEqual(print_of(folder), print_of(SMALL))
        self.assertEqual(print_of(cache), print_of(SMALL))
        shutil.copy(SMALL, os.path.join(folder, "other.gguf"))
        said = b.run(["inspect", folder], expect=b.INPUT).err
        self.assertIn("2 files could be its GGUF model (*.gguf); expected one of: other.gguf, small",
                      said)

    def test_damage_is_one_sentence(self):
        data, path = b.bytes_of(SMALL), self.folder("damaged.gguf")
        for change, words in ((data[:-4096], "within the"), (data[:100], "pair"),
                              (data.replace(b"llama.block_count", b"xlama.block_count"),
                               "llama.block_count is missing"),
                              (data.replace(b"smollm", b"falcon"), 'tokenizer.ggml.pre is "falcon"')):
            with open(path, "wb") as file:
                file.write(change)
            said = b.run(["generate", path, "a"], expect=b.INPUT).err
            self.assertIn(words, said)
            self.assertEqual(len(said.splitlines()), 1, said)

    def test_chat_templates_come_along(self):
        made = self.folder("chat.gguf")
        b.run(["export", SMALL, made])
        data = b.bytes_of(made)
        for words in (b"tokenizer.chat_template", b"{{ messages }}", b"tokenizer.chat_template.tool_use",
                      b"{{ tools }}"):
            self.assertIn(words, data)

    def test_the_golden_files_are_those_of_the_package(self):
        python = python_with("gguf")
        folder = self.folder("golden")
        os.mkdir(folder)
        subprocess.run([python, f"{GOLDEN}/make_types.py", os.path.join(folder, "types.gguf")], check=True)
        subprocess.run([python, f"{GOLDEN}/make_small.py", folder], check=True)
        for name in sorted(os.listdir(folder)):
            self.assertTrue(filecmp.cmp(os.path.join(folder, name), os.path.join(GOLDEN, name), False), name)

    @has_smollm2
    def test_smollm2_has_the_loss_of_transformers(self):
        wanted = json.loads(b.bytes_of("tests/golden/smollm2/loss.json"))
        found = json.loads(b.run(
            ["eval", SMOLLM2, "--job", b.JOB, "--format", "f32", "--json",
             "-s", f"data.dev={wanted['text']}", "-s", f"data.context={wanted['context']}",
             "-s", f"data.dev_examples={wanted['dev_examples']}"]).out)
        self.assertEqual(found["tokens"], 2000)
        self.assertAlmostEqual(found["loss_nats"], wanted["loss_nats"], delta=2e-5)

    @has_smollm2
    def test_a_row_with_a_byte_without_a_token_is_named(self):
        rows = self.folder("rows.txt")
        with open(rows, "wb") as file:
            file.write(b"1 very good\n0 much too l\xf6ng\n0 \xfcberhaupt\n")
        result = b.run(["eval", SMOLLM2, "-s", "data.task=data/tasks/cr.ini", "-s", f"data.dev={rows}"],
                       expect=b.INPUT)
        self.assertIn("rows.txt:2: byte 0xF6 of the text has no token", result.err)

    @has_smollm2
    @unittest.skipIf(b.SLOW, "sanitizers have memory of their own")
    def test_smollm2_is_packed_in_little_memory(self):
        codes = 134515008
        for n_bytes, command in ((2 * codes, ["quantize", SMOLLM2, "-o", self.folder("smollm2.h5")]),
                                 (codes, ["generate", SMOLLM2, "-n", "1", "Hello"])):  # no carries
            process = b.start(command + ["--format", "i8"])
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            b.finish(process)
            self.assertLess(1024 * usage.ru_maxrss, 1.3 * n_bytes + 100e6, command[0])


if __name__ == "__main__":
    b.main()
