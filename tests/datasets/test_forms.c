/* SPDX-License-Identifier: MIT
 *
 * Forms: which one a row has, what becomes of its fields, and what is said when they are wrong.
 */
#include "tests/support/support.h"

#include <stdio.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/random.h"
#include "datasets/dataset.h"

enum { ANY = 0x3f };

static bool read_text(const char *name, const char *text, const DataOptions *options, DataSet *set,
                      Error *err) {
    const char *path = test_file(test_folder(), name, text, strlen(text));
    char *files[1] = {(char *)(uintptr_t)path};
    StringList list = {files, 1};
    return dataset_read(set, &list, options, err);
}

/* A record as one line: "kind|role:text|...|completion@rank..." */
static void put_record(const Record *record, Str *out) {
    static const char *const kind[] = {"text", "prompt", "demo", "talk", "ranking", "labeled"};
    static const char *const role[] = {"s", "u", "a", "p"};
    str_append(out, kind[record->kind]);
    for (size_t i = 0; i < record->messages; i++) {
        str_appendf(out, "|%s:%s", role[record->message[i].role], record->message[i].text);
    }
    for (size_t i = 0; i < record->completions; i++) {
        str_appendf(out, "|>%s", record->completion[i]);
        if (record->rank != NULL) {
            str_appendf(out, "@%g", record->rank[i]);
        }
    }
    if (record->label != NULL) {
        str_appendf(out, "|=%s", record->label);
    }
    if (record->has_score) {
        str_appendf(out, "(%g)", record->score);
    }
    if (record->margin != 0) {
        str_appendf(out, "|margin %g", record->margin);
    }
    if (record->annotator != NULL) {
        str_appendf(out, "|by %s", record->annotator);
    }
    if (record->best_only) {
        str_append(out, "|best");
    }
}

typedef struct Case {
    const char *text; /* of a .jsonl file, or of a .csv file when it does not begin with '{' */
    unsigned accept;
    const char *want; /* the first record */
} Case;

static void check_cases(const Case *table, size_t n) {
    for (size_t i = 0; i < n; i++) {
        DataSet set;
        Error err = {0};
        DataOptions options = {.accept = table[i].accept};
        bool json = table[i].text[0] == '{';
        if (!read_text(json ? "x.jsonl" : "x.csv", table[i].text, &options, &set, &err)) {
            fail_msg("case %zu: %s", i, err.text);
        }
        Str got = {0};
        put_record(&set.record[0], &got);
        assert_string_equal(str_text(&got), table[i].want);
        str_done(&got);
        dataset_done(&set);
    }
}

