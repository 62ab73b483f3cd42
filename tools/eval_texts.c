/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "tools/eval.h"

bool eval_metric(EvalMetrics *metrics, MetricForm form, const char *key, const char *label,
                 double value, Error *err) {
    if (!mem_reserve(&metrics->metric, &metrics->capacity, metrics->count + 1,
                     sizeof *metrics->metric, err)) {
        return false;
    }
    EvalMetric *metric = &metrics->metric[metrics->count++];
    *metric = (EvalMetric){.form = form, .value = value};
    snprintf(metric->key, sizeof metric->key, "%s", key);
    snprintf(metric->label, sizeof metric->label, "%s", label);
    return true;
}

void eval_metrics_done(EvalMetrics *metrics) {
    free(metrics->metric);
    *metrics = (EvalMetrics){0};
}

/* "finish" and "tokens" of a row as rlhf-generate writes it. */
static bool read_extra(EvalText *text, Error *err) {
    text->finished = true;
    const Record *record = text->record;
    cJSON *tree = json_parse(record->extra, strlen(record->extra), record->file, record->line,
                             &json_limits_line, err);
    if (tree == NULL) {
        return false;
    }
    const char *finish = json_string(json_member(tree, "finish"));
    text->finished = finish == NULL || strcmp(finish, "length") != 0;
    const cJSON *tokens = json_member(tree, "tokens");
    const cJSON *item = cJSON_IsArray(tokens) ? tokens->child : NULL;
    bool ok = true;
    for (; ok && item != NULL; item = item->next) {
        int64_t id;
        ok = json_integer(item, 0, INT32_MAX, &id)
                 ? tokens_push(&text->ids, (int32_t)id, err)
                 : error_at(err, ERROR_DATA, record->file, record->line, 0,
                            "\"tokens\" holds something else than ids; expected whole numbers");
    }
    cJSON_Delete(tree);
    return ok;
}

static bool add_texts(EvalFile *file, Error *err) {
    size_t n = 0;
    for (size_t i = 0; i < file->data.records; i++) {
        n += file->data.record[i].completions;
    }
    file->text = mem_alloc(n, sizeof *file->text, err);
    if (file->text == NULL) {
        return false;
    }
    for (size_t i = 0; i < file->data.records; i++) {
        const Record *record = &file->data.record[i];
        for (size_t k = 0; k < record->completions; k++) {
            EvalText *text = &file->text[file->texts++];
            *text = (EvalText){.record = record,
                               .text = record->completion[k],
                               .group = record_prompt_hash(record),
                               .finished = true};
            if (record->completions == 1 && !read_extra(text, err)) {
                return false;
            }
        }
    }
    return true;
}

static const EvalText *sorted_texts; /* for qsort; this program has one thread here */

static int compare_texts(const void *a, const void *b) {
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    const EvalText *x = &sorted_texts[i], *y = &sorted_texts[j];
    return x->group != y->group ? (x->group > y->group) - (x->group < y->group) : (i > j) - (i < j);
}

/* Numbers the samples of each prompt and sorts them together. */
static bool order_texts(EvalFile *file, Error *err) {
    file->order = mem_alloc(file->texts, sizeof *file->order, err);
    if (file->order == NULL) {
        return false;
    }
    for (size_t i = 0; i < file->texts; i++) {
        file->order[i] = i;
    }
    sorted_texts = file->text;
    qsort(file->order, file->texts, sizeof *file->order, compare_texts);
    for (size_t i = 0; i < file->texts; i++) {
        EvalText *text = &file->text[file->order[i]];
        const EvalText *last = i > 0 ? &file->text[file->order[i - 1]] : NULL;
        bool same = last != NULL && last->group == text->group;
        text->sample = same ? last->sample + 1 : 0;
        file->prompts += !same;
    }
    return true;
}

