"""smol.py: SmolLM2-135M and a task with one-token answers for PyTorch, as ballot asks it: the same
weights, rows, prompts, balanced mini-batches of four rows, loss and accuracy.

The head is taken for the answers alone, at the last token alone: a step costs PyTorch no more than it
must. Needs gguf, transformers and tokenizers; jobs/smollm2.sh brings the model.
"""
import configparser
import json
import os
import statistics
import subprocess
import sys

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, "../peers"), os.path.join(HERE, "../../golden/smollm2")]
import asked  # noqa: E402
import questions  # noqa: E402

BALLOT = os.environ.get("BALLOT", asked.BALLOT)
BATCH, EVAL_BATCH, CONTEXT = 4, 16, 1024


def rows_of(task, split, folder):
    """What ballot says of the rows that it takes for a split."""
    found = os.path.join(folder, f"{split}-{os.getpid()}.jsonl")
    subprocess.run([BALLOT, "eval", os.path.dirname(asked.MODEL), "-s", f"data.task={task}", "-s",
                    f"data.context={CONTEXT}", "--split", split, "--predictions", found],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, **asked.ROOTLESS})
    rows = asked.predictions(found)
    os.remove(found)
    return rows


def prepare(task, folder):
    """{split: [[prompt ids, [answer id, ...], right], ...]}"""
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";",))
    parser.read(task, encoding="utf-8")
    tokenizer, work = asked.load_tokenizer(asked.MODEL), {}
    rows = parser["rows"]
    first = 2 if rows["format"] in ("tsv", "csv") and "columns" not in rows else 1  # line of a row
    for split in ("train", "dev", "test"):
        name = rows.get(split, rows["train"])
        _, asks = questions.read(task, os.path.join(os.path.dirname(task), name))
        work[split] = []
        for row in rows_of(task, split, folder):
            question = asks[row["line"] - first]
            prompt, answers = questions.encode(tokenizer, question)
            if any(len(answer) != 1 for answer in answers):
                raise SystemExit(f"smol.py: {task}: its answers are not one token each")
            if question.right != row["right"]:
                raise SystemExit(f"smol.py: {task}: line {row['line']} is not the row that ballot has")
            work[split].append([prompt, [answer[0] for answer in answers], question.right])
    return work


class Problem:
    """As stories.Problem, with test rows. `tokens` is a mean, without padding."""
    rows = BATCH

    def __init__(self, cache, dtype, task):
        from gguf import GGUFReader
        from make_reference import load_model
        kept = os.path.join(cache, f"{os.path.splitext(os.path.basename(task))[0]}.json")
        if not os.path.exists(kept):
            with open(f"{kept}.{os.getpid()}", "w", encoding="utf-8") as file:
                json.dump(prepare(task, cache), file)
            os.replace(file.name, kept)
        with open(kept, encoding="utf-8") as file:
            self.work = json.load(file)
        self.model = load_model(GGUFReader(asked.MODEL)).to(dtype).train()
        self.parameters = list(self.model.parameters())
        self.flat = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        for p, part in zip(self.parameters, self.flat.split([p.numel() for p in self.parameters])):
            p.data = part.view(p.shape)
        self.by_label = {}
        for row in self.work["train"]:
            self.by_label.setdefault(row[2], []).append(row)
        self.tokens = BATCH * statistics.mean(len(row[0]) for row in self.work["train"])

    def draw(self, generator):
        """Rows with each label as often, as near as the mini-batch allows."""
        def below(n):
            return int(torch.randint(n, (1,), generator=generator))
        labels = sorted(self.by_label)
        first = below(len(labels))
        chosen = [self.by_label[labels[(first + i) % len(labels)]] for i in range(BATCH)]
        return [rows[below(len(rows))] for rows in chosen]

    def scores(self, rows):
        """Logits of the answers, [rows, answers]."""
        longest = max(len(prompt) for prompt, _, _ in rows)
        tokens = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt, _, _ in rows])
        hidden = self.model.model(tokens, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(rows)), torch.tensor([len(row[0]) - 1 for row in rows])]
        answers = self.model.lm_head.weight[torch.tensor([row[1] for row in rows])]
        return torch.einsum("rd,rad->ra", last.float(), answers.float())

    def loss(self, rows):
        return F.cross_entropy(self.scores(rows), torch.tensor([row[2] for row in rows]))

    def evaluate(self):
        return self.look_at("dev")

    def test(self):
        return self.look_at("test")

    @torch.no_grad()
    def look_at(self, split):
        """{"loss", "accuracy"} of the rows of a split."""
        rows, total, n_right = sorted(self.work[split], key=lambda row: len(row[0])), 0.0, 0
        for first in range(0, len(rows), EVAL_BATCH):
            part = rows[first:first + EVAL_BATCH]
            scores, right = self.scores(part), torch.tensor([row[2] for row in part])
            total += F.cross_entropy(scores, right, reduction="sum").item()
            n_right += int((scores.argmax(-1) == right).sum())
        return {"loss": total / len(rows), "accuracy": n_right / len(rows)}