static void test_plain_forms(void **state) {
    (void)state;
    /* clang-format off */
    static const Case table[] = {
        {"{\"prompt\":\"p\",\"completion\":\"c\"}", ANY, "demo|p:p|>c"},
        {"prompt,completion\np,c\n", ANY, "demo|p:p|>c"},
        {"prompt,completion,annotator\np,,me\n", ANY, "demo|p:p|>|by me"},
        {"{\"query\":\"p\",\"response\":\"c\",\"x\":1}", ANY, "demo|p:p|>c"},
        {"{\"prompt\":\"p\"}", ANY, "prompt|p:p"},
        {"{\"text\":\"t\"}", ANY, "text|p:t"},
        {"text\n\"a\nb\"\n", ANY, "text|p:a\nb"},
        {"{\"prompt\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":"
         "\"u\"}]," "\"completion\":[{\"role\":\"assistant\",\"content\":\"a\"}]}", ANY,
         "demo|s:s|u:u|>a"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
         "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]}", ANY,
         "talk|u:u|a:ab"},
        {"{\"conversations\":[{\"from\":\"system\",\"value\":\"s\"},{\"from\":\"human\",\"value\":"
         "\"u\"}," "{\"from\":\"gpt\",\"value\":\"a\"}]}", ANY, "talk|s:s|u:u|a:a"},
        {"{\"instruction\":\"i\",\"input\":\"\",\"output\":\"o\"}", ANY, "demo|p:i|>o"},
        {"instruction,input,output\ni,in,o\n", ANY, "demo|p:i\nin|>o"},
        {"{\"instruction\":\"i\",\"output\":\"o\",\"system\":\"s\",\"history\":[[\"q\",\"r\"]]}",
         ANY, "demo|s:s|u:q|a:r|u:i|>o"},
        {"{\"text\":\"t\",\"label\":\"positive\"}", ANY, "labeled|p:t|=positive"},
        {"{\"text\":\"t\",\"label\":3}", ANY, "labeled|p:t|=3(3)"},
        {"text,label\nt,1.5\n", ANY, "labeled|p:t|=1.5(1.5)"},
        {"{\"prompt\":\"p\",\"completion\":\"c\",\"label\":true}", ANY, "labeled|p:p|>c|=true(1)"},
        /* what the caller cannot use does not hide what it can */
        {"{\"prompt\":\"p\",\"completion\":\"c\",\"label\":true}", 1u << RECORD_DEMONSTRATION,
         "demo|p:p|>c"},
        {"{\"prompt\":\"p\",\"completion\":\"c\"}", 1u << RECORD_PROMPT, "prompt|p:p"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":"
         "\"a\"}" "]}", 1u << RECORD_PROMPT, "prompt|u:u"},
        {"{\"chosen\":\"\\n\\nHuman: h\\n\\nAssistant: a\",\"rejected\":\"\\n\\nHuman: "
         "h\\n\\nAssistant: b\"}", 1u << RECORD_PROMPT, "prompt|u:h"},
    };
    /* clang-format on */
    check_cases(table, sizeof table / sizeof *table);
}

static void test_rankings(void **state) {
    (void)state;
    /* clang-format off */
    static const Case table[] = {
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\",\"c\"],\"ranks\":[2,1,2],\"annotator\":"
         "\"x\"}", ANY, "ranking|p:p|>a@2|>b@1|>c@2|by x"},
        {"{\"prompt\":\"p\",\"responses\":[\"a\",\"b\",\"c\"],\"ranking\":[2,[0,1]]}", ANY,
         "ranking|p:p|>a@1|>b@1|>c@0"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"scores\":[0.5,2]}", ANY,
         "ranking|p:p|>a@-0.5|>b@-2"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\",\"c\"],\"best\":1}", ANY,
         "ranking|p:p|>a@1|>b@0|>c@1|best"},
        {"{\"context\":[{\"role\":\"user\",\"content\":\"u\"}],\"completions\":[{\"rank\":1,"
         "\"completion\":[{\"role\":\"assistant\",\"content\":\"b\"}]},{\"rank\":0,\"completion\":"
         "[{\"role\":\"assistant\",\"content\":\"a\"}]}]}", ANY, "ranking|u:u|>b@1|>a@0"},
        {"{\"question\":\"q\",\"answers\":[{\"text\":\"a\",\"pm_score\":3},{\"text\":\"b\",\"pm_"
         "score\":-1}]}", ANY, "ranking|p:q|>a@-3|>b@1"},
        {"{\"query\":\"q\",\"sample0\":\"a\",\"sample1\":\"b\",\"best\":1}", ANY,
         "ranking|p:q|>a@1|>b@0"},
        {"prompt,response_0,response_1,response_2,rank_0,rank_1,rank_2\np,a,b,c,3,1,2\n", ANY,
         "ranking|p:p|>a@3|>b@1|>c@2"},
        {"prompt,response_0,response_1,score_0,score_1\np,a,b,0,7\n", ANY,
         "ranking|p:p|>a@-0|>b@-7"},
        {"prompt,response_0,response_1,response_2,ranks\np,a,b,,\"[2, 1]\"\n", ANY,
         "ranking|p:p|>a@2|>b@1"},
        /* pairs */
        {"{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\",\"margin\":0.5}", ANY,
         "ranking|p:p|>a@0|>b@1|margin 0.5"},
        {"prompt,chosen,rejected,margin\np,a,b,2\n", ANY, "ranking|p:p|>a@0|>b@1|margin 2"},
        {"{\"prompt\":\"x\",\"chosen\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":"
         "\"assistant\","
         "\"content\":\"a\"}],\"rejected\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":"
         "\"assistant\",\"content\":\"b\"}]}", ANY, "ranking|u:u|>a@0|>b@1"},
        {"{\"conversations\":[{\"from\":\"human\",\"value\":\"u\"}],\"chosen\":{\"from\":\"gpt\","
         "\"value\":\"a\"},\"rejected\":{\"from\":\"gpt\",\"value\":\"b\"}}", ANY,
         "ranking|u:u|>a@0|>b@1"},
        {"{\"instruction\":\"i\",\"input\":\"n\",\"chosen\":\"a\",\"rejected\":\"b\"}", ANY,
         "ranking|p:i\nn|>a@0|>b@1"},
        /* transcripts; the second pair parts before its last turn */
        {"{\"chosen\":\"\\n\\nHuman: h\\n\\nAssistant: x\\n\\nHuman: i\\n\\nAssistant: a\","
         "\"rejected\":\"\\n\\nHuman: h\\n\\nAssistant: x\\n\\nHuman: i\\n\\nAssistant: b b\"}",
         ANY, "ranking|u:h|a:x|u:i|>a@0|>b b@1"},
        {"{\"chosen\":\"\\n\\nHuman: h\\n\\nAssistant: x\\n\\nHuman: i\\n\\nAssistant: a\","
         "\"rejected\":\"\\n\\nHuman: h\\n\\nAssistant: y\"}", ANY,
         "ranking|u:h|>x\n\nHuman: i\n\nAssistant: a@0|>y@1"},
    };
    /* clang-format on */
    check_cases(table, sizeof table / sizeof *table);
}

