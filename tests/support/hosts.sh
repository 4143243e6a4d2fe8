#!/usr/bin/env bash
# hosts.sh: several "hosts" on one machine for MPI: network namespaces joined by a bridge, each with an
# address, a host name, /dev/shm and TMPDIR of its own, so that Open MPI starts a daemon on each and
# sends over TCP, and a host can be cut off, slowed or switched off in the middle of a run.
#   hosts.sh DIR up N          make hosts h1 .. hN, with their state in DIR
#   hosts.sh DIR run ARGS ...  mpirun ARGS on h1; one rank on each host
#   hosts.sh DIR cut|heal H    unplug its cable: packets vanish, nothing is told; plug it in again
#   hosts.sh DIR slow H QDISC  a tc queue on its link, as tbf rate 10mbit burst 32kbit latency 400ms
#   hosts.sh DIR off H         power failure: unplug, then SIGKILL to all that runs there
#   hosts.sh DIR pids H        what runs there
#   hosts.sh DIR down          kill what runs on the hosts, and remove them
# Needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN; touches no interface of the machine.
set -uo pipefail
PATH=$PATH:/usr/sbin:/sbin
dir=$1 what=$2
shift 2
mkdir -p "$dir" && dir=$(cd "$dir" && pwd) || exit 1
name=b$(cksum <<<"$dir" | cut -c1-6) # names of namespaces are the machine's: one set for each DIR
switch=$name-sw
die() { echo "hosts.sh: $*" >&2; exit 1; }
# Those that are there, also of a DIR that was deleted meanwhile.
hosts() { ip netns list | sed -n "s/^$name-\(h[0-9]*\)\b.*/\1/p" | sort -V; }

down() {
    local h p
    for h in $(hosts); do
        for p in $(ip netns pids "$name-$h" 2>/dev/null); do kill -KILL "$p" 2>/dev/null; done
        ip netns del "$name-$h" 2>/dev/null
    done
    ip netns list | grep -q "^$switch\b" && ip netns del "$switch"
    rm -rf "${dir:?}"/{hosts,enter,rsh} "$dir"/tmp.h*
}

up() {
    local i
    down
    ip netns add "$switch" || die "network namespaces cannot be made here"
    ip -n "$switch" link add br0 type bridge && ip -n "$switch" link set br0 up || die "no bridge"
    echo "127.0.0.1 localhost" >"$dir/hosts"
    for i in $(seq "$1"); do
        ip netns add "$name-h$i" &&
            ip -n "$name-h$i" link add eth0 type veth peer name "to-h$i" netns "$switch" &&
            ip -n "$name-h$i" addr add "10.77.0.$i/24" dev eth0 || die "host h$i cannot be made"
        ip -n "$name-h$i" link set lo up
        ip -n "$name-h$i" link set eth0 up
        ip -n "$switch" link set "to-h$i" master br0 up
        echo "10.77.0.$i h$i" >>"$dir/hosts"
        mkdir -p "$dir/tmp.h$i"
    done
    # enter HOST COMMAND ...: the network, host name, hosts file, /dev/shm and TMPDIR of a host
    cat >"$dir/enter" <<SH
#!/bin/sh
h=\$1; shift
export TMPDIR=$dir/tmp.\$h
exec nsenter --net=/run/netns/$name-\$h unshare --uts --mount --propagation private sh -c '
    hostname "\$0" && mount --bind $dir/hosts /etc/hosts && mount -t tmpfs tmpfs /dev/shm && exec "\$@"' "\$h" "\$@"
SH
    # what mpirun uses in place of ssh, which does not come back from a host that lost power
    cat >"$dir/rsh" <<SH
#!/bin/sh
h=\$1; shift
$dir/enter "\$h" sh -c "\$*"; rc=\$?
[ \$rc = 137 ] && exec sleep 600
exit \$rc
SH
    chmod +x "$dir/enter" "$dir/rsh"
}

case $what in
    up | down) "$what" "$@" ;;
    # exec: a signal to this process is one to mpirun. The keepalive is that of jobs/workstation.sh.
    run) exec "$dir/enter" h1 mpirun --host "$(hosts | paste -sd, -)" --mca plm rsh \
        --mca plm_rsh_agent "$dir/rsh" --mca ras ^slurm --mca btl tcp,self,vader \
        --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_keepalive_time 5 --mca oob_tcp_keepalive_intvl 2 \
        --mca oob_tcp_keepalive_probes 3 "$@" ;;
    cut) ip -n "$switch" link set "to-$1" down ;;
    heal) ip -n "$switch" link set "to-$1" up ;;
    slow)
        h=$1
        shift
        ip netns exec "$switch" tc qdisc add dev "to-$h" root "$@"
        ;;
    off)
        ip -n "$switch" link set "to-$1" down
        for p in $(ip netns pids "$name-$1"); do kill -KILL "$p" 2>/dev/null; done
        ;;
    pids) ip netns pids "$name-$1" ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
esac
