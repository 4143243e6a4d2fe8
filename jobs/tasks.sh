#!/usr/bin/env bash
# tasks.sh MODEL [TASK...] [OPTION...]: what a model makes of tasks: zero-shot, in context, and tuned by
# votes, in one table. The same command continues what was cut off. --help lists the options.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then # Open MPI asks root twice
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
exec "${PYTHON:-/usr/bin/python3}" "$(dirname "$0")/../analysis/tasks.py" "$@"
