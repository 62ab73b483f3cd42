/* SPDX-License-Identifier: MIT */
#include "common/model/linear.h"

#include "common/base/error.h"

size_t linear_inputs(const ModelConfig *config, Part part) {
    switch (part) {
    case PART_ATTENTION_OUT_WEIGHT:
        return config_query_width(config);
    case PART_DOWN_WEIGHT:
        return config->inner;
    default:
        return config->width;
    }
}

size_t linear_outputs(const ModelConfig *config, Part part) {
    switch (part) {
    case PART_QKV_WEIGHT:
        return config_qkv_width(config);
    case PART_UP_WEIGHT:
        return mem_mul(config->family->block.gated ? 2 : 1, config->inner);
    case PART_TOKEN_EMBEDDING:
    case PART_LM_HEAD:
        return config->vocabulary;
    default:
        return config->width;
    }
}

bool linear_is_in_out(const ModelConfig *config, Part part) {
    bool head = part == PART_TOKEN_EMBEDDING || part == PART_LM_HEAD; /* [V, C] in every family */
    return !head && config->family->block.linear == LINEAR_IN_OUT;
}

LinearMatrix linear_matrix(const Model *model, Part part, size_t layer) {
    const ModelConfig *config = &model->config;
    size_t index = family_index(config, part, layer);
    CHECK(index != SIZE_MAX);
    size_t in = linear_inputs(config, part), out = linear_outputs(config, part);
    bool in_out = linear_is_in_out(config, part);
    LinearMatrix l = {.in_out = in_out, .in = in, .out = out, .columns = in_out ? out : in};
    const Parameter *parameter = &model->parameter[index];
    if (parameter->held == COMPACT_NONE) {
        l.weight = parameter_data(model, parameter);
    } else {
        l.compact = parameter_compact(model, parameter);
        l.compact.rows = in_out ? in : out; /* with what lies behind it */
    }
    return l;
}

bool linear_has_adapter(const LinearLayers *layers, Part part) {
    return layers->adapter != NULL && adapter_is_on(&layers->model->config, part);
}

static AdapterProduct adapter_product(const LinearLayers *layers, Part part, size_t layer,
                                      size_t rows) {
    return (AdapterProduct){layers->adapter, layers->model, layers->type, part, layer, rows};
}

void linear_adapter_gradient(const LinearLayers *layers, Part part, size_t layer,
                             const Gradients *gradients, const float *x, const float *dy,
                             size_t rows) {
    const AdapterProduct product = adapter_product(layers, part, layer, rows);
    adapter_gradient(&product, gradients, x, dy);
}

void linear_product(const LinearLayers *layers, Part part, size_t layer, unsigned which, float *y,
                    const float *x, size_t rows, GemmFinish *finish, const MatrixFinish *context) {
    LinearMatrix l = linear_matrix(layers->model, part, layer);
    bool back = which == PACK_BACKWARD, adapted = linear_has_adapter(layers, part);
    if (adapted) { /* first, so that the product's end sees the sum */
        const AdapterProduct product = adapter_product(layers, part, layer, rows);
        (back ? adapter_backward : adapter_forward)(&product, y, x);
    }
    product_run(&(Product){
        .type = layers->type,
        .tb = l.in_out == back ? TRANSPOSED : PLAIN,
        .m = rows,
        .n = back ? l.in : l.out,
        .k = back ? l.out : l.in,
        .alpha = 1,
        .beta = adapted ? 1 : 0,
        .a = x,
        .lda = back ? l.out : l.in,
        .b = l.weight,
        .ldb = l.columns,
        .compact = l.compact,
        .packed = packed_part(layers->packed, part, layer, which),
        .c = y,
        .ldc = back ? l.in : l.out,
        .finish = finish,
        .context = context,
    });
}

void linear_weight_gradient(const LinearLayers *layers, Part part, size_t layer, float *dweight,
                            const float *x, const float *dy, size_t rows) {
    LinearMatrix l = linear_matrix(layers->model, part, layer);
    product_run(&(Product){
        .type = layers->type,
        .ta = TRANSPOSED,
        .m = l.in_out ? l.in : l.out,
        .n = l.columns,
        .k = rows,
        .alpha = 1,
        .beta = 1,
        .a = l.in_out ? x : dy,
        .lda = l.in_out ? l.in : l.out,
        .b = l.in_out ? dy : x,
        .ldb = l.columns,
        .c = dweight,
        .ldc = l.columns,
    });
}
