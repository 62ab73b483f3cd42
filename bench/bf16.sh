#!/bin/sh
# SPDX-License-Identifier: MIT
# Whether BF16 products train as FP32's do: the three stages of the shipped example with both, for several
# seeds, and what the runs measured side by side.
#   bench/bf16.sh OUT [SEED...]     default 1 2 3; needs a build in build/
set -eu
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || {
    sed -n '3,5s/^# \{0,1\}//p' "bench/bf16.sh"
    exit 64
}
out=$1
shift
[ $# -gt 0 ] || set -- 1 2 3
mkdir -p "$out"

# stage PROGRAM FOLDER ARGUMENT...: runs it unless it has run.
stage() {
    program=$1
    folder=$2
    shift 2
    [ -f "$folder/report.md" ] || {
        rm -rf "$folder"
        "build/${program#rlhf-}/$program" "$@" --output "$folder" --quiet
    }
}

for seed in "$@"; do
    for type in fp32 bf16; do
        at=$out/$type-$seed
        how="--seed $seed --set compute.dtype=$type"
        # shellcheck disable=SC2086
        stage rlhf-sft "$at-sft" --config configs/demo-sft.json $how
        # shellcheck disable=SC2086
        stage rlhf-reward "$at-reward" --config configs/demo-reward.json \
            --model "$at-sft/model" $how
        # shellcheck disable=SC2086
        stage rlhf-ppo "$at-ppo" --config configs/demo-ppo.json --model "$at-sft/model" \
            --reward-model "$at-reward/model" $how
        for model in sft ppo; do
            [ -f "$at-$model.jsonl" ] ||
                build/tools/rlhf-generate --model "$at-$model/model" --max-tokens 64 \
                    --data datasets/samples/prompts.evaluation.jsonl --seed "$seed" \
                    --output "$at-$model.jsonl" --quiet
        done
    done
done

python3 - "$out" "$@" <<'PYTHON'
import json, statistics, sys

out, seeds = sys.argv[1], sys.argv[2:]
curves = [("sft", "train/loss"), ("sft", "eval/loss"), ("reward", "train/loss"), ("reward", "eval/accuracy"),
          ("ppo", "objective/scores"), ("ppo", "objective/kl"), ("ppo", "loss/value_avg")]


def curve(type, seed, stage, name):
    with open(f"{out}/{type}-{seed}-{stage}/metrics.jsonl") as lines:
        rows = [json.loads(line) for line in lines]
    return [row[name] for row in rows if name in row]


def tail(values):
    return statistics.fmean(values[-max(1, len(values) // 10):])


print("| curve | mean of its last tenth, FP32 / BF16, by seed | BF16 against FP32, point by point | seeds among each other, FP32 |")
print("|---|---|---:|---:|")
for stage, name in curves:
    both = [(curve("fp32", s, stage, name), curve("bf16", s, stage, name)) for s in seeds]
    if not both[0][0]:
        continue
    distance = statistics.fmean(abs(a - b) for x, y in both for a, b in zip(x, y))
    among = [abs(a - b) for i in range(len(both)) for j in range(i) for a, b in zip(both[i][0], both[j][0])]
    ends = ", ".join(f"{tail(x):.3f} / {tail(y):.3f}" for x, y in both)
    print(f"| {stage} {name} | {ends} | {distance:.4f} | {statistics.fmean(among) if among else 0:.4f} |")
PYTHON
for seed in "$@"; do
    for type in fp32 bf16; do
        echo "seed $seed, $type"
        build/tools/rlhf-eval --facts datasets/samples/facts.json --quiet \
            "SFT=$out/$type-$seed-sft.jsonl" "PPO=$out/$type-$seed-ppo.jsonl"
    done
done
