#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adapters beside PEFT, live, on random models of the families' fixtures.

    python3 tests/model/peft_live.py BUILD/tests/model/adapter_probe

For each case PEFT puts an adapter on a base and saves it; adapter_probe reads it and says the same of some
ids within 1e-4 of the largest number; what it saves PEFT loads without a warning, with equal tensors and
equal logits. Prints one line for each case. Exits with 77 where PEFT is missing.
"""
import logging
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

FAMILIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "families")
COUNT, VOCABULARY = 40, 53
CASES = [
    ("gpt2", dict(target_modules=["c_attn"], fan_in_fan_out=True), 0),
    ("gpt2", dict(target_modules="all-linear", fan_in_fan_out=True), 0),
    ("gpt2", dict(target_modules=["c_proj"], fan_in_fan_out=True, use_rslora=True), 4),
    ("gpt-neo", dict(target_modules="all-linear"), 0),
    ("gpt-neox", dict(target_modules=["query_key_value", "dense"]), 0),
    ("llama", dict(target_modules=["q_proj", "v_proj"]), 0),
    ("llama-grouped", dict(target_modules="all-linear", use_rslora=True), 2),
    ("mistral", dict(target_modules=["k_proj", "gate_proj", "down_proj"]), 0),
    ("qwen2", dict(target_modules=["q_proj", "o_proj", "up_proj"]), 0),
    ("qwen3", dict(target_modules="all-linear"), 1),
    ("gemma3", dict(target_modules="all-linear"), 0),
]
messages = []


class Collector(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())


def load_base(path, labels):
    if labels:
        model = AutoModelForSequenceClassification.from_pretrained(path, num_labels=labels)
    else:
        model = AutoModelForCausalLM.from_pretrained(path)
    model.config.pad_token_id = 0
    return model.eval()


def numbers(model, ids, labels):
    """Log-probs of ids[1:], or scores at every id."""
    row = torch.tensor([ids])
    with torch.no_grad():
        if labels:
            inner = model.base_model.model
            trunk = getattr(inner, inner.base_model_prefix)
            return inner.score(trunk(input_ids=row).last_hidden_state)[0].flatten()
        logits = model(input_ids=row).logits[0].double().log_softmax(-1)
        return logits[:-1].gather(1, row[0, 1:, None])[:, 0]


def close(got, want):
    return (got - want).abs().max().item() / want.abs().max().item()


def check(probe, number, base, options, labels):
    torch.manual_seed(number)
    path = os.path.abspath(os.path.join(FAMILIES, base))
    rank = 1 + number % 4
    model = get_peft_model(load_base(path, labels), LoraConfig(
        r=rank, lora_alpha=3 + number, task_type="SEQ_CLS" if labels else "CAUSAL_LM", **options))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = torch.randn(parameter.shape) * 0.3
    model.peft_config["default"].base_model_name_or_path = path
    ids = torch.randint(3, VOCABULARY, (COUNT,)).tolist()
    with tempfile.TemporaryDirectory() as work:
        theirs, ours = os.path.join(work, "theirs"), os.path.join(work, "ours")
        os.mkdir(ours)
        model.save_pretrained(theirs)
        run = subprocess.run([probe, theirs, ours, *map(str, ids)], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        want = numbers(model.eval(), ids, labels)
        said = torch.tensor([float(line) for line in run.stdout.split()])
        distance = close(said, want)
        assert distance < 1e-4, distance
        a, b = (load_file(os.path.join(folder, "adapter_model.safetensors"))
                for folder in (theirs, ours))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a), "tensors"
        again = load_base(path, labels)
        del messages[:]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            again = PeftModel.from_pretrained(again, ours).eval()
        assert not caught and not messages, [str(w.message) for w in caught] + messages
        assert torch.equal(numbers(again, ids, labels), want), "logits"
    print(f"{base}, {options['target_modules']}: {distance:.1e} of the largest, loaded by PEFT")


logging.getLogger().addHandler(Collector())
for library in ("peft", "transformers"):
    logging.getLogger(library).addHandler(Collector())
for index, case in enumerate(CASES):
    check(sys.argv[1], index, *case)
