/* SPDX-License-Identifier: MIT
 *
 * Option tables: the one description of a program's configuration.
 *
 * A table row {path, type, offset, default, range, unit, help} is the only source of: reading the
 * JSON configuration, --set, range and unknown-key errors, --help, the man page and the resolved
 * configuration (run.json). A program's configuration is one struct; rows say at which offset each
 * value lies. Several tables over the same struct (common ones and the program's own) are used as
 * one.
 *
 * Precedence: command-line flags and --set in the order given, then the --config file, then
 * defaults. Environment variables configure nothing.
 */
#ifndef RLHF_BASE_OPTIONS_H
#define RLHF_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/str.h"

typedef enum OptionType {
    OPTION_BOOL,    /* bool */
    OPTION_INT,     /* int64_t */
    OPTION_FLOAT,   /* double */
    OPTION_STRING,  /* char *, owned by the configuration; null in JSON, or "" default: NULL */
    OPTION_CHOICE,  /* int: index into `choices` */
    OPTION_STRINGS, /* StringList: one string or an array of them */
    OPTION_JSON,    /* cJSON *, any value, owned; checked by the program; NULL if absent */
} OptionType;

typedef struct StringList {
    char **item; /* owned */
    size_t count;
} StringList;

typedef struct Option {
    const char *path; /* "train.learning_rate" */
    OptionType type;
    size_t offset;              /* of the value in the configuration struct */
    const char *initial;        /* default as JSON text: "1e-4", "true", "\"cosine\"", "null" */
    double minimum, maximum;    /* inclusive; both 0: no limit */
    const char *const *choices; /* NULL-terminated, for OPTION_CHOICE */
    const char *unit;           /* "tokens", "nats a sequence", or NULL */
    const char *help; /* one or more sentences; names the paper for an algorithm's default */
} Option;

typedef struct OptionTable {
    const Option *option;
    size_t count;
} OptionTable;

/* A command-line flag that stands for a path: {"--model", 'm', "model.path", "DIR"}. A bool
 * option's flag takes no argument. */
typedef struct OptionFlag {
    const char *name;
    char letter; /* 0: none */
    const char *path;
    const char *argument; /* for --help; NULL for a bool */
} OptionFlag;

typedef struct OptionProgram {
    const char *name;                /* "rlhf-sft" */
    const char *summary;             /* one sentence */
    const char *examples;            /* two or three command lines, newline-separated */
    const OptionTable *const *table; /* [tables] pointers: {&settings_table, &own_table} */
    size_t tables;
    /* [flag_lists] arrays, each ended by a row with name NULL: {settings_flags, own_flags}. Beside
     * the built-in --config FILE, --set PATH=VALUE, --help, --version. */
    const OptionFlag *const *flag;
    size_t flag_lists;
    const char *operands; /* usage text of positional arguments, or NULL if there are none */
} OptionProgram;

/* Where each value came from, for run.json and --verbose: "default", "file:line", "--set",
 * "--flag". */
typedef struct OptionOrigins OptionOrigins;

typedef enum OptionAction { OPTION_RUN, OPTION_EXIT } OptionAction;

/* The path of a later row is that of an earlier one: the later row counts; where it leaves help,
 * unit, choices or range empty, it keeps the earlier row's. Of flags with the same name the last
 * one counts.
 *
 * Flags: --flag VALUE, --flag=VALUE, -f VALUE, -fVALUE; bool flags --flag, --flag=false, -f, -fg.
 * "--" ends them. A flag's value is the bare text for strings, choices and lists (a list's flag may
 * be repeated), else JSON. --set PATH=VALUE takes JSON, or a bare string where the type wants one;
 * PATH may name a section, VALUE then being an object. A list is written ["x","y"].
 *
 * Reads the command line into *config (a zeroed struct): defaults, then --config, then flags and
 * --set. All errors of a configuration are collected and reported at once, one a line in err->text,
 * each with file:line:column or the flag, and a suggestion for an unknown key. --help and --version
 * (and
 * --help=all, --help=man in roff form) print to stdout and give OPTION_EXIT. Without any argument a
 * short help is printed and the error is ERROR_USAGE. Positional arguments are left in
 * operand[0..*operands) (operand and operands may be NULL for a program without them; the array is
 * released by options_done, its strings lie in argv). Errors of the command line are ERROR_USAGE,
 * of keys and values ERROR_CONFIG. On failure *config owns nothing and *origins is NULL. */
bool options_parse(const OptionProgram *program, int argc, char **argv, void *config,
                   OptionOrigins **origins, const char ***operand, size_t *operands,
                   OptionAction *action, Error *err);

/* The resolved configuration as indented JSON that --config reads back verbatim, with a comment at
 * each line that says where the value came from. Keys stand in table order, nested by their paths.
 */
bool options_write(const OptionProgram *program, const void *config, const OptionOrigins *origins,
                   Str *out, Error *err);

/* Origin of one path; "default" if it was never set. */
const char *options_origin(const OptionOrigins *origins, const char *path);

/* A run that goes on takes its saved configuration (the file that options_write made) instead of
 * defaults. What the command line or its --config file gives must be the same as what was saved, or
 * one of free_paths (NULL-terminated; a section stands for all below it), which then counts.
 * Differences are ERROR_CONFIG, all named; a file that is no JSON is ERROR_DATA. */
bool options_resume(const OptionProgram *program, void *config, OptionOrigins *origins,
                    const char *path, const char *const *free_paths, Error *err);

/* Releases what the configuration owns (strings, lists, JSON) and the origins. */
void options_done(const OptionProgram *program, void *config, OptionOrigins *origins);

/* Sets one value from JSON text after the fact (a run that continues adopts the saved
 * configuration). */
bool options_set(const OptionProgram *program, void *config, const char *path, const char *json,
                 Error *err);

/* Help text, also used by tests: level 0 = short, 1 = all options, 2 = man page (roff). */
void options_help(const OptionProgram *program, int level, Str *out);

#endif
