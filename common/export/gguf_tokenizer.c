/* SPDX-License-Identifier: MIT
 *
 * A tokenizer in llama.cpp's terms. Its byte-level BPE ("gpt2") knows pre-tokenizers by name alone: the
 * table here says which steps each name stands for. Its SentencePiece ("llama") merges the pair whose
 * text is the piece with the best score.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/export/export.h"
#include "common/text/vocabulary.h"

#define SPLIT "split isolated pattern "
#define GPT2                                                                                       \
    SPLIT "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+\n"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+\n"
#define LLAMA3 SPLIT CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" TAIL
#define QWEN2 SPLIT CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" TAIL
#define PUNCTUATION "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"

static const struct {
    const char *name, *steps;
    bool ignore_merges;
} pre_tokenizers[] = {
    {"gpt-2",          GPT2 "bytes\n",                                                    false},
    {"llama-bpe",      LLAMA3 "bytes\n",                                                  true },
    {"dbrx",           LLAMA3 "bytes\n",                                                  false},
    {"qwen2",          QWEN2 "bytes\n",                                                   false},
    {"smollm",         "split isolated numbers\n" GPT2 "bytes\n",                         false},
    {"deepseek-coder",
     SPLIT "[\r\n]\n" SPLIT "\\s?\\p{L}+\n" SPLIT "\\s?\\p{P}+\n" SPLIT
           "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+\nsplit isolated numbers\nbytes\n", false},
    {"deepseek-v3",
     SPLIT "\\p{N}{1,3}\n" SPLIT "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+\n" SPLIT PUNCTUATION
           "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+"
           "|\\s+(?!\\S)|\\s+\nbytes\n",                                                  false},
};

const char *export_pre_tokenizer(const char *steps, bool ignore_merges) {
    static const char nfc[] = "normalize NFC\n";
    steps += strncmp(steps, nfc, strlen(nfc)) == 0 ? strlen(nfc) : 0;
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof *pre_tokenizers; i++) {
        if (strcmp(steps, pre_tokenizers[i].steps) == 0 &&
            ignore_merges == pre_tokenizers[i].ignore_merges) {
            return pre_tokenizers[i].name;
        }
    }
    return NULL;
}

/* Token types of the file. */
enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

static int32_t type_of(const Tokenizer *tokenizer, int32_t id, int32_t eos) {
    if (id == eos || id == tokenizer_bos(tokenizer) || id == tokenizer_pad(tokenizer)) {
        return CONTROL;
    }
    switch (vocabulary_class(tokenizer, id)) {
    case TOKEN_CLASS_HOLE:
        return UNUSED;
    case TOKEN_CLASS_NORMAL:
        return NORMAL;
    case TOKEN_CLASS_UNKNOWN:
        return UNKNOWN;
    case TOKEN_CLASS_BYTE:
        return BYTE;
    case TOKEN_CLASS_CONTROL:
        return CONTROL;
    case TOKEN_CLASS_USER:
        return USER_DEFINED;
    }
    return NORMAL;
}

/* Texts have to be unique; that of a user's token stands as it is found in text. */
static void put_text(const Tokenizer *tokenizer, int32_t id, int32_t type, GgufWriter *writer) {
    const char *text = tokenizer_text(tokenizer, id);
    if (text == NULL) {
        char filler[32];
        for (unsigned more = 0;; more++) {
            int n = snprintf(filler, sizeof filler, more == 0 ? "[PAD%d]" : "[PAD%d.%u]", id, more);
            if (tokenizer_find(tokenizer, filler) < 0) {
                gguf_item_string(writer, filler, (size_t)n);
                return;
            }
        }
    }
    static const char mark[] = "\xe2\x96\x81";
    if (type != USER_DEFINED || strstr(text, mark) == NULL) {
        gguf_item_string(writer, text, strlen(text));
        return;
    }
    Str spaced = {0};
    for (const char *at = text; *at != '\0';) {
        bool space = strncmp(at, mark, 3) == 0;
        str_append_char(&spaced, space ? ' ' : *at);
        at += space ? 3 : 1;
    }
    gguf_item_string(writer, str_text(&spaced), spaced.size);
    str_done(&spaced);
}

