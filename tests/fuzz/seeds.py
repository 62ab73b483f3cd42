# SPDX-License-Identifier: MIT
"""Seeds and dictionaries of the fuzz targets, made of the fixtures: seeds.py OUT writes OUT/TARGET/... and
OUT/TARGET.dict. Vocabularies are cut to what a kilobyte or two can hold; all else stays."""

import glob
import json
import os
import struct
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
OUT = sys.argv[1]
BREAK = b"\xff"  # between the parts of an input


def read(path):
    with open(path, "rb") as file:
        return file.read()


def fixtures(pattern):
    return sorted(glob.glob(os.path.join(ROOT, pattern)))


def put(target, name, content):
    os.makedirs(os.path.join(OUT, target), exist_ok=True)
    with open(os.path.join(OUT, target, name), "wb") as file:
        file.write(content)


def compact(tree):
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def label(path):
    return path[len(ROOT) + 1:].replace("/", "-")


def put_dictionary(target, words):
    lines = []
    for text in sorted({word.encode() if isinstance(word, str) else word for word in words}):
        if 0 < len(text) <= 64:
            lines.append('"' + "".join(chr(c) if 32 < c < 127 and chr(c) not in '"\\' else "\\x%02x" % c
                                       for c in text) + '"\n')
    with open(os.path.join(OUT, target + ".dict"), "w") as file:
        file.writelines(lines)


