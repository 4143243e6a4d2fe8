#!/usr/bin/python3
"""Predict a step of ballot on 1 to 65,536 ranks from what one machine measured.

Reads records of `ballot bench --json` and of `ballot bench --shape NAME --json`, prints a table for
weak scaling (slots grow with the ranks) and for strong scaling (slots fixed), and draws OUT.png:
probes per second and the seconds of a step over the ranks, measured points on the model's lines.

P ranks on nodes of R, N slots, M tokens per probe, d codes; seconds of a step are the sum of
  probe      2 d (M a + c) ceil(N/P)       a: a pass, per code and token; c: moving a code
  imbalance  cv probe E(P)                 E: mean of the largest of P standard normal numbers
             or cv probe E(P/R) / sqrt(R) + p, if less: where a node's ranks deal slots among
             themselves, the node is late by its mean, and at most by a probe p
  ballot     h log2(R) + H log2(P/R) + B/b h, H: a hop in a node, between nodes; B: bytes of votes
  journal    one record, written and synced
  update     u d / R                       u: one code by a set of votes; a node shares a copy
             w d ceil(N/65536) / R         with more than 256 slots, w: by a wide set
Logarithms are rounded up, and R is at most P. a and c come from the step record (attention and all
else included), without one a from the products; u, w and h from the bench record. Not in the model:
evaluations, checkpoints, and a node's memory bandwidth, which u meets when many ranks update.

With --check JOB.ini there are no records. The job runs here, on one rank and on more. What one rank
takes for a probe, an update and a journal record, and how much its probes vary, are the constants;
the table has what the model makes of them for more ranks, beside what was measured.
"""
import argparse
import configparser
import functools
import importlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile

from report import GREY, INK, PHASES, Failure

MAX_SLOTS = 1 << 20   # of [vote] slots
MAX_RANKS = 1 << 24
SET, WIDE_SET = 256, 65536  # slots of a Walsh set, and of a wide one: one look-up per code
WIDE = 2.5            # a wide update against a narrow one, where no bench record says it
TERMS = {"probe": "probe", "imbalance": "wait", "ballot": "vote", "journal": "journal",
         "update": "update"}  # and the phase of report.py whose colour each has


class Machine:
    """Constants of the model, in seconds, bytes and ranks.

    per_token, per_code   of a pass: for each code and token, and for each code
    update, wide          one code by one set of votes, and by a wide set, on one core
    hop_node, hop_net     one hop of a reduction within a node, between nodes
    byte                  one byte between nodes
    fsync                 one journal record
    cv                    coefficient of variation of a rank's probe time in a step
    ranks_per_node
    """


# ---- reading ----

def read(paths):
    """(bench, steps): the bench record, {} where there is none, and the --shape records."""
    bench, steps = {}, []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
        except OSError as error:
            raise Failure(3, f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError):
            raise Failure(3, f"{path}: is not JSON; expected the output of ballot bench "
                             f"--json") from None
        if not isinstance(record, dict) or not ("shape" in record or "products" in record):
            raise Failure(3, f"{path}: is no record of ballot bench --json: it has neither "
                             f"products nor a shape")
        if "shape" in record:
            steps.append(record)
        else:
            bench = record
    return bench, sorted(steps, key=lambda step: get(step, "ranks", 1))


def get(record, path, default=None):
    """A positive number at a.b of a record; the default, if there is one, where it is missing."""
    value = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if value is None and default is not None:
        return default
    if value is None:
        what = "step record (--shape)" if "shape" in record else "bench record"
        raise Failure(3, f"the {what} has no {path}: make it anew with ballot bench --json")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e300:
        raise Failure(3, f"{path} is {str(value)[:40]!r}, expected a number above 0")
    return value


