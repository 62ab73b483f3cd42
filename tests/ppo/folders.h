/* SPDX-License-Identifier: MIT
 *
 * Model folders and prompt files for runs of the program: a tokenizer trained on a few lines, a
 * random policy, reward model and classifier.
 */
#ifndef RLHF_TESTS_PPO_FOLDERS_H
#define RLHF_TESTS_PPO_FOLDERS_H

#include "common/stage/stage.h"
#include "tests/support/support.h"

typedef struct Folders {
    const char *top;        /* borrowed from test_folder */
    const char *policy;     /* a causal LM */
    const char *reward;     /* a reward model with the same tokenizer, bias 0.25 */
    const char *other;      /* a reward model with another tokenizer and layout */
    const char *classifier; /* three labels: bad, fair, good */
    const char *prompts;    /* six prompts, JSON lines */
    const char *held_out;   /* four others */
} Folders;

void folders_make(Folders *folders);

/* Bytes of two files or folders are equal; `diff -r` says where not. */
void assert_same_files(const char *a, const char *b);

#endif
