/* SPDX-License-Identifier: MIT */
#include "common/model/family.h"

#include <stdint.h>
#include <string.h>

#include "common/base/memory.h"

static const ModelFamily *const families[] = {
    &family_gpt2,  &family_openai_gpt, &family_opt,     &family_gpt_neo, &family_gpt_neox,
    &family_llama, &family_mistral,    &family_qwen2,   &family_qwen3,   &family_gemma3_text,
    &family_bert,  &family_distilbert, &family_roberta,
};

const ModelFamily *family_at(size_t i) {
    return i < sizeof families / sizeof *families ? families[i] : NULL;
}

const ModelFamily *family_find(const char *model_type) {
    for (size_t i = 0; family_at(i) != NULL; i++) {
        if (strcmp(families[i]->name, model_type) == 0) {
            return families[i];
        }
    }
    return NULL;
}

static bool has_scope(const ModelConfig *config, TensorScope scope) {
    switch (scope) {
    case SCOPE_LM_HEAD:
        return config->head != HEAD_SCORES;
    case SCOPE_SCORE_HEAD:
        return config->head != HEAD_LM;
    case SCOPE_BLOCK:
        return config->layers > 0;
    case SCOPE_EMBEDDING:
    case SCOPE_FINAL:
        return true;
    }
    return false;
}

bool family_has_row(const ModelConfig *config, const TensorRow *row) {
    if (!has_scope(config, row->scope)) {
        return false;
    }
    switch (row->condition) {
    case ALWAYS:
        return true;
    case IF_UNTIED:
        return !config->tied;
    case IF_QKV_BIAS:
        return config->qkv_bias;
    case IF_OUT_BIAS:
        return config->out_bias;
    case IF_INNER_BIAS:
        return config->inner_bias;
    case IF_HEAD_NORM:
        return config->head_norm;
    case IF_SEGMENTS:
        return config->segments > 0;
    case IF_SCORES_ALONE:
        return config->head == HEAD_SCORES;
    case IF_SCORES_BESIDE:
        return config->head == HEAD_BOTH;
    }
    return false;
}

size_t family_extent(const ModelConfig *config, Extent extent) {
    switch (extent) {
    case EXTENT_WIDTH:
        return config->width;
    case EXTENT_QUERY:
        return config_query_width(config);
    case EXTENT_KEY:
        return config_key_width(config);
    case EXTENT_QKV:
        return config_qkv_width(config);
    case EXTENT_HEAD:
        return config_head_size(config);
    case EXTENT_INNER:
        return config->inner;
    case EXTENT_VOCABULARY:
        return config->vocabulary;
    case EXTENT_CONTEXT:
        return mem_add(config->context, config->first_position);
    case EXTENT_SEGMENTS:
        return config->segments;
    case EXTENT_LABELS:
        return config->labels;
    case EXTENT_NONE:
        break;
    }
    return 1;
}

/* Rows of a scope that the configuration has, before `end`. */
static size_t scope_rows(const ModelConfig *config, TensorScope scope, const TensorRow *end) {
    size_t rows = 0;
    for (const TensorRow *row = config->family->tensor; row < end; row++) {
        rows += row->scope == scope && family_has_row(config, row);
    }
    return rows;
}

static const TensorRow *rows_end(const ModelConfig *config) {
    return config->family->tensor + config->family->tensors;
}

/* Tensors of a scope in a model: rows, times the number of blocks. */
static size_t scope_tensors(const ModelConfig *config, TensorScope scope) {
    size_t rows = scope_rows(config, scope, rows_end(config));
    return scope == SCOPE_BLOCK ? mem_mul(rows, config->layers) : rows;
}

size_t family_parameters(const ModelConfig *config) {
    size_t n = 0;
    for (TensorScope scope = SCOPE_EMBEDDING; scope <= SCOPE_SCORE_HEAD; scope++) {
        n = mem_add(n, scope_tensors(config, scope));
    }
    return n;
}

const TensorRow *family_row(const ModelConfig *config, size_t i, int *layer) {
    for (TensorScope scope = SCOPE_EMBEDDING; scope <= SCOPE_SCORE_HEAD; scope++) {
        size_t n = scope_tensors(config, scope);
        if (i >= n) {
            i -= n;
            continue;
        }
        size_t rows = scope_rows(config, scope, rows_end(config));
        *layer = scope == SCOPE_EMBEDDING ? -1
                 : scope == SCOPE_BLOCK   ? (int)(i / rows)
                                          : (int)config->layers;
        size_t wanted = i % rows;
        for (const TensorRow *row = config->family->tensor;; row++) {
            if (row->scope == scope && family_has_row(config, row) && wanted-- == 0) {
                return row;
            }
        }
    }
    return NULL;
}

size_t family_index(const ModelConfig *config, Part part, size_t layer) {
    const TensorRow *row = config->family->tensor;
    while (row < rows_end(config) && (row->part != part || !family_has_row(config, row))) {
        row++;
    }
    if (row == rows_end(config)) {
        return SIZE_MAX;
    }
    size_t index = scope_rows(config, row->scope, row);
    if (row->scope == SCOPE_BLOCK) {
        index += layer * scope_rows(config, SCOPE_BLOCK, rows_end(config));
    }
    for (TensorScope before = SCOPE_EMBEDDING; before < row->scope; before++) {
        index += scope_tensors(config, before);
    }
    return index;
}

bool family_is_encoder(const ModelConfig *config) {
    return config->family->block.bidirectional;
}

size_t family_score_row(const ModelConfig *config, size_t begin, size_t end) {
    return family_is_encoder(config) ? begin : end - 1;
}

bool part_is_behind(Part part) {
    return part == PART_K_WEIGHT || part == PART_V_WEIGHT || part == PART_K_BIAS ||
           part == PART_V_BIAS || part == PART_GATED_WEIGHT || part == PART_GATED_BIAS;
}
