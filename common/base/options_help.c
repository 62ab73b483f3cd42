/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/base/options_rows.h"

enum { COLUMNS = 80 };

static const OptionFlag built_in[] = {
    {"--config",  0,   NULL, "FILE"      },
    {"--set",     0,   NULL, "PATH=VALUE"},
    {"--help",    'h', NULL, NULL        },
    {"--version", 0,   NULL, NULL        },
};
static const char *const built_in_help[] = {
    "Read the configuration from FILE: JSON with comments. The command line goes before it.",
    "Set one configuration key; VALUE is JSON or a bare string. May be given several times.",
    "Show this text; --help=all shows every configuration key, --help=man a manual page.",
    "Show the version.",
};
static const struct {
    int code;
    const char *meaning;
} exit_codes[] = {
    {0,   "success"                                                       },
    {64,  "wrong command line"                                            },
    {65,  "wrong content of a file"                                       },
    {66,  "a file does not exist"                                         },
    {69,  "an outside program does not answer"                            },
    {70,  "an internal fault; please report it"                           },
    {71,  "out of memory or descriptors"                                  },
    {73,  "an output cannot be created, or the folder already holds a run"},
    {74,  "reading or writing failed"                                     },
    {75,  "a temporary failure; try again with --resume"                  },
    {77,  "permission denied"                                             },
    {78,  "wrong configuration"                                           },
    {80,  "a loss or gradient was not finite"                             },
    {81,  "stopped early by a rule"                                       },
    {130, "interrupted (SIGINT) after a checkpoint"                       },
    {143, "terminated (SIGTERM) after a checkpoint"                       },
};

/* Words of text in lines of at most COLUMNS, each indented. */
static void put_wrapped(Str *out, int indent, const char *text) {
    int column = 0;
    while (*text != '\0') {
        text += strspn(text, " \n");
        size_t length = strcspn(text, " \n");
        int width = 0;
        for (size_t i = 0; i < length; i++) {
            width += ((unsigned char)text[i] & 0xC0) != 0x80;
        }
        if (length == 0) {
            break;
        }
        if (column > 0 && column + 1 + width > COLUMNS) {
            str_append_char(out, '\n');
            column = 0;
        }
        if (column == 0) {
            str_appendf(out, "%*s", indent, "");
            column = indent;
        } else {
            str_append_char(out, ' ');
            column++;
        }
        str_append_bytes(out, text, length);
        column += width;
        text += length;
    }
    str_append_char(out, '\n');
}

/* One command line; a long one goes on behind a backslash, so that it can be copied. */
static void put_example(Str *out, const char *text, size_t length) {
    enum { INDENT = 2, MORE = 6 };
    int indent = INDENT;
    while (length > (size_t)(COLUMNS - indent)) {
        size_t cut = (size_t)(COLUMNS - indent) - 2;
        while (cut > 0 && !(text[cut] == ' ' && text[cut + 1] == '-')) {
            cut--;
        }
        if (cut == 0) {
            break;
        }
        str_appendf(out, "%*s%.*s \\\n", indent, "", (int)cut, text);
        text += cut + 1;
        length -= cut + 1;
        indent = MORE;
    }
    str_appendf(out, "%*s%.*s\n", indent, "", (int)length, text);
}

static void put_examples(Str *out, const char *examples) {
    while (examples != NULL && *examples != '\0') {
        size_t length = strcspn(examples, "\n");
        put_example(out, examples, length);
        examples += length + (examples[length] == '\n');
    }
}

static void put_usage(const OptionProgram *program, Str *out) {
    str_appendf(out, "Usage: %s [OPTION]...%s%s\n", program->name,
                program->operands == NULL ? "" : " ",
                program->operands == NULL ? "" : program->operands);
}

void option_help_brief(const OptionProgram *program, Str *out) {
    put_usage(program, out);
    put_wrapped(out, 0, program->summary);
    if (program->examples != NULL) {
        str_append(out, "\nExamples:\n");
        put_examples(out, program->examples);
    }
    str_appendf(out, "\n%s --help lists the options.\n", program->name);
}

static void put_flag_name(Str *out, const OptionFlag *flag) {
    if (flag->letter != 0) {
        str_appendf(out, "-%c, ", flag->letter);
    }
    str_append(out, flag->name);
    if (flag->argument != NULL) {
        str_appendf(out, " %s", flag->argument);
    }
}

/* "a number from 0 to 1; default 0.1" */
static void put_type(Str *out, const Option *option) {
    option_expectation(option, out);
    bool absent = option->initial == NULL || strcmp(option->initial, "null") == 0 ||
                  strcmp(option->initial, "\"\"") == 0 || strcmp(option->initial, "[]") == 0;
    if (!absent) {
        str_appendf(out, "; default %s", option->initial);
    }
}

/* What a flag does: the help of its key, the key, its type and default. */
static void put_flag_help(Str *out, const OptionRows *rows, const OptionFlag *flag) {
    long row = option_rows_find(rows, flag->path);
    if (row < 0) {
        return;
    }
    const Option *option = &rows->row[row];
    str_appendf(out, "%s [%s: ", option->help == NULL ? "" : option->help, option->path);
    put_type(out, option);
    str_append_char(out, ']');
}

