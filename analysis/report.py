#!/usr/bin/python3
"""Draw the record of a ballot run: loss, vote agreement, codes changed, seconds per phase.

Reads a run directory, a checkpoint (.h5) or a metrics.jsonl, also of a run that is still going on.
Writes OUT.png and OUT.svg. As a module: draw(read(path)) returns a matplotlib figure.
"""
import argparse
import configparser
import importlib
import json
import math
import os
import re
import sys

MAX_COLUMNS = 200  # of the heat map and of the phases: steps are averaged into at most so many
MAX_BANDS = 24     # rows of one kind of tensor: layers are averaged into at most so many
MAX_KINDS = 40     # kinds of tensor with a line of their own
DEBIAN = {"numpy": "python3-numpy", "h5py": "python3-h5py", "matplotlib": "python3-matplotlib"}

# Tensors from top to bottom: part of the name, words. A gain has the words of its matrix.
KINDS = [("embed_tokens", "embedding"), ("self_attn.q_proj", "attention q"),
         ("self_attn.k_proj", "attention k"), ("self_attn.v_proj", "attention v"),
         ("self_attn.o_proj", "attention out"), ("mlp.gate_proj", "FFN gate"),
         ("mlp.up_proj", "FFN up"), ("mlp.down_proj", "FFN down"), ("lm_head", "head"),
         ("input_layernorm", "attention norm"), ("post_attention_layernorm", "FFN norm"),
         ("model.norm", "final norm")]
SECTIONS = ["matrices", "vectors", "row gains", ""]
# Okabe and Ito's palette, which colour-blind people can tell apart; wait and eval are not work.
PHASES = {"probe": "#0072B2", "vote": "#E69F00", "update": "#009E73", "journal": "#CC79A7",
          "checkpoint": "#D55E00", "wait": "#999999", "eval": "#56B4E9"}
BLUE, RED, INK, GREY, PALE = "#0072B2", "#D55E00", "#222222", "#666666", "#d8d8d8"
FOUND = ["slope", "share", "rise"]  # what slots have found; only where the record says
ROUND = [1, 2, 2.5, 5, 10]  # what ticks are multiples of, times a power of ten


class Failure(Exception):
    """One sentence, and the exit code that goes with it."""

    def __init__(self, code, sentence):
        super().__init__(sentence)
        self.code = code


def need(module):
    try:
        return importlib.import_module(module)
    except ImportError:
        package = DEBIAN[module.split(".")[0]]
        raise Failure(1, f"report.py needs the Python module {module.split('.')[0]}: install the "
                         f"Debian package {package} and use /usr/bin/python3") from None


class Run:
    """A run as arrays with one row per step, in the order of the steps.

    job, model        names for the title, or ""
    n_steps           steps applied
    state             "finished", "not finished" or "checkpoint"
    final             (steps, forward passes, dev loss, dev metric) after the last step, or None
    batch             sequences per probe, or None where the record does not say
    step, passes      [n] step numbers; forward passes of the run after that step
    loss, agreement   [n] NaN where not measured
    dev_passes, dev   [m] where the dev loss was measured, and what it was
    metric            [m] of a task: accuracy or F1 then, 0 to 1; else NaN
    slope, share, rise  [n] what slots have found (docs/formats/checkpoint.md); NaN where not known
    rate              [n] by how far noise moves a code, in code steps; None: travel was set by hand
    limit             what limits the run, in a sentence, or ""
    phases, seconds   names; [n, phases]
    tensors, n_codes  names; codes in each (NaN: not known)
    flips             [n, tensors] codes that changed in the step
    abstained         {rank: slots that it abstained from}
    accused           {rank: first step in which an audit accused it}
    """

    def __init__(self):
        self.abstained, self.accused = {}, {}
        self.rate, self.limit = None, ""


# ---- reading ----

