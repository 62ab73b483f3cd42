/* SPDX-License-Identifier: MIT
 *
 * What the small programs that run a model share: their common options, a model folder opened with
 * its tokenizer and layout, and JSON lines as output.
 */
#ifndef RLHF_TOOLS_TOOL_H
#define RLHF_TOOLS_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/options.h"
#include "common/model/model.h"
#include "common/text/layout.h"
#include "common/text/tokenizer.h"
#include "datasets/dataset.h"

/* A program's own configuration begins with this. */
typedef struct ToolConfig {
    char *model, *tokenizer, *output;
    struct {
        char *root, *format;
        StringList files;
        DataColumns columns;
        bool skip_bad;
        int64_t limit;
    } data;
    struct {
        char *name, *separator, *prefix, *eos;
    } layout;
    int64_t threads;
    bool quiet, verbose;
} ToolConfig;

/* Rows over a ToolConfig at offset 0, and the flags for them. */
extern const OptionTable tool_table;
extern const OptionFlag tool_flags[];

typedef struct Tool {
    Log log;
    Tokenizer *tokenizer; /* owned */
    Layout layout;
    Model model;
    int32_t eos; /* what ends a completion; -1: nothing does */
} Tool;

/* Log, threads, and the folder --model names. head as in model_load. The tokenizer must not know
 * more ids than the model. The model's EOS becomes the layout's. */
bool tool_open(Tool *tool, const ToolConfig *config, int head, Error *err);
void tool_close(Tool *tool);

/* The records of --data, of the kinds in the bit set `accept`; says what was recognized. */
bool tool_read(Tool *tool, const ToolConfig *config, bool keep_extra, unsigned accept, DataSet *set,
               Error *err);

/* Lines to a file that appears whole or not at all, or to standard output. */
typedef struct Lines {
    FileWriter file;
    bool to_file;
} Lines;
bool lines_open(Lines *lines, const char *path, Error *err); /* NULL: standard output */
bool lines_put(Lines *lines, const Str *text, Error *err);
bool lines_commit(Lines *lines, Error *err);
void lines_abort(Lines *lines); /* safe after commit */

#endif
