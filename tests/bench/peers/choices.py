#!/usr/bin/env python3
"""Does `ballot eval --format f32` choose as transformers does in float32, zero-shot, row by row?

usage: choices.py TASK.ini=ROWS ... [--rows N]

Both read the weights of one GGUF file. transformers is asked what questions.py, with code of its own,
makes of the task file and the rows; its tokens are those of the tokenizers library. N rows of each
file are asked, those of a test split of that size, but for what is not UTF-8. Answers that are written are compared by exact
match and token F1 with the right ones. Prints a Markdown table and, of each row that differs, by how
much the chosen answer was ahead. Ends with 1 if fewer than 99.5 % of the rows agree. Needs gguf,
torch, transformers, tokenizers and xxhash.
"""
import argparse
import collections
import os
import re
import string
import sys
import tempfile

import asked
import questions
import run

SHARE = 0.995  # of rows that must agree
CONTEXT = 2048


def squad_words(text):
    """Words as the evaluation of SQuAD 1.1 compares them."""
    text = text.lower().translate({ord(c): None for c in string.punctuation})
    return [word for word in text.split() if word not in ("a", "an", "the")]


def grade(text, right):
    """(exact match, token F1) of a text with the best of the right answers."""
    grades = []
    for answer in right:
        a, b = squad_words(text), squad_words(answer)
        common = sum((collections.Counter(a) & collections.Counter(b)).values())
        f1 = 2 * common / (len(a) + len(b)) if common else float(not a and not b)
        grades.append((a == b, f1))
    return any(exact for exact, _ in grades), max(f1 for _, f1 in grades)


class Peer:
    """transformers and tokenizers."""

    def __init__(self, model):
        self.tokenizer = asked.load_tokenizer(model)
        import torch
        from peer_transformers import Scorer
        self.scorer = Scorer(model, torch.float32, 8)

    def scores(self, task, rows):
        """Of each answer of each question, as the task scores them."""
        if task.answer["score"] == "calibrated":
            raise questions.Failure(f"{task.path}: calibrated scores are not compared here")
        encoded = [questions.encode(self.tokenizer, row) for row in rows]
        if task.writes:
            encoded = [(prompt, answers[:1]) for prompt, answers in encoded]
        divides = task.answer["score"] == "mean" and not task.writes
        return [[score / (len(answer) if divides else 1) for score, answer in zip(row, answers)]
                for row, (_, answers) in zip(self.scorer.score(encoded), encoded)]

    def ends(self, task):
        stop = task.answer["stop"]
        return lambda token: token in (0, 2) or stop in self.tokenizer.decode(
            [token], skip_special_tokens=False)

    def write(self, task, row):
        """What it writes, and by how much its closest choice of a token was ahead."""
        prompt, _ = questions.encode(self.tokenizer, row)
        ids, narrowest = self.scorer.write(prompt, int(task.answer["tokens"]), self.ends(task))
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        return text.split(task.answer["stop"])[0], narrowest


def relative(scores):
    """Scores less the first: of answers of one token ballot says logits, not log probabilities."""
    return [score - scores[0] for score in scores] if len(scores) > 1 else scores


def compare_chosen(rows, found, scores):
    """[(row, what to say of it)] of the rows on which choices differ."""
    differ = []
    for i, (row, own, theirs) in enumerate(zip(rows, found, scores)):
        choice = theirs.index(max(theirs))
        if own["chosen"] == choice:
            continue
        ahead = [max(s) - sorted(s)[-2] for s in (own["scores"], theirs)]
        differ.append((i, f"ballot {own['chosen']} by {ahead[0]:.2g} nats, transformers {choice} "
                          f"by {ahead[1]:.2g}: {row.prompt[:40]!r}"))
    return differ


def compare_written(peer, task, rows, found):
    differ = []
    for i, (row, own) in enumerate(zip(rows, found)):
        text, narrowest = peer.write(task, row)
        exact, f1 = grade(text, row.answers)
        if (own["chosen"] >= 0) != exact or abs(own["f1"] - f1) > 1e-6:
            differ.append((i, f"F1 {own['f1']:.4f}, of transformers {f1:.4f}, which wrote {text!r} "
                              f"with a token ahead by {narrowest:.2g} of its logit"))
    return differ


def compare(options, peer, path, rows_path, folder):
    """The line of a task, and what is to say of rows that differ."""
    task, rows = questions.read(path, rows_path)
    rows = [rows[i] for i in questions.test_rows(len(rows), options.rows)]
    copy, file = asked.with_rows(path, options.rows, folder), os.path.join(folder, "found.jsonl")
    run.run(asked.command(options, copy, rows_path, "--format", "f32", "--predictions", file, "-s",
                          f"data.context={CONTEXT}"), **asked.ROOTLESS)
    found = asked.predictions(file)
    if [own["right"] for own in found] != [row.right for row in rows]:
        raise questions.Failure(f"{path}: ballot has other right answers, so other rows")
    found = [own for own, row in zip(found, rows) if row.is_utf8()]
    rows = [row for row in rows if row.is_utf8()]
    scores = peer.scores(task, rows)
    own = [[-own["loss_nats"]] if task.writes else own["scores"] for own in found]
    if task.writes:
        differ = compare_written(peer, task, rows, found)
    else:
        differ = compare_chosen(rows, found, scores)
    off = max(abs(a - b) for x, y in zip(own, scores) for a, b in zip(relative(x), relative(y)))
    n = len(rows)
    line = [os.path.basename(path).removesuffix(".ini"), str(n), str(n - len(differ)),
            f"{100 - 100 * len(differ) / n:.1f} %", f"{off:.1e}"]
    return line, [f"{line[0]} row {i}: {words}" for i, words in differ]


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="TASK.ini=ROWS")
    parser.add_argument("--rows", type=int, default=200, help="of each task, at most (default: 200)")
    parser.add_argument("--ballot", default=asked.BALLOT)
    parser.add_argument("--model", default=asked.MODEL, help="a GGUF file of a Llama")
    options = parser.parse_args()
    for pair in options.pairs:
        if not re.fullmatch("[^=]+=[^=]+", pair):
            parser.error(f"{pair}: expected TASK.ini=ROWS")
    return options


def main():
    options = parse()
    lines, differ = [], []
    try:
        peer = Peer(options.model)
        with tempfile.TemporaryDirectory() as folder:
            for pair in options.pairs:
                line, words = compare(options, peer, *pair.split("="), folder)
                print(*line, *words, sep="\n  ", file=sys.stderr)
                lines.append(line)
                differ += words
    except (run.Failure, questions.Failure, OSError) as failure:
        print(f"choices.py: {failure}", file=sys.stderr)
        return 1
    print(run.table(["task", "rows", "same choice", "share", "scores differ by"], lines))
    print(*differ, sep="\n")
    return int(any(int(line[2]) < SHARE * int(line[1]) for line in lines))


if __name__ == "__main__":
    sys.exit(main())
