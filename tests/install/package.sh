#!/usr/bin/env bash
# package.sh BUILD SCRATCH: make the Debian package, and look at what is in it and what it needs.
set -euo pipefail
build=$1
scratch=$2
for tool in dpkg-deb dpkg-shlibdeps; do
    command -v $tool >/dev/null || { echo "left out: there is no $tool here"; exit 77; }
done
rm -rf "$scratch"
cpack -G DEB --config "$build/CPackConfig.cmake" -B "$scratch"
package=("$scratch"/ballot_*.deb)

# has FIELD PATTERN: a line of the package's description.
has() {
    dpkg-deb -f "${package[0]}" "$1" | grep -qE "$2" ||
        { echo "$1 of the package does not match $2" >&2; dpkg-deb -I "${package[0]}" >&2; exit 1; }
}
has Package '^ballot$'
has Version "^$("$build/ballot" --version | cut -d' ' -f2)$"
has Depends '\bopenmpi-bin\b' # mpirun, which no library asks for
for library in libc6 libhdf5-103-1 libinih1 libjansson4 libopenblas0 libopenmpi3 libpcre2-8-0 \
    libutf8proc2 libxxhash0; do
    has Depends "\b$library\b"
done
# Each -dev package that ballot is built with is suggested.
for library in $(sed '/^libcunit1-dev/,$d' tests/packages.txt | grep -E '^lib.*-dev$'); do
    has Suggests "\b$library\b"
done

dpkg-deb -c "${package[0]}" | awk '{ print $6 }' | grep -v '/$' >"$scratch/files"
for file in bin/ballot include/ballot/ballot.h include/ballot/version.h lib/libballot.a \
    lib/cmake/ballot/ballot-config.cmake lib/pkgconfig/ballot.pc share/man/man1/ballot.1 \
    share/bash-completion/completions/ballot share/doc/ballot/copyright; do
    grep -qx "./usr/$file" "$scratch/files" || { echo "the package has no $file" >&2; exit 1; }
done
if grep -v '^./usr/' "$scratch/files"; then
    echo "the package puts files outside /usr" >&2
    exit 1
fi
