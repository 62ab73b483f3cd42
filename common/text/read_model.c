/* SPDX-License-Identifier: MIT
 *
 * The member "model" of a tokenizer.json.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/internal.h"

bool tokenizer_read_vocabulary(Tokenizer *tokenizer, const cJSON *vocab, const char *dotted,
                               Error *err) {
    if (!cJSON_IsObject(vocab)) {
        return tokenizer_fault(tokenizer, dotted, err, "expected an object of tokens and ids");
    }
    for (const cJSON *item = vocab->child; item != NULL; item = item->next) {
        int64_t id = 0;
        if (!json_integer(item, 0, VOCABULARY_MAX - 1, &id)) {
            char found[64];
            return tokenizer_fault(tokenizer, dotted, err,
                                   "the id of \"%.60s\" is %s, expected 0 to %d", item->string,
                                   json_describe(item, found, sizeof found), VOCABULARY_MAX - 1);
        }
        if (!tokenizer_put_token(tokenizer, item->string, id, err)) {
            return false;
        }
    }
    return true;
}

bool tokenizer_read_merge(Tokenizer *tokenizer, const char *text, size_t n, Error *err) {
    const char *space = memchr(text, ' ', n);
    size_t left = space == NULL ? n : (size_t)(space - text);
    if (space == NULL || left == 0 || left + 1 == n ||
        memchr(space + 1, ' ', n - left - 1) != NULL) {
        return error_at(err, ERROR_DATA, tokenizer->source, 0, 0,
                        "merge %zu is \"%.*s\", expected two tokens with one space between them",
                        tokenizer->merges, (int)(n > 60 ? 60 : n), text);
    }
    return tokenizer_put_merge(tokenizer, text, left, space + 1, n - left - 1, err);
}

static bool read_merges(Tokenizer *tokenizer, const cJSON *merges, Error *err) {
    if (!cJSON_IsArray(merges)) {
        return tokenizer_fault(tokenizer, "model.merges", err, "expected an array of merges");
    }
    for (const cJSON *item = merges->child; item != NULL; item = item->next) {
        const char *text = json_string(item);
        const cJSON *first = cJSON_IsArray(item) ? item->child : NULL;
        const char *left = first == NULL ? NULL : json_string(first);
        const char *right = first == NULL || first->next == NULL ? NULL : json_string(first->next);
        bool ok = true;
        if (text != NULL) {
            ok = tokenizer_read_merge(tokenizer, text, strlen(text), err);
        } else if (left != NULL && right != NULL && first->next->next == NULL) {
            ok = tokenizer_put_merge(tokenizer, left, strlen(left), right, strlen(right), err);
        } else {
            char found[64], path[64];
            snprintf(path, sizeof path, "model.merges[%zu]", tokenizer->merges);
            ok = tokenizer_fault(tokenizer, path, err,
                                 "expected \"a b\" or [\"a\", \"b\"], found %s",
                                 json_describe(item, found, sizeof found));
        }
        if (!ok) {
            return false;
        }
    }
    return true;
}

static bool is_empty(const cJSON *item) {
    return item == NULL || cJSON_IsNull(item) ||
           (cJSON_IsString(item) && *item->valuestring == '\0');
}

/* An optional string that is neither null nor empty; a copy. */
static bool read_affix(Tokenizer *tokenizer, const cJSON *model, const char *name, char **out,
                       Error *err) {
    const cJSON *item = json_member(model, name);
    if (is_empty(item)) {
        return true;
    }
    const char *text = NULL;
    if (!tokenizer_read_string(tokenizer, model, "model", name, &text, err)) {
        return false;
    }
    *out = mem_strdup(text, err);
    return *out != NULL;
}

static bool read_unknown(Tokenizer *tokenizer, const cJSON *model, Error *err) {
    const cJSON *item = json_member(model, "unk_token");
    if (item == NULL || cJSON_IsNull(item)) {
        return true;
    }
    const char *text = NULL;
    if (!tokenizer_read_string(tokenizer, model, "model", "unk_token", &text, err)) {
        return false;
    }
    tokenizer->unknown = name_map_find(&tokenizer->model, text, strlen(text));
    return tokenizer->unknown >= 0 || *text == '\0' ||
           tokenizer_fault(tokenizer, "model.unk_token", err, "\"%.60s\" is not in the vocabulary",
                           text);
}