static void put_tokens(const Tokenizer *tokenizer, size_t rows, int32_t eos, GgufWriter *writer) {
    gguf_put_array(writer, "tokenizer.ggml.tokens", GGUF_STRING, rows);
    for (size_t i = 0; i < rows; i++) {
        put_text(tokenizer, (int32_t)i, type_of(tokenizer, (int32_t)i, eos), writer);
    }
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, rows);
    for (size_t i = 0; i < rows; i++) {
        gguf_item_i32(writer, type_of(tokenizer, (int32_t)i, eos));
    }
}

static bool put_merges(const Tokenizer *tokenizer, GgufWriter *writer, Error *err) {
    size_t merges = vocabulary_merges(tokenizer);
    Str text = {0};
    gguf_put_array(writer, "tokenizer.ggml.merges", GGUF_STRING, merges);
    for (size_t i = 0; i < merges; i++) {
        int32_t left, right;
        vocabulary_merge(tokenizer, i, &left, &right);
        str_clear(&text);
        str_appendf(&text, "%s %s", tokenizer_text(tokenizer, left),
                    tokenizer_text(tokenizer, right));
        gguf_item_string(writer, str_text(&text), text.size);
    }
    bool ok = str_ok(&text, err);
    str_done(&text);
    return ok;
}

static bool refuse(const char *steps, const char *why, Error *err) {
    size_t n = strlen(steps);
    return error_set(err, ERROR_CONFIG,
                     "llama.cpp has no tokenizer like the model's (%s); for programs that read "
                     "tokenizer.json write a model folder (--to huggingface). Its steps are\n%.*s",
                     why, (int)(n > 0 ? n - 1 : 0), steps);
}

static bool put_byte_level(const Tokenizer *tokenizer, const char *steps, size_t rows, int32_t eos,
                           GgufWriter *writer, Str *notes, Error *err) {
    bool ignore = vocabulary_ignores_merges(tokenizer);
    const char *pre = export_pre_tokenizer(steps, ignore);
    if (pre == NULL) {
        return refuse(steps,
                      ignore ? "byte-level BPE that ignores merges of whole words"
                             : "byte-level BPE with other pieces",
                      err);
    }
    if (strncmp(steps, "normalize", 9) == 0) {
        str_append(notes, "llama.cpp does not normalize: text that is not in NFC gets other tokens "
                          "there\n");
    }
    gguf_put_string(writer, "tokenizer.ggml.model", "gpt2", 4);
    gguf_put_string(writer, "tokenizer.ggml.pre", pre, strlen(pre));
    put_tokens(tokenizer, rows, eos, writer);
    return put_merges(tokenizer, writer, err);
}

/* Steps of SentencePiece's that llama.cpp does too: whether a space is put in front. */
static bool read_spaces(const char *steps, bool *front) {
    static const struct {
        const char *steps;
        bool front;
    } known[] = {
        {"normalize SentencePiece left escape\n",                                      true },
        {"normalize SentencePiece escape\n",                                           false},
        {"normalize Prepend \u2581\nnormalize Replace text   by \u2581\n",             true },
        {"normalize Replace text   by \u2581\n",                                       false},
        {"normalize Replace text   by \u2581\nsplit merged with previous pattern  \n", false},
        {"normalize Replace text   by \u2581\nsplit merged with previous text  \n",    false},
        {"spaces to \u2581, in front first\n",                                         true },
        {"spaces to \u2581, in front always\n",                                        true },
        {"spaces to \u2581, in front never\n",                                         false},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(steps, known[i].steps) == 0) {
            *front = known[i].front;
            return true;
        }
    }
    return false;
}

/* Scores for merges that are listed: a token's is the first rank of a merge that makes it. They say
 * the same as the list only if all merges of a token follow one another, and no two tokens of which
 * a third one is made are missing. */
