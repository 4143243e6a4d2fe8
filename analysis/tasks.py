#!/usr/bin/python3
"""tasks.py: what a model makes of tasks: zero-shot, in context, and tuned by votes, in one table.

usage: tasks.py MODEL [TASK...] [OPTION...]; jobs/tasks.sh does this

TASK is the name of a file in data/tasks, or a task file; without it, all whose rows are there. Every
result is a file in OUT/results, and every training run a run directory in OUT: what was cut off goes
on with the same command. OUT/table.md and OUT/table.json are written anew with each result, and
OUT/table.png at the end. Nothing is downloaded.
"""
import argparse
import configparser
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

import report

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOB = os.path.join(ROOT, "jobs/sst2-answer.ini")
SPLITS = ("train", "dev", "test")
SET_ASIDE = {"dev": 500, "test": 1000}  # rows of train's, where [splits] does not say otherwise
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")


# ---- tasks and their rows ----

class Task:
    """A task file and its rows.

    name, path   of the task file
    rows         {split: file of its rows, or None: they are some of train's}
    aside        {split: how many of train's rows are set aside for it}: of dev and test without a
                 file
    own          the rows are those that the task file names
    advice       what the task file says to put where, or ""
    written      answers are written, not chosen
    """

    def __init__(self, path, folder):
        self.path, self.name = path, os.path.splitext(os.path.basename(path))[0]
        named, splits, self.advice, self.written = read_task(path)
        here = {split: os.path.join(os.path.dirname(path), file) for split, file in named.items()}
        found = {split: find_official(folder, self.name, file) for split, file in named.items()}
        self.own = not any(found.values())
        self.rows = {split: found.get(split) or here.get(split) for split in SPLITS}
        if not self.own and not found.get("dev"):
            self.rows["dev"] = None  # rows of the sample are no dev rows of the whole
        self.aside = {split: n for split, n in splits.items() if self.rows[split] is None}

    def files(self, splits):
        files = [self.rows[split] or self.rows["train"] for split in splits]
        return [file for file in dict.fromkeys(files) if file]

    def missing(self, splits):
        return [file for file in self.files(splits) if not os.path.exists(file)]

    def settings(self):
        """Options of ballot that say where the task and its rows are."""
        given = {} if self.own else {f"data.{split}": self.rows[split] or "" for split in SPLITS}
        return {"data.task": self.path, **given}

    def ways(self):
        """Options that answers need which are written: each of their words depends on codes that
        vote, so a pass reads whole rows, and fewer of them."""
        return {"vote.positions": "all", "data.batch": 4} if self.written else {}

    def limits(self, limit):
        """Options of ballot for so many dev and test rows at most. Where they are some of train's, no
        more than the task file sets aside: the others are to train on."""
        return {option: min(limit, self.aside.get(split, limit))
                for split, option in (("dev", "data.dev_examples"), ("test", "data.test_rows"))}


def read_task(path):
    """({split: file}, {split: rows}, advice, whether answers are written) of a task file."""
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",))
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        parser.read_string(text)
        rows = {split: parser["rows"][split].strip('"') for split in SPLITS
                if split in parser["rows"]}
        if "train" not in rows and "test" not in rows:
            raise KeyError("train of [rows]")
        splits = {split: parser.getint("splits", split, fallback=n)
                  for split, n in SET_ASIDE.items()}
    except (OSError, ValueError, configparser.Error, KeyError) as error:
        raise report.Failure(3, f"{path}: is no task file: {str(error).splitlines()[0]}") from None
    comment = " ".join(line[1:].strip() for line in text.splitlines() if line.startswith(";"))
    advice = re.search(r"Put .*? into \S+/\.", comment)
    written = any("answers" in parser[name] for name in parser if name.startswith("template"))
    return rows, splits, advice[0] if advice else "", written


def plain(name):
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_official(folder, task, file):
    """The file of that name in the folder where an official archive unpacks: SST-2 is that of sst2,
    and winogrande_1.1 that of winogrande."""
    if not folder:
        return None
    there = sorted((name for name in os.listdir(folder) if plain(name).startswith(plain(task))),
                   key=lambda name: (len(name), name))
    paths = [os.path.join(folder, name, os.path.basename(file)) for name in there]
    return next((path for path in paths if os.path.isfile(path)), None)


