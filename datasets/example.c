/* SPDX-License-Identifier: MIT */
#include "datasets/example.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/random.h"

typedef struct Encoder {
    ExampleSet *set;
    const Tokenizer *tokenizer;
    const Layout *layout;
    const EncodeOptions *options;
    int32_t eos; /* -1: completions have none */
} Encoder;

static void example_done(Example *example) {
    tokens_done(&example->prompt);
    for (size_t i = 0; i < example->completions; i++) {
        tokens_done(&example->completion[i]);
    }
    free(example->completion);
    free(example->trained);
    *example = (Example){0};
}

void examples_done(ExampleSet *set) {
    for (size_t i = 0; i < set->examples; i++) {
        example_done(&set->example[i]);
    }
    free(set->example);
    *set = (ExampleSet){0};
}

static uint64_t hash_tokens(const Tokens *tokens) {
    return hash_bytes(tokens->id, tokens->count * sizeof *tokens->id);
}

static uint64_t content_key(const Example *example) {
    uint64_t key = random_mix((uint64_t)example->record->line, hash_tokens(&example->prompt));
    for (size_t i = 0; i < example->completions; i++) {
        key = random_mix(key, hash_tokens(&example->completion[i]));
    }
    return key;
}

static size_t trained_tokens(const Example *example, bool loss_on_all) {
    size_t trained = 0;
    for (size_t i = 0; i < example->completions; i++) {
        trained += example->completion[i].count;
        trained += loss_on_all ? example->prompt.count - 1 : 0;
    }
    for (size_t i = 1; example->trained != NULL && i < example->prompt.count; i++) {
        trained += example->trained[i];
    }
    return trained;
}

/* Takes the example over, or drops it when nothing in it is trained. */
static bool keep(Encoder *encoder, Example *example, Error *err) {
    ExampleSet *set = encoder->set;
    EncodeCounts *counts = &set->counts;
    RecordKind kind = example->record->kind;
    size_t trained = trained_tokens(example, encoder->options->loss_on_all);
    bool empty = trained == 0 && kind != RECORD_PROMPT && kind != RECORD_LABELED;
    for (size_t i = 0; kind == RECORD_RANKING && i < example->completions; i++) {
        empty = empty || example->completion[i].count == 0;
    }
    if (empty) {
        counts->dropped_empty++;
        example_done(example);
        return true;
    }
    if (!mem_reserve(&set->example, &set->capacity, set->examples + 1, sizeof *set->example, err)) {
        example_done(example);
        return false;
    }
    example->key = content_key(example);
    counts->trained_tokens += trained;
    size_t most = 0;
    for (size_t i = 0; i < example->completions; i++) {
        size_t n = example->completion[i].count;
        most = n > most ? n : most;
        counts->tokens += n;
    }
    counts->tokens += example->prompt.count;
    most += example->prompt.count;
    counts->longest = most > counts->longest ? most : counts->longest;
    set->example[set->examples++] = *example;
    return true;
}

static bool drop_long(Encoder *encoder, Example *example) {
    encoder->set->counts.dropped_long++;
    example_done(example);
    return true;
}

typedef struct Cuts {
    size_t truncated, terminated;
} Cuts;

/* Makes ids fit; false: drop the record. */
static bool fit(const Encoder *encoder, Tokens *ids, size_t room, Cuts *cuts) {
    OverLength policy = encoder->options->over_length;
    if (ids->count <= room) {
        return true;
    }
    if (policy == OVER_LENGTH_DROP || room == 0 ||
        (policy == OVER_LENGTH_TERMINATE && encoder->eos < 0)) {
        return false;
    }
    ids->count = room;
    if (policy == OVER_LENGTH_TERMINATE) {
        ids->id[room - 1] = encoder->eos;
        cuts->terminated++;
    } else {
        cuts->truncated++;
    }
    return true;
}

static void count_used(Encoder *encoder, Cuts cuts) {
    EncodeCounts *counts = &encoder->set->counts;
    counts->used++;
    counts->truncated += cuts.truncated > 0;
    counts->terminated += cuts.terminated > 0;
}

static bool keep_used(Encoder *encoder, Example *example, Cuts cuts, Error *err) {
    size_t before = encoder->set->examples;
    if (!keep(encoder, example, err)) {
        return false;
    }
    if (encoder->set->examples > before) {
        count_used(encoder, cuts);
    }
    return true;
}

