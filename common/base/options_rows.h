/* SPDX-License-Identifier: MIT
 *
 * What the parts of options.h share: internal to common/base.
 */
#ifndef RLHF_BASE_OPTIONS_ROWS_H
#define RLHF_BASE_OPTIONS_ROWS_H

#include "common/base/options.h"

/* The tables of a program as one: each path once, at its first place, with its last row's content.
 * A last row without help, unit, choices or range has those of the row before. */
typedef struct OptionRows {
    Option *row; /* owned */
    size_t count;
} OptionRows;

bool option_rows_init(OptionRows *rows, const OptionProgram *program, Error *err);
void option_rows_done(OptionRows *rows);

/* Index of a path, or -1. */
long option_rows_find(const OptionRows *rows, const char *path);
/* Whether rows lie below "path.". */
bool option_rows_is_section(const OptionRows *rows, const char *path);
/* Appends `; did you mean "..."?` to *out if a path resembles this one. */
void option_rows_suggest(const OptionRows *rows, const char *path, Str *out);

struct OptionOrigins {
    char **path, **origin; /* owned; origin NULL: default */
    size_t count;
    const char **operand; /* owned array of borrowed strings */
};

/* Stores one value; append to a list that was set from the command line before with `append`. On
 * failure appends a sentence to *problem, without the path. false without a problem: out of memory.
 */
bool option_store(const Option *option, void *config, const cJSON *value, bool append,
                  Str *problem);
/* Appends what values the option takes: "a whole number from 1 to 8", "one of a, b". */
void option_expectation(const Option *option, Str *out);
/* Appends the value as JSON. */
void option_put_value(const Option *option, const void *config, Str *out);
/* All defaults into a zeroed configuration. */
bool option_defaults(const OptionRows *rows, void *config, Error *err);

/* The flag of this name ("--seed", its first `length` bytes) or letter; NULL if there is none.
 * Where lists name a flag twice, the later one counts. */
const OptionFlag *option_flag_find(const OptionProgram *program, const char *name, size_t length);
const OptionFlag *option_flag_letter(const OptionProgram *program, char letter);

/* The ten lines that a program prints when it is called with nothing. */
void option_help_brief(const OptionProgram *program, Str *out);

#endif
