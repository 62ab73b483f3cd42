/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of config.json and, behind a byte 0xff, generation_config.json: what is read is within the
 * limits, and reads the same after it was written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/config.h"
#include "tests/fuzz/fuzz.h"

static bool same(const ModelConfig *a, const ModelConfig *b) {
    return a->family == b->family && a->layers == b->layers && a->context == b->context &&
           config_qkv_width(a) == config_qkv_width(b) && a->inner == b->inner &&
           a->window == b->window && memcmp(a->local, b->local, sizeof a->local) == 0 &&
           memcmp(&a->rope, &b->rope, sizeof a->rope) == 0 &&
           memcmp(&a->local_rope, &b->local_rope, sizeof a->local_rope) == 0 &&
           a->activation == b->activation && a->head == b->head && a->labels == b->labels &&
           a->score_scalar == b->score_scalar && a->eos == b->eos && a->ends == b->ends &&
           memcmp(a->end, b->end, a->ends * sizeof *a->end) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    FuzzPart rest = {data, size}, part = fuzz_cut(&rest, 0xff);
    memory_file_put("memory:/config.json", part.data, part.size);
    if (rest.size > 0) {
        memory_file_put("memory:/generation_config.json", rest.data, rest.size);
    }
    Error err = {0};
    ModelConfig config, again;
    if (model_config_read(&config, "memory:", &err)) {
        if (!model_config_check(&config, &err) || !model_config_write(&config, "memory:", &err) ||
            !model_config_read(&again, "memory:", &err) || !same(&config, &again)) {
            error_print(&err, "fuzz_config", stderr);
            abort();
        }
        model_config_done(&again);
        model_config_done(&config);
    } else {
        demand(err.text[0] != '\0');
    }
    memory_files_clear();
    return 0;
}
