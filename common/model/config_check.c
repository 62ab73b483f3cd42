/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "common/base/memory.h"
#include "common/model/config.h"
#include "common/model/config_keys.h"

enum {
    WIDTH_LIMIT = 1 << 17,
    INNER_LIMIT = 1 << 20,
    VOCABULARY_LIMIT = 1 << 22,
    CONTEXT_LIMIT = 1 << 22,
    SEGMENTS_LIMIT = 1 << 16,
};

static bool size_check(const char *name, size_t value, size_t limit, Error *err) {
    return (value >= 1 && value <= limit) ||
           error_set(err, ERROR_CONFIG, "the model's %s is %zu; 1 to %zu was expected", name, value,
                     limit);
}

static bool share_check(const char *name, float value, Error *err) {
    return (value >= 0.0f && value < 1.0f) ||
           error_set(err, ERROR_CONFIG,
                     "the model's %s is %g; a number from 0 and below 1 was expected", name,
                     (double)value);
}

static bool id_check(const char *name, int32_t id, size_t vocabulary, Error *err) {
    return (id >= -1 && (id < 0 || (size_t)id < vocabulary)) ||
           error_set(err, ERROR_CONFIG, "the model's %s is %d, but its vocabulary has %zu ids",
                     name, (int)id, vocabulary);
}

static bool sizes_check(const ModelConfig *config, Error *err) {
    size_t heads = config->head_size != 0 ? WIDTH_LIMIT : config->width;
    if (!size_check("number of layers", config->layers, LAYERS_LIMIT, err) ||
        !size_check("width", config->width, WIDTH_LIMIT, err) ||
        !size_check("number of heads", config->heads, heads, err) ||
        !size_check("inner width", config->inner, INNER_LIMIT, err) ||
        !size_check("vocabulary", config->vocabulary, VOCABULARY_LIMIT, err) ||
        !size_check("context", config->context, CONTEXT_LIMIT, err)) {
        return false;
    }
    if (config->head_size == 0 && config->width % config->heads != 0) {
        return error_set(err, ERROR_CONFIG, "a width of %zu is not a multiple of %zu heads",
                         config->width, config->heads);
    }
    if (config->heads % config_kv_heads(config) != 0) {
        return error_set(err, ERROR_CONFIG,
                         "%zu heads are not a multiple of %zu heads of keys and values",
                         config->heads, config->kv_heads);
    }
    if (mem_mul(config->heads, config_head_size(config)) > WIDTH_LIMIT) {
        return error_set(err, ERROR_CONFIG,
                         "%zu heads of size %zu are wider than the %d that are allowed",
                         config->heads, config->head_size, WIDTH_LIMIT);
    }
    if (config->embedding_width != 0 && config->embedding_width != config->width) {
        return error_set(err, ERROR_CONFIG,
                         "token embeddings have %zu columns and the model %zu; this program "
                         "computes no projection between them",
                         config->embedding_width, config->width);
    }
    if (config->segments > SEGMENTS_LIMIT || config->first_position > SEGMENTS_LIMIT) {
        return error_set(err, ERROR_CONFIG,
                         "the model has %zu kinds of segments and positions from %zu; at most %d "
                         "were expected",
                         config->segments, config->first_position, SEGMENTS_LIMIT);
    }
    return true;
}

static bool rope_check(const ModelConfig *config, const Rope *rope, Error *err) {
    if (rope->dimensions == 0) {
        return true;
    }
    if (rope->dimensions % 2 != 0 || rope->dimensions > config_head_size(config)) {
        return error_set(err, ERROR_CONFIG,
                         "%zu dimensions of a head of size %zu turn with the position; an even "
                         "number up to the size was expected",
                         rope->dimensions, config_head_size(config));
    }
    if (!(rope->theta > 0.0 && rope->theta <= 1e30)) {
        return error_set(err, ERROR_CONFIG, "the rotary theta is %g; a number above 0 was expected",
                         rope->theta);
    }
    if (rope->scaling != ROPE_PLAIN && !(rope->factor >= 1.0 && rope->factor <= 1e30)) {
        return error_set(err, ERROR_CONFIG, "the rotary factor is %g; a number from 1 was expected",
                         rope->factor);
    }
    if (rope->scaling == ROPE_LLAMA3 &&
        !(rope->low > 0.0 && rope->high > rope->low && rope->high <= 1e30 && rope->original >= 1 &&
          rope->original <= CONTEXT_LIMIT)) {
        return error_set(err, ERROR_CONFIG,
                         "the rotary frequency factors are %g and %g at a context of %zu; two "
                         "ascending numbers above 0 and a context from 1 were expected",
                         rope->low, rope->high, rope->original);
    }
    return true;
}

static bool window_check(const ModelConfig *config, Error *err) {
    for (size_t layer = 0; layer < config->layers; layer++) {
        bool local = (config->local[layer / 64] >> layer % 64 & 1) != 0;
        if (local && (config->window < 1 || config->window > INT32_MAX)) {
            return error_set(err, ERROR_CONFIG,
                             "layer %zu sees a window of %zu positions; 1 or more were expected",
                             layer, config->window);
        }
    }
    return true;
}

bool model_config_check(const ModelConfig *config, Error *err) {
    CHECK(config->family != NULL);
    if (!sizes_check(config, err) || !rope_check(config, &config->rope, err) ||
        !rope_check(config, &config->local_rope, err) || !window_check(config, err)) {
        return false;
    }
    if (!(config->norm_epsilon > 0.0f && config->norm_epsilon <= 1.0f)) {
        return error_set(err, ERROR_CONFIG,
                         "the epsilon of the norms is %g; a small number above 0 was expected",
                         (double)config->norm_epsilon);
    }
    if (!(config->score_scalar >= 0.0f && config->score_scalar <= 1e30f)) {
        return error_set(err, ERROR_CONFIG,
                         "attention's scores are divided by the root of %g; a number above 0 was "
                         "expected",
                         (double)config->score_scalar);
    }
    if (config->head == HEAD_LM ? config->labels != 0
                                : config->labels < 1 || config->labels > LABELS_LIMIT) {
        return error_set(err, ERROR_CONFIG, "a model with this head cannot have %zu labels",
                         config->labels);
    }
    return share_check("dropout of embeddings", config->dropout_embedding, err) &&
           share_check("dropout of residuals", config->dropout_residual, err) &&
           share_check("dropout of attention", config->dropout_attention, err) &&
           (config->dropout_head == -1.0f ||
            share_check("dropout of the classifier", config->dropout_head, err)) &&
           id_check("EOS id", config->eos, config->vocabulary, err) &&
           id_check("BOS id", config->bos, config->vocabulary, err) &&
           id_check("pad id", config->pad, config->vocabulary, err);
}