typedef struct Fault {
    const char *text;
    long line, column;
    const char *part;
} Fault;

static void test_faults(void **state) {
    (void)state;
    /* clang-format off */
    static const Fault table[] = {
        {"{\"a\":1}", 1, 1, "the fields \"a\", whose form is not recognized"},
        {"a,b\n1,2\n", 2, 1, "the fields \"a\", \"b\""},
        {"{\"prompt\":\"p\",\"completion\":\"c\"}\n{\"prompt\":\"p\"}", 2, 1, "no \"completion\""},
        {"{\"prompt\": 5,\"completion\":\"c\"}",
         1, 12, "the number 5; expected a list of messages"},
        {"{\"prompt\":\"p\",\n\"completion\":7}", 1, 15, ""},
        {"{\"prompt\":\"p\",\"completion\": {}}", 1, 29, "an object; expected a completion"},
        {"{\"prompt\":\"p\",\"completion\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         1, 28, "expected one of the assistant"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", 1, 22, "\"tool\" as role"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}",
         1, 39, "expected the message's text"},
        {"{\"messages\":[{\"role\":\"user\"}]}", 1, 1, "nothing; expected the message's text"},
        {"{\"messages\":[{\"content\":\"x\"}]}", 1, 14, "nothing as role"},
        {"{\"messages\":[]}", 1, 13, "expected a list of messages"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}",
         1, 1, "without an assistant's turn"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"ranks\":[1]}",
         1, 47, "1 numbers in \"ranks\" for 2 completions"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"ranks\":[1,\"x\"]}",
         1, 50, "expected a number"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"ranking\":[0,2]}",
         1, 52, "an index from 0 to 1"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"ranking\":[0,0]}",
         1, 52, "stands twice"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"ranking\":[0]}",
         1, 49, "1 of 2 completions"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"],\"best\":2}",
         1, 46, "an index from 0 to 1"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",\"b\"]}", 1, 1, "completions without an order"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\"],\"ranks\":[1]}", 1, 29, "at least 2 to rank"},
        {"{\"prompt\":\"p\",\"completions\":[\"a\",5],\"ranks\":[1,2]}",
         1, 34, "expected a completion"},
        {"{\"prompt\":\"p\",\"completions\":[{\"completion\":\"a\",\"rank\":1},{\"completion\":"
         "\"b\"}]}",
         1, 1, "has no \"rank\""},
        {"prompt,response_0,response_1,rank_0,rank_1\np,a,b,1,x\n", 2, 9, "expected a number"},
        {"prompt,response_0,response_1,ranks\np,a,b,\"1 x\"\n", 2, 7, "expected numbers between"},
        {"{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\",\"margin\":\"x\"}",
         1, 52, "expected a number"},
        {"{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: b\",\"rejected\":\"\\n\\nHuman: "
         "c\\n\\nAssistant: b\"}",
         1, 53, "share no turn"},
        {"{\"chosen\":\"\\n\\nHuman: a\\n\\nAssistant: b\",\"rejected\":\"x\"}",
         1, 53, "expected a transcript"},
        {"{\"text\":\"t\",\"label\":[]}", 1, 21, "expected a label"},
        {"{\"instruction\":\"i\",\"output\":\"o\",\"history\":[[\"q\"]]}",
         1, 44, "expected [\"question\", \"answer\"]"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        DataSet set;
        Error err = {0};
        DataOptions options = {.accept = ANY};
        bool json = table[i].text[0] == '{';
        bool ok = read_text(json ? "x.jsonl" : "x.csv", table[i].text, &options, &set, &err);
        assert_error(ok, &err, ERROR_DATA, table[i].part);
        if (table[i].part[0] != '\0' &&
            (err.line != table[i].line || err.column != table[i].column)) {
            fail_msg("case %zu: at %ld:%ld, wanted %ld:%ld: %s", i, err.line, err.column,
                     table[i].line, table[i].column, err.text);
        }
    }
}

