"""A task put to ballot and, in tokens, to its peers."""
import json
import os
import re
import sys

import questions

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "../../.."))
BALLOT = os.path.join(ROOT, "build/release/ballot")
MODEL = os.path.join(ROOT, "data/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf")
ROOTLESS = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def load_tokenizer(model):
    """The tokenizers library with the vocabulary of a GGUF file."""
    sys.path.insert(0, os.path.join(HERE, "../../golden/smollm2"))
    try:
        import gguf
        from file_tokenizer import load_tokenizer as load
    except ImportError as error:
        raise questions.Failure(f"{error}; pip install gguf tokenizers") from None
    return load(gguf.GGUFReader(model))


def with_rows(path, n_rows, folder):
    """A copy of a task file whose test split has n_rows rows at most."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    made = os.path.join(folder, f"{n_rows}-{os.path.basename(path)}")
    with open(made, "w", encoding="utf-8") as file:
        file.write(re.sub(r"(?m)^test = \d+$", f"test = {n_rows}", text))
    return made


def command(options, task, rows, *more):
    """ballot eval, of the test rows of a task."""
    return [options.ballot, "eval", options.model, "--json", "--split", "test", "-s",
            f"data.task={task}", "-s", f"data.test={rows}", *more]


def predictions(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]
