/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/options_rows.h"

enum { PROBLEMS_SHOWN = 16 };

typedef struct Assignment {
    const char *name;  /* the flag's, or "--set" */
    char *path;        /* owned */
    const char *value; /* borrowed from argv; NULL: a bool flag without one */
    bool set;          /* by --set */
} Assignment;

typedef struct Parse {
    const OptionProgram *program;
    void *config;
    OptionRows rows;
    OptionOrigins *origins;
    bool *in_file, *by_flag; /* [rows], owned */
    Assignment *assignment;  /* owned */
    size_t assignments, assignment_capacity;
    size_t operands, operand_capacity;
    const char *config_path, *help; /* borrowed from argv */
    bool version;
    Str text; /* of the configuration file */
    Error problem[PROBLEMS_SHOWN];
    size_t problems;
    bool usage; /* a problem is one of the command line, not of a value */
    bool out_of_memory;
} Parse;

static void report(Parse *parse, ErrorCode code, const char *file, long line, long column,
                   const char *format, ...) __attribute__((format(printf, 6, 7)));

static void report(Parse *parse, ErrorCode code, const char *file, long line, long column,
                   const char *format, ...) {
    if (parse->problems < PROBLEMS_SHOWN) {
        char text[ERROR_TEXT_SIZE];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        for (char *p = strchr(text, '\n'); p != NULL; p = strchr(p, '\n')) {
            *p = ' '; /* line breaks stand between the gathered problems only */
        }
        error_at(&parse->problem[parse->problems], code, file, line, column, "%s", text);
    }
    parse->usage = parse->usage || code == ERROR_USAGE;
    parse->problems++;
}

/* One problem keeps its place in *err; several become lines of the text. */
static bool gather(const Parse *parse, Error *err) {
    if (parse->problems == 1) {
        if (err != NULL) {
            *err = parse->problem[0];
        }
        return false;
    }
    Str all = {0};
    size_t shown = 0;
    while (shown < parse->problems && shown < PROBLEMS_SHOWN) {
        const Error *one = &parse->problem[shown];
        size_t before = all.size;
        str_append(&all, shown == 0 ? "" : "\n");
        if (one->file[0] != '\0') {
            str_appendf(&all, "%s:%ld:%ld: ", one->file, one->line, one->column);
        }
        str_append(&all, one->text);
        if (shown > 0 && all.size > ERROR_TEXT_SIZE - 40) {
            all.size = before;
            all.data[before] = '\0';
            break;
        }
        shown++;
    }
    if (shown < parse->problems) {
        str_appendf(&all, "\nand %zu more", parse->problems - shown);
    }
    error_set(err, parse->usage ? ERROR_USAGE : ERROR_CONFIG, "%s", str_text(&all));
    str_done(&all);
    return false;
}

static const OptionFlag *find_flag(const OptionProgram *program, const char *name, size_t length,
                                   char letter) {
    const OptionFlag *found = NULL;
    for (size_t l = 0; l < program->flag_lists; l++) {
        for (const OptionFlag *flag = program->flag[l]; flag->name != NULL; flag++) {
            bool named = name != NULL && strlen(flag->name) == length &&
                         memcmp(flag->name, name, length) == 0;
            bool lettered = letter != 0 && flag->letter == letter;
            found = named || lettered ? flag : found;
        }
    }
    return found;
}

const OptionFlag *option_flag_find(const OptionProgram *program, const char *name, size_t length) {
    return find_flag(program, name, length, 0);
}

const OptionFlag *option_flag_letter(const OptionProgram *program, char letter) {
    return find_flag(program, NULL, 0, letter);
}

