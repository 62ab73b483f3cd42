#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares rlhf-tokenizer with Hugging Face's tokenizers, live. Not part of ./check.

    python3 tests/text/differential.py encode BUILD/tools/rlhf-tokenizer TOKENIZER.json [COUNT [SEED]]
    python3 tests/text/differential.py train BUILD/tools/rlhf-tokenizer FILE...

encode: COUNT random strings (100,000 unless said otherwise) of every script and kind of white space,
emoji, joiners, combining marks, control characters and bytes that happen to be valid UTF-8, with special
tokens strewn in; ids with special tokens recognized and not, and the text decoded again, must be equal.
train: on each text file (lines are texts) for vocabularies of 500, 1000, 4000 and 10000; vocabularies
and merges must be equal, and tokenizers must read what we wrote and encode alike.

Needs the Python package tokenizers.
"""
import json
import os
import subprocess
import sys
import tempfile

from strings import ours, strings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

def compare(program, path, count, seed):
    reference = Tokenizer.from_file(path)
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    texts = list(strings(count, seed, added))
    bad = 0
    for recognize in (True, False):
        reference.encode_special_tokens = not recognize
        want = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
        got = ours(program, "encode", path, texts, *(["--special-in-text"] if recognize else []))
        back = ours(program, "decode", path, [g["ids"] for g in got])
        plain = reference.decode_batch(want, skip_special_tokens=False)
        skipped = reference.decode_batch(want, skip_special_tokens=True)
        skip = ours(program, "decode", path, [g["ids"] for g in got], "--skip-special")
        cut = [w[:len(w) // 2] for w in want]
        half = ours(program, "decode", path, cut)
        halved = reference.decode_batch(cut, skip_special_tokens=False)
        for i, text in enumerate(texts):
            same = (got[i]["ids"] == want[i] and back[i]["text"] == plain[i]
                    and skip[i]["text"] == skipped[i] and half[i]["text"] == halved[i])
            if not same:
                bad += 1
                if bad <= 5:
                    print(f"special {recognize}: {text!r}\n  want {want[i]}\n  got  {got[i]['ids']}\n"
                          f"  decoded {back[i]['text']!r} {plain[i]!r}", file=sys.stderr)
    print(f"{path}: {len(texts)} strings, each with and without special tokens: {bad} mismatches")
    return bad


def train(program, path):
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if line]
    bad = 0
    for size in (500, 1000, 4000, 10000):
        reference = Tokenizer(models.BPE())
        reference.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        reference.decoder = decoders.ByteLevel()
        reference.train_from_iterator(lines, trainers.BpeTrainer(
            vocab_size=size, min_frequency=2, special_tokens=special, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        with tempfile.TemporaryDirectory() as folder:
            data = os.path.join(folder, "texts.jsonl")
            with open(data, "w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": line}) + "\n" for line in lines)
            out = os.path.join(folder, "tokenizer")
            subprocess.run([program, "train", "--data", data, "--vocabulary", str(size), "--output", out,
                            *(f"--special={text}" for text in special)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            saved = os.path.join(out, "tokenizer.json")
            with open(saved, encoding="utf-8") as file:
                mine = json.load(file)
            theirs = json.loads(reference.to_str())
            vocabulary = mine["model"]["vocab"] == theirs["model"]["vocab"]
            merges = mine["model"]["merges"] == theirs["model"]["merges"]
            print(f"{path}, vocabulary {size}: {len(mine['model']['merges'])} merges, "
                  f"vocabulary {'same' if vocabulary else 'DIFFERENT'}, "
                  f"merges {'same' if merges else 'DIFFERENT'}")
            bad += (not vocabulary) + (not merges)
            loaded = Tokenizer.from_file(saved)
            for line in lines[:2000]:
                bad += loaded.encode(line).ids != reference.encode(line).ids
            bad += compare(program, saved, 5000, size)
    return bad


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in ("encode", "train"):
        sys.exit(__doc__)
    if sys.argv[1] == "encode":
        count = int(sys.argv[4]) if len(sys.argv) > 4 else 100000
        seed = int(sys.argv[5]) if len(sys.argv) > 5 else 1
        sys.exit(compare(sys.argv[2], sys.argv[3], count, seed) > 0)
    sys.exit(sum(train(sys.argv[2], path) for path in sys.argv[3:]) > 0)


if __name__ == "__main__":
    main()
