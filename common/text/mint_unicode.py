#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes unicode_tables.c: the classes of code points that Hugging Face's tokenizers works with.

    python3 common/text/mint_unicode.py > common/text/unicode_tables.c

Its parts were built from different versions of Unicode, so each class is asked of the part that uses it,
code point by code point, and pinned here. Needs the Python packages tokenizers and unicodedata2 (at least
Unicode 16, to know which code points are worth asking about). Written with tokenizers 0.22.2.
"""
import unicodedata2 as ucd
from tokenizers import Regex, normalizers, pre_tokenizers

CODES = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
# The oldest Unicode of a supported PCRE2 (10.40) is 14.0; categories that grew after it are listed.
OLD = __import__("unicodedata")
assert OLD.unidata_version == "14.0.0"


def runs(codes):
    out = []
    for c in sorted(codes):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, codes, comment):
    print(f"\n/* {comment} */")
    print(f"const CodeRange {name}[] = {{")
    line = "   "
    for first, last in runs(codes):
        item = f" {{0x{first:x}, 0x{last:x}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")
    print(f"const size_t {name}_count = sizeof {name} / sizeof *{name};")


def removed(normalizer, before=""):
    return {c for c in CODES if normalizer.normalize_str(before + chr(c)) == before}


def isolated(splitter):
    return {c for c in CODES if len(splitter.pre_tokenize_str(chr(c) + "\0")) == 2}


def newer_than_forms():
    """Code points whose decomposition, combining class or composition the normal forms do not know."""
    nfd, nfkd, nfc = normalizers.NFD(), normalizers.NFKD(), normalizers.NFC()
    out = set()
    for c in CODES:
        char = chr(c)
        if ucd.combining(char):
            for mark in ("\u0334", "\u0345"):
                pair = "a" + mark + char
                other = "a" + char + mark
                if (nfd.normalize_str(pair) != ucd.normalize("NFD", pair)
                        or nfd.normalize_str(other) != ucd.normalize("NFD", other)):
                    out.add(c)
        if ucd.normalize("NFKD", char) != char and nfkd.normalize_str(char) == char:
            out.add(c)
        whole = ucd.normalize("NFD", char)
        if (len(whole) == 2 and ucd.normalize("NFC", whole) == char
                and nfc.normalize_str(whole) != char):
            out.add(ord(whole[0]))
    return out


def main():
    bert = dict(handle_chinese_chars=False, lowercase=False)
    print("/* SPDX-License-Identifier: MIT */\n/* Written by mint_unicode.py. */\n/* clang-format off */")
    print('#include "common/text/unicode.h"')
    table("unicode_mark", removed(normalizers.StripAccents()), "General category M, Unicode 9.")
    table("unicode_nonspacing",
          removed(normalizers.BertNormalizer(clean_text=False, strip_accents=True, **bert), "a"),
          "General category Mn, Unicode 8.")
    table("unicode_control",
          removed(normalizers.BertNormalizer(clean_text=True, strip_accents=False, **bert)),
          "General categories Cc (but for tab, newline, carriage return), Cf and Co, Unicode 8, and U+FFFD.")
    table("unicode_punctuation", isolated(pre_tokenizers.Punctuation()),
          "General category P, Unicode 8, and what ASCII calls punctuation.")
    table("unicode_number", isolated(pre_tokenizers.Digits(True)), "General category N, Unicode 17.")
    word = pre_tokenizers.Whitespace()
    table("unicode_word", {c for c in CODES if len(word.pre_tokenize_str("a" + chr(c))) == 1
                           and word.pre_tokenize_str("a" + chr(c))[0][0] != "a"},
          "What \\w matches: Alphabetic, M, Nd, Pc, Join_Control, Unicode 16.")
    table("unicode_newer", newer_than_forms(),
          "Decomposed, combining or composed only since a Unicode later than 9.")
    lower = normalizers.Lowercase()
    changed = [(c, ord(lower.normalize_str(chr(c)))) for c in CODES
               if c != 0x130 and lower.normalize_str(chr(c)) != chr(c)]
    print("\n/* Lower case, Unicode 17; U+0130 becomes two code points. Step 2: every other code point. */")
    print("const CaseRange unicode_lower_case[] = {")
    rows = []
    for c, to in changed:
        last = rows[-1] if rows else None
        if last and last[2] == to - c and (c - last[1] == last[3] or (last[0] == last[1] and c - last[1] in (1, 2))):
            last[3] = c - last[1]
            last[1] = c
        else:
            rows.append([c, c, to - c, 1])
    line = "   "
    for first, last, delta, step in rows:
        item = f" {{0x{first:x}, 0x{last:x}, {delta}, {step}}},"
        if len(line) + len(item) > 100:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")
    print("const size_t unicode_lower_case_count = sizeof unicode_lower_case / sizeof *unicode_lower_case;")

    print("\n/* What regular expressions find in a category beyond Unicode 14, up to 16, as a class of PCRE2. */")
    print("const CategoryAddition unicode_additions[] = {")
    for category in ("Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe",
                     "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Cf"):
        found = isolated(pre_tokenizers.Split(Regex(f"\\p{{{category}}}"), "isolated"))
        more = {c for c in found if OLD.category(chr(c)) == "Cn"}
        if more:
            text = "".join(f"\\\\x{{{a:x}}}" if a == b else f"\\\\x{{{a:x}}}-\\\\x{{{b:x}}}"
                           for a, b in runs(more))
            print(f'    {{"{category}",')
            while text:
                cut = len(text) if len(text) <= 84 else text.rfind("\\\\x", 0, 84)
                print(f'     "{text[:cut]}"' + ("}," if cut == len(text) else ""))
                text = text[cut:]
    print("};")
    print("const size_t unicode_additions_count = sizeof unicode_additions / sizeof *unicode_additions;")


main()
