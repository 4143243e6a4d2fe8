#!/usr/bin/env bash
# headers.sh COMPILER FLAGS...: each public header compiles alone, as C11 and as C++17, gives its
# functions C linkage, and is included by ballot/ballot.h. Run in the repository root.
set -uo pipefail
compiler=$1
shift
flags=("$@" -Iinclude -fsyntax-only -Wall -Wextra -pedantic -Werror)
bad=0
complain() { echo "$*" >&2; bad=1; }

for header in include/ballot/*.h; do
    name=${header#include/}
    for language in c=c11 c++=c++17; do
        "$compiler" -x "${language%=*}" -std="${language#*=}" "${flags[@]}" -include "$header" /dev/null ||
            complain "$header is not complete ${language#*=}"
    done
    [ "$name" = ballot/ballot.h ] && continue
    grep -q "^BAL_C_BEGIN" "$header" || complain "$header: BAL_C_BEGIN, for C++, is missing"
    grep -q "^#include \"$name\"" include/ballot/ballot.h ||
        complain "ballot/ballot.h does not include $name"
done
# The story that ballot.h opens with tells of functions that there are.
for word in $(grep -o '\bbal_[a-z0-9_]*' include/ballot/ballot.h | sort -u); do
    grep -qE --exclude=ballot.h "\b$word\b[(;]" include/ballot/*.h ||
        complain "ballot/ballot.h tells of $word, which no header declares"
done
exit $bad
