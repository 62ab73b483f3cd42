/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/utf8.h"
#include "common/text/trainer.h"

TokenizerTrainer *tokenizer_trainer_create(Error *err) {
    TokenizerTrainer *trainer = mem_alloc(1, sizeof *trainer, err);
    if (trainer == NULL) {
        return NULL;
    }
    trainer->splitter = tokenizer_new("pre-tokenizer", err);
    if (trainer->splitter == NULL || !tokenizer_put_gpt2(trainer->splitter, false, err)) {
        tokenizer_trainer_free(trainer);
        return NULL;
    }
    trainer->splitter->bytes_are_symbols = true; /* pieces as they stand in the text */
    return trainer;
}

void tokenizer_trainer_free(TokenizerTrainer *trainer) {
    if (trainer == NULL) {
        return;
    }
    for (size_t i = 0; i < trainer->words; i++) {
        free(trainer->word[i].text);
        free(trainer->word[i].symbol);
    }
    free(trainer->word);
    name_map_done(&trainer->index);
    tokenizer_free(trainer->splitter);
    free(trainer);
}

static bool count_piece(void *context, const char *piece, size_t n, Error *err) {
    TokenizerTrainer *trainer = context;
    int32_t known = name_map_find(&trainer->index, piece, n);
    if (known >= 0) {
        trainer->word[known].count++;
        return true;
    }
    if (trainer->words == INT32_MAX || n > INT32_MAX) {
        return error_set(err, ERROR_DATA, "the text has too many different words to train on");
    }
    if (!mem_reserve(&trainer->word, &trainer->capacity, trainer->words + 1, sizeof(Word), err)) {
        return false;
    }
    Word *word = &trainer->word[trainer->words];
    word->text = mem_strndup(piece, n, err);
    word->bytes = n;
    word->count = 1;
    int32_t index = (int32_t)trainer->words++;
    return word->text != NULL && name_map_add(&trainer->index, word->text, n, index, NULL, err);
}

bool tokenizer_trainer_feed(TokenizerTrainer *trainer, const char *text, size_t n, Error *err) {
    if (n == 0) {
        return true;
    }
    size_t bad = utf8_invalid_at(text, n);
    if (bad < n) {
        return error_set(err, ERROR_DATA, "byte %zu of the text, 0x%02x, is not valid UTF-8",
                         bad + 1, (unsigned char)text[bad]);
    }
    Encoder encoder;
    if (!encoder_init(&encoder, trainer->splitter, NULL, err)) {
        return false;
    }
    bool ok = encoder_pieces(&encoder, (Span){text, n, 0}, count_piece, trainer, err);
    encoder_done(&encoder);
    return ok;
}

static bool check_options(const TokenizerTraining *options, Error *err) {
    size_t least = mem_add(options->specials, 256);
    if (options->vocabulary < least || options->vocabulary > VOCABULARY_MAX) {
        return error_set(
            err, ERROR_CONFIG,
            "a vocabulary of %zu tokens, expected %zu (256 bytes and %zu special tokens) "
            "to %d",
            options->vocabulary, least, options->specials, VOCABULARY_MAX);
    }
    const char *const roles[] = {options->eos, options->bos, options->pad};
    for (size_t i = 0; i < 3; i++) {
        bool found = roles[i] == NULL;
        for (size_t j = 0; !found && j < options->specials; j++) {
            found = strcmp(roles[i], options->special[j]) == 0;
        }
        if (!found) {
            return error_set(err, ERROR_CONFIG, "\"%s\" is not among the special tokens", roles[i]);
        }
    }
    for (size_t i = 0; i < options->specials; i++) {
        const char *text = options->special[i];
        if (*text == '\0' || utf8_invalid_at(text, strlen(text)) < strlen(text)) {
            return error_set(err, ERROR_CONFIG, "special token %zu is empty or not valid UTF-8",
                             i + 1);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(text, options->special[j]) == 0) {
                return error_set(err, ERROR_CONFIG, "special token \"%s\" is named twice", text);
            }
        }
    }
    return true;
}

/* Special tokens, then the alphabet in the order of its code points. */
static bool put_alphabet(Tokenizer *tokenizer, const TokenizerTraining *options, Error *err) {
    for (size_t i = 0; i < options->specials; i++) {
        if (!tokenizer_put_token(tokenizer, options->special[i], (int64_t)i, err)) {
            return false;
        }
    }
    for (uint32_t code = 0; code < 0x200; code++) {
        char text[5] = {0};
        if (byte_level_byte(code) < 0) {
            continue;
        }
        size_t n = utf8_encode(code, text);
        if (name_map_find(&tokenizer->model, text, n) < 0 &&
            !tokenizer_put_token(tokenizer, text, (int64_t)tokenizer->vocabulary, err)) {
            return false;
        }
    }
    return true;
}

static bool put_special(Tokenizer *tokenizer, const TokenizerTraining *options, Error *err) {
    for (size_t i = 0; i < options->specials; i++) {
        char *text = tokenizer->token[i].text;
        AddedToken added = {.content = text, .n = strlen(text), .id = (int32_t)i, .special = true};
        if (!tokenizer_put_added(tokenizer, &added, err)) {
            return false;
        }
    }
    tokenizer->eos = options->eos == NULL ? -1 : tokenizer_find(tokenizer, options->eos);
    tokenizer->bos = options->bos == NULL ? -1 : tokenizer_find(tokenizer, options->bos);
    tokenizer->pad = options->pad == NULL ? -1 : tokenizer_find(tokenizer, options->pad);
    return true;
}

Tokenizer *tokenizer_trainer_finish(TokenizerTrainer *trainer, const TokenizerTraining *options,
                                    Error *err) {
    if (!check_options(options, err)) {
        return NULL;
    }
    Tokenizer *tokenizer = tokenizer_new("the trained tokenizer", err);
    if (tokenizer == NULL) {
        return NULL;
    }
    int64_t minimum = options->minimum_count == 0 ? 2 : (int64_t)options->minimum_count;
    bool ok = put_alphabet(tokenizer, options, err) &&
              trainer_learn(trainer, tokenizer, options->vocabulary, minimum, err) &&
              put_special(tokenizer, options, err) && tokenizer_put_gpt2(tokenizer, false, err) &&
              tokenizer_seal(tokenizer, err);
    if (!ok) {
        tokenizer_free(tokenizer);
        return NULL;
    }
    return tokenizer;
}
