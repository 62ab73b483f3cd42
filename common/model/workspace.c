/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/parallel.h"
#include "common/base/random.h"
#include "common/kernels/rotary.h"
#include "common/model/pass.h"
#include "common/model/rope.h"

/* The head's chunk of logits: in the last cache when the vocabulary allows it, and rows enough for the
 * products of a large one to be fast. */
enum { CHUNK_BYTES = 16 << 20, CHUNK_MINIMUM = 256, CHUNK_MAXIMUM = 1024 };

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t largest(size_t a, size_t b) {
    return a > b ? a : b;
}

bool has_lm_head(const ModelConfig *config) {
    return config->head != HEAD_SCORES;
}

bool has_score_head(const ModelConfig *config) {
    return config->head != HEAD_LM;
}

static bool configured_dropout(const ModelConfig *c) {
    return c->dropout_embedding > 0 || c->dropout_residual > 0 || c->dropout_attention > 0;
}

Part lm_head_part(const ModelConfig *config) {
    return config->tied ? PART_TOKEN_EMBEDDING : PART_LM_HEAD;
}

/* The first pass over the layout counts, the second one takes. */
static void *take(Workspace *w, size_t count, size_t size) {
    if (w->arena.base != NULL) {
        return arena_take(&w->arena, count, size);
    }
    w->arena.used = mem_add(w->arena.used, arena_cost(count, size));
    w->arena.peak = largest(w->arena.peak, w->arena.used);
    return NULL;
}

static float *floats(Workspace *w, size_t rows, size_t width) {
    return take(w, mem_mul(rows, width), sizeof(float));
}

static bool norms_behind(const ModelConfig *config) {
    return config->family->block.place == NORM_BEHIND;
}

static bool has_part(const Workspace *w, Part part) {
    return w->first[part] != SIZE_MAX;
}

/* Columns of the residual stream, or of attention's output where it is wider. */
static size_t narrow_width(const ModelConfig *c) {
    return largest(c->width, config_query_width(c));
}

/* Room for a row of queries, keys and values, and for one of attention beside one of the stream. */
static size_t attention_width(const ModelConfig *c) {
    return largest(config_qkv_width(c), mem_add(config_query_width(c), c->width));
}

static BranchActivations lay_out_branch(Workspace *w, Part norm, size_t n) {
    if (!has_part(w, norm)) {
        return (BranchActivations){0};
    }
    return (BranchActivations){floats(w, n, w->config.width), floats(w, n, 1), floats(w, n, 1)};
}

/* What backward reads of a block, but for the input. */
static BlockActivations lay_out_block(Workspace *w, size_t n) {
    const ModelConfig *c = &w->config;
    size_t query = config_query_width(c), key = config_key_width(c);
    return (BlockActivations){
        .mean1 = floats(w, n, 1),
        .rstd1 = floats(w, n, 1),
        .qkv = floats(w, n, config_qkv_width(c)),
        .raw = has_part(w, PART_Q_NORM) ? floats(w, n, mem_add(query, key)) : NULL,
        .lse = floats(w, n, c->heads),
        .attention = floats(w, n, query),
        .middle = c->parallel ? w->dresidual : floats(w, n, c->width),
        .mean2 = floats(w, n, 1),
        .rstd2 = floats(w, n, 1),
        .up = floats(w, n, linear_outputs(c, PART_UP_WEIGHT)),
        .sum = norms_behind(c) ? floats(w, n, c->width) : NULL,
        .branch = {lay_out_branch(w, PART_NORM1_OUT_WEIGHT, n),
                   lay_out_branch(w, PART_NORM2_OUT_WEIGHT, n)},
    };
}

/* Without backward: `attention` is there already, and little else is needed at a time. */
static BlockActivations lay_out_passing_block(Workspace *w, size_t n, float *attention) {
    const ModelConfig *c = &w->config;
    float *wide = floats(w, n, largest(attention_width(c), linear_outputs(c, PART_UP_WEIGHT)));
    float *mean = floats(w, n, 1), *rstd = floats(w, n, 1), *middle = floats(w, n, c->width);
    BranchActivations branch = lay_out_branch(w, PART_NORM1_OUT_WEIGHT, n);
    return (BlockActivations){
        .input = floats(w, n, c->width),
        .mean1 = mean,
        .rstd1 = rstd,
        .qkv = wide,
        .lse = floats(w, n, c->heads),
        .attention = attention,
        .middle = middle,
        .mean2 = mean,
        .rstd2 = rstd,
        .up = wide,
        .sum = middle,
        .branch = {branch, branch},
    };
}

static void lay_out_adapter(Workspace *w, size_t n) {
    const ModelConfig *c = &w->config;
    if (c->adapter.rank > 0) {
        w->adapter.low = floats(w, n, c->adapter.rank);
        w->adapter.site = dropout_site(w, c->layers, 0);
        if (w->plan.training && c->adapter.dropout > 0) {
            w->adapter.wide = floats(w, n, largest(narrow_width(c), c->inner));
        }
    }
}

