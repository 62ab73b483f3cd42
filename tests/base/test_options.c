/* SPDX-License-Identifier: MIT
 *
 * Options: precedence, every way to write a value, every complaint, and that what is written is
 * read back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/options.h"
#include "tests/support/support.h"

typedef struct Config {
    char *path, *eos;
    int64_t seed, batch;
    double rate, share;
    bool resume, quiet;
    int schedule;
    StringList train;
    cJSON *reward;
    char *output;
} Config;

static const char *const schedules[] = {"cosine", "linear", "constant", NULL};

/* clang-format off */
static const Option common_rows[] = {
    {"model.path", OPTION_STRING, offsetof(Config, path), "null", 0, 0, NULL, NULL,
     "Model folder."},
    {"train.seed", OPTION_INT, offsetof(Config, seed), "1", 0, 1e15, NULL, NULL, "Seed."},
    {"data.train", OPTION_STRINGS, offsetof(Config, train), "[]", 0, 0, NULL, NULL, "Files."},
    {"train.batch", OPTION_INT, offsetof(Config, batch), "32", 1, 4096, NULL, "records", "Batch."},
    {"train.learning_rate", OPTION_FLOAT, offsetof(Config, rate), "1e-4", 0, 1, NULL, NULL,
     "Rate - the largest. .Dotted \\word."},
    {"train.schedule", OPTION_CHOICE, offsetof(Config, schedule), "\"cosine\"", 0, 0, schedules,
     NULL, "Schedule."},
    {"layout.eos", OPTION_STRING, offsetof(Config, eos), "\"\"", 0, 0, NULL, NULL, "EOS."},
    {"data.split.share", OPTION_FLOAT, offsetof(Config, share), "0.05", 0, 0.5, NULL, NULL,
     "Share."},
    {"resume", OPTION_BOOL, offsetof(Config, resume), "false", 0, 0, NULL, NULL, "Go on."},
    {"log.quiet", OPTION_BOOL, offsetof(Config, quiet), "false", 0, 0, NULL, NULL, "Silence."},
    {"output", OPTION_STRING, offsetof(Config, output), NULL, 0, 0, NULL, NULL, "Run folder."},
};
/* clang-format on */
/* clang-format off */
static const Option own_rows[] = {
    {"reward.source", OPTION_JSON, offsetof(Config, reward), "null", 0, 0, NULL, NULL, "Source."},
    {"train.batch", OPTION_INT, offsetof(Config, batch), "8", 0, 0, NULL, NULL, NULL},
};
/* clang-format on */
static const OptionTable common_table = {common_rows, sizeof common_rows / sizeof *common_rows};
static const OptionTable own_table = {own_rows, sizeof own_rows / sizeof *own_rows};
static const OptionTable *const tables[] = {&common_table, &own_table};
/* clang-format off */
static const OptionFlag flags[] = {
    {"--model", 'm', "model.path", "DIR"},
    {"--data", 'd', "data.train", "FILE"},
    {"--seed", 0, "train.seed", "N"},
    {"--resume", 'r', "resume", NULL},
    {"--quiet", 'q', "log.quiet", NULL},
    {"--schedule", 0, "train.schedule", "NAME"},
    {"--rate", 0, "train.learning_rate", "X"},
    {"--output", 'o', "output", "DIR"},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */
static const OptionFlag *const flag_lists[] = {flags};
static const OptionProgram program = {
    .name = "rlhf-test",
    .summary = "Tests the option tables.",
    .examples = "rlhf-test --config a.json\n"
                "rlhf-test --model a/long/name/of/a/folder --data another/long/name.jsonl --set "
                "train.seed=3",
    .table = tables,
    .tables = 2,
    .flag = flag_lists,
    .flag_lists = 1,
};

typedef struct Read {
    Config config;
    OptionOrigins *origins;
    OptionAction action;
    bool ok;
    Error err;
} Read;

/* One command line as words divided by blanks; "%" inside a word stands for a blank. */
static void read_line(Read *result, const OptionProgram *with, const char *line) {
    enum { WORDS = 32 };
    char copy[1024], *argv[WORDS] = {0};
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL && argc < WORDS; word = strtok(NULL, " ")) {
        for (char *p = strchr(word, '%'); p != NULL; p = strchr(p, '%')) {
            *p = ' ';
        }
        argv[argc++] = word;
    }
    *result = (Read){.action = OPTION_EXIT};
    result->ok = options_parse(with, argc, argv, &result->config, &result->origins, NULL, NULL,
                               &result->action, &result->err);
}

