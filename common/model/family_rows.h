/* SPDX-License-Identifier: MIT
 *
 * Short forms of a family's tensor rows. Private to the family files.
 */
#ifndef RLHF_MODEL_FAMILY_ROWS_H
#define RLHF_MODEL_FAMILY_ROWS_H

#include "common/model/family.h"

/* A matrix with normal weights, a norm's weight, a bias. */
#define WEIGHT(part, scope, name, rows, columns, condition)                                        \
    { part, scope, name, {rows, columns}, INIT_NORMAL, true, condition, STORED_AS_IS }
#define GAIN(part, scope, name, size, condition)                                                   \
    { part, scope, name, {size, EXTENT_NONE}, INIT_ONES, false, condition, STORED_AS_IS }
#define BIAS(part, scope, name, size, condition)                                                   \
    { part, scope, name, {size, EXTENT_NONE}, INIT_ZEROS, false, condition, STORED_AS_IS }
#define SCORE(name, condition)                                                                     \
    {                                                                                              \
        PART_SCORE, SCOPE_SCORE_HEAD, name, {EXTENT_LABELS, EXTENT_WIDTH}, INIT_SCORE, true,       \
            condition, STORED_AS_IS                                                                \
    }

/* Rows that Llama's relatives have in common (llama.c). */
enum { LLAMA_TENSORS = 22 };
extern const TensorRow llama_tensors[LLAMA_TENSORS];
extern const char *const llama_ignored[];

#endif
