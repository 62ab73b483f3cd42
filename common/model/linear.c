/* SPDX-License-Identifier: MIT
 *
 * The products of a block's linear layers.
 */
#include "common/model/pass.h"

/* A layer's matrix as it is stored. */
typedef struct Linear {
    const float *weight;
    bool in_out;
    size_t in, out, columns;
} Linear;

static Linear linear_of(const Pass *pass, Part part) {
    const Workspace *w = pass->w;
    const Parameter *p = &pass->model->parameter[w->first[part] + pass->layer * w->block_tensors];
    bool in_out = w->config.family->block.linear == LINEAR_IN_OUT;
    return (Linear){pass->model->data + p->offset, in_out, p->shape[in_out ? 0 : 1],
                    p->shape[in_out ? 1 : 0], p->shape[1]};
}

void linear_forward(const Pass *pass, Part part, float *y, const float *x, GemmFinish *finish,
                    const MatrixFinish *context) {
    Linear l = linear_of(pass, part);
    product_run(&(Product){
        .type = pass->w->plan.type,
        .tb = l.in_out ? PLAIN : TRANSPOSED,
        .m = pass->rows,
        .n = l.out,
        .k = l.in,
        .alpha = 1,
        .a = x,
        .lda = l.in,
        .b = l.weight,
        .ldb = l.columns,
        .packed = packed_part(pass->w->packed, part, pass->layer, PACK_FORWARD),
        .c = y,
        .ldc = l.out,
        .finish = finish,
        .context = context,
    });
}

void linear_backward(const Pass *pass, Part part, float *dx, const float *dy, GemmFinish *finish,
                     const MatrixFinish *context) {
    Linear l = linear_of(pass, part);
    product_run(&(Product){
        .type = pass->w->plan.type,
        .tb = l.in_out ? TRANSPOSED : PLAIN,
        .m = pass->rows,
        .n = l.in,
        .k = l.out,
        .alpha = 1,
        .a = dy,
        .lda = l.out,
        .b = l.weight,
        .ldb = l.columns,
        .packed = packed_part(pass->w->packed, part, pass->layer, PACK_BACKWARD),
        .c = dx,
        .ldc = l.in,
        .finish = finish,
        .context = context,
    });
}

void linear_backward_weight(const Pass *pass, Part part, float *dweight, const float *x,
                            const float *dy) {
    Linear l = linear_of(pass, part);
    product_run(&(Product){
        .type = pass->w->plan.type,
        .ta = TRANSPOSED,
        .m = l.in_out ? l.in : l.out,
        .n = l.columns,
        .k = pass->rows,
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
