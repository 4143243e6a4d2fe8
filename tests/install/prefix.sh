#!/usr/bin/env bash
# prefix.sh BUILD SCRATCH: install a build into an empty prefix, and build and run programs against
# it as users do: with pkg-config, with find_package, from C and from C++. Then move the prefix to
# another place and do it again. Run in the repository root.
set -euo pipefail
build=$1
scratch=$2
rm -rf "$scratch"
mkdir -p "$scratch"
head -c 20000 data/tinystories/dev.txt >"$scratch/text"
"$build/examples/loss" data/stories260k "$scratch/text" >"$scratch/expected"

# same PROGRAM: it finds the loss that the program of the build finds.
same() { "$1" data/stories260k "$scratch/text" | diff "$scratch/expected" -; }

# with_pkg_config PREFIX: the words of a compiler's command line, as in any Makefile.
with_pkg_config() {
    export PKG_CONFIG_PATH
    PKG_CONFIG_PATH=$(dirname "$(find "$1" -name ballot.pc)")
    # shellcheck disable=SC2046 # words
    cc -o "$scratch/loss" examples/loss.c $(pkg-config --cflags --libs ballot)
    same "$scratch/loss"
    printf '#include <ballot/ballot.h>\nint main() { return bal_status_words(BAL_OK) == nullptr; }\n' >"$scratch/words.cc"
    # shellcheck disable=SC2046
    c++ -std=c++17 -o "$scratch/words" "$scratch/words.cc" $(pkg-config --cflags --libs ballot)
    "$scratch/words"
    test "$(pkg-config --modversion ballot)" = "$("$1/bin/ballot" --version | cut -d' ' -f2)"
}

with_find_package() {
    rm -rf "$scratch/examples"
    cmake -G Ninja -S examples -B "$scratch/examples" -DCMAKE_PREFIX_PATH="$1" -DCMAKE_BUILD_TYPE=Release
    cmake --build "$scratch/examples"
    same "$scratch/examples/loss"
}

cmake --install "$build" --prefix "$scratch/here"
for prefix in "$scratch/here" "$scratch/there/moved"; do
    mkdir -p "$(dirname "$prefix")"
    [ -d "$prefix" ] || mv "$scratch/here" "$prefix"
    if grep -rIl -e "$scratch" -e "$PWD" "$prefix"; then
        echo "these files name where they lie, or where they were built" >&2
        exit 1
    fi
    with_pkg_config "$prefix"
    with_find_package "$prefix"
done
