/* SPDX-License-Identifier: MIT
 *
 * Rankings that nobody had to make: what a person wrote for a prompt stands above what people wrote for
 * other, similar prompts. Pre-training of preference models on ready-made comparisons is Askell et al.
 * 2021 (arXiv 2112.00861, section 4); similar prompts make the comparison hard, so that it turns on what
 * the completion says about its prompt.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "reward/reward.h"

enum {
    NEGATIVES = 3,     /* completions of other prompts in a ranking */
    NEAR = 10,         /* the prompts that are most similar, from which these are drawn */
    CANDIDATES = 2000, /* other prompts that are looked at */
    REPEATS = 4,       /* rankings of each prompt */
};

/* A prompt with its demonstrations: records record[0 .. records) of the sorted list. */
typedef struct Topic {
    const Record **record;
    size_t records;
    uint64_t *word; /* [words] hashes, sorted; owned */
    size_t words;
} Topic;

typedef struct Topics {
    const Record **record; /* [demonstrations], by prompt */
    Topic *topic;
    size_t topics;
} Topics;

typedef struct Neighbor {
    double similarity;
    size_t topic;
} Neighbor;

static void topics_done(Topics *topics) {
    for (size_t i = 0; i < topics->topics; i++) {
        free(topics->topic[i].word);
    }
    free(topics->topic);
    free(topics->record);
}

static int compare_prompts(const void *a, const void *b) {
    const Record *x = *(const Record *const *)a, *y = *(const Record *const *)b;
    uint64_t p = record_prompt_hash(x), q = record_prompt_hash(y);
    return p != q ? (p < q ? -1 : 1) : (x > y) - (x < y);
}

static int compare_words(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (unsigned char)c >= 128;
}

/* Runs of letters and digits of all messages. */
static bool read_words(Topic *topic, Error *err) {
    size_t capacity = 0;
    const Record *record = topic->record[0];
    for (size_t m = 0; m < record->messages; m++) {
        const char *text = record->message[m].text;
        for (size_t i = 0, n; text[i] != '\0'; i += n) {
            for (n = 0; is_word(text[i + n]); n++) {
            }
            if (n == 0) {
                n = 1;
                continue;
            }
            if (!mem_reserve(&topic->word, &capacity, topic->words + 1, sizeof *topic->word, err)) {
                return false;
            }
            topic->word[topic->words++] = hash_bytes(text + i, n);
        }
    }
    if (topic->words > 0) {
        qsort(topic->word, topic->words, sizeof *topic->word, compare_words);
    }
    return true;
}

/* Shared words over all words, repeated ones counted as often as they occur. */
static double similarity(const Topic *a, const Topic *b) {
    size_t i = 0, k = 0, shared = 0;
    while (i < a->words && k < b->words) {
        if (a->word[i] == b->word[k]) {
            shared++, i++, k++;
        } else if (a->word[i] < b->word[k]) {
            i++;
        } else {
            k++;
        }
    }
    return (double)shared / (double)(a->words + b->words - shared + 1);
}

static bool collect_topics(Topics *topics, const DataSet *data, Error *err) {
    topics->record = mem_alloc(data->records, sizeof *topics->record, err);
    topics->topic = mem_alloc(data->records, sizeof *topics->topic, err);
    if (topics->record == NULL || topics->topic == NULL) {
        return false;
    }
    for (size_t i = 0; i < data->records; i++) {
        topics->record[i] = &data->record[i];
    }
    qsort(topics->record, data->records, sizeof *topics->record, compare_prompts);
    for (size_t i = 0; i < data->records; i++) {
        if (i == 0 ||
            record_prompt_hash(topics->record[i]) != record_prompt_hash(topics->record[i - 1])) {
            topics->topic[topics->topics++].record = topics->record + i;
        }
        topics->topic[topics->topics - 1].records++;
    }
    for (size_t i = 0; i < topics->topics; i++) {
        if (!read_words(&topics->topic[i], err)) {
            return false;
        }
    }
    return topics->topics > NEAR ||
           error_set(err, ERROR_DATA,
                     "reward.contrast holds demonstrations of %zu prompts; "
                     "contrasting them takes more than %d",
                     topics->topics, (int)NEAR);
}

