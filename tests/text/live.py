#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares rlhf-tokenizer with Hugging Face's tokenizers, live, on the tokenizers of many families.

    python3 tests/text/live.py BUILD/tools/rlhf-tokenizer [NAME...] [--count N] [--seed N] [--every]

For each tokenizer of tests/fixtures/text/mint.py (all, or those named), N random strings (1000 unless said
otherwise): ids with special tokens recognized and not, and for every fifth string the text decoded again with
and without special tokens, whole and cut in half. All have to be equal, but
for two things that are meant to differ: where special tokens are not recognized, text does not become one
even if the vocabulary has it as a piece; and a character that the vocabulary cannot spell is an error,
where Hugging Face's drops it. Prints one line for each tokenizer. With --every the strings
hold every code point once behind a letter, before a space and behind a combining mark instead. Exits with 77 where the Python packages
tokenizers and sentencepiece are missing.
"""
import argparse
import os
import sys
import tempfile

try:
    import sentencepiece  # noqa: F401
    import tokenizers  # noqa: F401
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fixtures", "text"))
import mint  # noqa: E402
import strings  # noqa: E402


class Report:
    def __init__(self, name):
        self.name, self.bad = name, 0

    def compare(self, what, text, got, want):
        if want is not None and got != want:
            self.bad += 1
            if self.bad <= 3:
                print(f"{self.name}: {what}: {text!r}\n  want {want!r}\n  got  {got!r}", file=sys.stderr)


def compare(program, name, reference, texts, folder):
    path = os.path.join(folder, name + ".json")
    reference.save(path)
    report = Report(name)
    for recognize in (True, False):
        reference.encode_special_tokens = not recognize
        want = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
        got = [g["ids"] for g in strings.ours(program, "encode", path, texts, *(["--special-in-text"] if recognize else []))]
        skipped = 0
        for i, text in enumerate(texts):
            if not recognize and got[i] != want[i] and mint.may_hide(reference, text):
                skipped += 1
                continue
            report.compare("encode" if recognize else "plain", text, got[i], want[i])
        for ids in (want[::5], [w[:len(w) // 2] for w in want[::5]]):
            for skip in (False, True):
                back = strings.ours(program, "decode", path, ids, *(["--skip-special"] if skip else []))
                for i, text in enumerate(texts[::5]):
                    report.compare(f"decode {skip}", text, back[i]["text"],
                                   mint.decode(reference, ids[i], skip))
    print(f"{name}: {len(texts)} strings, {report.bad} mismatches"
          + (f", {skipped} with a special token kept out of text" if skipped else ""), flush=True)
    return report.bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", action="store_true")
    options = parser.parse_args()
    made = mint.families()
    whole = mint.families(mint.charsmap())
    for name in ("t5", "xlmr", "xlmr-first", "albert"):
        made[name + "-nfkc"] = whole[name]
    bad = 0
    texts = list(strings.strings(options.count, options.seed, mint.SPECIAL))
    if options.every:
        texts = ["".join(f"a{chr(c)} b\u0323{chr(c)}" for c in strings.CODES[i:i + 50])
                 for i in range(0, len(strings.CODES), 50)]
    with tempfile.TemporaryDirectory() as folder:
        for name, reference in made.items():
            if not options.names or name in options.names:
                bad += compare(options.program, name, reference, texts, folder)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