static bool rank_scores(const Tokenizer *tokenizer, float *score, size_t rows, Error *err) {
    size_t merges = vocabulary_merges(tokenizer);
    int32_t last = -1;
    for (size_t i = 0; i < merges; i++) {
        int32_t left, right;
        vocabulary_merge(tokenizer, i, &left, &right);
        int32_t made = vocabulary_merged(tokenizer, left, right);
        if (made != last && (size_t)made < rows && score[made] != -INFINITY) {
            return error_set(
                err, ERROR_CONFIG,
                "llama.cpp cannot merge as the model's tokenizer does: merge %zu makes "
                "\"%.60s\" again, after others",
                i, tokenizer_text(tokenizer, made));
        }
        score[made] = score[made] == -INFINITY ? -(float)i : score[made];
        last = made;
    }
    return true;
}

static bool cuts_are_merges(const Tokenizer *tokenizer, int32_t id, Error *err) {
    const char *text = tokenizer_text(tokenizer, id);
    size_t n = strlen(text);
    char *left = mem_strdup(text, err);
    bool ok = left != NULL;
    for (size_t at = n - 1; ok && at > 0; at--) {
        left[at] = '\0';
        int32_t a = tokenizer_find(tokenizer, left), b = tokenizer_find(tokenizer, text + at);
        if (a >= 0 && b >= 0 && vocabulary_class(tokenizer, a) == TOKEN_CLASS_NORMAL &&
            vocabulary_class(tokenizer, b) == TOKEN_CLASS_NORMAL &&
            vocabulary_merged(tokenizer, a, b) != id) {
            ok = error_set(err, ERROR_CONFIG,
                           "llama.cpp cannot merge as the model's tokenizer does: \"%.60s\" and "
                           "\"%.60s\" do not merge there, but llama.cpp would join them",
                           left, text + at);
        }
    }
    free(left);
    return ok;
}

static bool find_scores(const Tokenizer *tokenizer, float *score, size_t rows, Error *err) {
    size_t known = tokenizer_vocabulary(tokenizer);
    for (size_t i = 0; i < rows; i++) {
        score[i] = -INFINITY;
    }
    if (vocabulary_merges(tokenizer) > 0) {
        bool ok = rank_scores(tokenizer, score, rows, err);
        for (size_t i = 0; ok && i < known; i++) {
            ok = vocabulary_class(tokenizer, (int32_t)i) != TOKEN_CLASS_NORMAL ||
                 cuts_are_merges(tokenizer, (int32_t)i, err);
        }
        if (!ok) {
            return false;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        double value = 0.0;
        if (vocabulary_score(tokenizer, (int32_t)i, &value)) {
            score[i] = (float)value;
        } else if (score[i] == -INFINITY) {
            score[i] = -1e6f; /* made by no merge: a character, a byte, a filler */
        }
    }
    return true;
}

static bool put_pieces(const Tokenizer *tokenizer, const char *steps, size_t rows, int32_t eos,
                       GgufWriter *writer, Error *err) {
    bool front = false;
    if (!read_spaces(steps, &front)) {
        return refuse(steps, "BPE on characters with steps that are not Llama's", err);
    }
    if (!vocabulary_falls_back(tokenizer)) {
        return refuse(steps, "BPE on characters that does not fall back to the 256 bytes", err);
    }
    float *score = mem_alloc(rows, sizeof *score, err);
    bool ok = score != NULL && find_scores(tokenizer, score, rows, err);
    if (ok) {
        gguf_put_string(writer, "tokenizer.ggml.model", "llama", 5);
        gguf_put_string(writer, "tokenizer.ggml.pre", "default", 7);
        put_tokens(tokenizer, rows, eos, writer);
        gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, rows);
        for (size_t i = 0; i < rows; i++) {
            gguf_item_f32(writer, score[i]);
        }
        gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", front);
    }
    free(score);
    return ok;
}

static void put_id(GgufWriter *writer, const char *key, int32_t id) {
    if (id >= 0) {
        gguf_put_u32(writer, key, (uint32_t)id);
    }
}

