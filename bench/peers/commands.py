# SPDX-License-Identifier: MIT
"""Which peers can do the work of a row, and how they are started at their best."""
import json
import os

HERE = os.path.dirname(os.path.abspath(__file__))


def python_env(options):
    """Huge pages, memory that is kept instead of given back each step, threads as many as ours."""
    env = {"OMP_NUM_THREADS": str(options.threads), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
           "MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184",
           "MALLOC_CONF": "thp:always,dirty_decay_ms:-1,muzzy_decay_ms:-1", "TOKENIZERS_PARALLELISM": "false",
           "HF_HUB_OFFLINE": "1"}
    if options.preload:
        env["LD_PRELOAD"] = options.preload
    return env


def peers_of(work, options):
    """[(name, command, environment)] for the JSON object that a row of ours tells."""
    found = []
    if not work:
        return found
    env, kind = python_env(options), work["kind"]

    def add(name, interpreter, script, *arguments, environment=env):
        if interpreter:
            command = [interpreter, os.path.join(HERE, script), *arguments]
            found.append((name, command, environment))

    row = json.dumps(work)
    if kind == "sft":
        add("PyTorch", options.python, "torch_sft.py", row)
        if options.full:
            add("PyTorch compiled", options.python, "torch_sft.py", row, "compile")
    elif kind == "ppo":
        add("PyTorch", options.python, "torch_ppo.py", row)
        add("TRL", options.trl_python, "trl_ppo.py", row)
    elif kind == "generate":
        if options.llama:
            huge = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
            add("llama.cpp", options.python, "llama.py", options.llama, str(options.threads), row, environment=huge)
        if work["batch"] > 1:
            add("transformers", options.python, "hf_generate.py", row)
    elif kind == "tokenizer":
        add("tokenizers", options.python, "hf_tokenizers.py", row)
    return found
