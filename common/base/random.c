/* SPDX-License-Identifier: MIT */
#include "common/base/random.h"

#include <math.h>

/* Which function draws: the same index of one stream gives unrelated numbers to each of them. */
enum { KIND_U32, KIND_UNIFORM, KIND_NORMAL, KIND_BELOW, KIND_PERMUTE };

void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static uint64_t finalize(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t random_mix(uint64_t a, uint64_t b) {
    const uint64_t golden = 0x9E3779B97F4A7C15u;
    return finalize(finalize(a + golden) + golden + b);
}

Random random_stream(uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b) {
    uint64_t key = random_mix(seed, (uint64_t)purpose);
    return (Random){
        .key = {(uint32_t)key, (uint32_t)(key >> 32)},
          .stream = random_mix(a, b)
    };
}

/* Block `index` (< 2^60) of the stream as two 64-bit words. */
static void draw(const Random *random, int kind, uint64_t index, uint64_t out[2]) {
    uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32) | (uint32_t)kind << 28,
                           (uint32_t)random->stream, (uint32_t)(random->stream >> 32)};
    uint32_t word[4];
    random_philox(counter, random->key, word);
    out[0] = word[0] | (uint64_t)word[1] << 32;
    out[1] = word[2] | (uint64_t)word[3] << 32;
}

static double unit(uint64_t bits) {
    return (double)(bits >> 11) * 0x1p-53;
}

uint32_t random_u32(const Random *random, uint64_t i) {
    uint64_t block[2];
    draw(random, KIND_U32, i / 4, block);
    return (uint32_t)(block[i / 2 % 2] >> (32 * (i % 2)));
}

double random_uniform(const Random *random, uint64_t i) {
    uint64_t block[2];
    draw(random, KIND_UNIFORM, i / 2, block);
    return unit(block[i % 2]);
}

/* Box-Muller: a block gives two independent normal numbers. */
static void normal_pair(const Random *random, uint64_t index, double out[2]) {
    uint64_t block[2];
    draw(random, KIND_NORMAL, index, block);
    double radius = sqrt(-2 * log(1 - unit(block[0])));
    double angle = 2 * M_PI * unit(block[1]);
    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

double random_normal(const Random *random, uint64_t i) {
    double pair[2];
    normal_pair(random, i / 2, pair);
    return pair[i % 2];
}

void random_fill_normal(const Random *random, float *out, size_t n, double deviation) {
    double pair[2];
    for (size_t i = 0; i < n; i++) {
        if (i % 2 == 0) {
            normal_pair(random, i / 2, pair);
        }
        out[i] = (float)(deviation * pair[i % 2]);
    }
}

uint64_t random_below(const Random *random, uint64_t i, uint64_t n) {
    uint64_t block[2];
    draw(random, KIND_BELOW, i, block);
    /* The upper word of a 128-bit fraction times n: biased by less than n / 2^128. */
    unsigned __int128 low = (unsigned __int128)block[0] * n;
    unsigned __int128 high = (unsigned __int128)block[1] * n;
    return (uint64_t)((high + (uint64_t)(low >> 64)) >> 64);
}

uint64_t random_permute(const Random *random, uint64_t n, uint64_t i) {
    enum { ROUNDS = 8 };
    int half = 1; /* bits of each half: 4^half >= n */
    while (half < 32 && (uint64_t)1 << (2 * half) < n) {
        half++;
    }
    uint64_t mask = ((uint64_t)1 << half) - 1;
    uint64_t x = i;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t block[2];
            draw(random, KIND_PERMUTE, right | round << 32, block);
            uint64_t mixed = left ^ (block[0] & mask);
            left = right;
            right = mixed;
        }
        x = left << half | right;
    } while (x >= n);
    return x;
}
