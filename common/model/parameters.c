/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/model/adapter.h"
#include "common/model/family.h"
#include "common/model/linear.h"
#include "common/model/model.h"
#include "common/model/parameters.h"

void model_touch(Model *model) {
    static atomic_uint_fast64_t last;
    model->version = atomic_fetch_add(&last, 1) + 1;
    if (model->own == NULL) {
        model->base_version = model->version;
    }
}

static bool in_trunk(TensorScope scope) {
    return scope != SCOPE_LM_HEAD && scope != SCOPE_SCORE_HEAD;
}

static void parameter_name(const ModelFamily *family, const TensorRow *row, int layer,
                           char out[sizeof(((Parameter *)0)->name)]) {
    size_t size = sizeof(((Parameter *)0)->name);
    int n = snprintf(out, size, "%s", in_trunk(row->scope) ? family->trunk : "");
    int m = snprintf(out + n, size - (size_t)n, row->name, (size_t)(layer < 0 ? 0 : layer));
    CHECK(n >= 0 && m >= 0 && (size_t)(n + m) < size);
}

static size_t round_up(size_t n, size_t unit) {
    size_t padded = mem_add(n, unit - 1);
    return padded == SIZE_MAX ? SIZE_MAX : padded / unit * unit;
}

static size_t aligned(size_t floats) {
    return round_up(floats, PARAMETER_ALIGN);
}

/* Moves the score head behind the base, which then is frozen, and adds the adapter's tensors. */
static void lay_out_own(Model *model) {
    const ModelConfig *config = &model->config;
    size_t base = family_parameters(config);
    for (size_t i = 0; i < model->parameters; i++) {
        Parameter *parameter = &model->parameter[i];
        int layer;
        parameter->trainable = parameter->own =
            i >= base || family_row(config, i, &layer)->scope == SCOPE_SCORE_HEAD;
        if (i >= base) {
            adapter_parameter(model, i);
        }
        if (parameter->own) {
            if (i < base && parameter->offset < model->count) {
                model->count = parameter->offset; /* heads come last */
            }
            parameter->offset = aligned(model->own_count);
            model->own_count = mem_add(parameter->offset, parameter->count);
        }
    }
    model->own_count = aligned(model->own_count);
}

/* The matrices that Model.held speaks of. */
static bool is_large(Part part) {
    switch (part) {
    case PART_TOKEN_EMBEDDING:
    case PART_QKV_WEIGHT:
    case PART_K_WEIGHT:
    case PART_V_WEIGHT:
    case PART_ATTENTION_OUT_WEIGHT:
    case PART_UP_WEIGHT:
    case PART_GATED_WEIGHT:
    case PART_DOWN_WEIGHT:
    case PART_LM_HEAD:
        return true;
    default:
        return false;
    }
}

/* Gives a parameter of the base its place. */
static void place(Model *model, Parameter *parameter, Part part) {
    bool behind = part_is_behind(part);
    if (model->held == COMPACT_NONE || !is_large(part)) {
        parameter->offset = behind ? model->count : aligned(model->count);
        model->count = mem_add(parameter->offset, parameter->count);
        return;
    }
    parameter->held = model->held;
    parameter->down = linear_is_in_out(&model->config, part);
    CHECK(!behind || !parameter->down);
    parameter->offset = behind ? model->compact_bytes
                               : round_up(model->compact_bytes, PARAMETER_ALIGN * sizeof(float));
    model->compact_bytes =
        mem_add(parameter->offset, compact_bytes(parameter->held, parameter->down,
                                                 parameter->shape[0], parameter->shape[1]));
    model->compact_count = mem_add(model->compact_count, parameter->count);
}

/* own: the score head lies apart, and the base is frozen. */
static bool lay_out(Model *model, const ModelConfig *config, CompactType held, bool own,
                    Error *err) {
    *model = (Model){.held = held};
    if (!model_config_check(config, err)) {
        return false;
    }
    size_t base = family_parameters(config), n = base + adapter_tensors(config);
    model->parameter = mem_alloc(n, sizeof(Parameter), err);
    if (model->parameter == NULL || !model_config_copy(&model->config, config, err)) {
        model_done(model);
        return false;
    }
    model->parameters = n;
    for (size_t i = 0; i < base; i++) {
        Parameter *parameter = &model->parameter[i];
        const TensorRow *row = family_row(config, i, &parameter->layer);
        parameter_name(config->family, row, parameter->layer, parameter->name);
        parameter->count = 1;
        for (int d = 0; d < 2 && row->shape[d] != EXTENT_NONE; d++) {
            parameter->shape[d] = family_extent(config, row->shape[d]);
            parameter->count = mem_mul(parameter->count, parameter->shape[d]);
            parameter->rank = d + 1;
        }
        parameter->gradient = SIZE_MAX;
        parameter->trainable = true;
        parameter->decay = row->decay;
        place(model, parameter, row->part);
    }
    model->count = aligned(model->count);
    if (own) {
        lay_out_own(model);
    }
    size_t floats = mem_mul(mem_add(model->count, model->own_count), sizeof(float));
    if (mem_add(floats, model->compact_bytes) == SIZE_MAX) {
        model_done(model);
        return error_set(err, ERROR_OS, "a model of this size does not fit in memory");
    }
    return true;
}