void eval_short_name(const char *path, char name[EVAL_NAME]) {
    const char *end = path + strlen(path), *begin;
    for (;;) {
        while (end > path && end[-1] == '/') {
            end--;
        }
        begin = end;
        while (begin > path && begin[-1] != '/') {
            begin--;
        }
        size_t n = (size_t)(end - begin);
        bool dull = (n == 5 && memcmp(begin, "model", 5) == 0) || (n == 1 && *begin == '.');
        if (!dull || begin == path) {
            break;
        }
        end = begin;
    }
    snprintf(name, EVAL_NAME, "%.*s", (int)(end - begin), begin);
}

bool eval_file_read(EvalFile *file, const char *operand, const DataColumns *columns, Error *err) {
    *file = (EvalFile){0};
    const char *equals = strchr(operand, '=');
    const char *path = equals != NULL && !file_exists(operand) ? equals + 1 : operand;
    if (path != operand) {
        snprintf(file->name, sizeof file->name, "%.*s", (int)(equals - operand), operand);
    } else {
        eval_short_name(path, file->name);
        char *dot = strstr(file->name, ".json");
        if (dot != NULL && dot > file->name) {
            *dot = '\0';
        }
    }
    file->path = mem_strdup(path, err);
    DataOptions options = {.accept = 1u << RECORD_DEMONSTRATION | 1u << RECORD_RANKING,
                           .columns = *columns,
                           .unranked = true,
                           .keep_extra = true};
    StringList list = {&file->path, 1};
    if (file->path == NULL || !dataset_read(&file->data, &list, &options, err) ||
        !add_texts(file, err) || !order_texts(file, err)) {
        eval_file_done(file);
        return false;
    }
    return true;
}

void eval_file_done(EvalFile *file) {
    for (size_t i = 0; i < file->texts; i++) {
        tokens_done(&file->text[i].ids);
    }
    for (size_t i = 0; i < file->best_ofs; i++) {
        eval_metrics_done(&file->best_of[i]);
    }
    eval_metrics_done(&file->metrics);
    dataset_done(&file->data);
    free(file->best_of);
    free(file->order);
    free(file->text);
    free(file->path);
    *file = (EvalFile){0};
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t count_distinct(uint64_t *hash, size_t n) {
    qsort(hash, n, sizeof *hash, compare_numbers);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++) {
        distinct += i == 0 || hash[i] != hash[i - 1];
    }
    return distinct;
}

/* Words between blanks; hashes of pairs of neighbors go to `pairs`. */
static size_t count_words(const char *text, uint64_t *pairs, size_t *pair_count) {
    size_t words = 0;
    uint64_t last = 0;
    for (const char *at = text;;) {
        while (isspace((unsigned char)*at)) {
            at++;
        }
        const char *end = at;
        while (*end != '\0' && !isspace((unsigned char)*end)) {
            end++;
        }
        if (end == at) {
            return words;
        }
        uint64_t word = hash_bytes(at, (size_t)(end - at));
        if (words++ > 0) {
            pairs[(*pair_count)++] = random_mix(last, word);
        }
        last = word;
        at = end;
    }
}

bool eval_describe(EvalFile *file, Error *err) {
    size_t bytes = 0, words = 0, pairs = 0, ids = 0, with_ids = 0, unfinished = 0;
    for (size_t i = 0; i < file->texts; i++) {
        const EvalText *text = &file->text[i];
        bytes += strlen(text->text);
        ids += text->ids.count;
        with_ids += text->ids.count > 0;
        unfinished += !text->finished;
    }
    uint64_t *hash = mem_alloc(mem_add(bytes, file->texts), sizeof *hash, err);
    if (hash == NULL) {
        return false;
    }
    for (size_t i = 0; i < file->texts; i++) {
        hash[i] = hash_bytes(file->text[i].text, strlen(file->text[i].text));
    }
    double n = (double)file->texts;
    double distinct = (double)count_distinct(hash, file->texts) / n;
    for (size_t i = 0; i < file->texts; i++) {
        words += count_words(file->text[i].text, hash, &pairs);
    }
    double distinct_pairs = pairs == 0 ? 1 : (double)count_distinct(hash, pairs) / (double)pairs;
    free(hash);
    EvalMetrics *metrics = &file->metrics;
    return eval_metric(metrics, METRIC_COUNT, "texts", "texts", n, err) &&
           eval_metric(metrics, METRIC_COUNT, "prompts", "prompts", (double)file->prompts, err) &&
           eval_metric(metrics, METRIC_SHARE, "distinct", "distinct texts", distinct, err) &&
           eval_metric(metrics, METRIC_SHARE, "distinct_word_pairs", "distinct word pairs",
                       distinct_pairs, err) &&
           eval_metric(metrics, METRIC_NUMBER, "words", "words a text", (double)words / n, err) &&
           (with_ids < file->texts ||
            eval_metric(metrics, METRIC_NUMBER, "tokens", "tokens a text", (double)ids / n, err)) &&
           eval_metric(metrics, METRIC_SHARE, "unfinished", "unfinished texts",
                       (double)unfinished / n, err);
}

