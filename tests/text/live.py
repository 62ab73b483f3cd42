#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares rlhf-tokenizer with Hugging Face's tokenizers, live, on the tokenizers of many families.

    python3 tests/text/live.py BUILD/tools/rlhf-tokenizer [NAME...] [--stream BUILD/tests/text/stream_lines]
                               [--count N] [--seed N] [--every] [--file]

For each tokenizer of tests/fixtures/text/mint.py (all, or those named), N random strings (1000 unless said
otherwise): ids with special tokens recognized and not, and for every fifth string the text decoded again with
and without special tokens, whole and cut in half, and id by id too with --stream. All have to be equal, but for one thing that is
meant to differ: where special tokens are not recognized, text does not become one even if the vocabulary
has it as a piece. Prints one line for each tokenizer, and how many strings were given back as they were.
With --every the strings hold every code point once behind a letter, before a space and behind a combining
mark instead. With --file each NAME is a tokenizer.json. Exits with 77 where the Python packages tokenizers
and sentencepiece are missing.
"""
import argparse
import os
import sys
import tempfile

# Hugging Face's panics where a step of a decoder meets an empty token: no trace of each.
os.environ["RUST_BACKTRACE"] = "0"

try:
    import sentencepiece  # noqa: F401
    import tokenizers
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fixtures", "text"))
import mint  # noqa: E402
import strings  # noqa: E402


CHUNK = 5000


class Report:
    def __init__(self, name):
        self.name, self.strings, self.bad, self.hidden, self.back = name, 0, 0, 0, 0

    def compare(self, what, text, got, want):
        if want is not None and got != want:
            self.bad += 1
            if self.bad <= 3:
                print(f"{self.name}: {what}: {text!r}\n  want {want!r}\n  got  {got!r}", file=sys.stderr)

    def print(self):
        print(f"{self.name}: {self.strings} strings, {self.bad} mismatches, {self.back} back as they were"
              + (f", {self.hidden} with a special token kept out of text" if self.hidden else ""), flush=True)


def decode(reference, ids, skip):
    """None where the reference itself fails."""
    try:
        return reference.decode_batch(ids, skip_special_tokens=skip)
    except BaseException:
        return [mint.decode(reference, item, skip) for item in ids]


def compare(program, stream, path, reference, texts, report):
    """One chunk of texts."""
    report.strings += len(texts)
    for recognize in (True, False):
        reference.encode_special_tokens = not recognize
        want = [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
        got = strings.ours(program, "encode", path, texts, *(["--special-in-text"] if recognize else []))
        for text, mine, theirs in zip(texts, got, want):
            if not recognize and mine["ids"] != theirs and mint.may_hide(reference, text):
                report.hidden += 1
                continue
            report.compare("encode" if recognize else "plain", text, mine["ids"], theirs)
        if not recognize:
            continue
        whole = want[::5]
        for ids in (whole, [w[:len(w) // 2] for w in whole]):
            for skip in (False, True):
                flags = ["--skip-special"] if skip else []
                back = strings.ours(program, "decode", path, ids, *flags)
                for text, mine, theirs in zip(texts[::5], back, decode(reference, ids, skip)):
                    report.compare(f"decode {skip}", text, mine["text"], theirs)
                    report.back += not skip and ids is whole and mine["text"] == text
                if stream is not None and ids is whole:
                    for text, mine, part in zip(texts[::5], back, strings.ours(stream, "decode", path, ids, *flags)):
                        report.compare(f"stream {skip}", text, part["text"], mine["text"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--stream")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--file", action="store_true")
    options = parser.parse_args()
    if options.file:
        made = {name: tokenizers.Tokenizer.from_file(name) for name in options.names}
    else:
        made = mint.families()
        whole = mint.families(mint.charsmap())
        for name in ("t5", "xlmr", "xlmr-first", "albert"):
            made[name + "-nfkc"] = whole[name]
    texts = list(strings.strings(options.count, options.seed, mint.SPECIAL))
    if options.every:
        texts = ["".join(f"a{chr(c)} b\u0323{chr(c)}" for c in strings.CODES[i:i + 50])
                 for i in range(0, len(strings.CODES), 50)]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        for name in options.names or made:
            made[name].save(path)
            reference = tokenizers.Tokenizer.from_file(path)  # numbers as that program reads them
            report = Report(name)
            for i in range(0, len(texts), CHUNK):
                compare(options.program, options.stream, path, reference, texts[i:i + CHUNK], report)
            report.print()
            bad += report.bad
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
