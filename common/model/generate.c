/* SPDX-License-Identifier: MIT */
#include "common/model/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/parallel.h"
#include "common/kernels/matrix.h"
#include "common/kernels/rows.h"
#include "common/model/generate_private.h"

enum {
    PACKED = PACK_FORWARD | PACK_HEAD_FORWARD | PACK_MERGED,
    PASS_ROWS = 256,         /* room for so many rows of prompts, and for the longest prompt */
    DRAW_GRAIN = 4096,       /* logits that a thread should at least have to itself */
    LOGITS_FLOATS = 8 << 20, /* about so many logits are held at once */
};

static size_t pages_for(size_t tokens) {
    return tokens / PAGE_TOKENS + (tokens % PAGE_TOKENS != 0);
}

static void sizes_fill(Generator *g, const ModelConfig *config, const GeneratorPlan *plan) {
    CHECK(plan->rows > 0 && plan->context > 1 && plan->completions > 0 && plan->tokens > 0 &&
          config->head != HEAD_SCORES);
    g->width = config->width;
    g->vocabulary = config->vocabulary;
    g->rows = plan->rows;
    g->context = plan->context < config->context ? plan->context : config->context;
    g->pass_rows = g->rows > g->context ? g->rows : g->context;
    g->pass_rows = g->pass_rows > PASS_ROWS ? g->pass_rows : PASS_ROWS;
    g->head_rows = LOGITS_FLOATS / g->vocabulary;
    g->head_rows = g->head_rows < 1 ? 1 : g->head_rows > g->rows ? g->rows : g->head_rows;
    g->row_pages = pages_for(g->context);
    /* Each live prompt has a row of its own to pay for it; a prompt and a completion that together
     * fill the context take at most one page more than the context does. */
    g->pages = mem_mul(g->rows, g->row_pages + 1);
    g->page = page_bytes(plan->cache, config_kv_heads(config), config_head_size(config));
    g->completions = plan->completions;
    g->tokens = plan->tokens < g->context - 1 ? plan->tokens : g->context - 1;
    g->type = plan->type;
    g->cache_type = plan->cache;
    g->threads = parallel_threads();
}

static WorkspacePlan trunk_plan(const Generator *g, const GeneratorPlan *plan) {
    return (WorkspacePlan){.tokens = g->pass_rows,
                           .sequences = g->rows,
                           .type = g->type,
                           .packed = plan->packed ? PACKED : 0,
                           .trunk = true};
}

/* One piece of the block: adds its cost, or takes it. */
static void piece(Arena *arena, size_t *cost, void *pointer, size_t count, size_t size) {
    if (arena == NULL) {
        *cost = mem_add(*cost, arena_cost(count, size));
        return;
    }
    void *memory = arena_take(arena, count, size);
    memcpy(pointer, &memory, sizeof memory);
}

