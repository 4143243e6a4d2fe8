#!/usr/bin/env bash
# packages.sh [test]: install the missing Debian packages of tests/packages.txt, as root or with sudo.
# Without either, say which are missing. With "test", include what only the tests need.
set -euo pipefail
list=$(dirname "$0")/../tests/packages.txt
if [ "${1:-}" = test ]; then wanted=$(grep -v '^#' "$list"); else wanted=$(sed '/^# test/,$d' "$list" | grep -v '^#'); fi
missing=()
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "This is not Debian; install the equivalents of these packages: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "Missing packages; install them with: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
echo "Installing: ${missing[*]}"
"${as_root[@]}" apt-get -qq update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
    "${missing[@]}" >/dev/null
