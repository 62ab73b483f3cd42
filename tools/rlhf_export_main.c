/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/options.h"
#include "common/export/export.h"
#include "common/model/model_reader.h"

typedef enum Target { TARGET_GGUF, TARGET_OLLAMA, TARGET_HUGGINGFACE } Target;
typedef enum Type { TYPE_F32, TYPE_F16, TYPE_BF16, TYPE_Q8_0 } Type;

typedef struct Config {
    char *output, *name, *tokenizer;
    int target, type;
    int64_t shard;
    bool quiet;
} Config;

#define AT(field) offsetof(Config, field)

static const char *const targets[] = {"gguf", "ollama", "huggingface", NULL};
static const char *const types[] = {"f32", "f16", "bf16", "q8_0", NULL};
static const GgmlType ggml[] = {GGML_F32, GGML_F16, GGML_BF16, GGML_Q8_0};

/* clang-format off */
static const Option rows[] = {
    {"export.to", OPTION_CHOICE, AT(target), "\"gguf\"", .choices = targets,
     .help = "gguf: one file for llama.cpp, with tokenizer and chat template. ollama: a folder with "
             "that file and a Modelfile. huggingface: a model folder, adapters merged."},
    {"export.type", OPTION_CHOICE, AT(type), "\"f16\"", .choices = types,
     .help = "Type of matrices; of all weights for huggingface. q8_0, which that form lacks: blocks of "
             "32 weights in 8 bits with a scale."},
    {"export.max_shard_size", OPTION_INT, AT(shard), "5000", 0, 1e9, .unit = "MB",
     .help = "Largest file of weights of a folder; 0: one file."},
    {"export.name", OPTION_STRING, AT(name), "null",
     .help = "Name of the model in the file; null: that of its folder."},
    {"tokenizer.path", OPTION_STRING, AT(tokenizer), "null",
     .help = "Tokenizer's folder or file; null: the model's folder."},
    {"output", OPTION_STRING, AT(output), "null",
     .help = "File; for ollama and huggingface a folder, which must be absent or empty. All of it is "
             "there in the end, or nothing."},
    {"log.quiet", OPTION_BOOL, AT(quiet), "false", .help = "Say nothing but errors."},
};

static const OptionFlag flags[] = {
    {"--to", 0, "export.to", "FORM"},
    {"--type", 0, "export.type", "TYPE"},
    {"--name", 0, "export.name", "NAME"},
    {"--tokenizer", 0, "tokenizer.path", "PATH"},
    {"--max-shard-size", 0, "export.max_shard_size", "MB"},
    {"--output", 'o', "output", "PATH"},
    {"--quiet", 'q', "log.quiet", NULL},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

static const OptionTable table = {rows, sizeof rows / sizeof *rows};
static const OptionTable *const tables[] = {&table};
static const OptionFlag *const flag_lists[] = {flags};

static const OptionProgram program = {
    .name = "rlhf-export",
    .summary = "Writes a model folder in the form that other programs run.",
    .examples = "rlhf-export runs/ppo/model --to gguf --type q8_0 --output model.gguf\n"
                "rlhf-export runs/sft/model --to ollama --output my-model\n"
                "rlhf-export runs/lora/model --to huggingface --type bf16 --output merged",
    .table = tables,
    .tables = 1,
    .flag = flag_lists,
    .flag_lists = 1,
    .operands = "MODEL",
};

typedef struct Opened {
    ModelReader *reader;  /* owned */
    Tokenizer *tokenizer; /* owned */
    Layout layout;
    ExportSource source;
    char *name; /* owned */
} Opened;

static void opened_done(Opened *opened) {
    model_reader_close(opened->reader);
    tokenizer_free(opened->tokenizer);
    layout_done(&opened->layout);
    free(opened->name);
}

/* The last part of a path; of ".../NAME/model", as runs have them, NAME. */
static char *name_of(const char *folder, Error *err) {
    size_t end = strlen(folder);
    while (end > 1 && folder[end - 1] == '/') {
        end--;
    }
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/') {
        begin--;
    }
    if (begin > 1 && end - begin == 5 && memcmp(folder + begin, "model", 5) == 0) {
        end = begin - 1;
        for (begin = end; begin > 0 && folder[begin - 1] != '/';) {
            begin--;
        }
    }
    return begin < end ? mem_strndup(folder + begin, end - begin, err) : mem_strdup("model", err);
}

static bool open_model(Opened *opened, const char *folder, const Config *config, Error *err) {
    bool found = false;
    *opened = (Opened){0};
    opened->reader = model_reader_open(folder, err);
    if (opened->reader == NULL) {
        return false;
    }
    const Model *model = model_reader_model(opened->reader);
    opened->tokenizer = tokenizer_load(config->tokenizer != NULL ? config->tokenizer : folder, err);
    bool ok = opened->tokenizer != NULL &&
              (!file_is_folder(folder) || layout_load(&opened->layout, folder, &found, err));
    size_t known = ok ? tokenizer_vocabulary(opened->tokenizer) : 0;
    if (ok && known > model->config.vocabulary) {
        ok = error_set(err, ERROR_DATA,
                       "%s: the tokenizer has %zu tokens, the model %zu; they do not belong "
                       "together",
                       folder, known, model->config.vocabulary);
    }
    opened->name = !ok                    ? NULL
                   : config->name != NULL ? mem_strdup(config->name, err)
                                          : name_of(folder, err);
    if (opened->name == NULL) {
        opened_done(opened);
        return false;
    }
    opened->source = (ExportSource){model, opened->tokenizer, found ? &opened->layout : NULL,
                                    opened->name, opened->reader};
    return true;
}

