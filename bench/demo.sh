#!/bin/sh
# SPDX-License-Identifier: MIT
# The figures of docs/results.md on the shipped example: ./demo for several seeds, and their tables.
#   bench/demo.sh [SEED...]     default 1 2 3
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 1 2 3
for seed in "$@"; do
    ./demo --seed "$seed" >/dev/null
done
for seed in "$@"; do
    out=demo-run-$seed
    echo "seed $seed"
    build/tools/rlhf-eval --facts datasets/samples/facts.json --reward-model "$out/reward/model" \
        --policy "$out/sft/model" --policy "$out/ppo/model" --reference "$out/sft/model" --quiet \
        "SFT=$out/sft.jsonl" "PPO=$out/ppo.jsonl"
    build/tools/rlhf-eval --facts datasets/samples/facts.json --reward-model "$out/reward/model" \
        --rankings datasets/samples/rankings.validation.jsonl --quiet
done