static void report_unknown_flag(Parse *parse, const char *argument, size_t length) {
    static const OptionFlag built_in[] = {
        {"--config"}, {"--set"}, {"--help"}, {"--version"}, {NULL}};
    char name[128];
    const char *best = NULL;
    int nearest = 3;
    snprintf(name, sizeof name, "%.*s", (int)length, argument);
    for (size_t l = 0; l <= parse->program->flag_lists; l++) {
        const OptionFlag *flag =
            l < parse->program->flag_lists ? parse->program->flag[l] : built_in;
        for (; flag->name != NULL; flag++) {
            int distance = str_distance(name, flag->name, 2);
            if (distance < nearest) {
                nearest = distance;
                best = flag->name;
            }
        }
    }
    const char *path = name + strspn(name, "-");
    if (option_rows_find(&parse->rows, path) >= 0) {
        report(parse, ERROR_USAGE, NULL, 0, 0, "unknown option %s; write --set %s=VALUE", name,
               path);
    } else if (best != NULL) {
        report(parse, ERROR_USAGE, NULL, 0, 0, "unknown option %s; did you mean %s?", name, best);
    } else {
        report(parse, ERROR_USAGE, NULL, 0, 0, "unknown option %s; --help lists the options", name);
    }
}

static void assign(Parse *parse, const char *name, const char *path, size_t length,
                   const char *value, bool set) {
    char *copy = mem_strndup(path, length, NULL);
    if (copy == NULL || !mem_reserve(&parse->assignment, &parse->assignment_capacity,
                                     parse->assignments + 1, sizeof *parse->assignment, NULL)) {
        free(copy);
        parse->out_of_memory = true;
        return;
    }
    parse->assignment[parse->assignments++] =
        (Assignment){.name = name, .path = copy, .value = value, .set = set};
}

static void assign_set(Parse *parse, const char *text) {
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        report(parse, ERROR_USAGE, NULL, 0, 0, "--set expects PATH=VALUE, found \"%s\"", text);
    } else {
        assign(parse, "--set", text, (size_t)(equals - text), equals + 1, true);
    }
}

static bool looks_like_option(const OptionProgram *program, const char *argument) {
    return str_starts_with(argument, "--") ||
           (argument[0] == '-' && argument[1] != '\0' && argument[2] == '\0' &&
            (option_flag_letter(program, argument[1]) != NULL || argument[1] == 'h'));
}

/* The value of an option: what stands behind its '=', or the next argument. NULL and a report if
 * there is none. */
static const char *take_value(Parse *parse, const char *name, const char *what,
                              const char *attached, int argc, char **argv, int *at) {
    if (attached != NULL) {
        return attached;
    }
    if (*at + 1 < argc && !looks_like_option(parse->program, argv[*at + 1])) {
        return argv[++*at];
    }
    report(parse, ERROR_USAGE, NULL, 0, 0, "%s needs a value: %s %s", name, name, what);
    return NULL;
}

/* What follows an unknown option was meant for it, most likely: no second complaint. */
static void skip_value(const Parse *parse, const char *attached, int argc, char **argv, int *at) {
    bool follows = attached == NULL && *at + 1 < argc;
    *at += follows && !looks_like_option(parse->program, argv[*at + 1]);
}

static void take_long(Parse *parse, int argc, char **argv, int *at) {
    const char *argument = argv[*at];
    size_t length = strcspn(argument, "=");
    const char *attached = argument[length] == '=' ? argument + length + 1 : NULL;
    const char *value;
    const OptionFlag *flag = option_flag_find(parse->program, argument, length);
    if (flag != NULL && flag->argument == NULL) {
        assign(parse, flag->name, flag->path, strlen(flag->path), attached, false);
    } else if (flag != NULL) {
        value = take_value(parse, flag->name, flag->argument, attached, argc, argv, at);
        if (value != NULL) {
            assign(parse, flag->name, flag->path, strlen(flag->path), value, false);
        }
    } else if (length == 8 && memcmp(argument, "--config", 8) == 0) {
        value = take_value(parse, "--config", "FILE", attached, argc, argv, at);
        if (parse->config_path != NULL && value != NULL) {
            report(parse, ERROR_USAGE, NULL, 0, 0, "--config is given twice: %s and %s",
                   parse->config_path, value);
        }
        parse->config_path = value;
    } else if (length == 5 && memcmp(argument, "--set", 5) == 0) {
        value = take_value(parse, "--set", "PATH=VALUE", attached, argc, argv, at);
        if (value != NULL) {
            assign_set(parse, value);
        }
    } else if (length == 6 && memcmp(argument, "--help", 6) == 0) {
        parse->help = attached == NULL ? "" : attached;
        if (attached != NULL && strcmp(attached, "all") != 0 && strcmp(attached, "man") != 0) {
            report(parse, ERROR_USAGE, NULL, 0, 0,
                   "expected --help, --help=all or --help=man, found %s", argument);
        }
    } else if (strcmp(argument, "--version") == 0) {
        parse->version = true;
    } else {
        report_unknown_flag(parse, argument, length);
        skip_value(parse, attached, argc, argv, at);
    }
}