def read(path):
    """Read a run directory, checkpoint or metrics file into a Run, or raise Failure."""
    if os.path.isdir(path):
        metrics = os.path.join(path, "metrics.jsonl")
        saved = sorted((f for f in os.listdir(path) if re.fullmatch(r"step-\d+\.h5", f)),
                       key=lambda f: int(f[5:-3]))
        if not os.path.exists(metrics) and not saved:
            raise Failure(3, f"{path}: holds neither metrics.jsonl nor a checkpoint step-*.h5")
        path = metrics if os.path.exists(metrics) else os.path.join(path, saved[-1])
    np = need("numpy")
    try:
        with open(path, "rb") as file:
            start = file.read(520)
            is_hdf5 = path.endswith(".h5") or b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:])
            run, dev, metric = read_checkpoint(path) if is_hdf5 else read_jsonl(path)
    except OSError as error:
        raise Failure(3, f"{path}: cannot be read: {error.strerror or error}") from None
    except MemoryError:
        raise Failure(3, f"{path}: asks for more memory than there is") from None

    n = len(run.step)
    if n == 0:
        raise Failure(3, f"{path}: has no finished step yet")
    for what, array, shape in (
            ("loss_nats", run.loss, (n,)), ("dev_loss_nats", dev, (n,)),
            ("dev_metric", metric, (n,)),
            *((key, getattr(run, key), (n,)) for key in FOUND),
            ("agreement", run.agreement, (n,)), ("forward_passes", run.passes, (n,)),
            ("seconds", run.seconds, (n, len(run.phases))),
            ("flips", run.flips, (n, len(run.tensors)))):
        if array.shape != shape:
            raise Failure(3, f"{path}: {what} has shape {array.shape}, expected {shape}")
    wrong = np.flatnonzero(~(np.diff(run.passes, prepend=0.0) >= 0))
    if len(wrong):
        raise Failure(3, f"{path}: forward_passes of step {run.step[wrong[0]]} is "
                         f"{run.passes[wrong[0]]:g}, expected a running total")
    # A row's dev loss was measured before its step, so after the passes of the row before.
    measured = np.isfinite(dev)
    run.dev_passes = np.concatenate([[0.0], run.passes[:-1]])[measured]
    run.dev, run.metric = dev[measured], metric[measured]
    if run.final:
        run.n_steps = run.final[0]
        if math.isfinite(run.final[2]):
            run.dev_passes = np.append(run.dev_passes, run.final[1])
            run.dev = np.append(run.dev, run.final[2])
            run.metric = np.append(run.metric, run.final[3])
    if not run.job:
        run.job = os.path.basename(os.path.dirname(os.path.abspath(path)))
    return run


