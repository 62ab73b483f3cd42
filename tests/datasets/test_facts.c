/* SPDX-License-Identifier: MIT
 *
 * The facts rule: cases by hand, and what it finds on human texts and human rankings.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/dataset.h"
#include "datasets/facts.h"

static const char table_text[] =
    "{\"attributes\": {"
    " \"name\": {\"names\": true, \"values\": {\"The Eagle\": [], \"Café Rouge\": [\"rouge\"]}},"
    " \"near\": {\"names\": true, \"values\": {\"Raja Indian Cuisine\": []}},"
    " \"food\": {\"values\": {\"Indian\": [\"indian\"], \"Fast food\": [\"fast food\"]}},"
    " \"kind\": {\"values\": {\"pub\": [\"pub\"], \"restaurant\": [\"restaurant\"]},"
    "            \"generic\": [\"restaurant\"]},"
    " \"rating\": {\"values\": {\"high\": [\"high|good * rating|rated\", \"rating * high\"],"
    "              \"low\": [\"low * rating\", \"~poor\"]}},"
    " \"price\": {\"values\": {\"cheap\": [\"cheap\", \"low price\"],"
    "             \"less than £20\": [\"less than £20\", \"cheap\"]}},"
    " \"family\": {\"negatable\": true, \"values\": {"
    "    \"yes\": [\"family|kid friendly\", \"kids * welcome\"], \"no\": [\"adults only\"]}}},"
    " \"negations\": [\"not\", \"isn't\", \"no\"], \"negation_window\": 3,"
    " \"breaks\": [\"and\"]}";

static FactTable *table_of(const char *text) {
    Error err = {0};
    FactTable *table = facts_parse(text, strlen(text), "facts.json", &err);
    assert_ok(table != NULL, &err);
    return table;
}

static void test_cases(void **state) {
    (void)state;
    static const struct {
        const char *prompt, *text, *detail;
        /* clang-format off */
    } cases[] = {
        {"name[The Eagle], kind[pub]", "The Eagle is a pub.", ""},
        {"name[The Eagle], kind[pub]", "the EAGLE, a pub", ""},
        {"name[The Eagle], kind[pub]", "Eagle's food is good.", "-kind[pub]"},
        {"name[The Eagle]", "The Eagles play.", "-name[The Eagle]"},
        {"name[Café Rouge]", "cafe rouge", ""},
        {"name[Café Rouge]", "At the Rouge", ""},
        /* values the table does not list */
        {"name[The Blue Mill]", "Blue Mill is here.", ""},
        {"name[The Blue Mill]", "The Eagle is here.", "+name[The Eagle] -name[The Blue Mill]"},
        {"parking[behind the house]", "Parking is behind the house.", ""},
        {"parking[behind the house]", "Parking is there.", "-parking[behind the house]"},
        /* names hide their words */
        {"name[The Eagle], near[Raja Indian Cuisine]", "The Eagle is near Raja Indian Cuisine.",
         ""},
        {"name[The Eagle]", "The Eagle serves Indian food.", "+food[Indian]"},
        {"food[Fast food]", "fast-food", ""},
        {"food[Fast food]", "fast, food", "-food[Fast food]"},
        /* generic values are no inventions */
        {"kind[pub]", "a restaurant", "-kind[pub]"},
        {"kind[restaurant]", "a pub", "+kind[pub] -kind[restaurant]"},
        /* wildcards do not cross breaks, stops or negations */
        {"rating[high]", "It has a high customer rating.", ""},
        {"rating[high]", "The rating is very high", ""},
        {"rating[high]", "The rating is low. High rating? No, a high price and rating.", ""},
        {"rating[high]", "a high price and a rating", "-rating[high]"},
        {"rating[high]", "rating is not high", "-rating[high]"},
        {"rating[high]", "poor food", "-rating[high]"},
        /* weak: no invention */
        {"rating[low]", "poor food", ""},
        {"rating[low]", "high rating", "+rating[high] -rating[low]"},
        /* one form of two values */
        {"price[cheap]", "cheap", ""},
        {"price[less than £20]", "cheap", ""},
        {"price[less than £20]", "low price", "+price[cheap] -price[less than £20]"},
        {"price[less than £20]", "less than £20", ""},
        /* negation */
        {"family[yes]", "It is family-friendly.", ""},
        {"family[no]", "It is not family friendly.", ""},
        {"family[no]", "It isn’t really kid-friendly.", ""},
        {"family[no]", "It is not cheap, but family friendly",
         "+price[cheap] +family[yes] -family[no]"},
        {"family[yes]", "It is not cheap. Family friendly", "+price[cheap]"},
        {"family[no]", "adults only", ""},
        {"family[yes]", "not adults only", ""},
        {"family[yes]", "kids are always welcome", ""},
        {"family[yes]", "kids are not welcome", "-family[yes]"},
        {"name[The Eagle], family[yes], kind[pub]", "", "-name[The Eagle] -kind[pub] -family[yes]"},
    };
    /* clang-format on */
    FactTable *table = table_of(table_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {0};
        FactReport report;
        Str detail = {0};
        assert_ok(facts_judge(table, cases[i].prompt, cases[i].text, &report, &detail, &err), &err);
        if (strcmp(str_text(&detail), cases[i].detail) != 0) {
            fail_msg("\"%s\" for %s: found %s, wanted %s", cases[i].text, cases[i].prompt,
                     str_text(&detail), cases[i].detail);
        }
        size_t missing = 0, invented = 0;
        for (const char *at = str_text(&detail); *at != '\0'; at++) {
            missing += *at == '-';
            invented += *at == '+';
        }
        assert_int_equal(report.missing, missing);
        assert_int_equal(report.invented, invented);
        str_done(&detail);
    }
    Error err = {0};
    FactReport report;
    assert_error(facts_judge(table, "no facts", "x", &report, NULL, &err), &err, ERROR_DATA,
                 "holds no fact");
    facts_free(table);
}