/* The plan of the block, gone through twice: to add up, and to take. */
static size_t pieces(Generator *g, const ModelConfig *config, Arena *arena) {
    size_t cost = 0, n = g->pass_rows, width = g->width, threads = (size_t)g->threads;
    piece(arena, &cost, &g->cache, mem_mul(config->layers, g->pages), g->page);
    piece(arena, &cost, &g->free_page, g->pages, sizeof(uint32_t));
    piece(arena, &cost, &g->list, mem_mul(mem_mul(2, g->rows), g->row_pages), sizeof(uint32_t));
    piece(arena, &cost, &g->live, g->rows, sizeof(LivePrompt));
    piece(arena, &cost, &g->row, g->rows, sizeof(Row));
    piece(arena, &cost, &g->id, n, sizeof(int32_t));
    piece(arena, &cost, &g->place, n, sizeof(CachedRow));
    piece(arena, &cost, &g->fresh, g->rows, sizeof(size_t));
    piece(arena, &cost, &g->scores,
          mem_mul(threads, cached_attention_scratch(config->heads, g->context)), sizeof(float));
    /* Hidden rows: of the active rows, then one for each live prompt. */
    piece(arena, &cost, &g->hidden, mem_mul(2 * g->rows, width), sizeof(float));
    piece(arena, &cost, &g->logits, mem_mul(g->head_rows, g->vocabulary), sizeof(float));
    piece(arena, &cost, &g->plain, mem_mul(threads, g->vocabulary), sizeof(float));
    piece(arena, &cost, &g->weight, mem_mul(threads, g->vocabulary), sizeof(float));
    piece(arena, &cost, &g->order, mem_mul(threads, g->vocabulary), sizeof(uint32_t));
    piece(arena, &cost, &g->draw, g->rows, sizeof(SamplingDraw));
    size_t tokens = mem_mul(g->completions, g->tokens);
    piece(arena, &cost, &g->completion, g->completions, sizeof(Completion));
    piece(arena, &cost, &g->ids, tokens, sizeof(int32_t));
    piece(arena, &cost, &g->logprobs, tokens, sizeof(float));
    piece(arena, &cost, &g->entropies, tokens, sizeof(float));
    return cost;
}

size_t generator_bytes(const ModelConfig *config, const GeneratorPlan *plan) {
    Generator g = {0};
    sizes_fill(&g, config, plan);
    const WorkspacePlan trunk = trunk_plan(&g, plan);
    return mem_add(mem_add(sizeof(Generator), mem_aligned_cost(pieces(&g, config, NULL), 1)),
                   workspace_bytes(config, &trunk));
}

Generator *generator_create(const ModelConfig *config, const GeneratorPlan *plan, Error *err) {
    if (config->family->block.bidirectional) {
        error_set(err, ERROR_CONFIG, "a %s model is an encoder: it does not generate text",
                  config->family->name);
        return NULL;
    }
    Generator *g = mem_alloc(1, sizeof(Generator), err);
    if (g == NULL) {
        return NULL;
    }
    sizes_fill(g, config, plan);
    const WorkspacePlan trunk = trunk_plan(g, plan);
    g->trunk = workspace_create(config, &trunk, err);
    if (g->trunk == NULL || !arena_init(&g->arena, pieces(g, config, NULL), err)) {
        error_wrap(err, "the cache for %zu completions of up to %zu tokens", g->rows, g->context);
        generator_free(g);
        return NULL;
    }
    pieces(g, config, &g->arena);
    for (size_t i = 0; i < g->rows; i++) {
        g->live[i] = (LivePrompt){.page = g->list + i * g->row_pages,
                                  .hidden = g->hidden + (g->rows + i) * g->width};
        g->row[i] = (Row){.page = g->list + (g->rows + i) * g->row_pages};
    }
    return g;
}

void generator_free(Generator *generator) {
    if (generator != NULL) {
        workspace_free(generator->trunk);
        arena_done(&generator->arena);
        free(generator);
    }
}

/* What one call of generate() works on. */
typedef struct Job {
    Generator *g;
    const Model *model;
    const Prompt *prompt;
    size_t prompts, samples;
    const Sampling *sampling;
    const GenerateWatch *watch;
    size_t started, finished;
    int32_t end[EOS_LIMIT + STOP_LIMIT]; /* [ends] ids that end a completion */
    size_t ends;
} Job;

static uint32_t page_take(Generator *g) {
    CHECK(g->free_pages > 0);
    return g->free_page[--g->free_pages];
}

static void pages_give(Generator *g, const uint32_t *page, size_t n) {
    for (size_t i = 0; i < n; i++) {
        g->free_page[g->free_pages++] = page[i];
    }
}