/* Prompt with any number of completions. */
static bool encode_completions(Encoder *encoder, const Record *record, Error *err) {
    const EncodeOptions *options = encoder->options;
    Example example = {.record = record, .group = record_prompt_hash(record)};
    if (!layout_prompt(encoder->layout, encoder->tokenizer, record->message, record->messages,
                       &example.prompt, err)) {
        example_done(&example);
        return false;
    }
    size_t used = example.prompt.count;
    if (record->completions == 0) {
        return used > options->max_tokens ? drop_long(encoder, &example)
                                          : keep_used(encoder, &example, (Cuts){0}, err);
    }
    if (used >= options->max_tokens) {
        return drop_long(encoder, &example);
    }
    example.completion = mem_alloc(record->completions, sizeof *example.completion, err);
    if (example.completion == NULL) {
        example_done(&example);
        return false;
    }
    Cuts cuts = {0};
    for (size_t i = 0; i < record->completions; i++) {
        Tokens *ids = &example.completion[example.completions++];
        const char *text = record->completion[i];
        if (!layout_completion(encoder->layout, encoder->tokenizer, text, strlen(text),
                               options->append_eos, ids, err)) {
            example_done(&example);
            return false;
        }
        if (!fit(encoder, ids, options->max_tokens - used, &cuts)) {
            return drop_long(encoder, &example);
        }
    }
    return keep_used(encoder, &example, cuts, err);
}

static bool encode_conversation(Encoder *encoder, const Record *record, Error *err) {
    Example example = {.record = record, .group = record_prompt_hash(record)};
    if (!layout_conversation(encoder->layout, encoder->tokenizer, record->message, record->messages,
                             &example.prompt, &example.trained, err)) {
        example_done(&example);
        return false;
    }
    Cuts cuts = {0};
    if (!fit(encoder, &example.prompt, encoder->options->max_tokens, &cuts)) {
        return drop_long(encoder, &example);
    }
    size_t n = example.prompt.count;
    if (cuts.terminated > 0 && n >= 2) {
        example.trained[n - 1] = example.trained[n - 2];
    }
    if (encoder->options->loss_on_all) {
        memset(example.trained, 1, n);
    }
    return keep_used(encoder, &example, cuts, err);
}

/* A text to be classified, or with a score: the text and EOS, where the score is read. */
static bool encode_labeled_text(Encoder *encoder, const Record *record, Error *err) {
    Example example = {.record = record, .group = record_prompt_hash(record)};
    int32_t bos = tokenizer_bos(encoder->tokenizer);
    const char *text = record->message[0].text;
    const char *prefix = encoder->layout->framed ? encoder->layout->prefix : "";
    if ((encoder->layout->bos && bos >= 0 && !tokens_push(&example.prompt, bos, err)) ||
        !tokenizer_encode(encoder->tokenizer, prefix, strlen(prefix), true, &example.prompt, err) ||
        !layout_completion(encoder->layout, encoder->tokenizer, text, strlen(text),
                           encoder->options->append_eos, &example.prompt, err)) {
        example_done(&example);
        return false;
    }
    Cuts cuts = {0};
    if (!fit(encoder, &example.prompt, encoder->options->max_tokens, &cuts)) {
        return drop_long(encoder, &example);
    }
    if (example.prompt.count == 0) {
        encoder->set->counts.dropped_empty++;
        example_done(&example);
        return true;
    }
    return keep_used(encoder, &example, cuts, err);
}

/* One window of a text; all but its first id are trained. */
static bool add_window(Encoder *encoder, const Record *record, const int32_t *id, size_t n,
                       uint64_t group, Error *err) {
    Example example = {.record = record, .group = group};
    example.trained = mem_alloc(n, 1, err);
    if (example.trained == NULL || !tokens_append(&example.prompt, id, n, err)) {
        example_done(&example);
        return false;
    }
    memset(example.trained + 1, 1, n - 1);
    return keep(encoder, &example, err);
}

