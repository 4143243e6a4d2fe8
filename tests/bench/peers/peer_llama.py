#!/usr/bin/env python3
"""Choices of llama.cpp on one thread, as a user would get them fast: sequences sorted by length and
packed into batches, logits of last tokens alone, a prompt once for all its answers, of one token each.

usage: peer_llama.py MODEL.gguf WORK.json [--type q8_0]
       peer_llama.py MODEL.gguf --quantize OUT.gguf

WORK.json has {"rows": [[prompt ids, [answer ids, ...]], ...]}. Prints one JSON object with the seconds
without loading. The second form has llama.cpp write the model with Q8_0 matrices. Needs
llama-cpp-python.
"""
import argparse
import json
import sys
import time

try:
    import llama_cpp as llama
    import numpy as np
except ImportError as error:
    sys.exit(f"peer_llama.py: {error}; pip install llama-cpp-python")


@llama.llama_log_callback
def keep_quiet(level, text, user):
    del level, text, user


def quantize(model, out):
    params = llama.llama_model_quantize_default_params()
    params.nthread, params.allow_requantize = 1, True
    params.ftype = llama.LLAMA_FTYPE_MOSTLY_Q8_0
    if llama.llama_model_quantize(model.encode(), out.encode(), params) != 0:
        sys.exit(f"peer_llama.py: llama.cpp cannot write {out}")
    return {"written": out}


class Scorer:
    def __init__(self, path, n_tokens, unified):
        """n_tokens: of a batch, at most."""
        params = llama.llama_model_default_params()
        params.n_gpu_layers = 0
        self.model = llama.llama_model_load_from_file(path.encode(), params)
        if not self.model:
            sys.exit(f"peer_llama.py: llama.cpp cannot read {path}")
        options = llama.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = n_tokens
        options.n_seq_max = min(64, n_tokens // 4)
        options.n_threads = options.n_threads_batch = 1
        options.kv_unified = unified
        self.context = llama.llama_init_from_model(self.model, options)
        self.n_tokens, self.n_sequences = n_tokens, options.n_seq_max
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))

    def take(self, rows, order):
        """Numbers of rows, in batches that fit."""
        batch, n = [], 0
        for at in order:
            length = len(rows[at][0])
            if n + length > self.n_tokens or len(batch) == self.n_sequences:
                yield batch
                batch, n = [], 0
            batch.append(at)
            n += length
        yield batch

    def last_logits(self, prompts):
        """Of each prompt's last token; views, until the next call."""
        batch = llama.llama_batch_init(sum(map(len, prompts)), 0, 1)
        at, last = 0, []
        for sequence, ids in enumerate(prompts):
            for position, token in enumerate(ids):
                batch.token[at], batch.pos[at], batch.logits[at] = token, position, 0
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, sequence
                at += 1
            batch.logits[at - 1] = 1
            last.append(at - 1)
        batch.n_tokens = at
        llama.llama_memory_clear(llama.llama_get_memory(self.context), False)
        status = llama.llama_decode(self.context, batch)
        if status != 0:
            sys.exit(f"peer_llama.py: llama_decode: {status}")
        llama.llama_batch_free(batch)
        return [np.ctypeslib.as_array(llama.llama_get_logits_ith(self.context, i), (self.n_vocab,))
                for i in last]

    def choose(self, rows):
        choices = [0] * len(rows)
        order = sorted(range(len(rows)), key=lambda at: len(rows[at][0]))
        for batch in self.take(rows, order):
            for at, logits in zip(batch, self.last_logits([rows[at][0] for at in batch])):
                choices[at] = int(np.argmax(logits[[answer[0] for answer in rows[at][1]]]))
        return choices


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("work", nargs="?")
    parser.add_argument("--quantize", metavar="OUT.gguf")
    parser.add_argument("--batch", type=int, default=512, help="tokens of a batch, at most")
    parser.add_argument("--streams", action="store_true", help="a cache for each sequence")
    options = parser.parse_args()
    llama.llama_log_set(keep_quiet, None)
    llama.llama_backend_init()
    if options.quantize:
        print(json.dumps(quantize(options.model, options.quantize)))
        return
    with open(options.work, encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    if any(len(answer) != 1 for _, answers in rows for answer in answers):
        sys.exit("peer_llama.py: an answer has several tokens; here only answers of one are scored")
    scorer = Scorer(options.model, options.batch, not options.streams)
    scorer.choose(rows[:16])  # warms up
    begin = time.process_time()
    choices = scorer.choose(rows)
    seconds = time.process_time() - begin
    print(json.dumps({"version": llama.__version__, "seconds": seconds, "choices": choices}))


if __name__ == "__main__":
    main()