static bool read_bpe(Tokenizer *tokenizer, const cJSON *model, Error *err) {
    char found[64];
    const cJSON *dropout = json_member(model, "dropout");
    if (dropout != NULL && !cJSON_IsNull(dropout) &&
        !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0)) {
        return tokenizer_fault(tokenizer, "model.dropout", err, "%s is not supported, only null is",
                               json_describe(dropout, found, sizeof found));
    }
    return tokenizer_read_flag(tokenizer, model, "model", "ignore_merges",
                               &tokenizer->ignore_merges, err) &&
           tokenizer_read_flag(tokenizer, model, "model", "byte_fallback",
                               &tokenizer->byte_fallback, err) &&
           tokenizer_read_flag(tokenizer, model, "model", "fuse_unk", &tokenizer->fuse_unknown,
                               err) &&
           read_affix(tokenizer, model, "continuing_subword_prefix", &tokenizer->prefix, err) &&
           read_affix(tokenizer, model, "end_of_word_suffix", &tokenizer->suffix, err) &&
           tokenizer_read_vocabulary(tokenizer, json_member(model, "vocab"), "model.vocab", err) &&
           read_merges(tokenizer, json_member(model, "merges"), err) &&
           read_unknown(tokenizer, model, err);
}

static bool read_wordpiece(Tokenizer *tokenizer, const cJSON *model, Error *err) {
    int64_t characters = 100;
    const cJSON *most = json_member(model, "max_input_chars_per_word");
    if (most != NULL && !json_integer(most, 0, INT32_MAX, &characters)) {
        char found[64];
        return tokenizer_fault(tokenizer, "model.max_input_chars_per_word", err,
                               "expected a number of characters, found %s",
                               json_describe(most, found, sizeof found));
    }
    tokenizer->characters_max = (size_t)characters;
    const cJSON *prefix = json_member(model, "continuing_subword_prefix");
    if (!read_affix(tokenizer, model, "continuing_subword_prefix", &tokenizer->prefix, err)) {
        return false;
    }
    if (prefix == NULL) {
        tokenizer->prefix = mem_strdup("##", err);
    }
    if (!tokenizer_read_vocabulary(tokenizer, json_member(model, "vocab"), "model.vocab", err) ||
        !read_unknown(tokenizer, model, err)) {
        return false;
    }
    if (tokenizer->unknown < 0) {
        tokenizer->unknown = name_map_find(&tokenizer->model, "[UNK]", 5);
    }
    return tokenizer->unknown >= 0 ||
           tokenizer_fault(tokenizer, "model.unk_token", err, "expected a token of the vocabulary");
}

/* The double that Hugging Face's program makes of a number (serde_json's f64_from_parts): as many digits
 * as 64 bits hold, rounded, then multiplied or divided by a power of ten. That may be the neighbor of the
 * nearest double, and decides between ways to cut a text whose scores are equal but for rounding. */