def find_tasks(names, folder):
    if folder and not os.path.isdir(folder):
        raise report.Failure(2, f"--rows={folder}: there is no such folder")
    shipped = {os.path.basename(path)[:-4]: path
               for path in sorted(glob.glob(os.path.join(ROOT, "data/tasks/*.ini")))}
    for name in names:
        if name not in shipped and not name.endswith(".ini"):
            raise report.Failure(2, f"there is no task {name}; expected a task file, or one of "
                                    f"{', '.join(shipped)}")
    tasks = [Task(os.path.relpath(shipped[name]) if name in shipped else name, folder)
             for name in names or shipped]
    for task in tasks:
        if sum(other.name == task.name for other in tasks) > 1:
            raise report.Failure(2, f"{task.name} is given twice: name each task once")
    return tasks


# ---- what is measured ----

MODEL = "files of the model"  # in job.json, their digest


class Unit:
    """One result: a task, asked in one way, with one seed."""

    def __init__(self, task, shots, steps, seed):
        self.task, self.shots, self.steps, self.seed = task, shots, steps, seed
        self.column = (f"tuned, {steps} steps" if steps else
                       f"{shots} shot{'s' * (shots != 1)}" if shots else "zero-shot")
        self.name = "-".join([task.name, re.sub(r"\W+", "-", self.column),
                              *([f"seed{seed}"] if shots or steps else [])])
        self.splits = SPLITS if steps else ("train", "test") if shots else ("test",)
        self.answer = None  # the JSON of ballot eval, and how many seconds it took
        self.refusal, self.refused = "", 0  # what ballot said instead, and its exit code

    def settings(self):
        more = {"data.split_seed": self.seed, "data.shots": self.shots}
        if self.steps:
            often = -(-self.steps // 10)
            more.update({"run.steps": self.steps, "run.seed": self.seed, "run.keep": 1,
                         "run.eval_every": often, "run.checkpoint_every": often})
        return {**self.task.settings(), **more}

    def work(self, job):
        """Forward passes of a row, about."""
        rows = int(job["data.test_rows"]) or 1000
        if self.steps:
            sides = 1 if job["vote.probe"] == "one-sided" else 2
            probes = self.steps * int(job["vote.slots"]) * sides * int(job["data.batch"])
            return probes + 12 * (int(job["data.dev_examples"]) or 500)
        return rows + self.shots


def plan(tasks, options):
    """All zero-shot results first, then those in context, then the long ones."""
    ways = [(0, 0, [1])]
    ways += [(shots, 0, range(1, options.seeds + 1)) for shots in options.shots]
    ways += [(0, options.steps, range(1, options.seeds + 1))] * (options.steps > 0)
    return [Unit(task, shots, steps, seed)
            for shots, steps, seeds in ways for seed in seeds for task in tasks]


def digest(paths):
    """SHA-256 of the bytes of files."""
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                whole.update(block)
    return whole.hexdigest()


def digests(unit):
    """What a result depends on, as the user has it now."""
    return {path: digest([path]) for path in [unit.task.path, *unit.task.files(unit.splits)]}


def model_digest(model):
    """Of all that a model may be read from: a file, or those in its folder, or, in a cache of
    huggingface_hub, in a snapshot."""
    paths = [path for where in ("", "/*", "/refs/main", "/snapshots/*/*")
             for path in sorted(glob.glob(glob.escape(model) + where))]
    return digest(path for path in paths if os.path.isfile(path))


# ---- ballot ----

class Ballot:
    """Starts ballot, and ends with it."""

    def __init__(self, options):
        self.program = os.environ.get("BALLOT", os.path.join(ROOT, "build/release/ballot"))
        self.options, self.stopped, self.child = options, False, None
        if not shutil.which(self.program):
            raise report.Failure(2, f"{self.program} is no program: build it, or let BALLOT name "
                                    "it, as BALLOT=/opt/bin/ballot")
        self.launch = []
        if options.ranks != 1 and shutil.which("mpirun"):
            ranks = ["-n", str(options.ranks)] if options.ranks else []
            self.launch = ["mpirun", *ranks, *os.environ.get("BALLOT_MPIRUN", "").split()]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopped = True
        if self.child:
            self.child.terminate()

    def run(self, words, launch=(), shows=False):
        """(exit code, stdout, its last sentence); shows: stderr as it comes, and no stdout."""
        said, out = "", ""
        to = subprocess.DEVNULL if shows else subprocess.PIPE
        with subprocess.Popen([*launch, self.program, *words], text=True, errors="replace",
                              stdin=subprocess.DEVNULL, stdout=to,
                              stderr=subprocess.PIPE) as self.child:
            if not shows:
                out = self.child.stdout.read()  # all of it, before much can be said
            for line in self.child.stderr:
                if line.startswith("ballot: "):
                    said = line.removeprefix("ballot: ").strip()
                elif shows:
                    say(line.rstrip("\n"))
        if self.stopped or self.child.returncode == 75:
            raise report.Failure(75, "stopped; the same command continues")
        return self.child.returncode, out, said

    def ask(self, words):
        code, out, said = self.run(words)
        if code != 0:
            raise report.Failure(code, said)
        return json.loads(out)

    def job(self):
        """What all results share: every option, resolved, and the model."""
        options, model = self.options, self.options.model
        context = self.ask(["inspect", model, "--json"])["config"]["max_tokens"]
        own = {"vote.tensors": "upper"} if options.job == JOB else {}  # of a model of any depth
        self.shared = {"model.path": model, "data.context": min(context, 4096), **own,
                       "data.test_rows": options.limit, "data.dev_examples": options.limit}
        job = self.ask(["config", options.job, *self.words(self.shared), "--json"])
        return {**{name: option["value"] for name, option in job.items()},
                MODEL: model_digest(model)}

    def words(self, settings, last=()):
        """For ballot: what the user sets overrides settings, but not the last ones."""
        words = [f"{name}={value}" for name, value in settings.items()]
        words += [*self.options.set, *(f"{name}={value}" for name, value in dict(last).items())]
        return [w for setting in words for w in ("-s", setting)]

    def settings(self, unit):
        limits = unit.task.limits(self.options.limit)
        return self.words({**self.shared, **unit.task.ways(), **limits}, unit.settings())

    def measure(self, unit, out):
        """Fill in unit.answer or unit.refusal."""
        began = time.monotonic()
        if unit.steps:
            run = os.path.join(out, unit.name)
            words = ["train", self.options.job, "--run", run, *self.settings(unit)]
            code, _, said = self.run(words, self.launch, shows=True)
            if code == 0:
                unit.answer = {"seconds": train_seconds(run), **read_json(run, "test.json")}
        else:
            words = ["eval", self.options.model, "--job", self.options.job, "--split", "test",
                     "--json", *self.settings(unit)]
            code, text, said = self.run(words, self.launch)
            if code == 0:
                unit.answer = {"seconds": time.monotonic() - began, **json.loads(text)}
        if code in (2, 3):
            unit.refusal, unit.refused = said or f"exit code {code}", code
        if code not in (0, 2, 3):
            raise report.Failure(code if 0 < code < 126 else 1, f"{unit.name}: {said or code}")


def train_seconds(run):
    """Of all processes that had the run."""
    seconds = 0.0
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
        for line in file:
            seconds += sum((json.loads(line).get("seconds") or {}).values())
    return seconds


# ---- results on disk ----

def read_json(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        try:
            return json.load(file)
        except ValueError:
            raise report.Failure(3, f"{os.path.join(*path)}: is no JSON; remove it, then start the "
                                    "same command") from None


def publish(path, text):
    """A file is there whole, or not."""
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


def check_model(out, now, then):
    """Results of a model that was changed are of two models."""
    if now != then:
        raise report.Failure(2, f"{out} holds results of a model that has changed since; choose "
                                "another folder with --out")


def check_job(out, job):
    """The job of results that are there already is this one."""
    path = os.path.join(out, "job.json")
    if not os.path.exists(path):
        return publish(path, json.dumps(job, indent=1))
    for name, value in read_json(path).items():
        if name == MODEL:
            check_model(out, job[MODEL], value)
        if job.get(name) != value:
            raise report.Failure(2, f"{out} holds results of another job: {name} = {value} there, "
                                    f"{job.get(name)} now; choose another folder with --out")
    return None


def result_path(unit, out):
    return os.path.join(out, "results", unit.name + ".json")


def recall(unit, out):
    """Take a result that is there already."""
    if not os.path.exists(result_path(unit, out)):
        return
    kept = read_json(result_path(unit, out))
    for path, digest in digests(unit).items():
        if kept["files"].get(path) != digest:
            raise report.Failure(2, f"{result_path(unit, out)} is a result of another {path}; move "
                                    "it away, or choose another folder with --out")
    unit.answer = kept["answer"]
    tidy(unit, out)


def keep(unit, out):
    publish(result_path(unit, out),
            json.dumps({"files": digests(unit), "answer": unit.answer}, indent=1))
    tidy(unit, out)


def tidy(unit, out):
    """Of a run that is done the journal stays, of which ballot replay makes the model again."""
    for checkpoint in glob.glob(os.path.join(glob.escape(os.path.join(out, unit.name)), "*.h5")):
        os.remove(checkpoint)


# ---- the table ----

def cell_of(units):
    """What a task came to in one way: a value with its interval, or mean and spread of seeds."""
    answers = [unit.answer for unit in units if unit.answer]
    refusal = next((unit.refusal for unit in units if unit.refusal), "")
    if not answers:
        return {"refused": refusal} if refusal else None
    values = [answer["value"] for answer in answers]
    cell = {"values": values, "mean": statistics.fmean(values), "rows": answers[0]["rows"],
            "low": answers[0]["low"], "high": answers[0]["high"],
            "seeds": [unit.seed for unit in units if unit.answer],
            "seconds": sum(answer["seconds"] for answer in answers)}
    if all(answer["centred"] is not None for answer in answers):
        cell["centred"] = statistics.fmean(answer["centred"] for answer in answers)
    if len(values) > 1:
        del cell["low"], cell["high"]
        cell["spread"] = statistics.stdev(values)
    return cell


def majority(answer):
    """Accuracy of always choosing the most frequent label, where the rows have labels."""
    rows = [label["rows"] for label in answer["classes"]]
    return max(rows) / sum(rows) if rows and answer["metric"] == "accuracy" else None


def table_of(units, model, left_out):
    rows, columns = [], list(dict.fromkeys(unit.column for unit in units))
    for task in dict.fromkeys(unit.task for unit in units):
        mine = [unit for unit in units if unit.task is task]
        answer = next((unit.answer for unit in mine if unit.answer), None)
        if answer is None and not any(unit.refusal for unit in mine):
            continue
        rows.append({"task": task.name, "metric": answer and answer["metric"],
                     "rows": answer and answer["rows"], "majority": answer and majority(answer),
                     "columns": {column: cell_of([u for u in mine if u.column == column])
                                 for column in columns},
                     "seconds": sum(u.answer["seconds"] for u in mine if u.answer)})
    return {"model": model, "columns": columns, "tasks": rows, "left_out": left_out}


def cell_text(cell):
    if cell is None:
        return ""
    if "refused" in cell:
        return "refused"
    if "spread" in cell:
        return f"{100 * cell['mean']:.1f} ± {100 * cell['spread']:.1f} ({len(cell['values'])})"
    return f"{100 * cell['mean']:.1f} [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]"


def markdown(table):
    lines = ["| task | metric | rows | majority | " + " | ".join(table["columns"]) + " | time |",
             "| --- | --- | ---: | ---: | " + "---: | " * len(table["columns"]) + "---: |"]
    notes = []
    for row in table["tasks"]:
        cells = [row["task"], (row["metric"] or "").replace("_", " "), str(row["rows"] or ""),
                 "" if row["majority"] is None else f"{100 * row['majority']:.1f}",
                 *(cell_text(row["columns"][column]) for column in table["columns"]),
                 report.duration(row["seconds"])]
        lines.append("| " + " | ".join(cells) + " |")
        notes += [f"- {row['task']}, {column}: refused: {cell['refused']}"
                  for column, cell in row["columns"].items() if cell and "refused" in cell]
    head = (f"{table['model']} on test rows, in %. In brackets: the 95 % interval over the rows. ±: "
            "standard deviation over seeds, of which there are as many as the bracket says. "
            "Majority: always the most frequent label.")
    notes += [f"- {task} is left out: {why}" for task, why in table["left_out"].items()]
    return "\n".join([head, "", *lines, *([""] * bool(notes)), *notes]) + "\n"


def draw(table):
    """A line for each task, a mark for each way to ask."""
    plt = report.need("matplotlib.pyplot")
    rows = [row for row in table["tasks"] if row["rows"]]
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.5 * len(rows)), constrained_layout=True)
    for place, row in enumerate(rows):
        if row["majority"] is not None:
            axes.plot([100 * row["majority"]] * 2, [place - 0.35, place + 0.35], color="0.7", lw=2)
    n = len(table["columns"])
    for i, column in enumerate(table["columns"]):
        points = [(place + 0.22 * (i - (n - 1) / 2), row["columns"][column])
                  for place, row in enumerate(rows)]
        points = [(y, cell) for y, cell in points if cell and "values" in cell]
        mean = [100 * cell["mean"] for _, cell in points]
        low = [100 * cell.get("low", min(cell["values"])) for _, cell in points]
        high = [100 * cell.get("high", max(cell["values"])) for _, cell in points]
        axes.errorbar(mean, [y for y, _ in points], fmt="o", ms=5, lw=1.3, capsize=2,
                      xerr=[[m - x for m, x in zip(mean, low)], [x - m for m, x in zip(mean, high)]],
                      color=COLOURS[i % len(COLOURS)], label=column)
    axes.plot([], [], color="0.7", lw=2, label="majority")
    axes.set_yticks(range(len(rows)), [f"{row['task']} ({row['rows']})" for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy or F1 on test rows, %; bars: 95 % interval, or the range over seeds")
    axes.set_title(table["model"], loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


# ---- progress ----

def rate(units, job):
    """Seconds that a forward pass took; None: nothing was measured."""
    known = [(unit.answer["seconds"], unit.work(job)) for unit in units if unit.answer]
    return sum(s for s, _ in known) / sum(w for _, w in known) if known else None


def expected(unit, units, job):
    """Seconds that a result takes, by those that are there and the most like it. A pass in training
    takes another time than one in an evaluation. None: none of its kind was measured."""
    kind = [other for other in units if (other.steps > 0) == (unit.steps > 0)]
    of_task = [other for other in kind if other.task is unit.task]
    alike = [other for other in kind if other.column == unit.column]
    for others in ([other for other in of_task if other in alike], of_task, alike, kind):
        seconds = rate(others, job)
        if seconds is not None:
            return seconds * unit.work(job)
    return None


def time_left(units, job):
    """As a clause, with a question mark for what is not known yet."""
    times = [expected(u, units, job) for u in units if not u.answer and not u.refusal]
    known = [seconds for seconds in times if seconds is not None]
    if not times:
        return ""
    if not known:
        return "; ? left"
    unknown = len(times) - len(known)
    more = f", and ? for {unknown} results of another kind" if unknown else ""
    return f"; about {report.duration(sum(known))} left{more}"


def say(text):
    print(text, file=sys.stderr, flush=True)


def tell(unit, units, job):
    done = sum(1 for u in units if u.answer or u.refusal)
    what = unit.refusal and f"refused: {unit.refusal}" or (
        f"{100 * unit.answer['value']:.1f} % in {report.duration(unit.answer['seconds'])}")
    say(f"[{done}/{len(units)}] {unit.task.name}, {unit.column}, seed {unit.seed}: {what}"
        f"{time_left(units, job)}")


# ---- main ----

def write_table(units, options, left_out):
    table = table_of(units, options.model, left_out)
    publish(os.path.join(options.out, "table.json"), json.dumps(table, indent=1))
    publish(os.path.join(options.out, "table.md"), markdown(table))
    return table


def measure_all(ballot, units, options, left_out):
    job = ballot.job()
    os.makedirs(os.path.join(options.out, "results"), exist_ok=True)
    check_job(options.out, job)
    for unit in units:
        recall(unit, options.out)
    for unit in units:
        if unit.answer is None:
            ballot.measure(unit, options.out)
            check_model(options.out, model_digest(options.model), job[MODEL])
            if unit.answer:
                keep(unit, options.out)
            tell(unit, units, job)
            write_table(units, options, left_out)
    return write_table(units, options, left_out)


def choose(tasks, options):
    """The units whose rows are there, and why others are left out."""
    units, left_out = [], {}
    for unit in plan(tasks, options):
        missing = unit.task.missing(unit.splits)
        if not missing:
            units.append(unit)
            continue
        name = unit.task.name
        what = "" if unit.splits == ("test",) else ", in context and tuned"
        left_out.setdefault(name + ("" if name in left_out else what),
                            f"{', '.join(missing)} missing. {unit.task.advice} Or name the folder "
                            "where the official files are unpacked with --rows.")
    return units, left_out


def parse():
    def numbers(text):
        return [int(word) for word in text.split(",") if word]

    parser = argparse.ArgumentParser(
        prog="tasks.sh", description="What a model makes of tasks: zero-shot, in context, and tuned "
        "by votes, in one table (Markdown, JSON, picture). The same command continues what was cut "
        "off. Nothing is downloaded.",
        epilog="The environment may set BALLOT (the program), BALLOT_MPIRUN (more options of "
        "mpirun) and BALLOT_TASK_ROWS (--rows).")
    parser.add_argument("model", metavar="MODEL", help="any model that ballot eval takes")
    parser.add_argument("tasks", metavar="TASK", nargs="*", default=[],
                        help="as sst2, or a task file (default: all whose rows are there)")
    parser.add_argument("--rows", metavar="FOLDER", default=os.environ.get("BALLOT_TASK_ROWS"),
                        help="where the official files are unpacked, as FOLDER/SST-2/train.tsv, "
                        "FOLDER/BoolQ/val.jsonl (default: beside the task files)")
    parser.add_argument("--out", metavar="FOLDER", help="default: runs/tasks-MODEL")
    parser.add_argument("--shots", metavar="N,...", type=numbers, default=[4],
                        help="demonstrations in context; 0: none (default: 4)")
    parser.add_argument("--seeds", metavar="N", type=int, default=3,
                        help="of demonstrations, and of training runs (default: 3)")
    parser.add_argument("--steps", metavar="N", type=int, default=100,
                        help="of a training run; 0: no training (default: 100)")
    parser.add_argument("--limit", metavar="N", type=int, default=400,
                        help="test rows and dev rows, at most; 0: those of the task file "
                        "(default: 400)")
    parser.add_argument("--job", metavar="JOB.ini", default=JOB,
                        help="settings of ballot for all of it (default: jobs/sst2-answer.ini for "
                        "the upper layers; where answers are written, with whole rows and 4 of "
                        "them)")
    parser.add_argument("-s", "--set", metavar="SECTION.KEY=VALUE", action="append", default=[],
                        help="override an option of the job; may be repeated")
    parser.add_argument("--ranks", metavar="N", type=int, default=0,
                        help="of ballot (default: as many as mpirun takes)")
    options = parser.parse_args()
    options.shots = [shots for shots in options.shots if shots > 0]
    if options.seeds < 1 or options.steps < 0 or options.limit < 0 or options.ranks < 0:
        parser.error("--seeds is 1 or more, and --steps, --limit and --ranks are 0 or more")
    if options.out is None:
        name = os.path.basename(os.path.abspath(options.model))
        options.out = os.path.join("runs", "tasks-" + name)
    return options


def main():
    options = parse()
    try:
        units, left_out = choose(find_tasks(options.tasks, options.rows), options)
        for task, why in left_out.items():
            say(f"{task} is left out: {why}")
        if not units:
            raise report.Failure(3, "no task has its rows")
        table = measure_all(Ballot(options), units, options, left_out)
        print(markdown(table))
        report.need("matplotlib").use("Agg")
        draw(table).savefig(os.path.join(options.out, "table.png"), dpi=110)
        print(f"{options.out}/table.md, table.json, table.png")
        refused = [unit.refused for unit in units if unit.refused]
        if refused:
            raise report.Failure(max(refused), f"{len(refused)} of {len(units)} results are refused, "
                                               f"{options.out}/table.md says why; mend it, then start "
                                               "the same command")
    except report.Failure as failure:
        print(f"tasks.sh: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:
        print(f"tasks.sh: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
