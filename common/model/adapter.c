/* SPDX-License-Identifier: MIT */
#include "common/model/adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/base/str.h"
#include "common/kernels/gemm.h"

static const char all_linear[] = "all-linear";
static const char weight_end[] = ".weight";

static uint64_t bit(Part part) {
    return (uint64_t)1 << part;
}

static const uint64_t linear_parts =
    (uint64_t)1 << PART_QKV_WEIGHT | (uint64_t)1 << PART_K_WEIGHT | (uint64_t)1 << PART_V_WEIGHT |
    (uint64_t)1 << PART_ATTENTION_OUT_WEIGHT | (uint64_t)1 << PART_UP_WEIGHT |
    (uint64_t)1 << PART_GATED_WEIGHT | (uint64_t)1 << PART_DOWN_WEIGHT;

static size_t targets_of_block(const ModelConfig *config) {
    return config->adapter.rank == 0 ? 0 : (size_t)__builtin_popcountll(config->adapter.targets);
}

float adapter_scale(const AdapterConfig *adapter) {
    float rank = (float)adapter->rank;
    return adapter->alpha / (adapter->rslora ? sqrtf(rank) : rank);
}

size_t adapter_tensors(const ModelConfig *config) {
    return 2 * config->layers * targets_of_block(config);
}

size_t adapter_index(const ModelConfig *config, Part part, size_t layer) {
    if (config->adapter.rank == 0 || (config->adapter.targets & bit(part)) == 0) {
        return SIZE_MAX;
    }
    uint64_t before = config->adapter.targets & (bit(part) - 1);
    return family_parameters(config) +
           2 * (layer * targets_of_block(config) + (size_t)__builtin_popcountll(before));
}

/* Length of a row's name without ".weight". */
static size_t module_length(const char *name) {
    size_t n = strlen(name), end = sizeof weight_end - 1;
    return n > end && strcmp(name + n - end, weight_end) == 0 ? n - end : n;
}

/* Which blocks' layers a name means, part by part. */
typedef struct Named {
    uint64_t block[PARTS][LAYERS_LIMIT / 64];
} Named;

/* Whether name[0, length) is `end`, or ends in a dot and it. */
static bool ends_in(const char *name, size_t length, const char *end, size_t end_length) {
    return length >= end_length && memcmp(name + length - end_length, end, end_length) == 0 &&
           (length == end_length || name[length - end_length - 1] == '.');
}

static void mark_all(const ModelConfig *config, Part part, Named *named) {
    for (size_t layer = 0; layer < config->layers; layer++) {
        named->block[part][layer / 64] |= (uint64_t)1 << layer % 64;
    }
}

/* `end` is longer than what follows the block's number in the row's name: it says which block. */
static void mark_one(const ModelConfig *config, const TensorRow *row, const char *end,
                     size_t length, Named *named) {
    const char *number = strstr(row->name, "%zu");
    size_t tail = module_length(row->name) - (size_t)(number + 3 - row->name);
    if (length <= tail || memcmp(end + length - tail, number + 3, tail) != 0) {
        return;
    }
    size_t digits_end = length - tail, begin = digits_end, layer = 0;
    while (begin > 0 && end[begin - 1] >= '0' && end[begin - 1] <= '9') {
        begin--;
    }
    for (size_t i = begin; i < digits_end && layer < config->layers; i++) {
        layer = 10 * layer + (size_t)(end[i] - '0');
    }
    char head[sizeof((Parameter *)0)->name];
    int n = snprintf(head, sizeof head, "%s%.*s", config->family->trunk, (int)(number - row->name),
                     row->name);
    bool canonical = begin < digits_end && (end[begin] != '0' || begin + 1 == digits_end);
    if (canonical && layer < config->layers &&
        (begin == 0 || ends_in(head, (size_t)n, end, begin))) {
        named->block[row->part][layer / 64] |= (uint64_t)1 << layer % 64;
    }
}

/* Marks the layers whose names end in this one; false when there are none. */
static bool mark(const ModelConfig *config, const char *end, size_t length, Named *named) {
    Named found = {0};
    uint64_t any = 0;
    for (size_t i = 0; i < config->family->tensors; i++) {
        const TensorRow *row = &config->family->tensor[i];
        size_t n = module_length(row->name);
        if (row->name[n] == '\0' || !family_has_row(config, row)) {
            continue;
        }
        const char *number = strstr(row->name, "%zu");
        const char *tail = number == NULL ? row->name : number + 4; /* behind its dot */
        size_t tail_length = n - (size_t)(tail - row->name);
        if (ends_in(tail, tail_length, end, length)) {
            mark_all(config, row->part, &found);
        } else if (number != NULL) {
            mark_one(config, row, end, length, &found);
        }
    }
    for (Part part = 0; part < PARTS; part++) {
        for (size_t i = 0; i < LAYERS_LIMIT / 64; i++) {
            named->block[part][i] |= found.block[part][i];
            any |= found.block[part][i];
        }
    }
    return any != 0;
}

