/* SPDX-License-Identifier: MIT */
#include "common/kernels/cached_attention.h"
#include "common/kernels/matrix.h"
#include "common/model/generate_private.h"

/* Of prompts only the last tokens go on: brings their rows to the front, returns their number. */
static size_t keep_last(Generator *g, const BlockActivations *a) {
    const Workspace *w = g->trunk;
    for (size_t i = 0; i < g->sequences; i++) {
        size_t last = w->sequence[i].end - 1;
        matrix_move_row(a->input, i, last, g->width);
        matrix_move_row(a->qkv, i, last, config_qkv_width(&w->config));
        g->place[i] = g->place[last];
    }
    return g->sequences;
}

/* Returns the rows that go on: all, but of prompts in the last block, whose other rows nothing reads. */
static size_t attention(Generator *g, const Pass *pass) {
    Workspace *w = g->trunk;
    const ModelConfig *c = &w->config;
    const BlockActivations *a = &w->block[pass->layer];
    size_t n = pass->rows;
    const CachedPages pages = {.data = g->cache + pass->layer * g->pages * g->page,
                               .type = g->cache_type,
                               .heads = c->heads,
                               .kv_heads = config_kv_heads(c),
                               .head_size = config_head_size(c),
                               .window = config_window(c, pass->layer),
                               .scale = pass_scale(c)};
    cached_attention_store(&pages, g->place, a->qkv, n);
    if (g->sequences > 0 && pass->layer + 1 < c->layers) {
        w->attention.groups = g->sequences;
        attention_forward(a->attention, a->lse, a->qkv, pass_attention(w, pass->layer));
        return n;
    }
    n = g->sequences > 0 ? keep_last(g, a) : n;
    cached_attention(a->attention, &pages, g->place, a->qkv, n, g->scores, g->context);
    return n;
}

void generator_pass(Generator *g, const Model *model, size_t n) {
    CHECK(n <= g->pass_rows);
    Workspace *w = g->trunk;
    Pass pass = pass_of(model, NULL, w, n);
    pass_embed(&pass, g->id, NULL);
    for (; pass.layer < w->config.layers; pass.layer++) {
        const BlockActivations *a = &w->block[pass.layer];
        block_project(&pass);
        pass.rows = attention(g, &pass);
        block_finish(&pass, a->input, a->attention, block_output(w, pass.layer));
    }
    pass.layer = 0;
    pass_finish(&pass);
}

void generator_head(Generator *g, const Model *model, const float *hidden, size_t n) {
    CHECK(n <= g->head_rows);
    const Pass pass = pass_of(model, NULL, g->trunk, n);
    linear_product(&pass.linear, lm_head_part(&model->config), 0, PACK_HEAD_FORWARD, g->logits,
                   hidden, n, NULL, NULL);
}
