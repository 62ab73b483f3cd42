/* SPDX-License-Identifier: MIT
 *
 * Small random models of every family that is exported, each with the tokenizer of its kind.
 */
#ifndef RLHF_TESTS_EXPORT_MODELS_H
#define RLHF_TESTS_EXPORT_MODELS_H

#include "common/model/model.h"
#include "common/text/tokenizer.h"

typedef struct TestModel {
    const char *name;
    const char *config;    /* config.json, without the braces */
    const char *tokenizer; /* of tests/fixtures/text */
    const char *bos, *eos;
} TestModel;

extern const TestModel test_models[]; /* ended by a row without a name */

/* Weights of a size that makes greedy continuations vary. *folder (may be NULL): where it was saved, in
 * the folder of the test program. */
void test_model_open(const TestModel *row, Model *model, Tokenizer **tokenizer,
                     const char **folder);

/* A tokenizer of tests/fixtures/text with these tokens named in a tokenizer_config.json. */
Tokenizer *test_tokenizer(const char *name, const char *bos, const char *eos, const char *folder);

#endif
