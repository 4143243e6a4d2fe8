#!/usr/bin/env python3
"""One run of another method in PyTorch on one thread: its losses over passes and seconds.

usage: peer.py TASK METHOD --rate R [--eps E] --passes N [--seed S] [--cache FOLDER]

TASK is shakespeare (stories260K) or a task file (SmolLM2-135M).

Prints one JSON object. `points` has the evaluations: `passes` forward, `backward` (one counts as two
passes), `seconds` of CPU time without evaluations, and what the task says of the dev set; with --test
also `test`, of the test rows, wherever the dev loss is lower than before. `rows` and `tokens` are those
of a pass. A run whose loss rises by one nat is over, with `diverged`. Needs torch and numpy.
"""
import argparse
import json
import math
import sys
import time

try:
    import torch
    from methods import METHODS
except ImportError as error:
    sys.exit(f"peer.py: {error}; pip install torch numpy")

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)  # of the passes, where it evaluates


def judge(problem, points, tests):
    """What the dev set says; and the test rows, if no evaluation before had a loss as low."""
    found = problem.evaluate()
    if tests and found["loss"] < min((point["loss"] for point in points), default=math.inf):
        found["test"] = problem.test()
    return found


def train(problem, method, seed, n_passes, shares, tests=False):
    """Points of a run, and whether it diverged."""
    data = torch.Generator().manual_seed(2 * seed)
    noise = torch.Generator().manual_seed(2 * seed + 1)
    points = [{"passes": 0, "backward": 0, "seconds": 0.0, **judge(problem, [], tests)}]
    done, seconds, cost = 0, 0.0, method.passes + method.backward
    for share in shares:
        begin = time.process_time()
        while (done + 1) * cost <= share * n_passes:
            method.step(data, noise)
            done += 1
        seconds += time.process_time() - begin
        points.append({"passes": done * method.passes, "backward": done * method.backward,
                       "seconds": seconds, **judge(problem, points, tests)})
        if not points[-1]["loss"] < points[0]["loss"] + 1:  # or not a number
            return points, True
    return points, False


def make_problem(task, cache, dtype):
    if task == "shakespeare":
        import stories
        return stories.Problem(cache, dtype)
    import smol
    return smol.Problem(cache, dtype, task)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("method", choices=sorted(METHODS))
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--eps", type=float)
    parser.add_argument("--passes", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES,
                        help="of the passes, where it evaluates")
    parser.add_argument("--test", action="store_true", help="of a task: test rows, too")
    parser.add_argument("--cache", default=".", help="folder for what takes long to make")
    options = parser.parse_args()
    torch.set_num_threads(1)
    make, dtype = METHODS[options.method]
    problem = make_problem(options.task, options.cache, dtype)
    method = make(problem, options.rate, options.eps)
    points, diverged = train(problem, method, options.seed, options.passes, options.shares,
                             options.test)
    points = [{key: value if value == value else None for key, value in point.items()}
              for point in points]  # JSON has no NaN
    print(json.dumps({"method": options.method, "rate": options.rate, "eps": options.eps,
                      "seed": options.seed, "points": points, "diverged": diverged,
                      "rows": problem.rows, "tokens": problem.tokens,
                      "version": f"PyTorch {torch.__version__}"}))


if __name__ == "__main__":
    main()
