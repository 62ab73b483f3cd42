# SPDX-License-Identifier: MIT
"""One iteration of PPO by TRL's PPOTrainer (the class that takes queries, responses and scores, up to
0.11), with the lengths of a row's rollouts: trl_ppo.py JSON-OF-THE-ROW
Its value head sits on the policy, so it trains one model where our row trains two. Each text ends where the
row's text did."""
import json
import sys
import time

import tokenizers
import torch
import transformers
import trl
from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer

from serve import serve

shape = json.loads(sys.argv[1])
torch.manual_seed(1)
transformers.logging.set_verbosity_error()
rollouts = shape["rollouts"]
longest = max(n for _, n in rollouts)
vocabulary = {f"t{i}": i for i in range(shape["vocabulary"])}
words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="t0"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0", eos_token="t0", padding_side="left")


def config(**more):
    return GPT2Config(n_layer=shape["layers"], n_embd=shape["width"], n_head=shape["heads"],
                      vocab_size=shape["vocabulary"], n_positions=shape["context"], pad_token_id=0, eos_token_id=0,
                      bos_token_id=0, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, **more)


def policy():
    model = AutoModelForCausalLMWithValueHead(GPT2LMHeadModel(config()))
    model.is_peft_model = False  # which from_pretrained would have set
    return model


judge = GPT2ForSequenceClassification(config(num_labels=1)).eval()
trainer = PPOTrainer(PPOConfig(batch_size=len(rollouts), mini_batch_size=len(rollouts) // shape["minibatches"],
                               ppo_epochs=shape["epochs"], learning_rate=1e-5, max_grad_norm=1.0,
                               remove_unused_columns=False, early_stopping=False, ratio_threshold=1e9,
                               accelerator_kwargs={"cpu": True}),
                     policy(), policy(), tokenizer)
queries = [torch.randint(1, shape["vocabulary"], (p,)) for p, _ in rollouts]
pieces = {}


def iterate():
    start = time.perf_counter()
    with torch.inference_mode():
        responses = trainer.generate(queries, batch_size=len(queries), return_prompt=False, do_sample=True, top_k=0,
                                     top_p=1.0, max_new_tokens=longest, min_new_tokens=longest, pad_token_id=0)
    responses = [r[:n].clone().clamp(min=1) for r, (_, n) in zip(responses, rollouts)]
    pieces["sampling"] = time.perf_counter() - start
    start = time.perf_counter()
    texts = [torch.cat(pair) for pair in zip(queries, responses)]
    batch = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    with torch.inference_mode():
        scores = judge(batch, attention_mask=(batch > 0).long()).logits[:, 0]
    pieces["scoring"] = time.perf_counter() - start
    start = time.perf_counter()
    trainer.step(queries, responses, [s.clone() for s in scores])
    pieces["log-probs and update"] = time.perf_counter() - start


serve(iterate, pieces, version=trl.__version__, transformers=transformers.__version__, torch=torch.__version__)
