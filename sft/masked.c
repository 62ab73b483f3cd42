/* SPDX-License-Identifier: MIT */
#include "sft/masked.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/random.h"

/* A sequence as the ids of up to three parts, one behind the other. */
typedef struct Pieces {
    const int32_t *id[3]; /* first half, separator, second half */
    size_t n[3];
    int32_t last; /* id of the last row, where a half was cut short; -1: its own */
    int label;    /* 0 the second half follows the first, 1 it is another example's */
} Pieces;

static size_t pieces_rows(const Pieces *pieces) {
    return pieces->n[0] + pieces->n[1] + pieces->n[2];
}

static int32_t id_at(const Pieces *pieces, size_t t) {
    if (pieces->last >= 0 && t + 1 == pieces_rows(pieces)) {
        return pieces->last;
    }
    size_t part = 0;
    while (t >= pieces->n[part]) {
        t -= pieces->n[part++];
    }
    return pieces->id[part][t];
}

static bool is_ordinary(const Masked *masked, int32_t id) {
    return id != masked->mask && !tokenizer_is_special(masked->tokenizer, id);
}

static bool collect_ordinary(Masked *masked, Error *err) {
    size_t n = tokenizer_vocabulary(masked->tokenizer);
    masked->ordinary = mem_alloc(n, sizeof *masked->ordinary, err);
    for (size_t i = 0; masked->ordinary != NULL && i < n; i++) {
        int32_t id = (int32_t)i;
        if (tokenizer_text(masked->tokenizer, id) != NULL && is_ordinary(masked, id)) {
            masked->ordinary[masked->ordinaries++] = id;
        }
    }
    return masked->ordinary != NULL &&
           (masked->ordinaries > 0 ||
            error_set(err, ERROR_DATA, "the tokenizer has no tokens but special ones"));
}

static bool read_frame(Masked *masked, const Layout *layout, Error *err) {
    if (!layout->framed) {
        return error_set(err, ERROR_CONFIG,
                         "sft.next_sentence needs a layout with a frame around pairs of texts; "
                         "leave layout.name out, so that it is the tokenizer's");
    }
    Tokens prefix = {0};
    bool ok = tokenizer_encode(masked->tokenizer, layout->prefix, strlen(layout->prefix), true,
                               &prefix, err) &&
              tokenizer_encode(masked->tokenizer, layout->separator, strlen(layout->separator),
                               true, &masked->separator, err);
    masked->prefix = prefix.count;
    tokens_done(&prefix);
    return ok;
}

bool masked_init(Masked *masked, const Tokenizer *tokenizer, const Layout *layout,
                 const MaskedOptions *options, Error *err) {
    *masked =
        (Masked){.options = *options, .tokenizer = tokenizer, .mask = tokenizer_mask(tokenizer)};
    bool ok = masked->mask >= 0 ||
              error_set(err, ERROR_DATA,
                        "the tokenizer has no mask token, which an encoder learns with; name it as "
                        "mask_token in tokenizer_config.json");
    ok = ok && layout_eos(layout, tokenizer, &masked->eos, err) && collect_ordinary(masked, err) &&
         (!options->next_sentence || read_frame(masked, layout, err));
    if (!ok) {
        masked_done(masked);
    }
    return ok;
}

void masked_done(Masked *masked) {
    free(masked->ordinary);
    tokens_done(&masked->separator);
    *masked = (Masked){0};
}

size_t masked_window(const Masked *masked) {
    size_t most = masked->options.max_tokens, separator = masked->separator.count;
    return most > separator ? most - separator : 0;
}

/* The halves as they are; a text that is not to be cut is a first half alone. */
static Pieces halves(const Masked *masked, const Example *example) {
    Pieces pieces = {.id = {example->prompt.id}, .n = {example->prompt.count}, .last = -1};
    if (example->completions > 0) {
        pieces.id[2] = example->completion[0].id;
        pieces.n[2] = example->completion[0].count;
    } else if (masked->options.next_sentence) {
        size_t n = example->prompt.count, frame = masked->prefix + 1;
        pieces.n[0] = masked->prefix + (n > frame ? (n - frame) / 2 : 0);
        pieces.id[1] = masked->separator.id;
        pieces.n[1] = masked->separator.count;
        pieces.id[2] = example->prompt.id + pieces.n[0];
        pieces.n[2] = n - pieces.n[0];
    }
    return pieces;
}