static size_t blocks_of(const Named *named, Part part) {
    size_t n = 0;
    for (size_t i = 0; i < LAYERS_LIMIT / 64; i++) {
        n += (size_t)__builtin_popcountll(named->block[part][i]);
    }
    return n;
}

static void list_targets(const ModelConfig *config, Str *out) {
    for (Part part = 0; part < PARTS; part++) {
        size_t length;
        if ((linear_parts & bit(part)) != 0 && family_index(config, part, 0) != SIZE_MAX) {
            const char *name = adapter_target_name(config, part, &length);
            str_appendf(out, "%s%.*s", out->size > 0 ? ", " : "", (int)length, name);
        }
    }
}

static bool refuse_target(const ModelConfig *config, const char *name, const char *is, Error *err) {
    Str known = {0};
    list_targets(config, &known);
    error_set(err, ERROR_CONFIG,
              "adapter target '%.100s': %s; adapters of a '%s' model can target %s, or all of "
              "them by \"all-linear\"",
              name, is, config->family->name, str_text(&known));
    str_done(&known);
    return false;
}

bool adapter_targets(const ModelConfig *config, const char *const *name, size_t names,
                     uint64_t *targets, Error *err) {
    Named named = {0};
    *targets = 0;
    bool all = names == 1 && strcmp(name[0], all_linear) == 0;
    for (size_t i = 0; i < names && !all; i++) {
        if (!mark(config, name[i], strlen(name[i]), &named)) {
            return refuse_target(config, name[i], "no layer has such a name", err);
        }
    }
    for (Part part = 0; part < PARTS; part++) {
        size_t blocks = blocks_of(&named, part);
        bool linear = (linear_parts & bit(part)) != 0,
             there = family_index(config, part, 0) != SIZE_MAX;
        if (blocks > 0 && !linear) {
            return refuse_target(config, name[0],
                                 "it or one beside it is a layer whose adapter is "
                                 "not computed",
                                 err);
        }
        if (blocks > 0 && blocks < config->layers) {
            return refuse_target(config, name[0],
                                 "it and those beside it mean a layer in some "
                                 "blocks and not in others, which is not computed",
                                 err);
        }
        if (blocks > 0 || (all && linear && there)) {
            *targets |= bit(part);
        }
    }
    return true;
}

/* Whether a name means this part in all blocks and nothing else. */
static bool means_alone(const ModelConfig *config, Part part, const char *name, size_t length) {
    Named named = {0};
    mark(config, name, length, &named);
    for (Part other = 0; other < PARTS; other++) {
        if (blocks_of(&named, other) != (other == part ? config->layers : 0)) {
            return false;
        }
    }
    return true;
}

const char *adapter_target_name(const ModelConfig *config, Part part, size_t *length) {
    const TensorRow *row = config->family->tensor;
    while (row->part != part || !family_has_row(config, row)) {
        row++;
    }
    const char *number = strstr(row->name, "%zu"), *end = row->name + module_length(row->name);
    const char *begin = end;
    do {
        do {
            begin--;
        } while (begin[-1] != '.');
        *length = (size_t)(end - begin);
        if (means_alone(config, part, begin, *length)) {
            return begin;
        }
    } while (begin > number + 4);
    *length = (size_t)(end - number);
    return number;
}

bool adapter_check(const ModelConfig *config, Error *err) {
    const AdapterConfig *a = &config->adapter;
    if (a->rank == 0) {
        return true;
    }
    if (a->rank > ADAPTER_RANK_LIMIT) {
        return error_set(err, ERROR_CONFIG, "the rank of the adapter is %zu; 1 to %d was expected",
                         a->rank, ADAPTER_RANK_LIMIT);
    }
    if (!(a->alpha > 0 && a->alpha <= 1e6f)) {
        return error_set(err, ERROR_CONFIG,
                         "the alpha of the adapter is %g; above 0 and up to 1000000 was expected",
                         (double)a->alpha);
    }
    if (!(a->dropout >= 0 && a->dropout < 1)) {
        return error_set(err, ERROR_CONFIG,
                         "the dropout of the adapter is %g; from 0 and below 1 was expected",
                         (double)a->dropout);
    }
    return a->targets != 0 ||
           error_set(err, ERROR_CONFIG, "the adapter has no target: no layer would have one");
}

/* Outputs of a part's layer, and its inputs. */
static void sizes_of(const Model *model, Part part, size_t *in, size_t *out) {
    const Parameter *p = &model->parameter[family_index(&model->config, part, 0)];
    bool in_out = model->config.family->block.linear == LINEAR_IN_OUT;
    *in = p->shape[in_out ? 0 : 1];
    *out = p->shape[in_out ? 1 : 0];
}

/* Of parameter i, an A or a B. */
static Part adapted_part(const ModelConfig *config, size_t i, size_t *layer, bool *second) {
    size_t place = i - family_parameters(config);
    *layer = place / (2 * targets_of_block(config));
    *second = place % 2 == 1;
    Part part = 0;
    while (adapter_index(config, part, *layer) != i - *second) {
        part++;
    }
    return part;
}

