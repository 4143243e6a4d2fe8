#!/usr/bin/python3
"""evidence.py: ballot and other ways to train, on the same model, data, seeds and evaluation.

usage: evidence.py TASK -o OUT [OPTION...]

TASK is shakespeare (stories260K) or a task file (SmolLM2-135M). Runs ballot, and in PyTorch MeZO in
float32 and in bfloat16, FZOO, and Adam by backpropagation, each on one core. Every peer's rate is
searched on a grid, which grows until its best is not at its end, and then its perturbation. ballot's
settings are the same for all, but it is told how long a run is to be, so there are shorter ones too.
Writes OUT/table.md, OUT/table.json with grid and curves, and OUT/evidence.png: loss over passes and
over seconds.

A text is judged by the last loss. On a task, whatever is chosen, be it a rate or the evaluation at
which a run is at its best, is chosen by the loss on the dev rows; the test rows then say how good it
is.

A pass is one forward pass over one mini-batch; one backward counts as two, which the table has apart.
Seconds are CPU time without evaluations. Every run is a file in OUT/cells. So what was cut off goes
on with the same command, and a long comparison can be made in parts, with a few --methods or --seeds
at a time. The peers need a python3 with torch, SmolLM2 also gguf, transformers and tokenizers.
"""
import argparse
import concurrent.futures
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading

import report
import tasks

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEER = os.path.join(ROOT, "tests/bench/evidence/peer.py")
SMOLLM2 = os.path.join(ROOT, "data/smollm2-135m")
QUIET = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1"}

# Where the search of each peer starts: rates, and the perturbations tried at the best of them.
STARTS = {
    "shakespeare": {"mezo": ([3e-5, 1e-4], [1e-3, 3e-4, 3e-3]), "fzoo": ([3e-7, 1e-6], [1e-3, 3e-3]),
                    "mezo-bf16": ([3e-5, 1e-4], [1e-3, 3e-3, 1e-2]), "adam": ([1e-3, 3e-3], [None])},
    "task": {"mezo": ([3e-7, 1e-6, 3e-6], [1e-3]), "fzoo": ([1e-7, 3e-7], [1e-3]),
             "mezo-bf16": ([3e-7, 1e-6, 3e-6], [1e-3]), "adam": ([3e-6, 1e-5], [None])}}
NAMES = {"ballot": "ballot, int8", "mezo": "MeZO, float32", "mezo-bf16": "MeZO, bfloat16",
         "fzoo": "FZOO, float32", "adam": "Adam, backpropagation"}
COLOURS = {"ballot": "#D55E00", "mezo": "#0072B2", "mezo-bf16": "#56B4E9",
           "fzoo": "#009E73", "adam": "#CC79A7"}

# Shares of the passes: of a run in the search, and of those methods that are at their best long before
# the end. On a task Adam has read every row three times by then.
SEARCH = {"shakespeare": 1 / 4, "task": 1 / 16}
SHARES = {"shakespeare": {}, "task": {"adam": 1 / 8}}
# Where a peer evaluates on a task: in the search, and in a whole run, there also once ballot's time is
# over. On Shakespeare it decides itself.
TRIED = (1 / 2, 1)
WHOLE = (1 / 64, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)

# ballot's settings, the same for all seeds; those of Shakespeare are from docs/method.md. LENGTHS are
# shares of the passes, and slots; TIMED the steps of the runs whose difference is timed.
LENGTHS = {"shakespeare": ((1, 64), (1 / 2, 32), (3 / 8, 32), (1 / 4, 32)),
           "task": ((1, 64), (1 / 4, 64))}
TIMED = {"shakespeare": (10, 60), "task": (10, 30)}
BALLOT = {"shakespeare": ("jobs/shakespeare.ini", ["data.batch=1", "rule.schedule=constant",
                                                   "rule.travel=3", "vote.probe=one-sided",
                                                   "vote.bits=8"]),
          "task": ("jobs/sst2-answer.ini", ["data.context=1024", "run.best=loss"])}