/* Windows of an encoder, each in the layout's frame; none overlap. */
static bool add_framed_windows(Encoder *encoder, const Record *record, const Tokens *ids,
                               uint64_t group, Error *err) {
    const char *literal = encoder->layout->prefix;
    size_t most = encoder->options->max_tokens;
    Tokens window = {0};
    bool ok = tokenizer_encode(encoder->tokenizer, literal, strlen(literal), true, &window, err);
    size_t prefix = window.count, frame = prefix + (encoder->eos >= 0);
    if (ok && frame >= most) {
        ok = error_set(err, ERROR_CONFIG, "room for %zu tokens; the layout's frame alone takes %zu",
                       most, frame);
    }
    for (size_t i = 0; ok && i < ids->count; i += most - frame) {
        size_t left = ids->count - i;
        window.count = prefix;
        ok = tokens_append(&window, ids->id + i, left < most - frame ? left : most - frame, err) &&
             (encoder->eos < 0 || tokens_push(&window, encoder->eos, err)) &&
             add_window(encoder, record, window.id, window.count, group, err);
    }
    tokens_done(&window);
    return ok;
}

/* Windows of the text and EOS, which overlap by one id, so that every id but the very first is trained
 * exactly once. */
static bool add_windows(Encoder *encoder, const Record *record, Tokens *ids, uint64_t group,
                        Error *err) {
    size_t window = encoder->options->max_tokens;
    bool ok = encoder->eos < 0 || tokens_push(ids, encoder->eos, err);
    for (size_t i = 0; ok && i + 1 < ids->count; i += window - 1) {
        size_t left = ids->count - i;
        ok = add_window(encoder, record, ids->id + i, left < window ? left : window, group, err);
    }
    return ok;
}

static bool encode_text(Encoder *encoder, const Record *record, Error *err) {
    Tokens ids = {0};
    const char *text = record->message[0].text;
    int32_t bos = tokenizer_bos(encoder->tokenizer);
    uint64_t group = record_prompt_hash(record);
    size_t before = encoder->set->examples;
    bool ok = (!encoder->layout->bos || bos < 0 || tokens_push(&ids, bos, err)) &&
              tokenizer_encode(encoder->tokenizer, text, strlen(text), false, &ids, err) &&
              (encoder->layout->framed ? add_framed_windows(encoder, record, &ids, group, err)
                                       : add_windows(encoder, record, &ids, group, err));
    if (ok && encoder->set->examples > before) {
        encoder->set->counts.used++;
    } else if (ok) {
        encoder->set->counts.dropped_empty++;
    }
    tokens_done(&ids);
    return ok;
}

static bool encode_record(Encoder *encoder, const Record *record, Error *err) {
    switch (record->kind) {
    case RECORD_TEXT:
        return encode_text(encoder, record, err);
    case RECORD_CONVERSATION:
        return encode_conversation(encoder, record, err);
    case RECORD_LABELED:
        return record->completions == 0 && record->messages == 1 &&
                       record->message[0].role == ROLE_PLAIN
                   ? encode_labeled_text(encoder, record, err)
                   : encode_completions(encoder, record, err);
    case RECORD_PROMPT:
    case RECORD_DEMONSTRATION:
    case RECORD_RANKING:
        break;
    }
    return encode_completions(encoder, record, err);
}

bool examples_encode(ExampleSet *set, const DataSet *data, const Tokenizer *tokenizer,
                     const Layout *layout, const EncodeOptions *options, Error *err) {
    *set = (ExampleSet){0};
    Encoder encoder = {set, tokenizer, layout, options, -1};
    if (options->max_tokens < 2) {
        return error_set(err, ERROR_CONFIG, "room for %zu tokens; expected at least 2",
                         options->max_tokens);
    }
    if (options->append_eos && !layout_eos(layout, tokenizer, &encoder.eos, err)) {
        return false;
    }
    set->counts.records = data->records;
    for (size_t i = 0; i < data->records; i++) {
        const Record *record = &data->record[i];
        if (!encode_record(&encoder, record, err)) {
            if (err != NULL && err->file[0] == '\0' && record->file != NULL) {
                error_wrap(err, "%s:%ld", record->file, record->line);
            }
            examples_done(set);
            return false;
        }
    }
    if (set->examples == 0) {
        Str text = {0};
        examples_describe(&set->counts, &text);
        error_at(err, ERROR_DATA, data->paths > 0 ? data->path[0] : NULL, 0, 0,
                 "no record is left to use: %s; expected some within %zu tokens (data.over_length "
                 "says what happens to longer ones)",
                 str_text(&text), options->max_tokens);
        str_done(&text);
        examples_done(set);
        return false;
    }
    return true;
}

void examples_filter(ExampleSet *set, ExampleTest *test, const void *context) {
    size_t kept = 0;
    for (size_t i = 0; i < set->examples; i++) {
        if (test(context, &set->example[i])) {
            set->example[kept++] = set->example[i];
        } else {
            example_done(&set->example[i]);
        }
    }
    set->examples = kept;
}