/* "-q", "-qn", "-o DIR", "-oDIR". */
static void take_letters(Parse *parse, int argc, char **argv, int *at) {
    const char *argument = argv[*at];
    for (const char *p = argument + 1; *p != '\0'; p++) {
        const OptionFlag *flag = option_flag_letter(parse->program, *p);
        if (flag == NULL && *p == 'h') {
            parse->help = "";
        } else if (flag == NULL) {
            report_unknown_flag(parse, argument, strlen(argument));
            skip_value(parse, NULL, argc, argv, at);
            return;
        } else if (flag->argument == NULL) {
            assign(parse, flag->name, flag->path, strlen(flag->path), NULL, false);
        } else {
            const char *value = take_value(parse, flag->name, flag->argument,
                                           p[1] != '\0' ? p + 1 : NULL, argc, argv, at);
            if (value != NULL) {
                assign(parse, flag->name, flag->path, strlen(flag->path), value, false);
            }
            return;
        }
    }
}

static void take_operand(Parse *parse, const char *argument) {
    if (parse->program->operands == NULL) {
        report(parse, ERROR_USAGE, NULL, 0, 0, "unexpected argument \"%s\"%s", argument,
               strchr(argument, '=') != NULL ? "; write --set before PATH=VALUE" : "");
    } else if (mem_reserve(&parse->origins->operand, &parse->operand_capacity, parse->operands + 1,
                           sizeof *parse->origins->operand, NULL)) {
        parse->origins->operand[parse->operands++] = argument;
    } else {
        parse->out_of_memory = true;
    }
}

static void read_arguments(Parse *parse, int argc, char **argv) {
    bool options = true;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (!options || argument[0] != '-' || argument[1] == '\0') {
            take_operand(parse, argument);
        } else if (strcmp(argument, "--") == 0) {
            options = false;
        } else if (argument[1] == '-') {
            take_long(parse, argc, argv, &i);
        } else {
            take_letters(parse, argc, argv, &i);
        }
    }
}

static void set_origin(Parse *parse, size_t row, const char *origin) {
    char *copy = mem_strdup(origin, NULL);
    parse->out_of_memory = parse->out_of_memory || copy == NULL;
    free(parse->origins->origin[row]);
    parse->origins->origin[row] = copy;
}

/* A problem with a key or its value: in the file with its place, from the command line with the
 * flag. */
static void report_key(Parse *parse, const char *source, const char *path, bool key,
                       const char *message) {
    long line = 0, column = 0;
    if (source != NULL) {
        report(parse, ERROR_CONFIG, NULL, 0, 0, "%s: %s", source, message);
    } else {
        if (parse->problems < PROBLEMS_SHOWN) {
            json_locate(str_text(&parse->text), parse->text.size, path, key, &line, &column);
        }
        report(parse, ERROR_CONFIG, parse->config_path, line, column, "%s", message);
    }
}

static void report_unknown_key(Parse *parse, const char *source, const char *path) {
    Str message = {0};
    str_append(&message, "unknown key ");
    json_put_string(&message, path, strlen(path));
    option_rows_suggest(&parse->rows, path, &message);
    report_key(parse, source, path, true, str_text(&message));
    str_done(&message);
}