def words_of(tree, words):
    """Keys and values of a tree, as JSON has them."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            words.add(json.dumps(key) + ":")
            words_of(value, words)
    elif isinstance(tree, list):
        for value in tree:
            words_of(value, words)
    else:
        words.add(json.dumps(tree, ensure_ascii=False))
    return words


JSON_WORDS = {"null", "true", "false", "[]", "{}", '""', "0", "1", "-1", "1e9", "1e-5", "4294967296",
              "9223372036854775807", "1e999", "[0,1]", '{"a":1}', "\\u0000", "\\ud800", BREAK}


def configs():
    words = set(JSON_WORDS)
    for path in fixtures("families/*/config*.json"):
        tree = json.loads(read(path))
        words_of(tree, words)
        put("config", label(path), compact(tree))
    for path in fixtures("families/*/generation_config.json"):
        tree = json.loads(read(path))
        words_of(tree, words)
        config = json.loads(read(os.path.join(os.path.dirname(path), "config.json")))
        put("config", label(path), compact(config) + BREAK + compact(tree))
    for window in ("all", "swa", [1, 0], "alternating"):
        words.add(json.dumps(window))
    put_dictionary("config", words)


def safetensors(tensors, metadata=None):
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return compact(header), data


def put_safetensors(name, header, data):
    put("safetensors", name, struct.pack("<H", len(header)) + header + data)


def safetensors_files():
    words = set(JSON_WORDS) | {'"dtype":', '"shape":', '"data_offsets":', '"__metadata__":'}
    sizes = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "I32": 4, "U64": 8, "U8": 1, "BOOL": 1, "I8": 1,
             "I16": 2, "U16": 2, "U32": 4, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8}
    for dtype, size in sizes.items():
        words.add('"%s"' % dtype)
        put_safetensors("one-" + dtype, *safetensors({"t": (dtype, [2], bytes(range(1, 2 * size + 1)))}))
    put_safetensors("shapes", *safetensors({
        "a": ("F32", [2, 2], bytes(16)), "b": ("F32", [], bytes(4)), "c": ("BF16", [1, 1, 3], b"\x80\x3f" * 3),
        "d": ("F16", [0, 5], b""), "e": ("U8", [3], b"\x00\x01\x02")}, {"format": "pt", "x": "\u00e9"}))
    put_safetensors("infinite", *safetensors({"x": ("F32", [1], struct.pack("<f", float("inf"))),
                                              "h": ("F16", [2], b"\x01\x00\x00\x7c")}))
    for path in fixtures("adapter/*/adapter_model.safetensors") + fixtures("families/llama-sharded/*.safetensors"):
        content = read(path)
        n = struct.unpack("<Q", content[:8])[0]
        if len(content) <= 4096:
            put_safetensors(label(path), content[8:8 + n], content[8 + n:])
    put_dictionary("safetensors", words)


def indexes():
    good = {"metadata": {"total_size": 24}, "weight_map": {"a": "a.safetensors", "b": "a.safetensors",
                                                           "c": "c.safetensors"}}
    put("index", "good", compact(good))
    put("index", "half", compact({"weight_map": {"c": "c.safetensors"}}))
    put("index", "absent", compact({"weight_map": {"a": "c.safetensors"}}))
    put("index", "outside", compact({"weight_map": {"a": "../a.safetensors"}}))
    words = words_of(good, set(JSON_WORDS)) | {"a.safetensors", "c.safetensors", "../", ".safetensors", "/", "\\\\"}
    put_dictionary("index", words)


def adapters():
    """On the bases of fuzz_adapter.c: width, inner 4, 2 heads, 8 tokens, 1 block."""
    words = set(JSON_WORDS) | {"base", "memory:/base", ".lora_A.weight", ".lora_B.weight", '"F32"', '"F16"',
                               '"BF16"', '"dtype":', '"shape":', '"data_offsets":', "base_model.model."}
    layers = {0: {"transformer.h.0.attn.c_attn": (4, 12), "transformer.h.0.attn.c_proj": (4, 4),
                  "transformer.h.0.mlp.c_fc": (4, 4), "transformer.h.0.mlp.c_proj": (4, 4)},
              1: {"model.layers.0.self_attn.q_proj": (4, 4), "model.layers.0.self_attn.v_proj": (4, 4),
                  "model.layers.0.mlp.gate_proj": (4, 4), "model.layers.0.mlp.down_proj": (4, 4)},
              2: {"bert.encoder.layer.0.attention.self.query": (4, 4),
                  "bert.encoder.layer.0.attention.output.dense": (4, 4),
                  "bert.encoder.layer.0.intermediate.dense": (4, 4)}}
    whole = {0: {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 4, "n_inner": 4, "n_positions": 4,
                 "vocab_size": 8, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
             1: {"model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 4,
                 "intermediate_size": 4, "max_position_embeddings": 4, "vocab_size": 8, "hidden_act": "silu",
                 "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False}}
    for tree in whole.values():
        words_of(tree, words)
    for base, layer in layers.items():
        for count in (1, 2, len(layer)):
            for rank in (1, 2):
                for task in ("CAUSAL_LM", "SEQ_CLS"):
                    names = list(layer)[:count]
                    targets = [name.rsplit(".", 1)[1] for name in names] if base < 2 else \
                        [name.split("layer.0.")[1] for name in names]
                    config = {"peft_type": "LORA", "base_model_name_or_path": "base", "task_type": task, "r": rank,
                              "lora_alpha": 2, "lora_dropout": 0.0, "target_modules": targets, "bias": "none",
                              "fan_in_fan_out": base == 0, "use_rslora": rank == 2, "modules_to_save": None}
                    tensors = {}
                    for name in names:
                        width, out = layer[name]
                        tensors["base_model.model.%s.lora_A.weight" % name] = \
                            ("F32", [rank, width], struct.pack("<f", 0.5) * (rank * width))
                        tensors["base_model.model.%s.lora_B.weight" % name] = \
                            ("F32", [out, rank], struct.pack("<f", 0.25) * (rank * out))
                    if task == "SEQ_CLS":
                        head = "base_model.model.classifier" if base == 2 else "base_model.model.score"
                        tensors[head + ".weight"] = ("F32", [1, 4], bytes(16))
                    header, data = safetensors(tensors)
                    words_of(config, words)
                    words.update(tensors)
                    beside = compact(whole.get(base)) if rank == 2 and base in whole else b""
                    put("adapter", "%d-%d-%d-%s" % (base, count, rank, task), bytes([base]) + compact(config) +
                        BREAK + beside + BREAK + header + BREAK + data)
    for path in fixtures("adapter/*/adapter_config.json"):
        tree = json.loads(read(path))
        words_of(tree, words)
        tree["base_model_name_or_path"] = "base"
        tree = {key: value for key, value in tree.items() if value is not None}
        put("adapter", label(path), bytes(["gpt2" not in path]) + compact(tree) + BREAK * 2 + b"{}" + BREAK)
    put_dictionary("adapter", words)


def gguf_text(text):
    return struct.pack("<Q", len(text)) + text


def gguf(pairs, tensors, version=3, alignment=32):
    """pairs: key to (kind, value), an array's kind in a list; tensors: name to (type, shape, bytes)."""
    numbers = "BbHhIif?..QqdB"

    def value(kind, x):
        return gguf_text(x) if kind == 8 else struct.pack("<" + numbers[kind], x)

    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, (kind, x) in pairs.items():
        out += gguf_text(key)
        if isinstance(kind, list):
            out += struct.pack("<IIQ", 9, kind[0], len(x)) + b"".join(value(kind[0], y) for y in x)
        else:
            out += struct.pack("<I", kind) + value(kind, x)
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        out += gguf_text(name) + struct.pack("<I", len(shape)) + struct.pack("<%dQ" % len(shape), *shape[::-1])
        out += struct.pack("<IQ", dtype, len(data))
        data += content + bytes(-len(content) % alignment)
    return out + bytes(-len(out) % alignment) + data


