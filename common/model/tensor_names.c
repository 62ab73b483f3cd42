/* SPDX-License-Identifier: MIT */
#include "common/model/tensor_names.h"

#include <stdio.h>
#include <string.h>

#include "common/base/str.h"
#include "common/model/family.h"
#include "common/model/safetensors.h"

typedef struct Name {
    char text[TENSOR_NAME_LIMIT + 8];
} Name;

static const char *without(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 ? name + n : name;
}

static void replace_end(Name *name, const char *old, const char *new) {
    size_t n = strlen(name->text), m = strlen(old);
    if (str_ends_with(name->text, old)) {
        snprintf(name->text + n - m, sizeof name->text - (n - m), "%s", new);
    }
}

/* The name as today's programs spell it. */
static Name spelled(const char *name) {
    Name out;
    name = without(without(name, "rwtransformer."), "rwtranrsformer.");
    snprintf(out.text, sizeof out.text, "%s", name);
    replace_end(&out, ".gamma", ".weight");
    replace_end(&out, ".beta", ".bias");
    return out;
}

/* Whether the name is `member` of what some trainer calls its value head. */
static bool is_value_head(const Model *model, const char *name, const char *member) {
    static const char *const heads[] = {"v_head.summary", "v_head", "value_head"};
    const char *prefix = json_string(json_member(model->config.json, "value_head_prefix"));
    for (size_t i = 0; i <= sizeof heads / sizeof *heads; i++) {
        const char *head = i < sizeof heads / sizeof *heads ? heads[i] : prefix;
        const char *rest = head != NULL ? without(name, head) : name;
        if (rest != name && rest[0] == '.' && strcmp(rest + 1, member) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_buffer(const ModelFamily *family, const char *name, size_t layers) {
    for (size_t i = 0; family->ignored[i] != NULL; i++) {
        bool numbered = strstr(family->ignored[i], "%zu") != NULL;
        for (size_t layer = 0; layer < (numbered ? layers : 1); layer++) {
            char buffer[sizeof(((Parameter *)0)->name)];
            snprintf(buffer, sizeof buffer, family->ignored[i], layer);
            if (strcmp(buffer, name) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool is_quantized(const char *name) {
    static const char *const ends[] = {".qweight",
                                       ".qzeros",
                                       ".scales",
                                       ".g_idx",
                                       ".absmax",
                                       ".quant_map",
                                       ".quant_state",
                                       ".SCB",
                                       ".weight_format",
                                       ".weight_scale",
                                       ".weight_scale_inv",
                                       ".input_scale",
                                       ".nested_absmax",
                                       ".nested_quant_map",
                                       ".bitsandbytes__nf4",
                                       ".bitsandbytes__fp4"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (str_ends_with(name, ends[i])) {
            return true;
        }
    }
    return false;
}

/* The family's row of a head with this name, whether the model has that head or not. */
static const TensorRow *head_row(const ModelFamily *family, const char *name) {
    for (size_t i = 0; i < family->tensors; i++) {
        const TensorRow *row = &family->tensor[i];
        if (row->scope >= SCOPE_LM_HEAD && (strcmp(row->name, name) == 0 ||
                                            strcmp(without(row->name, family->trunk), name) == 0)) {
            return row;
        }
    }
    return NULL;
}

static size_t parameter_named(const Model *model, const char *name) {
    const char *trunk = model->config.family->trunk;
    size_t i = 0;
    while (i < model->parameters) {
        const char *ours = model->parameter[i].name;
        if (strcmp(ours, name) == 0 || strcmp(without(ours, trunk), name) == 0) {
            break;
        }
        i++;
    }
    return i;
}

/* The parameter of a part, or if the model has none `other`. */
static NameKind part_name(const Model *model, Part part, NameKind kind, NameKind other,
                          size_t *parameter) {
    *parameter = family_index(&model->config, part, 0);
    return *parameter != SIZE_MAX ? kind : other;
}

static const TensorRow *part_row(const ModelFamily *family, Part part) {
    for (size_t i = 0; i < family->tensors; i++) {
        if (family->tensor[i].part == part) {
            return &family->tensor[i];
        }
    }
    return NULL;
}

/* Whether the name is the bias of the LM head's matrix where the family keeps it under another name. */
static bool is_head_bias(const ModelFamily *family, const char *name) {
    const TensorRow *head = part_row(family, PART_LM_HEAD);
    size_t n = strlen(head->name) - strlen("weight");
    return part_row(family, PART_LM_BIAS) != NULL && strncmp(name, head->name, n) == 0 &&
           strcmp(name + n, "bias") == 0;
}

/* A tensor of a head that the model does not have, or has under another name. */
static NameKind head_name(const Model *model, const char *name, size_t *parameter) {
    const ModelConfig *config = &model->config;
    const TensorRow *row = head_row(config->family, name);
    bool lm_head =
        strcmp(name, "lm_head.weight") == 0 || (row != NULL && row->part == PART_LM_HEAD);
    if (lm_head && config->head == HEAD_SCORES) {
        return NAME_LM_HEAD;
    }
    if (lm_head) {
        return config->tied
                   ? part_name(model, PART_TOKEN_EMBEDDING, NAME_DUPLICATE, NAME_UNKNOWN, parameter)
                   : part_name(model, PART_LM_HEAD, NAME_PARAMETER, NAME_UNKNOWN, parameter);
    }
    if (row != NULL) {
        return row->scope == SCOPE_LM_HEAD ? NAME_LM_HEAD : NAME_SCORE_HEAD;
    }
    if (is_head_bias(config->family, name)) {
        return part_name(model, PART_LM_BIAS, NAME_DUPLICATE, NAME_LM_HEAD, parameter);
    }
    if (is_value_head(model, name, "weight")) {
        return part_name(model, PART_SCORE, NAME_PARAMETER, NAME_SCORE_HEAD, parameter);
    }
    if (is_value_head(model, name, "bias")) {
        return part_name(model, PART_SCORE_BIAS, NAME_PARAMETER, NAME_SCORE_BIAS, parameter);
    }
    return NAME_UNKNOWN;
}

NameKind tensor_name_find(const Model *model, const char *name, size_t *parameter) {
    const ModelFamily *family = model->config.family;
    Name own = spelled(name);
    *parameter = parameter_named(model, own.text);
    if (*parameter < model->parameters) {
        return NAME_PARAMETER;
    }
    NameKind kind = head_name(model, own.text, parameter);
    if (kind != NAME_UNKNOWN) {
        return kind;
    }
    if (is_buffer(family, without(own.text, family->trunk), model->config.layers)) {
        return NAME_BUFFER;
    }
    return is_quantized(own.text) ? NAME_QUANTIZED : NAME_UNKNOWN;
}
