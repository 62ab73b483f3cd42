/* SPDX-License-Identifier: MIT
 *
 * Three small random models of one tokenizer in folders, and the programs of tools/ run on them.
 */
#ifndef RLHF_TESTS_CLI_MODELS_H
#define RLHF_TESTS_CLI_MODELS_H

#include "common/base/json.h"
#include "common/model/model.h"
#include "common/text/layout.h"
#include "tests/support/support.h"

enum { CONTEXT = 48, MAX_LINES = 64 };

/* From models_set_up to models_tear_down: a language model, a reward model of bias 0.5, and a classifier of
 * "bad", "fair" and "good", with the layout "plain". */
extern Model lm, reward, classifier;
extern Tokenizer *tokenizer;
extern Layout layout;
extern const char *lm_folder, *reward_folder, *classifier_folder;
/* What the tokenizer was trained on. */
extern const char corpus[];

int models_set_up(void **state);
int models_tear_down(void **state);
/* A model with the tokenizer and the layout. */
bool models_save(const Model *model, const char *folder, Error *err);

/* JSON lines of a program, released by lines_done. */
typedef struct Lines {
    cJSON *line[MAX_LINES];
    size_t count;
} Lines;
void lines_parse(const Str *output, Lines *lines);
void lines_done(Lines *lines);

/* Runs a program that must succeed and parses what it prints. */
void run_lines(const char *const argv[], Lines *lines);
/* Runs one that must end with this status, nothing on stdout, and `part` in what it says. */
void run_refused(const char *const argv[], int status, const char *part);

/* The ids of a plain prompt below 256 bytes. */
void prompt_ids(const char *prompt, Tokens *out);
/* A file "long.jsonl" of two prompts, the second longer than the context. */
const char *long_prompts(void);
/* list holds exactly these. */
void assert_ids(const cJSON *list, const int32_t *id, size_t count);

#endif
