/* SPDX-License-Identifier: MIT
 *
 * The shipped example: the committed files are what the program makes, and they say what the README says.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "datasets/dataset.h"
#include "datasets/facts.h"

static const char *const names[] = {
    "demonstrations.csv", "rankings.jsonl",           "rankings.validation.jsonl",
    "prompts.jsonl",      "prompts.validation.jsonl", "prompts.evaluation.jsonl",
};
enum { FILES = sizeof names / sizeof *names };

static const char *samples(void) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/datasets/samples", getenv("RLHF_TEST_SOURCE"));
    return path;
}

static void read_bytes(const char *folder, const char *name, Str *out) {
    Error err = {0};
    char *path = file_join(folder, name, &err);
    assert_ok(path != NULL && file_read(path, 1 << 24, out, &err), &err);
    free(path);
}

static void test_made_by_the_program(void **state) {
    (void)state;
    const char *folder = test_folder();
    Str facts = {0};
    read_bytes(samples(), "facts.json", &facts);
    test_file(folder, "facts.json", facts.data, facts.size);
    str_done(&facts);
    TestRun run;
    test_run(&run, (const char *const[]){"make-samples", folder, NULL});
    assert_string_equal(str_text(&run.err), "");
    assert_int_equal(run.status, 0);
    test_run_done(&run);
    for (size_t i = 0; i < FILES; i++) {
        Str made = {0}, shipped = {0};
        read_bytes(folder, names[i], &made);
        read_bytes(samples(), names[i], &shipped);
        assert_int_equal(made.size, shipped.size);
        assert_memory_equal(made.data, shipped.data, made.size);
        str_done(&made);
        str_done(&shipped);
    }
}

static void read_set(const char *name, RecordKind kind, DataSet *set) {
    char path[256], *file = path;
    snprintf(path, sizeof path, "%s", name);
    StringList list = {&file, 1};
    DataOptions options = {.root = samples(), .accept = 1u << kind};
    Error err = {0};
    assert_ok(dataset_read(set, &list, &options, &err), &err);
}

static int compare_hashes(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_files_share_no_prompt(void **state) {
    (void)state;
    static const RecordKind kind[FILES] = {RECORD_DEMONSTRATION, RECORD_RANKING, RECORD_RANKING,
                                           RECORD_PROMPT,        RECORD_PROMPT,  RECORD_PROMPT};
    static const size_t records[FILES] = {2400, 2000, 180, 1000, 100, 200};
    uint64_t hash[8000];
    size_t n = 0, own = 0;
    for (size_t i = 0; i < FILES; i++) {
        DataSet set;
        read_set(names[i], kind[i], &set);
        assert_int_equal(set.records, records[i]);
        uint64_t last = 0;
        for (size_t k = 0; k < set.records; k++) { /* records of a prompt stand together */
            uint64_t one = record_prompt_hash(&set.record[k]);
            if (k == 0 || one != last) {
                hash[n++] = one;
            }
            last = one;
        }
        dataset_done(&set);
    }
    own = n;
    assert_int_equal(own, 2400 + 2000 + 60 + 1000 + 100 + 200);
    qsort(hash, n, sizeof *hash, compare_hashes);
    for (size_t i = 1; i < n; i++) {
        assert_true(hash[i] != hash[i - 1]);
    }
}

static void test_share_of_omissions(void **state) {
    (void)state;
    Error err = {0};
    char *path = file_join(samples(), "facts.json", &err);
    FactTable *table = facts_load(path, &err);
    assert_ok(table != NULL, &err);
    free(path);
    DataSet set;
    read_set("demonstrations.csv", RECORD_DEMONSTRATION, &set);
    size_t missing = 0;
    for (size_t i = 0; i < set.records; i++) {
        FactReport report;
        const Record *record = &set.record[i];
        assert_ok(
            facts_judge(table, record->message[0].text, record->completion[0], &report, NULL, &err),
            &err);
        missing += report.missing > 0;
        assert_int_equal(report.invented, 0);
    }
    assert_in_range(missing * 100 / set.records, 27, 32);
    dataset_done(&set);
    facts_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_by_the_program),
        cmocka_unit_test(test_files_share_no_prompt),
        cmocka_unit_test(test_share_of_omissions),
    };
    return cmocka_run_group_tests_name("samples", tests, NULL, NULL);
}