static bool prompts_check(const Job *job, Error *err) {
    for (size_t p = 0; p < job->prompts; p++) {
        const Prompt *prompt = &job->prompt[p];
        if (prompt->count < 1 || prompt->count >= job->g->context) {
            return error_set(
                err, ERROR_DATA,
                "prompt %zu has %zu tokens; with a context of %zu a prompt must have 1 "
                "to %zu",
                p + 1, prompt->count, job->g->context, job->g->context - 1);
        }
        for (size_t i = 0; i < prompt->count; i++) {
            if (prompt->id[i] < 0 || (size_t)prompt->id[i] >= job->g->vocabulary) {
                return error_set(err, ERROR_DATA,
                                 "prompt %zu holds the id %d, but the model knows %zu; model and "
                                 "tokenizer do not belong together",
                                 p + 1, (int)prompt->id[i], job->g->vocabulary);
            }
        }
    }
    return true;
}

/* The live place of a prompt; a new one, whose pages are taken, if it has none: *fresh. */
static LivePrompt *live_of(Job *job, size_t prompt, bool *fresh) {
    Generator *g = job->g;
    LivePrompt *empty = NULL;
    *fresh = false;
    for (size_t i = 0; i < g->rows; i++) {
        if (g->live[i].pending > 0 && g->live[i].prompt == prompt) {
            return &g->live[i];
        }
        if (g->live[i].pending == 0 && empty == NULL) {
            empty = &g->live[i];
        }
    }
    CHECK(empty != NULL);
    empty->prompt = prompt;
    empty->pending = job->samples;
    for (size_t i = 0; i < pages_for(job->prompt[prompt].count); i++) {
        empty->page[i] = page_take(g);
    }
    *fresh = true;
    return empty;
}

static void row_start(Job *job, size_t index, LivePrompt *live) {
    Generator *g = job->g;
    const Prompt *prompt = &job->prompt[index / job->samples];
    Completion *completion = &g->completion[index];
    Row *row = &g->row[g->active++];
    size_t room = g->context - prompt->count;
    row->live = live;
    row->completion = completion;
    row->limit = job->sampling->max_tokens < room ? job->sampling->max_tokens : room;
    row->pages = 0;
    row->random =
        random_stream(job->sampling->seed, job->sampling->purpose,
                      random_mix(job->sampling->step, prompt->record), completion->sample);
    row->id = g->ids + index * g->tokens;
    row->logprob = g->logprobs + index * g->tokens;
    row->entropy = g->entropies + index * g->tokens;
}

/* Runs the pass over the prompts gathered so far and keeps the hidden row of the last token of each. */
static void prefill_flush(Job *job) {
    Generator *g = job->g;
    if (g->sequences == 0) {
        return;
    }
    generator_pass(g, job->model, g->trunk->sequence[g->sequences - 1].end);
    for (size_t i = 0; i < g->sequences; i++) {
        matrix_gather(g->live[g->fresh[i]].hidden, g->trunk->hidden, &i, 1, g->width);
    }
    g->sequences = 0;
}

/* Appends a prompt's tokens to the rows of the pass, running it first if they do not fit. */
static void prefill_add(Job *job, const LivePrompt *live) {
    Generator *g = job->g;
    Workspace *w = g->trunk;
    const Prompt *prompt = &job->prompt[live->prompt];
    size_t begin = g->sequences == 0 ? 0 : w->sequence[g->sequences - 1].end;
    if (begin + prompt->count > g->pass_rows) {
        prefill_flush(job);
        begin = 0;
    }
    for (size_t t = 0; t < prompt->count; t++) {
        g->id[begin + t] = prompt->id[t];
        w->position[begin + t] = (uint32_t)t;
        g->place[begin + t] =
            (CachedRow){.shared = live->page, .shared_tokens = prompt->count, .position = t};
    }
    w->group[g->sequences] = g->sequences;
    g->fresh[g->sequences] = (size_t)(live - g->live);
    w->sequence[g->sequences++] = (AttentionSequence){.begin = begin, .end = begin + prompt->count};
    w->group[g->sequences] = g->sequences;
}

