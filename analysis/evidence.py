#!/usr/bin/python3
"""evidence.py: ballot and other ways to train, on the same model, data, seeds and evaluation.

usage: evidence.py TASK -o OUT [OPTION...]

TASK is shakespeare (stories260K) or a task file (SmolLM2-135M). Runs ballot, and in PyTorch MeZO in
float32 and in bfloat16, FZOO, and Adam by backpropagation, each on one core. Every peer's rate is
searched on a grid, which grows until its best is not at its end, and then its perturbation. ballot's
settings are the same for all, but it is told how long a run is to be, so there are shorter ones too.
Writes OUT/table.md, OUT/table.json with grid and curves, and OUT/evidence.png: loss over passes and
over seconds.

A pass is one forward pass over one mini-batch; one backward counts as two, which the table has apart.
Seconds are CPU time without evaluations. Every run is a file in OUT/cells, so what was cut off goes
on with the same command. The peers need a python3 with torch, SmolLM2 also gguf, transformers and
tokenizers.
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

import report

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEER = os.path.join(ROOT, "tests/bench/evidence/peer.py")
QUIET = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_NUM_THREADS": "1"}

# Where the search of each peer starts: rates, and the perturbations tried at the best of them.
STARTS = {
    "shakespeare": {"mezo": ([3e-5, 1e-4], [1e-3, 3e-4, 3e-3]), "fzoo": ([3e-7, 1e-6], [1e-3, 3e-3]),
                    "mezo-bf16": ([3e-5, 1e-4], [1e-3, 3e-3, 1e-2]), "adam": ([1e-3, 3e-3], [None])},
    "task": {"mezo": ([1e-7, 3e-7, 1e-6], [1e-3]), "fzoo": ([1e-7, 3e-7], [1e-3]),
             "mezo-bf16": ([1e-7, 3e-7, 1e-6], [1e-3]), "adam": ([3e-6, 1e-5], [None])}}
NAMES = {"ballot": "ballot, int8", "mezo": "MeZO, float32", "mezo-bf16": "MeZO, bfloat16",
         "mezo-f16": "MeZO, float16", "fzoo": "FZOO, float32", "adam": "Adam, backpropagation"}
COLOURS = {"ballot": "#D55E00", "mezo": "#0072B2", "mezo-bf16": "#56B4E9", "mezo-f16": "#999999",
           "fzoo": "#009E73", "adam": "#CC79A7"}

# ballot's settings, the same for all seeds; those of Shakespeare are from docs/method.md.
LENGTHS = ((1, 64), (1 / 2, 32), (3 / 8, 32), (1 / 4, 32))  # shares of the passes, and slots
WAYS = ["vote.probe=one-sided", "vote.bits=8"]
BALLOT = {"shakespeare": ("jobs/shakespeare.ini", ["data.batch=1", "rule.schedule=constant",
                                                   "rule.travel=3", *WAYS]),
          "task": ("jobs/sst2.ini", ["run.patience=0", *WAYS])}


def kind_of(task):
    return "shakespeare" if task == "shakespeare" else "task"


# ---- runs ----

def call(words, **more):
    """What a program printed, and the CPU seconds that it took."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE,
                                   stderr=errors, text=True, cwd=ROOT,
                                   env={**os.environ, **QUIET, **more})
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        errors.seek(0)
        if process.returncode != 0:
            raise report.Failure(1, errors.read().strip()[-400:] or f"{words[0]}: failed")
    return out, usage.ru_utime + usage.ru_stime


