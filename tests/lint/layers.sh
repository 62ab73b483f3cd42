#!/bin/sh
# SPDX-License-Identifier: MIT
# Holds every #include "folder/..." against the table of docs/architecture.md.
set -eu
cd "$RLHF_TEST_SOURCE"

# allowed FOLDER: the folders it may include from.
allowed() {
    case $1 in
    common/base) echo common/base ;;
    common/kernels) echo common/base common/kernels ;;
    common/jinja) echo common/base common/jinja ;;
    common/text) echo common/base common/jinja common/text ;;
    common/model) echo common/base common/kernels common/model ;;
    common/export) echo common/base common/text common/model common/export ;;
    common/loss) echo common/base common/loss ;;
    common/train) echo common/base common/kernels common/model common/loss common/train ;;
    datasets) echo common/base common/text datasets ;;
    common/stage) echo common/base common/kernels common/text common/model common/loss common/train datasets common/stage ;;
    sft | reward | ppo) echo common/base common/kernels common/text common/model common/loss common/train datasets common/stage "$1" ;;
    tools) echo common/base common/jinja common/text common/model common/export common/loss common/train datasets common/stage tools ;;
    esac
}

bad=0
for folder in common/base common/kernels common/jinja common/text common/model common/export common/loss common/train datasets \
    common/stage sft reward ppo tools; do
    may=$(allowed "$folder")
    for file in "$folder"/*.c "$folder"/*.h; do
        [ -f "$file" ] || continue
        for from in $(sed -n 's/^#include "\([^"]*\)\/[^/"]*"$/\1/p' "$file" | sort -u); do
            case " $may " in
            *" $from "*) ;;
            *)
                echo "$file includes from $from; $folder may use: $may"
                bad=$((bad + 1))
                ;;
            esac
        done
        grep -q 'SPDX-License-Identifier: MIT' "$file" || {
            echo "$file has no SPDX line"
            bad=$((bad + 1))
        }
        lines=$(wc -l <"$file")
        if [ "$lines" -gt 600 ]; then
            echo "$file has $lines lines; split it (600 at most)"
            bad=$((bad + 1))
        fi
    done
done

# Unsafe or locale-dependent calls, and output from anywhere but a main.
if grep -nE '\b(strcpy|strcat|sprintf|gets|strtok|atoi|atof|rand|srand|setlocale|system|popen)\(' \
    common/*/*.c datasets/*.c sft/*.c reward/*.c ppo/*.c tools/*.c; then
    echo "banned functions are used"
    bad=$((bad + 1))
fi
if grep -nE '\b(printf|puts|exit)\(' common/*/*.c datasets/*.c sft/*.c reward/*.c ppo/*.c |
    grep -vE '_main\.c:|common/base/(options|log|error)'; then
    echo "only mains print and exit"
    bad=$((bad + 1))
fi

if [ "$bad" -gt 0 ]; then
    echo "[  FAILED  ] 1 test(s)."
    exit 1
fi
echo "[  PASSED  ] 1 test(s)."
