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
    if not work or not options.python:
        return found

    def script(name, *arguments):
        return [options.python, os.path.join(HERE, name), json.dumps(work), *arguments]

    env = python_env(options)
    if work["kind"] == "sft":
        found.append(("PyTorch", script("torch_sft.py"), env))
        if options.full:
            found.append(("PyTorch compiled", script("torch_sft.py", "compile"), env))
    return found
