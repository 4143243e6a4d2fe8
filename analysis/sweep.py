#!/usr/bin/python3
"""sweep.py: the table of a sweep of jobs/array.sbatch, finished or not.

usage: sweep.py RUNS SETTINGS.txt

Prints a row of Markdown per line of SETTINGS.txt: its number, its settings, what became of the run
RUNS/000, 001, ..., its steps, the last and the least dev loss in nats per token, and the
fingerprint of a finished model. A run that has not begun has a row as well.
"""
import argparse
import json
import os
import sys

import report


def settings(path):
    """The lines that count, as jobs/array.sbatch counts them."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise report.Failure(3, f"{path}: cannot be read: {error}") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise report.Failure(3, f"{path}: has no line of settings")
    return lines


def read_metrics(path):
    """(steps of the job, steps done, dev losses in the order of the steps)."""
    planned, done, dev = None, 0, {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
                step, nats = row.get("step"), row.get("dev_loss_nats")
                planned = row.get("steps", planned)
                if step is None:
                    continue
                done = max(done, step + (not row.get("final")))
                if nats is not None:
                    dev[step] = float(nats)
            except (ValueError, TypeError, AttributeError):
                if line.endswith("\n"):  # else half written: the run is going on
                    raise report.Failure(3, f"{path}: holds what is no line of metrics: "
                                            f"{line.strip()[:40]}") from None
    return planned, done, [dev[step] for step in sorted(dev)]


def final_fingerprint(run, planned):
    """Of the model after the last step, or None: it is not there yet."""
    path = os.path.join(run, f"step-{planned:06d}.h5")
    if not os.path.exists(path):
        return None
    try:
        with report.need("h5py").File(path, "r") as file:
            value = file.attrs["fingerprint"]
            return value.decode() if isinstance(value, bytes) else str(value)
    except (OSError, KeyError) as error:
        raise report.Failure(3, f"{path}: is not a whole ballot checkpoint: {error}") from None


def columns(run):
    """What became of a run: state, steps, last and least dev loss, fingerprint."""
    path = os.path.join(run, "metrics.jsonl")
    if not os.path.exists(path):
        return ["not begun", "", "", "", ""]
    planned, done, dev = read_metrics(path)
    if not isinstance(planned, int):
        raise report.Failure(3, f"{path}: has no header with the steps of the job")
    fingerprint = final_fingerprint(run, planned)
    losses = [f"{dev[-1]:.4f}", f"{min(dev):.4f}"] if dev else ["", ""]
    return ["finished" if fingerprint else "unfinished", f"{done:,} of {planned:,}", *losses,
            fingerprint or ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUNS")
    parser.add_argument("settings", metavar="SETTINGS.txt")
    options = parser.parse_args()
    try:
        rows = [[f"{task:03d}", line, *columns(os.path.join(options.runs, f"{task:03d}"))]
                for task, line in enumerate(settings(options.settings))]
    except report.Failure as failure:
        print(f"sweep.py: {failure}", file=sys.stderr)
        return failure.code
    print("| run | settings | state | steps | dev loss | least | fingerprint |")
    print("| --- | --- | --- | ---: | ---: | ---: | --- |")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
