/* SPDX-License-Identifier: MIT */
#include "common/model/packed.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "common/model/linear.h"

enum { BLOCK_PARTS = 4, DIRECTIONS = 2, BLOCK_PLACES = BLOCK_PARTS * DIRECTIONS };

static const Part block_part[BLOCK_PARTS] = {PART_QKV_WEIGHT, PART_ATTENTION_OUT_WEIGHT,
                                             PART_UP_WEIGHT, PART_DOWN_WEIGHT};

struct PackedModel {
    ModelConfig config; /* a shallow copy: sizes and family only */
    GemmType type;
    unsigned which;
    uint64_t version;     /* of the weights that are packed; 0: none yet */
    PackedMatrix *matrix; /* [places]: of block 0, 1, ..., then the head's; data NULL: not wanted */
    void **memory;        /* [places] */
    float *merged;        /* room for the largest matrix with an adapter in it, or NULL */
    Arena arena;
    size_t planned; /* bytes of the arena, counted while it is not there */
};

static size_t places(const ModelConfig *config) {
    return mem_add(mem_mul(config->layers, BLOCK_PLACES), DIRECTIONS);
}

/* A stored matrix as op(B) of a product. */
typedef struct Operand {
    Part part;
    size_t layer;
    Transpose transpose;
    size_t k, n, columns;
} Operand;

/* The operand of a place; false when it is not among `which` or the configuration lacks it. */
static bool operand_at(const ModelConfig *config, unsigned which, size_t place, Operand *operand) {
    bool backward = place % DIRECTIONS == 1, head = place / BLOCK_PLACES == config->layers;
    unsigned forward_flag = head ? PACK_HEAD_FORWARD : PACK_FORWARD;
    if ((which & (forward_flag << backward)) == 0 || (head && config->head == HEAD_SCORES)) {
        return false;
    }
    Part head_part = config->tied ? PART_TOKEN_EMBEDDING : PART_LM_HEAD;
    operand->part = head ? head_part : block_part[place % BLOCK_PLACES / DIRECTIONS];
    operand->layer = head ? 0 : place / BLOCK_PLACES;
    size_t in = linear_inputs(config, operand->part), out = linear_outputs(config, operand->part);
    bool in_out = linear_is_in_out(config, operand->part);
    operand->columns = in_out ? out : in;
    operand->transpose = in_out == !backward ? PLAIN : TRANSPOSED;
    operand->k = backward ? out : in;
    operand->n = backward ? in : out;
    return true;
}

/* The first pass over the layout counts, the second one takes. */
static void *take(PackedModel *packed, size_t count, size_t size) {
    if (packed->arena.base == NULL) {
        packed->planned = mem_add(packed->planned, arena_cost(count, size));
        return NULL;
    }
    return arena_take(&packed->arena, count, size);
}

static bool merges(const PackedModel *packed, Part part) {
    return (packed->which & PACK_MERGED) != 0 && adapter_is_on(&packed->config, part);
}

static void lay_out(PackedModel *packed) {
    const ModelConfig *config = &packed->config;
    packed->matrix = take(packed, places(config), sizeof *packed->matrix);
    packed->memory = take(packed, places(config), sizeof *packed->memory);
    size_t largest = 0;
    for (size_t place = 0; place < places(config); place++) {
        Operand o;
        if (operand_at(config, packed->which, place, &o)) {
            if (merges(packed, o.part)) {
                size_t count = mem_mul(o.k, o.n);
                largest = count > largest ? count : largest;
            }
            void *memory = take(packed, packed_matrix_bytes(packed->type, o.k, o.n), 1);
            if (packed->memory != NULL) {
                packed->memory[place] = memory;
            }
        }
    }
    packed->merged = largest > 0 ? take(packed, largest, sizeof(float)) : NULL;
}

static void prepare(PackedModel *packed, const ModelConfig *config, GemmType type, unsigned which) {
    *packed = (PackedModel){.config = *config, .type = type, .which = which};
    packed->config.json = NULL;
    packed->config.label_name = NULL;
    lay_out(packed);
}

size_t packed_bytes(const ModelConfig *config, GemmType type, unsigned which) {
    PackedModel packed;
    prepare(&packed, config, type, which);
    return mem_add(mem_aligned_cost(packed.planned, 1), sizeof packed);
}

PackedModel *packed_create(const ModelConfig *config, GemmType type, unsigned which, Error *err) {
    PackedModel *packed = mem_alloc(1, sizeof *packed, err);
    if (packed == NULL) {
        return NULL;
    }
    prepare(packed, config, type, which);
    if (!arena_init(&packed->arena, packed->planned, err)) {
        error_wrap(err, "the packed weights of the model");
        free(packed);
        return NULL;
    }
    lay_out(packed);
    return packed;
}

void packed_free(PackedModel *packed) {
    if (packed != NULL) {
        arena_done(&packed->arena);
        free(packed);
    }
}

void packed_update(PackedModel *packed, const Model *model) {
    bool merged = (packed->which & PACK_MERGED) != 0;
    uint64_t version = merged ? model->version : model->base_version;
    if (packed->version == version) {
        return;
    }
    for (size_t place = 0; place < places(&packed->config); place++) {
        Operand o;
        if (operand_at(&packed->config, packed->which, place, &o)) {
            LinearMatrix l = linear_matrix(model, o.part, o.layer);
            const float *weight = l.weight;
            if (merged && adapter_is_on(&model->config, o.part)) {
                CHECK(packed->merged != NULL);
                adapter_merged(model, o.part, o.layer, packed->merged);
                weight = packed->merged;
            }
            void *memory = packed->memory[place];
            packed->matrix[place] =
                weight == NULL
                    ? packed_compact(packed->type, o.transpose, &l.compact, memory)
                    : packed_matrix(packed->type, o.transpose, o.k, o.n, weight, o.columns, memory);
        }
    }
    packed->version = version;
}

const PackedMatrix *packed_part(const PackedModel *packed, Part part, size_t layer,
                                unsigned which) {
    if (packed == NULL || (packed->which & which) == 0) {
        return NULL;
    }
    size_t slot = 0;
    while (slot < BLOCK_PARTS && block_part[slot] != part) {
        slot++;
    }
    bool head = slot == BLOCK_PARTS;
    CHECK(head == (which >= PACK_HEAD_FORWARD) && packed->version != 0);
    size_t place =
        head ? packed->config.layers * BLOCK_PLACES : layer * BLOCK_PLACES + slot * DIRECTIONS;
    bool backward = (which & (PACK_BACKWARD | PACK_HEAD_BACKWARD)) != 0;
    const PackedMatrix *matrix = &packed->matrix[place + backward];
    return matrix->data == NULL ? NULL : matrix;
}