/* What lives as long as the pass. */
static void lay_out_trunk(Workspace *w, size_t n) {
    const ModelConfig *c = &w->config;
    bool training = w->plan.training;
    w->mean = floats(w, n, 1);
    w->rstd = floats(w, n, 1);
    w->hidden = w->normed = floats(w, n, narrow_width(c));
    if (training) {
        w->last = norms_behind(c) ? w->hidden : floats(w, n, c->width);
        w->dresidual = floats(w, n, narrow_width(c));
        w->dnarrow = floats(w, n, narrow_width(c));
        w->dmasked = configured_dropout(c) ? floats(w, n, c->width) : NULL;
        bool branches = c->parallel || has_part(w, PART_NORM1_OUT_WEIGHT);
        w->dbranch = branches ? floats(w, n, c->width) : NULL;
    }
    if (has_part(w, PART_EMBEDDING_NORM_WEIGHT)) {
        w->embedded = floats(w, n, c->width);
        w->embedded_mean = floats(w, n, 1);
        w->embedded_rstd = floats(w, n, 1);
    }
    w->block = take(w, c->layers, sizeof *w->block);
    for (size_t l = 0; l < c->layers && training; l++) {
        BlockActivations a = {0};
        if (l >= w->kept) {
            a = lay_out_block(w, n);
        }
        a.input = floats(w, n, c->width);
        if (w->block != NULL) {
            w->block[l] = a;
        }
    }
}

/* What is dead while the head works. */
static void lay_out_between_heads(Workspace *w, size_t n) {
    const ModelConfig *c = &w->config;
    BlockActivations shared = {0};
    if (!w->plan.training) {
        shared = lay_out_passing_block(w, n, w->hidden);
        w->last = norms_behind(c) ? w->hidden : shared.input;
        w->inside = c->family->block.gated ? floats(w, n, c->inner) : NULL;
    } else {
        w->inside = w->dwide = floats(w, n, largest(attention_width(c), c->inner));
        if (w->kept > 0) {
            shared = lay_out_block(w, n);
        }
    }
    for (size_t l = 0; l < w->kept && w->block != NULL; l++) {
        shared.input = w->plan.training ? w->block[l].input : shared.input;
        w->block[l] = shared;
    }
}

static void lay_out_per_token(Workspace *w, PerToken *p, size_t n) {
    *p = (PerToken){.logprob = floats(w, n, 1),
                    .entropy = floats(w, n, 1),
                    .score = floats(w, n, w->config.labels),
                    .correct = floats(w, n, 1)};
}

static HeadLayer lay_out_head_layer(Workspace *w, Part part) {
    size_t n = w->chunk, width = w->config.width;
    if (!has_part(w, part)) {
        return (HeadLayer){0};
    }
    return (HeadLayer){.inner = floats(w, n, width),
                       .active = floats(w, n, width),
                       .normed = floats(w, n, width),
                       .mean = floats(w, n, 1),
                       .rstd = floats(w, n, 1),
                       .d = floats(w, n, width)};
}

/* Of a pooler; BERT tells next sentences without. */
static float head_dropout(const ModelConfig *c) {
    float rate = c->dropout_head >= 0 ? c->dropout_head : c->dropout_residual;
    return c->head == HEAD_SCORES ? rate : 0;
}

static void lay_out_head(Workspace *w, size_t n) {
    const ModelConfig *c = &w->config;
    size_t rows = largest(CHUNK_BYTES / sizeof(float) / c->vocabulary, CHUNK_MINIMUM);
    w->chunk = least(least(rows, CHUNK_MAXIMUM), n);
    w->row = take(w, n, sizeof *w->row);
    w->batch_row = take(w, w->chunk, sizeof *w->batch_row);
    w->chosen = take(w, w->chunk, sizeof *w->chosen);
    w->place = take(w, w->chunk, sizeof *w->place);
    w->target = take(w, w->chunk, sizeof *w->target);
    w->lse = floats(w, w->chunk, 1);
    lay_out_per_token(w, &w->value, w->chunk);
    lay_out_per_token(w, &w->gradient, w->chunk);
    lay_out_per_token(w, &w->chunk_value, w->chunk);
    lay_out_per_token(w, &w->chunk_gradient, w->chunk);
    w->transform = lay_out_head_layer(w, PART_TRANSFORM_WEIGHT);
    w->pooler = lay_out_head_layer(w, PART_POOLER_WEIGHT);
    if (has_part(w, PART_POOLER_WEIGHT) && w->plan.training) {
        w->pooler.dropout = head_dropout(c);
        if (w->pooler.dropout > 0 && c->family->block.drops_twice) {
            w->pooler.masked = floats(w, w->chunk, c->width);
        }
    }
}

