/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/options.h"
#include "common/text/tokenizer.h"
#include "datasets/dataset.h"
#include "tools/template_view.h"

typedef struct Config {
    char *model, *output, *format, *eos, *bos, *pad, *layout;
    StringList data, special;
    DataColumns columns;
    int64_t vocabulary, minimum_count;
    bool special_in_text, skip_special, quiet;
} Config;

#define AT(field) offsetof(Config, field)
#define COLUMN(name)                                                                               \
    {                                                                                              \
        .path = "data.columns." #name, .type = OPTION_STRING, .offset = AT(columns.name),          \
        .initial = "null", .help = "Column or key that holds the " #name "."                       \
    }

/* clang-format off */
static const Option rows[] = {
    {"model.path", OPTION_STRING, AT(model), "null",
     .help = "Folder of the tokenizer for encode and decode, or its tokenizer.json."},
    {"data.train", OPTION_STRINGS, AT(data), "[]",
     .help = "Files. train reads any data file (CSV, TSV, JSON, JSON lines, text; .gz alike); "
             "encode and decode read JSON lines, - being standard input; template render reads one "
             "JSON file of messages."},
    {"data.format", OPTION_STRING, AT(format), "\"auto\"",
     .help = "Form of the records of train's files; auto recognizes it."},
    COLUMN(prompt), COLUMN(completion), COLUMN(chosen), COLUMN(rejected), COLUMN(completions),
    COLUMN(ranks), COLUMN(ranking), COLUMN(scores), COLUMN(messages), COLUMN(text), COLUMN(label),
    COLUMN(margin), COLUMN(annotator),
    {"output", OPTION_STRING, AT(output), "null",
     .help = "Folder for the trained tokenizer; it must not hold one yet."},
    {"train.vocabulary", OPTION_INT, AT(vocabulary), "4096", 257, 4 << 20, .unit = "tokens",
     .help = "Size of the vocabulary, the 256 bytes and the special tokens included."},
    {"train.minimum_count", OPTION_INT, AT(minimum_count), "2", 1, 1e15, .unit = "occurrences",
     .help = "Pairs rarer than this are not merged."},
    {"train.special", OPTION_STRINGS, AT(special), "[\"<|endoftext|>\"]",
     .help = "Special tokens, which get the first ids. Those of a chat layout belong here."},
    {"train.eos", OPTION_STRING, AT(eos), "null",
     .help = "The special token that ends a completion; null: the first one."},
    {"train.bos", OPTION_STRING, AT(bos), "null", .help = "The special token that begins a text."},
    {"train.pad", OPTION_STRING, AT(pad), "null",
     .help = "The special token that other programs pad with; nothing here does."},
    {"encode.special", OPTION_BOOL, AT(special_in_text), "false",
     .help = "Special tokens in the text become their ids; otherwise their letters are text."},
    {"decode.skip_special", OPTION_BOOL, AT(skip_special), "false",
     .help = "Leave special tokens out of the decoded text."},
    {"layout.name", OPTION_STRING, AT(layout), "null",
     .help = "Layout that template shows; null: the folder's own, \"template\": its chat template."},
    {"log.quiet", OPTION_BOOL, AT(quiet), "false", .help = "Say nothing but errors."},
};

