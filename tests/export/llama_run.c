/* SPDX-License-Identifier: MIT
 *
 * Runs a GGUF file through llama.cpp, for test_llama and by hand. Not built with the rest; with
 * llama.cpp built in L:
 *   cc -O2 -I L/include -I L/ggml/include tests/export/llama_run.c -o llama-run \
 *     -L L/build/bin -lllama -lggml -lggml-base -Wl,-rpath,L/build/bin
 *   RLHF_TEST_LLAMA=./llama-run meson test -C build --suite export
 *
 *   llama-run FILE tokens          texts on standard input, each as "N\n" and N bytes: a line of ids each
 *   llama-run FILE tokens-special  the same, special tokens found and BOS as the file says
 *   llama-run FILE greedy N        a line of ids: N more, the most probable ones (of a tie the lowest)
 *   llama-run FILE logits          a line of ids: a line of logits behind the last
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

static void quiet(enum ggml_log_level level, const char *text, void *context) {
    (void)context;
    if (level == GGML_LOG_LEVEL_ERROR) {
        fputs(text, stderr);
    }
}

static void fail(const char *what) {
    fprintf(stderr, "llama-run: %s\n", what);
    exit(1);
}

static void tokens(const struct llama_vocab *vocab, bool special) {
    size_t n;
    while (scanf("%zu", &n) == 1 && getchar() == '\n') {
        char *text = malloc(n + 1);
        llama_token *id = malloc((n + 8) * sizeof *id);
        if (fread(text, 1, n, stdin) != n) {
            fail("a text is cut off");
        }
        int count = llama_tokenize(vocab, text, (int)n, id, (int)n + 8, special, special);
        for (int i = 0; i < count; i++) {
            printf("%s%d", i > 0 ? " " : "", id[i]);
        }
        puts("");
        free(text);
        free(id);
    }
}

static const float *decode(struct llama_context *context, llama_token *id, int n) {
    if (llama_decode(context, llama_batch_get_one(id, n)) != 0) {
        fail("decoding failed");
    }
    return llama_get_logits_ith(context, -1);
}

static llama_token best(const float *logits, int n) {
    int most = 0;
    for (int i = 1; i < n; i++) {
        most = logits[i] > logits[most] ? i : most;
    }
    return most;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fail("usage: llama-run FILE tokens|tokens-special|greedy N|logits");
    }
    llama_log_set(quiet, NULL);
    bool only_tokens = strncmp(argv[2], "tokens", 6) == 0;
    struct llama_model_params params = llama_model_default_params();
    params.vocab_only = only_tokens;
    struct llama_model *model = llama_model_load_from_file(argv[1], params);
    if (model == NULL) {
        fail("the file cannot be loaded");
    }
    const struct llama_vocab *vocab = llama_model_get_vocab(model);
    if (only_tokens) {
        tokens(vocab, strcmp(argv[2], "tokens-special") == 0);
        return 0;
    }
    static llama_token id[1 << 16];
    int n = 0;
    while (n < 1 << 16 && scanf("%d", &id[n]) == 1) {
        n++;
    }
    struct llama_context_params settings = llama_context_default_params();
    settings.n_ctx = settings.n_batch = 4096;
    settings.type_k = settings.type_v = GGML_TYPE_F32;
    settings.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    settings.n_threads = settings.n_threads_batch = 2;
    struct llama_context *context = llama_init_from_model(model, settings);
    int vocabulary = llama_vocab_n_tokens(vocab);
    const float *logits = decode(context, id, n);
    if (strcmp(argv[2], "logits") == 0) {
        for (int i = 0; i < vocabulary; i++) {
            printf("%.9g\n", (double)logits[i]);
        }
    }
    int more = strcmp(argv[2], "greedy") == 0 && argc > 3 ? (int)strtol(argv[3], NULL, 10) : 0;
    for (int i = 0; i < more; i++) {
        llama_token next = best(logits, vocabulary);
        printf("%s%d", i > 0 ? " " : "", next);
        logits = i + 1 < more ? decode(context, &next, 1) : NULL;
    }
    puts("");
    llama_free(context);
    llama_model_free(model);
    return 0;
}
