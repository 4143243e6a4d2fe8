#!/usr/bin/env python3
"""Choices of transformers on one thread, as a user would get them fast: sequences sorted by length, so
that a batch has little padding; the head on scored positions alone; a prompt once for all answers of
one token. Padding is on the right, where a causal model does not look, so no mask is needed.

usage: peer_transformers.py MODEL.gguf WORK.json --dtype float32|bfloat16

WORK.json has {"rows": [[prompt ids, [answer ids, ...]], ...]}. Prints one JSON object with the seconds
without loading. Needs gguf, torch and transformers.
"""
import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../golden/smollm2"))
try:
    import gguf
    import torch
    import transformers
    from make_reference import load_model
except ImportError as error:
    sys.exit(f"peer_transformers.py: {error}; pip install gguf torch transformers tokenizers")


class Scorer:
    def __init__(self, path, dtype, batch):
        torch.set_num_threads(1)
        torch.set_grad_enabled(False)
        self.model, self.batch = load_model(gguf.GGUFReader(path)).to(dtype), batch

    def hidden(self, sequences):
        """What the head reads at every position of sequences of similar lengths."""
        longest = max(len(ids) for ids in sequences)
        tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids in sequences])
        return self.model.model(tokens, use_cache=False).last_hidden_state

    def score_batch(self, sequences, asked, scores):
        """Add the log probability of each answer asked of these sequences to its score."""
        at = [(i, len(prompt) - 1 + k) for i, ids in enumerate(sequences)
              for prompt, answer, _ in asked[ids] for k in range(len(answer))]
        wanted = [word for ids in sequences for _, answer, _ in asked[ids] for word in answer]
        rows = self.hidden([list(ids) for ids in sequences])[tuple(torch.tensor(at).T)]
        chances = self.model.lm_head(rows).float().log_softmax(-1)
        found = iter(chances[torch.arange(len(wanted)), torch.tensor(wanted)].tolist())
        for ids in sequences:
            for _, answer, place in asked[ids]:
                scores[place] = sum(next(found) for _ in answer)

    def score(self, rows):
        """The log probability of each answer of [[prompt ids, [answer ids, ...]], ...]."""
        asked, scores = {}, {}
        for row, (prompt, answers) in enumerate(rows):
            for k, answer in enumerate(answers):
                ids = (*prompt, *answer[:-1])  # the same for all answers of one token
                asked.setdefault(ids, []).append((prompt, answer, (row, k)))
        order = sorted(asked, key=len)
        for first in range(0, len(order), self.batch):
            self.score_batch(order[first:first + self.batch], asked, scores)
        return [[scores[row, k] for k in range(len(answers))]
                for row, (_, answers) in enumerate(rows)]

    def write(self, prompt, n_tokens, ends):
        """The likeliest next tokens, up to one that ends the answer, and the narrowest choice: by how
        much a token's logit was above the next best."""
        past, new, narrowest, tokens = None, [], float("inf"), list(prompt)
        while len(new) < n_tokens:
            out = self.model(torch.tensor([tokens]), past_key_values=past, logits_to_keep=1)
            past, (best, second) = out.past_key_values, out.logits[0, -1].topk(2).values.tolist()
            narrowest = min(narrowest, best - second)
            tokens = [int(out.logits[0, -1].argmax())]
            if ends(tokens[0]):
                break
            new += tokens
        return new, narrowest


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("work")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    with open(options.work, encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    scorer = Scorer(options.model, getattr(torch, options.dtype), options.batch)
    scorer.score(rows[:options.batch])  # warms up
    begin = time.process_time()
    scores = scorer.score(rows)
    seconds = time.process_time() - begin
    print(json.dumps({"version": transformers.__version__, "torch": torch.__version__,
                      "seconds": seconds, "choices": [row.index(max(row)) for row in scores]}))


if __name__ == "__main__":
    main()