bool parameters_layout(Model *model, const ModelConfig *config, CompactType held, Error *err) {
    return lay_out(model, config, held, config->adapter.rank > 0, err);
}

static bool allocate_own(Model *model, Error *err) {
    if (model->own_count > 0) {
        model->own = mem_alloc_aligned(model->own_count, sizeof(float), err);
        if (model->own == NULL) {
            error_wrap(err, "the adapter and the score head of the model");
            model_done(model);
            return false;
        }
    }
    model_touch(model);
    return true;
}

bool parameters_allocate(Model *model, Error *err) {
    model->data = mem_alloc_aligned(model->count, sizeof(float), err);
    model->compact = model->data == NULL || model->held == COMPACT_NONE
                         ? NULL
                         : mem_alloc_aligned(model->compact_bytes, 1, err);
    if (model->data == NULL || (model->compact == NULL && model->held != COMPACT_NONE)) {
        error_wrap(err, "the weights of the model");
        model_done(model);
        return false;
    }
    model_touch(model); /* before there is something of its own: the base has a version too */
    return allocate_own(model, err);
}

bool model_create(Model *model, const ModelConfig *config, Error *err) {
    return parameters_layout(model, config, COMPACT_NONE, err) && parameters_allocate(model, err);
}

void model_done(Model *model) {
    if (model->mapped) {
        file_unmap(&model->map);
    } else if (!model->borrowed) {
        free(model->data);
        free(model->compact);
    }
    free(model->own);
    free(model->base);
    free(model->parameter);
    model_config_done(&model->config);
    *model = (Model){0};
}

bool model_share(Model *to, const Model *from, const ModelConfig *config, Error *err) {
    if (!lay_out(to, config, from->held, true, err)) {
        return false;
    }
    for (size_t i = 0; i < to->parameters; i++) {
        Parameter *parameter = &to->parameter[i];
        const Parameter *source = parameter->own ? NULL : model_find(from, parameter->name);
        CHECK(parameter->own ||
              (source != NULL && !source->own && source->offset == parameter->offset &&
               source->count == parameter->count && source->held == parameter->held));
        if (source != NULL) {
            memcpy(parameter->digest, source->digest, sizeof parameter->digest);
        }
    }
    to->data = from->data;
    to->compact = from->compact;
    to->borrowed = true;
    if (from->base != NULL && (to->base = mem_strdup(from->base, err)) == NULL) {
        model_done(to);
        return false;
    }
    if (!allocate_own(to, err)) {
        return false;
    }
    to->base_version = from->base_version;
    return true;
}

bool model_copy(Model *to, const Model *from, Error *err) {
    CHECK(from->own != NULL || from->held == COMPACT_NONE);
    if (from->own != NULL ? !model_share(to, from, &from->config, err)
                          : !model_create(to, &from->config, err)) {
        return false;
    }
    for (size_t i = 0; i < to->parameters; i++) {
        const Parameter *source = &from->parameter[i];
        Parameter *parameter = &to->parameter[i];
        parameter->trainable = source->trainable;
        if (parameter->own || from->own == NULL) {
            memcpy(parameter_data(to, parameter), parameter_data(from, source),
                   source->count * sizeof(float));
        }
    }
    model_touch(to);
    return true;
}

bool model_widen(Model *model, Error *err) {
    Model wide;
    if (model->held == COMPACT_NONE) {
        return true;
    }
    if (!lay_out(&wide, &model->config, COMPACT_NONE, model->own != NULL, err) ||
        !parameters_allocate(&wide, err)) {
        return false;
    }
    for (size_t i = 0; i < model->parameters; i++) {
        wide.parameter[i].trainable = model->parameter[i].trainable;
        parameter_read(model, &model->parameter[i], parameter_data(&wide, &wide.parameter[i]));
    }
    wide.base = model->base;
    model->base = NULL;
    model_done(model);
    *model = wide;
    return true;
}

