# SPDX-License-Identifier: MIT
"""A GPT-2 of random weights as a GGUF file, matrices in FP32 or BF16: random_gguf.py FILE JSON-OF-THE-ROW
Needs numpy and llama.cpp's gguf package."""
import json
import sys

import gguf
import numpy as np


def write(path, shape):
    random = np.random.default_rng(1)
    width, vocabulary, layers = shape["width"], shape["vocabulary"], shape["layers"]
    out = gguf.GGUFWriter(path, "gpt2")
    out.add_block_count(layers)
    out.add_context_length(shape["context"])
    out.add_embedding_length(width)
    out.add_feed_forward_length(4 * width)
    out.add_head_count(shape["heads"])
    out.add_layer_norm_eps(1e-5)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list([f"t{i}" for i in range(vocabulary)])
    out.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
    out.add_token_merges(["t 0"])
    out.add_eos_token_id(vocabulary - 1)

    def matrix(name, rows, columns):
        data = random.normal(0, 0.02, (rows, columns)).astype(np.float32)
        if shape["bf16"]:
            data = gguf.quants.quantize(data, gguf.GGMLQuantizationType.BF16)
            out.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            out.add_tensor(name, data)

    def vector(name, n, value):
        out.add_tensor(name, np.full(n, value, np.float32))

    matrix("token_embd.weight", vocabulary, width)
    out.add_tensor("position_embd.weight", random.normal(0, 0.02, (shape["context"], width)).astype(np.float32))
    for name in ["output_norm"] + [f"blk.{i}.{n}" for i in range(layers) for n in ("attn_norm", "ffn_norm")]:
        vector(name + ".weight", width, 1)
        vector(name + ".bias", width, 0)
    for i in range(layers):
        for name, rows, columns in (("attn_qkv", 3 * width, width), ("attn_output", width, width),
                                    ("ffn_up", 4 * width, width), ("ffn_down", width, 4 * width)):
            matrix(f"blk.{i}.{name}.weight", rows, columns)
            vector(f"blk.{i}.{name}.bias", rows, 0)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    write(sys.argv[1], json.loads(sys.argv[2]))