static void test_not_accepted(void **state) {
    (void)state;
    DataSet set;
    Error err = {0};
    DataOptions options = {.accept = 1u << RECORD_RANKING};
    bool ok = read_text("x.jsonl", "{\"prompt\":\"p\",\"completion\":\"c\"}", &options, &set, &err);
    assert_error(ok, &err, ERROR_DATA, "form \"demonstration\", which this program does not use");
    assert_non_null(strstr(err.text, "transcript, pair, ranking"));
}

static void test_format_and_columns(void **state) {
    (void)state;
    DataSet set;
    Error err = {0};
    char mr[] = "mr", ref[] = "ref";
    DataOptions options = {
        .accept = ANY, .columns = {.prompt = mr, .completion = ref}
    };
    assert_ok(
        read_text("x.csv", "\"mr\",\"ref\"\n\"name[A], x[b]\",\"A is b.\"\n", &options, &set, &err),
        &err);
    assert_int_equal(set.record[0].kind, RECORD_DEMONSTRATION);
    assert_string_equal(set.record[0].message[0].text, "name[A], x[b]");
    assert_string_equal(set.record[0].completion[0], "A is b.");
    assert_string_equal(str_text(&set.description),
                        "x.csv: CSV, demonstration (mr, ref), 1 record");
    dataset_done(&set);
    /* a file without the mapped name is read by the usual one; one with neither is refused */
    assert_ok(read_text("x.csv", "prompt,completion\np,c\n", &options, &set, &err), &err);
    assert_string_equal(set.record[0].completion[0], "c");
    dataset_done(&set);
    assert_error(read_text("x.csv", "mrr,ref\np,c\n", &options, &set, &err), &err, ERROR_DATA,
                 "not recognized");
    options = (DataOptions){.accept = ANY, .format = "text"};
    assert_ok(read_text("x.jsonl", "{\"text\":\"t\",\"label\":1}", &options, &set, &err), &err);
    assert_int_equal(set.record[0].kind, RECORD_TEXT);
    dataset_done(&set);
    options.format = "txet";
    err = (Error){0};
    assert_error(read_text("x.jsonl", "{\"text\":\"t\"}", &options, &set, &err), &err, ERROR_CONFIG,
                 "expected one of: auto, transcript");
    options = (DataOptions){.accept = ANY, .unranked = true, .keep_extra = true};
    assert_ok(read_text("x.jsonl", "{\"prompt\":\"p\", \"completions\":[\"a\"], \"n\":0.1}",
                        &options, &set, &err),
              &err);
    assert_int_equal(set.record[0].completions, 1);
    assert_true(set.record[0].rank[0] == 0);
    assert_string_equal(set.record[0].extra,
                        "{\"prompt\":\"p\",\"completions\":[\"a\"],\"n\":0.1}");
    dataset_done(&set);
}