static bool write_gguf(const Opened *opened, const Config *config, const char *path, Log *log,
                       Error *err) {
    Str notes = {0};
    bool ok = export_gguf(&opened->source, ggml[config->type], path, &notes, err);
    for (char *line = notes.data; ok && line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        log_warn(log, "%.*s", (int)(end - line), line);
        line = end + 1;
    }
    str_done(&notes);
    return ok;
}

static bool write_ollama(const Opened *opened, const Config *config, const char *folder, Log *log,
                         Error *err) {
    char from[64];
    Str text = {0};
    snprintf(from, sizeof from, "./model-%s.gguf", types[config->type]);
    bool ok = export_modelfile(&opened->source, from, &text, err);
    char *gguf = ok ? file_join(folder, from + 2, err) : NULL;
    char *modelfile = gguf != NULL ? file_join(folder, "Modelfile", err) : NULL;
    ok = modelfile != NULL && write_gguf(opened, config, gguf, log, err) &&
         file_write(modelfile, text.data, text.size, err);
    free(gguf);
    free(modelfile);
    str_done(&text);
    return ok;
}

static bool write_model(const Opened *opened, const Config *config, const char *folder,
                        Error *err) {
    static const TensorType type[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16};
    const Layout *layout = opened->source.layout;
    return model_reader_save(opened->reader, folder, type[config->type],
                             (size_t)config->shard * 1000000, err) &&
           tokenizer_save(opened->tokenizer, folder, err) &&
           (layout == NULL || layout_save(layout, folder, err));
}

/* A folder may be absent or empty. */
static bool claim_output(const char *output, Error *err) {
    char **name = NULL;
    size_t names = 0;
    if (!file_exists(output)) {
        return true;
    }
    if (!file_list(output, &name, &names, err)) {
        return false;
    }
    for (size_t i = 0; i < names; i++) {
        free(name[i]);
    }
    free(name);
    return names == 0 ||
           error_set(err, ERROR_CANNOT_CREATE,
                     "%s holds a model already, or other files; name a new folder", output);
}

/* It is made beside its place and renamed: whole or not there. */
static bool write_folder(const Opened *opened, const Config *config, Log *log, Error *err) {
    const char *output = config->output;
    size_t n = strlen(output);
    while (n > 1 && output[n - 1] == '/') {
        n--;
    }
    Str beside = {0};
    str_append_bytes(&beside, output, n);
    str_append(&beside, ".unfinished");
    const char *folder = str_text(&beside);
    if (!str_ok(&beside, err) || !claim_output(output, err) || !file_remove_tree(folder, err)) {
        str_done(&beside);
        return false;
    }
    bool ok = file_make_folders(folder, err) &&
              (config->target == TARGET_OLLAMA ? write_ollama(opened, config, folder, log, err)
                                               : write_model(opened, config, folder, err)) &&
              file_rename(folder, output, err);
    if (!ok) {
        file_remove_tree(folder, NULL);
    }
    str_done(&beside);
    return ok;
}

static bool run(const Config *config, const char *folder, Error *err) {
    Opened opened;
    Log log;
    log_init(&log, config->quiet ? LOG_QUIET : LOG_NORMAL);
    if (config->output == NULL) {
        return error_set(err, ERROR_USAGE, "no output: name it with --output PATH");
    }
    if (config->target == TARGET_HUGGINGFACE && config->type == TYPE_Q8_0) {
        return error_set(err, ERROR_USAGE, "a model folder holds f32, f16 or bf16, not q8_0");
    }
    if (!open_model(&opened, folder, config, err)) {
        return false;
    }
    bool ok = config->target == TARGET_GGUF ? write_gguf(&opened, config, config->output, &log, err)
                                            : write_folder(&opened, config, &log, err);
    if (ok) {
        log_info(&log, "%s: %s", config->output, types[config->type]);
    }
    if (ok && config->target == TARGET_OLLAMA) {
        log_info(&log, "ollama create NAME -f %s/Modelfile", config->output);
    }
    log_finish(&log);
    opened_done(&opened);
    return ok;
}

int main(int argc, char **argv) {
    Config config = {0};
    OptionOrigins *origins = NULL;
    OptionAction action = OPTION_RUN;
    const char **operand = NULL;
    size_t operands = 0;
    Error err = {0};
    bool ok =
        options_parse(&program, argc, argv, &config, &origins, &operand, &operands, &action, &err);
    if (ok && action == OPTION_RUN) {
        ok = operands == 1
                 ? run(&config, operand[0], &err)
                 : error_set(&err, ERROR_USAGE, "name one model folder, %zu were given", operands);
    }
    options_done(&program, &config, origins);
    if (!ok) {
        error_print(&err, program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