/* source: NULL for the file, else the flag's name. */
static void store(Parse *parse, const char *source, size_t row, const cJSON *value) {
    const Option *option = &parse->rows.row[row];
    Str problem = {0};
    bool again = source == NULL && parse->in_file[row];
    bool append = source != NULL && strcmp(source, "--set") != 0 && parse->by_flag[row];
    if (again) {
        str_appendf(&problem, "%s is given twice, nested and with a dotted key", option->path);
        report_key(parse, source, option->path, true, str_text(&problem));
    } else if (!option_store(option, parse->config, value, append, &problem)) {
        parse->out_of_memory = parse->out_of_memory || problem.size == 0;
        if (problem.size > 0) {
            Str message = {0};
            str_appendf(&message, "%s: %s", option->path, str_text(&problem));
            report_key(parse, source, option->path, false, str_text(&message));
            str_done(&message);
        }
    } else if (source == NULL) {
        char origin[ERROR_FILE_SIZE];
        long line, column;
        json_locate(str_text(&parse->text), parse->text.size, option->path, false, &line, &column);
        snprintf(origin, sizeof origin, "%s:%ld", parse->config_path, line);
        set_origin(parse, row, origin);
    } else {
        set_origin(parse, row, source);
    }
    parse->in_file[row] = parse->in_file[row] || source == NULL;
    parse->by_flag[row] = source != NULL && strcmp(source, "--set") != 0;
    str_done(&problem);
}

static void apply(Parse *parse, const char *source, const char *path, const cJSON *value);

static void apply_members(Parse *parse, const char *source, const char *prefix,
                          const cJSON *object) {
    for (const cJSON *child = object->child; child != NULL; child = child->next) {
        Str path = {0};
        str_appendf(&path, "%s%s%s", prefix, prefix[0] == '\0' ? "" : ".", child->string);
        apply(parse, source, str_text(&path), child);
        str_done(&path);
    }
}

static void apply(Parse *parse, const char *source, const char *path, const cJSON *value) {
    long row = option_rows_find(&parse->rows, path);
    if (row >= 0) {
        store(parse, source, (size_t)row, value);
    } else if (!option_rows_is_section(&parse->rows, path)) {
        report_unknown_key(parse, source, path);
    } else if (cJSON_IsObject(value)) {
        apply_members(parse, source, path, value);
    } else {
        char found[128], message[512];
        snprintf(message, sizeof message, "%s: expected an object, found %s", path,
                 json_describe(value, found, sizeof found));
        report_key(parse, source, path, false, message);
    }
}

static bool read_config(Parse *parse, Error *err) {
    if (!file_read(parse->config_path, json_limits_config.bytes, &parse->text, err)) {
        return false;
    }
    cJSON *tree = json_parse(str_text(&parse->text), parse->text.size, parse->config_path, 1,
                             &json_limits_config, err);
    if (tree == NULL) {
        if (err != NULL && err->code == ERROR_DATA) {
            err->code = ERROR_CONFIG;
        }
        return false;
    }
    if (cJSON_IsObject(tree)) {
        apply_members(parse, NULL, "", tree);
    } else {
        report(parse, ERROR_CONFIG, parse->config_path, 1, 1, "expected an object with sections");
    }
    cJSON_Delete(tree);
    return true;
}

/* What an argument means: JSON where the type wants it, else the bare string. */
static cJSON *argument_value(Parse *parse, const Assignment *assignment) {
    long row = option_rows_find(&parse->rows, assignment->path);
    const char *text = assignment->value;
    char first = text == NULL ? '\0' : text[0];
    bool json = true;
    Error err = {0};
    if (text == NULL) {
        return cJSON_CreateBool(true);
    }
    if (row >= 0) {
        OptionType type = parse->rows.row[row].type;
        bool stringy = type == OPTION_STRING || type == OPTION_CHOICE || type == OPTION_STRINGS;
        json = !stringy || (assignment->set && (first == '"' || strcmp(text, "null") == 0 ||
                                                (first == '[' && type == OPTION_STRINGS)));
    }
    cJSON *value = json ? json_parse(text, strlen(text), NULL, 1, &json_limits_config, &err) : NULL;
    if (value != NULL || err.code == ERROR_OS) {
        return value;
    }
    if (json && (first == '"' || first == '[' || first == '{')) {
        report(parse, ERROR_CONFIG, NULL, 0, 0, "%s %s: character %ld of the value: %s",
               assignment->name, assignment->path, err.column, err.text);
        return NULL;
    }
    return cJSON_CreateString(text);
}

