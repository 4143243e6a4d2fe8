"""rows.py: a task with few rows, for tests."""
import os
import re

DATA = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../data"))


def few_rows(folder):
    """A task file whose dev rows are some of the train rows."""
    tasks = os.path.join(DATA, "tasks")
    with open(os.path.join(tasks, "sst2/train.tsv"), encoding="utf-8") as file:
        rows = "".join(line for _, line in zip(range(21), file))
    with open(os.path.join(folder, "rows.tsv"), "w", encoding="utf-8") as file:
        file.write(rows)
    with open(os.path.join(tasks, "sst2.ini"), encoding="utf-8") as file:
        text = re.sub(r"(?m)^(dev|test) = sst2.*\n", "", file.read())
    text = text.replace("sst2/train.tsv", "rows.tsv").replace("dev = 500", "dev = 6")
    made = os.path.join(folder, "few.ini")
    with open(made, "w", encoding="utf-8") as file:
        file.write(text.replace("test = 872", "test = 4").replace("train = 1000", "train = 10"))
    return made
