/* SPDX-License-Identifier: MIT
 *
 * Examples: ids, rows and targets of every kind of record; what happens to the over-long; the order.
 */
#include "tests/support/support.h"

#include <stdlib.h>
#include <string.h>

#include "datasets/example.h"

enum { ANY = 0x3f };

static Tokenizer *tokenizer; /* bytes only: one id a byte, EOS is id 0 */
static Layout layout;
static int32_t eos;

static int set_up(void **state) {
    (void)state;
    Error err = {0};
    const char *special[] = {"<|endoftext|>"};
    TokenizerTraining options = {.vocabulary = 257,
                                 .minimum_count = 2,
                                 .special = special,
                                 .specials = 1,
                                 .eos = special[0]};
    TokenizerTrainer *trainer = tokenizer_trainer_create(&err);
    assert_ok(trainer != NULL, &err);
    assert_ok(tokenizer_trainer_feed(trainer, "ab", 2, &err), &err);
    tokenizer = tokenizer_trainer_finish(trainer, &options, &err);
    assert_ok(tokenizer != NULL, &err);
    tokenizer_trainer_free(trainer);
    assert_ok(layout_init(&layout, "plain", &err), &err);
    assert_ok(layout_eos(&layout, tokenizer, &eos, &err), &err);
    assert_int_equal(eos, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tokenizer_free(tokenizer);
    layout_done(&layout);
    return 0;
}

static void read_lines(const char *text, DataSet *set) {
    Error err = {0};
    const char *path = test_file(test_folder(), "x.jsonl", text, strlen(text));
    char *files[1] = {(char *)(uintptr_t)path};
    StringList list = {files, 1};
    DataOptions options = {.accept = ANY};
    assert_ok(dataset_read(set, &list, &options, &err), &err);
}

/* Ids as text, EOS as '$', '\n' as '/', no target as '.'. */
static void put_ids(const int32_t *id, size_t n, Str *out) {
    Error err = {0};
    for (size_t i = 0; i < n; i++) {
        if (id[i] == BATCH_NO_TARGET) {
            str_append_char(out, '.');
        } else if (id[i] == eos) {
            str_append_char(out, '$');
        } else {
            Str one = {0};
            assert_ok(tokenizer_decode(tokenizer, &id[i], 1, false, false, &one, &err), &err);
            str_append_char(out, one.data[0] == '\n' ? '/' : one.data[0]);
            str_done(&one);
        }
    }
}

static void put_batch(const Batch *batch, Str *out) {
    for (size_t s = 0; s < batch->sequences; s++) {
        size_t from = batch->start[s], n = batch->start[s + 1] - from;
        str_appendf(out, "%s%d:", s > 0 ? " " : "", (int)batch->prefix[s]);
        put_ids(batch->id + from, n, out);
        str_append(out, ">");
        put_ids(batch->target + from, n, out);
    }
}

static void expect_batch(const char *line, bool shared, bool all, const char *want) {
    DataSet data;
    ExampleSet set;
    Error err = {0};
    read_lines(line, &data);
    EncodeOptions options = {.max_tokens = 64, .append_eos = true, .loss_on_all = all};
    assert_ok(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err);
    Batch batch;
    assert_ok(batch_init(&batch, 8, 1, &err), &err);
    size_t first = 99, rows = 0;
    for (size_t i = 0; i < set.examples; i++) {
        assert_ok(example_add(&set.example[i], shared, all, &batch, &first, &err), &err);
        rows += example_rows(&set.example[i], shared);
    }
    assert_int_equal(rows, batch.tokens);
    assert_true(batch_is_valid(&batch, 257, 64));
    Str got = {0};
    put_batch(&batch, &got);
    assert_string_equal(str_text(&got), want);
    str_done(&got);
    batch_done(&batch);
    examples_done(&set);
    dataset_done(&data);
}

static void test_rows_and_targets(void **state) {
    (void)state;
    const char *one = "{\"prompt\":\"pq\",\"completion\":\"ab\"}";
    expect_batch(one, false, false, "-1:pq/ab$>..ab$.");
    expect_batch(one, true, false, "-1:pq/ab$>..ab$."); /* one completion needs no prefix */
    expect_batch(one, false, true, "-1:pq/ab$>q/ab$.");
    const char *two = "{\"prompt\":\"pq\",\"completions\":[\"ab\",\"\"],\"ranks\":[1,2]}";
    expect_batch(two, false, false, "-1:pq/ab$>..ab$. -1:pq/$>..$.");
    expect_batch(two, true, false, "-1:pq>.. 0:/ab$>ab$. 0:/$>$.");
    expect_batch(two, true, true, "-1:pq>q/ 0:/ab$>ab$. 0:/$>$.");
    /* a prompt of one id has no prefix */
    expect_batch("{\"prompt\":\"\",\"completions\":[\"a\",\"b\"],\"ranks\":[1,2]}", true, false,
                 "-1:/a$>a$. -1:/b$>b$.");
    expect_batch("{\"prompt\":\"pq\"}", true, false, "-1:pq/>...");
    expect_batch("{\"text\":\"abc\"}", false, false, "-1:abc$>bc$.");
    expect_batch("{\"text\":\"abc\",\"label\":1}", false, false, "-1:abc$>....");
    expect_batch("{\"prompt\":\"p\",\"completion\":\"c\",\"label\":1}", false, false,
                 "-1:p/c$>.c$.");
    /* several records in one batch */
    expect_batch("{\"prompt\":\"p\",\"completion\":\"a\"}\n{\"prompt\":\"q\",\"completion\":\"b\"}",
                 false, false, "-1:p/a$>.a$. -1:q/b$>.b$.");
}

static void test_conversation(void **state) {
    (void)state;
    DataSet data;
    ExampleSet set;
    Error err = {0};
    read_lines("{\"messages\":[{\"role\":\"user\",\"content\":\"uv\"},"
               "{\"role\":\"assistant\",\"content\":\"ab\"}]}",
               &data);
    EncodeOptions options = {.max_tokens = 64, .append_eos = true};
    assert_ok(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err);
    const Example *example = &set.example[0];
    Batch batch;
    size_t first;
    assert_ok(batch_init(&batch, 8, 1, &err), &err);
    assert_ok(example_add(example, true, false, &batch, &first, &err), &err);
    assert_int_equal(batch.sequences, 1);
    size_t trained = 0;
    for (size_t t = 0; t < batch.tokens; t++) {
        int32_t want =
            t + 1 < batch.tokens && example->trained[t + 1] ? batch.id[t + 1] : BATCH_NO_TARGET;
        assert_int_equal(batch.target[t], want);
        trained += want != BATCH_NO_TARGET;
    }
    assert_int_equal(trained, 3); /* a, b, EOS */
    assert_int_equal(set.counts.trained_tokens, 3);
    batch_done(&batch);
    examples_done(&set);
    dataset_done(&data);
}

static void expect_long(const char *line, size_t room, OverLength policy, const char *want,
                        EncodeCounts counts) {
    DataSet data;
    ExampleSet set = {0};
    Error err = {0};
    read_lines(line, &data);
    EncodeOptions options = {.max_tokens = room, .append_eos = true, .over_length = policy};
    bool ok = examples_encode(&set, &data, tokenizer, &layout, &options, &err);
    Str got = {0};
    if (ok) {
        put_ids(set.example[0].prompt.id, set.example[0].prompt.count, &got);
        for (size_t i = 0; i < set.example[0].completions; i++) {
            str_append(&got, "|");
            put_ids(set.example[0].completion[i].id, set.example[0].completion[i].count, &got);
        }
        assert_int_equal(set.counts.used, counts.used);
        assert_int_equal(set.counts.dropped_long, counts.dropped_long);
        assert_int_equal(set.counts.truncated, counts.truncated);
        assert_int_equal(set.counts.terminated, counts.terminated);
    } else {
        assert_int_equal(err.code, ERROR_DATA);
        str_append(&got, "none");
    }
    assert_string_equal(str_text(&got), want);
    str_done(&got);
    examples_done(&set);
    dataset_done(&data);
}

static void test_over_length(void **state) {
    (void)state;
    const char *two = "{\"prompt\":\"p\",\"completion\":\"abcdef\"}\n"
                      "{\"prompt\":\"p\",\"completion\":\"ab\"}";
    EncodeCounts whole = {.used = 2}, dropped = {.used = 1, .dropped_long = 1};
    EncodeCounts cut = {.used = 2, .truncated = 1}, ended = {.used = 2, .terminated = 1};
    expect_long(two, 9, OVER_LENGTH_DROP, "p/|abcdef$", whole); /* exactly full */
    expect_long(two, 8, OVER_LENGTH_DROP, "p/|ab$", dropped);
    expect_long(two, 8, OVER_LENGTH_TRUNCATE, "p/|abcdef", cut);
    expect_long(two, 6, OVER_LENGTH_TRUNCATE, "p/|abcd", cut);
    expect_long(two, 6, OVER_LENGTH_TERMINATE, "p/|abc$", ended);
    /* a prompt too long for any completion drops the record whatever the policy */
    const char *line =
        "{\"prompt\":\"pqrst\",\"completion\":\"a\"}\n{\"prompt\":\"\",\"completion\":"
        "\"b\"}";
    EncodeCounts one = {.used = 1, .dropped_long = 1};
    for (OverLength policy = OVER_LENGTH_DROP; policy <= OVER_LENGTH_TERMINATE; policy++) {
        expect_long(line, 6, policy, "/|b$", one);
    }
    expect_long("{\"prompt\":\"pqrst\",\"completion\":\"a\"}", 6, OVER_LENGTH_TRUNCATE, "none",
                (EncodeCounts){0});
    /* a prompt alone may fill its room */
    expect_long("{\"prompt\":\"pqrst\"}\n{\"prompt\":\"pqrstu\"}", 6, OVER_LENGTH_TRUNCATE,
                "pqrst/", one);
    /* one completion that is too long drops a ranking, or is cut */
    const char *ranking = "{\"prompt\":\"p\",\"completions\":[\"abcde\",\"x\"],\"ranks\":[1,2]}\n"
                          "{\"prompt\":\"p\",\"completions\":[\"a\",\"x\"],\"ranks\":[1,2]}";
    expect_long(ranking, 6, OVER_LENGTH_DROP, "p/|a$|x$", dropped);
    expect_long(ranking, 6, OVER_LENGTH_TERMINATE, "p/|abc$|x$", ended);
}

static void test_counts(void **state) {
    (void)state;
    DataSet data;
    ExampleSet set;
    Error err = {0};
    read_lines("{\"prompt\":\"p\",\"completion\":\"ab\"}\n{\"prompt\":\"pq\",\"completion\":\"\"}\n"
               "{\"prompt\":\"p\",\"completion\":\"abcdefghijkl\"}",
               &data);
    EncodeOptions options = {.max_tokens = 10, .append_eos = true};
    assert_ok(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err);
    Str text = {0};
    examples_describe(&set.counts, &text);
    assert_string_equal(str_text(&text), "3 records: 2 used, 1 too long (dropped); 9 tokens, 4 "
                                         "trained, longest 5");
    examples_done(&set);
    /* without EOS an empty completion has nothing to train */
    options.append_eos = false;
    assert_ok(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err);
    str_clear(&text);
    examples_describe(&set.counts, &text);
    assert_string_equal(str_text(&text), "3 records: 1 used, 1 too long (dropped), 1 empty "
                                         "(dropped); 4 tokens, 2 trained, longest 4");
    examples_done(&set);
    options.max_tokens = 2;
    assert_error(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err, ERROR_DATA,
                 "no record is left to use");
    str_done(&text);
    dataset_done(&data);
}

/* Windows of a text: every id but the first is a target exactly once, in order. */
static void test_windows(void **state) {
    (void)state;
    DataSet data;
    Error err = {0};
    read_lines("{\"text\":\"abcdefghijklmnopqrstuvwxyz\"}", &data);
    for (size_t room = 2; room < 30; room++) {
        ExampleSet set;
        Batch batch;
        size_t first;
        EncodeOptions options = {.max_tokens = room, .append_eos = true};
        assert_ok(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err);
        assert_ok(batch_init(&batch, 64, 8, &err), &err);
        for (size_t i = 0; i < set.examples; i++) {
            assert_true(example_rows(&set.example[i], false) <= room);
            assert_ok(example_add(&set.example[i], false, false, &batch, &first, &err), &err);
            for (size_t k = 0; k < i; k++) {
                assert_true(set.example[k].key != set.example[i].key);
            }
        }
        Str got = {0};
        for (size_t t = 0; t < batch.tokens; t++) {
            if (batch.target[t] != BATCH_NO_TARGET) {
                put_ids(&batch.target[t], 1, &got);
            }
        }
        assert_string_equal(str_text(&got), "bcdefghijklmnopqrstuvwxyz$");
        assert_int_equal(set.counts.used, 1);
        assert_int_equal(set.counts.trained_tokens, 26);
        str_done(&got);
        batch_done(&batch);
        examples_done(&set);
    }
    dataset_done(&data);
}

static void test_keys_and_groups(void **state) {
    (void)state;
    DataSet data;
    ExampleSet set;
    Error err = {0};
    read_lines("{\"prompt\":\"p\",\"completion\":\"a\"}\n{\"prompt\":\"p\",\"completion\":\"a\"}\n"
               "{\"prompt\":\"q\",\"completion\":\"a\"}",
               &data);
    EncodeOptions options = {.max_tokens = 10, .append_eos = true};
    assert_ok(examples_encode(&set, &data, tokenizer, &layout, &options, &err), &err);
    assert_true(set.example[0].group == set.example[1].group);
    assert_true(set.example[0].group != set.example[2].group);
    assert_true(set.example[0].key != set.example[1].key); /* another place in the file */
    examples_done(&set);
    dataset_done(&data);
}

static void test_order(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 7, 100, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t n = sizes[k], moved = 0, differs = 0;
        char *seen = calloc(n, 1);
        assert_non_null(seen);
        for (size_t i = 0; i < n; i++) {
            size_t at = example_order(5, 2, n, i);
            assert_true(at < n);
            assert_int_equal(seen[at], 0);
            seen[at] = 1;
            moved += at != i;
            differs += at != example_order(5, 3, n, i);
            assert_int_equal(at, example_order(5, 2, n, i));
        }
        assert_true(n < 100 || (moved > n * 9 / 10 && differs > n * 9 / 10));
        free(seen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_and_targets),
        cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_over_length),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_keys_and_groups),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests_name("example", tests, set_up, tear_down);
}