const TensorRow *adapter_row(const ModelConfig *config, size_t i, bool *second) {
    size_t layer;
    int ignored;
    Part part = adapted_part(config, i, &layer, second);
    return family_row(config, family_index(config, part, layer), &ignored);
}

void adapter_parameter(Model *model, size_t i) {
    const ModelConfig *config = &model->config;
    size_t layer, rank = config->adapter.rank;
    bool second;
    Part part = adapted_part(config, i, &layer, &second);
    Parameter *parameter = &model->parameter[i];
    const char *base = model->parameter[family_index(config, part, layer)].name;
    char name[sizeof parameter->name];
    int n = snprintf(name, sizeof name, "base_model.model.%.*s.lora_%c.weight",
                     (int)module_length(base), base, second ? 'B' : 'A');
    CHECK(n > 0 && (size_t)n < sizeof name);
    memcpy(parameter->name, name, (size_t)n + 1);
    size_t in, out;
    sizes_of(model, part, &in, &out);
    parameter->rank = 2;
    parameter->shape[0] = second ? out : rank;
    parameter->shape[1] = second ? rank : in;
    parameter->count = mem_mul(parameter->shape[0], parameter->shape[1]);
    parameter->gradient = SIZE_MAX;
    parameter->decay = true;
    parameter->layer = (int)layer;
}

void adapter_initialize(Model *model, size_t i, uint64_t seed) {
    const Parameter *parameter = &model->parameter[i];
    float *out = parameter_data(model, parameter);
    bool second = (i - family_parameters(&model->config)) % 2 == 1;
    if (second) {
        memset(out, 0, parameter->count * sizeof *out);
        return;
    }
    Random random =
        random_stream(seed, RANDOM_INIT, hash_bytes(parameter->name, strlen(parameter->name)), 0);
    double bound = 1 / sqrt((double)parameter->shape[1]);
    for (size_t k = 0; k < parameter->count; k++) {
        out[k] = (float)((2 * random_uniform(&random, k) - 1) * bound);
    }
}

bool model_adapt(Model *model, const AdapterConfig *adapter, uint64_t seed, Error *err) {
    CHECK(model->config.adapter.rank == 0);
    Model adapted;
    ModelConfig config = model->config; /* shallow: model_share copies it */
    config.adapter = *adapter;
    if (!adapter_check(&config, err) || !model_share(&adapted, model, &config, err)) {
        return false;
    }
    for (size_t i = 0; i < adapted.parameters; i++) {
        const Parameter *parameter = &adapted.parameter[i];
        if (i >= family_parameters(&config)) {
            adapter_initialize(&adapted, i, seed);
        } else if (parameter->own) {
            memcpy(parameter_data(&adapted, parameter), parameter_data(model, &model->parameter[i]),
                   parameter->count * sizeof(float));
        }
    }
    adapted.mapped = model->mapped;
    adapted.map = model->map;
    adapted.borrowed = model->borrowed;
    model->borrowed = true; /* its data has moved */
    model->mapped = false;
    model_done(model);
    *model = adapted;
    return true;
}

/* Adds the adapter of one part to its matrix as stored. */
static void add_adapter(const Model *model, Part part, size_t layer, float *weight) {
    size_t index = adapter_index(&model->config, part, layer), rank = model->config.adapter.rank;
    if (index == SIZE_MAX) {
        return;
    }
    const float *a = parameter_data(model, &model->parameter[index]);
    const float *b = parameter_data(model, &model->parameter[index + 1]);
    float scale = adapter_scale(&model->config.adapter);
    size_t in, out;
    sizes_of(model, part, &in, &out);
    if (model->config.family->block.linear == LINEAR_IN_OUT) {
        gemm(TRANSPOSED, TRANSPOSED, in, out, rank, scale, a, in, b, rank, 1, weight, out);
    } else {
        gemm(PLAIN, PLAIN, out, in, rank, scale, b, rank, a, in, 1, weight, in);
    }
}

void adapter_merged(const Model *model, Part part, size_t layer, float *out) {
    for (Part p = part; p == part || part_is_behind(p); p++) {
        size_t index = family_index(&model->config, p, layer);
        if (index != SIZE_MAX) {
            const Parameter *parameter = &model->parameter[index];
            parameter_read(model, parameter, out);
            add_adapter(model, p, layer, out);
            out += parameter->count;
        }
    }
}

void model_merge_adapter(Model *model) {
    CHECK(!model->mapped && !model->borrowed && model->config.adapter.rank > 0);
    for (size_t layer = 0; layer < model->config.layers; layer++) {
        for (Part part = 0; part < PARTS; part++) {
            size_t index = family_index(&model->config, part, layer);
            if (index != SIZE_MAX) {
                add_adapter(model, part, layer, parameter_data(model, &model->parameter[index]));
            }
        }
    }
    model->parameters = family_parameters(&model->config);
    model->config.adapter = (AdapterConfig){0};
    free(model->base);
    model->base = NULL;
    model_touch(model);
    model->base_version = model->version;
}
