#!/bin/sh
# SPDX-License-Identifier: MIT
# The figures of docs/results.md on real human data: the whole pipeline for one or more seeds.
#   bench/e2e.sh DATA OUT [SEED...]
# DATA is the folder with the E2E files (see the README), OUT is created; a second call continues. For
# each seed: SFT from scratch, a reward model on all rankings (its accuracy is the figure), one on two
# thirds of the prompts (PPO's reward) and one on the last third (the judge that chooses the policy),
# PPO, samples of every kept policy on the inputs of validation.csv, and tables by rlhf-eval.
# BIN names the folder of the programs (default build), THREADS the threads of each.
set -eu
[ $# -ge 2 ] || {
    sed -n '3,9s/^# \{0,1\}//p' "$0"
    exit 64
}
data=$1
out=$2
shift 2
[ $# -gt 0 ] || set -- 1 2 3
here=$(cd "$(dirname "$0")/.." && pwd)
build=${BIN:-$here/build}
threads=${THREADS:-0}
mkdir -p "$out"

# program NAME ARGUMENT...
program() {
    name=$1
    shift
    for folder in "$build" "$build/${name#rlhf-}" "$build/tools"; do
        if [ -x "$folder/$name" ] && [ ! -d "$folder/$name" ]; then
            "$folder/$name" "$@" --threads "$threads" --quiet
            return
        fi
    done
    echo "error: $name is not in $build; build first" >&2
    exit 69
}

# train PROGRAM OUTPUT ARGUMENT...: starts or continues.
train() {
    name=$1
    folder=$2
    shift 2
    echo "$name -> $folder" >&2
    if [ -f "$folder/run.json" ]; then
        program "$name" "$@" --output "$folder" --resume >/dev/null
    else
        program "$name" "$@" --output "$folder" >/dev/null
    fi
}

# samples MODEL N FILE: N texts for each input of validation.csv, at temperature 1.
samples() {
    [ -f "$3" ] || program rlhf-generate --model "$1" --data "$out/inputs.jsonl" --samples "$2" \
        --max-tokens 80 --seed 7 --output "$3" >/dev/null
}

# The 109 inputs of validation.csv, each once.
[ -f "$out/inputs.jsonl" ] || awk 'NR > 1 {
    sub(/\r$/, ""); match($0, /^"[^"]*"/); m = substr($0, 2, RLENGTH - 2)
    if (!(m in seen)) { seen[m] = 1; gsub(/\\/, "\\\\", m); printf "{\"prompt\": \"%s\"}\n", m }
}' "$data/validation.csv" >"$out/inputs.jsonl"

for seed in "$@"; do
    run=$out/seed-$seed
    mkdir -p "$run"
    config() {
        echo "$here/configs/e2e-$1.json"
    }
    train rlhf-sft "$run/sft" --config "$(config sft)" --set data.root="$data" --seed "$seed"
    sft=$run/sft/model
    train rlhf-reward "$run/reward-all" --config "$(config reward)" --set data.root="$data" \
        --seed "$seed" --model "$sft"
    train rlhf-reward "$run/reward" --config "$(config reward)" --set data.root="$data" \
        --seed "$seed" --model "$sft" --set data.part_end=0.67
    train rlhf-reward "$run/judge" --config "$(config reward)" --set data.root="$data" \
        --seed "$seed" --model "$sft" --set data.part_begin=0.67
    train rlhf-ppo "$run/ppo" --config "$(config ppo)" --set data.root="$data" --seed "$seed" \
        --model "$sft" --reward-model "$run/reward/model" --set ppo.judge="$run/judge/model"

    samples "$sft" 4 "$run/sft.jsonl"
    samples "$sft" 64 "$run/sft-64.jsonl"
    samples "$run/ppo/model" 4 "$run/ppo.jsonl"
    files="sft=$run/sft.jsonl ppo=$run/ppo.jsonl"
    policies="--policy $sft --policy $run/ppo/model"
    for checkpoint in "$run"/ppo/checkpoints/step-????????; do
        step=$(basename "$checkpoint" | sed 's/step-0*\([0-9]\)/\1/')
        samples "$checkpoint/model" 4 "$run/ppo-$step.jsonl"
        files="$files $step=$run/ppo-$step.jsonl"
        policies="$policies --policy $checkpoint/model"
    done
    # shellcheck disable=SC2086
    program rlhf-eval --facts "$here/configs/e2e-facts.json" --reward-model "$run/reward/model" \
        --reward-model "$run/judge/model" --reference "$sft" $policies \
        --output "$run/policies.json" $files >"$run/policies.txt"
    program rlhf-eval --facts "$here/configs/e2e-facts.json" --reward-model "$run/reward/model" \
        --best-of --output "$run/best-of.json" "sft=$run/sft-64.jsonl" >"$run/best-of.txt"
    program rlhf-eval --reward-model "$run/reward-all/model" \
        --rankings "$data/rankings-quality.validation.jsonl" \
        --output "$run/accuracy.json" >"$run/accuracy.txt"
    cat "$run/accuracy.txt" "$run/best-of.txt" "$run/policies.txt"
done
