/* SPDX-License-Identifier: MIT
 *
 * Data sets: several files, bad records, splits by prompt, descriptions.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/dataset.h"

enum { ANY = 0x3f };

static StringList list_of(char **files, size_t n) {
    return (StringList){files, n};
}

static void test_several_files(void **state) {
    (void)state;
    const char *folder = test_folder();
    test_file(folder, "a.csv", "prompt,completion\np,c\n", 22);
    const char *b = test_file(folder, "b.jsonl", "{\"prompt\":\"q\"}\n{\"prompt\":\"r\"}\n", 30);
    char a_name[] = "a.csv", b_path[700];
    snprintf(b_path, sizeof b_path, "%s", b);
    char *files[2] = {a_name, b_path}; /* one under the root, one absolute */
    StringList list = list_of(files, 2);
    DataOptions options = {.root = folder, .accept = 1u << RECORD_PROMPT};
    DataSet set;
    Error err = {0};
    assert_ok(dataset_read(&set, &list, &options, &err), &err);
    assert_int_equal(set.records, 3);
    assert_string_equal(set.record[2].message[0].text, "r");
    assert_int_equal(set.record[2].line, 2);
    assert_ptr_equal(set.record[2].file, set.path[1]);
    assert_string_equal(str_text(&set.description),
                        "a.csv: CSV, prompt (prompt), 1 record\n"
                        "b.jsonl: JSON lines, prompt (prompt), 2 records");
    dataset_done(&set);
    char absent[] = "absent.csv";
    files[1] = absent;
    assert_error(dataset_read(&set, &list, &options, &err), &err, ERROR_NO_INPUT, "");
    list.count = 0;
    assert_error(dataset_read(&set, &list, &options, &err), &err, ERROR_CONFIG, "no data file");
}

static bool read_one(const char *name, const char *text, bool skip_bad, DataSet *set, Error *err) {
    const char *path = test_file(test_folder(), name, text, strlen(text));
    char *files[1] = {(char *)(uintptr_t)path};
    StringList list = list_of(files, 1);
    DataOptions options = {.accept = ANY, .skip_bad = skip_bad};
    return dataset_read(set, &list, &options, err);
}

static void test_bad_records(void **state) {
    (void)state;
    const char *text = "{\"prompt\":\"a\"}\n{\"prompt\":\n{\"prompt\":7}\n{\"prompt\":\"b\"}\n";
    DataSet set;
    Error err = {0};
    assert_error(read_one("x.jsonl", text, false, &set, &err), &err, ERROR_DATA, "");
    assert_int_equal(err.line, 2);
    assert_ok(read_one("x.jsonl", text, true, &set, &err), &err);
    assert_int_equal(set.records, 2);
    assert_int_equal(set.bad, 2);
    assert_int_equal(set.record[1].line, 4);
    assert_string_equal(str_text(&set.description),
                        "x.jsonl: JSON lines, prompt (prompt), 2 records, 2 bad (skipped)");
    dataset_done(&set);
    assert_ok(read_one("x.csv", "prompt,x\na,1\nb\nc,2\n", true, &set, &err), &err);
    assert_int_equal(set.records, 2);
    assert_int_equal(set.bad, 1);
    dataset_done(&set);
    /* where the place is lost, reading ends even so */
    assert_error(read_one("x.csv", "prompt,x\na,1\nb,\"2\"3\nc,4\n", true, &set, &err), &err,
                 ERROR_DATA, "closing quote");
    assert_error(read_one("x.jsonl", "{\"prompt\":\"a\"\n", true, &set, &err), &err, ERROR_DATA,
                 "none of 1 records");
    assert_error(read_one("x.csv", "prompt,completion\n", false, &set, &err), &err, ERROR_DATA,
                 "holds no record");
    assert_error(read_one("x.jsonl", "\n\n", false, &set, &err), &err, ERROR_DATA,
                 "holds no record");
}

static void test_split(void **state) {
    (void)state;
    Str text = {0};
    enum { PROMPTS = 400, EACH = 3 };
    for (size_t i = 0; i < PROMPTS * EACH; i++) { /* texts of a prompt far apart */
        str_appendf(&text, "{\"prompt\":\"p%zu\",\"completion\":\"c%zu\"}\n", i % PROMPTS, i);
    }
    DataSet set, held;
    Error err = {0};
    assert_ok(read_one("x.jsonl", str_text(&text), false, &set, &err), &err);
    assert_ok(dataset_split(&set, 0.25, 7, &held, &err), &err);
    assert_int_equal(set.records + held.records, PROMPTS * EACH);
    assert_true(held.records > PROMPTS * EACH / 8 && held.records < PROMPTS * EACH / 2);
    bool is_held[PROMPTS] = {false};
    for (size_t i = 0; i < held.records; i++) {
        assert_ptr_equal(held.record[i].file, held.path[0]);
        assert_true(i == 0 || held.record[i].line > held.record[i - 1].line);
        is_held[atoi(held.record[i].message[0].text + 1)] = true;
    }
    for (size_t i = 0; i < set.records; i++) {
        assert_false(is_held[atoi(set.record[i].message[0].text + 1)]);
        assert_true(i == 0 || set.record[i].line > set.record[i - 1].line);
    }
    size_t first = held.records;
    dataset_done(&set);
    dataset_done(&held);
    /* the same seed, the same split; another seed, another */
    assert_ok(read_one("y.jsonl", str_text(&text), false, &set, &err), &err);
    assert_ok(dataset_split(&set, 0.25, 7, &held, &err), &err);
    assert_int_equal(held.records, first);
    assert_true(is_held[atoi(held.record[0].message[0].text + 1)]);
    dataset_done(&held);
    assert_error(dataset_split(&set, 1e-9, 7, &held, &err), &err, ERROR_DATA, "some on both sides");
    dataset_done(&set);
    str_done(&text);
}