bool eval_facts(EvalFile *file, const FactTable *table, Error *err) {
    double given = 0, missing = 0, invented = 0;
    size_t lacking = 0, inventing = 0, right = 0;
    for (size_t i = 0; i < file->texts; i++) {
        EvalText *text = &file->text[i];
        const Record *record = text->record;
        if (!facts_judge(table, record->message[0].text, text->text, &text->facts, NULL, err)) {
            return err->code == ERROR_DATA && error_wrap(err, "%s:%ld", file->path, record->line);
        }
        given += (double)text->facts.given;
        missing += (double)text->facts.missing;
        invented += (double)text->facts.invented;
        lacking += text->facts.missing > 0;
        inventing += text->facts.invented > 0;
        right += text->facts.missing + text->facts.invented == 0;
    }
    double n = (double)file->texts;
    EvalMetrics *metrics = &file->metrics;
    return eval_metric(metrics, METRIC_SHARE, "facts/kept", "facts kept", 1 - missing / given,
                       err) &&
           eval_metric(metrics, METRIC_NUMBER, "facts/missing", "missing facts a text", missing / n,
                       err) &&
           eval_metric(metrics, METRIC_NUMBER, "facts/invented", "invented facts a text",
                       invented / n, err) &&
           eval_metric(metrics, METRIC_SHARE, "facts/texts_missing", "texts that miss a fact",
                       (double)lacking / n, err) &&
           eval_metric(metrics, METRIC_SHARE, "facts/texts_invented", "texts that invent one",
                       (double)inventing / n, err) &&
           eval_metric(metrics, METRIC_SHARE, "facts/texts_right", "texts with all and no other",
                       (double)right / n, err);
}

/* Higher is better. */
static double merit(const EvalText *text, int judge) {
    return judge >= 0 ? text->reward[judge] : -(double)(text->facts.missing + text->facts.invented);
}

bool eval_wins(EvalFile *file, const EvalFile *other, int judge, const char *key, const char *label,
               Error *err) {
    double won = 0, compared = 0;
    for (size_t i = 0, j = 0; i < file->texts && j < other->texts;) { /* both are sorted */
        const EvalText *mine = &file->text[file->order[i]];
        const EvalText *theirs = &other->text[other->order[j]];
        int order = (mine->group > theirs->group) - (mine->group < theirs->group);
        if (order == 0) {
            order = (mine->sample > theirs->sample) - (mine->sample < theirs->sample);
        }
        if (order == 0) {
            double a = merit(mine, judge), b = merit(theirs, judge);
            won += a > b ? 1 : a == b ? 0.5 : 0;
            compared++;
        }
        i += order <= 0;
        j += order >= 0;
    }
    if (compared == 0) {
        return error_set(err, ERROR_DATA,
                         "%s and %s share no prompt; expected outputs for the same prompts",
                         file->path, other->path);
    }
    return eval_metric(&file->metrics, METRIC_SHARE, key, label, won / compared, err);
}

static int best_judge; /* for qsort */

static int compare_rewards(const void *a, const void *b) {
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    double x = sorted_texts[i].reward[best_judge], y = sorted_texts[j].reward[best_judge];
    return x != y ? (x < y) - (x > y) : (i > j) - (i < j);
}