/* Lets waiting samples take the free rows, and computes the prompts that are new. */
static void admit(Job *job) {
    Generator *g = job->g;
    while (g->active < g->rows && job->started < job->prompts * job->samples) {
        bool fresh;
        LivePrompt *live = live_of(job, job->started / job->samples, &fresh);
        row_start(job, job->started++, live);
        if (fresh) {
            prefill_add(job, live);
        }
    }
    prefill_flush(job);
}

/* Feeds the last token of each row that has one; all rows then have their hidden row. */
static void decode(Job *job) {
    Generator *g = job->g;
    size_t n = 0;
    for (size_t i = 0; i < g->active; i++) {
        Row *row = &g->row[i];
        size_t count = row->completion->count, prompt_count = job->prompt[row->live->prompt].count;
        if (count == 0) {
            continue;
        }
        if ((count - 1) % PAGE_TOKENS == 0) {
            row->page[row->pages++] = page_take(g);
        }
        g->id[n] = row->id[count - 1];
        g->trunk->position[n] = (uint32_t)(prompt_count + count - 1);
        g->place[n] = (CachedRow){.shared = row->live->page,
                                  .shared_tokens = prompt_count,
                                  .own = row->page,
                                  .position = prompt_count + count - 1};
        n++;
    }
    if (n > 0) {
        generator_pass(g, job->model, n);
    }
    static const size_t first = 0;
    for (size_t i = 0, fed = 0; i < g->active; i++) {
        bool has_token = g->row[i].completion->count > 0;
        matrix_gather(g->hidden + i * g->width,
                      has_token ? g->trunk->hidden : g->row[i].live->hidden,
                      has_token ? &fed : &first, 1, g->width);
        fed += has_token;
    }
}

typedef struct Draw {
    const Job *job;
    size_t first; /* row of the first logits */
} Draw;

static void draw_rows(void *context, size_t begin, size_t end, int thread) {
    const Draw *draw = context;
    const Job *job = draw->job;
    const Generator *g = job->g;
    size_t vocabulary = g->vocabulary, offset = (size_t)thread * vocabulary;
    SamplingScratch scratch = {g->weight + offset, g->order + offset, g->plain + offset};
    for (size_t i = begin; i < end; i++) {
        const Row *row = &g->row[draw->first + i];
        size_t count = row->completion->count;
        const Prompt *prompt = &job->prompt[row->live->prompt];
        SamplingHistory history = {prompt->id, prompt->count, row->id, count, job->end, job->ends};
        g->draw[draw->first + i] =
            sampling_draw(job->sampling, &history, g->logits + i * vocabulary, vocabulary,
                          random_uniform(&row->random, count), &scratch);
    }
}

/* The next id of every row. */
static bool draw_all(Job *job, Error *err) {
    Generator *g = job->g;
    for (size_t first = 0; first < g->active; first += g->head_rows) {
        size_t left = g->active - first, n = left < g->head_rows ? left : g->head_rows;
        generator_head(g, job->model, g->hidden + first * g->width, n);
        Draw draw = {job, first};
        parallel_for(n, 1 + DRAW_GRAIN / g->vocabulary, draw_rows, &draw);
    }
    for (size_t i = 0; i < g->active; i++) {
        if (!isfinite(g->draw[i].logprob)) {
            return error_set(err, ERROR_DIVERGED,
                             "the model's logits behind prompt %zu are not finite; its weights are "
                             "spoiled",
                             g->row[i].live->prompt + 1);
        }
    }
    return true;
}

static bool has_ended(const Job *job, const Row *row) {
    Completion *completion = row->completion;
    int32_t last = completion->id[completion->count - 1];
    completion->finish = FINISH_EOS;
    for (size_t i = 0; i < job->ends; i++) {
        if (last == job->end[i]) {
            return true;
        }
    }
    completion->finish = FINISH_STOP;
    const GenerateWatch *watch = job->watch;
    if (watch->stop != NULL && watch->stop(watch->context, completion->prompt, completion->sample,
                                           completion->id, completion->count)) {
        return true;
    }
    completion->finish = FINISH_LENGTH;
    return completion->count == row->limit;
}

