/* SPDX-License-Identifier: MIT */
#include "tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/model/family.h"
#include "common/stage/stage.h"

#define AT(field) offsetof(ToolConfig, field)
#define COLUMN(name)                                                                               \
    {                                                                                              \
        .path = "data.columns." #name, .type = OPTION_STRING, .offset = AT(data.columns.name),     \
        .initial = "null", .help = "Column or key that holds the " #name "."                       \
    }

/* clang-format off */
static const Option rows[] = {
    {"model.path", OPTION_STRING, AT(model), "null",
     .help = "Model folder (config.json, model.safetensors, tokenizer.json, layout.json)."},
    {"tokenizer.path", OPTION_STRING, AT(tokenizer), "null",
     .help = "Folder or file of the tokenizer; null: the model folder's."},
    {"data.files", OPTION_STRINGS, AT(data.files), "[]",
     .help = "Files with the records: CSV, TSV, JSON, JSON lines; .gz alike."},
    {"data.root", OPTION_STRING, AT(data.root), "null",
     .help = "Folder that file names are relative to; null: the working directory."},
    {"data.format", OPTION_STRING, AT(data.format), "\"auto\"",
     .help = "Form of the records; auto recognizes it."},
    COLUMN(prompt), COLUMN(completion), COLUMN(chosen), COLUMN(rejected), COLUMN(completions),
    COLUMN(ranks), COLUMN(ranking), COLUMN(scores), COLUMN(messages), COLUMN(text), COLUMN(label),
    COLUMN(margin), COLUMN(annotator),
    {"data.skip_bad", OPTION_BOOL, AT(data.skip_bad), "false",
     .help = "Count and skip bad records instead of stopping at the first."},
    {"data.limit", OPTION_INT, AT(data.limit), "0", 0, 1e15, .unit = "records",
     .help = "Only the first records; 0: all."},
    {"layout.name", OPTION_STRING, AT(layout.name), "null",
     .help = "Layout of prompts and turns; null: the model folder's, else plain."},
    {"layout.separator", OPTION_STRING, AT(layout.separator), "null",
     .help = "Text between prompt and completion; null: the layout's."},
    {"layout.prefix", OPTION_STRING, AT(layout.prefix), "null",
     .help = "Text before a prompt; null: the layout's."},
    {"layout.eos", OPTION_STRING, AT(layout.eos), "null",
     .help = "Token that ends a completion; null: the layout's, else the tokenizer's."},
    {"output", OPTION_STRING, AT(output), "null",
     .help = "File for the JSON lines, complete or absent; null: standard output."},
    {"compute.threads", OPTION_INT, AT(threads), "0", 0, 1024, .unit = "threads",
     .help = "Threads; 0: one for each processor."},
    {"log.quiet", OPTION_BOOL, AT(quiet), "false", .help = "Say nothing but warnings and errors."},
    {"log.verbose", OPTION_BOOL, AT(verbose), "false", .help = "Say more."},
};

const OptionFlag tool_flags[] = {
    {"--model", 'm', "model.path", "DIR"},
    {"--tokenizer", 0, "tokenizer.path", "PATH"},
    {"--data", 'd', "data.files", "FILE"},
    {"--output", 'o', "output", "FILE"},
    {"--threads", 't', "compute.threads", "N"},
    {"--quiet", 'q', "log.quiet", NULL},
    {"--verbose", 'v', "log.verbose", NULL},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

const OptionTable tool_table = {rows, sizeof rows / sizeof *rows};

static bool open_layout(Tool *tool, const ToolConfig *config, Error *err) {
    Layout *layout = &tool->layout;
    bool encoder = family_is_encoder(&tool->model.config);
    return layout_open(layout, config->layout.name, config->model, err) &&
           layout_frame(layout, tool->tokenizer, encoder, err) &&
           layout_replace(layout, config->layout.prefix, config->layout.separator,
                          config->layout.eos, err);
}

/* The end of completions; a tokenizer may have none unless the layout asks for one by name. */
static bool find_eos(Tool *tool, Error *err) {
    if (tool->layout.eos == NULL && tokenizer_eos(tool->tokenizer) < 0) {
        tool->eos = -1;
    } else if (!layout_eos(&tool->layout, tool->tokenizer, &tool->eos, err)) {
        return false;
    }
    return true;
}

bool tool_open(Tool *tool, const ToolConfig *config, int head, Error *err) {
    *tool = (Tool){.eos = -1};
    log_init(&tool->log, config->quiet ? LOG_QUIET : config->verbose ? LOG_VERBOSE : LOG_NORMAL);
    if (config->model == NULL) {
        return error_set(err, ERROR_USAGE, "no model: name its folder with --model DIR");
    }
    if (!stage_threads(config->threads, err) ||
        !model_load(&tool->model, config->model, head, 0, NULL, err)) {
        return false;
    }
    tool->tokenizer =
        tokenizer_load(config->tokenizer == NULL ? config->model : config->tokenizer, err);
    bool ok = tool->tokenizer != NULL && open_layout(tool, config, err);
    if (ok && tokenizer_vocabulary(tool->tokenizer) > tool->model.config.vocabulary) {
        ok = error_set(
            err, ERROR_DATA,
            "%s: the tokenizer has %zu tokens, the model %zu; they do not belong together",
            config->model, tokenizer_vocabulary(tool->tokenizer), tool->model.config.vocabulary);
    }
    ok = ok && find_eos(tool, err);
    if (!ok) {
        tool_close(tool);
    }
    return ok;
}

void tool_close(Tool *tool) {
    log_finish(&tool->log);
    layout_done(&tool->layout);
    tokenizer_free(tool->tokenizer);
    model_done(&tool->model);
    *tool = (Tool){.eos = -1};
}

bool tool_read(Tool *tool, const ToolConfig *config, bool keep_extra, unsigned accept, DataSet *set,
               Error *err) {
    DataOptions options = {.root = config->data.root,
                           .format = config->data.format,
                           .columns = config->data.columns,
                           .keep_extra = keep_extra,
                           .unranked = true,
                           .skip_bad = config->data.skip_bad,
                           .accept = accept};
    if (!dataset_read(set, &config->data.files, &options, err)) {
        return false;
    }
    dataset_limit(set, (size_t)config->data.limit);
    log_info(&tool->log, "%s", str_text(&set->description));
    if (set->bad > 0) {
        log_warn(&tool->log, "%zu bad records were skipped", set->bad);
    }
    return true;
}

bool lines_open(Lines *lines, const char *path, Error *err) {
    *lines = (Lines){.to_file = path != NULL};
    return path == NULL || file_writer_open(&lines->file, path, err);
}

bool lines_put(Lines *lines, const Str *text, Error *err) {
    if (!str_ok(text, err)) {
        return false;
    }
    if (lines->to_file) {
        return file_writer_put(&lines->file, text->data, text->size, err);
    }
    return fwrite(str_text(text), 1, text->size, stdout) == text->size ||
           error_errno(err, "writing", "standard output");
}

bool lines_commit(Lines *lines, Error *err) {
    if (lines->to_file) {
        return file_writer_commit(&lines->file, NULL, err);
    }
    return fflush(stdout) == 0 || error_errno(err, "writing", "standard output");
}

void lines_abort(Lines *lines) {
    if (lines->to_file) {
        file_writer_abort(&lines->file);
    }
}
