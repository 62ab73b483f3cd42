# SPDX-License-Identifier: MIT
"""One iteration of PPO in plain PyTorch, with the lengths of a row's rollouts: torch_ppo.py JSON-OF-THE-ROW

As PPO is usually written: prompts padded on the left, all sequences sampled together with a cache of keys
and values until the longest one ends; then, padded on the right, which needs no mask, the reward model, the
log-probs of policy and reference and the values, and epochs x minibatches of policy and critic steps. The
heads see only the rows of actions; a minibatch is as long as its longest text. Random weights never end a
text by themselves: each ends where the row's text did."""
import json
import sys
import time

import torch
import torch.nn.functional as F

from gpt2 import GPT2
from serve import serve

shape = json.loads(sys.argv[1])
torch.manual_seed(1)
size = [shape[k] for k in ("layers", "width", "heads", "vocabulary", "context")]
policy, reference, critic, judge = GPT2(*size), GPT2(*size), GPT2(*size, labels=1), GPT2(*size, labels=1)
optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-5, fused=True) for m in (policy, critic)]
rollouts = sorted(shape["rollouts"], key=lambda r: r[0])
prompt = torch.tensor([p for p, _ in rollouts])
length = torch.tensor([n for _, n in rollouts])
samples, longest_prompt, longest = len(rollouts), int(prompt.max()), int(length.max())
total = longest_prompt + longest
position = (torch.arange(total) - (longest_prompt - prompt)[:, None]).clamp(min=0)
padding = torch.arange(total) < longest_prompt - prompt[:, None]
mask = torch.ones(total, total, dtype=torch.bool).tril() & ~padding[:, None, :]
mask = (mask | torch.eye(total, dtype=torch.bool))[:, None]
acts = torch.arange(longest) < length[:, None]
most = int((prompt + length).max())
column = torch.arange(most)
real = column < (prompt + length)[:, None]
source = (column >= prompt[:, None] - 1) & (column < (prompt + length)[:, None] - 1)
everything = torch.arange(samples)
prompts = torch.randint(1, shape["vocabulary"], (samples, longest_prompt))


def sample():
    """ids [samples, most], padded on the right"""
    ids = torch.zeros(samples, total, dtype=torch.long)
    ids[:, :longest_prompt] = prompts
    caches = policy.caches(samples, total)
    begin, end = 0, longest_prompt
    for _ in range(longest):
        hidden = policy(ids[:, begin:end], caches, begin, position[:, begin:end], mask[:, :, begin:end, :end])
        logits = policy.logits(hidden[:, -1])
        ids[:, end] = torch.multinomial(F.softmax(logits, dim=-1), 1).flatten()
        begin, end = end, end + 1
    place = (column + (longest_prompt - prompt)[:, None]).clamp(max=total - 1)
    return torch.where(real, ids.gather(1, place), 0)


def hidden_of(model, ids, rows):
    """Of the rows before actions, flat."""
    end = int((prompt + length)[rows].max())
    return model(ids[rows, :end])[source[rows, :end]]


def logprobs(model, ids, rows):
    logits = F.log_softmax(model.logits(hidden_of(model, ids, rows)), dim=-1)
    target = ids[rows][:, 1:][source[rows][:, :-1]]
    return logits.gather(1, target[:, None]).flatten()


def values(ids, rows):
    return critic.score(hidden_of(critic, ids, rows)).flatten()


def spread(flat):
    full = torch.zeros(samples, longest)
    full[acts] = flat
    return full


def advantages(reward, value, discount=1.0, trace=0.95):
    result, last = torch.zeros_like(reward), torch.zeros(samples)
    for t in reversed(range(longest)):
        after = value[:, t + 1] * acts[:, t + 1] if t + 1 < longest else torch.zeros(samples)
        last = reward[:, t] + discount * after - value[:, t] + discount * trace * last
        result[:, t] = last
    return result


def update(ids, rows, old, gain, returns):
    keep = acts[rows]
    logprob = logprobs(policy, ids, rows)
    ratio = torch.exp(logprob - old[rows][keep])
    g = gain[rows][keep]
    loss = -torch.minimum(ratio * g, ratio.clamp(0.8, 1.2) * g).mean()
    value_loss = F.mse_loss(values(ids, rows), returns[rows][keep])
    for optimizer, model, part in zip(optimizers, (policy, critic), (loss, value_loss)):
        optimizer.zero_grad(set_to_none=True)
        part.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()


pieces = {}


def timed(name, function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    pieces[name] = time.perf_counter() - start
    return result


def learn(ids):
    with torch.no_grad():
        score = judge.score(judge(ids)[everything, prompt + length - 1]).flatten()
        old = spread(logprobs(policy, ids, everything))
        kl = old - spread(logprobs(reference, ids, everything))
        value = spread(values(ids, everything))
    reward = -0.05 * kl
    reward[everything, length - 1] += score
    gain = advantages(reward, value)
    returns = gain + value
    chosen = gain[acts]
    gain = (gain - chosen.mean()) / (chosen.std() + 1e-8)
    return old, gain, returns


def improve(ids, old, gain, returns):
    for _ in range(shape["epochs"]):
        for rows in torch.randperm(samples).chunk(shape["minibatches"]):
            update(ids, rows, old, gain, returns)


def iterate():
    with torch.inference_mode():
        ids = timed("sampling", sample)
    ids = ids.clone()
    known = timed("scoring and log-probs", learn, ids)
    timed("update", improve, ids, *known)


serve(iterate, pieces, version=torch.__version__)