def machine_of(bench, steps, options):
    """The machine's constants, from the records and, for what they lack, from the options."""
    m = Machine()
    m.cv, m.fsync, m.ranks_per_node = options.cv, 1e-3 * options.fsync_ms, options.ranks_per_node
    m.hop_net, m.byte = 1e-6 * options.hop_us, 1e-9 / options.bandwidth_gb
    measured_on = get(bench, "ballot.ranks", 1)
    if options.node_hop_us is not None:
        m.hop_node = 1e-6 * options.node_hop_us
    elif measured_on >= 2:
        m.hop_node = get(bench, "ballot.seconds_per_allreduce") / hops(measured_on)
    else:
        m.hop_node = 0.5e-6

    clock = 1e9 * (options.ghz or get(bench, "clock_ghz", 0.0) or 3.7)
    m.per_code = options.move_cycles / clock
    if steps:
        step = steps[0]
        seconds, codes = get(step, "seconds_per_probe"), get(step, "codes")
        if step.get("share_moves"):
            m.per_code = get(step, "share_moves") * seconds / (2 * codes)
        m.per_token = (seconds / (2 * codes) - m.per_code) / get(step, "tokens")
        if m.per_token <= 0:
            raise Failure(3, f"the step record's probe of {seconds:g} s is shorter than moving its "
                             f"{codes:,} codes: lower --move-cycles")
    else:
        speeds = [(get(p, "n") * get(p, "k"), get(p, "m"), get(p, "gops"))
                  for p in bench.get("products", []) if p.get("format") == "i8"]
        if not speeds:
            raise Failure(3, "there is neither a step record nor an i8 product: give the output of "
                             "ballot bench --shape opt-125m --json too")
        nearest = min(speeds, key=lambda p: (abs(math.log(p[1] / options.tokens)), -p[0]))
        m.per_token = 2e-9 / nearest[2]  # two operations per code and token
    if "update" in bench:
        m.update = 1e-9 * get(bench, "update.ns_per_code")
    elif steps:
        on_node = min(get(steps[0], "ranks", 1), m.ranks_per_node)
        m.update = get(steps[0], "update_seconds") * on_node / get(steps[0], "codes")
    else:
        get(bench, "update.ns_per_code")
    m.wide = 1e-9 * get(bench, "update.ns_per_code_wide", 1e9 * WIDE * m.update)
    return m


# ---- the model ----

def hops(n):
    """Rounds of a reduction over n: log2, rounded up."""
    return (n - 1).bit_length()


@functools.lru_cache(maxsize=None)
def expected_max(n):
    """Mean of the largest of n standard normal numbers: the integral of 1 - F^n above 0 less that
    of F^n below, by the trapezoid rule, whose error is far below 1e-6 here."""
    if n == 1:
        return 0.0
    width, total = 1 / 64, 0.0
    for i in range(-640, 641):
        x = i * width
        below = math.exp(n * math.log1p(-0.5 * math.erfc(x / math.sqrt(2)))) if x > -8 else 0.0
        total += ((1 - below) if x > 0 else -below if x < 0 else 0.5 - below) * width
    return total


def ballot_bytes(slots):
    """Of votes of 8 bits: eight bit maps in whole words, and 88 bytes of sums."""
    return 64 * -(-slots // 64) + 88


def update_of(narrow, wide, slots):
    """Seconds of an update by that many votes, from those by one set."""
    return narrow if slots <= SET else wide * -(-slots // WIDE_SET)


def predict(m, codes, tokens, ranks, slots):
    """Seconds of a step's parts: {term: seconds}."""
    on_node = min(ranks, m.ranks_per_node)
    nodes = -(-ranks // on_node)
    one = 2 * codes * (tokens * m.per_token + m.per_code)
    probe = one * -(-slots // ranks)
    dealt = m.cv * probe * expected_max(nodes) / math.sqrt(on_node) + one
    return {"probe": probe,
            "imbalance": min(m.cv * probe * expected_max(min(ranks, slots)), dealt),
            "ballot": hops(on_node) * m.hop_node + hops(nodes) * m.hop_net +
                      (ballot_bytes(slots) * m.byte if nodes > 1 else 0.0),
            "journal": m.fsync,
            "update": update_of(m.update, m.wide, slots) * codes / on_node}


def ranking(terms):
    """Names of the terms, the longest first."""
    return sorted(terms, key=lambda term: -terms[term])


def scale(m, codes, tokens, ranks, slots_of):
    """One row for each number of ranks: {"ranks", "slots", "terms", "step", "rate", "efficiency"}.
    slots_of(P) says how many slots a step on P ranks has; efficiency is relative to one rank."""
    def step_of(p):
        terms = predict(m, codes, tokens, p, slots_of(p))
        return terms, sum(terms.values())

    alone = slots_of(1) / step_of(1)[1]
    rows = []
    for p in ranks:
        terms, step = step_of(p)
        rate = slots_of(p) / step
        rows.append({"ranks": p, "slots": slots_of(p), "terms": terms, "step": step, "rate": rate,
                     "efficiency": rate / (p * alone)})
    return rows


# ---- words ----

def seconds_text(seconds):
    if seconds == 0:
        return "0"
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:,.0f} s"
    return f"{1e6 * seconds:.3g} us"


def table(rows):
    head = ["ranks", "slots", *TERMS, "step", "probes/s", "efficiency", "longest", "then"]
    lines = [head]
    for row in rows:
        first, second = ranking(row["terms"])[:2]
        lines.append([f"{row['ranks']:,}", f"{row['slots']:,}",
                      *(seconds_text(row["terms"][term]) for term in TERMS),
                      seconds_text(row["step"]), f"{row['rate']:,.4g}" if row["rate"] < 1e4 else
                      f"{row['rate']:,.0f}", f"{100 * row['efficiency']:.1f} %",
                      *(f"{term} {100 * row['terms'][term] / row['step']:.1f} %"
                        for term in (first, second))])
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths))
                     for line in lines)


