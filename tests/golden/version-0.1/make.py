#!/usr/bin/env python3
"""make.py BALLOT: the files of this folder, by the program of version 0.1.0, in the repository's root.

NAME.tar.xz is what a run of 20 steps leaves that lost power after step 15: job.ini, the journal up to
there, and the checkpoint of step 12. runs.json has, for each, the options it was started with, its base
model, and of the run that nobody stopped the fingerprint and the bytes of the journal (base64).
"""
import base64
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, STEPS_LEFT, CHECKPOINT = 20, 15, "step-000012.h5"
LLAMA, FAMILIES = "tests/golden/logits/tiny-llama", "tests/golden/families"
COMMON = {"run.steps": STEPS, "run.eval_every": 5, "run.checkpoint_every": 3, "run.check_every": 2,
          "run.keep": 9, "data.context": 16, "data.batch": 1, "data.dev_examples": 4}
RUNS = {  # rule.eta and model.group say nothing here, and are part of the job's hash in version 0.1
    "i8-carry": {"model.path": LLAMA, "vote.slots": 8, "rule.eta": 0.25, "model.group": 32},
    "i4-blocks": {"model.path": f"{FAMILIES}/llama3", "model.codes": "i4", "model.group": 32,
                  "model.formats": "*embed*=i8", "vote.density": 0.3, "vote.directions": "independent",
                  "vote.train": "codes", "vote.slots": 40, "rule.travel": 0.5},
    "nf4-documents": {"model.path": LLAMA, "model.codes": "nf4", "data.examples": "documents",
                      "vote.slots": 300, "rule.travel": 0.5},
    "zoqo": {"model.path": LLAMA, "rule.name": "zoqo", "rule.eta": 0.02, "vote.slots": 1,
             "vote.directions": "uniform", "vote.noise": 2},
    # between lines that end with CR LF version 0.1 saw no blank one: all of it is one document
    "crlf-documents": {"model.path": LLAMA, "data.examples": "documents", "vote.slots": 8,
                       "data.train": f"{os.path.relpath(HERE)}/returns.txt",
                       "data.dev": f"{os.path.relpath(HERE)}/returns.txt"},
    # bytes that are 0, of which version 0.1 said nothing
    "zeros": {"model.path": LLAMA, "vote.slots": 8,
              "data.train": f"{os.path.relpath(HERE)}/zeros.txt",
              "data.dev": f"{os.path.relpath(HERE)}/zeros.txt"},
    "mlm": {"model.path": f"{FAMILIES}/roberta", "data.task": "mlm", "vote.slots": 8,
            "vote.train": "gains"},
}


def nameless(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def main():
    ballot = sys.argv[1]
    version = subprocess.run([ballot, "--version"], capture_output=True, text=True, check=True).stdout
    assert "0.1.0" in version, version
    found = {}
    for name, options in RUNS.items():
        with tempfile.TemporaryDirectory() as run:
            settings = [f"{key}={value}" for key, value in {**COMMON, **options}.items()]
            command = [ballot, "train", "jobs/shakespeare.ini", "--run", run]
            command += [word for setting in settings for word in ("-s", setting)]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            with open(f"{run}/ballots.journal", "rb") as file:
                journal = file.read()
            record = (len(journal) - 128) // STEPS
            with open(f"{run}/ballots.journal", "wb") as file:
                file.write(journal[:128 + STEPS_LEFT * record])
            found[name] = {"settings": settings, "base": options["model.path"],
                           "fingerprint": re.search(r"^fingerprint +(\w+)", out, re.M).group(1),
                           "journal": base64.b64encode(journal).decode()}
            with tarfile.open(f"{HERE}/{name}.tar.xz", "w:xz") as tar:
                for file in ("job.ini", "ballots.journal", CHECKPOINT):
                    tar.add(f"{run}/{file}", file, filter=nameless)
    with open(f"{HERE}/runs.json", "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


main()
