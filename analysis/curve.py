#!/usr/bin/python3
"""curve.py: dev loss over passes of runs that each start from the model where the last one ended.

usage: curve.py RUN... -o OUT [--line LABEL=NATS]... [--title TITLE]

Draws OUT.png and OUT.svg: the dev loss of one run after the other, over all forward passes so far, and a
dashed line for each LABEL=NATS, as of the model before it was rounded. Prints the numbers.
"""
import argparse
import sys

import report


def points(paths):
    """One (name, passes [n], nats [n]) per run; passes count on from run to run."""
    found, before = [], 0
    for path in paths:
        run = report.read(path)
        if not len(run.dev):
            print(f"curve.py: {path}: has no dev loss, so it has no curve; its job has no [data] "
                  "dev", file=sys.stderr)
        passes = [before + n for n in run.dev_passes]
        found.append((path.rstrip("/").split("/")[-1], passes, list(run.dev)))
        before += float(run.passes[-1])
    if not any(nats for _, _, nats in found):
        raise report.Failure(3, "there is nothing to draw")
    return found


def draw(curves, lines, title):
    plt = report.need("matplotlib.pyplot")
    figure, axes = plt.subplots(figsize=(8, 4.5), constrained_layout=True)
    for name, passes, nats in [curve for curve in curves if curve[2]]:
        axes.plot([p / 1000 for p in passes], nats, marker=".", label=name)
    for label, nats in lines:
        axes.axhline(nats, color="0.4", linestyle="--", linewidth=1)
        axes.annotate(f"{label} {nats:.4f}", (0.01, nats), xycoords=("axes fraction", "data"),
                      ha="left", va="bottom", fontsize=9, color="0.3")
    axes.set_xlabel("thousand forward passes")
    axes.set_ylabel("dev loss, nats per token")
    axes.set_title(title)
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    return figure


def line(text):
    label, _, nats = text.rpartition("=")
    try:
        return label, float(nats)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected LABEL=NATS") from None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, in order")
    parser.add_argument("-o", dest="out", required=True, metavar="OUT", help="write OUT.png")
    parser.add_argument("--line", type=line, action="append", default=[], metavar="LABEL=NATS",
                        help="draw a level to compare with; may be repeated")
    parser.add_argument("--title", default="", help="title of the picture")
    options = parser.parse_args()
    try:
        curves = points(options.runs)
        report.need("matplotlib").use("Agg")
        figure = draw(curves, options.line, options.title)
        for ending in ("png", "svg"):
            figure.savefig(f"{options.out}.{ending}", dpi=110)
    except report.Failure as failure:
        print(f"curve.py: {failure}", file=sys.stderr)
        return failure.code
    except OSError as error:
        print(f"curve.py: {options.out}: cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    for name, passes, nats in curves:
        for p, n in zip(passes, nats):
            print(f"{name}\t{p:.0f}\t{n:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
