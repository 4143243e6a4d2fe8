"""The documents say what is so (links lead, commands exist, readers read), and briefly."""
import glob
import json
import os
import re
import shlex
import statistics
import struct
import subprocess
import sys

import h5py
import numpy

import ballot_run as b

PAGES = sorted(glob.glob("*.md") + glob.glob("*/README.md")
               + glob.glob("docs/**/*.md", recursive=True)
               + glob.glob("tests/**/*.md", recursive=True))
PROSE = [page for page in PAGES if page != "CHANGELOG.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"<img [^>]*src=\"([^\"]+)\"")
OURS = re.compile(r"(?:build/release/)?ballot$")
COMMAND = re.compile(
    r"(mpirun|sbatch|ballot(?! checkpoint)|(build/release|jobs|analysis|tests)/\S+) ")
SCRIPT = re.compile(r"(?:jobs|analysis|tests|data)/[\w./-]+\.(?:sh|py|sbatch|ini)$")


# A task whose answers are written.
WRITTEN = """[rows]
format = jsonl
[answer]
metric = token_f1
tokens = 3
[splits]
train = 1
dev = 1
test = 1
[template]
prompt = "{question}"
answers = "{answer}"
"""
QUESTION = '{"question": "Once upon a", "answer": "time"}\n'


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def without_code(text):
    return FENCE.sub("", text)


def codes(text):
    """What stands in `code`, outside of blocks."""
    return [" ".join(code.split()) for code in CODE.findall(without_code(text))]


def anchors(path):
    """The names that GitHub gives the headings of a page."""
    names = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(text_of(path)), re.M):
        name = re.sub(r"[^\w\- ]", "", LINK.sub("", heading.replace("`", "")).strip().lower())
        names.add(name.replace(" ", "-"))
    return names


def commands(text):
    """Command lines: in sh blocks, after $ in console blocks, and in `code` that looks like one."""
    for language, block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if language == "sh":
                yield line
            elif language == "console" and line.startswith("$ "):
                yield line[2:]
            elif language == "text" and COMMAND.match(line):
                yield re.split(r" {2,}", line)[0].replace("[", "").replace("]", "")
    yield from filter(COMMAND.match, codes(text))


def sentences(text):
    """Sentences of paragraphs and of list items, without headings, tables, code and addresses."""
    text = re.sub(r"<[^>]*>", "", without_code(text))
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = CODE.sub("code", text)
    blocks, block = [], []
    for line in text.splitlines() + [""]:
        item = re.match(r"\s*([-*]|\d+\.) ", line)
        if not line.strip() or item or re.match(r"[#|]", line):
            blocks.append(" ".join(block))
            block = []
        if line.strip() and not re.match(r"[#|]", line):
            block.append(line[item.end():] if item else line)
    for whole in blocks:
        for sentence in re.split(r"(?<=[^A-Z][.!?])(?<!al\.)\**\s+", whole):
            n_words = len(re.findall(r"[^\W_][\w'.,-]*", sentence))
            if n_words > 2:  # a title, a name
                yield n_words, sentence