/* The NEAR most similar topics among at most CANDIDATES others. */
static void find_near(const Topics *topics, size_t which, const Random *random,
                      Neighbor near[NEAR]) {
    size_t n = topics->topics, looked = 0, found = 0;
    for (size_t i = 0; i < n && looked < CANDIDATES; i++) {
        size_t other = random_permute(random, n, i);
        if (other == which) {
            continue;
        }
        looked++;
        Neighbor here = {similarity(&topics->topic[which], &topics->topic[other]), other};
        size_t at = found < NEAR ? found++ : NEAR;
        while (at > 0 && near[at - 1].similarity < here.similarity) {
            if (at < NEAR) {
                near[at] = near[at - 1];
            }
            at--;
        }
        if (at < NEAR) {
            near[at] = here;
        }
    }
}

static bool copy_prompt(Record *record, const Record *from, Error *err) {
    record->message = mem_alloc(from->messages, sizeof *record->message, err);
    for (size_t i = 0; record->message != NULL && i < from->messages; i++) {
        record->message[i] =
            (Message){from->message[i].role, mem_strdup(from->message[i].text, err)};
        record->messages = i + 1;
        if (record->message[i].text == NULL) {
            return false;
        }
    }
    return record->message != NULL;
}

static const char *any_completion(const Topic *topic, const Random *random, uint64_t draw) {
    return topic->record[random_below(random, draw, topic->records)]->completion[0];
}

/* Ranking `repeat` of a topic: its own completion at a random place, rank 1, the others rank 2. */
static bool make_record(Record *record, const Topics *topics, size_t which, size_t repeat,
                        const Neighbor near[NEAR], uint64_t seed, Error *err) {
    const Topic *topic = &topics->topic[which];
    Random random = random_stream(seed, RANDOM_CONTRAST, which, 1 + repeat);
    *record = (Record){
        .kind = RECORD_RANKING, .file = topic->record[0]->file, .line = topic->record[0]->line};
    record->completion = mem_alloc(NEGATIVES + 1, sizeof *record->completion, err);
    record->rank = mem_alloc(NEGATIVES + 1, sizeof *record->rank, err);
    if (record->completion == NULL || record->rank == NULL ||
        !copy_prompt(record, topic->record[0], err)) {
        return false;
    }
    size_t own = random_below(&random, 0, NEGATIVES + 1), first = random_below(&random, 1, NEAR);
    for (size_t i = 0; i <= NEGATIVES; i++) {
        const Topic *from = &topics->topic[near[(first + i) % NEAR].topic];
        const char *text = any_completion(i == own ? topic : from, &random, 2 + i);
        record->rank[i] = i == own ? 1 : 2;
        record->completion[i] = mem_strdup(text, err);
        record->completions = i + 1;
        if (record->completion[i] == NULL) {
            return false;
        }
    }
    return true;
}

bool reward_contrast_build(DataSet *set, const DataSet *demonstrations, uint64_t seed, Error *err) {
    Topics topics = {0};
    *set = (DataSet){0};
    bool ok = collect_topics(&topics, demonstrations, err);
    for (size_t i = 0; ok && i < topics.topics; i++) {
        Neighbor near[NEAR];
        Random random = random_stream(seed, RANDOM_CONTRAST, i, 0);
        find_near(&topics, i, &random, near);
        for (size_t k = 0; ok && k < REPEATS; k++) {
            ok = mem_reserve(&set->record, &set->capacity, set->records + 1, sizeof *set->record,
                             err) &&
                 make_record(&set->record[set->records++], &topics, i, k, near, seed, err);
        }
    }
    topics_done(&topics);
    if (!ok) {
        dataset_done(set);
    }
    return ok;
}
