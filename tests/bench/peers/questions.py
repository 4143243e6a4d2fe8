"""Questions of a task file and its rows, as docs/tasks.md describes them: read by code of its own, so
that what ballot asks can be compared with what it should ask. [template] alone; no demonstrations.
"""
import csv
import io
import json
import os
import re
import string
from dataclasses import dataclass, field

class Failure(Exception):
    """One sentence for the user."""


@dataclass
class Question:
    prompt: str
    answers: list  # to choose from; or, where answers are written, all that are right
    right: int     # of answers; 0 where they are written

    def is_utf8(self):
        """Older files have letters of other encodings: bytes to ballot, nothing to tokenizers."""
        return not re.search("[\ud800-\udfff]", self.prompt + "".join(self.answers))


@dataclass
class Task:
    path: str
    rows: dict = field(default_factory=lambda: {"format": "tsv"})
    fields: dict = field(default_factory=dict)
    answer: dict = field(default_factory=lambda: {"label": "{label}", "metric": "accuracy",
                                                  "score": "mean", "stop": "\n", "tokens": "50"})
    splits: dict = field(default_factory=dict)
    template: dict = field(default_factory=dict)

    @property
    def writes(self):
        return "answers" in self.template


# ---- the task file ----

def unquote(text):
    """A value; the backslashes of braces stay, for the template."""
    text = text.strip()
    if not text.startswith('"'):
        return text
    meant = {"n": "\n", "t": "\t", "{": "\\{", "}": "\\}"}
    return re.sub(r"\\(.)", lambda m: meant.get(m[1], m[1]), text[1:-1])


def words_of(value):
    return [unquote(word) for word in re.findall(r'\s*("(?:[^"\\]|\\.)*"|[^,]+)', value)]


def read_task(path):
    task, section = Task(path), ""
    with open(path, encoding="utf-8") as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith(";"):
                continue
            if line.startswith("["):
                section = line.strip("[]")
                continue
            key, value = (part.strip() for part in line.split("=", 1))
            value = re.sub(r"\s;.*", "", value)
            if section.startswith("template "):
                continue
            into = getattr(task, section)
            if key in ("columns", "labels", "candidates", "answers"):
                into[key] = words_of(value)
            elif section == "template" and key in ("prompt", "neutral"):
                into[key] = into.get(key, "") + unquote(value)
            else:
                into[key] = unquote(value)
    return task


# ---- rows ----

def read_columns(task, text):
    """Rows of TSV or CSV as {column: text}."""
    if task.rows["format"] == "csv":
        lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    else:
        separator, names = task.rows.get("separator"), task.rows.get("columns")
        most = len(names) - 1 if separator and names else -1
        lines = [line.rstrip("\r").split(separator or "\t", most) for line in text.split("\n")
                 if line.rstrip("\r")]
    names = task.rows.get("columns") or lines.pop(0)
    return [dict(zip(names, line)) for line in lines]


def text_of(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, ".17g") if isinstance(value, float) else str(value)


def follow(at, path):
    """The values at the end of a path of keys, [] and [2]."""
    if not path:
        return [at]
    step, rest = re.match(r"\.?(\[\d*\]|[^.\[]+)(.*)", path, re.S).groups()
    if step == "[]":
        values = at.values() if isinstance(at, dict) else at
        return [value for each in values for value in follow(each, rest)]
    return follow(at[int(step[1:-1]) if step.startswith("[") else step], rest)


def places_of(root, each):
    """The rows that `each` makes of a document: [(beginning of the path, what stands there)]."""
    places = [[("", root)]]
    while each:
        head, rest = each[:each.index("[]") + 2], each[each.index("[]") + 2:]
        grown = []
        for bound in places:
            done, at = bound[-1]
            grown += [bound + [(done + head, value)] for value in follow(at, head)]
        places, each = grown, rest
    return places


class Record:
    """A row of JSON: fields by name, each a list of texts."""

    def __init__(self, task, bound):
        self.task, self.bound = task, bound

    def get(self, name):
        path = self.task.fields.get(name, name)
        begin, at = max((b for b in self.bound if path.startswith(b[0])), key=lambda b: len(b[0]))
        return [text_of(value) for value in follow(at, path[len(begin):])]


