#!/usr/bin/env bash
# run.sh: install what is missing, build, and run every test: under the sanitizers, under libFuzzer
# (with clang), and as users run it. Ends with ctest's own summary. run.sh PRESET... runs only these.
set -uo pipefail
cd "$(dirname "$0")/.."
jobs/packages.sh test || exit 1
mkdir -p build
failed=0
for preset in "${@:-asan fuzz release}"; do
    for one in $preset; do
        echo "== $one"
        log=build/$one.log
        { cmake --preset "$one" -DBAL_WERROR=ON && cmake --build --preset "$one"; } >"$log" 2>&1 ||
            { tail -n 60 "$log"; exit 1; }
        ctest --preset "$one" -j "$(($(nproc) + 1))" || failed=1 # one of them mostly waits
    done
done
exit $failed
