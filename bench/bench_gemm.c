/* SPDX-License-Identifier: MIT
 *
 * Matrix products on the shapes of training, small models, decoding and attention.
 */
#include "bench/bench.h"

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_gemm");
    return bench_end();
}