static void apply_arguments(Parse *parse) {
    for (size_t i = 0; i < parse->assignments; i++) {
        const Assignment *assignment = &parse->assignment[i];
        size_t before = parse->problems;
        cJSON *value = argument_value(parse, assignment);
        if (value != NULL) {
            apply(parse, assignment->name, assignment->path, value);
        } else {
            parse->out_of_memory = parse->out_of_memory || parse->problems == before;
        }
        cJSON_Delete(value);
    }
}

static bool print(const Str *text, Error *err) {
    bool written = fwrite(str_text(text), 1, text->size, stdout) == text->size;
    if (!str_ok(text, err)) {
        return false;
    }
    return (fflush(stdout) == 0 && written) ||
           error_set(err, ERROR_IO, "writing to standard output failed");
}

static bool print_help(const Parse *parse, Error *err) {
    Str text = {0};
    if (parse->version) {
        str_appendf(&text, "%s %s\n", parse->program->name, RLHF_VERSION);
    } else {
        options_help(parse->program,
                     parse->help[0] == '\0'  ? 0
                     : parse->help[0] == 'a' ? 1
                                             : 2,
                     &text);
    }
    bool ok = print(&text, err);
    str_done(&text);
    return ok;
}

static bool prepare(Parse *parse, Error *err) {
    parse->origins = mem_alloc(1, sizeof *parse->origins, err);
    if (parse->origins == NULL || !option_rows_init(&parse->rows, parse->program, err)) {
        return false;
    }
    size_t n = parse->rows.count;
    OptionOrigins *origins = parse->origins;
    origins->path = mem_alloc(n, sizeof *origins->path, err);
    origins->origin = mem_alloc(n, sizeof *origins->origin, err);
    parse->in_file = mem_alloc(n, sizeof *parse->in_file, err);
    parse->by_flag = mem_alloc(n, sizeof *parse->by_flag, err);
    if (!origins->path || !origins->origin || !parse->in_file || !parse->by_flag) {
        return false;
    }
    origins->count = n;
    for (size_t i = 0; i < n; i++) {
        origins->path[i] = mem_strdup(parse->rows.row[i].path, err);
        if (origins->path[i] == NULL) {
            return false;
        }
    }
    return option_defaults(&parse->rows, parse->config, err);
}

static bool read_all(Parse *parse, int argc, char **argv, OptionAction *action, Error *err) {
    if (!prepare(parse, err)) {
        return false;
    }
    read_arguments(parse, argc, argv);
    if (parse->problems == 0 && (parse->help != NULL || parse->version)) {
        *action = OPTION_EXIT;
        return print_help(parse, err);
    }
    if (parse->config_path != NULL && !parse->usage && !read_config(parse, err)) {
        return false;
    }
    apply_arguments(parse);
    if (parse->out_of_memory) {
        return error_set(err, ERROR_OS, "out of memory while reading the configuration");
    }
    return parse->problems == 0 || gather(parse, err);
}

static bool refuse_nothing(const OptionProgram *program, Error *err) {
    Str text = {0};
    option_help_brief(program, &text);
    bool ok = print(&text, err);
    str_done(&text);
    return ok && error_set(err, ERROR_USAGE, "no arguments; --help lists the options");
}

bool options_parse(const OptionProgram *program, int argc, char **argv, void *config,
                   OptionOrigins **origins, const char ***operand, size_t *operands,
                   OptionAction *action, Error *err) {
    *origins = NULL;
    if (argc <= 1) {
        return refuse_nothing(program, err);
    }
    Parse *parse = mem_alloc(1, sizeof *parse, err);
    if (parse == NULL) {
        return false;
    }
    parse->program = program;
    parse->config = config;
    *action = OPTION_RUN;
    bool ok = read_all(parse, argc, argv, action, err);
    if (ok && *action == OPTION_RUN) {
        *origins = parse->origins;
        if (operand != NULL) {
            *operand = parse->origins->operand;
            *operands = parse->operands;
        }
    } else {
        options_done(program, config, parse->origins);
    }
    for (size_t i = 0; i < parse->assignments; i++) {
        free(parse->assignment[i].path);
    }
    free(parse->assignment);
    free(parse->in_file);
    free(parse->by_flag);
    str_done(&parse->text);
    option_rows_done(&parse->rows);
    free(parse);
    return ok;
}