static bool put_vocabulary(const Tokenizer *tokenizer, size_t rows, int32_t eos, GgufWriter *writer,
                           Str *notes, Error *err) {
    Str steps = {0};
    bool ok = vocabulary_steps(tokenizer, &steps, err);
    if (ok) {
        VocabularyKind kind = vocabulary_kind(tokenizer);
        const char *text = str_text(&steps);
        if (kind == VOCABULARY_BYTES) {
            ok = put_byte_level(tokenizer, text, rows, eos, writer, notes, err);
        } else if (kind == VOCABULARY_CHARACTERS) {
            ok = put_pieces(tokenizer, text, rows, eos, writer, err);
        } else {
            ok = refuse(text, vocabulary_kind_name(kind), err);
        }
    }
    str_done(&steps);
    return ok;
}

/* White space that an added token takes is in no file. */
static void note_greedy(const Tokenizer *tokenizer, Str *notes) {
    for (size_t i = 0; i < tokenizer_vocabulary(tokenizer); i++) {
        if (vocabulary_class(tokenizer, (int32_t)i) == TOKEN_CLASS_USER &&
            vocabulary_is_greedy(tokenizer, (int32_t)i)) {
            str_appendf(notes,
                        "llama.cpp finds \"%s\" without the white space, or the word's ends, that "
                        "the tokenizer wants around it\n",
                        tokenizer_text(tokenizer, (int32_t)i));
        }
    }
}

static bool put_chat_template(const ExportSource *source, int32_t eos, GgufWriter *writer,
                              Error *err) {
    Str text = {0};
    bool ok = true;
    if (source->layout != NULL) {
        export_chat_template(source->layout, tokenizer_text(source->tokenizer, eos), &text);
        ok = str_ok(&text, err);
    } else {
        ok = vocabulary_chat_template(source->tokenizer, &text, err);
    }
    if (ok && text.size > 0) {
        gguf_put_string(writer, "tokenizer.chat_template", text.data, text.size);
    }
    str_done(&text);
    return ok;
}

/* What ends a completion beside EOS; llama.cpp has two more places for it. */
static void put_ends(const ExportSource *source, int32_t eos, GgufWriter *writer, Str *notes) {
    static const char *const key[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    size_t count = 0, put = 0;
    const int32_t *end = source->model != NULL ? config_ends(&source->model->config, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        if (end[i] == eos) {
            continue;
        }
        if (put < sizeof key / sizeof *key) {
            put_id(writer, key[put++], end[i]);
        } else {
            str_appendf(notes,
                        "token %d ends a completion too, for which a GGUF file has no place; "
                        "llama.cpp stops at it only if it knows its text\n",
                        (int)end[i]);
        }
    }
}

bool export_tokenizer(const ExportSource *source, size_t rows, GgufWriter *writer, Str *notes,
                      Error *err) {
    const Tokenizer *tokenizer = source->tokenizer;
    int32_t bos = tokenizer_bos(tokenizer), eos = tokenizer_eos(tokenizer);
    if (source->layout != NULL && !layout_eos(source->layout, tokenizer, &eos, err)) {
        return false;
    }
    if (eos < 0) {
        return error_set(err, ERROR_CONFIG,
                         "the tokenizer names no EOS, and llama.cpp would take another token for "
                         "it; name one in tokenizer_config.json (\"eos_token\")");
    }
    if (!put_vocabulary(tokenizer, rows, eos, writer, notes, err)) {
        return false;
    }
    bool own = source->layout != NULL && source->layout->template == NULL;
    bool add_bos = own ? source->layout->bos : vocabulary_adds_bos(tokenizer);
    put_id(writer, "tokenizer.ggml.bos_token_id", bos >= 0 ? bos : eos);
    put_id(writer, "tokenizer.ggml.eos_token_id", eos);
    put_ends(source, eos, writer, notes);
    put_id(writer, "tokenizer.ggml.unknown_token_id", tokenizer_unknown(tokenizer));
    put_id(writer, "tokenizer.ggml.padding_token_id", tokenizer_pad(tokenizer));
    gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", add_bos);
    gguf_put_bool(writer, "tokenizer.ggml.add_eos_token", false);
    note_greedy(tokenizer, notes);
    return put_chat_template(source, eos, writer, err);
}