# ---- measured points ----

def read_runs(path):
    """A list of measured runs: objects with ranks, slots, probes_per_second, update_seconds."""
    what = "a list of objects with ranks, slots, probes_per_second and update_seconds"
    try:
        with open(path, encoding="utf-8") as file:
            runs = json.load(file)
    except OSError as error:
        raise Failure(3, f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise Failure(3, f"{path}: is not JSON; expected {what}") from None
    keys = ("ranks", "slots", "probes_per_second", "update_seconds")
    if not isinstance(runs, list) or not all(
            isinstance(run, dict) and all(key in run for key in keys) for run in runs):
        raise Failure(3, f"{path}: expected {what}")
    return [{key: get(run, key) for key in keys} for run in runs]


def points(m, steps, runs, slots_of):
    """[{"ranks", "rate", "update", "whole"}]: runs of whole steps; and of step records what their
    measured probes and updates add up to for that many slots, with the model's journal."""
    found = [{"ranks": run["ranks"], "rate": run["probes_per_second"],
              "update": run["update_seconds"], "whole": True}
             for run in runs if run["slots"] == slots_of(run["ranks"])]
    for step in steps:
        ranks = get(step, "ranks", 1)
        slots = slots_of(ranks)
        narrow = get(step, "update_seconds")
        update = update_of(narrow, narrow * m.wide / m.update, slots)
        whole = (get(step, "seconds_per_probe") * -(-slots // ranks) + update + m.fsync +
                 step.get("ballot_seconds", 0.0))
        found.append({"ranks": ranks, "rate": slots / whole, "update": update, "whole": False})
    return found


# ---- runs to check the model by ----

class Measured:
    """Steps of a run: codes, slots; seconds of its phases, a list for each, of rank 0."""

    def __init__(self, folder):
        with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        steps = [line["seconds"] for line in lines if "loss_nats" in line][2:]  # the first warm up
        self.phases = {phase: [step[phase] for step in steps] for phase in PHASES}
        self.codes = sum(lines[0]["tensors"].values())
        job = configparser.ConfigParser(interpolation=None)
        job.read(os.path.join(folder, "job.ini"), encoding="utf-8")
        self.slots = job.getint("vote", "slots")

    def terms(self):
        """As the model has them: medians; of the wait for the last rank, which varies as it does
        because probes vary, the mean. It includes the exchange of the ballot."""
        found = {phase: statistics.median(self.phases[phase])
                 for phase in ("probe", "journal", "update")}
        return {**found, "wait": statistics.fmean(self.phases["wait"])}


def measure(options, ranks, folder):
    """Run the job on so many ranks."""
    settings = {"run.steps": options.steps + 2, "run.eval_every": 0, "run.checkpoint_every": 0}
    command = ["mpirun", "--oversubscribe", "-n", str(ranks), options.ballot, "train",
               options.check, "--run", folder,
               *(word for key in settings for word in ("-s", f"{key}={settings[key]}"))]
    environment = dict(os.environ)
    if os.geteuid() == 0:  # Open MPI asks root twice
        environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure(1, f"mpirun cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        raise Failure(3, f"{options.check} on {ranks} rank{'s' * (ranks > 1)} ended with code {done.returncode}: "
                         f"{done.stderr.strip()[-400:]}")
    return Measured(folder)


def machine_of_run(run, options):
    """The machine's constants by a run on one rank: a probe counts as one token."""
    m, terms = Machine(), run.terms()
    m.per_token, m.per_code = terms["probe"] / run.slots / (2 * run.codes), 0.0
    m.update = m.wide = terms["update"] / run.codes / (
        1 if run.slots <= SET else -(-run.slots // WIDE_SET))
    m.fsync, m.ranks_per_node = terms["journal"], options.ranks_per_node
    m.hop_node, m.hop_net = 1e-6 * (options.node_hop_us or 0.5), 1e-6 * options.hop_us
    m.byte = 1e-9 / options.bandwidth_gb
    m.cv = statistics.pstdev(run.phases["probe"]) / statistics.fmean(run.phases["probe"])
    return m


def compared(m, run, ranks):
    """[(term, seconds by the model, seconds measured)] of a run, and of all of them together."""
    model, found = predict(m, run.codes, 1, ranks, run.slots), run.terms()
    rows = [("probe", model["probe"], found["probe"]),
            ("wait", model["imbalance"] + model["ballot"], found["wait"]),
            ("journal", model["journal"], found["journal"]),
            ("update", model["update"], found["update"])]
    return [*rows, ("step", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def check(options):
    """Run the job on one rank and on more, and print the comparison."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {p: measure(options, p, os.path.join(folder, f"run-{p}"))
                for p in sorted({1, *options.ranks})}
    m = machine_of_run(runs[1], options)
    print(f"{options.check}: {runs[1].codes / 1e6:,.2f} M codes, {runs[1].slots:,} slots, "
          f"{options.steps} steps; on one rank a probe takes "
          f"{seconds_text(runs[1].terms()['probe'] / runs[1].slots)}, and those of a step vary by "
          f"{100 * m.cv:.1f} %")
    lines = [("ranks", "", "model", "measured", "measured / model")]
    for p, run in runs.items():
        for term, model, found in compared(m, run, p):
            lines.append((f"{p:,}", term, seconds_text(model), seconds_text(found),
                          f"{found / model:.3f}" if model > 0 else ""))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))


# ---- drawing ----

def draw(title, panels):
    """A figure with a column for each (name, rows, points) of panels. Artists that show data carry
    a gid: rate, ideal, the terms, longest, points."""
    try:
        plt, figure_of = (importlib.import_module("matplotlib"),
                          importlib.import_module("matplotlib.figure"))
        ticker = importlib.import_module("matplotlib.ticker")
    except ImportError:
        raise Failure(1, "scale.py needs the Python module matplotlib: install the Debian package "
                         "python3-matplotlib and use /usr/bin/python3, or give --no-plot") from None
    plt.rcParams.update({
        "font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": "#999999",
        "axes.labelcolor": INK, "text.color": INK, "xtick.color": GREY, "ytick.color": GREY,
        "axes.spines.right": False, "axes.spines.top": False, "axes.titlesize": 10,
        "axes.titleweight": "bold", "axes.titlelocation": "left", "legend.frameon": False,
        "legend.fontsize": 8.5, "text.parse_math": False})
    figure = figure_of.Figure(figsize=(11.2, 7.6), facecolor="white")
    grid = figure.add_gridspec(3, len(panels), left=0.085, right=0.81, top=0.86, bottom=0.07,
                               height_ratios=[3, 3.7, 0.36], hspace=0.13, wspace=0.2)
    figure.text(0.085, 0.955, "A step on many ranks", fontsize=13, fontweight="bold")
    figure.text(0.085, 0.925, title, color=GREY)
    rates, times = [], []
    for column, (name, rows, found) in enumerate(panels):
        ranks = [row["ranks"] for row in rows]
        rate = figure.add_subplot(grid[0, column], sharey=rates[0] if rates else None)
        time = figure.add_subplot(grid[1, column], sharex=rate,
                                  sharey=times[0] if times else None)
        strip = figure.add_subplot(grid[2, column], sharex=rate)
        rates.append(rate)
        times.append(time)

        rate.set_title(name)
        rate.plot(ranks, [row["rate"] / row["efficiency"] for row in rows], color=GREY, lw=1,
                  ls=(0, (4, 3)), gid="ideal", label="ideal")
        rate.plot(ranks, [row["rate"] for row in rows], color=INK, lw=1.8, gid="rate",
                  label="model")
        rate.text(0.99, 0.05, f"{100 * rows[-1]['efficiency']:.0f} % of ideal on {ranks[-1]:,}",
                  transform=rate.transAxes, ha="right", fontsize=8.5)
        for term, phase in TERMS.items():
            seconds = [row["terms"][term] or math.nan for row in rows]
            time.plot(ranks, seconds, color=PHASES[phase], lw=1.8, gid=term, label=term)
        time.plot(ranks, [row["step"] for row in rows], color=INK, lw=1, ls=(0, (1, 1.5)),
                  gid="step", label="whole step")
        for whole, marker, words in ((False, "o", "measured parts"), (True, "D", "measured steps")):
            chosen = [p for p in found if p["whole"] == whole]
            if chosen:
                style = dict(ls="", marker=marker, ms=5.5, mfc="white", mew=1.4, zorder=5)
                at = [p["ranks"] for p in chosen]
                rate.plot(at, [p["rate"] for p in chosen], mec=INK, gid="points", label=words,
                          **style)
                time.plot(at, [p["update"] for p in chosen], mec=PHASES["update"], gid="points",
                          label=f"update in {words}", **style)

        # What a step spends most on, and next most, as bands under the lines.
        for y in (0, 1):
            for i, row in enumerate(rows):
                left = math.sqrt(ranks[i - 1] * ranks[i]) if i else ranks[0] / math.sqrt(2)
                right = (math.sqrt(ranks[i] * ranks[i + 1]) if i + 1 < len(ranks)
                         else ranks[-1] * math.sqrt(2))
                strip.barh(1 - y, right - left, left=left, height=0.84, lw=0,
                           color=PHASES[TERMS[ranking(row["terms"])[y]]], gid="longest")
        strip.set_ylim(-0.5, 1.5)
        strip.set_yticks([1, 0], ["longest", "then"])
        strip.tick_params(axis="y", length=0)
        strip.spines[:].set_visible(False)
        for ax in (rate, time):
            ax.set_yscale("log")
            ax.grid(which="major", color="#e6e6e6", lw=0.7)
            ax.tick_params(labelbottom=False)
            ax.tick_params(which="minor", length=0)
        rate.set_xscale("log", base=2)
        rate.set_xlim(ranks[0] / 1.42, ranks[-1] * 1.42)
        powers = [p for p in (4**i for i in range(13)) if ranks[0] <= p <= ranks[-1]]
        strip.xaxis.set_major_locator(ticker.FixedLocator(powers))
        strip.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,.0f}"))
        strip.xaxis.set_minor_locator(ticker.NullLocator())
        strip.tick_params(axis="x", labelsize=8)
        strip.set_xlabel("ranks")
        rate.yaxis.set_major_formatter(ticker.FuncFormatter(
            lambda v, _: f"{v:,.0f}" if v >= 1 else f"{v:g}"))
        time.yaxis.set_major_formatter(ticker.FuncFormatter(
            lambda v, _: seconds_text(v).replace("us", "µs")))
    rates[0].set_ylabel("probes per second")
    times[0].set_ylabel("time of a step and of its parts")
    for ax in (rates[0], times[0]):
        ax.yaxis.set_label_coords(-0.16, 0.5)
    for row in (rates, times):  # beside the last column, what any column shows
        shown = {}
        for ax in row:
            shown.update((words, line) for line, words in zip(*ax.get_legend_handles_labels()))
        row[-1].legend(shown.values(), shown, loc="upper left", bbox_to_anchor=(1.02, 1.02),
                       borderaxespad=0, handlelength=1.8)
    return figure


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 done, 1 module missing or writing failed, 2 usage, 3 bad input.")

    def above(low, high=math.inf, kind=float):
        def convert(text):
            value = kind(text)
            if not low < value <= high:
                raise argparse.ArgumentTypeError(f"{text} is not above {low:g}" + (
                    f" and up to {high:g}" if high < math.inf else ""))
            return value
        convert.__name__ = "number" if kind is float else "whole number"
        return convert

    def count(high=math.inf):
        return above(0, high, int)

    def option(name, convert, default, words):
        shown = "" if default is None else f" (default: {default:g})"
        parser.add_argument(name, type=convert, default=default, metavar="X", help=words + shown)

    parser.add_argument("records", metavar="FILE", nargs="*",
                        help="output of ballot bench --json, and of ballot bench --shape --json on "
                             "one rank and on more")
    option("--codes", lambda text: count()(str(int(float(text)))), None,
           "codes on the ballot, as 7e9 (default: those of the step record)")
    option("--tokens", count(), None,
           "tokens per probe (default: those of the step record, or 512)")
    option("--slots", count(MAX_SLOTS), 16384, "slots of a step, strong scaling")
    option("--slots-per-rank", count(MAX_SLOTS), 4, "slots of a step for each rank, weak scaling")
    option("--ranks-per-node", count(), 64, "ranks that share one copy of the model")
    parser.add_argument("--ranks", type=count(MAX_RANKS), nargs="+", metavar="P",
                        help="default: 1, 2, 4, ... 65536; with --check: 1 2")
    parser.add_argument("--check", metavar="JOB.ini",
                        help="run this job here, and compare the model with what is measured")
    option("--steps", count(), 60, "steps of each run, with --check")
    parser.add_argument("--ballot", metavar="PROGRAM", default="build/release/ballot",
                        help="the program to run, with --check (default: build/release/ballot)")
    option("--hop-us", above(0), 2.0, "microseconds of one hop of a reduction between nodes")
    option("--node-hop-us", above(0), None,
           "the same within a node (default: as measured on 2 or more ranks, or 0.5)")
    option("--bandwidth-gb", above(0), 12.5, "network bandwidth of a node, 1e9 bytes per second")
    option("--fsync-ms", above(0), 0.2, "milliseconds to write and sync a journal record")
    option("--cv", above(-1e-9, 10), 0.03,
           "standard deviation of a rank's probe time in a step, as a share of its mean")
    option("--ghz", above(0), None, "clock (default: as measured, or 3.7)")
    option("--move-cycles", above(-1e-9), 0.15, "cycles to move and pack a code, where the step "
           "record does not say")
    parser.add_argument("--measured", metavar="FILE",
                        help="JSON list of measured runs to draw: objects with ranks, slots, "
                             "probes_per_second, update_seconds")
    parser.add_argument("-o", metavar="OUT", dest="out", default="scale",
                        help="write OUT.png (default: scale)")
    parser.add_argument("--no-plot", action="store_true", help="the tables alone")
    options = parser.parse_args()
    if bool(options.records) == bool(options.check):
        parser.error("give records of ballot bench, or --check JOB.ini")
    options.ranks = options.ranks or ([1, 2] if options.check else [1 << i for i in range(17)])
    try:
        if options.check:
            check(options)
            return 0
        bench, steps = read(options.records)
        codes = options.codes or (get(steps[0], "codes") if steps else None)
        if codes is None:
            raise Failure(2, "how many codes? give --codes, or the output of ballot bench --shape")
        options.tokens = options.tokens or (get(steps[0], "tokens") if steps else 512)
        m = machine_of(bench, steps, options)
        runs = read_runs(options.measured) if options.measured else []
        ranks = sorted(set(options.ranks))
        if ranks[-1] * options.slots_per_rank > MAX_SLOTS:
            raise Failure(2, f"{ranks[-1]:,} ranks with {options.slots_per_rank:,} slots each make "
                             f"more than {MAX_SLOTS:,} slots: lower --slots-per-rank or --ranks")
        laws = [(f"Weak scaling: {options.slots_per_rank:,} slots per rank",
                 lambda p: p * options.slots_per_rank),
                (f"Strong scaling: {options.slots:,} slots", lambda p: options.slots)]
        for run in runs:
            if all(run["slots"] != slots_of(run["ranks"]) for _, slots_of in laws):
                raise Failure(3, f"{options.measured}: a run on {run['ranks']} ranks has "
                                 f"{run['slots']} slots, expected --slots ({options.slots}) or "
                                 f"--slots-per-rank times ranks")
        same = [s for s in steps
                if (get(s, "codes"), get(s, "tokens")) == (codes, options.tokens)]
        title = (f"{codes / 1e6:,.1f} M codes, {options.tokens:,} tokens per probe, "
                 f"{m.ranks_per_node} ranks per node; a rank's probe time varies by "
                 f"{100 * m.cv:g} %")
        panels = []
        print(title)
        print(f"pass {1e12 * m.per_token:.3g} ps per code and token + {1e12 * m.per_code:.3g} ps "
              f"per code, update {1e12 * m.update:.3g} ps per code and {SET} votes, "
              f"{1e12 * m.wide:.3g} ps per code and {WIDE_SET:,}, hops "
              f"{seconds_text(m.hop_node)} in a node and {seconds_text(m.hop_net)} between nodes, "
              f"journal {seconds_text(m.fsync)}")
        for name, slots_of in laws:
            rows = scale(m, codes, options.tokens, ranks, slots_of)
            print(f"\n{name}\n{table(rows)}")
            panels.append((name, rows, points(m, same, runs, slots_of)))
        if not options.no_plot:
            out = re.sub(r"\.png$", "", options.out) + ".png"
            figure = draw(title, panels)
            try:
                figure.savefig(out, dpi=160, metadata={"Software": None})
            except OSError as error:
                raise Failure(1, f"{out}: cannot be written: {error.strerror or error}") from None
            print(f"\n{os.path.normpath(out)}")
    except Failure as failure:
        print(f"scale.py: {failure}", file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
