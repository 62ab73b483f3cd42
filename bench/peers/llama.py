# SPDX-License-Identifier: MIT
"""Generation by llama-batched-bench (prompts apart, no sampling): llama.py FOLDER-OF-PROGRAMS THREADS JSON-OF-THE-ROW
A round is a run of the program: time of prompts and tokens, of tokens alone as decoding_seconds; its start
is not counted. The model is made of random weights, once, in the folder for temporary files."""
import json
import os
import re
import subprocess
import sys
import tempfile

folder, threads, shape = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path.append(os.path.join(folder, "..", "..", "gguf-py"))
from random_gguf import write  # noqa: E402

size = "-".join(str(shape[k]) for k in ("layers", "width", "heads", "vocabulary", "context"))
model = os.path.join(tempfile.gettempdir(), f"gpt2-{size}-{'bf16' if shape['bf16'] else 'fp32'}.gguf")
if not os.path.exists(model):
    write(model + ".tmp", shape)
    os.rename(model + ".tmp", model)
batch, prompt, tokens = shape["batch"], shape["prompt"], shape["tokens"]
command = [os.path.join(folder, "llama-batched-bench"), "-m", model, "-t", threads, "-tb", threads,
           "-npp", str(prompt), "-ntg", str(tokens), "-npl", str(batch), "-c", str(batch * (prompt + tokens)),
           "-lm", "none", "--output-format", "jsonl"]


def measure():
    done = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, said = done.communicate()
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if not lines:
        sys.exit("llama-batched-bench: " + (said.strip().splitlines() or ["no output"])[-1])
    result = json.loads(lines[-1])
    return {"seconds": result["t_pp"] + result["t_tg"], "decoding_seconds": result["t_tg"],
            "peak_rss": 0}


measure()
said = subprocess.run([command[0], "--version"], text=True, capture_output=True)
version = re.search(r"version: *([^\n]*)", said.stdout + said.stderr)
print(json.dumps({"ready": True, "version": version.group(1) if version else ""}), flush=True)
for line in sys.stdin:
    print(json.dumps(measure()), flush=True)
