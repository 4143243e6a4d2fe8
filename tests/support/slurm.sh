#!/usr/bin/env bash
# slurm.sh up|down DIR: a throw-away Slurm of three nodes on this machine, which the tests of
# batch jobs use. Its state is in DIR and nowhere else, it listens on the loopback address, and no
# service of the system is touched; its daemons are stopped by their process ids. With
# SLURM_CONF=DIR/slurm.conf in the environment sbatch, squeue, ... speak to it.
#   SLURM_TEST_PORT  the first of four TCP ports (26817)
# Each node claims 4 CPUs, whatever there is. Times are short: a requeued job waits 6 s, a node is
# given up after 12 s.
set -uo pipefail
[ $# -eq 2 ] || { echo "usage: slurm.sh up|down DIR" >&2; exit 2; }
mkdir -p "$2" && dir=$(cd "$2" && pwd) || exit 1
port=${SLURM_TEST_PORT:-26817}
host=$(hostname -s)
nodes=(bn1 bn2 bn3)
export PATH=$PATH:/usr/sbin SLURM_CONF=$dir/slurm.conf

die() {
    echo "slurm.sh: $*" >&2
    exit 1
}

wait_for() { # SECONDS COMMAND...
    local tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

write_configuration() {
    {
        cat <<CONF
ClusterName=ballot
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool.%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.%n.log
PluginDir=$(dirname "$(find /usr/lib -name mpi_pmix.so -path '*slurm*' | head -1)")
MailProg=/bin/true
MpiDefault=pmix
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
ReturnToService=2
SlurmdTimeout=12
SlurmdParameters=config_overrides
CONF
        for i in "${!nodes[@]}"; do
            echo "NodeName=${nodes[i]} NodeHostname=$host NodeAddr=127.0.0.1" \
                "Port=$((port + 1 + i)) CPUs=4"
        done
        echo "PartitionName=normal Nodes=ALL Default=YES PriorityTier=1 GraceTime=20"
        echo "PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF"
    } >"$dir/slurm.conf"
    echo "CgroupAutomount=no" >"$dir/cgroup.conf"
}

all_idle() { [ "$(sinfo -h -p normal -t idle -N -o %N | wc -l)" -eq ${#nodes[@]} ]; }

up() {
    getent hosts "$host" >/dev/null ||
        die "the name of this host, $host, does not resolve: add it to /etc/hosts"
    rm -rf -- "$dir/state" "$dir"/spool.* "${nodes[@]/#/$dir/}"
    mkdir "$dir/state"
    write_configuration
    (umask 077; head -c 1024 /dev/urandom >"$dir/munge.key")
    # --force: a directory above may be open to others, as /tmp is
    munged --force --socket="$dir/munge.sock" --key-file="$dir/munge.key" \
        --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" --seed-file="$dir/munge.seed" ||
        die "munged: see $dir/munged.log"
    wait_for 20 munge --socket="$dir/munge.sock" --no-input || die "munged: see $dir/munged.log"
    slurmctld -f "$dir/slurm.conf" || die "slurmctld: see $dir/slurmctld.log"
    wait_for 30 scontrol ping || die "slurmctld: see $dir/slurmctld.log"
    for node in "${nodes[@]}"; do
        # a directory of its own: on one machine the PMIx plugins would choose the same names
        mkdir -p "$dir/spool.$node" "$dir/$node/tmp"
        ln -sf ../slurm.conf ../cgroup.conf "$dir/$node/"
        echo "PMIxCliTmpDirBase=$dir/$node/tmp" >"$dir/$node/mpi.conf"
        slurmd -f "$dir/$node/slurm.conf" -N "$node" || die "slurmd: see $dir/slurmd.$node.log"
    done
    # now and then a first registration is lost, and would come again after half a minute
    wait_for 5 all_idle || scontrol reconfigure
    wait_for 60 all_idle || die "the nodes do not come up: see $dir/slurmd.*.log"
}

alive() { # PIDFILE PROGRAM: only if that process is that program
    pid=$(cat "$1" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

stop() { # PIDFILE PROGRAM
    alive "$1" "$2" || return
    kill "$pid"
    wait_for 10 test ! -e "/proc/$pid" || kill -KILL "$pid"
}

no_jobs() { [ -z "$(squeue -h -o %A)" ]; }

down() {
    if alive "$dir/slurmctld.pid" slurmctld; then
        scancel --user="$(id -un)"
        wait_for 20 no_jobs
    fi
    for node in "${nodes[@]}"; do stop "$dir/slurmd.$node.pid" slurmd; done
    stop "$dir/slurmctld.pid" slurmctld
    stop "$dir/munged.pid" munged
}

case $1 in
    up)
        down # what a killed test has left
        up
        ;;
    down) down ;;
    *) die "$1: expected up or down" ;;
esac