def ggufs():
    kinds = {b"k%d" % kind: (kind, b"text" if kind == 8 else 1) for kind in range(13) if kind != 9}
    arrays = {b"a%d" % kind: ([kind], [b"x", b"", b"yz"] if kind == 8 else [1, 0, 1]) for kind in range(13)
              if kind != 9}
    tokenizer = {b"general.architecture": (8, b"llama"), b"llama.block_count": (4, 1),
                 b"tokenizer.ggml.tokens": ([8], [b"a", b"b"]), b"tokenizer.ggml.scores": ([6], [0.0, -1.0]),
                 b"tokenizer.ggml.token_type": ([5], [1, 3]), b"tokenizer.chat_template": (8, b"{{ x }}")}
    weights = {b"token_embd.weight": (0, [2, 2], bytes(16)), b"f16": (1, [3], bytes(6)),
               b"q8": (8, [1, 32], bytes(34)), b"bf16": (30, [2, 1, 2], bytes(8)), b"q4": (2, [32], bytes(18)),
               b"i8": (24, [1, 1, 1, 5], bytes(5))}
    put("gguf", "empty", gguf({}, {}))
    put("gguf", "kinds", gguf(kinds, {}))
    put("gguf", "arrays", gguf(arrays, {}))
    put("gguf", "tokenizer", gguf(tokenizer, {}))
    put("gguf", "weights", gguf({b"general.architecture": (8, b"gpt2")}, weights))
    put("gguf", "one", gguf({}, {b"w": (0, [1], bytes(4))}, version=2))
    put("gguf", "alignment", gguf({b"general.alignment": (4, 8)}, {b"v": (0, [1], bytes(4)), b"w": (0, [3], bytes(12))},
                                  alignment=8))
    words = {b"GGUF", b"general.alignment", b"general.architecture"} | {struct.pack("<I", i) for i in range(14)} | \
        {struct.pack("<Q", i) for i in (0, 1, 2, 3, 32, 256, 2 ** 62, 2 ** 63, 2 ** 64 - 1)}
    put_dictionary("gguf", words)


