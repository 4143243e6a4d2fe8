#!/usr/bin/env bash
# chroot.sh [package|container|quickstart...]: try on a bare Debian 12, in a folder of TMPDIR, what
# takes minutes and root: install the package of build/release and use it; do what jobs/apptainer.def
# says; run jobs/quickstart.sh. In the repository's root, after a build. BALLOT_MIRROR: where Debian's
# packages come from.
set -euo pipefail
mirror=${BALLOT_MIRROR:-http://deb.debian.org/debian}
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
    echo "left out: a bare Debian needs root and the program debootstrap"
    exit 77
fi
scratch=$(mktemp -d "${TMPDIR:-/tmp}/ballot-chroot.XXXXXX")
bare=$scratch/bare
root=$scratch/root

unmount() {
    for place in dev/pts dev/shm sys proc; do
        ! mountpoint -q "$root/$place" || umount --lazy "$root/$place"
    done
}
leave() { unmount && rm -rf --one-file-system "$scratch"; }
trap leave EXIT

# fresh: a bare system in $root, with what a booted one has mounted.
fresh() {
    [ -d "$bare" ] || debootstrap --variant=minbase bookworm "$bare" "$mirror" >"$scratch/log" ||
        { tail "$scratch/log"; exit 1; }
    unmount
    rm -rf --one-file-system "$root"
    cp -a "$bare" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mount -t devpts devpts "$root/dev/pts"
}

# inside SCRIPT: run it there, with nothing of this environment.
inside() {
    chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin HOME=/root \
        DEBIAN_FRONTEND=noninteractive /bin/sh -ec "$1"
}

try_package() {
    fresh
    cpack -G DEB --config build/release/CPackConfig.cmake -B "$scratch/package" >/dev/null
    mkdir "$root/work"
    cp -r "$scratch"/package/*.deb data jobs "$root/work"
    inside 'cd /work
        apt-get -qq update
        apt-get -qq install -y --no-install-recommends ./ballot_*.deb >/dev/null
        ballot --version
        ballot eval data/stories260k --job jobs/shakespeare.ini -s data.context=32
        mpirun --allow-run-as-root --oversubscribe -n 2 ballot train jobs/shakespeare.ini --run /tmp/run \
            -s run.steps=2 -s vote.slots=4 -s data.dev_examples=4
        apt-get -qq purge -y ballot >/dev/null
        test ! -e /usr/bin/ballot'
}

# section NAME: the lines of jobs/apptainer.def under %NAME.
section() { awk -v name="%$1" '/^%/ { on = $1 == name; next } on' jobs/apptainer.def; }

try_container() {
    fresh
    section files | while read -r from to; do
        [ -n "$from" ] || continue
        mkdir -p "$(dirname "$root$to")"
        cp -r "$from" "$root$to"
    done
    inside "$(section post)"
    inside "$(section test)"
    inside "set -- --version
$(section runscript)"
}

try_quickstart() {
    fresh
    mkdir "$root/work"
    git archive HEAD | tar -x -C "$root/work"
    inside 'cd /work; jobs/quickstart.sh; test -s runs/shakespeare/report.png'
}

for trial in "${@:-package container quickstart}"; do
    for one in $trial; do
        "try_$one"
        echo "$one: works on a bare Debian 12"
    done
done
