/* SPDX-License-Identifier: MIT
 *
 * Causal multi-head attention over ragged sequences, for training: row t of a sequence sees the
 * sequence's prefix and its own rows up to t. The T x T matrix exists only for a block of queries and
 * keys of one head; backward computes it again from the log of the row's sum of exponentials.
 *
 * A task is one head of one group (a prefix and the sequences behind it), done by one thread from first
 * to last, so that the gradient of a prefix's keys and values is summed in a fixed order.
 */
#ifndef RLHF_KERNELS_ATTENTION_H
#define RLHF_KERNELS_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

typedef struct AttentionSequence {
    size_t begin, end;               /* its rows */
    size_t prefix_begin, prefix_end; /* the rows it sees before its own; equal: none */
    uint64_t stream;                 /* random stream of its dropout */
} AttentionSequence;

typedef struct AttentionKernels AttentionKernels;

typedef struct Attention {
    const AttentionSequence *sequence;
    const size_t *group; /* [groups + 1] first sequence of each group: the prefix of the others */
    size_t groups, heads, head_size;
    float *scratch; /* [threads][attention_scratch(head_size)] */
    float dropout;  /* rate on the probabilities; 0: off */
    uint32_t key[2];
    uint32_t site;                   /* of head 0; the other heads use the sites behind it */
    const AttentionKernels *kernels; /* NULL: the best for this CPU */
} Attention;

/* Floats of scratch a thread needs, however long the sequences: fewer than 2^18 up to 128 floats a head. */
size_t attention_scratch(size_t head_size);

/* qkv: [N, 3 C], a row is Q | K | V with heads side by side; out: [N, C]; lse: [N, H], kept for backward.
 * Scores are scaled by 1 / sqrt(head_size). */
void attention_forward(float *out, float *lse, const float *qkv, const Attention *attention);

/* dqkv [N, 3 C] is overwritten. */
void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse,
                        const float *qkv, const Attention *attention);

#endif
