# SPDX-License-Identifier: MIT
"""Holds what rlhf.c writes against transformers: loads without a single warning, computes the same.

    python tests/model/roundtrip.py BUILD_FOLDER

Needs torch and transformers (4.x or 5.x) and the build's tests/model/roundtrip; it is not part of
the test suite, which needs no Python. Random small models go from transformers through rlhf.c and
back, as a causal LM, a reward model, a classifier and a policy with its critic's head.
"""
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, AutoModelForSequenceClassification, GPT2Config,
                          GPT2ForSequenceClassification, GPT2LMHeadModel)

VOCABULARY, CONTEXT, EOS = 83, 48, 5
messages = []


class Collector(logging.Handler):
    def emit(self, record):
        messages.append(record.getMessage())


def quiet(function, *arguments, **options):
    """Calls a function that must say nothing at all."""
    del messages[:]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments, **options)
    assert not messages, messages
    assert not caught, [str(w.message) for w in caught]
    return result


def convert(program, source, head, target, ids):
    out = subprocess.run([program, source, head, target] + [str(i) for i in ids], check=True,
                         capture_output=True, text=True)
    return json.loads(out.stdout)


def random_config(**options):
    return GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=36, n_layer=3, n_head=3,
                      bos_token_id=EOS, eos_token_id=EOS, **options)


def randomize(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def difference(a, b):
    return float((torch.tensor(a) - b).abs().max())


def check_lm(program, folder, options, save_options, dtype):
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    ids = torch.randint(0, VOCABULARY, (40,))
    model = randomize(GPT2LMHeadModel(random_config(**options))).to(dtype)
    model.save_pretrained(source, **save_options)
    ours = convert(program, source, "lm", target, ids.tolist())
    again, info = quiet(AutoModelForCausalLM.from_pretrained, target, output_loading_info=True)
    assert not any(info.values()), info
    with torch.no_grad():
        logits = again.eval()(ids[None]).logits[0]
    logprob = torch.log_softmax(logits.double(), -1)[:-1].gather(1, ids[1:, None])[:, 0]
    assert again.dtype == torch.float32 and again.config.n_ctx == CONTEXT
    difference_lm = difference(ours["logprob"], logprob)
    assert difference_lm < 2e-5, difference_lm
    quiet(again.generate, ids[None, :4], max_new_tokens=4, do_sample=False,
          attention_mask=torch.ones(1, 4, dtype=torch.long), pad_token_id=0)
    before = {k: v.float() for k, v in model.state_dict().items()}
    after = again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    return difference_lm


def check_scores(program, folder, labels):
    """A causal LM becomes a reward model or classifier; the score is read at the last EOS."""
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    randomize(GPT2LMHeadModel(random_config())).save_pretrained(source)
    texts = [torch.cat([torch.randint(6, VOCABULARY, (n,)), torch.tensor([EOS])])
             for n in (1, 9, 20, 33)]
    model = None
    worst = 0.0
    for ids in texts:
        ours = convert(program, source, f"scores{labels}", target, ids.tolist())
        model, info = quiet(AutoModelForSequenceClassification.from_pretrained, target,
                            output_loading_info=True)
        assert not any(info.values()), info
        with torch.no_grad():
            logits = model.eval()(ids[None]).logits[0]
        bias = model.config.reward_bias if labels == 1 else 0.0
        score = torch.tensor(ours["score"]).reshape(len(ids), labels)[-1]
        worst = max(worst, difference(score.tolist(), logits + bias))
    assert type(model) is GPT2ForSequenceClassification and model.config.num_labels == labels
    assert model.config.pad_token_id != EOS
    # A padded batch gives the same scores: the pad is not the EOS.
    longest = max(len(ids) for ids in texts)
    pad = model.config.pad_token_id
    batch = torch.stack([torch.cat([ids, torch.full((longest - len(ids),), pad)]) for ids in texts])
    mask = torch.stack([(torch.arange(longest) < len(ids)).long() for ids in texts])
    with torch.no_grad():
        padded = quiet(model, batch, attention_mask=mask).logits
        alone = torch.cat([model(ids[None]).logits for ids in texts])
    assert float((padded - alone).abs().max()) < 1e-5
    assert worst < 2e-5, worst
    # Back again: what transformers saves of it is read as it is.
    saved = os.path.join(folder, "saved")
    model.save_pretrained(saved)
    ours = convert(program, saved, f"scores{labels}", os.path.join(folder, "third"),
                   texts[-1].tolist())
    score = torch.tensor(ours["score"]).reshape(-1, labels)[-1]
    assert difference(score.tolist(), alone[-1] + bias) < 2e-5
    return worst


def check_both(program, folder):
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    ids = torch.randint(6, VOCABULARY, (30,))
    randomize(GPT2LMHeadModel(random_config())).save_pretrained(source)
    ours = convert(program, source, "both", target, ids.tolist())
    model, info = quiet(AutoModelForCausalLM.from_pretrained, target, output_loading_info=True)
    assert not any(info.values()), info
    with safe_open(os.path.join(target, "score.safetensors"), "pt") as file:
        head = file.get_tensor("score.weight")
    with torch.no_grad():
        hidden = model.eval().transformer(ids[None]).last_hidden_state[0]
    worst = difference(ours["score"], (hidden @ head.T)[:, 0])
    assert worst < 2e-5, worst
    return worst


def check_spelling(program, folder):
    """The bare names and mask buffers of the oldest files."""
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    model = randomize(GPT2LMHeadModel(random_config()))
    model.save_pretrained(source)
    tensors = {k: v.contiguous() for k, v in model.transformer.state_dict().items()}
    for layer in range(3):
        tensors[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(CONTEXT, CONTEXT))[None, None]
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, os.path.join(source, "model.safetensors"), {"format": "pt"})
    convert(program, source, "lm", target, [1, 2, 3])
    again = quiet(AutoModelForCausalLM.from_pretrained, target)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


def main():
    program = os.path.join(sys.argv[1], "tests/model/roundtrip")
    for name in ("transformers", ""):
        logging.getLogger(name).addHandler(Collector())
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(3)
    cases = [
        ("causal LM", check_lm, {}, {}, torch.float32),
        ("untied head", check_lm, {"tie_word_embeddings": False}, {}, torch.float32),
        ("own inner width", check_lm, {"n_inner": 50}, {}, torch.float32),
        ("F16 shards", check_lm, {}, {"max_shard_size": "40KB"}, torch.float16),
        ("BF16", check_lm, {}, {}, torch.bfloat16),
        ("reward model", check_scores, 1),
        ("classifier", check_scores, 4),
        ("policy with critic", check_both),
        ("old spelling", check_spelling),
    ]
    for name, function, *arguments in cases:
        with tempfile.TemporaryDirectory() as folder:
            worst = function(program, folder, *arguments)
            print(f"{name}: ok" + ("" if worst is None else f", largest difference {worst:.1e}"))
    print(f"all as transformers {transformers.__version__} has it")


if __name__ == "__main__":
    main()
