/* SPDX-License-Identifier: MIT */
#include "common/model/adapter_pass.h"

#include <string.h>

/* One part of a product: its adapter, and its columns. */
typedef struct Place {
    const Parameter *a, *b; /* NULL: it has none */
    size_t column, out;
    uint32_t site;
} Place;

enum { PARTS_OF_PRODUCT = 3 };

typedef struct Places {
    Place place[PARTS_OF_PRODUCT];
    size_t places, in, out, adapters; /* out: columns of all */
} Places;

static Places places_of(const AdapterProduct *product) {
    const Model *model = product->model;
    bool in_out = model->config.family->block.linear == LINEAR_IN_OUT;
    Places all = {0};
    for (Part p = product->part; p == product->part || part_is_behind(p); p++) {
        size_t index = family_index(&model->config, p, product->layer);
        if (index == SIZE_MAX) {
            continue;
        }
        CHECK(all.places < PARTS_OF_PRODUCT);
        const Parameter *weight = &model->parameter[index];
        Place *place = &all.place[all.places++];
        *place = (Place){.column = all.out, .out = weight->shape[in_out ? 1 : 0]};
        all.in = weight->shape[in_out ? 0 : 1];
        all.out += place->out;
        size_t adapter = adapter_index(&model->config, p, product->layer);
        if (adapter != SIZE_MAX) {
            place->a = &model->parameter[adapter];
            place->b = &model->parameter[adapter + 1];
            size_t number = (adapter - family_parameters(&model->config)) / 2;
            place->site = product->pass->site + (uint32_t)number;
            all.adapters++;
        }
    }
    CHECK(all.adapters > 0);
    return all;
}

bool adapter_is_on(const ModelConfig *config, Part part) {
    for (Part p = part; p == part || part_is_behind(p); p++) {
        if (adapter_index(config, p, 0) != SIZE_MAX) {
            return true;
        }
    }
    return false;
}

/* C = alpha A op(B) + beta C */
static void multiply(const AdapterProduct *product, Transpose tb, size_t n, size_t k, float alpha,
                     const float *a, size_t lda, const float *b, float beta, float *c, size_t ldc) {
    product_run(&(Product){
        .type = product->type,
        .tb = tb,
        .m = product->rows,
        .n = n,
        .k = k,
        .alpha = alpha,
        .beta = beta,
        .a = a,
        .lda = lda,
        .b = b,
        .ldb = tb == PLAIN ? n : k,
        .c = c,
        .ldc = ldc,
    });
}

/* C += alpha A^T B: a gradient. */
static void multiply_transposed(const AdapterProduct *product, size_t m, size_t n, float alpha,
                                const float *a, size_t lda, const float *b, float *c) {
    product_run(&(Product){
        .type = product->type,
        .ta = TRANSPOSED,
        .m = m,
        .n = n,
        .k = product->rows,
        .alpha = alpha,
        .beta = 1,
        .a = a,
        .lda = lda,
        .b = b,
        .ldb = n,
        .c = c,
        .ldc = n,
    });
}

/* dropout(x) */
static const float *masked(const AdapterProduct *product, const Place *place, const float *x,
                           size_t in) {
    const AdapterPass *pass = product->pass;
    if (pass->masks.rate == 0) {
        return x;
    }
    dropout_apply(pass->wide, x, &pass->masks, place->site, product->rows, in);
    return pass->wide;
}

void adapter_forward(const AdapterProduct *product, float *y, const float *x) {
    Places all = places_of(product);
    size_t rank = product->model->config.adapter.rank;
    float scale = adapter_scale(&product->model->config.adapter);
    if (all.adapters < all.places) {
        memset(y, 0, product->rows * all.out * sizeof *y);
    }
    for (const Place *p = all.place; p < all.place + all.places; p++) {
        if (p->a != NULL) {
            multiply(product, TRANSPOSED, rank, all.in, 1, masked(product, p, x, all.in), all.in,
                     parameter_data(product->model, p->a), 0, product->pass->low, rank);
            multiply(product, TRANSPOSED, p->out, rank, scale, product->pass->low, rank,
                     parameter_data(product->model, p->b), 0, y + p->column, all.out);
        }
    }
}

/* low = s dy B */
static void narrow_gradient(const AdapterProduct *product, const Places *all, const Place *place,
                            const float *dy) {
    size_t rank = product->model->config.adapter.rank;
    multiply(product, PLAIN, rank, place->out, adapter_scale(&product->model->config.adapter),
             dy + place->column, all->out, parameter_data(product->model, place->b), 0,
             product->pass->low, rank);
}

void adapter_backward(const AdapterProduct *product, float *dx, const float *dy) {
    Places all = places_of(product);
    const AdapterPass *pass = product->pass;
    size_t rank = product->model->config.adapter.rank;
    bool first = true, drops = pass->masks.rate > 0;
    for (const Place *p = all.place; p < all.place + all.places; p++) {
        if (p->a == NULL) {
            continue;
        }
        narrow_gradient(product, &all, p, dy);
        float *to = drops && !first ? pass->wide : dx;
        multiply(product, PLAIN, all.in, rank, 1, pass->low, rank,
                 parameter_data(product->model, p->a), first || drops ? 0 : 1, to, all.in);
        if (drops) {
            dropout_apply(to, to, &pass->masks, p->site, product->rows, all.in);
        }
        if (to != dx) {
            matrix_accumulate(dx, to, product->rows * all.in);
        }
        first = false;
    }
}

void adapter_gradient(const AdapterProduct *product, const Gradients *gradients, const float *x,
                      const float *dy) {
    Places all = places_of(product);
    const AdapterPass *pass = product->pass;
    size_t rank = product->model->config.adapter.rank;
    float scale = adapter_scale(&product->model->config.adapter);
    for (const Place *p = all.place; p < all.place + all.places; p++) {
        if (p->a == NULL || p->a->gradient == SIZE_MAX) {
            continue;
        }
        const float *read = masked(product, p, x, all.in);
        multiply(product, TRANSPOSED, rank, all.in, 1, read, all.in,
                 parameter_data(product->model, p->a), 0, pass->low, rank);
        multiply_transposed(product, p->out, rank, scale, dy + p->column, all.out, pass->low,
                            gradients->data + p->b->gradient);
        narrow_gradient(product, &all, p, dy);
        multiply_transposed(product, rank, all.in, 1, pass->low, rank, read,
                            gradients->data + p->a->gradient);
    }
}
