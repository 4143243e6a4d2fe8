#!/usr/bin/env bash
# campaign.sh [LOG]: the tests of failures with as many trials as a release wants, some hours.
# In pieces, each with seeds of its own and short enough for its time-out; what mostly waits runs beside
# what computes. Prints what each piece has to say; all that the tests print goes to LOG. Wants a release
# build (cmake --preset release && cmake --build --preset release).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
log=${1:-build/campaign.log}
: >"$log"
failed=0
pieces() { # HOW-MANY SEEDS-IN-EACH TEST WHAT-TO-KEEP SETTING ...
    local n=$1 seeds=$2 test=$3 keep=$4 piece out
    shift 4
    for ((piece = 0; piece < n; ++piece)); do
        out=$(env BALLOT_TEST_SEED=$((1 + piece * seeds)) "$@" ctest --preset release -R "^$test\$" -V 2>&1) ||
            { failed=1 && echo "$test, piece $((piece + 1)): FAILED, see $log"; }
        echo "$out" >>"$log"
        grep -oE "$keep" <<<"$out" | sort -u | sed "s/^/$test, piece $((piece + 1)) of $n: /"
    done
}
(
    pieces 5 1 e2e_hosts 'a (rank|cable|host|link) .*' BALLOT_HOSTS_TRIALS=10
    pieces 3 1 e2e_slurm 'Ran [0-9]+ tests.*'
    exit $failed
) &
waiting=$!
(
    pieces 1 1 e2e_soak '[0-9]+ s, [0-9]+ steps:.*' BALLOT_SOAK_SECONDS=3600 nice -n 19
    exit $failed
) &
soak=$!
pieces 10 1 e2e_killed '[0-9]+ of [0-9]+ kills:[^.]*' BALLOT_KILLS=100
pieces 20 500 simulated_runs '[0-9]+ (seeds|bits|liars),[^.]*' BALLOT_SIMULATIONS=500
pieces 1 1 fault_record 'Test: .*' BALLOT_FAULT_SEEDS=20
pieces 5 2000 fault_flips '[a-z ]+: [0-9]+ bits flipped.* silent' BALLOT_FLIPS=2000
pieces 1 1 fault_commands '[a-zA-Z].*: [0-9]+ of [0-9]+ allocations.* bad' BALLOT_FAULT_FIRST=0
wait $waiting || failed=1
wait $soak || failed=1
exit $failed
