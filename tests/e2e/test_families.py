"""Every family and format through the whole program: rounded, trained, evaluated, continued."""
import glob
import json
import os

import ballot_run as b

FOLDERS = sorted(os.path.dirname(path) for path in glob.glob("tests/golden/families/*/config.json"))
FORMATS = ("i8", "i4", "nf4")
JOB = "jobs/stories260k-tinystories.ini"
TEXT = "data/tinystories/dev.txt"


def config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def one_of_each_family():
    """Under sanitizers one folder of each family must do."""
    found = {}
    for folder in FOLDERS:
        found.setdefault(config(folder)["model_type"], folder)
    return sorted(found.values()) if b.SLOW else FOLDERS


class Families(b.TestCase):
    def train(self, name, folder, *more, ranks=1, **options):
        """Fingerprint after 5 steps."""
        task = "mlm" if os.path.basename(folder).startswith("roberta") else "lm"
        settings = {"data.task": task, "data.train": TEXT, "data.dev": TEXT, "run.steps": 5,
                    "data.batch": 2, "data.context": 24}
        settings.update({key.replace("__", "."): value for key, value in options.items()})
        run = self.run_folder = self.folder(name)
        result = b.run(b.tiny(run, *more, model=folder, **{key.replace(".", "__"): value
                                                           for key, value in settings.items()}),
                       ranks=ranks)
        prints = b.fingerprints(run)
        self.assertEqual(len(set(prints.values()) | {b.printed_fingerprint(result)}), 6,
                         f"every step changes the model: {result.command}")
        return b.printed_fingerprint(result)

    def test_five_steps_end_in_the_same_bits_on_1_and_2_ranks_at_every_level(self):
        for i, folder in enumerate(one_of_each_family()):
            name, form = os.path.basename(folder), FORMATS[i % len(FORMATS)]
            how = {"model__codes": form}
            if form != "i8":
                how["model__group"] = 32 << i % 3
            found = {"2 ranks": self.train(f"{name}-2", folder, ranks=2, **how)}
            for level in b.isa_levels():
                found[level] = self.train(f"{name}-{level}", folder, "--isa", level, **how)
            self.assertEqual(len(set(found.values())), 1, f"{name} in {form}: {found}")

    def test_formats_by_pattern(self):
        folder = "tests/golden/families/llama3"
        patterns = "model.formats=lm_head*=i8 *.mlp.*=nf4:32 *.self_attn.*=i4:128"
        found = {ranks: self.train(f"patterns{ranks}", folder, "-s", patterns, ranks=ranks)
                 for ranks in (1, 2)}
        self.assertEqual(found[1], found[2])
        run = self.run_folder
        last = os.path.join(run, b.bytes_of(run, "LATEST").decode().strip())
        tensors = {t["name"]: t["format"]
                   for t in json.loads(b.run(["inspect", last, "--json"]).out)["tensors"]}
        self.assertEqual(tensors["lm_head.weight"], "i8")
        self.assertEqual(tensors["model.layers.1.mlp.up_proj.weight"], "nf4")
        self.assertEqual(tensors["model.layers.0.self_attn.q_proj.weight"], "i4")
        self.assertEqual(tensors["model.embed_tokens.weight"], "i8")

    def test_a_pattern_that_matches_nothing_is_named(self):
        folder = self.folder("none")
        os.makedirs(folder)
        result = b.run(["quantize", b.STORIES, "-o", os.path.join(folder, "q.h5"),
                        "-s", "model.formats=*.mpl.*=i4"], expect=b.USAGE)
        self.assertIn("*.mpl.* matches no matrix", result.err)

    def test_the_task_must_fit_the_model(self):
        for folder, task, words in (("roberta", "lm", "set task = mlm"),
                                    ("gpt2", "mlm", "set task = lm")):
            result = b.run(b.tiny(self.folder(f"task-{task}"), data__task=task,
                                  model=f"tests/golden/families/{folder}"), expect=b.USAGE)
            self.assertIn(words, result.err)

    def test_a_quantized_model_is_the_model_that_would_be_trained(self):
        for form in FORMATS:
            folder = self.folder(f"quantized-{form}")
            os.makedirs(folder)
            out = os.path.join(folder, "q.h5")
            report = json.loads(b.run(["quantize", b.STORIES, "-o", out, "--format", form,
                                       "--json"]).out)
            for tensor in report["tensors"]:
                share = tensor["rms_error"] / tensor["rms"]
                # groups of 64 columns; int8 rows of Gaussian weights
                self.assertLess(share, 0.02 if tensor["format"] in ("i8", "i16") else 0.15, tensor)
                self.assertGreater(share, 0, tensor)
            score = lambda model, *more: json.loads(
                b.run(["eval", model, "--job", JOB, "--json", "-s", "data.dev_examples=4",
                       *more]).out)
            direct, stored = score(b.STORIES, "--format", form), score(out)
            for key in ("loss_nats", "accuracy", "fingerprint", "format"):
                self.assertEqual(direct[key], stored[key], f"{form}: {key}")
            other = b.run(["eval", out, "--job", JOB, "--format", "nf4:128"], expect=b.USAGE)
            self.assertIn("asked for are codes = nf4, group = 128", other.err)
            b.run(["quantize", b.STORIES, "-o", out, "--format", form], expect=b.USAGE)

    def quantized(self, name, *how):
        """Formats of the tensors, loss and fingerprint of the stories model, quantized."""
        folder = self.folder(f"rounded-{name}")
        os.makedirs(folder)
        out = os.path.join(folder, "q.h5")
        report = json.loads(b.run(["quantize", b.STORIES, "-o", out, "--json", *how]).out)
        score = json.loads(b.run(["eval", out, "--job", JOB, "--json", "-s",
                                  "data.dev_examples=40"]).out)
        return ({t["name"]: t["format"] for t in report["tensors"]}, score["loss_nats"],
                score["fingerprint"])

    def test_a_text_makes_a_better_model_the_same_at_every_level(self):
        text = ["--text", "data/tinystories/dev.txt"]
        for form in ("i4:32", "nf4:32"):
            _, plain, _ = self.quantized(f"{form}-plain", "--format", form)
            _, loss, _ = self.quantized(f"{form}-text", "--format", form, *text)
            self.assertLess(loss, plain, form)
        found = {level: self.quantized(f"level-{level}", "--isa", level, *text)[2]
                 for level in b.isa_levels()}
        self.assertEqual(len(set(found.values())), 1, found)
        b.run(["quantize", b.STORIES, "-o", os.path.join(b.SCRATCH, "none.h5"), "--text",
               "no/such.txt"], expect=b.INPUT)

    def test_least_squares_and_the_embedding_are_options_of_a_run_too(self):
        how = {"model__codes": "i4", "model__rounding": "least-squares", "model__embedding": "i8"}
        one, two = (self.train(f"rounding-{n}", b.STORIES, ranks=n, **how) for n in (1, 2))
        self.assertEqual(one, two)
        self.assertNotEqual(one, self.train("rounding-nearest", b.STORIES,
                                            **{**how, "model__rounding": "nearest"}))
        formats, _, _ = self.quantized("embedding", "--format", "i4", "-s", "model.embedding=i8")
        self.assertEqual({name for name, form in formats.items() if form == "i8"},
                         {"model.embed_tokens.weight"})
        refused = b.run(["quantize", b.STORIES, "-o", os.path.join(b.SCRATCH, "none.h5"),
                         "-s", "model.embedding=i5"], expect=b.USAGE)
        self.assertIn("embedding=i5", refused.err)

    def test_a_run_starts_from_a_quantized_model(self):
        folder = self.folder("start")
        os.makedirs(folder)
        out = os.path.join(folder, "q.h5")
        b.run(["quantize", b.STORIES, "-o", out, "--format", "i4:32"])
        how = {"model__codes": "i4", "model__group": 32}
        self.assertEqual(self.train("from-model", b.STORIES, **how),
                         self.train("from-quantized", out, **how))

    def test_sampling(self):
        draw = lambda *more: b.run(["generate", b.STORIES, "Once upon a time", "-n", 30, *more]).out
        greedy = draw()
        self.assertEqual(draw("-T", 1, "--top-k", 1, "--seed", 5), greedy)
        self.assertEqual(draw("-T", 1, "--top-p", 0, "--seed", 5), greedy)
        free = draw("-T", 1, "--seed", 5)
        self.assertNotEqual(free, greedy)
        self.assertEqual(draw("-T", 1, "--top-k", 512, "--top-p", 1, "--seed", 5), free)
        some = draw("-T", 1, "--top-p", 0.5, "--seed", 5)
        self.assertNotIn(some, (free, greedy))
        made = json.loads(b.run(["generate", b.STORIES, "Once", "-n", 20, "--json"]).out)
        self.assertGreater(made["tokens_per_second"], 0)

    def test_json_holds_a_text_that_is_no_utf_8(self):
        made = json.loads(b.run(["generate", "tests/golden/families/gpt2", "hello", "--json", "-T",
                                 1, "--tokens", 30]).out)
        self.assertTrue(made["text"].startswith("hello"), made)
        self.assertIn("\N{REPLACEMENT CHARACTER}", made["text"])

    def test_format_keeps_the_patterns_of_the_job(self):
        folder = self.folder("kept")
        os.makedirs(folder)
        formats = {}
        for name, more in (("with", ["-s", "model.formats=*embed*=i8"]), ("without", [])):
            out = os.path.join(folder, f"{name}.h5")
            report = b.run(["quantize", b.STORIES, "-o", out, "--format", "i4", "--json", *more])
            formats[name] = {t["name"]: t["format"] for t in json.loads(report.out)["tensors"]}
        embedding = "model.embed_tokens.weight"
        self.assertEqual((formats["with"][embedding], formats["without"][embedding]), ("i8", "i4"))

    def test_a_run_keeps_the_formats_of_its_base(self):
        folder = self.folder("base")
        os.makedirs(folder)
        out = os.path.join(folder, "q.h5")
        b.run(["quantize", b.STORIES, "-o", out, "--format", "i4:32"])
        result = b.run(b.tiny(self.folder("other"), model=out), expect=b.USAGE)
        self.assertIn("[model] codes = i4, group = 32", result.err)

    def test_an_encoder_continues_nothing(self):
        result = b.run(["generate", "tests/golden/families/roberta", "Once"], expect=b.USAGE)
        self.assertIn("encoder", result.err)


if __name__ == "__main__":
    b.main()
