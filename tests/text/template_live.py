# SPDX-License-Identifier: MIT
"""Templates rendered by jinja_lines and by Jinja2: random ones, and every .jinja file of the folders
given (models' own templates, which are not part of this project).

    template_live.py JINJA_LINES [FOLDER...] [--count N]
"""
import argparse
import glob
import json
import os
import random
import subprocess
import sys

try:
    import jinja2  # noqa: F401
except ImportError:
    print("skipped: no jinja2")
    sys.exit(77)

import mint_templates
from template_oracle import render

SYSTEM = {"role": "system", "content": "You are terse."}
USER = {"role": "user", "content": "  Why is the <sky> \"blue\" & what's 2+2?\n"}
ANSWER = {"role": "assistant", "content": "Because of Rayleigh scattering: 4.\n"}
AGAIN = {"role": "user", "content": "naïve café ☕"}
THOUGHT = {"role": "assistant", "content": "<think>\nhmm\n</think>\n\nYes"}
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a <place>", "parameters": {
        "type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "name"},
            "n": {"type": ["integer", "null"], "enum": [1, 2]}}}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [{
    "id": "call12345", "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Paris", "n": 1}}}]}
RESULT = {"role": "tool", "content": "{\"t\": 20}", "name": "get_weather", "tool_call_id": "call12345"}
TALKS = [([USER], {}), ([SYSTEM, USER], {"tools": [TOOL]}), ([USER, ANSWER], {}),
         ([SYSTEM, USER, ANSWER, AGAIN, THOUGHT], {}), ([USER, THOUGHT, AGAIN], {}),
         ([USER, CALL, RESULT, ANSWER], {"tools": [TOOL]}),
         ([SYSTEM, USER, CALL, RESULT], {"tools": [TOOL]})]


def real_cases(template):
    for messages, more in TALKS:
        for prompt in (False, True):
            for extra in ({}, more, {"enable_thinking": False}):
                variables = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
                             "tools": None, "documents": None, "messages": messages}
                variables.update(extra)
                yield {"template": template, "variables": variables, "date": "2026-03-07",
                       "add_generation_prompt": prompt}


def pieces():
    """Parts of the committed templates, to be put together at random."""
    out = []
    for group in (mint_templates.SPACE, mint_templates.EXPRESSIONS, mint_templates.ACCESS,
                  mint_templates.STATEMENTS, mint_templates.FILTERS, mint_templates.METHODS,
                  mint_templates.TESTS, mint_templates.CHATS):
        out += [piece for piece in group if "raw" not in piece]
    return out


def expressions():
    out = []
    for group in (mint_templates.EXPRESSIONS, mint_templates.ACCESS, mint_templates.FILTERS,
                  mint_templates.METHODS, mint_templates.TESTS):
        for text in group:
            for part in text.split("{{")[1:]:
                inner = part.split("}}")[0].strip().strip("-")
                if inner and "{" not in inner and "%" not in inner and "'" not in inner[-1:]:
                    out.append(inner)
    return out


def random_case(rng, parts, inner):
    def expression(depth):
        if depth == 0 or rng.random() < 0.4:
            return rng.choice(inner)
        a, b = expression(depth - 1), expression(depth - 1)
        return rng.choice(["(%s) ~ (%s)" % (a, b), "(%s) == (%s)" % (a, b), "(%s) in [%s]" % (a, b),
                           "(%s) and (%s)" % (a, b), "(%s) or (%s)" % (a, b), "(%s) + (%s)" % (a, b),
                           "(%s) if (%s) else 0" % (a, b), "[%s, %s][::-1]" % (a, b),
                           "(%s) | string | %s" % (a, rng.choice(["trim", "upper", "length", "title",
                                                                  "replace('e', '<>')", "tojson"])),
                           "(%s) | default(%s, true)" % (a, b), "{'k': %s}['k']" % a,
                           "(%s) is %s" % (a, rng.choice(["string", "defined", "none", "mapping",
                                                          "number", "iterable", "sequence"]))])

    def body(depth):
        text = ""
        for _ in range(rng.randint(1, 3)):
            kind = rng.random()
            space = rng.choice(["", " ", "\n", "\n  ", "  \n\n", "\t"])
            open_, close = rng.choice(["{%", "{%-", "{%+"]), rng.choice(["%}", "-%}", "+%}", "%}\n"])
            if kind < 0.3:
                text += space + rng.choice(parts)
            elif kind < 0.6:
                text += space + "{{%s %s %s}}" % (rng.choice(["", "-"]), expression(2),
                                                  rng.choice(["", "-"]))
            elif kind < 0.7 and depth:
                text += "%s%s if %s %s%s%s else %s%s%s endif %s" % (
                    space, open_, expression(1), close, body(depth - 1), open_, close,
                    body(depth - 1), open_, close)
            elif kind < 0.85 and depth:
                text += "%s%s for i%d in %s %s%s%s endfor %s" % (
                    space, open_, depth, rng.choice(["list", "words", "dict", "range(3)", "word"]),
                    close, body(depth - 1), open_, close)
            else:
                text += space + "%s set v%d = %s %s{{ v%d }}" % (open_, depth, expression(1), close,
                                                                 depth)
        return text

    return {"template": body(2), "messages": mint_templates.CHAT,
            "variables": dict(mint_templates.THINGS, bos_token="<s>", eos_token="</s>")}


def ask(program, cases):
    text = "".join(json.dumps(case) + "\n" for case in cases)
    run = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def compare(case, got, counts):
    """Ours may refuse what Jinja2 renders, never render what it refuses or another text."""
    want = render(case)
    if " object at 0x" in want.get("text", "") or "'inf' is not defined" in want.get("error", ""):
        return True  # an address, or a constant that Jinja2 folds to a name it does not know
    if "text" in got:
        counts["equal"] += got["text"] == want.get("text")
        return got["text"] == want.get("text")
    counts["both refuse" if "error" in want else "refused"] += 1
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    rng, bad = random.Random(1), 0
    parts, inner = pieces(), expressions()
    counts = {"equal": 0, "refused": 0, "both refuse": 0}
    cases = [random_case(rng, parts, inner) for _ in range(options.count)]
    for case, got in zip(cases, ask(options.program, cases)):
        if not compare(case, got, counts):
            bad += 1
            print("different: %r\n  Jinja2: %r\n  ours: %r" % (case["template"], render(case), got))
    print("random templates: %d equal, %d refused by both, %d by ours alone, %d different" %
          (counts["equal"], counts["both refuse"], counts["refused"], bad))
    files = [f for folder in options.folders + os.environ.get("RLHF_TEST_TEMPLATES", "").split(":")
             if folder for f in sorted(glob.glob(folder + "/**/*.jinja", recursive=True))]
    if not files:
        print("models' templates: skipped, name folders with RLHF_TEST_TEMPLATES")
    identical = 0
    for path in files:
        with open(path, encoding="utf-8", newline="") as file:
            cases = list(real_cases(file.read()))
        counts = {"equal": 0, "refused": 0, "both refuse": 0}
        results = [compare(case, got, counts) for case, got in zip(cases, ask(options.program, cases))]
        identical += all(results) and counts["refused"] == 0
        bad += not all(results)
        if not all(results) or counts["refused"]:
            print("%s: %s, %d different" % (os.path.basename(path), counts, results.count(False)))
    if files:
        print("models' templates: %d of %d render identically" % (identical, len(files)))
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
