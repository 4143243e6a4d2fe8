#!/usr/bin/env bash
# quickstart.sh [RUN]: install what is missing, build, and teach stories260K Shakespeare by votes on
# two ranks. Then draw the run, and print a sample of text from before and after.
set -euo pipefail
cd "$(dirname "$0")/.."
run=${1:-runs/shakespeare}
echo "quickstart.sh: looking for packages that are missing"
jobs/packages.sh
echo "quickstart.sh: building ballot in build/release, which takes minutes the first time"
cmake --preset release >/dev/null
cmake --build --preset release >/dev/null || cmake --build --preset release
ballot=build/release/ballot
if [ "$(id -u)" = 0 ]; then # Open MPI asks root twice
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
echo "quickstart.sh: training stories260K on Shakespeare in $run"
mpirun --oversubscribe -n 2 "$ballot" train jobs/shakespeare.ini --run "$run"
/usr/bin/python3 analysis/report.py "$run"
prompt="ROMEO:"
for model in data/stories260k "$run/best.h5"; do
    echo
    echo "== $model continues \"$prompt\""
    "$ballot" generate "$model" "$prompt" --tokens 150 --temperature 0.8
done
echo
echo "The picture: $run/report.png. Read on in README.md"