def number(value, path, place, key):
    """A JSON number as a float; null, which stands for a value that was not finite, as NaN."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300:
        raise Failure(3, f"{path}: line {place}: {key} is {str(value)[:40]!r}, expected a number")
    return float(value)


def read_jsonl(path):
    """A metrics.jsonl: rows, perhaps a header before them and a last word after them."""
    np = need("numpy")
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    header, rows, final, limit = {}, {}, None, ""
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError
        except (ValueError, RecursionError):
            if place < len(lines):  # the last line may be half written: the run is going on
                print(f"report.py: {path}: line {place} is not a JSON object and was left out",
                      file=sys.stderr)
            continue

        def get(key, at=row):
            if key not in at:
                raise Failure(3, f"{path}: line {place}: has no {key}")
            return number(at[key], path, place, key)

        if "ballot" in row or "tensors" in row:
            header = row
        elif row.get("final") is True:
            final = (int(get("step")), get("forward_passes"), get("dev_loss_nats"),
                     get("dev_metric") if "dev_metric" in row else math.nan)
            limit = str(row.get("limit", ""))
        else:
            columns = {key: row.get(key, {}) for key in ("seconds", "flips", "abstained")}
            for key, column in columns.items():
                if not isinstance(column, dict):
                    raise Failure(3, f"{path}: line {place}: {key} is not an object")
                for name in column:
                    get(name, column)
            # A step that was repeated after a restart counts once, as it came last.
            step = get("step")
            if not 0 <= step < 2**53:
                raise Failure(3, f"{path}: line {place}: step is {step}, expected a step number")
            rows[step] = ([get("loss_nats"), get("dev_loss_nats"), get("agreement"),
                           get("forward_passes"),
                           get("dev_metric") if "dev_metric" in row else math.nan], columns["seconds"], columns["flips"],
                          columns["abstained"], get("accused") if "accused" in row else None,
                          [get(key) if key in row else math.nan for key in ("rate", *FOUND)])
    if not rows:
        raise Failure(3, f"{path}: has no line of a finished step, expected JSON objects with "
                         f"step, loss_nats, forward_passes, ...")
    sizes = header.get("tensors", {})
    if not isinstance(sizes, dict):
        raise Failure(3, f"{path}: tensors of the header is not an object")

    run = Run()
    run.job, run.model = str(header.get("job", "")), str(header.get("model", ""))
    batch = header.get("batch")
    run.batch = batch if isinstance(batch, int) and batch > 0 else None
    run.step = np.array(sorted(rows), dtype=np.int64)
    table = [rows[step] for step in sorted(rows)]
    run.loss, dev, run.agreement, run.passes, metric = np.array([row[0] for row in table]).T
    run.phases = list(dict.fromkeys([*PHASES, *(name for row in table for name in row[1])]))
    run.tensors = list(dict.fromkeys([*sizes, *(name for row in table for name in row[2])]))
    run.n_codes = np.array([number(sizes.get(t), path, "of the header", t) for t in run.tensors])
    run.seconds = np.zeros((len(table), len(run.phases)))
    run.flips = np.zeros((len(table), len(run.tensors)))
    for array, names, part in ((run.seconds, run.phases, 1), (run.flips, run.tensors, 2)):
        index = {name: i for i, name in enumerate(names)}
        for i, row in enumerate(table):
            for name, value in row[part].items():
                array[i, index[name]] = value or 0.0
    for step, row in zip(run.step, table):
        for rank, slots in row[3].items():
            run.abstained[rank] = run.abstained.get(rank, 0) + int(slots or 0)
        if row[4] is not None and math.isfinite(row[4]):
            run.accused.setdefault(str(int(row[4])), int(step))
    rate, run.slope, run.share, run.rise = np.array([row[5] for row in table]).T
    run.rate = rate if np.isfinite(rate).any() else None
    run.n_steps = int(run.step[-1]) + 1
    run.final = final if final and final[0] > run.step[-1] else None  # else a run that went on
    run.limit = limit if run.final else ""
    run.state = "finished" if run.final else "not finished"
    return run, dev, metric


def read_checkpoint(path):
    """A checkpoint: HDF5 after a user block; docs/formats/checkpoint.md describes it."""
    np, h5py = need("numpy"), need("h5py")
    try:
        with h5py.File(path, "r") as file:
            metrics, run = file["metrics"], Run()

            def names(dataset, attribute):
                text = metrics[dataset].attrs[attribute]
                text = text.decode() if isinstance(text, bytes) else str(text)
                return text.split(",") if text else []

            run.step = metrics["step"][()].astype(np.int64).reshape(-1)
            run.loss, dev, run.agreement, run.passes, run.seconds, run.flips = (
                metrics[key][()].astype(float) for key in (
                    "loss_nats", "dev_loss_nats", "agreement", "forward_passes", "seconds",
                    "flips"))
            metric, run.slope, run.share, run.rise = (
                metrics[key][()].astype(float) if key in metrics else np.full(dev.shape, np.nan)
                for key in ("dev_metric", *FOUND))
            run.phases, run.tensors = names("seconds", "phases"), names("flips", "tensors")
            run.n_codes = np.array([float(file["model"][name].size) for name in run.tensors])
            run.n_steps, run.state, run.final = int(file.attrs["step"]), "checkpoint", None
            last_dev = float(file.attrs.get("dev_loss_nats", math.nan))
            text = file["job/text"][()]
            text = text.tobytes() if hasattr(text, "tobytes") else text
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        what = str(error).strip("'\"").split("\n")[0]
        raise Failure(3, f"{path}: is not a whole ballot checkpoint: {what}") from None

    measured = dev[np.isfinite(dev)]
    if math.isfinite(last_dev) and run.passes.size and last_dev not in measured[-1:]:
        # In no row: after the last step.
        run.final = (run.n_steps, run.passes.flat[-1], last_dev, math.nan)

    job = configparser.ConfigParser(interpolation=None, strict=False, inline_comment_prefixes=";")
    try:
        job.read_string(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
    except configparser.Error:
        pass  # the names in it only serve the title
    run.job, run.model = "", job.get("model", "path", fallback="")
    batch = job.get("data", "batch", fallback="")
    run.batch = int(batch) if re.fullmatch(r"[1-9]\d{0,6}", batch) else None
    return run, dev, metric


# ---- what the panels show ----

def running_mean(values, width):
    """Mean over a window of width values, narrower at the ends; NaN values do not count."""
    np = need("numpy")
    known = np.isfinite(values)
    total = np.concatenate([[0], np.cumsum(np.where(known, values, 0))])
    count = np.concatenate([[0], np.cumsum(known)])
    low = np.maximum(np.arange(len(values)) - width // 2, 0)
    high = np.minimum(np.arange(len(values)) + width // 2 + 1, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total[high] - total[low]) / (count[high] - count[low])


def column_edges(n):
    """Row numbers that cut n steps into at most MAX_COLUMNS columns of nearly the same length."""
    np = need("numpy")
    return np.linspace(0, n, min(n, MAX_COLUMNS) + 1).round().astype(int)


def kind_of(name):
    """(section, place in it, words, layer) of a tensor; layer is None outside the layers."""
    layer = re.search(r"\blayers\.(\d+)\.", name)
    section = 2 if name.endswith(".gain") else 1 if "norm" in name else 0
    for place, (part, words) in enumerate(KINDS):
        if f".{part}." in f".{name}.":
            break
    else:  # a model of another family: its own words, without number and ending
        place = len(KINDS)
        words = re.sub(r"^model\.|\blayers\.\d+\.|\.(weight|gain)$", "", name)
    return section, place, words, int(layer[1]) if layer else None


def flip_bands(run):
    """[(section, words, shares)]: one entry per kind of tensor, from top to bottom; shares
    [layers, columns] is the share of codes that changed per step (their number where a tensor's
    size is not known), of layers from first to last."""
    np = need("numpy")
    edges, kinds = column_edges(len(run.step)), {}
    for i, name in enumerate(run.tensors):
        section, place, words, layer = kind_of(name)
        kinds.setdefault((section, place, words), []).append((layer or 0, i))
    if len(kinds) > MAX_KINDS:  # odd names: what comes last shares one line
        rest = sorted(kinds)[MAX_KINDS - 1:]
        kinds[(3, 0, "others")] = [t for kind in rest for t in kinds.pop(kind)]
    sizes = run.n_codes if np.all(run.n_codes > 0) else np.ones(len(run.tensors))
    flips = np.add.reduceat(run.flips, edges[:-1], axis=0)
    bands = []
    for (section, _, words), tensors in sorted(kinds.items()):
        parts = np.array_split([i for _, i in sorted(tensors)], min(len(tensors), MAX_BANDS))
        bands.append((section, words, np.array(
            [flips[:, part].sum(axis=1) / (sizes[part].sum() * np.diff(edges)) for part in parts])))
    return bands


def noise_agreement(batch):
    """Agreement of a probe without signal: P(sign of one of `batch` independent normal terms is
    the sign of their sum) = 1/2 + asin(1 / sqrt(batch)) / pi."""
    return 0.5 + math.asin(1 / math.sqrt(batch)) / math.pi


def duration(seconds):
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    if seconds < 0.1:
        return "< 0.1 s"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def percent(share):
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


# ---- drawing ----

def draw(run):
    """A figure of the run. Artists that show data carry a gid: loss, loss-mean, dev, metric,
    agreement, agreement-mean, slope, slope-mean, share, share-mean, rise, rate, flips-0 (matrices),
    flips-1 (vectors), flips-2 (gains), seconds."""
    np, ticker = need("numpy"), need("matplotlib.ticker")
    need("matplotlib").rcParams.update({
        "font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": "#999999",
        "axes.labelcolor": INK, "text.color": INK, "xtick.color": GREY, "ytick.color": GREY,
        "axes.spines.right": False, "axes.spines.top": False, "axes.titlesize": 10,
        "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 7,
        "legend.frameon": False, "legend.fontsize": 8.5, "svg.hashsalt": "ballot",
        "axes.formatter.useoffset": False,
        "text.parse_math": False})

    # Everything is placed in inches from the top, so that long lists of tensors stay readable.
    bands = flip_bands(run)
    most = max((len(shares) for _, _, shares in bands), default=1)
    line = 0.19 + 0.006 * most
    n_sections = len({section for section, _, _ in bands})
    has_metric = bool(np.isfinite(run.metric).any())
    has_votes = run.batch != 1  # one sequence always agrees with its own vote
    has_rate = run.rate is not None
    found = [key for key in FOUND if np.isfinite(getattr(run, key)).any()]
    heights = [2.5, *[1.5] * has_metric, *[1.25] * has_votes, *[0.9] * (len(found) + has_rate),
               max(0.6, line * len(bands) + 0.08 * n_sections), 1.35]
    width, left, right, top, gap, bottom = 10.7, 1.75, 2.35, 1.22, 0.52, 1.05
    height = top + sum(heights) + (len(heights) - 1) * gap + bottom
    figure = need("matplotlib.figure").Figure(figsize=(width, height), facecolor="white")
    axes, y = [], height - top
    for panel in heights:
        y -= panel
        axes.append(figure.add_axes([left / width, y / height, (width - left - right) / width,
                                     panel / height], sharex=axes[0] if axes else None))
        y -= gap
    panels = iter(axes)
    loss = next(panels)
    metric, votes = ([next(panels)] if there else [] for there in (has_metric, has_votes))
    finds = {key: next(panels) for key in found}
    rates = [next(panels)] if has_rate else []
    flips, time = panels

    def legend(ax, **options):
        ax.legend(loc="upper left", bbox_to_anchor=(1.015, 1.04), borderaxespad=0,
                  handlelength=1.6, **options)

    # Title: what ran, then where it stands.
    name = " · ".join(part for part in (run.job, run.model) if part)
    name = name if len(name) <= 88 else name[:87] + "…"
    done = run.final[1] if run.final else run.passes[-1]
    state = [f"{run.n_steps:,} step{'s' * (run.n_steps != 1)}, {done:,.0f} forward passes",
             run.state]
    if len(run.dev):
        words = "final dev loss" if run.final else "latest dev loss"
        words += f" {run.dev[-1]:.4f} nats per token"
        if len(run.dev) > 1:
            words += f" (at the start {run.dev[0]:.4f})"
        if has_metric and math.isfinite(run.metric[-1]):
            words = f"dev {percent(run.metric[-1])}, best {percent(np.nanmax(run.metric))}, " + words
        state.insert(0, words)
    figure.text(0.3 / width, 1 - 0.36 / height, name, fontsize=14, fontweight="bold", va="center")
    figure.text(0.3 / width, 1 - 0.66 / height, "  |  ".join(state), fontsize=10, color=GREY,
                va="center")

    figure.text(0.3 / width, 1 - 0.9 / height, about_ranks(run), fontsize=9, color=RED,
                va="center", gid="ranks")

    few = len(run.step) <= 40
    window = max(1, len(run.step) // 30)

    def curve(ax, values, gid, words):
        """Each step thin, the running mean thick; a short run gets marks and no mean."""
        if few:
            ax.plot(run.passes, values, color=BLUE, lw=1.4, marker="o", ms=3.5, gid=gid,
                    label=words)
            return
        ax.plot(run.passes, values, color=BLUE, lw=0.6, alpha=0.35, gid=gid,
                label=words + ", each step")
        ax.plot(run.passes, running_mean(values, window), color=BLUE, lw=2.0, gid=gid + "-mean",
                label=f"mean of {window // 2 * 2 + 1} steps")

    loss.set_title("Loss")
    curve(loss, run.loss, "loss", "training")
    many = len(run.dev) > 60  # marks would run together
    if len(run.dev):
        loss.plot(run.dev_passes, run.dev, color=RED, lw=1.4 if many else 1.0, mec="white",
                  mew=0.7, marker="" if many else "o", ms=5.5, gid="dev", label="dev", zorder=4)
    loss.set_ylabel("nats per token")
    legend(loss)

    for ax in metric:
        ax.set_title("Dev metric")
        ax.plot(run.dev_passes, run.metric, color=RED, lw=1.4 if many else 1.0, mec="white",
                mew=0.7, marker="" if many else "o", ms=5.5, gid="metric", label="dev")
        ax.set_ylabel("accuracy or F1")
        ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        legend(ax)

    for ax in votes:
        ax.set_title("Vote agreement")
        curve(ax, run.agreement, "agreement", "agreement")
        if run.batch:
            ax.axhline(noise_agreement(run.batch), color=GREY, lw=1.0, ls=(0, (4, 3)), zorder=1,
                       label=f"noise alone (batch {run.batch})")
        ax.set_ylabel("sequences that\nagree with vote")
        ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        legend(ax)

    titles = {"slope": "Slope",
              "share": "Share of it on which halves of mini-batches agree",
              "rise": "Rise by curvature: loss of probes above that of the model itself"}
    for key, ax in finds.items():
        ax.set_title(titles[key])
        if key == "slope" and not has_rate:
            aside(ax, run.limit)
        ax.set_ylabel("share" if key == "share" else "nats per token")
        if key == "rise":  # where the line was searched
            at = np.isfinite(run.rise)
            ax.plot(run.passes[at], run.rise[at], color=BLUE, lw=1.0, marker="o", ms=4, gid="rise",
                    label="at a search")
        else:
            curve(ax, getattr(run, key), key, "along a direction" if key == "slope" else key)
        if key == "slope":
            ax.set_ylim(0, None)
        else:
            ax.axhline(0.0, color=GREY, lw=0.8, zorder=1)
        if key == "share":
            ax.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{100 * v:g} %"))
        legend(ax)

    for ax in rates:
        ax.set_title("Rate")
        aside(ax, run.limit)
        ax.plot(run.passes, run.rate, color=BLUE, lw=1.4, drawstyle="steps-pre", gid="rate",
                label="found by the run")
        ax.set_ylabel("code steps")
        ax.set_ylim(0, None)
        legend(ax)

    for ax in (loss, *metric, *votes, *finds.values(), *rates):
        ax.grid(color="#e6e6e6", lw=0.7)
        ax.set_axisbelow(True)
        ax.yaxis.set_major_locator(ticker.MaxNLocator(6 if ax is loss else 4, steps=ROUND))
        ax.margins(y=0.08)

    cuts = column_edges(len(run.step))
    edges = np.concatenate([[0.0], run.passes])[cuts]
    draw_flips(run, flips, bands, edges)

    time.set_title("Seconds per step")
    seconds = np.add.reduceat(run.seconds, cuts[:-1], axis=0) / np.diff(cuts)[:, None]
    spent = run.seconds.sum(axis=0)
    shown = [i for i in range(len(run.phases)) if spent[i] > 0]
    if shown:
        total = spent.sum()
        spare = ["#F0E442", "#000000", "#7F5539"]
        words = [f"{run.phases[i][:16]}  {duration(spent[i])}  ({percent(spent[i] / total)})"
                 for i in shown]
        time.stackplot(np.repeat(edges, 2)[1:-1], np.repeat(seconds[:, shown], 2, axis=0).T,
                       colors=[PHASES.get(run.phases[i], spare[i % 3]) for i in shown],
                       labels=words, linewidth=0, gid="seconds")
        time.set_ylim(0, None)
        time.yaxis.set_major_locator(ticker.MaxNLocator(4, steps=ROUND))
        legend(time, title=f"{duration(total)} on rank 0", alignment="left",
               labelspacing=0.25, title_fontsize=8.5)
    else:
        say_nothing(time, "no times recorded")
    time.set_ylabel("s per step")
    time.set_xlabel("forward passes")

    end = max(done, run.passes[-1], 1.0)
    loss.set_xlim(-0.009 * end, 1.009 * end)
    time.xaxis.set_major_locator(ticker.MaxNLocator(7, integer=True, steps=ROUND))
    time.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:,.0f}"))
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    for ax in (loss, *metric, *votes, *finds.values(), *rates, time):
        ax.yaxis.set_label_coords(-0.095, 0.5)
    # Steps below the passes. Ticks sit where a step ends, whatever it cost in passes.
    steps = np.concatenate([[run.step[0]], run.step + 1])
    below = time.secondary_xaxis(-0.5 / heights[-1])
    ticks = [t for t in ticker.MaxNLocator(7, integer=True, steps=ROUND).tick_values(
        steps[0], steps[-1]) if steps[0] <= t <= steps[-1]]
    below.set_xticks(np.interp(ticks, steps, np.concatenate([[0.0], run.passes])),
                     [f"{t:,.0f}" for t in ticks])
    below.set_xlabel("steps")
    return figure


def about_ranks(run):
    """Who abstained and who was accused, in a line; "": nobody."""
    words = []
    if run.abstained:
        most = sorted(run.abstained.items(), key=lambda item: (-item[1], item[0]))
        words.append(f"{sum(run.abstained.values()):,} slots abstained from: "
                     + ", ".join(f"rank {rank[:9]} {slots:,}" for rank, slots in most[:6])
                     + ", ..." * (len(most) > 6))
    words += [f"an audit accused rank {rank[:9]} in step {step:,}"
              for rank, step in list(run.accused.items())[:3]]
    return "  |  ".join(words)


def say_nothing(ax, words):
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=GREY)
    ax.set_yticks([])


def aside(ax, text):
    """A sentence beside the title."""
    ax.set_title(text, loc="right", fontsize=8.5, fontweight="normal", color=GREY)


def draw_flips(run, ax, bands, edges):
    """The heat map: a band of the same height for each kind of tensor, layers inside it."""
    np, colors, ticker = need("numpy"), need("matplotlib.colors"), need("matplotlib.ticker")
    figure, share = ax.figure, bool(np.all(run.n_codes > 0))
    last = max((kind_of(name)[3] or 0 for name in run.tensors), default=0)
    ax.set_title("Codes changed")
    if last > 0:
        aside(ax, f"in each band: layer 0 at the top, layer {last} at the bottom")
    ax.spines[:].set_visible(False)
    if not bands:
        say_nothing(ax, "no tensor changed")
        return
    values = np.concatenate([shares.ravel() for _, _, shares in bands])
    values = values[values > 0]
    high = values.max() if len(values) else 1.0
    low = max(values.min(), high * 1e-6) if len(values) else 0.1
    norm = colors.LogNorm(low if low < high else high / 2, high)
    palette = need("matplotlib").colormaps["viridis"].with_extremes(bad=PALE)
    y, ticks, words = 0.0, [], []
    for section in sorted({section for section, _, _ in bands}):
        start, rows, cuts = y, [], [y]
        for _, word, shares in (band for band in bands if band[0] == section):
            ticks.append(y + 0.5)
            words.append(word if len(word) <= 16 else "…" + word[-15:])
            rows.append(shares)
            cuts.extend(y + (np.arange(len(shares)) + 1) / len(shares))
            y += 1.0
        mesh = ax.pcolormesh(edges, cuts, np.ma.masked_less_equal(np.concatenate(rows), 0),
                             norm=norm, cmap=palette, rasterized=True, gid=f"flips-{section}")
        ax.hlines(np.arange(start + 1, y), edges[0], edges[-1], color="white", lw=1.2)
        ax.text(-0.2, (start + y) / 2, SECTIONS[section], rotation=90, ha="center", va="center",
                color=GREY, fontsize=8.5, transform=ax.get_yaxis_transform())
        y += 0.4
    ax.set_ylim(y - 0.4, 0)
    ax.set_yticks(ticks, words)
    ax.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=INK)

    if not len(values):
        ax.text(1.015, 1.0, "grey: no code changed", transform=ax.transAxes, va="top", fontsize=8.5)
        return
    box, (width, height) = ax.get_position(), figure.get_size_inches()
    tall = min(box.height, 2.6 / height)
    narrow = norm.vmax < 50 * norm.vmin  # powers of ten alone would be too few ticks
    words = ticker.FuncFormatter(lambda v, _: f"{100 * v:.6g} %" if share else f"{v:,.6g}")
    bar = figure.colorbar(
        mesh, ticks=ticker.LogLocator(subs=(1, 2, 5) if narrow else (1,)), format=words,
        cax=figure.add_axes([box.x1 + 0.12 / width, box.y1 - tall, 0.15 / width, tall]))
    bar.ax.yaxis.set_minor_locator(ticker.NullLocator())
    bar.outline.set_visible(False)
    bar.set_label(("share of codes" if share else "codes") + " changed per step\n(grey: none)",
                  fontsize=8.5)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 drawn, 1 module missing or writing failed, 2 usage, 3 bad input.")
    parser.add_argument("input", metavar="RUN_OR_FILE",
                        help="run directory, checkpoint step-*.h5, or metrics.jsonl")
    parser.add_argument("-o", metavar="OUT", dest="out",
                        help="write OUT.png and OUT.svg (default: report beside the input)")
    options = parser.parse_args()
    folder = options.input if os.path.isdir(options.input) else os.path.dirname(options.input)
    out = re.sub(r"\.(png|svg)$", "", options.out or os.path.join(folder, "report"))
    try:
        figure = draw(read(options.input))
        try:
            figure.savefig(out + ".png", dpi=160, metadata={"Software": None})
            figure.savefig(out + ".svg", dpi=160, metadata={"Date": None, "Creator": "ballot"})
        except OSError as error:
            raise Failure(1, f"{out}: cannot be written: {error.strerror or error}") from None
    except Failure as failure:
        print(f"report.py: {failure}", file=sys.stderr)
        return failure.code
    print(f"{out}.png, {out}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
