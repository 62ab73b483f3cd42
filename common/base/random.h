/* SPDX-License-Identifier: MIT
 *
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A number is a pure function of (seed, purpose, and up to four counters such as
 * step, record, sample, position, layer); there is no state to save, and it does not matter who asks
 * first or on which thread.
 */
#ifndef RLHF_BASE_RANDOM_H
#define RLHF_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Each use draws from a stream of its own. Values are part of the meaning of a seed: append only. */
typedef enum RandomPurpose {
    RANDOM_INIT = 1,     /* initial weights */
    RANDOM_SHUFFLE = 2,  /* order of records */
    RANDOM_DROPOUT = 3,
    RANDOM_SAMPLE = 4,   /* sampling tokens */
    RANDOM_SPLIT = 5,    /* splits of data */
    RANDOM_PPO = 6,      /* minibatch permutations */
    RANDOM_TEST = 7,
    RANDOM_NORMALIZE = 8, /* reference samples of reward normalization */
    RANDOM_PTX = 9,       /* order of the pre-training mix */
    RANDOM_EVALUATE = 10, /* sampling on held-out prompts */
    RANDOM_CONTRAST = 11, /* rankings made from demonstrations */
    RANDOM_MASK = 12,     /* masked words: which, and by what */
    RANDOM_NEXT = 13,     /* next sentences: true ones and others */
} RandomPurpose;

/* The Philox block function: 4 words from a 128-bit counter and a 64-bit key. */
void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* A stream: key from (seed, purpose), upper counter words from (a, b). Cheap to make, no state. */
typedef struct Random {
    uint32_t key[2];
    uint64_t stream;
} Random;

Random random_stream(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b);

/* Number i of the stream. */
uint32_t random_u32(const Random *random, uint64_t i);
double random_uniform(const Random *random, uint64_t i);  /* in [0, 1), 53 bits */
double random_normal(const Random *random, uint64_t i);   /* Box-Muller, double precision */
uint64_t random_below(const Random *random, uint64_t i, uint64_t n); /* in [0, n), unbiased to 2^-53 */
void random_fill_normal(const Random *random, float *out, size_t n, double deviation);

/* The i-th element of a pseudo-random permutation of [0, n), without a table: a Feistel network with
 * cycle walking. The order of data is random_permute(stream(seed, RANDOM_SHUFFLE, epoch, 0), n, i). */
uint64_t random_permute(const Random *random, uint64_t n, uint64_t i);

/* Mixes two 64-bit values into one (splitmix64 finalizer): builds sequence keys. */
uint64_t random_mix(uint64_t a, uint64_t b);

#endif
