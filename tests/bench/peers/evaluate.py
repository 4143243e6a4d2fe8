#!/usr/bin/env python3
"""Compare `ballot eval` of a task with what a user would take instead, on one core of this machine.

Runs, in turn and on one core: ballot, transformers in float32 and bfloat16 (peer_transformers.py) and
llama.cpp (peer_llama.py), on the same rows of a task whose answers are one token each. Peers that are
not installed are left out. All read the same weights, those of a GGUF file. Prints a Markdown table:
rows per second of CPU time without loading the model or reading the rows, medians over the rounds,
and the median of the ratios ballot / peer of each round. Of ballot, loading is what a run with a few
rows takes. All must have about the same accuracy.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile

import asked
import questions
import run

PEERS = {"transformers float32": ["peer_transformers.py", "--dtype", "float32"],
         "transformers bfloat16": ["peer_transformers.py", "--dtype", "bfloat16"],
         "llama.cpp Q8_0": ["peer_llama.py"]}
NEEDS = {"peer_transformers.py": ["gguf", "torch", "transformers", "tokenizers"],
         "peer_llama.py": ["gguf", "tokenizers", "llama_cpp"],
         "choices.py": ["gguf", "torch", "transformers", "tokenizers", "xxhash"]}
FEW = 8
ALLOWED = 0.04  # of accuracy: what formats differ by


def missing(program, python=sys.executable):
    """The packages that a peer needs and this Python lacks, without importing them: that takes long."""
    look = ("import importlib.util, sys; print(*(name for name in sys.argv[1:] if "
            "importlib.util.find_spec(name) is None))")
    return subprocess.run([python, "-c", look, *NEEDS[program]], capture_output=True, text=True,
                          check=True).stdout.split()


def cpu_seconds(command):
    """The JSON object that a program prints, and the CPU time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    record = run.run(command, **run.MALLOC, **asked.ROOTLESS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return record, (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)


def ballot(options, folder):
    """{"rows per second", "choices"} of ballot."""
    seconds, found = {}, os.path.join(folder, "predictions.jsonl")
    for n in (FEW, options.n_rows):
        task = asked.with_rows(options.task, n, folder)
        _, seconds[n] = cpu_seconds(asked.command(
            options, task, options.rows, "--format", options.format, "--predictions", found,
            "-s", f"data.batch={options.batch}"))
    difference = seconds[options.n_rows] - seconds[FEW]
    if difference <= 0:
        raise run.Failure(f"{options.rows}: {options.n_rows} rows took less than {FEW}, for loading "
                          "takes longer; give more rows")
    return {"rows_per_second": (options.n_rows - FEW) / difference,
            "choices": [row["chosen"] for row in asked.predictions(found)]}


def peer(options, name, folder):
    program, *words = PEERS[name]
    model = os.path.join(folder, "q8_0.gguf") if program == "peer_llama.py" else options.model
    record = run.run([sys.executable, os.path.join(asked.HERE, program), model,
                      os.path.join(folder, "work.json"), *words], **run.MALLOC)
    choices = run.get(record, "choices", program)
    return {"rows_per_second": len(choices) / run.amount(record, "seconds", program),
            "choices": choices, "version": run.get(record, "version", program)}


def prepare(options, folder):
    """Write the rows as tokens, and the model as llama.cpp quantizes it; the right answers."""
    task, rows = questions.read(options.task, options.rows)
    tokenizer = asked.load_tokenizer(options.model)
    if not all(row.is_utf8() for row in rows):
        raise run.Failure(f"{options.rows}: a row is not UTF-8, which tokenizers cannot read")
    work = [questions.encode(tokenizer, row) for row in rows]
    if task.writes or any(len(answer) != 1 for _, answers in work for answer in answers):
        raise run.Failure(f"{options.task}: its answers are not one token each")
    if len(rows) <= FEW:
        raise run.Failure(f"{options.rows}: {len(rows)} rows; expected more than {FEW}")
    options.n_rows = len(rows)
    with open(os.path.join(folder, "work.json"), "w", encoding="utf-8") as file:
        json.dump({"rows": work}, file)
    if "llama.cpp Q8_0" in options.peers:
        run.run([sys.executable, os.path.join(asked.HERE, "peer_llama.py"), options.model,
                 "--quantize", os.path.join(folder, "q8_0.gguf")])
    return [row.right for row in rows]


def measure(options, folder):
    """{"right": [...], "rounds": [{name: {"rows_per_second", "choices"}}]}"""
    right, rounds, own = prepare(options, folder), [], f"ballot {options.format}"
    for i in range(options.rounds):
        print(f"round {i + 1} of {options.rounds}; load {os.getloadavg()[0]:.1f}, best below 0.5 "
              f"at the start", file=sys.stderr)
        rounds.append({own: ballot(options, folder),
                       **{name: peer(options, name, folder) for name in options.peers}})
    return {"right": right, "rounds": rounds}


def report(measured):
    """A Markdown table of a measurement."""
    rounds, right = measured["rounds"], measured["right"]
    own, *peers = list(rounds[0])
    lines = []
    for name in (own, *peers):
        made = [one[name] for one in rounds]
        share = sum(a == b for a, b in zip(made[0]["choices"], right)) / len(right)
        same = sum(a == b for a, b in zip(made[0]["choices"], rounds[0][own]["choices"]))
        ratio = statistics.median(one[own]["rows_per_second"] / one[name]["rows_per_second"]
                                  for one in rounds)
        lines.append([f"{name} {made[0].get('version', '')}".strip(),
                      f"{statistics.median(one['rows_per_second'] for one in made):.1f}",
                      f"{100 * share:.1f} %", f"{same} of {len(right)}", f"{ratio:.2f} x"])
        check(name, share, measured)
    return run.table(["program", "rows per second", "accuracy", "choices as ballot", "ballot is"],
                     lines)


def check(name, share, measured):
    """Programs that find different accuracies do not do the same work."""
    own = next(iter(measured["rounds"][0].values()))["choices"]
    expected = sum(a == b for a, b in zip(own, measured["right"])) / len(measured["right"])
    if abs(share - expected) > ALLOWED:
        raise run.Failure(f"{name} is right on {100 * share:.1f} % of the rows, ballot on "
                          f"{100 * expected:.1f} %: these are different work")


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ballot", default=asked.BALLOT)
    parser.add_argument("--model", default=asked.MODEL, help="a GGUF file of a Llama")
    parser.add_argument("--format", default="i8", help="of ballot (default: i8)")
    parser.add_argument("--task", default=os.path.join(asked.ROOT, "data/tasks/sst2.ini"))
    parser.add_argument("--rows", default=os.path.join(asked.ROOT, "data/tasks/sst2/dev.tsv"))
    parser.add_argument("--batch", type=int, default=32, help="rows of a batch of ballot")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--save", metavar="FILE", help="keep what was measured, as JSON")
    return parser.parse_args()


def main():
    options = parse()
    for name in list(options.peers):
        packages = missing(PEERS[name][0])
        if packages:
            print(f"evaluate.py: {name} is left out: there is no {' '.join(packages)}",
                  file=sys.stderr)
            options.peers.remove(name)
    try:
        os.sched_setaffinity(0, {options.core})  # programs started from here stay on it
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(options, folder)
        if options.save:
            with open(options.save, "w", encoding="utf-8") as file:
                json.dump(measured, file)
        print(report(measured))
    except (run.Failure, questions.Failure, OSError) as failure:
        print(f"evaluate.py: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
