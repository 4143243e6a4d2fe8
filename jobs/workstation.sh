#!/usr/bin/env bash
# workstation.sh JOB.ini RUN [RANKS [OPTION OF ballot train]...]: train under mpirun. If a rank, a
# host or mpirun itself dies, start again, until the run is done. These end it: bad input (2, 3), too
# little memory (4), a numerical failure (5), and three starts in a row that add no step to the
# journal, even if another process has the run. TERM, INT (Ctrl-C) or HUP lets the ranks finish their
# step and save, and ends with 75.
# The environment may set
#   BALLOT           the program (build/release/ballot)
#   BALLOT_MPIRUN    more options of mpirun, as "--hostfile hosts"
#   BALLOT_PATIENCE  seconds without a new step after which all is killed and started anew (3600)
#   BALLOT_GRACE     seconds the ranks have to stop before they are killed (120)
set -uo pipefail
exec 3>&2
say() { echo "workstation.sh: $*" >&3; }
if [ $# -lt 2 ]; then
    say "usage: workstation.sh JOB.ini RUN [RANKS [OPTION OF ballot train]...]"
    exit 2
fi
job=$1 run=$2 ranks=${3:-}
shift $(($# < 3 ? $# : 3))
for option in "$@"; do
    case $option in -h* | --m*)
        say "$option would stop the ranks and start them anew: put a limit around the whole, as" \
            "timeout --preserve-status 8h jobs/workstation.sh ..."
        exit 2
        ;;
    esac
done
ballot=${BALLOT:-build/release/ballot}
case $ranks in *[!0-9]* | 0)
    say "\"$ranks\" is no number of ranks; expected as in: workstation.sh $job $run 2 ..."
    exit 2
    ;;
esac
if ! command -v mpirun >/dev/null; then
    say "there is no mpirun: install Open MPI, or put its folder into PATH"
    exit 2
fi
if ! command -v "$ballot" >/dev/null; then
    say "$ballot is no program: build it, or let BALLOT name it, as BALLOT=/opt/bin/ballot"
    exit 2
fi
for seconds in "BALLOT_PATIENCE=${BALLOT_PATIENCE:=3600}" "BALLOT_GRACE=${BALLOT_GRACE:=120}"; do
    case ${seconds#*=} in '' | *[!0-9]*)
        say "$seconds: expected a whole number of seconds"
        exit 2
        ;;
    esac
done
read -ra more <<<"${BALLOT_MPIRUN:-}"
if [ "$(id -u)" = 0 ]; then # Open MPI asks root twice
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# What mpirun cannot start now, it cannot start in 5 s either.
if ! mpirun ${ranks:+-n "$ranks"} "${more[@]}" true; then
    say "mpirun cannot start ${ranks:-its} ranks: give another number, or let BALLOT_MPIRUN say" \
        "how, as --oversubscribe (more ranks than cores) or '--hostfile hosts' (more hosts)"
    exit 2
fi

bytes_of_journal() { stat -c %s "$run/ballots.journal" 2>/dev/null || echo 0; }
# Each process that takes the run counts its generation up. Where it did not grow, what the journal
# grew by is not from here.
generation() {
    sed -En 's/^generation ([0-9]{1,18})$/\1/p' "$run/run.lock" 2>/dev/null | grep . || echo 0
}

# mpirun takes its ranks with it when it ends itself (TERM), and they die with it when it cannot.
kill_all() {
    kill -TERM "$step"
    for _ in {1..10}; do kill -0 "$step" 2>/dev/null && sleep 1; done
    kill -KILL "$step" 2>/dev/null
}

stop_by=0 # SECONDS at which the patience with a stop ends; 0: nobody asked for one
trap '[ $stop_by -gt 0 ] || stop_by=$((SECONDS + $BALLOT_GRACE))' TERM INT HUP

idle=0 # starts in a row that added no step
while :; do
    bytes=$(bytes_of_journal) before=$(generation) grown=$SECONDS
    # In a session of its own, so that Ctrl-C does not reach it. The keepalive lets mpirun notice
    # within a quarter of a minute that a host is cut off.
    setsid mpirun ${ranks:+-n "$ranks"} --mca oob_tcp_keepalive_time 5 \
        --mca oob_tcp_keepalive_intvl 2 --mca oob_tcp_keepalive_probes 3 "${more[@]}" \
        "$ballot" train "$job" --run "$run" "$@" &
    step=$!
    last=$bytes
    exec 2>/dev/null # bash would tell which signal ended mpirun
    while kill -0 "$step" 2>/dev/null; do
        sleep 1 &
        wait $! # and not for sleep alone: a signal ends the wait at once
        now=$(bytes_of_journal)
        [ "$now" -ne "$last" ] && last=$now grown=$SECONDS
        [ "$stop_by" -gt 0 ] && kill -USR2 "$step" 2>/dev/null # mpirun passes it on to the ranks
        if [ "$stop_by" -gt 0 ] && [ "$SECONDS" -ge "$stop_by" ]; then
            say "the ranks did not stop within $BALLOT_GRACE s: killing them"
            kill_all
        elif [ $((SECONDS - grown)) -ge "$BALLOT_PATIENCE" ]; then
            say "no new step in $BALLOT_PATIENCE s: killing the ranks"
            kill_all
        fi
    done
    wait "$step"
    code=$?
    exec 2>&3
    case $code in 0 | 2 | 3 | 4 | 5) exit "$code" ;; esac
    [ "$stop_by" -gt 0 ] && exit 75 # also after a kill: the journal has every step
    idle=$((idle + 1))
    [ "$(bytes_of_journal)" -gt "$bytes" ] && [ "$(generation)" -gt "$before" ] && idle=0
    if [ "$idle" -ge 3 ]; then
        say "three starts in a row added no step to $run/ballots.journal: not started again;" \
            "when the cause above is mended, start the same command"
        exit 1
    fi
    say "ended with $code: starting it anew in 5 s"
    sleep 5 & # what is left of the ranks on other hosts ends meanwhile
    wait $!
    [ "$stop_by" -gt 0 ] && exit 75
done
