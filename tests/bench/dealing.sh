#!/usr/bin/env bash
# dealing.sh [BALLOT]: what vote.dealing = node saves where one of two ranks has another program on its
# core: median seconds of a step, dealt fixed and among the node in turn, and the fingerprint of each.
# Wants 2 cores that nothing else uses.
set -euo pipefail
cd "$(dirname "$0")/../.."
ballot=${1:-build/release/ballot}
dir=$(mktemp -d)
taskset -c 1 bash -c 'while :; do :; done' &
busy=$!
trap 'kill $busy; rm -rf "$dir"' EXIT
for _ in 1 2 3 4 5; do
    for dealing in fixed node; do
        mpirun -n 2 --bind-to core "$ballot" train jobs/shakespeare.ini --run "$dir/run" -s vote.dealing=$dealing \
            -s vote.slots=64 -s run.steps=12 -s run.eval_every=0 -s data.dev= >"$dir/out" 2>&1
        /usr/bin/python3 - "$dealing" "$dir/run/metrics.jsonl" <<'PYTHON'
import json, statistics, sys
with open(sys.argv[2], encoding="utf-8") as file:
    rows = [row for row in map(json.loads, file) if "seconds" in row]
print(f"{sys.argv[1]:6} {statistics.median(sum(row['seconds'].values()) for row in rows):.4f} s per step")
PYTHON
        grep fingerprint "$dir/out"
        rm -rf "$dir/run"
    done
done
