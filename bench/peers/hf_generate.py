# SPDX-License-Identifier: MIT
"""Sampling by transformers' GPT2LMHeadModel.generate, prompts of one length: hf_generate.py JSON-OF-THE-ROW"""
import json
import sys

import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel

from serve import serve

shape = json.loads(sys.argv[1])
torch.manual_seed(1)
transformers.logging.set_verbosity_error()
config = GPT2Config(n_layer=shape["layers"], n_embd=shape["width"], n_head=shape["heads"],
                    vocab_size=shape["vocabulary"], n_positions=shape["context"], eos_token_id=None,
                    bos_token_id=None, attn_implementation="sdpa")
model = GPT2LMHeadModel(config).eval()
if shape["bf16"]:
    model = model.to(torch.bfloat16)
ids = torch.randint(shape["vocabulary"], (shape["batch"], shape["prompt"]))
mask = torch.ones_like(ids)


def body():
    with torch.inference_mode():
        model.generate(ids, attention_mask=mask, do_sample=True, top_k=0, max_new_tokens=shape["tokens"],
                       min_new_tokens=shape["tokens"], pad_token_id=0)


serve(body, version=transformers.__version__, torch=torch.__version__)