typedef struct BestSums {
    double reward, kept, missing, invented, right;
} BestSums;

/* One prompt's samples, best first: sample i is the best of n drawn from N without replacement with
 * probability C(N - 1 - i, n - 1) / C(N, n). */
static void add_best(const EvalFile *file, const size_t *sorted, size_t samples, size_t n,
                     BestSums *sums) {
    double p = (double)n / (double)samples;
    for (size_t i = 0; i + n <= samples; i++) {
        const EvalText *text = &file->text[sorted[i]];
        const FactReport *facts = &text->facts;
        sums->reward += p * text->reward[best_judge];
        sums->missing += p * (double)facts->missing;
        sums->invented += p * (double)facts->invented;
        sums->right += p * (facts->missing + facts->invented == 0);
        sums->kept +=
            facts->given == 0 ? 0 : p * (1 - (double)facts->missing / (double)facts->given);
        if (i + n < samples) {
            p *= (double)(samples - i - n) / (double)(samples - i - 1);
        }
    }
}

static bool put_best(EvalFile *file, size_t n, const BestSums *sums, bool facts, Error *err) {
    EvalMetrics *metrics = &file->best_of[file->best_ofs++];
    double prompts = (double)file->prompts;
    bool ok = eval_metric(metrics, METRIC_COUNT, "n", "best of", (double)n, err) &&
              eval_metric(metrics, METRIC_NUMBER, "kl", "KL",
                          log((double)n) - ((double)n - 1) / (double)n, err) &&
              eval_metric(metrics, METRIC_NUMBER, "reward", "reward", sums->reward / prompts, err);
    if (ok && facts) {
        ok = eval_metric(metrics, METRIC_SHARE, "facts/kept", "facts kept", sums->kept / prompts,
                         err) &&
             eval_metric(metrics, METRIC_NUMBER, "facts/missing", "missing",
                         sums->missing / prompts, err) &&
             eval_metric(metrics, METRIC_NUMBER, "facts/invented", "invented",
                         sums->invented / prompts, err) &&
             eval_metric(metrics, METRIC_SHARE, "facts/texts_right", "all right",
                         sums->right / prompts, err);
    }
    return ok;
}

static size_t samples_from(const EvalFile *file, size_t i) {
    size_t n = 1;
    while (i + n < file->texts && file->text[file->order[i + n]].sample > 0) {
        n++;
    }
    return n;
}

bool eval_best_of(EvalFile *file, int judge, bool facts, Error *err) {
    size_t least = file->texts, sizes = 0;
    for (size_t i = 0, n; i < file->texts; i += n) {
        n = samples_from(file, i);
        least = n < least ? n : least;
    }
    for (size_t n = 1; n <= least; n *= 2) {
        sizes++;
    }
    if (least < 2) {
        return error_set(err, ERROR_DATA,
                         "%s has a prompt with one text only; expected several of each for "
                         "best-of-n (rlhf-generate --samples)",
                         file->path);
    }
    size_t *sorted = mem_alloc(file->texts, sizeof *sorted, err);
    file->best_of = mem_alloc(sizes, sizeof *file->best_of, err);
    bool ok = sorted != NULL && file->best_of != NULL;
    sorted_texts = file->text;
    best_judge = judge;
    if (ok) {
        memcpy(sorted, file->order, file->texts * sizeof *sorted);
        for (size_t i = 0, n; i < file->texts; i += n) {
            n = samples_from(file, i);
            qsort(sorted + i, n, sizeof *sorted, compare_rewards);
        }
    }
    for (size_t n = 1; ok && n <= least; n *= 2) {
        BestSums sums = {0};
        for (size_t i = 0, samples; i < file->texts; i += samples) {
            samples = samples_from(file, i);
            add_best(file, sorted + i, samples, n, &sums);
        }
        ok = put_best(file, n, &sums, facts, err);
    }
    free(sorted);
    return ok;
}