def llama2c():
    def checkpoint(dim, inner, layers, heads, kv_heads, words, context):
        header = struct.pack("<7i", dim, inner, layers, heads, kv_heads, words, context)
        size, n = dim // heads, abs(words)
        floats = n * dim * (2 if words < 0 else 1) + dim + context * size + \
            layers * (2 * dim + 2 * dim * heads * size + 2 * dim * kv_heads * size + 3 * dim * inner)
        return header, header + struct.pack("<f", 0.5) * floats

    for i, sizes in enumerate([(4, 4, 1, 2, 1, 4, 2), (4, 8, 2, 2, 2, -3, 4), (2, 2, 1, 1, 1, 2, 1),
                               (8, 4, 1, 2, 1, 5, 3)]):
        header, whole = checkpoint(*sizes)
        put("llama2c", "header%d" % i, b"\x01" + header)
        put("llama2c", "whole%d" % i, b"\x00" + whole)
    put("llama2c", "version1", b"\x00" + struct.pack("<2i", 0x616b3432, 1) + bytes(64))
    put_dictionary("llama2c", {struct.pack("<i", i) for i in (0, 1, 2, 4, 8, 64, -1, -4, 2 ** 31 - 1, -2 ** 31)} |
                   {struct.pack("<f", float(x)) for x in ("1", "nan", "inf")})


# The letters, and as byte-level BPE has them, of the texts that the targets encode.
SAMPLE = "It's12o'clockehu<>\u00e9\u0120\u010a\u2581\u00c3\u00a9"


def cut_vocabulary(model):
    """The special tokens and some others, numbered anew, with the merges that stay possible."""
    vocab = model["vocab"]
    if isinstance(vocab, list):
        model["vocab"] = vocab[:24]
        return
    names = sorted(vocab, key=vocab.get)
    special = [name for name in names[:6] if len(name) > 2]
    letters = [name for name in names if len(name.replace("##", "")) == 1 and name[-1] in SAMPLE]
    stay = dict.fromkeys(special + letters)
    merges = []
    for merge in model.get("merges", []):
        parts = merge if isinstance(merge, list) else merge.split(" ")
        if all(part in stay for part in parts) and len(merges) < 6 and "".join(parts) in vocab:
            merges.append(merge)
            stay["".join(parts)] = None
    model["vocab"] = {name: i for i, name in enumerate(sorted(stay, key=vocab.get))}
    if "merges" in model:
        model["merges"] = merges


def number_added(tree):
    """Added tokens keep their place or move behind the vocabulary."""
    vocab = tree["model"]["vocab"]
    known = {piece[0]: i for i, piece in enumerate(vocab)} if isinstance(vocab, list) else vocab
    behind = len(known)
    numbers = {}
    for token in tree.get("added_tokens", []):
        if token["content"] not in known:
            known = dict(known, **{token["content"]: behind})
            behind += 1
        token["id"] = numbers[token["content"]] = known[token["content"]]
    steps = [tree.get("post_processor") or {}]
    for step in steps:
        steps += step.get("processors", [])
        for name, token in step.get("special_tokens", {}).items():
            token["ids"] = [numbers.get(text, 0) for text in token["tokens"]]
        for key in ("sep", "cls"):
            if key in step:
                step[key][1] = numbers.get(step[key][0], 0)