/* Of as many positions as the batch can have. */
static float *lay_out_turn(Workspace *w, const Rope *rope) {
    if (rope->dimensions == 0) {
        return NULL;
    }
    size_t positions = least(w->config.context, w->plan.tokens), pairs = rope->dimensions / 2;
    float *frequency = floats(w, pairs, 1), *turn = floats(w, positions, rope->dimensions);
    if (turn != NULL) {
        rope_frequencies(rope, frequency);
        rotary_fill(turn, frequency, pairs, positions, 1);
    }
    return turn;
}

static void lay_out(Workspace *w) {
    const ModelConfig *c = &w->config;
    size_t n = w->plan.tokens, s = w->plan.sequences, head_size = config_head_size(c);
    w->position = take(w, n, sizeof *w->position);
    w->sequence = take(w, s, sizeof *w->sequence);
    w->group = take(w, mem_add(s, 1), sizeof *w->group);
    w->attention = (Attention){
        .sequence = w->sequence,
        .group = w->group,
        .heads = c->heads,
        .kv_heads = config_kv_heads(c),
        .head_size = head_size,
        .bidirectional = c->family->block.bidirectional,
        .scale = pass_scale(c),
        .scratch = floats(w, (size_t)w->threads, attention_scratch(head_size)),
    };
    w->turn = lay_out_turn(w, &c->rope);
    w->local_turn = lay_out_turn(w, &c->local_rope);
    lay_out_trunk(w, n);
    lay_out_adapter(w, n);
    if (w->plan.trunk) {
        lay_out_between_heads(w, n);
        return;
    }
    w->stream = take(w, n, sizeof *w->stream);
    w->live = take(w, n, sizeof *w->live);
    lay_out_head(w, n);
    size_t mark = w->arena.used;
    lay_out_between_heads(w, n);
    if (has_lm_head(c)) { /* the logits lie over it */
        w->arena.used = mark;
        w->logits = floats(w, w->chunk, c->vocabulary);
        w->gathered = floats(w, w->chunk, c->width);
    }
}

static void prepare(Workspace *w, const ModelConfig *config, const WorkspacePlan *plan) {
    *w = (Workspace){
        .config = *config, .plan = *plan, .threads = parallel_threads(), .temperature = 1};
    w->config.json = NULL;
    w->config.label_name = NULL;
    bool none_kept = !plan->training || plan->recompute < 0;
    w->kept = none_kept ? config->layers : least((size_t)plan->recompute, config->layers);
    for (Part part = 0; part < PARTS; part++) {
        w->first[part] = family_index(config, part, 0);
    }
    w->block_tensors = config->layers < 2 ? 0
                                          : family_index(config, PART_NORM1_WEIGHT, 1) -
                                                family_index(config, PART_NORM1_WEIGHT, 0);
    lay_out(w);
}

size_t workspace_bytes(const ModelConfig *config, const WorkspacePlan *plan) {
    Workspace w;
    prepare(&w, config, plan);
    size_t packed = plan->packed == 0 ? 0 : packed_bytes(config, plan->type, plan->packed);
    return mem_add(mem_add(mem_aligned_cost(w.arena.peak, 1), sizeof w), packed);
}

Workspace *workspace_create(const ModelConfig *config, const WorkspacePlan *plan, Error *err) {
    Workspace *w = mem_alloc(1, sizeof *w, err);
    if (w == NULL) {
        return NULL;
    }
    prepare(w, config, plan);
    if (!arena_init(&w->arena, w->arena.peak, err)) {
        error_wrap(err, "workspace for %zu tokens in %zu sequences", plan->tokens, plan->sequences);
        free(w);
        return NULL;
    }
    lay_out(w);
    if (plan->packed != 0) {
        w->packed = packed_create(config, plan->type, plan->packed, err);
        if (w->packed == NULL) {
            workspace_free(w);
            return NULL;
        }
    }
    return w;
}

void workspace_free(Workspace *w) {
    if (w != NULL) {
        packed_free(w->packed);
        arena_done(&w->arena);
        free(w);
    }
}

void workspace_set_temperature(Workspace *w, float temperature) {
    CHECK(temperature > 0 && (temperature == 1 || !has_part(w, PART_LM_BIAS)));
    w->temperature = temperature;
}

void workspace_set_dropout(Workspace *w, bool on, uint64_t seed, uint64_t step) {
    w->dropout = on;
    w->seed = seed;
    w->step = step;
}

bool pass_drops(const Workspace *w, float rate) {
    return w->dropout && w->plan.training && rate > 0;
}

bool pass_drops_pooled(const Workspace *w) {
    return pass_drops(w, w->pooler.dropout);
}

