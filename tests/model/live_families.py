#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The model families against transformers, live, on larger random models than the fixtures'.

    python3 tests/model/live_families.py BUILD/tests/model/probe [CASE...] [--also PYTHON]...

For each case of tests/fixtures/families/mint.py, enlarged: transformers saves a model, `probe` reads it,
and its log-probs, entropies, scores and gradients are within 1e-4 of the largest, its greedy
continuations the same. What `probe` saves, in F32 and in shards of BF16, transformers loads without a
word, with every tensor's bits and equal logits; so does the transformers of another interpreter behind
--also (version 5 beside 4, or 4 beside 5). Prints one line for each case. Exits with 77 where torch or
transformers is missing.
"""
import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings

try:
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fixtures", "families"))
import mint  # noqa: E402

CLOSE = 1e-4
mint.VOCABULARY, mint.CONTEXT, mint.LENGTHS = 211, 160, [70, 1, 33, 16, 129, 5]
mint.DIFFERENT = 5
FACTOR = {"hidden_size": 4, "word_embed_proj_dim": 4, "n_embd": 4, "dim": 4,
          "intermediate_size": 4.25, "ffn_dim": 4.25, "n_inner": 4.25,
          "hidden_dim": 4.25, "head_dim": 2, "window_size": 4, "sliding_window": 4,
          "num_attention_heads": 2, "num_key_value_heads": 2, "n_head": 2, "num_heads": 2,
          "n_heads": 2}
CONTEXTS = {80: 160, 34: 162, 32: 160}
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


def enlarge(keys):
    out = {}
    for key, value in keys.items():
        if key in FACTOR and value is not None:
            value = int(value * FACTOR[key])
        elif key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
            value = 4
        elif key in ("max_position_embeddings", "n_positions"):
            value = CONTEXTS[value]
        elif key == "attention_types":
            value = [[["global", "local"], 2]]
        elif key == "max_window_layers":
            value = 2
        elif key == "layer_types":
            value = value * 2
        out[key] = value
    return {"bos_token_id": mint.EOS} | out  # a default beyond the vocabulary is worth a warning


def closeness(name, got, want):
    """The largest distance as a share of the largest number."""
    got = torch.as_tensor(got).reshape(-1)
    want = want.reshape(-1)
    assert got.shape == want.shape, (name, got.shape, want.shape)
    largest = float(want.abs().max()) if len(want) else 0.0
    distance = float((got - want).abs().max()) if len(want) else 0.0
    assert largest == 0 or distance <= CLOSE * largest, (name, distance, largest)
    return distance / largest if largest else 0.0


def logits_of(model, ids, types):
    extra = {"token_type_ids": types[None]} if types is not None else {}
    with torch.no_grad():
        out = model(input_ids=ids[None], attention_mask=torch.ones_like(ids[None]), **extra)
    return torch.cat([o.reshape(-1) for o in out.to_tuple() if torch.is_tensor(o)])


def verify(work):
    """What probe saved, by the transformers that runs."""
    with open(os.path.join(work, "case.json")) as file:
        case = json.load(file)
    want = load_file(os.path.join(work, "want.safetensors"))
    made = getattr(transformers, case["class"])
    worst = 0.0
    for folder, dtype in (("saved", torch.float32), ("shards", torch.bfloat16)):
        path = os.path.join(work, folder)
        model, info = quiet(made.from_pretrained, path, dtype=torch.float32,
                            attn_implementation="eager", output_loading_info=True)
        assert not any(info.values()), info
        before = load_file(os.path.join(work, "weights.safetensors"))
        # The head of GPT-NeoX has another name in memory in transformers 5.
        after = {key.replace("lm_head", "embed_out") if "NeoX" in case["class"] else key: tensor
                 for key, tensor in model.state_dict().items()}
        assert set(before) <= set(after), set(before) - set(after)
        for key, tensor in before.items():
            assert torch.equal(after[key], tensor.to(dtype).float()), key
        if folder == "saved":
            ids, types = want["ids"], want.get("types")
            worst = closeness("logits", logits_of(model.eval(), ids, types), want["logits"])
    return worst


def check(program, name, folder):
    architecture, keys, _ = mint.CASES[name]
    work = os.path.join(folder, name)
    source = os.path.join(work, "source")
    made = getattr(transformers, architecture)
    model = mint.randomize(made(mint.configuration(architecture, enlarge(keys))), name, 0.15).eval()
    model.save_pretrained(source)
    weights = {}
    for entry in os.listdir(source):
        if entry.endswith(".safetensors"):
            weights |= load_file(os.path.join(source, entry))
    save_file(weights, os.path.join(work, "weights.safetensors"), {"format": "pt"})
    ids = torch.randint(4, mint.VOCABULARY, (40,))
    segments = getattr(model.config, "type_vocab_size", 1) > 1
    types = (torch.arange(40) >= 25).long() if segments else None
    want = {"ids": ids, "logits": logits_of(model, ids, types)}
    save_file(want | ({"types": types} if segments else {}), os.path.join(work, "want.safetensors"))
    with open(os.path.join(work, "case.json"), "w") as file:
        json.dump({"class": architecture}, file)
    oracle = mint.oracle(model.double(), name, None)
    return architecture, oracle, ours(program, source, work, oracle, model)


def ours(program, source, work, oracle, model):
    """What probe says of the folder and of the oracle's sequences."""
    n = len(oracle["ids"])
    given = {key: [int(x) for x in oracle[key]] for key in ("ids", "starts", "types", "targets")
             if key in oracle}
    given |= {key: [float(x) for x in oracle[key]] for key in ("dlogprob", "dentropy", "dscore")
              if key in oracle}
    given.setdefault("targets", [-1] * n)
    given["prompts"] = [[int(x) for x in oracle[key]] for key in sorted(oracle)
                        if key.startswith("prompt.")]
    given["tokens"] = mint.CONTINUED
    labels = model.config.num_labels
    if len(oracle.get("score", [])) == labels * len(mint.LENGTHS):
        # Scores of whole sequences are read at their first rows.
        rows = [[0.0] * labels for _ in range(n)]
        for s in range(len(mint.LENGTHS)):
            rows[given["starts"][s]] = given["dscore"][s * labels:(s + 1) * labels]
        given["dscore"] = [x for row in rows for x in row]
    with open(os.path.join(work, "input.json"), "w") as file:
        json.dump(given, file)
    run = subprocess.run([program, source, "config", work], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def compare(oracle, out, work, labels):
    figures = {}
    if len(oracle.get("score", [])) == labels * len(mint.LENGTHS):
        first = [int(x) for x in oracle["starts"][:-1]]
        out["score"] = [out["score"][f * labels + j] for f in first for j in range(labels)]
    for key in ("logprob", "entropy", "score"):
        if key in oracle:
            figures[key] = closeness(key, out[key], oracle[key])
    gradients = load_file(os.path.join(work, "gradients", "model.safetensors"))
    wanted = {key.removeprefix("gradient."): value for key, value in oracle.items()
              if key.startswith("gradient.")}
    assert set(gradients) == set(wanted), set(gradients) ^ set(wanted)
    largest = max(float(value.abs().max()) for value in wanted.values())
    for key, value in wanted.items():
        if not bool(value.abs().max() > 0):  # nothing but rounding
            assert float(gradients[key].abs().max()) < 1e-6 * largest, key
            continue
        figures["gradients"] = max(figures.get("gradients", 0),
                                   closeness(key, gradients[key], value))
    prompts = [key for key in oracle if key.startswith("prompt.")]
    for k in range(len(prompts)):
        assert out["greedy"][k] == [int(x) for x in oracle[f"greedy.{k}"]], k
    return figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--also", action="append", default=[])
    parser.add_argument("--verify", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("transformers", ""):
        logging.getLogger(name).addHandler(Collector())
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    if options.verify:
        for work in sorted(os.listdir(options.program)):
            verify(os.path.join(options.program, work))
            print(f"{work}: transformers {transformers.__version__} loads it", flush=True)
        return
    names = options.cases or [name for name, (_, _, how) in mint.CASES.items()
                              if not {"head", "type", "save"} & set(how)]
    torch.manual_seed(5)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            try:
                architecture, oracle, out = check(options.program, name, folder)
                labels = 1 if architecture.endswith(("CausalLM", "LMHeadModel", "MaskedLM")) else \
                    getattr(mint.CASES[name], "labels", mint.CASES[name][1].get("num_labels", 1))
                work = os.path.join(folder, name)
                figures = compare(oracle, out, work, labels)
                figures["logits of what we saved"] = verify(work)
                print(f"{name}: " + ", ".join(f"{key} {value:.1e}"
                                              for key, value in figures.items()), flush=True)
            except AssertionError as fault:
                failed += 1
                print(f"{name}: FAILED: {fault}", flush=True)
        for python in options.also:
            failed += subprocess.run([python, os.path.abspath(__file__), folder, "--verify"]
                                     ).returncode != 0
    print(f"{len(names)} cases with transformers {transformers.__version__}, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
