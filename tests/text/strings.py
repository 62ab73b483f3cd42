# SPDX-License-Identifier: MIT
"""For comparing tokenizers: random strings of every script and kind of white space, and what rlhf-tokenizer
makes of them."""
import json
import random
import subprocess
import tempfile

import unicodedata

SPACES = [chr(c) for c in (9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028,
                           0x2029, 0x202F, 0x205F, 0x3000, 0x180E, 0x200B, 0xFEFF, 28, 29, 30, 31)]
PIECES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "\u2019s", "\u017f", "'\u017f",
          "don't", "\r\n", "\n\n", "...", "--", "://", "3.14", "1,000,000", "x\u0301", "e\u0301\u0323",
          "\U0001F468\u200D\U0001F469\u200D\U0001F467", "\U0001F3F4\U000E0067\U000E0062\U000E007F",
          "\u2764\ufe0f", "\U0001F44D\U0001F3FD", "\u0915\u094d\u0937", "\ud55c\uad6d",
          "\u1112\u1161\u11ab", "\ufb03", "\u00df", "\u0130", "\u2167", "\u00bd", "\u0661\u0662", "\u2581",
          "\u00e9\u0327", "\u0344", "\u1e9b\u0323", "\u2126", "\u212b", "\u0958", "\u0f73\u0f71", "\ufdfa",
          "\u3000", "\uff21\uff42", "``", "''", " ' ", " n't", "\ufffd", "\u00ad", "\u0600a", "\u0149"]
# Every code point that a string may have, assigned or not: surrogates are none, and NUL ends strings.
CODES = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
BLOCKS = {}
for code in CODES:
    if unicodedata.category(chr(code)) not in ("Cn", "Co"):
        BLOCKS.setdefault(code >> 7, []).append(code)
BLOCKS = list(BLOCKS.values())
WORDS = "the of and to in is you that it he was for on are as with his they I at be this have from".split()
ACCENTED = "\u00e0\u00e1\u00e2\u00e3\u00e4\u00e5\u00e6\u00e7\u00e8\u00e9\u00f1\u00f6\u00fc\u0107\u0159\u1ec7"


def part(rng, special):
    kind = rng.randrange(14)
    if kind == 0:
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 6)))
    if kind == 1:
        return " " * rng.randint(1, 5)
    if kind == 2:
        return rng.choice(PIECES)
    if kind == 3 and special:
        return rng.choice(special)
    if kind == 4:
        return "".join(chr(rng.choice(CODES)) for _ in range(rng.randint(1, 4)))
    if kind == 5:
        return "".join(chr(rng.randrange(1, 256)) for _ in range(rng.randint(1, 8)))
    if kind == 6:
        raw = bytes(rng.randrange(1, 256) for _ in range(rng.randint(2, 40)))
        return raw.decode("utf-8", "ignore")
    if kind == 7:
        return rng.choice("0123456789abc!") * rng.randint(1, 90)
    if kind in (8, 9):
        block = rng.choice(BLOCKS)
        return "".join(chr(rng.choice(block)) for _ in range(rng.randint(1, 12)))
    if kind == 10:
        return "".join(rng.choice(ACCENTED + "abc'") for _ in range(rng.randint(1, 8)))
    if kind == 11:
        return rng.choice(WORDS) + chr(rng.choice(range(0x300, 0x36f))) * rng.randint(1, 3)
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 6)))


def strings(count, seed, special):
    """count strings; special: texts to strew in, whole, cut, doubled and in capitals."""
    rng = random.Random(seed)
    pieces = list(special)
    for text in special:
        pieces += [text[:-1], text + text, " " + text + " ", text.upper()]
    for _ in range(count):
        yield "".join(part(rng, pieces) for _ in range(rng.randint(1, 8))).replace("\0", "")


def ours(program, command, path, lines, *flags):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        file.flush()
        run = subprocess.run([program, command, "--model", path, "--data", file.name, *flags],
                             check=True, stdout=subprocess.PIPE)
    return [json.loads(line) for line in run.stdout.decode("utf-8").split("\n")[:-1]]
