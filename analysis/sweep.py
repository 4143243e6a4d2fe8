#!/usr/bin/python3
"""sweep.py: the table of a sweep of jobs/array.sbatch, finished or not.

usage: sweep.py RUNS SETTINGS.txt

Prints a row of Markdown per run RUNS/000, 001, ...: its number, its settings, what became of it, its
steps, the last and the least dev loss in nats per token, and the fingerprint of a finished model.
The settings are those of the run's own job.ini, of every option that SETTINGS.txt names or in which
the runs differ; a run that has not begun has a row as well, with its line of SETTINGS.txt.
"""
import argparse
import configparser
import json
import os
import re
import shlex
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


def words(path, line):
    """The [option, value] pairs of a line, quoted as in a shell."""
    try:
        pairs = [word.split("=", 1) for word in shlex.split(line)]
    except ValueError:  # a quote that does not end
        pairs = [[]]
    if not all(len(pair) == 2 for pair in pairs):
        raise report.Failure(3, f"{path}: expected section.key=value ..., quoted as in a shell: "
                                f"{line}")
    return pairs


def read_job(run):
    """Every option of a run, as its job.ini has it; None: it has not begun."""
    path, parser = os.path.join(run, "job.ini"), configparser.RawConfigParser()
    if not os.path.exists(os.path.join(run, "metrics.jsonl")):
        return None
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            parser.read_file(file)
    except (OSError, configparser.Error) as error:
        raise report.Failure(3, f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    return {f"{section}.{key}": value for section in parser.sections()
            for key, value in parser[section].items()}


def labels(lines, listed, jobs):
    """The settings of each run: its own, or the line of one that has not begun."""
    begun = [job for job in jobs if job is not None]
    shown = [option for pairs in listed for option, _ in pairs]
    for job in begun:
        shown += [option for option in job
                  if any(job[option] != other.get(option) for other in begun)]
    return [lines[task] if job is None else
            " ".join(shlex.quote(f"{option}={job[option]}") for option in dict.fromkeys(shown)
                     if option in job)
            for task, job in enumerate(jobs)]


def warn_of_changes(path, listed, jobs):
    for task, job in enumerate(jobs):
        for option, value in listed[task] if job is not None and task < len(listed) else []:
            if job.get(option, value) != value:
                print(f"sweep.py: {path}: run {task:03d} was started with {option} = "
                      f"{job[option]}, and not {value}", file=sys.stderr)


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
    parser.add_argument("runs", metavar="RUNS", help="folder with the runs 000, 001, ...")
    parser.add_argument("settings", metavar="SETTINGS.txt", help="the list that the array was given")
    options = parser.parse_args()
    try:
        lines = settings(options.settings)
        listed = [words(options.settings, line) for line in lines]
        there = [int(name) for name in os.listdir(options.runs) if re.fullmatch(r"\d{3,}", name)]
        runs = [os.path.join(options.runs, f"{task:03d}")
                for task in range(max([len(lines) - 1, *there]) + 1)]
        lines += [""] * (len(runs) - len(lines))  # of runs that are no longer in the list
        jobs = [read_job(run) for run in runs]
        warn_of_changes(options.settings, listed, jobs)
        rows = [[os.path.basename(run), label, *columns(run)]
                for run, label in zip(runs, labels(lines, listed, jobs))]
    except OSError as error:
        print(f"sweep.py: {options.runs}: cannot be read: {error.strerror}", file=sys.stderr)
        return 3
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
