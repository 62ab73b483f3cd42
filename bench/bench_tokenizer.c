/* SPDX-License-Identifier: MIT
 *
 * Encoding and decoding text on one thread, line by line, with a byte-level BPE of 8,000 ids learned from
 * the same text: words of Zipf's frequencies, drawn from random syllables, or the file that
 * RLHF_BENCH_TEXT names.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/text/tokenizer.h"

enum { TEXT_BYTES = 1 << 20, WORDS = 20000, VOCABULARY = 8000 };

typedef struct Work {
    Str text;
    Tokenizer *tokenizer;
    Tokens tokens;
    Str decoded;
    char folder[64];
} Work;

static void check(bool ok, const Error *err) {
    if (!ok) {
        bench_fail(err);
    }
}

static void append_word(Str *text, const Random *random, uint64_t word) {
    static const char *const syllable[] = {"ba",  "chi", "den", "e",   "for", "gra", "hu", "in",
                                           "ka",  "lo",  "men", "ne",  "or",  "per", "qu", "ri",
                                           "sta", "ti",  "un",  "ver", "wo",  "x",   "yo", "zé"};
    uint64_t syllables = 1 + random_below(random, word << 8, 4);
    for (uint64_t i = 0; i < syllables; i++) {
        str_append(text, syllable[random_below(random, word << 8 | (i + 1),
                                               sizeof syllable / sizeof *syllable)]);
    }
}

/* The rank of a word is about uniform in its logarithm. */
static uint64_t draw_word(const Random *random, uint64_t place) {
    uint64_t most = 1 + random_below(random, 2 * place, WORDS);
    return random_below(random, 2 * place + 1, most);
}

static void write_text(Str *text) {
    Random random = random_stream(1, RANDOM_TEST, 0, 0);
    Random words = random_stream(2, RANDOM_TEST, 0, 0);
    for (uint64_t i = 0; text->size < TEXT_BYTES; i++) {
        append_word(text, &words, draw_word(&random, i));
        str_append(text, i % 97 == 96 ? ".\n" : i % 11 == 10 ? ", " : " ");
    }
}

static void learn(Work *work) {
    Error err = {0};
    TokenizerTrainer *trainer = tokenizer_trainer_create(&err);
    check(trainer != NULL &&
              tokenizer_trainer_feed(trainer, work->text.data, work->text.size, &err),
          &err);
    static const char *const special[] = {"<|endoftext|>"};
    TokenizerTraining training = {.vocabulary = VOCABULARY,
                                  .minimum_count = 2,
                                  .special = special,
                                  .specials = 1,
                                  .eos = special[0]};
    work->tokenizer = tokenizer_trainer_finish(trainer, &training, &err);
    check(work->tokenizer != NULL, &err);
    tokenizer_trainer_free(trainer);
}

static void encode(void *context) {
    Work *work = context;
    Error err = {0};
    work->tokens.count = 0;
    const char *at = work->text.data, *end = at + work->text.size;
    while (at < end) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t n = line != NULL ? (size_t)(line - at) + 1 : (size_t)(end - at);
        check(tokenizer_encode(work->tokenizer, at, n, false, &work->tokens, &err), &err);
        at += n;
    }
}

static void decode(void *context) {
    Work *work = context;
    Error err = {0};
    str_clear(&work->decoded);
    check(tokenizer_decode(work->tokenizer, work->tokens.id, work->tokens.count, true, false,
                           &work->decoded, &err),
          &err);
}

/* What a peer reads: the tokenizer and the text as files. */
static void write_files(Work *work, Str *peer) {
    Error err = {0};
    snprintf(work->folder, sizeof work->folder, "/tmp/bench_tokenizer.XXXXXX");
    if (mkdtemp(work->folder) == NULL) {
        error_errno(&err, "make", work->folder);
        bench_fail(&err);
    }
    char *path = file_join(work->folder, "text.txt", &err);
    check(path != NULL && tokenizer_save(work->tokenizer, work->folder, &err) &&
              file_write(path, work->text.data, work->text.size, &err),
          &err);
    str_appendf(peer,
                "{\"kind\":\"tokenizer\",\"tokenizer\":\"%s/tokenizer.json\",\"text\":\"%s\"}",
                work->folder, path);
    free(path);
}

static void measure(Work *work, const char *name, void (*body)(void *), const char *peer) {
    bench_measure(
        &(BenchRow){.name = name, .unit = "bytes", .work = (double)work->text.size, .peer = peer},
        body, work);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_tokenizer");
    bool encodes = bench_wants("encode text, one thread", false);
    bool decodes = bench_wants("decode text, one thread", false);
    if (encodes || decodes) {
        Work work = {0};
        Str peer = {0};
        Error err = {0};
        const char *file = getenv("RLHF_BENCH_TEXT");
        if (file != NULL) {
            check(file_read(file, 64 << 20, &work.text, &err), &err);
        } else {
            write_text(&work.text);
        }
        learn(&work);
        encode(&work);
        if (encodes) {
            write_files(&work, &peer);
            measure(&work, "encode text, one thread", encode, peer.data);
            check(file_remove_tree(work.folder, &err), &err);
        }
        if (decodes) {
            measure(&work, "decode text, one thread", decode, NULL);
        }
        tokenizer_free(work.tokenizer);
        tokens_done(&work.tokens);
        str_done(&work.decoded);
        str_done(&work.text);
        str_done(&peer);
    }
    return bench_end();
}
