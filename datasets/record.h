/* SPDX-License-Identifier: MIT
 *
 * Record: what one row of a data file says, whatever the file looked like.
 */
#ifndef RLHF_DATASETS_RECORD_H
#define RLHF_DATASETS_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/text/layout.h"

typedef enum RecordKind {
    RECORD_TEXT,          /* plain text: pre-training */
    RECORD_PROMPT,        /* a prompt alone: PPO */
    RECORD_DEMONSTRATION, /* a prompt and one completion */
    RECORD_CONVERSATION,  /* turns with roles, the assistant's trained */
    RECORD_RANKING,       /* a prompt and K >= 2 completions with ranks (pairs are K = 2) */
    RECORD_LABELED,       /* a text, or prompt and completion, with a class or a number */
} RecordKind;

typedef struct Record {
    RecordKind kind;
    Message *message; /* the prompt (one ROLE_PLAIN message, or turns), or the whole conversation */
    size_t messages;
    char **completion; /* texts; 1 for a demonstration, K for a ranking */
    size_t completions;
    double *rank;   /* [completions] lower is better, equal is a tie; NULL unless a ranking */
    double margin;  /* of a pair; 0 if not given */
    bool best_only; /* best-of-K label: rank 0 is the choice, all others are rank 1 */
    char *label;    /* of a labeled record, as text ("positive", "3"); NULL otherwise */
    double score;   /* number of a labeled record when has_score */
    bool has_score;
    char *annotator;  /* NULL if not given */
    char *extra;      /* the whole row as compact JSON, only if the reader was asked to keep it */
    const char *file; /* borrowed from the DataSet */
    long line;        /* where the record starts */
} Record;

void record_done(Record *record);

/* A stable identity of the prompt (hash of roles and texts): grouping and splits by prompt use it. */
uint64_t record_prompt_hash(const Record *record);

/* Shortened, escaped rendering for "one rendered example". */
void record_render(const Record *record, Str *out);

#endif
