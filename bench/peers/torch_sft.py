# SPDX-License-Identifier: MIT
"""One optimizer step of SFT in plain PyTorch: padded batch, head on the targets' rows only, fused AdamW.
torch_sft.py JSON-OF-THE-ROW [compile]"""
import json
import sys

import torch
import torch.nn.functional as F

from gpt2 import GPT2
from serve import serve

shape = json.loads(sys.argv[1])
torch.manual_seed(1)
model = GPT2(*(shape[k] for k in ("layers", "width", "heads", "vocabulary", "context")))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1, fused=True)
texts = shape["texts"]
longest = max(rows for rows, _ in texts)
ids = torch.randint(shape["vocabulary"], (len(texts), longest))
wanted = torch.zeros(len(texts), longest, dtype=torch.bool)
for i, (rows, targets) in enumerate(texts):
    wanted[i, rows - targets:rows] = True
place = wanted.flatten().nonzero().flatten()
target = torch.randint(shape["vocabulary"], (len(place),))


def loss_of(ids, place, target):
    hidden = model(ids).flatten(0, 1)[place]
    return F.cross_entropy(model.logits(hidden), target)


run = torch.compile(loss_of) if "compile" in sys.argv[2:] else loss_of


def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=shape["bf16"]):
        loss = run(ids, place, target)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
    optimizer.step()


serve(step, version=torch.__version__)
