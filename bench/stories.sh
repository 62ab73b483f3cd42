#!/bin/sh
# SPDX-License-Identifier: MIT
# A real pretrained model through all three stages: stories260K (llama2.c's file of 260,032 weights) on the
# E2E data.
#   bench/stories.sh DATA MODEL OUT [SEED]
# DATA is the folder with the E2E files (see the README), MODEL the folder with stories260K.bin and
# tok512.bin; OUT is created. Ends with the table of rlhf-eval. Needs a build in build/.
set -eu
[ $# -ge 3 ] || {
    sed -n '3,7s/^# \{0,1\}//p' "$0"
    exit 64
}
data=$1
model=$2
out=$3
seed=${4:-1}
cd "$(dirname "$0")/.."
mkdir -p "$out"

# stage PROGRAM FOLDER ARGUMENT...: runs it unless it has run.
stage() {
    program=$1
    folder=$out/$2
    shift 2
    [ -f "$folder/report.md" ] || {
        rm -rf "$folder"
        "build/${program#rlhf-}/$program" "$@" --set data.root="$data" --seed "$seed" \
            --output "$folder" --quiet
    }
}

stage rlhf-sft sft --config configs/e2e-sft.json --model "$model/stories260K.bin" \
    --set tokenizer.path="$model/tok512.bin" --set train.epochs=18 --set train.learning_rate=5e-3
for half in "reward part_end" "judge part_begin"; do
    stage rlhf-reward "${half% *}" --config configs/e2e-reward.json --model "$out/sft/model" \
        --set "data.${half#* }=0.67" --set train.learning_rate=1e-3 --set train.epochs=6
done
stage rlhf-ppo ppo --config configs/e2e-ppo.json --model "$out/sft/model" \
    --reward-model "$out/reward/model" --set ppo.judge="$out/judge/model" \
    --set generation.max_tokens=140 --set ppo.kl_coef=0.15

# The 109 inputs of validation.csv, each once.
awk 'NR > 1 {
    sub(/\r$/, ""); match($0, /^"[^"]*"/); m = substr($0, 2, RLENGTH - 2)
    if (!(m in seen)) { seen[m] = 1; gsub(/\\/, "\\\\", m); printf "{\"prompt\": \"%s\"}\n", m }
}' "$data/validation.csv" >"$out/inputs.jsonl"
for policy in sft ppo; do
    build/tools/rlhf-generate --model "$out/$policy/model" --data "$out/inputs.jsonl" --samples 4 \
        --max-tokens 140 --seed 7 --output "$out/$policy.jsonl" --quiet >/dev/null
done
build/tools/rlhf-eval --facts configs/e2e-facts.json --reward-model "$out/reward/model" \
    --reward-model "$out/judge/model" --reference "$out/sft/model" --policy "$out/sft/model" \
    --policy "$out/ppo/model" --output "$out/policies.json" "sft=$out/sft.jsonl" \
    "ppo=$out/ppo.jsonl"
