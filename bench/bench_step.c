/* SPDX-License-Identifier: MIT
 *
 * One optimizer step of SFT: GPT-2's 124M, a small and a tiny model.
 */
#include "bench/step.h"

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_step");
    static const StepShape shape[] = {
        {"sft 124M 4x256 fp32",           12, 768, 12, 50257, 4,  256,  false, false},
        {"sft 124M 4x256 fp32 recompute", 12, 768, 12, 50257, 4,  256,  false, true },
        {"sft 124M 4x256 bf16",           12, 768, 12, 50257, 4,  256,  true,  false},
        {"sft 124M 2x1024 fp32",          12, 768, 12, 50257, 2,  1024, false, false},
        {"sft small 16x256 fp32",         6,  384, 6,  4096,  16, 256,  false, false},
        {"sft small 16x256 bf16",         6,  384, 6,  4096,  16, 256,  true,  false},
        {"sft tiny 64 texts fp32",        4,  128, 4,  800,   64, 0,    false, false},
        {"sft tiny 64 texts bf16",        4,  128, 4,  800,   64, 0,    true,  false},
    };
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        if (bench_wants(shape[i].name, shape[i].vocabulary == 50257)) {
            step_measure(&shape[i]);
        }
    }
    return bench_end();
}