static void release(Read *result) {
    options_done(&program, &result->config, result->origins);
}

static void test_defaults(void **state) {
    (void)state;
    Read got;
    read_line(&got, &program, "rlhf-test -r");
    assert_ok(got.ok, &got.err);
    assert_int_equal(got.action, OPTION_RUN);
    assert_null(got.config.path);
    assert_null(got.config.eos);
    assert_null(got.config.output);
    assert_null(got.config.reward);
    assert_int_equal(got.config.seed, 1);
    assert_int_equal(got.config.batch, 8); /* the later row */
    assert_true(got.config.rate == 1e-4);
    assert_true(got.config.share == 0.05);
    assert_int_equal(got.config.schedule, 0);
    assert_int_equal(got.config.train.count, 0);
    assert_true(got.config.resume);
    assert_string_equal(options_origin(got.origins, "resume"), "--resume");
    assert_string_equal(options_origin(got.origins, "train.seed"), "default");
    assert_string_equal(options_origin(NULL, "train.seed"), "default");
    release(&got);
}

static void test_ways_to_write(void **state) {
    (void)state;
    /* clang-format off */
    static const struct {
        const char *line;
        const char *written; /* must stand in the resolved configuration */
    } row[] = {
        {"x --seed 5", "\"seed\": 5, // --seed"},
        {"x --seed=5", "\"seed\": 5, // --seed"},
        {"x --set train.seed=5", "\"seed\": 5, // --set"},
        {"x --set=train.seed=5", "\"seed\": 5, // --set"},
        {"x --seed 5 --set train.seed=6 --seed 7", "\"seed\": 7, // --seed"},
        {"x --seed 5e2", "\"seed\": 500, // --seed"},
        {"x -m a/b", "\"path\": \"a/b\" // --model"},
        {"x -ma/b", "\"path\": \"a/b\" // --model"},
        {"x --model=", "\"path\": \"\" // --model"},
        {"x --model 12", "\"path\": \"12\" // --model"},
        {"x --model null", "\"path\": \"null\" // --model"},
        {"x --set model.path=12", "\"path\": \"12\" // --set"},
        {"x --set model.path=null", "\"path\": null // --set"},
        {"x --set model.path=\"null\"", "\"path\": \"null\" // --set"},
        {"x --set layout.eos=[/INST]", "\"eos\": \"[/INST]\" // --set"},
        {"x --set layout.eos=\"\\n\"", "\"eos\": \"\\n\" // --set"},
        {"x --set layout.eos=a=b", "\"eos\": \"a=b\" // --set"},
        {"x -d a -d b", "\"train\": [\"a\", \"b\"], // --data"},
        {"x --set data.train=a,b", "\"train\": [\"a,b\"], // --set"},
        {"x --set data.train=[\"a\",\"b\"]", "\"train\": [\"a\", \"b\"], // --set"},
        {"x -d c --set data.train=[]", "\"train\": [], // --set"},
        {"x --set data.train=a -d b", "\"train\": [\"b\"], // --data"},
        {"x -d [x]", "\"train\": [\"[x]\"], // --data"},
        {"x --schedule linear", "\"schedule\": \"linear\" // --schedule"},
        {"x --set train.schedule=\"constant\"", "\"schedule\": \"constant\" // --set"},
        {"x --rate 0.001", "\"learning_rate\": 0.001, // --rate"},
        {"x --rate 1", "\"learning_rate\": 1, // --rate"},
        {"x -rq", "\"resume\": true, // --resume"},
        {"x -rq", "\"quiet\": true // --quiet"},
        {"x -rqm y", "\"path\": \"y\" // --model"},
        {"x --resume=false", "\"resume\": false, // --resume"},
        {"x --resume --resume=false", "\"resume\": false, // --resume"},
        {"x --set train={\"seed\":4,\"batch\":2}", "\"seed\": 4, // --set"},
        {"x --set data={\"split.share\":0.5}", "\"share\": 0.5 // --set"},
        {"x --set reward.source={\"a\":[1.0,\"x\"]}", "\"source\": {\"a\":[1.0,\"x\"]} // --set"},
        {"x --set reward.source=word", "\"source\": \"word\" // --set"},
        {"x --set reward.source=null", "\"source\": null // --set"},
        {"x -o a%b", "\"output\": \"a b\", // --output"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Read got;
        Str out = {0};
        read_line(&got, &program, row[i].line);
        if (!got.ok) {
            fail_msg("%s: %s", row[i].line, got.err.text);
        }
        assert_ok(options_write(&program, &got.config, got.origins, &out, &got.err), &got.err);
        if (strstr(str_text(&out), row[i].written) == NULL) {
            fail_msg("%s: no %s in %s", row[i].line, row[i].written, str_text(&out));
        }
        str_done(&out);
        release(&got);
    }
}

static void test_command_line_errors(void **state) {
    (void)state;
    /* clang-format off */
    static const struct {
        const char *line;
        ErrorCode code;
        const char *text;
    } row[] = {
        {"x --sed 3", ERROR_USAGE, "unknown option --sed; did you mean --seed?"},
        {"x --modle y", ERROR_USAGE, "unknown option --modle; did you mean --model?"},
        {"x -config y", ERROR_USAGE, "unknown option -config; did you mean --config?"},
        {"x --frobnicate", ERROR_USAGE, "unknown option --frobnicate; --help lists the options"},
        {"x --train.seed=3", ERROR_USAGE, "write --set train.seed=VALUE"},
        {"x -z", ERROR_USAGE, "unknown option -z"},
        {"x -rz", ERROR_USAGE, "unknown option -rz"},
        {"x --seed", ERROR_USAGE, "--seed needs a value: --seed N"},
        {"x -m", ERROR_USAGE, "--model needs a value: --model DIR"},
        {"x --model --data y", ERROR_USAGE, "--model needs a value"},
        {"x --model -q", ERROR_USAGE, "--model needs a value"},
        {"x --config", ERROR_USAGE, "--config needs a value"},
        {"x --config a --config b", ERROR_USAGE, "--config is given twice: a and b"},
        {"x --set", ERROR_USAGE, "--set needs a value"},
        {"x --set train.seed", ERROR_USAGE, "--set expects PATH=VALUE, found \"train.seed\""},
        {"x --set =3", ERROR_USAGE, "--set expects PATH=VALUE"},
        {"x file.json", ERROR_USAGE, "unexpected argument \"file.json\""},
        {"x train.seed=3", ERROR_USAGE, "write --set before PATH=VALUE"},
        {"x -- --seed", ERROR_USAGE, "unexpected argument \"--seed\""},
        {"x --help=everything", ERROR_USAGE, "--help=man, found --help=everything"},
        {"x --version=2", ERROR_USAGE, "unknown option --version; did you mean"},
        {"x --seed abc", ERROR_CONFIG,
         "--seed: train.seed: expected a whole number of at least 0, found the string \"abc\""},
        {"x --seed 1.5", ERROR_CONFIG, "found the number 1.5"},
        {"x --seed -1", ERROR_CONFIG, "found the number -1"},
        {"x --seed 9007199254740993", ERROR_CONFIG, "found the number 9007199254740993"},
        {"x --seed 1e999", ERROR_CONFIG, "found the string \"1e999\""},
        {"x --seed=", ERROR_CONFIG, "found the string \"\""},
        {"x --seed [1", ERROR_CONFIG, "character 3 of the value: the text ends"},
        {"x --rate 1.5", ERROR_CONFIG, "expected a number from 0 to 1, found the number 1.5"},
        {"x --rate NaN", ERROR_CONFIG, "found the string \"NaN\""},
        {"x --set train.batch=0", ERROR_CONFIG,
         "--set: train.batch: expected a whole number from 1 to 4096 records, found the number 0"},
        {"x --schedule cosin", ERROR_CONFIG,
         "expected one of \"cosine\", \"linear\", \"constant\", found the string \"cosin\"; did "
         "you mean "
         "\"cosine\"?"},
        {"x --schedule step", ERROR_CONFIG, "found the string \"step\""},
        {"x --resume=yes", ERROR_CONFIG,
         "resume: expected true or false, found the string \"yes\""},
        {"x --set resume=1", ERROR_CONFIG, "expected true or false, found the number 1"},
        {"x --set train.sede=1", ERROR_CONFIG,
         "--set: unknown key \"train.sede\"; did you mean \"train.seed\"?"},
        {"x --set seed=1", ERROR_CONFIG, "did you mean \"train.seed\"?"},
        {"x --set training.learning_rate=1", ERROR_CONFIG, "did you mean \"train.learning_rate\"?"},
        {"x --set trian={}", ERROR_CONFIG, "did you mean \"train\"?"},
        {"x --set qqqqqqqqqq=1", ERROR_CONFIG, "unknown key \"qqqqqqqqqq\""},
        {"x --set train=3", ERROR_CONFIG, "train: expected an object, found the number 3"},
        {"x --set train={\"seed\":\"x\"}", ERROR_CONFIG, "train.seed: expected a whole number"},
        {"x --set train={\"seed\":1,\"seed\":2}", ERROR_CONFIG, "stands here a second time"},
        {"x --set data.train=[1]", ERROR_CONFIG,
         "expected a string or a list of strings, found a list"},
        {"x --set data.train=[\"a\"", ERROR_CONFIG, "character 5 of the value"},
        {"x --set model.path=\"a", ERROR_CONFIG, "this string is not closed"},
        {"x --config /nonexistent.json", ERROR_NO_INPUT, "/nonexistent.json"},
        {"x --config /tmp", ERROR_DATA, "regular file"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Read got;
        read_line(&got, &program, row[i].line);
        if (got.ok || got.err.code != row[i].code || strstr(got.err.text, row[i].text) == NULL ||
            strchr(got.err.text, '\n') != NULL) {
            fail_msg("%s: code %d: %s", row[i].line, (int)got.err.code, got.err.text);
        }
        assert_null(got.origins);
        assert_null(got.config.path);
        assert_null(got.config.train.item);
    }
}

static const char *write_config(const char *text) {
    return test_file(test_folder(), "run.json", text, strlen(text));
}

static void read_config(Read *got, const char *text, const char *more) {
    char line[1024];
    snprintf(line, sizeof line, "rlhf-test --config %s %s", write_config(text), more);
    read_line(got, &program, line);
}

static void test_config_file(void **state) {
    (void)state;
    Read got;
    char origin[300];
    read_config(&got,
                "{ // a run\n  \"train\": {\"seed\": 7, \"learning_rate\": 0.5},\n"
                "  \"train.batch\": 4,\n  \"data\": {\"train\": [\"a\", \"b\"],\n"
                "           \"split.share\": 0.25},\n  \"resume\": true,\n"
                "  \"layout\": {\"eos\": \"</s>\"},\n  \"reward\": {\"source\": [1]},\n}\n",
                "--set train.seed=8 -d c");
    assert_ok(got.ok, &got.err);
    assert_int_equal(got.config.seed, 8);
    assert_int_equal(got.config.batch, 4);
    assert_true(got.config.rate == 0.5);
    assert_true(got.config.share == 0.25);
    assert_true(got.config.resume);
    assert_string_equal(got.config.eos, "</s>");
    assert_int_equal(got.config.train.count, 1); /* a flag replaces the file's list */
    assert_string_equal(got.config.train.item[0], "c");
    assert_true(cJSON_IsArray(got.config.reward));
    snprintf(origin, sizeof origin, "%s", options_origin(got.origins, "train.batch"));
    assert_true(str_ends_with(origin, "run.json:3"));
    assert_true(str_ends_with(options_origin(got.origins, "data.split.share"), "run.json:5"));
    assert_string_equal(options_origin(got.origins, "train.seed"), "--set");
    release(&got);
}

static void test_config_errors(void **state) {
    (void)state;
    /* clang-format off */
    static const struct {
        const char *text;
        long line, column;
        const char *part;
    } row[] = {
        {"{\"train\": {\"seed\": \"1\"}}", 1, 20,
         "train.seed: expected a whole number of at least 0, found the string \"1\""},
        {"{\"train\":\n {\"lerning_rate\": 1}}", 2, 3,
         "unknown key \"train.lerning_rate\"; did you mean \"train.learning_rate\"?"},
        {"{\"trian\": {\"seed\": 1, \"x\": 2}}", 1, 2,
         "unknown key \"trian\"; did you mean \"train\"?"},
        {"{\"train\": [1]}", 1, 11, "train: expected an object, found a list"},
        {"{\"train\": null}", 1, 11, "train: expected an object, found null"},
        {"{\n\n  \"train.batch\": 5000}", 3, 18, "from 1 to 4096 records, found the number 5000"},
        {"{\"train\": {\"seed\": 1},\n \"train.seed\": 2}", 1, 12, "train.seed is given twice"},
        {"{\"train\": {\"seed\": 1, \"seed\": 2}}", 1, 23, "second time"},
        {"{\"a\\nb\": 1}", 1, 2, "unknown key \"a\\nb\""},
        {"{\"\": 1}", 1, 1, "unknown key \"\""},
        {"[]", 1, 1, "expected an object with sections"},
        {"{\"train\": {\"seed\": 1}", 1, 22, "',' or '}'"},
        {"", 1, 1, "the text is empty"},
        {"{\"model\": {\"path\": 5}}", 1, 20, "model.path: expected a string, found the number 5"},
        {"{\"train\": {\"schedule\": 1}}", 1, 24, "expected one of"},
        {"{\"train\": {\"seed\": {\"x\": 1}}}", 1, 20, "found an object"},
        {"{\"train\": {\"seed\": null}}", 1, 20, "found null"},
        {"{\"data\": {\"train\": {\"a\": 1}}}", 1, 20, "a list of strings, found an object"},
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        Read got;
        read_config(&got, row[i].text, "");
        if (got.ok || got.err.code != ERROR_CONFIG || got.err.line != row[i].line ||
            got.err.column != row[i].column || strstr(got.err.text, row[i].part) == NULL ||
            !str_ends_with(got.err.file, "/run.json")) {
            fail_msg("%s: code %d, %s:%ld:%ld: %s", row[i].text, (int)got.err.code, got.err.file,
                     got.err.line, got.err.column, got.err.text);
        }
    }
}

static void test_all_errors_at_once(void **state) {
    (void)state;
    Read got;
    Str many = {0};
    read_config(&got, "{\"train\": {\"seed\": true,\n \"bacth\": 2},\n \"resume\": 3}", "--rate 7");
    assert_false(got.ok);
    assert_int_equal(got.err.code, ERROR_CONFIG);
    assert_non_null(strstr(got.err.text, "run.json:1:20: train.seed: expected a whole number"));
    assert_non_null(strstr(got.err.text, "run.json:2:2: unknown key \"train.bacth\""));
    assert_non_null(strstr(got.err.text, "run.json:3:12: resume: expected true or false"));
    assert_non_null(strstr(got.err.text, "\n--rate: train.learning_rate: expected a number"));
    str_append(&many, "{");
    for (int i = 0; i < 4000; i++) {
        str_appendf(&many, "\"unknown%d\": 1,\n", i);
    }
    str_append(&many, "}");
    read_config(&got, str_text(&many), "");
    assert_false(got.ok);
    assert_non_null(strstr(got.err.text, "run.json:2:1: unknown key \"unknown1\""));
    assert_non_null(strstr(got.err.text, "\nand 39"));
    str_done(&many);
    read_line(&got, &program, "x --seed q --nonsense");
    assert_int_equal(got.err.code, ERROR_USAGE);
    assert_non_null(strstr(got.err.text, "unknown option --nonsense"));
    assert_non_null(strstr(got.err.text, "--seed: train.seed"));
}

static void test_written_is_read(void **state) {
    (void)state;
    Read got, again;
    Str first = {0}, second = {0};
    read_line(
        &got, &program,
        "x --seed 9 -d a\"b -d c\\d -m /x//y --rate 3e-7 --set layout.eos=\"\\n\\u0001/*\" "
        "--set reward.source={\"k\":[1.50,null,\"//\"]} --schedule linear -r --set output=\"\"");
    assert_ok(got.ok, &got.err);
    assert_ok(options_write(&program, &got.config, got.origins, &first, &got.err), &got.err);
    read_config(&again, str_text(&first), "");
    assert_ok(again.ok, &again.err);
    assert_string_equal(again.config.eos, "\n\x01/*");
    assert_string_equal(again.config.train.item[0], "a\"b");
    assert_string_equal(again.config.output, "");
    /* Without origins every comment says "default": then the texts must be the same. */
    str_clear(&first);
    assert_ok(options_write(&program, &got.config, NULL, &first, &got.err), &got.err);
    assert_ok(options_write(&program, &again.config, NULL, &second, &got.err), &got.err);
    assert_string_equal(str_text(&first), str_text(&second));
    str_done(&first);
    str_done(&second);
    release(&got);
    release(&again);
}

static void test_written_form(void **state) {
    (void)state;
    Read got;
    Str out = {0};
    read_line(&got, &program, "x --seed 2");
    assert_ok(options_write(&program, &got.config, got.origins, &out, &got.err), &got.err);
    assert_string_equal(str_text(&out), "{\n"
                                        "  \"model\": {\n"
                                        "    \"path\": null // default\n"
                                        "  },\n"
                                        "  \"train\": {\n"
                                        "    \"seed\": 2, // --seed\n"
                                        "    \"batch\": 8, // default\n"
                                        "    \"learning_rate\": 0.0001, // default\n"
                                        "    \"schedule\": \"cosine\" // default\n"
                                        "  },\n"
                                        "  \"data\": {\n"
                                        "    \"train\": [], // default\n"
                                        "    \"split\": {\n"
                                        "      \"share\": 0.05 // default\n"
                                        "    }\n"
                                        "  },\n"
                                        "  \"layout\": {\n"
                                        "    \"eos\": null // default\n"
                                        "  },\n"
                                        "  \"resume\": false, // default\n"
                                        "  \"log\": {\n"
                                        "    \"quiet\": false // default\n"
                                        "  },\n"
                                        "  \"output\": null, // default\n"
                                        "  \"reward\": {\n"
                                        "    \"source\": null // default\n"
                                        "  }\n"
                                        "}\n");
    str_done(&out);
    release(&got);
}

static void test_set(void **state) {
    (void)state;
    Read got;
    Error err = {0};
    read_line(&got, &program, "x --seed 2");
    assert_ok(options_set(&program, &got.config, "train.seed", "77", &err), &err);
    assert_int_equal(got.config.seed, 77);
    assert_ok(options_set(&program, &got.config, "data.train", "[\"p\",\"q\"]", &err), &err);
    assert_ok(options_set(&program, &got.config, "data.train", "\"r\"", &err), &err);
    assert_int_equal(got.config.train.count, 1);
    assert_error(options_set(&program, &got.config, "train.sed", "1", &err), &err, ERROR_CONFIG,
                 "did you mean \"train.seed\"?");
    assert_error(options_set(&program, &got.config, "train.batch", "0", &err), &err, ERROR_CONFIG,
                 "train.batch: expected a whole number from 1 to 4096 records");
    assert_error(options_set(&program, &got.config, "train.batch", "{", &err), &err, ERROR_CONFIG,
                 "expected a JSON value");
    release(&got);
}

static void check_resume(const char *line, ErrorCode code, const char *part, const char *written) {
    static const char saved[] =
        "{ // saved\n \"model\": {\"path\": \"m\"},\n \"train\": {\"seed\": 5,\n"
        "  \"batch\": 16}, \"log\": {\"quiet\": true}}\n";
    static const char *const free_paths[] = {"log", "resume", NULL};
    const char *path = test_file(test_folder(), "run.json", saved, sizeof saved - 1);
    Read got;
    Str out = {0};
    read_line(&got, &program, line);
    assert_ok(got.ok, &got.err);
    bool ok = options_resume(&program, &got.config, got.origins, path, free_paths, &got.err);
    if (code == ERROR_NONE) {
        assert_ok(ok, &got.err);
        assert_ok(options_write(&program, &got.config, got.origins, &out, &got.err), &got.err);
        if (strstr(str_text(&out), written) == NULL) {
            fail_msg("%s: no %s in %s", line, written, str_text(&out));
        }
    } else {
        assert_error(ok, &got.err, code, part);
    }
    str_done(&out);
    release(&got);
}

static void test_resume(void **state) {
    (void)state;
    check_resume("x -r", ERROR_NONE, NULL, "\"path\": \"m\"");
    check_resume("x -r", ERROR_NONE, NULL, "run.json:4\n");
    check_resume("x -r", ERROR_NONE, NULL, "\"seed\": 5,");
    check_resume("x -r", ERROR_NONE, NULL, "\"batch\": 16,");
    check_resume("x -r", ERROR_NONE, NULL, "\"learning_rate\": 0.0001, // default");
    check_resume("x -r --seed 5", ERROR_NONE, NULL, "\"seed\": 5, // --seed");
    check_resume("x -r --set log.quiet=false", ERROR_NONE, NULL, "\"quiet\": false // --set");
    check_resume("x -r --seed 6", ERROR_CONFIG, "train.seed is 5 in ", NULL);
    check_resume("x -r --seed 6 -m n", ERROR_CONFIG, "but --model gives \"n\"; train.seed is 5",
                 NULL);
    check_resume("x -r -d y", ERROR_NONE, NULL, "\"train\": [\"y\"], // --data"); /* not saved */
}

static void test_operands(void **state) {
    (void)state;
    OptionProgram with = program;
    Config config = {0};
    OptionOrigins *origins = NULL;
    OptionAction action;
    Error err = {0};
    const char **operand;
    size_t operands;
    char words[][8] = {"x", "a", "--seed", "3", "-", "--", "--seed"};
    char *argv[] = {words[0], words[1], words[2], words[3], words[4], words[5], words[6], NULL};
    with.operands = "FILE...";
    assert_ok(options_parse(&with, 7, argv, &config, &origins, &operand, &operands, &action, &err),
              &err);
    assert_int_equal(operands, 3);
    assert_string_equal(operand[0], "a");
    assert_string_equal(operand[1], "-");
    assert_string_equal(operand[2], "--seed");
    assert_int_equal(config.seed, 3);
    options_done(&with, &config, origins);
}

static void test_help(void **state) {
    (void)state;
    for (int level = 0; level < 3; level++) {
        Str out = {0};
        options_help(&program, level, &out);
        assert_false(out.failed);
        for (const char *line = out.data; *line != '\0'; line += strcspn(line, "\n") + 1) {
            size_t length = strcspn(line, "\n");
            if (level < 2 && length > 80) {
                fail_msg("%zu columns: %.*s", length, (int)length, line);
            }
        }
        for (size_t i = 0; flags[i].name != NULL; i++) {
            Str name = {0};
            for (const char *p = flags[i].name; *p != '\0'; p++) {
                str_append(&name, level == 2 && *p == '-' ? "\\" : "");
                str_append_char(&name, *p);
            }
            assert_non_null(strstr(out.data, str_text(&name)));
            str_done(&name);
        }
        for (size_t i = 0; level > 0 && i < common_table.count; i++) {
            assert_non_null(strstr(out.data, common_rows[i].path));
        }
        assert_true(level == 2 || strstr(out.data, "name.jsonl \\\n      --set train.seed=3\n"));
        const char *batch = strstr(out.data, "train.batch");
        if (level > 0) {
            assert_non_null(strstr(batch, "records; default 8"));
            assert_null(strstr(batch + 1, "train.batch")); /* two rows, shown once */
        }
        str_done(&out);
    }
    Str man = {0};
    options_help(&program, 2, &man);
    assert_true(str_starts_with(man.data, ".TH RLHF\\-TEST 1 "));
    assert_non_null(strstr(man.data, "\n.SH NAME\nrlhf\\-test \\- Tests the option tables.\n"));
    assert_non_null(strstr(man.data, "Rate \\- the largest. .Dotted \\eword."));
    assert_non_null(strstr(man.data, ".SH EXIT STATUS\n"));
    str_done(&man);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_ways_to_write),
        cmocka_unit_test(test_command_line_errors),
        cmocka_unit_test(test_config_file),
        cmocka_unit_test(test_config_errors),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_written_is_read),
        cmocka_unit_test(test_written_form),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
