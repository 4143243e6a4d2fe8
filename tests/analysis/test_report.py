#!/usr/bin/python3
"""report.py draws what the records of a run say, and refuses bad records with one sentence.

Usage: test_report.py [unittest options]; the environment may name report.py in BALLOT_REPORT.
"""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import h5py
    import matplotlib  # noqa: F401
    import numpy as np
except ImportError as missing:
    print(f"skipped: {missing}; Debian has python3-numpy, python3-h5py and python3-matplotlib")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
REPORT = os.environ.get("BALLOT_REPORT", os.path.join(HERE, "../../analysis/report.py"))
sys.path.insert(0, os.path.dirname(os.path.abspath(REPORT)))
import report  # noqa: E402

PHASES = ["probe", "vote", "update", "journal", "checkpoint", "wait", "eval"]
JOB = ("[model]\npath = data/stories260k ; what is trained\n[data]\ntask = lm\nbatch = 8\n"
       "[vote]\nslots = 64\n")


def tensor_sizes(n_layers, dim=64, hidden=172, vocab=512):
    sizes = {}

    def matrix(name, rows, cols):
        sizes[name + ".weight"] = rows * cols
        sizes[name + ".gain"] = rows

    matrix("model.embed_tokens", vocab, dim)
    for i in range(n_layers):
        layer = f"model.layers.{i}."
        sizes[layer + "input_layernorm.weight"] = dim
        for part in "qkvo":
            matrix(layer + f"self_attn.{part}_proj", dim // (1 + (part in "kv")), dim)
        sizes[layer + "post_attention_layernorm.weight"] = dim
        matrix(layer + "mlp.gate_proj", hidden, dim)
        matrix(layer + "mlp.up_proj", hidden, dim)
        matrix(layer + "mlp.down_proj", dim, hidden)
    sizes["model.norm.weight"] = dim
    return sizes


def made_up_run(n_steps, n_layers=5, eval_every=20, seed=1):
    """Arrays of a run that could have happened, one row per step."""
    random, t = np.random.RandomState(seed), np.arange(n_steps)
    sizes = tensor_sizes(n_layers)
    true = 3.7 + 1.1 * np.exp(-4 * t / n_steps)
    rate = 0.02 * (1 - t / n_steps)
    slow = np.array([0.3 + 0.7 * random.rand() for _ in sizes])
    flips = random.binomial(np.array(list(sizes.values())), rate[:, None] * slow)
    seconds = np.abs(random.normal([1.5, .004, .08, .001, 0, .05, 0], [.05, .001, .01, .0004, 0,
                                                                       .03, 0], (n_steps, 7)))
    seconds[::eval_every, 6], seconds[99::100, 4] = 0.6, 0.2
    dev = np.where(t % eval_every == 0, true + 0.03 + 0.01 * random.randn(n_steps), np.nan)
    return {"step": t, "loss_nats": true + 0.06 * random.randn(n_steps), "dev_loss_nats": dev,
            "agreement": 0.63 + 0.04 * np.exp(-3 * t / n_steps) + 0.012 * random.randn(n_steps),
            "forward_passes": 128 * (t + 1), "seconds": seconds, "flips": flips, "sizes": sizes}


def write_jsonl(path, run, last_dev=None, tail="", header=True):
    def line(**values):
        return json.dumps(values) + "\n"

    names, n = list(run["sizes"]), len(run["step"])
    with open(path, "w", encoding="utf-8") as file:
        if header:
            file.write(line(ballot="0.1.0", job="shakespeare", model="data/stories260k",
                            tensors=run["sizes"]))
        for i in range(n):
            dev = float(run["dev_loss_nats"][i])
            file.write(line(
                step=int(run["step"][i]), loss_nats=float(run["loss_nats"][i]),
                dev_loss_nats=None if np.isnan(dev) else dev,
                agreement=float(run["agreement"][i]), forward_passes=int(run["forward_passes"][i]),
                seconds=dict(zip(PHASES, run["seconds"][i].tolist())),
                flips={k: int(v) for k, v in zip(names, run["flips"][i]) if v > 0}))
        if last_dev is not None:
            file.write(line(final=True, step=n, dev_loss_nats=last_dev, forward_passes=128 * n))
        file.write(tail)


def write_checkpoint(path, run, last_dev=None):
    with h5py.File(path, "w", userblock_size=512) as file:
        metrics = file.create_group("metrics")
        for key in ("step", "loss_nats", "dev_loss_nats", "agreement", "forward_passes"):
            metrics[key] = run[key]
        metrics["seconds"] = run["seconds"]
        metrics["seconds"].attrs["phases"] = ",".join(PHASES)
        metrics["flips"] = run["flips"].astype(np.uint32)
        metrics["flips"].attrs["tensors"] = ",".join(run["sizes"])
        for name, size in run["sizes"].items():
            file["model/" + name] = np.zeros(size, np.int8)
        file.attrs["step"] = len(run["step"])
        file.attrs["fingerprint"] = np.bytes_("00000000deadbeef")
        if last_dev is not None:
            file.attrs["dev_loss_nats"] = last_dev
        file["job/text"] = np.bytes_(JOB)


def shares(run, columns):
    """Share of codes that changed per step, by section as in the plot, worked out the slow way."""
    words = ["embed_tokens", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
             "down_proj", "input_layernorm", "post_attention_layernorm", "model.norm"]
    sections = [[], [], []]
    for word in words:
        for i, (name, size) in enumerate(run["sizes"].items()):
            if word + "." in name:
                parts = np.array_split(run["flips"][:, i], columns)
                section = 2 if name.endswith("gain") else 1 if "norm" in name else 0
                sections[section].append([part.mean() / size for part in parts])
    return [np.array(section) for section in sections]


def drawn(figure):
    """The artists that show data, by gid."""
    return {a.get_gid(): a for a in figure.findobj(lambda a: a.get_gid() is not None)}


class Report(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def run_report(self, *arguments, **environment):
        return subprocess.run([sys.executable, REPORT, *arguments], capture_output=True, text=True,
                              env={**os.environ, **environment}, check=False)

    def draws(self, source, out, *options):
        done = self.run_report(source, *options)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with open(out + ".png", "rb") as file:
            start = file.read(24)
        self.assertEqual(start[:8], b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">2I", start[16:])
        self.assertTrue(1200 <= width <= 2400 and 800 <= height <= 3200, (width, height))
        with open(out + ".svg", encoding="utf-8") as file:
            svg = file.read()
        size = re.search(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.replace("\n", " "))
        self.assertAlmostEqual(float(size[1]) / float(size[2]), width / height, places=2)
        for gid in ("loss", "dev", "agreement"):
            self.assertTrue(f'id="{gid}"' in svg, gid)
        return svg

    def same_points(self, artist, x, y):
        np.testing.assert_allclose(artist.get_xydata(), np.column_stack([x, y]), rtol=1e-12)

    def shows(self, figure, run, last_dev=None):
        """The figure holds the numbers of the run."""
        artists, n = drawn(figure), len(run["step"])
        self.same_points(artists["loss"], run["forward_passes"], run["loss_nats"])
        self.same_points(artists["agreement"], run["forward_passes"], run["agreement"])
        known = ~np.isnan(run["dev_loss_nats"])
        x = np.concatenate([[0], run["forward_passes"]])[:-1][known]
        y = run["dev_loss_nats"][known]
        if last_dev is not None:
            x, y = np.append(x, 128 * n), np.append(y, last_dev)
        self.same_points(artists["dev"], x, y)
        if n % 200 == 0 or n < 200:  # so that numpy cuts the columns as the report does
            for section, expected in enumerate(shares(run, min(n, 200))):
                cells = artists[f"flips-{section}"].get_array().reshape(expected.shape)
                np.testing.assert_allclose(np.ma.filled(cells, 0), expected, rtol=1e-12)

    def test_three_steps(self):
        run = made_up_run(3, eval_every=2)
        write_jsonl(self.path("metrics.jsonl"), run, last_dev=4.5)
        self.shows(report.draw(report.read(self.path("metrics.jsonl"))), run, last_dev=4.5)
        self.draws(self.folder.name, self.path("report"))

    def test_five_thousand_steps(self):
        run = made_up_run(5000)
        write_jsonl(self.path("metrics.jsonl"), run, last_dev=3.75)
        figure = report.draw(report.read(self.folder.name))
        self.shows(figure, run, last_dev=3.75)
        mean = drawn(figure)["loss-mean"].get_ydata()
        self.assertAlmostEqual(mean[2500], run["loss_nats"][2500 - 83:2500 + 84].mean(), places=9)
        svg = self.draws(self.path("metrics.jsonl"), self.path("report"))
        self.assertLess(len(svg), 3_000_000)

    def test_ranks_that_abstained_or_were_accused_are_named(self):
        run = made_up_run(3, eval_every=2)
        write_jsonl(self.path("metrics.jsonl"), run)
        with open(self.path("metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        lines[1]["abstained"], lines[3]["abstained"] = {"2": 5, "0": 1}, {"2": 7}
        lines[3]["accused"] = 2
        with open(self.path("metrics.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        figure = report.draw(report.read(self.folder.name))
        self.assertEqual(drawn(figure)["ranks"].get_text(),
                         "13 slots abstained from: rank 2 12, rank 0 1  |  "
                         "an audit accused rank 2 in step 2")
        self.draws(self.folder.name, self.path("report"))

    def test_rates_that_a_run_found_and_what_limits_it(self):
        run = made_up_run(3, eval_every=2)
        write_jsonl(self.path("metrics.jsonl"), run, last_dev=4.5)
        self.assertNotIn("rate", drawn(report.draw(report.read(self.folder.name))))
        with open(self.path("metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        for line, rate in zip(lines[1:4], (0.1, 0.1, 0.2)):
            line["rate"] = rate
        lines[4]["limit"] = "the steps are too long"
        with open(self.path("metrics.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        rates = drawn(report.draw(report.read(self.folder.name)))["rate"]
        self.assertEqual(list(rates.get_ydata()), [0.1, 0.1, 0.2])
        self.assertEqual([rates.axes.get_title(loc=loc) for loc in ("left", "right")],
                         ["Rate", "the steps are too long"])
        self.draws(self.folder.name, self.path("report"))

    def test_what_slots_have_found_in_lines_and_columns(self):
        run = made_up_run(4, eval_every=2)
        found = {"slope": [0.3, 0.2, 0.1, 0.1], "share": [np.nan, 0.5, -0.1, 0.2],
                 "rise": [np.nan, 0.75, np.nan, 0.25]}
        write_jsonl(self.path("metrics.jsonl"), run, last_dev=4.5)
        with open(self.path("metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        for i, line in enumerate(lines[1:5]):
            line.update({key: values[i] for key, values in found.items() if values[i] == values[i]})
        lines[5]["limit"] = "too few slots"
        with open(self.path("metrics.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
        write_checkpoint(self.path("step-000004.h5"), run)
        with h5py.File(self.path("step-000004.h5"), "r+") as file:
            for key, values in found.items():
                file["metrics"][key] = np.array(values)
        for source in (self.folder.name, self.path("step-000004.h5")):
            artists = drawn(report.draw(report.read(source)))
            for key in ("slope", "share"):
                np.testing.assert_array_equal(artists[key].get_ydata(), found[key])
            self.assertEqual(list(artists["rise"].get_ydata()), [0.75, 0.25])
            self.assertEqual(list(artists["rise"].get_xdata()),
                             list(run["forward_passes"][[1, 3]]))
        self.assertEqual(drawn(report.draw(report.read(self.folder.name)))["slope"].axes.get_title(
            loc="right"), "too few slots")

    def test_a_run_that_is_going_on(self):
        """Half a last line, and a step that a restart repeated."""
        run = made_up_run(30, n_layers=2)
        write_jsonl(self.path("a.jsonl"), run, tail='{"step": 30, "loss_nats": 3.')
        self.shows(report.draw(report.read(self.path("a.jsonl"))), run)
        with open(self.path("a.jsonl"), encoding="utf-8") as file:
            lines = file.read().splitlines()[:-1]
        again = json.loads(lines[20])
        again["loss_nats"] = 99.0
        stopped = '{"final": true, "step": 20, "dev_loss_nats": 50.0, "forward_passes": 2560}'
        lines = [lines[0], *lines[1:20], json.dumps(again), stopped, *lines[20:]]
        with open(self.path("b.jsonl"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        self.shows(report.draw(report.read(self.path("b.jsonl"))), run)
        self.draws(self.path("a.jsonl"), self.path("out"), "-o", self.path("out.png"))

    def test_checkpoint(self):
        run = made_up_run(200)
        write_checkpoint(self.path("step-000200.h5"), run)
        read = report.read(self.folder.name)  # a run directory with a checkpoint alone
        self.assertEqual((read.model, read.batch, read.n_steps), ("data/stories260k", 8, 200))
        self.shows(report.draw(read), run)
        self.draws(self.path("step-000200.h5"), self.path("report"))
        write_checkpoint(self.path("step-000200.h5"), run, last_dev=run["dev_loss_nats"][180])
        self.shows(report.draw(report.read(self.path("step-000200.h5"))), run)
        write_checkpoint(self.path("step-000200.h5"), run, last_dev=3.5)  # after the last step
        self.shows(report.draw(report.read(self.path("step-000200.h5"))), run, last_dev=3.5)

    def test_one_sequence_per_pass_has_no_agreement(self):
        write_checkpoint(self.path("step-000200.h5"), made_up_run(200))
        read = report.read(self.folder.name)
        for read.batch, shown in ((1, False), (2, True), (None, True)):
            self.assertEqual("agreement" in drawn(report.draw(read)), shown, read.batch)

    def test_many_layers_and_no_header(self):
        run = made_up_run(12, n_layers=40)
        write_jsonl(self.path("metrics.jsonl"), run, header=False)
        self.draws(self.folder.name, self.path("report"))

    def test_names_of_other_models_and_nothing_changed(self):
        run = made_up_run(12, n_layers=1)
        run["sizes"] = {f"odd.$part{i}.w_{'x' * i}$": 10 for i in range(60)}
        for change in (1, 0):
            run["flips"] = np.full((12, 60), change)
            run["seconds"][:] *= change
            write_jsonl(self.path("metrics.jsonl"), run)
            done = self.run_report(self.folder.name)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_same_run_makes_the_same_files(self):
        write_jsonl(self.path("metrics.jsonl"), made_up_run(50, n_layers=2), last_dev=4.0)
        files = []
        for out in ("one", "two"):
            self.draws(self.folder.name, self.path(out), "-o", self.path(out))
            for end in (".svg", ".png"):
                with open(self.path(out + end), "rb") as file:
                    files.append(file.read())
        self.assertEqual(files[:2], files[2:])

    def refuses(self, words, source, code=3, **environment):
        done = self.run_report(source, **environment)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, r"\Areport\.py: [^\n]*\n\Z")
        self.assertIn(words, done.stderr)
        self.assertFalse(os.path.exists(self.path("report.png")))

    def test_bad_input_gets_one_sentence(self):
        good = '{"step": 0, "loss_nats": 4.0, "dev_loss_nats": null, "agreement": 0.6, ' \
               '"forward_passes": 128, "seconds": {}, "flips": {}}\n'
        self.refuses("No such file", self.path("none.jsonl"))
        self.refuses("neither metrics.jsonl nor", self.folder.name)
        for text, words in (
                ("", "no line of a finished step"), ("{", "no line of a finished step"),
                ('{"ballot": "0.1.0", "tensors": []}\n' + good, "tensors of the header"),
                (good.replace("4.0", '"much"'), "line 1: loss_nats is 'much'"),
                (good + good.replace('"step": 0', '"step": -1'), "line 2: step is -1"),
                (good.replace('"agreement": 0.6, ', ""), "has no agreement"),
                (good.replace('"flips": {}', '"flips": 3'), "flips is not an object"),
                (good.replace('"flips": {}', '"flips": {"a": "b"}'), "a is 'b'"),
                (good + good.replace("128", "64").replace(": 0,", ": 1,"), "running total"),
                (good.replace("128", "null"), "running total")):
            with self.subTest(words):
                with open(self.path("bad.jsonl"), "w", encoding="utf-8") as file:
                    file.write(text)
                self.refuses(words, self.path("bad.jsonl"))

    def test_bad_checkpoint_gets_one_sentence(self):
        path = self.path("step-000003.h5")
        with open(path, "wb") as file:
            file.write(b"no HDF5" * 100)
        self.refuses("not a whole ballot checkpoint", path)
        for change, words in (
                (lambda file: file.__delitem__("metrics"), "metrics"),
                (lambda file: file.__delitem__("model/model.norm.weight"), "model.norm.weight"),
                (lambda file: file["metrics/flips"].attrs.__setitem__("tensors", "a"), "'a'"),
                (lambda file: file["metrics/seconds"].attrs.__setitem__("phases", "a,b"),
                 "seconds has shape (3, 7), expected (3, 2)")):
            with self.subTest(words):
                write_checkpoint(path, made_up_run(3, n_layers=1))
                with h5py.File(path, "r+") as file:
                    change(file)
                self.refuses(words, path)
        write_checkpoint(path, made_up_run(3, n_layers=1))
        with open(path, "r+b") as file:
            file.truncate(3000)
        self.refuses("not a whole ballot checkpoint", path)

    def test_a_missing_module_is_named_with_its_package(self):
        write_checkpoint(self.path("step-000003.h5"), made_up_run(3, n_layers=1))
        for module in ("h5py", "matplotlib", "numpy"):
            os.mkdir(self.path(module))
            with open(self.path(module, module + ".py"), "w", encoding="utf-8") as file:
                file.write("raise ImportError\n")
            self.refuses("python3-" + module, self.path("step-000003.h5"), code=1,
                         PYTHONPATH=self.path(module))

    def test_usage(self):
        self.assertEqual(self.run_report().returncode, 2)
        text = self.run_report("--help")
        self.assertEqual(text.returncode, 0)
        for word in ("RUN_OR_FILE", "-o OUT", "Exit codes"):
            self.assertIn(word, text.stdout)


if __name__ == "__main__":
    unittest.main()