static const OptionFlag flags[] = {
    {"--model", 'm', "model.path", "DIR"},
    {"--data", 'd', "data.train", "FILE"},
    {"--output", 'o', "output", "DIR"},
    {"--vocabulary", 'n', "train.vocabulary", "N"},
    {"--minimum-count", 0, "train.minimum_count", "N"},
    {"--special", 0, "train.special", "TEXT"},
    {"--eos", 0, "train.eos", "TEXT"},
    {"--bos", 0, "train.bos", "TEXT"},
    {"--pad", 0, "train.pad", "TEXT"},
    {"--special-in-text", 0, "encode.special", NULL},
    {"--skip-special", 0, "decode.skip_special", NULL},
    {"--layout", 0, "layout.name", "NAME"},
    {"--quiet", 'q', "log.quiet", NULL},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

static const OptionTable table = {rows, sizeof rows / sizeof *rows};
static const OptionTable *const tables[] = {&table};
static const OptionFlag *const flag_lists[] = {flags};

static const OptionProgram program = {
    .name = "rlhf-tokenizer",
    .summary = "Trains a byte-level BPE tokenizer, turns texts into ids and back, or shows what a model "
               "folder's chat template makes of a conversation.",
    .examples = "rlhf-tokenizer train --data texts.csv --vocabulary 4096 --output tokenizer\n"
                "rlhf-tokenizer encode --model tokenizer \"Hello, world\"\n"
                "rlhf-tokenizer encode --model tokenizer --data texts.jsonl | "
                "rlhf-tokenizer decode --model tokenizer --data -\n"
                "rlhf-tokenizer template render --model DIR --data messages.json",
    .table = tables,
    .tables = 1,
    .flag = flag_lists,
    .flag_lists = 1,
    .operands = "train | encode [TEXT]... | decode [IDS]... | template show|render|check",
};

typedef struct Job {
    const Config *config;
    const Tokenizer *tokenizer;
    const char *const *text; /* operands behind the command */
    size_t texts;
} Job;

/* One input: its text or JSON line, where it stands, and the line to print. */
typedef bool LineFunction(const Job *job, const char *text, size_t n, const char *path, long number,
                          Str *out, Error *err);

static bool print_line(const Str *line, Error *err) {
    if (!str_ok(line, err)) {
        return false;
    }
    if (fwrite(str_text(line), 1, line->size, stdout) != line->size) {
        return error_errno(err, "writing", "standard output");
    }
    return true;
}

static bool encode_text(const Job *job, const char *text, size_t n, Str *out, Error *err) {
    Tokens tokens = {0};
    bool ok = tokenizer_encode(job->tokenizer, text, n, job->config->special_in_text, &tokens, err);
    str_append(out, "{\"ids\":[");
    for (size_t i = 0; ok && i < tokens.count; i++) {
        str_appendf(out, "%s%d", i == 0 ? "" : ",", tokens.id[i]);
    }
    str_append(out, "],\"tokens\":[");
    for (size_t i = 0; ok && i < tokens.count; i++) {
        const char *token = tokenizer_text(job->tokenizer, tokens.id[i]);
        str_append(out, i == 0 ? "" : ",");
        json_put_string(out, token, strlen(token));
    }
    str_append(out, "]}\n");
    tokens_done(&tokens);
    return ok;
}

static bool encode_operand(const Job *job, const char *text, size_t n, const char *path,
                           long number, Str *out, Error *err) {
    (void)path;
    (void)number;
    return encode_text(job, text, n, out, err);
}

static bool encode_line(const Job *job, const char *text, size_t n, const char *path, long number,
                        Str *out, Error *err) {
    cJSON *tree = json_parse(text, n, path, number, &json_limits_line, err);
    if (tree == NULL) {
        return false;
    }
    const char *string = json_string(cJSON_IsObject(tree) ? json_member(tree, "text") : tree);
    bool ok =
        string != NULL || error_at(err, ERROR_DATA, path, number, 0,
                                   "expected a string, or an object with a string as its \"text\"");
    ok = ok && encode_text(job, string, strlen(string), out, err);
    cJSON_Delete(tree);
    return ok;
}

static bool decode_ids(const Job *job, const Tokens *tokens, Str *out, Error *err) {
    Str text = {0};
    bool ok = tokenizer_decode(job->tokenizer, tokens->id, tokens->count, job->config->skip_special,
                               true, &text, err);
    if (ok) {
        str_append(out, "{\"text\":");
        json_put_string(out, str_text(&text), text.size);
        str_append(out, "}\n");
    }
    str_done(&text);
    return ok;
}

/* Ids separated by spaces or commas. */
static bool decode_operand(const Job *job, const char *text, size_t n, const char *path,
                           long number, Str *out, Error *err) {
    (void)n;
    (void)path;
    (void)number;
    Tokens tokens = {0};
    bool ok = true;
    for (const char *at = text + strspn(text, " ,"); ok && *at != '\0'; at += strspn(at, " ,")) {
        char *end = NULL;
        long id = strtol(at, &end, 10);
        if (end == at || id < 0 || id > INT32_MAX || (*end != '\0' && strchr(" ,", *end) == NULL)) {
            ok = error_set(err, ERROR_USAGE,
                           "\"%.40s\" is not an id, expected numbers as in 12,7,3", at);
        } else {
            ok = tokens_push(&tokens, (int32_t)id, err);
        }
        at = end;
    }
    ok = ok && decode_ids(job, &tokens, out, err);
    tokens_done(&tokens);
    return ok;
}

static bool decode_line(const Job *job, const char *text, size_t n, const char *path, long number,
                        Str *out, Error *err) {
    cJSON *tree = json_parse(text, n, path, number, &json_limits_line, err);
    if (tree == NULL) {
        return false;
    }
    const cJSON *list = cJSON_IsObject(tree) ? json_member(tree, "ids") : tree;
    bool ok = cJSON_IsArray(list) ||
              error_at(err, ERROR_DATA, path, number, 0,
                       "expected an array of ids, or an object with an array as its \"ids\"");
    Tokens tokens = {0};
    for (const cJSON *item = ok ? list->child : NULL; ok && item != NULL; item = item->next) {
        int64_t id = 0;
        char found[64];
        if (json_integer(item, 0, INT32_MAX, &id)) {
            ok = tokens_push(&tokens, (int32_t)id, err);
        } else {
            ok = error_at(err, ERROR_DATA, path, number, 0, "expected an id, found %s",
                          json_describe(item, found, sizeof found));
        }
    }
    ok = ok && decode_ids(job, &tokens, out, err);
    tokens_done(&tokens);
    cJSON_Delete(tree);
    return ok;
}

static bool convert(const Job *job, LineFunction *function, const char *text, size_t n,
                    const char *path, long number, Error *err) {
    Str out = {0};
    bool ok = function(job, text, n, path, number, &out, err) && print_line(&out, err);
    str_done(&out);
    return ok;
}

static bool convert_file(const Job *job, LineFunction *function, const char *path, Error *err) {
    LineReader reader;
    bool got = true;
    if (!line_reader_open(&reader, path, json_limits_line.bytes, err)) {
        return false;
    }
    bool ok = true;
    while (ok && (ok = line_reader_next(&reader, &got, err)) && got) {
        ok = convert(job, function, str_text(&reader.line), reader.line.size, path, reader.number,
                     err);
    }
    line_reader_close(&reader);
    return ok;
}

static bool convert_input(const Job *job, LineFunction *function, Error *err) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = 0;
    bool ok = true;
    for (long number = 1; ok && (n = getline(&line, &capacity, stdin)) >= 0; number++) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) {
            n--;
        }
        ok = convert(job, function, line, (size_t)n, "standard input", number, err);
    }
    if (ok && ferror(stdin)) {
        ok = error_errno(err, "reading", "standard input");
    }
    free(line);
    return ok;
}