class Columns:
    def __init__(self, task, cells):
        self.task, self.cells = task, cells

    def get(self, name):
        return [self.cells[self.task.fields.get(name, name)]]


def read_rows(task, path):
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        text = file.read()
    if task.rows["format"] in ("tsv", "csv"):
        return [Columns(task, cells) for cells in read_columns(task, text)]
    each = task.rows.get("each", "")
    documents = [text] if task.rows["format"] == "json" else text.split("\n")
    return [Record(task, bound) for document in documents if document.strip()
            for bound in places_of(json.loads(document), each)]


# ---- templates ----

ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def lower_word(text):
    first, space, rest = text.partition(" ")
    return (first if first == "I" else first.translate(ASCII_LOWER)) + space + rest


FILTERS = {
    "trim": lambda text, _: text.strip(" \t\r\n"),
    "lower": lambda text, _: text.translate(ASCII_LOWER),
    "lower_word": lambda text, _: lower_word(text),
    "upper_first": lambda text, _: text[:1].upper() + text[1:] if text[:1].isascii() else text,
    "no_end": lambda text, word: text.removesuffix(word),
    "before": lambda text, word: text[:text.index(word)],
    "after": lambda text, word: text[text.index(word) + len(word):],
    "map": lambda text, word: dict(pair.split("=", 1) for pair in word.split(","))[text],
}
PIECE = re.compile(r"\\([{}])|\{((?:[^{}()]|\([^)]*\))*)\}")


def fill_piece(words, row, k):
    name, *filters = re.findall(r"((?:[^|(]|\([^)]*\))+)", words)
    values = row.get(name)
    text = values[k if len(values) > 1 else 0]
    for each in filters:
        kind, _, word = each.partition("(")
        text = FILTERS[kind](text, word.removesuffix(")"))
    return text


def fill(template, row):
    """All texts of a template: one, or one for each element of its lists."""
    names = [m[2].split("|")[0] for m in PIECE.finditer(template) if m[2] is not None]
    counts = [len(row.get(name)) for name in names]
    n = 0 if 0 in counts else max(counts, default=1)
    return [PIECE.sub(lambda m: m[1] or fill_piece(m[2], row, k), template) for k in range(n)]


def ask(task, row):
    """A row as a question. Spaces that a prompt ends with begin each answer instead."""
    (text,) = fill(task.template["prompt"], row)
    prompt = text.strip(" ")
    spaces = " " * (len(text) - len(text.rstrip(" "))) if prompt else ""
    templates = task.template["answers" if task.writes else "candidates"]
    answers = [text.rstrip(" ") for template in templates for text in fill(template, row)]
    if task.writes:
        answers = [text.lstrip(" ") for text in answers if text.strip(" \t\r\n")]
    (label,) = [""] if task.writes else fill(task.answer["label"], row)
    right = 0 if task.writes else task.answer["labels"].index(label)
    return Question(prompt, [spaces + text for text in answers], right)


def read(path, rows):
    """A task, and a question for every row of a file."""
    try:
        task = read_task(path)
        return task, [ask(task, row) for row in read_rows(task, rows)]
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise Failure(f"{os.path.basename(rows)} does not fit {path}: "
                      f"{type(error).__name__}: {error}") from None


def test_rows(n_rows, n_wanted):
    """The rows of a file that a test of n_wanted rows takes: Fisher-Yates by hashes of seed 0."""
    if n_wanted >= n_rows:
        return list(range(n_rows))
    import xxhash  # not needed for all rows
    order = list(range(n_rows))
    for i in range(n_rows - 1, 0, -1):
        j = xxhash.xxh3_64_intdigest(i.to_bytes(8, "little"), 0) * (i + 1) >> 64
        order[i], order[j] = order[j], order[i]
    return sorted(order[:n_wanted])


# ---- tokens ----

def encode(tokenizer, question):
    """Ids of the prompt, and of each answer: what follows the ids that all answers share with the
    prompt alone."""
    texts = [question.prompt] + [question.prompt + answer for answer in question.answers]
    own, *whole = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    n = 0
    while n < len(own) and all(n < len(ids) and ids[n] == own[n] for ids in whole):
        n += 1
    return own[:n], [ids[n:] for ids in whole]
