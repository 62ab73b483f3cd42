# SPDX-License-Identifier: MIT
"""GPT-2 in plain PyTorch: fused attention, tied head, the same sizes as the rows of bench/."""
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, past=None, mask=None):
        """past: (keys, values, length) to append to in place, for decoding. mask: what is seen, if not
        simply all that came before."""
        b, t, c = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2)
                   for y in self.qkv(self.ln_1(x)).split(c, dim=2))
        if past is None:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        else:
            keys, values, n = past
            keys[:, :, n:n + t], values[:, :, n:n + t] = k, v
            y = F.scaled_dot_product_attention(q, keys[:, :, :n + t], values[:, :, :n + t], attn_mask=mask,
                                               is_causal=mask is None and t > 1)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, layers, width, heads, vocabulary, context, labels=0):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.score = nn.Linear(width, labels) if labels else None
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids, caches=None, start=0, position=None, mask=None):
        """Hidden states after the last norm."""
        if position is None:
            position = torch.arange(start, start + ids.shape[1])
        x = self.wte(ids) + self.wpe(position)
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else (*caches[i], start), mask)
        return self.ln_f(x)

    def logits(self, hidden):
        return F.linear(hidden, self.wte.weight)

    def caches(self, batch, length):
        c, h = self.wte.embedding_dim, self.blocks[0].heads
        return [(torch.zeros(batch, h, length, c // h), torch.zeros(batch, h, length, c // h))
                for _ in self.blocks]
