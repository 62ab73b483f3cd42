#!/bin/sh
# SPDX-License-Identifier: MIT
# Every header compiles alone.
set -eu
cd "$RLHF_TEST_SOURCE"
bad=0
for header in common/*/*.h datasets/*.h sft/*.h reward/*.h ppo/*.h tools/*.h tests/support/*.h; do
    [ -f "$header" ] || continue
    printf '#include "%s"\n' "$header" |
        ${CC:-cc} -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -I. -x c - || {
        echo "$header does not compile alone"
        bad=$((bad + 1))
    }
done
if [ "$bad" -gt 0 ]; then
    echo "[  FAILED  ] 1 test(s)."
    exit 1
fi
echo "[  PASSED  ] 1 test(s)."