class Links(b.TestCase):
    def test_every_link_leads_to_a_file_and_a_heading(self):
        for page in PAGES:
            text = without_code(text_of(page))
            for link in LINK.findall(text) + IMAGE.findall(text):
                if re.match(r"https?://", link):
                    continue
                path, _, anchor = link.partition("#")
                target = os.path.join(os.path.dirname(page), path) if path else page
                target = os.path.normpath(target)
                self.assertTrue(os.path.exists(target), f"{page}: {link}: there is no {target}")
                if anchor:
                    self.assertIn(anchor, anchors(target), f"{page}: {link}: no such heading")

    def test_every_page_of_docs_can_be_reached_from_the_readme(self):
        seen, todo = set(), ["README.md"]
        while todo:
            page = todo.pop()
            if page in seen or not page.endswith(".md"):
                continue
            seen.add(page)
            todo += [os.path.normpath(os.path.join(os.path.dirname(page), link.partition("#")[0]))
                     for link in LINK.findall(text_of(page)) if not link.startswith(("http", "#"))]
        self.assertEqual({page for page in PAGES if not page.startswith("tests/")} - seen, set())

    def test_files_that_are_named_exist(self):
        inside = re.compile(r"(src|include|tests|jobs|analysis|data|docs|examples)/[\w./*<>-]+$")
        made = re.compile(r"data/tinystories/(train|tune)\.txt|"
                          r"data/(tinystories-656k|smollm2-135m)|<|\*")
        for page in PAGES:
            for name in codes(text_of(page)):
                if inside.match(name) and not made.search(name):
                    self.assertTrue(os.path.exists(name), f"{page}: there is no {name}")

    def test_tests_that_are_named_exist(self):
        listed = subprocess.run(["ctest", "--test-dir", os.environ["BALLOT_BUILD"], "-N"],
                                check=True, capture_output=True, text=True).stdout
        tests = {re.sub(r"_np\d+$", "", name) for name in re.findall(r"Test +#\d+: (\S+)", listed)}
        # not under sanitizers
        tests |= {f"e2e_{name}" for name in ("slurm", "workstation", "hosts", "soak")}
        fuzz = {os.path.basename(path)[:-2] for path in glob.glob("tests/fuzz/fuzz_*.c")}
        for page in ("docs/reliability.md", "docs/cluster.md", "docs/models.md", "SECURITY.md"):
            for name in codes(text_of(page)):
                if re.match(r"(e2e|fault|record|fuzz|hub)_[a-z_0-9]+$|simulated_\w+$", name):
                    self.assertIn(name, tests | fuzz, page)


class Commands(b.TestCase):
    def setUp(self):
        super().setUp()
        names = re.findall(r"^  ([a-z]+) {2,}", b.run(["--help"]).out, re.M)
        self.helps = {name: b.run([name, "--help"]).out for name in names}
        self.options = {name for name in re.findall(r"\| `([a-z]+\.[a-z_]+)` \|",
                                                    b.run(["config", "--markdown"]).out)}

    def check_ballot(self, page, words):
        told = f"{page}: ballot {' '.join(words)}"
        self.assertTrue(words[0] in self.helps, f"{told}: no such command")
        known = re.findall(r"(?:^|[ ,])(--?[\w-]+)", self.helps[words[0]], re.M)
        for at, word in enumerate(words[1:], 1):
            if word.startswith("-") and not re.match(r"-\d", word):
                self.assertTrue(word.partition("=")[0] in known, f"{told}: no option {word}")
            if words[at - 1] in ("-s", "--set"):
                self.assertTrue(word.partition("=")[0] in self.options | {"section.key"},
                                f"{told}: no option {word} in a job file")

    def check_script(self, page, words):
        if words[0] not in self.helps:
            self.helps[words[0]] = subprocess.run([sys.executable, words[0], "--help"], check=True,
                                                  capture_output=True, text=True).stdout
        for word in words[1:]:
            if word.startswith("-"):
                known = re.search(rf"^ +(?:-\w, )?{word}\b", self.helps[words[0]], re.M)
                self.assertTrue(known, f"{page}: {' '.join(words)}: no option {word}")

    def test_commands_exist_with_their_options(self):
        n_seen = 0
        for page in PAGES:
            for line in commands(text_of(page)):
                words = shlex.split(re.sub(r" [|>] .*", "", line), comments=True)
                for at, word in enumerate(words):
                    if OURS.match(word) and at + 1 < len(words) and not SCRIPT.match(words[0]):
                        self.check_ballot(page, words[at + 1:])
                        n_seen += 1
                    if SCRIPT.match(word) and not word.endswith(".ini"):
                        self.assertTrue(os.access(word, os.X_OK) or at > 0,
                                        f"{page}: {line}: {word} cannot be run")
                    if SCRIPT.match(word):
                        self.assertTrue(os.path.exists(word), f"{page}: {line}: there is no {word}")
                if re.match(r"analysis/\w+\.py", line):
                    self.check_script(page, words)
        self.assertGreater(n_seen, 20, "command lines")

    def test_options_that_are_named_exist(self):
        sections = "|".join({name.partition(".")[0] for name in self.options})
        for page in PAGES:
            for name in re.findall(rf"`((?:{sections})\.[a-z_]+)\b[^`/]*`", text_of(page)):
                if not re.search(r"\.(ini|c|h|py|bin|md|lock|sh|safetensors|layers)$", name):
                    self.assertTrue(name in self.options, f"{page}: there is no option {name}")

    def test_the_option_table_is_that_of_the_program(self):
        found = re.search(r"^<!-- options -->\n(.*?)^<!-- /options -->$",
                          text_of("docs/job-file.md"), re.M | re.S)
        self.assertIsNotNone(found, "docs/job-file.md: put what `ballot config --markdown` prints "
                                    "between <!-- options --> and <!-- /options -->")
        self.assertEqual(found.group(1).strip(), b.run(["config", "--markdown"]).out.strip())

    def test_the_job_file_that_is_shown_can_be_read(self):
        for language, block in FENCE.findall(text_of("docs/job-file.md")):
            if language == "ini":
                shown = json.loads(b.run(["config", self.write("shown.ini", block), "--json"]).out)
                real = json.loads(b.run(["config", "jobs/shakespeare.ini", "--json"]).out)
                self.assertEqual({key: option["value"] for key, option in shown.items()},
                                 {key: option["value"] for key, option in real.items()})

    def test_every_command_is_explained(self):
        shown = set(re.findall(r"^ballot ([a-z]+)", text_of("docs/commands.md"), re.M))
        self.assertEqual(shown, set(self.helps))