const Parameter *model_find(const Model *model, const char *name) {
    for (size_t i = 0; i < model->parameters; i++) {
        if (strcmp(model->parameter[i].name, name) == 0) {
            return &model->parameter[i];
        }
    }
    return NULL;
}

typedef struct Initialization {
    Model *model;
    uint64_t seed;
} Initialization;

static void initialize(Model *model, size_t i, uint64_t seed) {
    const Parameter *parameter = &model->parameter[i];
    float *out = parameter_data(model, parameter);
    int layer;
    const TensorRow *row = family_row(&model->config, i, &layer);
    if (row == NULL) {
        adapter_initialize(model, i, seed);
        return;
    }
    double deviation = 0.02;
    switch (row->init) {
    case INIT_ZEROS:
    case INIT_ONES:
        for (size_t k = 0; k < parameter->count; k++) {
            out[k] = row->init == INIT_ONES ? 1.0f : 0.0f;
        }
        return;
    case INIT_NORMAL:
        break;
    case INIT_RESIDUAL:
        deviation = 0.02 / sqrt(2.0 * (double)model->config.layers);
        break;
    case INIT_SCORE:
        deviation = 1.0 / sqrt((double)model->config.width + 1.0);
        break;
    }
    uint64_t name = hash_bytes(parameter->name, strlen(parameter->name));
    Random random = random_stream(seed, RANDOM_INIT, name, 0);
    random_fill_normal(&random, out, parameter->count, deviation);
}

static void initialize_range(void *context, size_t begin, size_t end, int thread) {
    const Initialization *work = context;
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        initialize(work->model, i, work->seed);
    }
}

void model_initialize(Model *model, uint64_t seed) {
    CHECK(!model->mapped);
    Initialization work = {model, seed};
    parallel_each(model->parameters, initialize_range, &work);
    model->config.reward_bias = 0.0f;
    model_touch(model);
}

static bool all_zero(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (x[i] != 0.0f) {
            return false;
        }
    }
    return true;
}

void model_initialize_scores(Model *model, uint64_t seed, bool zero) {
    CHECK(!model->mapped && family_index(&model->config, PART_SCORE, 0) != SIZE_MAX);
    for (size_t i = 0; i < family_parameters(&model->config); i++) {
        int layer;
        const TensorRow *row = family_row(&model->config, i, &layer);
        const Parameter *parameter = &model->parameter[i];
        if (row->part == PART_SCORE && zero) {
            memset(parameter_data(model, parameter), 0, parameter->count * sizeof(float));
        } else if (row->part == PART_SCORE || row->part == PART_SCORE_BIAS ||
                   (row->part == PART_POOLER_WEIGHT &&
                    all_zero(parameter_data(model, parameter), parameter->count))) {
            initialize(model, i, seed);
        }
    }
    model->config.reward_bias = 0.0f;
    model_touch(model);
}

void model_freeze(Model *model, size_t layers) {
    CHECK(layers <= model->config.layers || layers == SIZE_MAX);
    bool adapted = model->config.adapter.rank > 0;
    for (size_t i = 0; i < model->parameters && layers > 0; i++) {
        int ignored;
        Parameter *parameter = &model->parameter[i];
        const TensorRow *row = family_row(&model->config, i, &ignored);
        bool above = layers == SIZE_MAX
                         ? row != NULL && !in_trunk(row->scope)
                         : parameter->layer >= 0 && (size_t)parameter->layer >= layers;
        parameter->trainable = above && (!adapted || parameter->own);
    }
}

bool gradients_init(Gradients *gradients, Model *model, Error *err) {
    size_t count = 0;
    for (size_t i = 0; i < model->parameters; i++) {
        Parameter *parameter = &model->parameter[i];
        parameter->gradient = SIZE_MAX;
        if (parameter->trainable) {
            int layer;
            const TensorRow *row = family_row(&model->config, i, &layer);
            bool behind = row != NULL && part_is_behind(row->part);
            CHECK(parameter->own ||
                  (!model->mapped && !model->borrowed && model->held == COMPACT_NONE));
            parameter->gradient = behind ? count : aligned(count);
            count = parameter->gradient + parameter->count;
        }
    }
    count = aligned(count);
    *gradients = (Gradients){mem_alloc_aligned(count, sizeof(float), err), count};
    return gradients->data != NULL || error_wrap(err, "the gradients of the model");
}

void gradients_zero(Gradients *gradients) {
    memset(gradients->data, 0, gradients->count * sizeof(float));
}

void gradients_done(Gradients *gradients) {
    free(gradients->data);
    *gradients = (Gradients){0};
}