static Pieces draw_pieces(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw) {
    Pieces pieces = halves(masked, &set->example[i]);
    if (!masked->options.next_sentence) {
        return pieces;
    }
    Random random = random_stream(masked->options.seed, RANDOM_NEXT, draw, set->example[i].key);
    pieces.label = (int)random_below(&random, 0, 2);
    if (pieces.label == 1) {
        size_t other = (size_t)random_below(&random, 1, set->examples - 1);
        Pieces from = halves(masked, &set->example[other + (other >= i)]);
        size_t room = masked->options.max_tokens - pieces.n[0] - pieces.n[1];
        bool cut = from.n[2] > room;
        pieces.id[2] = from.id[2];
        pieces.n[2] = cut ? room : from.n[2];
        pieces.last = cut ? masked->eos : -1;
    }
    return pieces;
}

bool masked_is_usable(const void *context, const Example *example) {
    const Masked *masked = context;
    Pieces pieces = halves(masked, example);
    size_t rows = masked->options.next_sentence ? pieces.n[0] : pieces_rows(&pieces);
    for (size_t t = 0; t < rows; t++) {
        if (is_ordinary(masked, id_at(&pieces, t))) {
            return true;
        }
    }
    return false;
}

/* Which rows of a sequence are targets: those whose number is below the share, and the lowest one. */
typedef struct Choice {
    Random random;
    size_t lowest, targets;
} Choice;

static bool is_target(const Masked *masked, const Choice *choice, const Pieces *pieces, size_t t) {
    return t == choice->lowest || (random_uniform(&choice->random, t) < masked->options.share &&
                                   is_ordinary(masked, id_at(pieces, t)));
}

static Choice choose(const Masked *masked, const Pieces *pieces, uint64_t draw, uint64_t key) {
    Choice choice = {.random = random_stream(masked->options.seed, RANDOM_MASK, draw, key),
                     .lowest = SIZE_MAX};
    double lowest = 1;
    for (size_t t = 0; t < pieces_rows(pieces); t++) {
        double number = random_uniform(&choice.random, t);
        if (!is_ordinary(masked, id_at(pieces, t))) {
            continue;
        }
        choice.targets += number < masked->options.share;
        if (number < lowest) {
            lowest = number;
            choice.lowest = t;
        }
    }
    choice.targets += choice.targets == 0;
    return choice;
}

size_t masked_rows(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw) {
    Pieces pieces = draw_pieces(masked, set, i, draw);
    return pieces_rows(&pieces);
}

size_t masked_targets(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw) {
    Pieces pieces = draw_pieces(masked, set, i, draw);
    return choose(masked, &pieces, draw, set->example[i].key).targets;
}

size_t masked_most_rows(const Masked *masked, const ExampleSet *set) {
    size_t most = 0, first = 0, second = 0;
    for (size_t i = 0; i < set->examples; i++) {
        Pieces pieces = halves(masked, &set->example[i]);
        size_t rows = pieces_rows(&pieces), begin = pieces.n[0] + pieces.n[1];
        most = rows > most ? rows : most;
        first = begin > first ? begin : first;
        second = pieces.n[2] > second ? pieces.n[2] : second;
    }
    if (!masked->options.next_sentence) {
        return most;
    }
    size_t room = masked->options.max_tokens;
    return first + second < room ? first + second : room;
}

/* What stands in a target's place. */
static int32_t disguise(const Masked *masked, const Choice *choice, size_t t, int32_t id) {
    uint64_t kind = random_below(&choice->random, 2 * t, 10);
    if (kind < 8) {
        return masked->mask;
    }
    return kind == 9
               ? id
               : masked->ordinary[random_below(&choice->random, 2 * t + 1, masked->ordinaries)];
}

bool masked_add(const Masked *masked, const ExampleSet *set, size_t i, uint64_t draw, Batch *batch,
                int *label, Error *err) {
    uint64_t key = set->example[i].key;
    Pieces pieces = draw_pieces(masked, set, i, draw);
    Choice choice = choose(masked, &pieces, draw, key);
    size_t rows = pieces_rows(&pieces), index;
    if (!batch_append(batch, rows, BATCH_NO_PREFIX, random_mix(key, 1), &index, err)) {
        return false;
    }
    int32_t *id = batch->id + batch->start[index], *target = batch->target + batch->start[index];
    for (size_t t = 0; t < rows; t++) {
        id[t] = id_at(&pieces, t);
        if (is_target(masked, &choice, &pieces, t)) {
            target[t] = id[t];
            id[t] = disguise(masked, &choice, t, id[t]);
        }
    }
    if (masked->options.next_sentence) {
        target[0] = id[0];
    }
    if (masked->options.segments && pieces.n[2] > 0) {
        batch_set_segments(batch, index, pieces.n[0] + pieces.n[1]);
    }
    *label = pieces.label;
    return true;
}