class Formats(b.TestCase):
    """The readers of docs/formats, on the files of a real run."""
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = os.path.join(cls.class_dir, "run")
        b.run(b.tiny(cls.run_dir, run__steps=6, data__batch=2))
        cls.journal = os.path.join(cls.run_dir, "ballots.journal")

    def reader(self, page):
        (code,) = [block for name, block in FENCE.findall(text_of(page)) if name == "python"]
        return code

    def names_of(self, page):
        names = {"__name__": "reader"}
        exec(compile(self.reader(page), page, "exec"), names)  # pylint: disable=exec-used
        return names

    def read(self, page, path, expect=0):
        done = subprocess.run([sys.executable, self.write("reader.py", self.reader(page)), path],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode == 0, expect == 0, f"{page}: {path}\n{done.stderr}")
        return done.stdout

    def test_the_reader_of_journals_reads_a_run(self):
        self.check_journal(self.run_dir)

    def test_the_reader_of_journals_reads_votes_of_more_bits(self):
        run = self.folder("bits")
        b.run(b.tiny(run, run__steps=6, vote__probe="one-sided", vote__team=4, vote__bits=5))
        votes = self.check_journal(run)
        self.assertGreater(len(set(votes)), 6)
        self.assertGreaterEqual(min(votes), -15)
        self.assertLessEqual(max(votes), 15)

    def check_journal(self, run):
        """Its lines are those of metrics.jsonl; all votes."""
        journal = os.path.join(run, "ballots.journal")
        lines = self.read("docs/formats/journal.md", journal).splitlines()
        with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
            rows = [row for row in map(json.loads, file) if "loss_nats" in row]
        self.assertEqual(len(lines), 6)
        for line, row in zip(lines, rows):
            step, loss, votes = line.split(" ", 2)
            self.assertEqual(int(step), row["step"])
            self.assertAlmostEqual(float(loss), row["loss_nats"], delta=1e-7)
            self.assertEqual(votes.count(",") + 1, b.TINY["vote.slots"])
            self.assertRegex(votes, r"[1-9]", "somebody voted")
        return [vote for line in lines for vote in json.loads(line.split(" ", 2)[2])]

    def test_the_reader_of_journals_stops_at_damage(self):
        whole = b.bytes_of(self.journal)
        torn = self.write("torn.journal", whole[:-1])
        self.assertEqual(len(self.read("docs/formats/journal.md", torn).splitlines()), 5)
        odd = self.write("odd.journal", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
        self.assertEqual(self.read("docs/formats/journal.md", odd), "")

    def test_the_reader_of_checkpoints_has_the_weights_of_an_export(self):
        for form in ("i8", "i4", "nf4:32"):
            name = form.replace(":", "-")
            checkpoint, folder = self.folder(name + ".h5"), self.folder(name)
            b.run(["quantize", b.STORIES, "-o", checkpoint, "--format", form])
            self.compare(checkpoint, folder)
        self.compare(os.path.join(self.run_dir, "step-000006.h5"), self.folder("trained"))

    def compare(self, checkpoint, folder):
        page = "docs/formats/checkpoint.md"
        self.read(page, checkpoint)
        read_weights = self.names_of(page)["read_weights"]
        b.run(["export", checkpoint, folder])
        exported = read_safetensors(os.path.join(folder, "model.safetensors"))
        weights = read_weights(checkpoint)
        self.assertEqual(sorted(weights), sorted(exported))
        for name, expected in exported.items():
            found = weights[name]
            if re.search(r"\.[qk]_proj\.weight$", name):  # Hugging Face pairs dimensions otherwise
                found, expected = numpy.sort(found, axis=None), numpy.sort(expected, axis=None)
            numpy.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9, err_msg=name)

    def test_the_reader_of_checkpoints_finds_damage(self):
        whole = b.bytes_of(self.run_dir, "step-000006.h5")
        for at in (25, 90, 300, len(whole) // 2):
            odd = self.write("odd.h5", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
            self.read("docs/formats/checkpoint.md", odd, expect=1)

    def test_the_tables_name_what_a_checkpoint_holds(self):
        page = text_of("docs/formats/checkpoint.md")
        with h5py.File(os.path.join(self.run_dir, "step-000006.h5")) as file:
            names = set(file) | set(file.attrs) | set(file["model"].attrs) | set(file["job"].attrs)
            names |= set(file["metrics"])
            dataset = file["model/model.embed_tokens.weight"]
            names |= set(dataset.attrs)
        named = {word for code in codes(page) for word in re.findall(r"\w+", code)}
        self.assertEqual(names - named, set(), "not explained")

    def test_the_tables_of_the_run_directory_name_all_there_is(self):
        page = text_of("docs/formats/run-directory.md")
        named = {word for code in codes(page) for word in [code, *re.findall(r"\w+", code)]}
        for name in os.listdir(self.run_dir):
            self.assertIn(re.sub(r"step-\d+", "step-000200", name), named)
        with open(os.path.join(self.run_dir, "metrics.jsonl"), encoding="utf-8") as file:
            for row in map(json.loads, file):
                self.assertEqual(set(row) - named, set(), "keys of metrics.jsonl")

    def test_the_offsets_of_the_journal_are_those_that_its_reader_takes(self):
        page, data = text_of("docs/formats/journal.md"), b.bytes_of(self.journal)
        header, records = self.names_of("docs/formats/journal.md")["read_journal"](self.journal)
        self.assertEqual((header["seed"], header["n_slots"], header["n_steps"]), (1, 8, 6))
        self.assertEqual(records[3]["n_tokens"], 8 * 2 * 16, "slots x batch x context")
        forms = {"u32": "<I", "i32": "<i", "u64": "<Q", "i64": "<q", "8 bytes": "8s"}
        parts = page.split("\n## ")
        for part, found, base in ((parts[1], header, 0), (parts[2], records[3], 128 + 14 * 8 * 3)):
            rows = re.findall(r"^\| (\d+) \| ([\w ]+) \| `(\w+)` \|", part, re.M)
            self.assertGreater(len(rows), 10)
            for offset, form, name in rows:
                if name != "hash" and form in forms:
                    (value,) = struct.unpack_from(forms[form], data, base + int(offset))
                    self.assertEqual(value, found[name], name)


class Tour(b.TestCase):
    def test_functions_and_files_of_the_tour_exist(self):
        sources = {path: text_of(path) for path in glob.glob("src/**/*.[ch]", recursive=True)
                   + glob.glob("include/ballot/*.h")}
        everything = "\n".join(sources.values())
        page = text_of("docs/code-tour.md")
        names = re.findall(r"`(\w+)\(\)`", page)
        self.assertGreater(len(names), 20)
        for name in names:
            self.assertTrue(re.search(rf"\b{name}\(", everything), f"{name}() is nowhere")
        # `name()` in `src/...c`: it is defined there
        for name, path in re.findall(r"`(\w+)\(\)`\s+\(`(src/[\w/.]+)`\)", page):
            self.assertRegex(sources.get(path, ""), rf"(?m)^\w.*\b{name}\(", f"{name}() in {path}")
        rooms = re.search(r"set\(BAL_ROOMS ([^)]*)\)", text_of("CMakeLists.txt")).group(1).split()
        self.assertEqual(re.findall(r"^\| `src/(\w+)`", page, re.M), rooms, "rooms in their order")
        for name in re.findall(r"`(bal_\w+)`", page):
            self.assertTrue(re.search(rf"\b{name}\b", everything), f"{name} is nowhere")


class Json(b.TestCase):
    """docs/json.md has a key if, and only if, the command prints it."""
    def keys(self, value):
        if isinstance(value, dict):
            return set(value).union(*map(self.keys, value.values()))
        return set().union(*map(self.keys, value)) if isinstance(value, list) else set()

    def documented(self, title):
        """What the tables of a section have in code, as keys and among meanings."""
        (section,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text_of("docs/json.md"),
                                re.M | re.S)
        return {word for row in section.splitlines() if row.startswith("| `")
                for cell in (row.split("|")[1], row.split("|")[3]) for word in CODE.findall(cell)}

    def compare(self, command, *lines):
        keys = self.documented(command)
        values = {"checkpoint", "journal", "ok", "warn", "fail", "dev", "test", "lm", "train",
                  "macro_f1", "exact_match", "token_f1"}
        printed = set()
        for line in lines:
            printed |= self.keys(json.loads(b.run([command, *line, "--json"]).out))
        keys = {key for key in keys - values if re.match(r"[a-z_0-9]+$", key)}
        self.assertEqual(keys, printed, command)

    def test_keys_are_those_that_are_printed(self):
        run = self.folder("run")
        b.run(b.tiny(run, run__steps=2))
        journal, checkpoint = (os.path.join(run, name) for name in ("ballots.journal", "best.h5"))
        task = ["-s", "data.task=data/tasks/sst2.ini", "-s", "data.context=384",
                "-s", "data.dev_examples=2"]
        self.compare("eval", [b.STORIES, "--job", b.JOB, "-s", "data.dev_examples=2"],
                     [b.STORIES, *task])
        path, rows = self.folder("rows.jsonl"), self.write("questions.jsonl", 3 * QUESTION)
        written = ["-s", "data.task=" + self.write("written.ini", WRITTEN), "-s",
                   f"data.train={rows}", "-s", "data.dev_examples=1"]
        printed = set()
        for settings in task, written:
            b.run(["eval", b.STORIES, *settings, "--predictions", path])
            printed |= self.keys([json.loads(line) for line in text_of(path).splitlines()])
        self.assertEqual(self.documented("eval --predictions"), printed)
        self.compare("generate", [b.STORIES, "Once", "--tokens", "2"])
        based = self.folder("based")
        b.run(b.tiny(based, run__steps=2, data__train="", data__dev="", data__context=384,
                     data__task="data/tasks/sst2.ini", vote__positions="answer"))
        self.compare("inspect", [journal], [checkpoint], [b.STORIES],
                     [os.path.join(based, "best.h5")])
        self.compare("replay", [b.STORIES, journal, "-o", self.folder("replayed.h5")])
        self.compare("tune", [os.path.dirname(journal)])
        self.compare("quantize", [b.STORIES, "-o", self.folder("rounded.h5")])
        self.compare("estimate", [b.JOB, "--memory", "64"])
        options = json.loads(b.run(["config", "--json"]).out)
        for option in options.values():
            self.assertEqual(set(option), {"value", "source", "values", "help"})


class English(b.TestCase):
    def test_the_readme_is_short(self):
        lines = text_of("README.md").splitlines()
        self.assertLessEqual(len(lines), 150, "lines")
        self.assertLessEqual(max(map(len, lines)), 100, max(lines, key=len))
        self.assertLessEqual(len(text_of("README.md").split()), 1600, "words")

    def test_lines_of_prose_have_at_most_100_columns(self):
        for page in PROSE:
            for line in without_code(text_of(page)).splitlines():
                if not line.startswith("|"):
                    self.assertLessEqual(len(line), 100, f"{page}: {line}")

    def test_sentences_are_short(self):
        for page in PROSE:
            found = sorted(sentences(text_of(page)), reverse=True)
            lengths = [n for n, _ in found]
            if len(lengths) < 5:
                continue
            longest = "\n".join(f"{n}: {sentence}" for n, sentence in found[:6])
            self.assertLessEqual(statistics.median(lengths), 16, f"{page}: median\n{longest}")
            share = sum(n < 30 for n in lengths) / len(lengths)
            self.assertGreaterEqual(share, 0.9, f"{page}: below 30 words\n{longest}")


def read_safetensors(path):
    raw = b.bytes_of(path)
    (length,) = struct.unpack("<Q", raw[:8])
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(data[slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
            for name, t in header.items()}


if __name__ == "__main__":
    b.main()