static void test_bad_tables(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
        /* clang-format off */
    } bad[] = {
        {"{}", "without an object \"attributes\""},
        {"{\"attributes\":{\"a\":{}}}", "has no object \"values\""},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":5}}}}", "needs a list of forms"},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":[5]}}}}", "is no string"},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":[\"\"]}}}}", "is empty"},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":[\"* a\"]}}}}", "begins or ends in"},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":[\"a-b\"]}}}}", "not a row of words"},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":[\"a||b\"]}}}}", "not a row of words"},
        {"{\"attributes\":{\"a\":{\"negatable\":true,\"values\":{\"x\":[]}}}}", "expected two"},
        {"{\"attributes\":{\"a\":{\"values\":{\"x\":[]},\"generic\":[\"y\"]}}}", "names no value"},
        {"{\"attributes\":{\"a\":{\"values\":{}}},\"breaks\":[\"a b\"]}", "single words"},
        {"{\"attributes\":{\"a\":{\"values\":{}}},\"negation_window\":-1}", "no whole number"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Error err = {0};
        FactTable *table = facts_parse(bad[i].text, strlen(bad[i].text), "facts.json", &err);
        assert_error(table != NULL, &err, ERROR_DATA, bad[i].part);
    }
}

static FactTable *e2e_table(void) {
    char path[1024];
    snprintf(path, sizeof path, "%s/configs/e2e-facts.json", getenv("RLHF_TEST_SOURCE"));
    Error err = {0};
    FactTable *table = facts_load(path, &err);
    assert_ok(table != NULL, &err);
    return table;
}

/* About 27 % of human texts leave out a fact of their input; a rule that finds many more or fewer does
 * not read as people write. */