/* Random changes to valid records of every form: a set or an error, never a crash. */
static void test_mutations(void **state) {
    (void)state;
    static const char *const seeds[] = {
        "{\"prompt\":[{\"role\":\"user\",\"content\":\"u\"}],\"completion\":\"c\",\"label\":1}",
        "{\"prompt\":\"p\",\"completions\":[{\"text\":\"a\",\"rank\":1},{\"text\":\"b\",\"rank\":2}"
        "]}",
        "{\"prompt\":\"p\",\"completions\":[\"a\",\"b\",\"c\"],\"ranking\":[2,[0,1]],\"best\":1}",
        "{\"chosen\":\"\\n\\nHuman: h\\n\\nAssistant: a\",\"rejected\":\"\\n\\nHuman: "
        "h\\n\\nAssistant: "
        "b\"}",
        "{\"conversations\":[{\"from\":\"human\",\"value\":\"u\"}],\"chosen\":{\"value\":\"a\"},"
        "\"rejected\":{\"value\":\"b\"},\"margin\":1}",
        "{\"instruction\":\"i\",\"output\":\"o\",\"history\":[[\"q\",\"r\"]],\"system\":\"s\"}",
        "prompt,response_0,response_1,ranks\np,a,b,\"[1 2]\"\n",
        "prompt,response_0,response_1,rank_0,rank_1\np,a,b,1,2\n",
    };
    enum { SEEDS = sizeof seeds / sizeof *seeds };
    Random random = random_stream(2, RANDOM_TEST, 0, 0);
    uint64_t draw = 0;
    size_t read = 0, refused = 0;
    for (size_t i = 0; i < 3000; i++) {
        char bytes[300];
        strcpy(bytes, seeds[i % SEEDS]);
        size_t n = strlen(bytes), changes = 1 + random_below(&random, draw++, 3);
        for (size_t c = 0; c < changes; c++) {
            size_t at = random_below(&random, draw++, n);
            uint64_t what = random_below(&random, draw++, 3);
            if (what == 0) {
                memmove(bytes + at, bytes + at + 1, n-- - at);
            } else if (what == 1) {
                memmove(bytes + at + 1, bytes + at, ++n - at);
            } else {
                bytes[at] = "\"n\r,{}[]:\\0159-eabr"[random_below(&random, draw++, 19)];
            }
        }
        bytes[n] = '\0';
        DataSet set;
        Error err = {0};
        DataOptions options = {.accept = i % 3 == 0 ? 1u << RECORD_PROMPT : ANY,
                               .unranked = i % 5 == 0};
        static const char *folder;
        folder = folder == NULL ? test_folder() : folder;
        const char *name = seeds[i % SEEDS][0] == '{' ? "m.jsonl" : "m.csv";
        char old[700];
        snprintf(old, sizeof old, "%s/%s", folder, name);
        remove(old); /* a new file: some file systems sync one that is cut and rewritten */
        const char *path = test_file(folder, name, bytes, n);
        char *files[1] = {(char *)(uintptr_t)path};
        StringList list = {files, 1};
        if (dataset_read(&set, &list, &options, &err)) {
            read++;
            for (size_t k = 0; k < set.records; k++) {
                Str text = {0};
                record_render(&set.record[k], &text);
                str_done(&text);
            }
            dataset_done(&set);
        } else {
            refused++;
            assert_true(err.code == ERROR_DATA && err.text[0] != '\0');
        }
    }
    assert_true(read > 300 && refused > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_forms),
        cmocka_unit_test(test_rankings),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_not_accepted),
        cmocka_unit_test(test_format_and_columns),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("forms", tests, NULL, NULL);
}