static bool convert_all(Job *job, LineFunction *operand, LineFunction *line, Error *err) {
    const Config *config = job->config;
    if (config->model == NULL) {
        return error_set(err, ERROR_USAGE, "no tokenizer: name its folder with --model DIR");
    }
    Tokenizer *tokenizer = tokenizer_load(config->model, err);
    if (tokenizer == NULL) {
        return false;
    }
    job->tokenizer = tokenizer;
    bool ok = true;
    for (size_t i = 0; ok && i < job->texts; i++) {
        ok = convert(job, operand, job->text[i], strlen(job->text[i]), NULL, 0, err);
    }
    for (size_t i = 0; ok && i < config->data.count; i++) {
        bool input = strcmp(config->data.item[i], "-") == 0;
        ok = input ? convert_input(job, line, err)
                   : convert_file(job, line, config->data.item[i], err);
    }
    if (ok && job->texts == 0 && config->data.count == 0) {
        ok = convert_input(job, line, err);
    }
    if (ok && fflush(stdout) != 0) {
        ok = error_errno(err, "writing", "standard output");
    }
    tokenizer_free(tokenizer);
    return ok;
}

static bool feed(TokenizerTrainer *trainer, const DataSet *set, Error *err) {
    for (size_t i = 0; i < set->records; i++) {
        const Record *record = &set->record[i];
        for (size_t j = 0; j < record->messages; j++) {
            const char *text = record->message[j].text;
            if (!tokenizer_trainer_feed(trainer, text, strlen(text), err)) {
                return false;
            }
        }
        for (size_t j = 0; j < record->completions; j++) {
            const char *text = record->completion[j];
            if (!tokenizer_trainer_feed(trainer, text, strlen(text), err)) {
                return false;
            }
        }
    }
    return true;
}

