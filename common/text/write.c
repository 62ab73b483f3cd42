/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/text/internal.h"

static void put_text(Str *out, const char *text) {
    json_put_string(out, text, strlen(text));
}

static const char *truth(bool value) {
    return value ? "true" : "false";
}

/* The model's vocabulary in the order of ids. */
static void put_vocabulary(const Tokenizer *tokenizer, const char *before, Str *out) {
    const char *comma = "";
    for (size_t i = 0; i < tokenizer->vocabulary; i++) {
        if ((tokenizer->token[i].flags & TOKEN_MODEL) != 0) {
            str_append(out, comma);
            str_append(out, before);
            put_text(out, tokenizer->token[i].text);
            str_appendf(out, ": %zu", i);
            comma = ",";
        }
    }
}

static void put_flags(const AddedToken *added, const char *before, Str *out) {
    str_appendf(out, "%s\"content\": ", before);
    put_text(out, added->content);
    str_appendf(out, ",%s\"single_word\": %s", before, truth(added->single_word));
    str_appendf(out, ",%s\"lstrip\": %s", before, truth(added->lstrip));
    str_appendf(out, ",%s\"rstrip\": %s", before, truth(added->rstrip));
    str_appendf(out, ",%s\"normalized\": %s", before, truth(added->normalized));
    str_appendf(out, ",%s\"special\": %s", before, truth(added->special));
}

static void put_tokenizer(const Tokenizer *tokenizer, Str *out) {
    const Stage *stage = &tokenizer->stage[0];
    str_append(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
                    "  \"added_tokens\": [");
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        str_appendf(out, "%s\n    {\n      \"id\": %d,", i == 0 ? "" : ",", tokenizer->added[i].id);
        put_flags(&tokenizer->added[i], "\n      ", out);
        str_append(out, "\n    }");
    }
    str_append(out, tokenizer->added_count > 0 ? "\n  ],\n" : "],\n");
    str_appendf(out,
                "  \"normalizer\": null,\n"
                "  \"pre_tokenizer\": {\n    \"type\": \"ByteLevel\",\n"
                "    \"add_prefix_space\": %s,\n    \"trim_offsets\": true,\n"
                "    \"use_regex\": true\n  },\n",
                truth(stage->prefix_space));
    str_append(out, "  \"post_processor\": {\n    \"type\": \"ByteLevel\",\n"
                    "    \"add_prefix_space\": true,\n    \"trim_offsets\": false,\n"
                    "    \"use_regex\": true\n  },\n"
                    "  \"decoder\": {\n    \"type\": \"ByteLevel\",\n"
                    "    \"add_prefix_space\": true,\n    \"trim_offsets\": true,\n"
                    "    \"use_regex\": true\n  },\n"
                    "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n"
                    "    \"unk_token\": null,\n    \"continuing_subword_prefix\": null,\n"
                    "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
                    "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n"
                    "    \"vocab\": {");
    put_vocabulary(tokenizer, "\n      ", out);
    str_append(out, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < tokenizer->merges; i++) {
        str_append(out, i == 0 ? "\n      [\n        " : ",\n      [\n        ");
        put_text(out, tokenizer->token[tokenizer->merge[i][0]].text);
        str_append(out, ",\n        ");
        put_text(out, tokenizer->token[tokenizer->merge[i][1]].text);
        str_append(out, "\n      ]");
    }
    str_append(out, tokenizer->merges > 0 ? "\n    ]\n  }\n}" : "]\n  }\n}");
}

static void put_config(const Tokenizer *tokenizer, Str *out) {
    str_append(out, "{\n  \"added_tokens_decoder\": {");
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        str_appendf(out, "%s\n    \"%d\": {", i == 0 ? "" : ",", tokenizer->added[i].id);
        put_flags(&tokenizer->added[i], "\n      ", out);
        str_append(out, "\n    }");
    }
    str_append(out, tokenizer->added_count > 0 ? "\n  }" : "}");
    const int32_t id[] = {tokenizer->bos, tokenizer->eos, tokenizer->pad};
    static const char *const name[] = {"bos_token", "eos_token", "pad_token"};
    for (size_t i = 0; i < 3; i++) {
        if (id[i] >= 0) {
            str_appendf(out, ",\n  \"%s\": ", name[i]);
            put_text(out, tokenizer->token[id[i]].text);
        }
    }
    str_append(out, ",\n  \"clean_up_tokenization_spaces\": false,\n"
                    "  \"model_max_length\": 1000000000000000019884624838656,\n"
                    "  \"tokenizer_class\": \"");
    str_append(out, tokenizer->is_pieces ? "LlamaTokenizer\",\n  \"legacy\": true,\n"
                                           "  \"add_bos_token\": false\n}\n"
                                         : "PreTrainedTokenizerFast\"\n}\n");
}

static void put_merges(const Tokenizer *tokenizer, Str *out) {
    str_append(out, "#version: 0.2\n");
    for (size_t i = 0; i < tokenizer->merges; i++) {
        str_appendf(out, "%s %s\n", tokenizer->token[tokenizer->merge[i][0]].text,
                    tokenizer->token[tokenizer->merge[i][1]].text);
    }
}

static bool write_file(const char *folder, const char *name, const Str *content, Error *err) {
    char *path = file_join(folder, name, err);
    bool ok = path != NULL && str_ok(content, err) &&
              file_write(path, str_text(content), content->size, err);
    free(path);
    return ok;
}

bool tokenizer_save(const Tokenizer *tokenizer, const char *folder, Error *err) {
    const char *const names[] = {tokenizer->is_pieces ? "tokenizer.model" : "tokenizer.json",
                                 "tokenizer_config.json", "special_tokens_map.json",
                                 "chat_template.jinja"};
    bool ok = true;
    Str text = {0};
    for (int i = 0; ok && i < 4; i++) {
        if (tokenizer->kept[i].present) {
            ok = write_file(folder, names[i], &tokenizer->kept[i].content, err);
        } else if (i == KEPT_TOKENIZER || i == KEPT_CONFIG) {
            str_clear(&text);
            (i == KEPT_TOKENIZER ? put_tokenizer : put_config)(tokenizer, &text);
            ok = write_file(folder, names[i], &text, err);
        }
    }
    bool byte_level = tokenizer->kind == MODEL_BPE && tokenizer->stages > 0 &&
                      tokenizer->stage[tokenizer->stages - 1].byte_level;
    if (!byte_level) {
        str_done(&text);
        return ok;
    }
    str_clear(&text);
    str_append_char(&text, '{');
    put_vocabulary(tokenizer, "", &text);
    str_append(&text, "}");
    ok = ok && write_file(folder, "vocab.json", &text, err);
    str_clear(&text);
    put_merges(tokenizer, &text);
    ok = ok && write_file(folder, "merges.txt", &text, err);
    str_done(&text);
    return ok;
}