/* Parts by prompt: none shared, nothing lost, the order kept; whatever the seed of a run. */
static void test_parts_and_limit(void **state) {
    (void)state;
    Str text = {0};
    for (size_t i = 0; i < 300; i++) {
        str_appendf(&text, "{\"prompt\":\"p%zu\",\"completion\":\"c%zu\"}\n", i % 100, i);
    }
    DataSet low, high, none;
    Error err = {0};
    assert_ok(read_one("x.jsonl", str_text(&text), false, &low, &err), &err);
    assert_ok(read_one("y.jsonl", str_text(&text), false, &high, &err), &err);
    assert_ok(read_one("z.jsonl", str_text(&text), false, &none, &err), &err);
    assert_ok(dataset_keep_part(&low, 0, 0.5, &err), &err);
    assert_ok(dataset_keep_part(&high, 0.5, 1, &err), &err);
    assert_int_equal(low.records + high.records, 300);
    assert_true(low.records > 75 && high.records > 75);
    for (size_t i = 0; i < low.records; i++) {
        assert_true(i == 0 || low.record[i].line > low.record[i - 1].line);
        for (size_t k = 0; k < high.records; k++) {
            assert_true(strcmp(low.record[i].message[0].text, high.record[k].message[0].text) != 0);
        }
    }
    assert_error(dataset_keep_part(&none, 0.5, 0.5, &err), &err, ERROR_DATA, "a larger part");
    assert_int_equal(none.records, 300);
    dataset_limit(&none, 0);
    assert_int_equal(none.records, 300);
    dataset_limit(&none, 7);
    assert_int_equal(none.records, 7);
    assert_int_equal(none.record[6].line, 7);
    dataset_done(&low);
    dataset_done(&high);
    dataset_done(&none);
    str_done(&text);
}

static void test_render(void **state) {
    (void)state;
    DataSet set;
    Error err = {0};
    assert_ok(read_one("x.jsonl",
                       "{\"prompt\":\"p\\u001b\\n\",\"completions\":[\"a\",\"b\"],\"ranks\":[2,1]}",
                       false, &set, &err),
              &err);
    Str text = {0};
    record_render(&set.record[0], &text);
    assert_string_equal(str_text(&text), "  prompt       \"p\\u001b\\n\"\n"
                                         "  rank 2       \"a\"\n"
                                         "  rank 1       \"b\"\n");
    str_done(&text);
    dataset_done(&set);
}

static void test_counts(void **state) {
    (void)state;
    static const struct {
        size_t n;
        const char *text;
    } table[] = {
        {0,       "0"        },
        {999,     "999"      },
        {1000,    "1,000"    },
        {1234567, "1,234,567"}
    };
    for (size_t i = 0; i < 4; i++) {
        Str out = {0};
        dataset_put_count(&out, table[i].n);
        assert_string_equal(str_text(&out), table[i].text);
        str_done(&out);
    }
}

static void test_real_data(void **state) {
    (void)state;
    const char *root = test_data();
    if (root == NULL) {
        skip();
    }
    char mr[] = "mr", ref[] = "ref", demonstrations[] = "e2e/demonstrations.csv";
    char rankings[] = "e2e/rankings-quality.train.jsonl", prompts[] = "e2e/prompts.jsonl";
    char *file = demonstrations;
    StringList list = list_of(&file, 1);
    DataSet set;
    Error err = {0};
    DataOptions options = {
        .root = root, .accept = ANY, .columns = {.prompt = mr, .completion = ref}
    };
    assert_ok(dataset_read(&set, &list, &options, &err), &err);
    assert_int_equal(set.records, 7592);
    assert_string_equal(str_text(&set.description),
                        "demonstrations.csv: CSV, demonstration (mr, ref), 7,592 records");
    dataset_done(&set);
    options.columns = (DataColumns){0};
    file = rankings;
    assert_ok(dataset_read(&set, &list, &options, &err), &err);
    assert_int_equal(set.records, 1871);
    assert_int_equal(set.record[0].kind, RECORD_RANKING);
    dataset_done(&set);
    file = prompts;
    assert_ok(dataset_read(&set, &list, &options, &err), &err);
    assert_int_equal(set.records, 4000);
    dataset_done(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_several_files),   cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_split),           cmocka_unit_test(test_render),
        cmocka_unit_test(test_parts_and_limit), cmocka_unit_test(test_counts),
        cmocka_unit_test(test_real_data),
    };
    return cmocka_run_group_tests_name("dataset", tests, NULL, NULL);
}
