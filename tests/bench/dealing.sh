#!/usr/bin/env bash
# dealing.sh [BALLOT]: what vote.dealing = node saves where one of two ranks has another program on its
# core: median seconds of a step, dealt fixed and among the node in turn, with slots on their own and in
# teams of 8; the ideal, if both ranks could stop at once, by the rates of fixed; and the fingerprint of
# each. Wants 2 cores that nothing else uses.
set -euo pipefail
cd "$(dirname "$0")/../.."
ballot=${1:-build/release/ballot}
dir=$(mktemp -d)
taskset -c 1 bash -c 'while :; do :; done' &
busy=$!
trap 'kill $busy; rm -rf "$dir"' EXIT
for _ in 1 2 3 4 5; do
    for probe in two-sided one-sided; do
        for dealing in fixed node; do
            mpirun -n 2 --bind-to core "$ballot" train tests/e2e/pairs.ini --run "$dir/run" -s vote.dealing=$dealing \
                -s vote.probe=$probe -s data.batch=2 -s vote.slots=64 -s run.steps=24 -s run.eval_every=0 \
                -s data.dev= >"$dir/out" 2>&1
            /usr/bin/python3 - "$probe $dealing" "$dir/run/metrics.jsonl" <<'PYTHON'
import json, statistics, sys
with open(sys.argv[2], encoding="utf-8") as file:
    rows = [row["seconds"] for row in map(json.loads, file) if "seconds" in row]
step = statistics.median(sum(row.values()) for row in rows)
mine = statistics.median(row["probe"] for row in rows)  # of rank 0, which has a core to itself
late = statistics.median(row["probe"] + row["wait"] for row in rows)
ideal = f", ideal {step - late + 2 / (1 / mine + 1 / late):.4f}" if "fixed" in sys.argv[1] else ""
print(f"{sys.argv[1]:16} {step:.4f} s per step{ideal}")
PYTHON
            grep fingerprint "$dir/out"
            rm -rf "$dir/run"
        done
    done
done
