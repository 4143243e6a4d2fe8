#!/usr/bin/env bash
# int4.sh: round stories260K to int4 for the text that it knows, then win back what that costs: first
# the codes vote, then gains and norms. Each stage continues where it was stopped. data/README.md
# says where the text comes from.
set -euo pipefail
cd "$(dirname "$0")/.."
ballot=build/release/ballot
text=data/tinystories/train.txt
run=runs/int4
if [ ! -e "$text" ]; then
    echo "int4.sh: $text is missing; data/README.md says how to make it" >&2
    exit 1
fi
if [ ! -x "$ballot" ]; then
    echo "int4.sh: $ballot is no program: build it, or run jobs/quickstart.sh, which does" >&2
    exit 2
fi
if [ "$(id -u)" = 0 ]; then # Open MPI asks root twice
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
mkdir -p "$run"
if [ ! -e "$run/rounded.h5" ]; then
    head -c 400000 "$text" >"$run/calibration.txt"
    "$ballot" quantize data/stories260k -s model.codes=i4 --text "$run/calibration.txt" -o "$run/rounded.h5"
fi
for stage in codes gains; do
    mpirun --oversubscribe -n 2 "$ballot" train "jobs/int4-$stage.ini" --run "$run/$stage"
done
"$ballot" eval "$run/gains" --job jobs/int4-gains.ini --split test