/* The folder is made; one that holds a tokenizer is left alone. */
static bool claim_output(const char *folder, Error *err) {
    char *path = file_join(folder, "tokenizer.json", err);
    if (path == NULL) {
        return false;
    }
    bool taken = file_exists(path);
    free(path);
    if (taken) {
        return error_set(err, ERROR_CANNOT_CREATE,
                         "%s already holds a tokenizer; name another folder with --output", folder);
    }
    return file_make_folders(folder, err);
}

static bool train(const Config *config, Log *log, Error *err) {
    if (config->data.count == 0 || config->output == NULL) {
        return error_set(err, ERROR_USAGE, "train needs --data FILE and --output DIR");
    }
    DataOptions options = {.format = config->format, .columns = config->columns, .accept = ~0u};
    DataSet set = {0};
    TokenizerTrainer *trainer = NULL;
    Tokenizer *tokenizer = NULL;
    bool ok = dataset_read(&set, &config->data, &options, err);
    if (ok) {
        log_info(log, "%s", str_text(&set.description));
        trainer = tokenizer_trainer_create(err);
        ok = trainer != NULL && feed(trainer, &set, err);
    }
    if (ok) {
        const char *first = config->special.count > 0 ? config->special.item[0] : NULL;
        TokenizerTraining training = {
            .vocabulary = (size_t)config->vocabulary,
            .minimum_count = (size_t)config->minimum_count,
            .special = (const char *const *)config->special.item,
            .specials = config->special.count,
            .eos = config->eos == NULL ? first : config->eos,
            .bos = config->bos,
            .pad = config->pad,
        };
        tokenizer = tokenizer_trainer_finish(trainer, &training, err);
        ok = tokenizer != NULL && claim_output(config->output, err) &&
             tokenizer_save(tokenizer, config->output, err);
    }
    if (ok) {
        size_t size = tokenizer_vocabulary(tokenizer);
        if (size < (size_t)config->vocabulary) {
            log_warn(log, "the data gives %zu tokens, not %lld: no more pairs occur %lld times",
                     size, (long long)config->vocabulary, (long long)config->minimum_count);
        }
        printf("%s\n", config->output);
    }
    tokenizer_free(tokenizer);
    tokenizer_trainer_free(trainer);
    dataset_done(&set);
    return ok;
}

static bool view(const Job *job, Error *err) {
    const Config *config = job->config;
    if (job->texts != 1 || config->model == NULL || config->data.count > 1) {
        return error_set(err, ERROR_USAGE,
                         "template takes show, render or check, --model DIR, and at most one --data "
                         "FILE of messages");
    }
    Str out = {0};
    bool ok = template_view(job->text[0], config->model, config->layout,
                            config->data.count == 1 ? config->data.item[0] : NULL, &out, err) &&
              print_line(&out, err);
    str_done(&out);
    return ok;
}

static bool run_command(const Config *config, const char **operand, size_t operands, Log *log,
                        Error *err) {
    const char *command = operands == 0 ? "" : operand[0];
    Job job = {.config = config,
               .text = operands == 0 ? NULL : operand + 1,
               .texts = operands == 0 ? 0 : operands - 1};
    if (strcmp(command, "train") == 0) {
        if (job.texts > 0) {
            return error_set(err, ERROR_USAGE, "train takes files with --data, not \"%s\"",
                             job.text[0]);
        }
        return train(config, log, err);
    }
    if (strcmp(command, "encode") == 0) {
        return convert_all(&job, encode_operand, encode_line, err);
    }
    if (strcmp(command, "decode") == 0) {
        return convert_all(&job, decode_operand, decode_line, err);
    }
    if (strcmp(command, "template") == 0) {
        return view(&job, err);
    }
    return error_set(err, ERROR_USAGE, "%s%s%sexpected train, encode, decode or template",
                     operands == 0 ? "no command: " : "unknown command \"", command,
                     operands == 0 ? "" : "\": ");
}

int main(int argc, char **argv) {
    Config config = {0};
    OptionOrigins *origins = NULL;
    const char **operand = NULL;
    size_t operands = 0;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    Log log = {0};
    bool ok =
        options_parse(&program, argc, argv, &config, &origins, &operand, &operands, &action, &err);
    if (ok && action == OPTION_RUN) {
        log_init(&log, config.quiet ? LOG_QUIET : LOG_NORMAL);
        ok = run_command(&config, operand, operands, &log, &err);
        log_finish(&log);
    }
    options_done(&program, &config, origins);
    if (!ok) {
        error_print(&err, program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