static void put_part(Str *out, const char *between, size_t n, const char *what) {
    if (n > 0) {
        str_append(out, between);
        dataset_put_count(out, n);
        str_append(out, what);
    }
}

void examples_describe(const EncodeCounts *counts, Str *out) {
    dataset_put_count(out, counts->records);
    str_append(out, counts->records == 1 ? " record: " : " records: ");
    dataset_put_count(out, counts->used);
    str_append(out, " used");
    put_part(out, ", ", counts->dropped_long, " too long (dropped)");
    put_part(out, ", ", counts->dropped_empty, " empty (dropped)");
    put_part(out, ", ", counts->truncated, " cut");
    put_part(out, ", ", counts->terminated, " cut and ended");
    str_append(out, "; ");
    dataset_put_count(out, counts->tokens);
    str_append(out, " tokens, ");
    dataset_put_count(out, counts->trained_tokens);
    str_append(out, " trained, longest ");
    dataset_put_count(out, counts->longest);
}

static bool has_prefix(const Example *example, bool shared) {
    return shared && example->completions > 1 && example->prompt.count > 1;
}

size_t example_rows(const Example *example, bool shared) {
    size_t prompt = example->prompt.count, rows = 0;
    bool prefix = has_prefix(example, shared);
    for (size_t i = 0; i < example->completions; i++) {
        rows += example->completion[i].count + (prefix ? 1 : prompt);
    }
    return rows + (prefix ? prompt - 1 : example->completions == 0 ? prompt : 0);
}

/* The rows of a sequence of a batch, filled from the first one on. */
typedef struct Rows {
    int32_t *id, *target;
    size_t count;
} Rows;

static bool begin_rows(Rows *rows, Batch *batch, size_t n, int32_t prefix, uint64_t key,
                       size_t *index, Error *err) {
    if (!batch_append(batch, n, prefix, key, index, err)) {
        return false;
    }
    size_t start = batch->start[*index];
    *rows = (Rows){batch->id + start, batch->target + start, 0};
    return true;
}

/* Adds ids; the row before each gets it as target where `trained` (NULL: everywhere or nowhere). */
static void put_rows(Rows *rows, const int32_t *id, size_t n, bool all, const uint8_t *trained) {
    for (size_t i = 0; i < n; i++) {
        bool is_target = all || (trained != NULL && trained[i] != 0);
        if (is_target && rows->count > 0) {
            rows->target[rows->count - 1] = id[i];
        }
        rows->id[rows->count++] = id[i];
    }
}

bool example_add(const Example *example, bool shared, bool loss_on_all, Batch *batch, size_t *first,
                 Error *err) {
    const int32_t *prompt = example->prompt.id;
    size_t n = example->prompt.count, index;
    int32_t prefix = BATCH_NO_PREFIX;
    Rows rows;
    *first = batch->sequences;
    if (example->completions == 0) {
        if (!begin_rows(&rows, batch, n, prefix, random_mix(example->key, 0), &index, err)) {
            return false;
        }
        put_rows(&rows, prompt, n, loss_on_all && example->trained != NULL, example->trained);
        return true;
    }
    if (has_prefix(example, shared)) {
        if (!begin_rows(&rows, batch, n - 1, prefix, random_mix(example->key, 0), &index, err)) {
            return false;
        }
        put_rows(&rows, prompt, n - 1, loss_on_all, NULL);
        if (loss_on_all) {
            rows.target[n - 2] = prompt[n - 1];
        }
        prefix = (int32_t)index;
    }
    for (size_t i = 0; i < example->completions; i++) {
        const Tokens *completion = &example->completion[i];
        bool whole = prefix == BATCH_NO_PREFIX;
        if (!begin_rows(&rows, batch, (whole ? n : 1) + completion->count, prefix,
                        random_mix(example->key, i + 1), &index, err)) {
            return false;
        }
        put_rows(&rows, whole ? prompt : prompt + n - 1, whole ? n : 1, whole && loss_on_all, NULL);
        put_rows(&rows, completion->id, completion->count, true, NULL);
    }
    return true;
}

size_t example_order(uint64_t seed, uint64_t epoch, size_t examples, size_t i) {
    Random stream = random_stream(seed, RANDOM_SHUFFLE, epoch, 0);
    return (size_t)random_permute(&stream, examples, i);
}