/* Gives back what a row holds; the last row takes its place. */
static void row_end(Job *job, size_t i) {
    Generator *g = job->g;
    Row row = g->row[i];
    pages_give(g, row.page, row.pages);
    if (--row.live->pending == 0) {
        pages_give(g, row.live->page, pages_for(job->prompt[row.live->prompt].count));
    }
    g->row[i] = g->row[--g->active];
    g->row[g->active] = row;
    job->finished++;
}

/* Appends the drawn ids; rows that are done leave. */
static void append_all(Job *job) {
    Generator *g = job->g;
    for (size_t i = 0; i < g->active; i++) {
        Row *row = &g->row[i];
        size_t at = row->completion->count++;
        row->id[at] = g->draw[i].id;
        row->logprob[at] = g->draw[i].logprob;
        row->entropy[at] = g->draw[i].entropy;
    }
    for (size_t i = g->active; i-- > 0;) {
        if (has_ended(job, &g->row[i])) {
            row_end(job, i);
        }
    }
}

static void job_begin(Job *job) {
    Generator *g = job->g;
    const int32_t *own = config_ends(&job->model->config, &job->ends);
    memcpy(job->end, own, job->ends * sizeof *own);
    for (size_t i = 0; i < job->sampling->stops; i++) {
        job->end[job->ends++] = job->sampling->stop[i];
    }
    g->active = 0;
    g->sequences = 0;
    g->free_pages = g->pages;
    for (size_t i = 0; i < g->pages; i++) {
        g->free_page[i] = (uint32_t)(g->pages - 1 - i);
    }
    for (size_t i = 0; i < g->rows; i++) {
        g->live[i].pending = 0;
    }
    for (size_t i = 0; i < job->prompts * job->samples; i++) {
        size_t at = i * g->tokens;
        g->completion[i] = (Completion){.id = g->ids + at,
                                        .logprob = g->logprobs + at,
                                        .entropy = g->entropies + at,
                                        .prompt = i / job->samples,
                                        .sample = i % job->samples};
    }
    if (g->trunk->packed != NULL) {
        packed_update(g->trunk->packed, job->model);
    }
}

const Completion *generate(Generator *generator, const Model *model, const Prompt *prompt,
                           size_t prompts, size_t samples, const Sampling *sampling,
                           const GenerateWatch *watch, Error *err) {
    static const GenerateWatch nobody = {0};
    Generator *g = generator;
    const ModelConfig *config = &model->config, *planned = &g->trunk->config;
    size_t all = prompts * samples;
    CHECK(config->family == planned->family && config->layers == planned->layers &&
          config->width == planned->width && config->heads == planned->heads &&
          config_qkv_width(config) == config_qkv_width(planned) &&
          config->inner == planned->inner && config->vocabulary == g->vocabulary &&
          g->threads >= parallel_threads());
    CHECK(samples > 0 && all <= g->completions && sampling->temperature > 0.0f &&
          sampling->stops <= STOP_LIMIT);
    CHECK(sampling->max_tokens > 0 &&
          (sampling->max_tokens <= g->tokens || g->tokens == g->context - 1));
    Job job = {.g = g,
               .model = model,
               .prompt = prompt,
               .prompts = prompts,
               .samples = samples,
               .sampling = sampling,
               .watch = watch == NULL ? &nobody : watch};
    if (!prompts_check(&job, err)) {
        return NULL;
    }
    job_begin(&job);
    while (job.finished < all) {
        size_t before = job.finished;
        admit(&job);
        decode(&job);
        if (!draw_all(&job, err)) {
            return NULL;
        }
        append_all(&job);
        if (job.watch->progress != NULL && job.finished != before) {
            job.watch->progress(job.watch->context, job.finished);
        }
    }
    return g->completion;
}
