/* SPDX-License-Identifier: MIT
 *
 * The machine's own limits: multiply peaks and memory bandwidth. Serving bench/run, a round gives all.
 */
#include <stdio.h>

#include "bench/bench.h"
#include "bench/machine.h"
#include "common/base/parallel.h"

static void print_limits(void) {
    double fp32 = machine_fp32_flops(), bf16 = machine_bf16_flops();
    double read = machine_read_bandwidth(), triad = machine_triad_bandwidth();
    printf("{\"threads\":%d,\"fp32_flops\":%.6g,\"bf16_flops\":%.6g,\"read\":%.6g,\"triad\":%.6g,"
           "\"fp32_unit\":\"%s\",\"bf16_unit\":\"%s\"}\n",
           parallel_threads(), fp32, bf16, read, triad, machine_fp32_name(), machine_bf16_name());
    fflush(stdout);
}

int main(int argc, char **argv) {
    bench_begin(argc, argv, "bench_machine");
    if (bench_wants("machine", false)) {
        char line[64];
        machine_read_bandwidth();
        machine_triad_bandwidth();
        print_limits();
        while (fgets(line, sizeof line, stdin) != NULL) {
            print_limits();
        }
    }
    return bench_end();
}
