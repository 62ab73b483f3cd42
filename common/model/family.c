/* SPDX-License-Identifier: MIT */
#include "common/model/family.h"

#include <stdint.h>
#include <string.h>

#include "common/base/memory.h"

static const ModelFamily *const families[] = {&family_gpt2};

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

bool family_has_scope(const ModelConfig *config, TensorScope scope) {
    switch (scope) {
    case SCOPE_LM_HEAD:
        return config->head != HEAD_SCORES && !config->tied;
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

size_t family_extent(const ModelConfig *config, Extent extent) {
    switch (extent) {
    case EXTENT_WIDTH:
        return config->width;
    case EXTENT_3_WIDTH:
        return mem_mul(3, config->width);
    case EXTENT_INNER:
        return config->inner;
    case EXTENT_VOCABULARY:
        return config->vocabulary;
    case EXTENT_CONTEXT:
        return config->context;
    case EXTENT_LABELS:
        return config->labels;
    case EXTENT_NONE:
        break;
    }
    return 1;
}

static size_t scope_rows(const ModelFamily *family, TensorScope scope) {
    size_t rows = 0;
    for (size_t i = 0; i < family->tensors; i++) {
        rows += family->tensor[i].scope == scope;
    }
    return rows;
}

/* Tensors of a scope in a model: rows, times the number of blocks. */
static size_t scope_tensors(const ModelConfig *config, TensorScope scope) {
    if (!family_has_scope(config, scope)) {
        return 0;
    }
    size_t rows = scope_rows(config->family, scope);
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
    const ModelFamily *family = config->family;
    for (TensorScope scope = SCOPE_EMBEDDING; scope <= SCOPE_SCORE_HEAD; scope++) {
        size_t n = scope_tensors(config, scope);
        if (i >= n) {
            i -= n;
            continue;
        }
        size_t rows = scope_rows(family, scope);
        *layer = scope == SCOPE_EMBEDDING ? -1
                 : scope == SCOPE_BLOCK   ? (int)(i / rows)
                                          : (int)config->layers;
        size_t wanted = i % rows;
        for (size_t r = 0; r < family->tensors; r++) {
            if (family->tensor[r].scope == scope && wanted-- == 0) {
                return &family->tensor[r];
            }
        }
    }
    return NULL;
}

size_t family_index(const ModelConfig *config, Part part, size_t layer) {
    const ModelFamily *family = config->family;
    size_t row = 0;
    while (row < family->tensors && family->tensor[row].part != part) {
        row++;
    }
    if (row == family->tensors || !family_has_scope(config, family->tensor[row].scope)) {
        return SIZE_MAX;
    }
    TensorScope scope = family->tensor[row].scope;
    size_t index = scope == SCOPE_BLOCK ? layer * scope_rows(family, scope) : 0;
    for (TensorScope before = SCOPE_EMBEDDING; before < scope; before++) {
        index += scope_tensors(config, before);
    }
    for (size_t r = 0; r < row; r++) {
        index += family->tensor[r].scope == scope;
    }
    return index;
}
