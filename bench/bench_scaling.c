/* SPDX-License-Identifier: MIT
 *
 * Time of a training step against length, batch, width and vocabulary, one of them at a time: a row far
 * from the share of its floor that its neighbors reach is a surprise.
 */
#include "bench/step.h"

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_scaling");
    static const StepShape shape[] = {
        {"length 64, 4096 tokens",   4, 256,  4,  1000,   64, 64,   false, false},
        {"length 256, 4096 tokens",  4, 256,  4,  1000,   16, 256,  false, false},
        {"length 1024, 4096 tokens", 4, 256,  4,  1000,   4,  1024, false, false},
        {"length 2048, 4096 tokens", 4, 256,  4,  1000,   2,  2048, false, false},
        {"length 4096, 4096 tokens", 4, 256,  4,  1000,   1,  4096, false, false},
        {"batch 1 of 128",           4, 256,  4,  1000,   1,  128,  false, false},
        {"batch 4 of 128",           4, 256,  4,  1000,   4,  128,  false, false},
        {"batch 16 of 128",          4, 256,  4,  1000,   16, 128,  false, false},
        {"batch 64 of 128",          4, 256,  4,  1000,   64, 128,  false, false},
        {"width 64",                 4, 64,   1,  1000,   16, 128,  false, false},
        {"width 128",                4, 128,  2,  1000,   16, 128,  false, false},
        {"width 512",                4, 512,  8,  1000,   16, 128,  false, false},
        {"width 1024",               4, 1024, 16, 1000,   16, 128,  false, false},
        {"vocabulary 256",           2, 256,  4,  256,    8,  128,  false, false},
        {"vocabulary 4096",          2, 256,  4,  4096,   8,  128,  false, false},
        {"vocabulary 50257",         2, 256,  4,  50257,  8,  128,  false, false},
        {"vocabulary 151936",        2, 256,  4,  151936, 8,  128,  false, false},
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const StepShape *s = &shape[i];
        bool large = s->texts * s->length > 2048 || s->width > 512 || s->vocabulary > 4096;
        if (bench_wants(s->name, large)) {
            step_measure(s);
        }
    }
    return bench_end();
}
