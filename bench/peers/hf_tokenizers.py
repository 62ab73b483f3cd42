# SPDX-License-Identifier: MIT
"""Encoding by Hugging Face's tokenizers on one thread: hf_tokenizers.py {"tokenizer": FILE, "text": FILE}
The text is encoded line by line, as our row does."""
import json
import sys

import tokenizers

from serve import serve

work = json.loads(sys.argv[1])
tokenizer = tokenizers.Tokenizer.from_file(work["tokenizer"])
with open(work["text"], encoding="utf-8") as file:
    lines = file.read().splitlines(keepends=True)


def body():
    tokenizer.encode_batch_fast(lines, add_special_tokens=False)


serve(body, version=tokenizers.__version__)