static void test_human_texts(void **state) {
    (void)state;
    FactTable *table = e2e_table();
    const char *root = test_data();
    if (root == NULL) {
        facts_free(table);
        skip();
    }
    char mr[] = "mr", ref[] = "ref", path[] = "e2e/demonstrations.csv", *file = path;
    StringList list = {&file, 1};
    DataOptions options = {
        .root = root,
        .accept = 1u << RECORD_DEMONSTRATION,
        .columns = {.prompt = mr, .completion = ref}
    };
    DataSet set;
    Error err = {0};
    assert_ok(dataset_read(&set, &list, &options, &err), &err);
    size_t missing = 0, invented = 0;
    for (size_t i = 0; i < set.records; i++) {
        FactReport report;
        const Record *record = &set.record[i];
        assert_ok(
            facts_judge(table, record->message[0].text, record->completion[0], &report, NULL, &err),
            &err);
        missing += report.missing > 0;
        invented += report.invented > 0;
    }
    double n = (double)set.records;
    print_message("texts with a fact missing %.3f, invented %.3f\n", (double)missing / n,
                  (double)invented / n);
    assert_true((double)missing / n > 0.24 && (double)missing / n < 0.32);
    assert_true((double)invented / n < 0.12);
    dataset_done(&set);
    facts_free(table);
}

typedef struct Vote {
    char *prompt, *a, *b; /* borrowed; a < b */
    int votes;            /* raters for a minus raters for b */
} Vote;

static int compare_votes(const void *x, const void *y) {
    const Vote *v = x, *w = y;
    int order = strcmp(v->prompt, w->prompt);
    order = order != 0 ? order : strcmp(v->a, w->a);
    return order != 0 ? order : strcmp(v->b, w->b);
}

static double missing_facts(const FactTable *table, const Vote *vote, const char *text) {
    FactReport report;
    Error err = {0};
    assert_ok(facts_judge(table, vote->prompt, text, &report, NULL, &err), &err);
    return (double)report.missing;
}

/* "Fewer missing facts wins" agrees with the raters' majority on at least 0.674 of the pairs. */
static void test_human_rankings(void **state) {
    (void)state;
    const char *root = test_data();
    if (root == NULL) {
        skip();
    }
    FactTable *table = e2e_table();
    char path[] = "e2e/rankings-quality.validation.jsonl", *file = path;
    StringList list = {&file, 1};
    DataOptions options = {.root = root, .accept = 1u << RECORD_RANKING};
    DataSet set;
    Error err = {0};
    assert_ok(dataset_read(&set, &list, &options, &err), &err);
    Vote *votes = calloc(set.records * 10, sizeof *votes);
    assert_non_null(votes);
    size_t n = 0;
    for (size_t r = 0; r < set.records; r++) {
        const Record *record = &set.record[r];
        for (size_t i = 0; i < record->completions; i++) {
            for (size_t j = i + 1; j < record->completions; j++) {
                char *a = record->completion[i], *b = record->completion[j];
                int vote =
                    (record->rank[i] < record->rank[j]) - (record->rank[i] > record->rank[j]);
                int order = strcmp(a, b);
                if (order != 0 && n < set.records * 10) {
                    votes[n++] = order < 0 ? (Vote){record->message[0].text, a, b, vote}
                                           : (Vote){record->message[0].text, b, a, -vote};
                }
            }
        }
    }
    qsort(votes, n, sizeof *votes, compare_votes);
    double agreed = 0, pairs = 0;
    for (size_t i = 0, next; i < n; i = next) {
        int majority = 0;
        for (next = i; next < n && compare_votes(&votes[i], &votes[next]) == 0; next++) {
            majority += votes[next].votes;
        }
        if (majority != 0) {
            double gap = missing_facts(table, &votes[i], votes[i].b) -
                         missing_facts(table, &votes[i], votes[i].a);
            pairs++;
            agreed += gap == 0 ? 0.5 : (gap > 0) == (majority > 0);
        }
    }
    print_message("fewer missing facts agrees with the majority on %.3f of %.0f pairs\n",
                  agreed / pairs, pairs);
    assert_true(pairs > 1000);
    assert_true(agreed / pairs >= 0.674);
    free(votes);
    dataset_done(&set);
    facts_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_bad_tables),
        cmocka_unit_test(test_human_texts),
        cmocka_unit_test(test_human_rankings),
    };
    return cmocka_run_group_tests_name("facts", tests, NULL, NULL);
}