def tokenizers():
    words = set(JSON_WORDS) | {b" ", b"\xe2\x96\x81", b"##", b"</w>", b"<0x41>"}
    beside = {"bos_token": None, "eos_token": None, "add_bos_token": False}
    for path in fixtures("text/*.json") + fixtures("tokenizer/*.json"):
        tree = json.loads(read(path))
        if "model" not in tree:
            continue
        words_of({key: value for key, value in tree.items() if key != "model"}, words)
        words_of({key: value for key, value in tree["model"].items() if key not in ("vocab", "merges")}, words)
        cut_vocabulary(tree["model"])
        number_added(tree)
        tree = {key: value for key, value in tree.items() if value is not None}
        put("tokenizer_json", label(path), compact(tree))
        put("tokenizer_json", "beside-" + label(path), compact(tree) + BREAK + compact(beside) + BREAK +
            "It's\u00e9 12 <s>\u2581o'clock".encode())
    put_dictionary("tokenizer_json", words)


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def fields(content):
    """Fields of a protocol buffer: (number, whole encoding, value)."""
    at = 0

    def number():
        nonlocal at
        shift = value = 0
        while True:
            byte = content[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(content):
        begin = at
        tag = number()
        if tag & 7 == 2:
            n = number()
            value = content[at:at + n]
            at += n
        elif tag & 7 == 0:
            value = number()
        else:
            n = 4 if tag & 7 == 5 else 8
            value = content[at:at + n]
            at += n
        yield tag >> 3, content[begin:at], value


def pieces():
    words = {b"\xe2\x96\x81", b"<unk>", b"<s>", b"</s>", b"<0x41>", varint(300)} | \
        {bytes([tag]) for tag in (0x08, 0x0A, 0x10, 0x12, 0x15, 0x18, 0x1A, 0x20)} | \
        {b"\x18" + bytes([kind]) for kind in range(1, 7)}
    for path in fixtures("text/*.model"):
        rows = [(whole, dict((n, v) for n, _, v in fields(value))) for number, whole, value in fields(read(path))
                if number == 1]
        letters = {row[1] for _, row in rows if len(row[1].decode()) == 1 and row.get(3, 1) == 1}
        letters = {letter for letter in letters if letter.decode() in SAMPLE} | set(sorted(letters)[:8])
        out, words_kept = b"", 0
        for whole, row in rows:
            if row.get(3, 1) in (1, 4) and row[1] not in letters: # a plain or a user's piece
                if words_kept == 16 or any(c.encode() not in letters for c in row[1].decode()):
                    continue
                words_kept += 1
            out += whole
        for number, whole, value in fields(read(path)):
            if number == 2: # the trainer's flags, without its list of files
                value = b"".join(field for n, field, _ in fields(value) if n not in (1, 2, 5))
                whole = b"\x12" + varint(len(value)) + value
            out += whole if number != 1 else b""
        put("pieces", label(path), b"\x00" + out)
    for path in fixtures("text/*.bin"):
        content = read(path)
        put("pieces", label(path), b"\x01" + content[:1024])
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [b"<0x%02X>" % i for i in range(256)] + [b" ", b"I", b"t", b"It"]
    put("pieces", "tokens.bin", b"\x01" + struct.pack("<i", 7) + b"".join(
        struct.pack("<fi", -float(i), len(token)) + token for i, token in enumerate(tokens)))
    put_dictionary("pieces", words)


def templates():
    words = set("{{ }} {% %} {# #} {%- -%} {{- -}} | ~ . [ ] ( ) == != <= >= // ** + - * / % , : = ' \" \\n".split())
    words |= set("""for in if elif else endif endfor set endset macro endmacro is not and or none true false defined
        loop loop.first loop.last loop.index loop.index0 loop.previtem loop.nextitem namespace range recursive
        break continue generation endgeneration filter endfilter call endcall messages message role content
        add_generation_prompt bos_token eos_token raise_exception strftime_now trim upper lower title length
        tojson list join first last default replace map select reject selectattr rejectattr string int float
        items keys values split strip lstrip rstrip startswith endswith get sort unique reverse indent dictsort
        round abs sum min max mapping iterable sequence number odd even undefined capitalize batch slice""".split())
    for number, line in enumerate(read(os.path.join(ROOT, "templates", "cases.jsonl")).splitlines()):
        case = json.loads(line)
        if "template" in case:
            put("template", "case%03d" % number, case["template"].encode())
    put_dictionary("template", words)


def main():
    os.makedirs(OUT, exist_ok=True)
    for make in (adapters, configs, ggufs, indexes, llama2c, pieces, safetensors_files, templates, tokenizers):
        make()


main()