class Runs:
    """The runs of a comparison, each kept in a file."""

    def __init__(self, options):
        self.options, self.kind = options, kind_of(options.task)
        self.folder = os.path.join(options.out, "cells")
        os.makedirs(self.folder, exist_ok=True)

    def kept(self, name, make):
        path = os.path.join(self.folder, name + ".json")
        if not os.path.exists(path):
            made = make()
            with open(path + ".new", "w", encoding="utf-8") as file:
                json.dump(made, file, indent=1)
            os.replace(path + ".new", path)
            last = made["points"][-1]["loss"] if "points" in made else None
            print(f"{name}: {'no number' if last is None else f'{last:.4f}'}", file=sys.stderr)
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def peer(self, method, rate, eps, passes, seed):
        words = [self.options.python, "-B", PEER, self.options.task, method, "--rate", rate,
                 "--passes", passes, "--seed", seed, "--cache", self.options.out,
                 *(["--eps", eps] if eps else []),
                 *(["--shares", "1"] if self.options.quick else [])]
        more = {} if self.kind == "shakespeare" else {"BALLOT": self.options.ballot}
        name = f"{method}-{rate:.2g}-{eps or 0:.2g}-{passes}-{seed}"
        return self.kept(name, lambda: json.loads(call(words, **more)[0]))

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
            short, long = (1, 3) if self.options.quick else (10, 60)
            found, slots = [], LENGTHS[0][1]
            for _ in range(1 if self.options.quick else 3):
                taken = [self.train("timing", slots, n, 1, "run.eval_every=0", "data.dev_examples=1")[1]
                         for n in (short, long)]
                found.append((taken[1] - taken[0]) / (slots * (long - short)))
            shutil.rmtree(os.path.join(self.folder, "timing"))
            return {"seconds_per_pass": statistics.median(found), "found": found}
        return self.kept("ballot-timing", make)["seconds_per_pass"]

    def ballot(self, passes, slots, seed):
        steps, per_pass = max(1, passes // slots), self.seconds_per_pass()

        def make():
            folder, _ = self.train(f"ballot-{seed}", slots, steps, seed,
                                   f"run.eval_every={max(1, steps // 20)}")
            points = ballot_points(os.path.join(folder, "metrics.jsonl"))
            shutil.rmtree(folder)
            for point in points:
                point["seconds"] = per_pass * point["passes"]
            return {"method": "ballot", "slots": slots, "seed": seed, "points": points, "diverged": False,
                    "version": call([self.options.ballot, "--version"])[0].strip()}
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


# ---- search ----

def final(run):
    loss = run["points"][-1]["loss"]
    return math.inf if run["diverged"] or loss is None else loss


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


def tuned(runs, method, options):
    """{"grid", "runs"} of a peer: the search with a quarter of the passes, the two best with all, and
    the best of these with every seed."""
    rates, perturbations = STARTS[runs.kind][method]
    if options.quick:
        rate, eps = rates[0], perturbations[0]
        return {"grid": [], "runs": [runs.peer(method, rate, eps, options.passes, 1)]}
    short = options.passes // 4
    grid = search(lambda rate, eps: final(runs.peer(method, rate, eps, short, 1)), rates,
                  perturbations, method == "fzoo")
    whole = {setting: runs.peer(method, *setting, options.passes, 1) for setting, _ in grid[:2]}
    best = min(whole, key=lambda setting: final(whole[setting]))
    return {"grid": [{"rate": rate, "eps": eps, "passes": short, "loss": finite(loss)}
                     for (rate, eps), loss in grid] +
            [{"rate": rate, "eps": eps, "passes": options.passes, "loss": finite(final(run))}
             for (rate, eps), run in whole.items()],
            "runs": [runs.peer(method, *best, options.passes, seed)
                     for seed in range(1, options.seeds + 1)]}


def finite(loss):
    return loss if math.isfinite(loss) else None


def measure(options):
    """{method: {"grid", "runs"}}; of ballot also "shorter", the runs of each length."""
    runs = Runs(options)
    whole, *shorter = [[runs.ballot(int(share * options.passes), slots, seed)
                        for seed in range(1, options.seeds + 1)]
                       for share, slots in LENGTHS[:1 if options.quick else None]]
    own = {"grid": [], "runs": whole, "shorter": shorter}
    peers = [method for method in options.methods if method != "ballot"]
    with concurrent.futures.ThreadPoolExecutor(options.cores) as pool:
        made = dict(zip(peers, pool.map(lambda method: tuned(runs, method, options), peers)))
    return {"ballot": own, **made}


# ---- what it says ----

def cost(point):
    return point["passes"] + point["backward"]


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
    return {"points": [{key: statistics.mean(point[key] for point in points)
                        for key in ("passes", "backward", "seconds", "loss")}
                       for points in zip(*curves)]}


def soonest(made, loss, key):
    """When the mean over the seeds is there; of several lengths of a run the first."""
    found = [reached(mean_of(runs), loss, key)
             for runs in (made["runs"], *made.get("shorter", []))]
    return min((at for at in found if at is not None), default=None)


def summary(measured):
    """{method: what the table says of it}"""
    found = {}
    for method, made in measured.items():
        runs, losses = made["runs"], [final(run) for run in made["runs"]]
        last = runs[0]["points"][-1]
        found[method] = {
            "loss": finite(statistics.mean(losses)), "spread": finite(max(losses) - min(losses))
            if all(map(math.isfinite, losses)) else None,
            "seeds": len(runs), "rate": runs[0].get("rate"), "eps": runs[0].get("eps"),
            "passes": last["passes"], "backward": last["backward"],
            "seconds": statistics.mean(run["points"][-1]["seconds"] for run in runs)}
        if "accuracy" in last:
            found[method]["accuracy"] = statistics.mean(
                run["points"][-1]["accuracy"] for run in runs)
    for name in ("mezo", "fzoo"):
        if found.get(name, {}).get("loss") is None:
            continue
        for method, made in measured.items():
            for what, key in (("passes", cost), ("seconds", lambda p: p["seconds"])):
                found[method][f"{what}_to_{name}"] = soonest(made, found[name]["loss"], key)
    return found


def number(value, form="{:,.0f}"):
    return "" if value is None else form.format(value)


def table(found):
    """Markdown."""
    head = ["method", "rate", "eps", "forward", "backward x 2", "loss", "spread", "CPU seconds",
            "passes to MeZO's loss", "seconds", "passes to FZOO's loss", "seconds"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for method, row in found.items():
        cells = [NAMES[method], number(row["rate"], "{:.2g}"), number(row["eps"], "{:.2g}"),
                 number(row["passes"]), number(row["backward"]), number(row["loss"], "{:.4f}"),
                 number(row["spread"], "{:.4f}"), number(row["seconds"], "{:.1f}")]
        for name in ("mezo", "fzoo"):
            cells += [number(row.get(f"passes_to_{name}")),
                      number(row.get(f"seconds_to_{name}"), "{:.2f}")]
        if "accuracy" in row:
            cells[5] += f", {100 * row['accuracy']:.1f} %"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ratios(found):
    """Sentences: what ballot needs to the loss that others end with."""
    lines = []
    for name in ("mezo", "fzoo"):
        theirs, ours = found.get(name), found["ballot"]
        if theirs is None or not ours.get(f"passes_to_{name}"):
            continue
        passes = (theirs["passes"] + theirs["backward"]) / ours[f"passes_to_{name}"]
        seconds = theirs["seconds"] / ours[f"seconds_to_{name}"]
        lines.append(f"ballot reaches the last loss of {NAMES[name]} ({theirs['loss']:.4f}) with "
                     f"1/{passes:.1f} of the passes and 1/{seconds:.0f} of the seconds.")
    return lines


def lengths(measured):
    """Markdown: where ballot's runs end that are told to be shorter."""
    lines = ["| ballot, passes in all | slots | loss, mean | CPU seconds |",
             "| ---: | ---: | ---: | ---: |"]
    for runs in (measured["ballot"]["runs"], *measured["ballot"]["shorter"]):
        last = runs[0]["points"][-1]
        lines.append(f"| {last['passes']:,} | {runs[0]['slots']} | "
                     f"{statistics.mean(map(final, runs)):.4f} | {last['seconds']:.1f} |")
    return "\n".join(lines)


def grids(measured):
    """Markdown: every setting that was tried, by its loss."""
    lines = ["| method | rate | eps | passes | loss, seed 1 |", "| --- | ---: | ---: | ---: | ---: |"]
    for method, made in measured.items():
        for row in made["grid"]:
            lines.append(f"| {NAMES[method]} | {row['rate']:.2g} | {number(row['eps'], '{:.2g}')} | "
                         f"{row['passes']:,} | {number(row['loss'], '{:.4f}') or 'diverged'} |")
    return "\n".join(lines)


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
                             (both[1], lambda p: p["seconds"], "CPU seconds of one core")):
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
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)),
                        help="runs of peers at a time")
    parser.add_argument("--methods", nargs="+", choices=sorted(NAMES),
                        default=["ballot", "mezo", "mezo-bf16", "fzoo", "adam"])
    parser.add_argument("--quick", action="store_true", help="no search, one seed, few passes: "
                        "whether it works, not who is better")
    options = parser.parse_args()
    for name in ("out", "ballot"):
        setattr(options, name, os.path.abspath(getattr(options, name)))
    if options.task != "shakespeare":
        options.task = os.path.abspath(options.task)
    if options.quick:
        options.passes, options.seeds = 3 * LENGTHS[0][1], 1
    try:
        measured = measure(options)
        found = summary(measured)
        with open(os.path.join(options.out, "table.json"), "w", encoding="utf-8") as file:
            json.dump({"task": options.task, "summary": found, "methods": measured}, file, indent=1)
        text = "\n\n".join([table(found), *ratios(found), lengths(measured), grids(measured)])
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