def kind_of(task):
    return "shakespeare" if task == "shakespeare" else "task"


# ---- runs ----

def call(words, **more):
    """What a program printed, and the CPU seconds that it took."""
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE,
                                       stderr=errors, text=True, cwd=ROOT,
                                       env={**os.environ, **QUIET, **more})
        except OSError as error:
            raise report.Failure(2, f"{words[0]}: {error.strerror}; --ballot and --python name the "
                                    "programs") from None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        errors.seek(0)
        if process.returncode != 0:
            raise report.Failure(1, errors.read().strip()[-400:] or f"{words[0]}: failed")
    return out, usage.ru_utime + usage.ru_stime


def digest(path):
    try:
        return tasks.digest([path])
    except OSError as error:
        raise report.Failure(2, f"{path}: {error.strerror}") from None


class Runs:
    """The runs of a comparison, each kept in a file; as many at a time as there are cores."""

    def __init__(self, options):
        self.options, self.kind = options, kind_of(options.task)
        self.turn = threading.BoundedSemaphore(options.cores)
        self.folder = os.path.join(options.out, "cells")
        os.makedirs(self.folder, exist_ok=True)
        self.check()

    def check(self):
        """Runs that are there already are of this comparison."""
        task = self.options.task if self.kind == "shakespeare" else digest(self.options.task)
        job, settings = BALLOT[self.kind]
        own = {"task": task, "ballot": digest(self.options.ballot), "quick": self.options.quick,
               "job": digest(os.path.join(ROOT, job)), "settings": settings}
        there = self.kept("comparison", lambda: own)
        for what, value in own.items():
            if there.get(what) != value:
                raise report.Failure(2, f"{self.options.out} has runs of another comparison: {what} "
                                        "differs; choose another folder with -o")

    def kept(self, name, make):
        path = os.path.join(self.folder, name + ".json")
        if not os.path.exists(path):
            made = make()
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(made, file, indent=1)
            os.replace(path + ".new", path)
            if "points" in made:
                print(f"{name}: {outcome(made):.4f}", file=sys.stderr)
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def peer(self, method, rate, eps, passes, seed, shares=(), test=False):
        shares = (1,) if self.options.quick else shares
        words = [self.options.python, "-B", PEER, self.options.task, method, "--rate", rate,
                 "--passes", passes, "--seed", seed, "--cache", self.options.out,
                 *(["--eps", eps] if eps else []), *(["--shares", *shares] if shares else []),
                 *(["--test"] if test else [])]
        more = {} if self.kind == "shakespeare" else {"BALLOT": self.options.ballot}
        name = f"{method}-{rate:.2g}-{eps or 0:.2g}-{passes}-{seed}"

        def make():
            with self.turn:
                return json.loads(call(words, **more)[0])
        return self.kept(name, make)

    def train(self, name, slots, steps, seed, *more):
        """A run of ballot anew: its directory, and its CPU seconds."""
        folder = os.path.join(self.folder, name)
        shutil.rmtree(folder, ignore_errors=True)
        job, settings = BALLOT[self.kind]
        task = [] if self.kind == "shakespeare" else [f"data.task={self.options.task}"]
        words = [word for setting in (*settings, *task, f"vote.slots={slots}", f"run.steps={steps}",
                                      f"run.seed={seed}", "run.checkpoint_every=0", *more)
                 for word in ("-s", setting)]
        _, seconds = call([self.options.ballot, "train", job, "--run", folder, *words],
                          OMPI_MCA_ess_singleton_isolated="1")
        return folder, seconds

    def seconds_per_pass(self):
        """Of ballot: the median of three differences of two runs, so that loading does not count."""
        def make():
            short, long = (1, 3) if self.options.quick else TIMED[self.kind]
            found, slots = [], LENGTHS[self.kind][0][1]
            for _ in range(1 if self.options.quick else 3):
                taken = [self.train("timing", slots, n, 1, "run.eval_every=0", "data.dev_examples=1")[1]
                         for n in (short, long)]
                found.append((taken[1] - taken[0]) / (slots * (long - short)))
            shutil.rmtree(os.path.join(self.folder, "timing"))
            return {"seconds_per_pass": statistics.median(found), "found": found}
        return self.kept("ballot-timing", make)["seconds_per_pass"]

    def seconds_to_read(self):
        """Of ballot on a task: all training rows once, which it keeps from then on."""
        def make():
            job, settings = BALLOT[self.kind]
            words = [self.options.ballot, "eval", SMOLLM2, "--job", job, "--split", "train"]
            for setting in (*settings, f"data.task={self.options.task}"):
                words += ["-s", setting]
            one, rows = (call([*words, *more], OMPI_MCA_ess_singleton_isolated="1")[1]
                         for more in (["-s", "data.train_rows=1"], []))
            return {"seconds_to_read": max(0.0, rows - one)}
        return 0.0 if self.kind == "shakespeare" else self.kept("ballot-reading",
                                                                make)["seconds_to_read"]

    def ballot(self, passes, slots, seed):
        steps, per_pass = max(1, passes // slots), self.seconds_per_pass()
        reading = self.seconds_to_read()

        def make():
            with self.turn:
                folder, _ = self.train(f"ballot-{passes}-{seed}", slots, steps, seed,
                                       f"run.eval_every={max(1, steps // 20)}")
            made = {"method": "ballot", "slots": slots, "seed": seed, "diverged": False,
                    "points": ballot_points(os.path.join(folder, "metrics.jsonl")),
                    "version": call([self.options.ballot, "--version"])[0].strip()}
            for point in made["points"]:
                point["seconds"] = per_pass * point["passes"] + (reading if point["passes"] else 0.0)
            if self.kind == "task":
                add_test(made, folder)
            shutil.rmtree(folder)
            return made
        return self.kept(f"ballot-{passes}-{seed}", make)


def ballot_points(path):
    """The evaluations of a run; a step's is of the model before it."""
    points, passes = [], 0
    with open(path, encoding="utf-8") as file:
        for row in map(json.loads, file):
            if row.get("dev_loss_nats") is not None:
                at = row["forward_passes"] if "final" in row else passes
                points.append({"passes": at, "backward": 0, "loss": row["dev_loss_nats"]})
                if "dev_metric" in row:
                    points[-1]["accuracy"] = row["dev_metric"]
            passes = row.get("forward_passes", passes)
    return points


def add_test(made, folder):
    """What the best model of a run on a task makes of the test rows. A pass computes the last token of
    each of its rows."""
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        made["rows"] = made["tokens"] = json.loads(file.readline())["batch"]
    with open(os.path.join(folder, "test.json"), encoding="utf-8") as file:
        test = json.load(file)
    best(made)["test"] = {"loss": test["loss_nats"], "accuracy": test["accuracy"]}


# ---- what a run is worth ----

def cost(point):
    return point["passes"] + point["backward"]


def seconds_of(point):
    return point["seconds"]


def best(run, key=cost, limit=math.inf):
    """The evaluation with the lowest loss, of those up to so many passes or seconds."""
    return min((point for point in run["points"] if point["loss"] is not None and
                key(point) <= limit), key=lambda point: point["loss"])


def outcome(run):
    """The loss that a run is judged by: on a task the lowest, for a text the last."""
    if "accuracy" in run["points"][0]:
        return best(run)["loss"]
    loss = run["points"][-1]["loss"]
    return math.inf if run["diverged"] or loss is None else loss


# ---- search ----

def neighbour(rate, step):
    """The next of ... 0.1, 0.3, 1, 3, 10 ..., up or down."""
    i = round(2 * math.log10(rate)) + step
    return float(f"{(1, 3)[i % 2]}e{i // 2}")


def search(try_one, rates, perturbations, couples):
    """Settings (rate, eps) by their loss, best first: rates at the first eps, more of them while the
    best is at an end; then other eps at the best rate. couples: a step is as long as rate / eps says,
    so the rate goes along with eps."""
    found = {(rate, perturbations[0]): try_one(rate, perturbations[0]) for rate in rates}
    for _ in range(6):
        best, tried = min(found, key=found.get)[0], [rate for rate, _ in found]
        if len(tried) > 2 and min(tried) < best < max(tried):
            break
        more = neighbour(best, -1 if best == min(tried) else 1)
        found[more, perturbations[0]] = try_one(more, perturbations[0])
    for eps in perturbations[1:]:
        rate = float(f"{best * (eps / perturbations[0] if couples else 1):.1g}")
        found[rate, eps] = try_one(rate, eps)
    return sorted(found.items(), key=lambda item: item[1])


def shares_with(tried, passes, seconds):
    """Where a whole run of a peer evaluates: at WHOLE, and just before ballot's time is over, if a run
    of its search says when that is."""
    last = tried["points"][-1]
    share = 0.95 * seconds * cost(last) / max(last["seconds"], 1e-9) / passes
    return sorted({*WHOLE, *([share] if share < 1 else [])})


def tuned(runs, method, options, seconds):
    """{"grid", "runs"} of a peer: the search with a share of the passes, the best few settings with all
    of them, and the best of these with every seed. seconds: what ballot took."""
    (rates, perturbations), task = STARTS[runs.kind][method], runs.kind == "task"
    if options.quick:
        rate, eps = rates[0], perturbations[0]
        return {"grid": [], "runs": [runs.peer(method, rate, eps, options.passes, 1, test=task)]}
    passes = min(int(SHARES[runs.kind].get(method, 1) * options.passes),
                 options.peer_passes or options.passes)
    short = min(passes, int(options.search * options.passes))

    def attempt(rate, eps):
        return runs.peer(method, rate, eps, short, 1, TRIED if task else ())

    def whole(setting, seed):
        shares = shares_with(attempt(*setting), passes, seconds) if task else ()
        return runs.peer(method, *setting, passes, seed, shares, task)

    grid = search(lambda rate, eps: outcome(attempt(rate, eps)), rates, perturbations,
                  method == "fzoo")
    best = [setting for setting, _ in grid[:options.finalists]]
    finals = dict(zip(best, at_once(lambda setting: whole(setting, 1), best)))
    chosen = min(finals, key=lambda setting: outcome(finals[setting]))
    return {"grid": [{"rate": rate, "eps": eps, "passes": short, "loss": finite(loss)}
                     for (rate, eps), loss in grid] +
            [{"rate": rate, "eps": eps, "passes": passes, "loss": finite(outcome(run))}
             for (rate, eps), run in finals.items()],
            "runs": at_once(lambda seed: whole(chosen, seed), range(1, options.seeds + 1))}


def finite(loss):
    return loss if math.isfinite(loss) else None


def at_once(function, values):
    """The results of a function, in the order of values. What it runs waits for a free core."""
    values = list(values)
    with concurrent.futures.ThreadPoolExecutor(len(values) or 1) as pool:
        return list(pool.map(function, values))


def measure(options):
    """{method: {"grid", "runs"}}; of ballot also "shorter", the runs of each length."""
    runs = Runs(options)
    runs.seconds_per_pass(), runs.seconds_to_read()  # before anything runs beside
    whole, *shorter = [at_once(lambda seed, n=int(share * options.passes), slots=slots:
                               runs.ballot(n, slots, seed), range(1, options.seeds + 1))
                       for share, slots in LENGTHS[runs.kind][:1 if options.quick else None]]
    own = {"grid": [], "runs": whole, "shorter": shorter}
    peers = [method for method in options.methods if method != "ballot"]
    seconds = whole[0]["points"][-1]["seconds"]
    made = at_once(lambda method: tuned(runs, method, options, seconds), peers)
    return {"ballot": own, **dict(zip(peers, made))}


# ---- what it says ----

def reached(run, loss, key):
    """Passes or seconds until a loss, between evaluations on a line over their logarithms; None:
    never."""
    points = [p for p in run["points"] if p["loss"] is not None]
    for before, after in zip(points, points[1:]):
        if after["loss"] <= loss:
            a, b = max(key(before), 1e-9), key(after)
            if key(before) == 0 or before["loss"] <= after["loss"]:
                return b
            share = (before["loss"] - loss) / (before["loss"] - after["loss"])
            return math.exp(math.log(a) + share * (math.log(b) - math.log(a)))
    return None


def mean_of(runs):
    """A run whose points are the means over the seeds, as far as all have numbers."""
    curves = [[p for p in run["points"] if p["loss"] is not None] for run in runs]
    keys = [key for key in ("passes", "backward", "seconds", "loss", "accuracy")
            if key in curves[0][0]]
    return {"points": [{key: statistics.mean(point[key] for point in points) for key in keys}
                       for points in zip(*curves)],
            "diverged": any(run["diverged"] for run in runs)}


def soonest(made, loss, key):
    """When the mean over the seeds is there; of several lengths of a run the first."""
    found = [reached(mean_of(runs), loss, key)
             for runs in (made["runs"], *made.get("shorter", []))]
    return min((at for at in found if at is not None), default=None)


def mean_and_deviation(values):
    """Of a figure over seeds; no deviation of one."""
    return {"mean": statistics.mean(values),
            "deviation": statistics.stdev(values) if len(values) > 1 else None}


def task_figures(runs, seconds, passes):
    """On a task: accuracy on the dev and test rows where the dev loss is lowest, in all, and within
    ballot's time and passes."""
    def test(key, limit):
        found = [best(run, key, limit)["test"] for run in runs]
        return {what: mean_and_deviation([each[what] for each in found])
                for what in ("accuracy", "loss")}

    def within(key, limit):
        last = [max((p for p in run["points"] if key(p) <= limit), key=cost) for run in runs]
        return {"passes": cost(last[0]), "seconds": statistics.mean(map(seconds_of, last)),
                **test(key, limit)}

    return {"rows_per_pass": runs[0]["rows"], "tokens_per_pass": runs[0]["tokens"],
            "dev_accuracy": mean_and_deviation([best(run)["accuracy"] for run in runs]),
            "test": test(cost, math.inf), "same_seconds": within(seconds_of, seconds),
            "same_passes": within(cost, passes)}


def summary(measured):
    """{method: what the table says of it}"""
    found, ends = {}, [run["points"][-1] for run in measured["ballot"]["runs"]]
    for method, made in measured.items():
        runs, losses = made["runs"], [outcome(run) for run in made["runs"]]
        last = runs[0]["points"][-1]
        found[method] = {
            "loss": finite(outcome(mean_of(runs))), "spread": finite(max(losses) - min(losses))
            if all(map(math.isfinite, losses)) else None,
            "seeds": len(runs), "rate": runs[0].get("rate"), "eps": runs[0].get("eps"),
            "passes": last["passes"], "backward": last["backward"],
            "seconds": statistics.mean(run["points"][-1]["seconds"] for run in runs)}
        if "accuracy" in last:
            found[method].update(task_figures(runs, max(map(seconds_of, ends)), cost(ends[0])))
    for name in ("mezo", "fzoo"):
        if found.get(name, {}).get("loss") is None:
            continue
        for method, made in measured.items():
            for what, key in (("passes", cost), ("seconds", seconds_of)):
                found[method][f"{what}_to_{name}"] = soonest(made, found[name]["loss"], key)
    return found


def number(value, form="{:,.0f}"):
    return "" if value is None else form.format(value)


def percent(figure):
    """A share over seeds, in percent."""
    deviation = figure["deviation"]
    return (f"{100 * figure['mean']:.1f}" +
            ("" if deviation is None else f" \u00b1 {100 * deviation:.1f}") + " %")


def markdown(head, rows, first="---"):
    """A table whose first column is a name, the others figures."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (
        head, [first, *["---:"] * (len(head) - 1)], *rows))


def table(found):
    """Markdown."""
    task = "test" in found["ballot"]
    head = ["method", "rate", "eps", *(["rows per pass", "tokens per pass"] if task else []),
            "forward", "backward x 2", "lowest dev loss" if task else "loss", "spread", "CPU seconds",
            *(["dev accuracy there", "test accuracy, best by dev loss"] if task else []),
            "passes to MeZO's loss", "seconds", "passes to FZOO's loss", "seconds"]
    rows = []
    for method, row in found.items():
        cells = [NAMES[method], number(row["rate"], "{:.2g}"), number(row["eps"], "{:.2g}")]
        if task:
            cells += [number(row["rows_per_pass"]), number(row["tokens_per_pass"])]
        cells += [number(row["passes"]), number(row["backward"]), number(row["loss"], "{:.4f}"),
                  number(row["spread"], "{:.4f}"), number(row["seconds"], "{:.1f}")]
        if task:
            cells += [percent(row["dev_accuracy"]), percent(row["test"]["accuracy"])]
        for name in ("mezo", "fzoo"):
            cells += [number(row.get(f"passes_to_{name}")),
                      number(row.get(f"seconds_to_{name}"), "{:.2f}")]
        rows.append(cells)
    return markdown(head, rows)


def same_effort(found):
    """Markdown: on a task, test accuracies within ballot's time and within its passes."""
    ours = found["ballot"]
    if "test" not in ours:
        return []
    head = ["method", f"passes in {ours['seconds']:,.0f} seconds", "test accuracy",
            f"passes, {ours['passes']:,} at most", "seconds", "test accuracy"]
    rows = [[NAMES[method], number(row["same_seconds"]["passes"]),
             percent(row["same_seconds"]["accuracy"]), number(row["same_passes"]["passes"]),
             number(row["same_passes"]["seconds"]), percent(row["same_passes"]["accuracy"])]
            for method, row in found.items()]
    return ["The same time, and the same passes: the best model by its dev loss of the evaluations "
            "within them. A backward pass counts as two.", markdown(head, rows),
            f"A pass of ballot computes one token of each of its {ours['rows_per_pass']} rows. The "
            "model as it was has read their prompts, once; that is in ballot's seconds.",
            *(f"A pass of {NAMES[method]}, reads {row['rows_per_pass']} rows whole, "
              f"{row['tokens_per_pass']:.0f} tokens on the average: about as many are computed."
              for method, row in list(found.items())[1:2])]


def ratios(found):
    """Sentences: what ballot needs to the loss that others end with."""
    lines = []
    for name in ("mezo", "fzoo"):
        theirs, ours = found.get(name), found["ballot"]
        if theirs is None or not ours.get(f"passes_to_{name}"):
            continue
        passes = (theirs["passes"] + theirs["backward"]) / ours[f"passes_to_{name}"]
        seconds = theirs["seconds"] / ours[f"seconds_to_{name}"]
        which = "lowest dev" if "test" in ours else "last"
        lines.append(f"ballot reaches the {which} loss of {NAMES[name]} ({theirs['loss']:.4f}) with "
                     f"1/{passes:.1f} of the passes and 1/{seconds:.0f} of the seconds.")
    return lines


def lengths(measured):
    """Markdown: where ballot's runs end that are told to be shorter."""
    made, task = measured["ballot"], "accuracy" in measured["ballot"]["runs"][0]["points"][0]
    head = ["ballot, passes in all", "slots", "loss, mean", "CPU seconds",
            *(["test accuracy"] if task else [])]
    rows = []
    for runs in (made["runs"], *made["shorter"]):
        last = runs[0]["points"][-1]
        rows.append([f"{last['passes']:,}", f"{runs[0]['slots']}",
                     f"{statistics.mean(map(outcome, runs)):.4f}", f"{last['seconds']:.1f}"])
        if task:
            rows[-1].append(percent(mean_and_deviation(
                [best(run)["test"]["accuracy"] for run in runs])))
    return markdown(head, rows, "---:")


def grids(measured):
    """Markdown: every setting that was tried, by its loss."""
    return markdown(["method", "rate", "eps", "passes", "loss, seed 1"], [
        [NAMES[method], f"{row['rate']:.2g}", number(row["eps"], "{:.2g}"), f"{row['passes']:,}",
         number(row["loss"], "{:.4f}") or "diverged"]
        for method, made in measured.items() for row in made["grid"]])


def curves_of(measured):
    """(method, runs, label) of each curve; the shorter ones have no label."""
    for method, made in measured.items():
        yield method, made["runs"], NAMES[method]
        for runs in made.get("shorter", []):
            yield method, runs, None


def draw(measured, path):
    plt = report.need("matplotlib.pyplot")
    figure, both = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True, constrained_layout=True)
    for axes, key, title in ((both[0], cost, "passes (backward counts as 2)"),
                             (both[1], seconds_of, "CPU seconds of one core")):
        lowest, highest = math.inf, -math.inf
        for method, runs, label in curves_of(measured):
            mean = mean_of(runs)["points"]
            x, n = [key(point) for point in mean][1:], len(mean)
            y = [[run["points"][i]["loss"] for run in runs] for i in range(1, n)]
            axes.plot(x, [point["loss"] for point in mean[1:]], marker="." if label else None,
                      linewidth=1.5 if label else 0.8, color=COLOURS[method], label=label)
            axes.fill_between(x, [min(v) for v in y], [max(v) for v in y], color=COLOURS[method],
                              alpha=0.2, linewidth=0)
            lowest = min([lowest, *(min(v) for v in y)])
            highest = max(highest, mean[0]["loss"])
        axes.set_xscale("log")
        axes.set_xlabel(title)
        axes.set_ylim(lowest - 0.05 * (highest - lowest), highest)
        axes.grid(alpha=0.3)
    both[0].set_ylabel("dev loss, nats")
    both[0].legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("-o", dest="out", required=True)
    parser.add_argument("--ballot", default=os.path.join(ROOT, "build/release/ballot"))
    parser.add_argument("--python", default=shutil.which("python3"), help="that has torch")
    parser.add_argument("--passes", type=int, default=19200)
    parser.add_argument("--peer-passes", type=int, help="of a peer, at most")
    parser.add_argument("--search", type=float, help="share of the passes of a run in the search "
                        "(default: 1/4, on a task 1/16)")
    parser.add_argument("--finalists", type=int, default=2,
                        help="how many of a peer's settings then run with all passes")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)),
                        help="runs of peers at a time")
    parser.add_argument("--methods", nargs="+", choices=["ballot", *STARTS["task"]],
                        default=["ballot", "mezo", "mezo-bf16", "fzoo", "adam"])
    parser.add_argument("--quick", action="store_true", help="no search, one seed, few passes: "
                        "whether it works, not who is better")
    options = parser.parse_args()
    if options.seeds < 1 or options.passes < 1 or options.cores < 1:
        parser.error("--seeds, --passes and --cores are 1 or more")
    if options.python is None:
        parser.error("there is no python3 on the path; name one that has torch with --python")
    for name in ("out", "ballot"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    if options.task != "shakespeare":
        options.task = os.path.abspath(options.task)
    kind = kind_of(options.task)
    options.search = options.search or SEARCH[kind]
    if options.quick:
        options.passes, options.seeds = (192 if kind == "shakespeare" else 64), 1
    try:
        measured = measure(options)
        found = summary(measured)
        with open(os.path.join(options.out, "table.json"), "w", encoding="utf-8") as file:
            json.dump({"task": options.task, "summary": found, "methods": measured}, file, indent=1)
        text = "\n\n".join([table(found), *same_effort(found), *ratios(found), lengths(measured),
                            grids(measured)])
        with open(os.path.join(options.out, "table.md"), "w", encoding="utf-8") as file:
            print(text, file=file)
        print(text)
        draw(measured, os.path.join(options.out, "evidence.png"))
    except report.Failure as failure:
        print(f"evidence.py: {failure}", file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