/* Calls put for every flag once. */
static void each_flag(const OptionProgram *program, const OptionRows *rows, Str *out,
                      void (*put)(Str *out, const OptionFlag *flag, const char *help)) {
    Str help = {0};
    for (size_t l = 0; l < program->flag_lists; l++) {
        for (const OptionFlag *flag = program->flag[l]; flag->name != NULL; flag++) {
            if (option_flag_find(program, flag->name, strlen(flag->name)) == flag) {
                str_clear(&help);
                put_flag_help(&help, rows, flag);
                put(out, flag, str_text(&help));
            }
        }
    }
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++) {
        put(out, &built_in[i], built_in_help[i]);
    }
    str_done(&help);
}

static void put_plain_flag(Str *out, const OptionFlag *flag, const char *help) {
    str_append(out, "  ");
    put_flag_name(out, flag);
    str_append_char(out, '\n');
    put_wrapped(out, 6, help);
}

static void put_plain_keys(Str *out, const OptionRows *rows) {
    Str text = {0};
    str_append(out, "\nConfiguration keys:\n");
    for (size_t i = 0; i < rows->count; i++) {
        const Option *option = &rows->row[i];
        str_clear(&text);
        str_append(&text, option->help == NULL ? "" : option->help);
        str_append(&text, " [");
        put_type(&text, option);
        str_append_char(&text, ']');
        str_appendf(out, "  %s\n", option->path);
        put_wrapped(out, 6, str_text(&text));
    }
    str_append(out, "\nExit codes:\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++) {
        str_appendf(out, "  %3d  %s\n", exit_codes[i].code, exit_codes[i].meaning);
    }
    str_done(&text);
}

/* roff: a backslash, a hyphen and a point or apostrophe at the beginning of a line mean something.
 */
static void put_roff(Str *out, const char *text) {
    bool begin = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (begin && (*p == '.' || *p == '\'')) {
            str_append(out, "\\&");
        }
        begin = *p == '\n';
        if (*p == '\\') {
            str_append(out, "\\e");
        } else if (*p == '-') {
            str_append(out, "\\-");
        } else {
            str_append_char(out, *p);
        }
    }
}

static void put_roff_item(Str *out, const char *head, const char *text) {
    str_append(out, ".TP\n\\fB");
    put_roff(out, head);
    str_append(out, "\\fR\n");
    put_roff(out, text);
    str_append_char(out, '\n');
}

static void put_roff_flag(Str *out, const OptionFlag *flag, const char *help) {
    Str name = {0};
    put_flag_name(&name, flag);
    put_roff_item(out, str_text(&name), help);
    str_done(&name);
}

static void put_title(Str *out, const char *name) {
    for (const char *p = name; *p != '\0'; p++) {
        if (*p == '-') {
            str_append(out, "\\-");
        } else {
            str_append_char(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
        }
    }
}

static void put_man_page(const OptionProgram *program, const OptionRows *rows, Str *out) {
    str_append(out, ".TH ");
    put_title(out, program->name);
    str_appendf(out, " 1 \"\" \"rlhf.c %s\" \"User Commands\"\n.SH NAME\n", RLHF_VERSION);
    put_roff(out, program->name);
    str_append(out, " \\- ");
    put_roff(out, program->summary);
    str_append(out, "\n.SH SYNOPSIS\n.B ");
    put_roff(out, program->name);
    str_append(out, "\n[\\fIOPTION\\fR]...");
    if (program->operands != NULL) {
        str_append_char(out, ' ');
        put_roff(out, program->operands);
    }
    str_append(out, "\n.SH OPTIONS\n");
    each_flag(program, rows, out, put_roff_flag);
    str_append(
        out, ".SH CONFIGURATION\nKeys of the \\fB\\-\\-config\\fR file, nested by their points or "
             "written whole, and of \\fB\\-\\-set\\fR.\nThe command line goes before the file, the "
             "file before the defaults; environment variables configure nothing.\n");
    Str text = {0};
    for (size_t i = 0; i < rows->count; i++) {
        str_clear(&text);
        str_append(&text, rows->row[i].help == NULL ? "" : rows->row[i].help);
        str_append(&text, " [");
        put_type(&text, &rows->row[i]);
        str_append_char(&text, ']');
        put_roff_item(out, rows->row[i].path, str_text(&text));
    }
    str_append(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof exit_codes / sizeof *exit_codes; i++) {
        str_clear(&text);
        str_appendf(&text, "%d", exit_codes[i].code);
        put_roff_item(out, str_text(&text), exit_codes[i].meaning);
    }
    if (program->examples != NULL) {
        str_append(out, ".SH EXAMPLES\n.nf\n");
        put_roff(out, program->examples);
        str_append(out, "\n.fi\n");
    }
    str_done(&text);
}

void options_help(const OptionProgram *program, int level, Str *out) {
    OptionRows rows;
    if (!option_rows_init(&rows, program, NULL)) {
        out->failed = true;
        return;
    }
    if (level == 2) {
        put_man_page(program, &rows, out);
    } else {
        put_usage(program, out);
        put_wrapped(out, 0, program->summary);
        if (program->examples != NULL) {
            str_append(out, "\nExamples:\n");
            put_examples(out, program->examples);
        }
        str_append(out, "\nOptions:\n");
        each_flag(program, &rows, out, put_plain_flag);
        if (level == 1) {
            put_plain_keys(out, &rows);
        }
    }
    option_rows_done(&rows);
}
