/* SPDX-License-Identifier: MIT
 *
 * Multi-head attention over ragged sequences, for training: row t of a sequence sees the sequence's prefix
 * and its own rows up to t; or all of its sequence; or of these a window. Several heads of queries may
 * share one of keys and values (grouped-query attention, Ainslie et al. 2023). The T x T matrix exists
 * only for a block of queries and keys of one head; backward computes it again from the log of the row's
 * sum of exponentials.
 *
 * A task of backward is one head of keys of one group (a prefix and the sequences behind it), done by one
 * thread from first to last, so that the gradients of keys and values are summed in a fixed order.
 */
#ifndef RLHF_KERNELS_ATTENTION_H
#define RLHF_KERNELS_ATTENTION_H

#include <stdbool.h>
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
    size_t kv_heads; /* divides heads: head h reads keys and values of h / (heads / kv_heads) */
    size_t window; /* a row at position p sees positions q with p - q < window; 0: all behind it */
    bool bidirectional; /* it sees positions before it too, with a window those with q - p < window;
                           then no sequence has a prefix */
    float scale;        /* of scores; 0: 1 / sqrt(head_size) */
    float *scratch;     /* [threads][attention_scratch(head_size)] */
    float dropout;      /* rate on the probabilities; 0: off */
    uint32_t key[2];
    uint32_t site;                   /* of head 0; the other heads use the sites behind it */
    const AttentionKernels *kernels; /* NULL: the best for this CPU */
} Attention;

/* Floats of scratch a thread needs, however long the sequences: fewer than 2^18 up to 128 floats a head. */
size_t attention_scratch(size_t head_size);

/* qkv: [N, (heads + 2 kv_heads) head_size], a row is Q | K | V with heads side by side; out: [N, heads
 * head_size]; lse: [N, heads], kept for backward. */
void attention_forward(float *out, float *lse, const float *qkv, const Attention *attention);

/* dqkv, as qkv, is overwritten. */
void attention_backward(float *dqkv, const float *dout, const float *out, const float *lse,
                        const float *qkv, const Attention *attention);

#endif
