/* SPDX-License-Identifier: MIT
 *
 * AttentionKernels: attention of heads of one group on one thread, compiled once for every instruction set
 * (attention_block.c).
 */
#ifndef RLHF_KERNELS_ATTENTION_BLOCK_H
#define RLHF_KERNELS_ATTENTION_BLOCK_H

#include "common/kernels/attention.h"

typedef struct AttentionPass {
    const Attention *attention;
    const float *qkv, *dout;
    float *out, *lse; /* read only in backward */
    float *dqkv;
} AttentionPass;

typedef void AttentionTask(const AttentionPass *pass, size_t group, size_t head, float *scratch);

struct AttentionKernels {
    const char *name;
    AttentionTask *forward;  /* of a head of queries */
    AttentionTask *backward; /* of a head of keys and all heads of queries that read it */
    size_t (*scratch)(size_t head_size);
};

/* The best one for this CPU, and all that it can run (NULL past the end; for tests). */
const AttentionKernels *attention_kernels(void);
const AttentionKernels *attention_kernels_at(size_t i);

#endif