uint32_t dropout_site(const Workspace *w, size_t layer, uint32_t site) {
    return SITE_BLOCKS + (uint32_t)(layer * (SITE_HEADS + w->config.heads)) + site;
}

const AdapterPass *pass_adapter(const Model *model, const Workspace *w) {
    const AdapterConfig *adapter = &model->config.adapter;
    if (adapter->rank == 0 || (w->packed != NULL && (w->plan.packed & PACK_MERGED) != 0)) {
        return NULL;
    }
    CHECK(adapter->rank <= w->config.adapter.rank);
    return &w->adapter;
}

/* NULL: the configuration lacks the part. */
static const Parameter *parameter_of(const Model *model, const Workspace *w, Part part,
                                     size_t layer) {
    return has_part(w, part) ? &model->parameter[w->first[part] + layer * w->block_tensors] : NULL;
}

const float *part_weights(const Model *model, const Workspace *w, Part part, size_t layer) {
    const Parameter *p = parameter_of(model, w, part, layer);
    return p == NULL ? NULL : parameter_data(model, p);
}

float *part_gradient(const Model *model, const Gradients *gradients, const Workspace *w, Part part,
                     size_t layer) {
    const Parameter *p = parameter_of(model, w, part, layer);
    return p == NULL || p->gradient == SIZE_MAX ? NULL : gradients->data + p->gradient;
}

static size_t list_live(Workspace *w, const Batch *batch, bool all) {
    size_t n = 0;
    for (size_t t = 0; t < batch->tokens; t++) {
        if (all || batch->target[t] != BATCH_NO_TARGET) {
            w->live[n++] = t;
        }
    }
    return n;
}

/* A row that no head reads is dead. Masks but those of attention and of the embedding go by the row, so with
 * them all live. */
static void choose_live(Workspace *w, const Batch *batch) {
    const ModelConfig *c = &w->config;
    bool all = c->layers == 0 || pass_drops(w, c->dropout_residual) ||
               pass_drops(w, c->adapter.dropout) || pass_drops_pooled(w) ||
               (has_score_head(c) && !batch->only_targets);
    w->lives = list_live(w, batch, all);
    if (w->lives == 0) {
        w->lives = list_live(w, batch, true);
    }
}

bool pass_narrows(const Pass *pass) {
    return pass->layer + 1 == pass->w->config.layers && pass->w->lives < pass->rows;
}

void pass_begin(Workspace *w, const Batch *batch) {
    CHECK(batch->tokens <= w->plan.tokens && batch->sequences <= w->plan.sequences);
    CHECK(parallel_threads() <= w->threads);
    size_t groups = 0;
    for (size_t s = 0; s < batch->sequences; s++) {
        size_t begin = batch->start[s], end = batch->start[s + 1];
        size_t position = batch_first_position(batch, s);
        Random random = random_stream(w->seed, RANDOM_DROPOUT, w->step, batch->key[s]);
        AttentionSequence *sequence = &w->sequence[s];
        *sequence = (AttentionSequence){.begin = begin, .end = end, .stream = random.stream};
        memcpy(w->masks.key, random.key, sizeof random.key);
        CHECK(batch->prefix[s] == BATCH_NO_PREFIX || !w->attention.bidirectional);
        if (batch->prefix[s] == BATCH_NO_PREFIX) {
            w->group[groups++] = s;
        } else {
            CHECK(batch->prefix[s] == (int32_t)w->group[groups - 1]);
            sequence->prefix_begin = batch->start[batch->prefix[s]];
            sequence->prefix_end = batch->start[batch->prefix[s] + 1];
        }
        CHECK(position + (end - begin) <= w->config.context);
        for (size_t t = begin; t < end; t++) {
            CHECK(batch->segment[t] == 0 || batch->segment[t] < w->config.segments);
            w->position[t] = (uint32_t)(position + (t - begin));
            w->stream[t] = random.stream;
        }
    }
    choose_live(w, batch);
    w->group[groups] = batch->sequences;
    w->attention.groups = groups;
    memcpy(w->attention.key, w->masks.key, sizeof w->masks.key);
    w->masks.stream = w->stream;
    w->masks.position = w->position;
    w->adapter.masks = w->masks;
    w->adapter.masks.rate =
        pass_drops(w, w->config.adapter.dropout) ? w->config.adapter.dropout : 0;
}

float pass_scale(const ModelConfig *config) {
    if (config->score_scalar > 0) {
        return (float)(1 / sqrt((double)config->score_scalar));
    }
    return config->family->block.unscaled ? 1 : 0;
}

const Attention *pass_attention(Workspace *w, size_t layer) {
    float rate = w->config.dropout_attention;
    w->attention.dropout = pass_drops(w, rate) ? rate : 0;
    w->attention.site = dropout_site(w, layer, SITE_HEADS);
    w->attention.window = config_window(&w->config, layer);
    return &w->attention;
}
