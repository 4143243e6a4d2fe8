#!/usr/bin/env bash
# run.sh [--quick] [PRESET...]: install what is missing, build, and run every test: as users run it,
# under the sanitizers, and under libFuzzer (with clang). All run in one pool, so that tests that wait
# for clocks leave the cores to others. Ends with the slowest tests. PRESET...: only these.
# --quick: the release preset, without the tests of the label "long"; for daily work.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
presets=(release asan fuzz)
options=()
[ "${1:-}" = --quick ] && shift && presets=(release) && options=(-LE long)
[ $# -gt 0 ] && presets=("$@")
jobs/packages.sh test || exit 1
mkdir -p build/pool
: >build/pool/CTestTestfile.cmake
for preset in "${presets[@]}"; do
    { cmake --preset "$preset" -DBAL_WERROR=ON && cmake --build --preset "$preset"; } \
        >"build/$preset.log" 2>&1 || { tail -n 60 "build/$preset.log"; exit 1; }
    # In the pool, a test is called PRESET:NAME.
    find "build/$preset" -name CTestTestfile.cmake -exec sed -n "s/^[a-z_]*(\[=*\[/&$preset:/p" {} + \
        >>build/pool/CTestTestfile.cmake
done
# Two at a time for each core: most wait half of the time. What computes all the time counts as two.
ctest --test-dir build/pool --output-on-failure -j "$((2 * $(nproc)))" "${options[@]}" |
    tee build/tests.log
status=$?
echo "The slowest tests, in seconds:"
sed -nE 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: ([^ ]+) .* ([0-9.]+) sec.*/\2 \1/p' build/tests.log |
    sort -rn | head -n 20
exit $status