static double score_from_digits(const char *text) {
    uint64_t digits = 0;
    long exponent = 0;
    bool negative = *text == '-', fraction = false, full = false;
    for (text += negative; *text != '\0' && *text != 'e' && *text != 'E'; text++) {
        if (*text == '.') {
            fraction = true;
            continue;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        full = full || digits > (UINT64_MAX - digit) / 10;
        digits = full ? digits : digits * 10 + digit;
        exponent += full ? !fraction : -(long)fraction;
    }
    if (*text != '\0') {
        long told = strtol(text + 1, NULL, 10);
        exponent += told < -10000 ? -10000 : told > 10000 ? 10000 : told;
    }
    double value = (double)digits;
    for (; exponent < -308 && value != 0; exponent += 308) {
        value /= 1e308;
    }
    char power[32];
    snprintf(power, sizeof power, "1e%ld", labs(exponent));
    value = value == 0      ? value
            : exponent >= 0 ? value * strtod(power, NULL)
                            : value / strtod(power, NULL);
    return negative ? -value : value;
}

static bool read_score(const cJSON *item, double *score, Error *err) {
    Str text = {0};
    json_put_tree(&text, item, false);
    bool ok = str_ok(&text, err);
    *score = ok ? score_from_digits(str_text(&text)) : 0;
    str_done(&text);
    return ok;
}

static bool read_pieces(Tokenizer *tokenizer, const cJSON *vocab, Error *err) {
    if (!cJSON_IsArray(vocab)) {
        return tokenizer_fault(tokenizer, "model.vocab", err,
                               "expected an array of pieces and their scores");
    }
    size_t capacity = 0;
    double least = INFINITY;
    int64_t id = 0;
    for (const cJSON *item = vocab->child; item != NULL; item = item->next, id++) {
        const cJSON *piece = cJSON_IsArray(item) ? item->child : NULL;
        const cJSON *score = piece == NULL ? NULL : piece->next;
        if (json_string(piece) == NULL || !cJSON_IsNumber(score) || score->next != NULL ||
            !isfinite(score->valuedouble)) {
            char path[64];
            snprintf(path, sizeof path, "model.vocab[%lld]", (long long)id);
            return tokenizer_fault(tokenizer, path, err, "expected [\"piece\", score]");
        }
        if (!tokenizer_put_token(tokenizer, json_string(piece), id, err) ||
            !mem_reserve(&tokenizer->score, &capacity, (size_t)id + 1, sizeof(double), err) ||
            !read_score(score, &tokenizer->score[id], err)) {
            return false;
        }
        tokenizer->scores = (size_t)id + 1;
        least = tokenizer->score[id] < least ? tokenizer->score[id] : least;
    }
    tokenizer->unknown_score = least - 10;
    return true;
}

static bool read_unigram(Tokenizer *tokenizer, const cJSON *model, Error *err) {
    const cJSON *unknown = json_member(model, "unk_id");
    int64_t id = -1;
    if (!read_pieces(tokenizer, json_member(model, "vocab"), err) ||
        !tokenizer_read_flag(tokenizer, model, "model", "byte_fallback", &tokenizer->byte_fallback,
                             err)) {
        return false;
    }
    if (unknown != NULL && !cJSON_IsNull(unknown) &&
        !json_integer(unknown, 0, (int64_t)tokenizer->vocabulary - 1, &id)) {
        char found[64];
        return tokenizer_fault(tokenizer, "model.unk_id", err,
                               "expected the number of a piece, found %s",
                               json_describe(unknown, found, sizeof found));
    }
    tokenizer->unknown = (int32_t)id;
    return true;
}

/* Older files name no type: the members tell. */
static const char *guess(const cJSON *model) {
    if (json_member(model, "merges") != NULL) {
        return "BPE";
    }
    return cJSON_IsArray(json_member(model, "vocab"))               ? "Unigram"
           : json_member(model, "max_input_chars_per_word") != NULL ? "WordPiece"
                                                                    : "BPE";
}

bool tokenizer_read_model(Tokenizer *tokenizer, const cJSON *model, Error *err) {
    static const struct {
        const char *name;
        ModelKind kind;
        bool (*read)(Tokenizer *tokenizer, const cJSON *model, Error *err);
    } kinds[] = {
        {"BPE",       MODEL_BPE,       read_bpe      },
        {"Unigram",   MODEL_UNIGRAM,   read_unigram  },
        {"WordPiece", MODEL_WORDPIECE, read_wordpiece},
    };
    if (!cJSON_IsObject(model)) {
        return tokenizer_fault(tokenizer, "model", err, "expected an object");
    }
    const cJSON *type = json_member(model, "type");
    const char *name = type == NULL ? guess(model) : json_string(type);
    for (size_t i = 0; name != NULL && i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(name, kinds[i].name) == 0) {
            tokenizer->kind = kinds[i].kind;
            return kinds[i].read(tokenizer, model, err);
        }
    }
    char found[64];
    return tokenizer_fault(tokenizer, "model.type", err,
                           "%s is not supported, only \"BPE\", \"Unigram\" and \"WordPiece\" are",
                           json_describe(type, found, sizeof found));
}
