/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/options.h"
#include "tools/inspect.h"

typedef struct Config {
    bool json, quick, tensors;
    int64_t tokens, context;
} Config;

#define AT(field) offsetof(Config, field)

/* clang-format off */
static const Option rows[] = {
    {"inspect.json", OPTION_BOOL, AT(json), "false", .help = "One JSON object; sizes in bytes."},
    {"inspect.quick", OPTION_BOOL, AT(quick), "false",
     .help = "Read configuration and headers only: faults of weights are not found."},
    {"inspect.tensors", OPTION_BOOL, AT(tensors), "false",
     .help = "Every tensor, not one line for those that all blocks have."},
    {"inspect.tokens", OPTION_INT, AT(tokens), "4096", 1, 1 << 24, .unit = "tokens",
     .help = "Micro-batch that memory is told for."},
    {"inspect.context", OPTION_INT, AT(context), "512", 2, 1 << 22, .unit = "tokens",
     .help = "Longest prompt and completion that memory is told for."},
};

static const OptionFlag flags[] = {
    {"--json", 'j', "inspect.json", NULL},
    {"--quick", 0, "inspect.quick", NULL},
    {"--tensors", 0, "inspect.tensors", NULL},
    {"--tokens", 0, "inspect.tokens", "N"},
    {"--context", 0, "inspect.context", "N"},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

static const OptionTable table = {rows, sizeof rows / sizeof *rows};
static const OptionTable *const tables[] = {&table};
static const OptionFlag *const flag_lists[] = {flags};

static const OptionProgram program = {
    .name = "rlhf-inspect",
    .summary = "Says what a model, run, tokenizer or file of weights holds, and what would be "
               "refused.",
    .examples = "rlhf-inspect runs/ppo\n"
                "rlhf-inspect model.gguf --tensors\n"
                "rlhf-inspect SmolLM2-135M --tokens 2048 --json",
    .table = tables,
    .tables = 1,
    .flag = flag_lists,
    .flag_lists = 1,
    .operands = "PATH",
};

static bool has(const char *folder, const char *name) {
    char *path = file_join(folder, name, NULL);
    bool there = path != NULL && file_exists(path);
    free(path);
    return there;
}

static void inspect_inner(Inspection *in, const char *folder, const char *name) {
    char *path = file_join(folder, name, NULL);
    in->failed = in->failed || path == NULL;
    if (path != NULL) {
        inspect_put(in, in->root, "model_path", "%s", path);
        inspect_model(in, path);
    }
    free(path);
}

/* A folder of folders: names of those whose name begins with `prefix`. */
static void list_names(Inspection *in, const char *folder, const char *name, const char *prefix,
                       const char *key) {
    char *path = file_join(folder, name, NULL), **names = NULL;
    size_t count = 0;
    if (path != NULL && file_is_folder(path) && file_list(path, &names, &count, NULL)) {
        cJSON *list = inspect_array(in, in->root, key);
        for (size_t i = 0; i < count; i++) {
            if (str_starts_with(names[i], prefix)) {
                cJSON_AddItemToArray(list, cJSON_CreateString(names[i]));
            }
            free(names[i]);
        }
    }
    free(names);
    free(path);
}

static void inspect_folder(Inspection *in, const char *path) {
    if (has(path, "run.json")) {
        inspect_put(in, in->root, "kind", "run folder");
        inspect_flag(in, in->root, "finished", has(path, "report.md"));
        list_names(in, path, "checkpoints", "step-", "checkpoints");
        if (has(path, "model")) {
            inspect_inner(in, path, "model");
        }
    } else if (has(path, "manifest.json")) {
        inspect_put(in, in->root, "kind", "checkpoint");
        inspect_inner(in, path, "model");
    } else if (has(path, "config.json") || has(path, "adapter_config.json")) {
        inspect_put(in, in->root, "kind", "%s",
                    has(path, "adapter_config.json") ? "adapter folder" : "model folder");
        inspect_model(in, path);
    } else {
        inspect_put(in, in->root, "kind", "folder without a model");
        inspect_tokenizer(in, path);
    }
}

static bool read_magic(const char *path, char magic[8], Error *err) {
    FileMap map;
    if (!file_map(&map, path, err)) {
        return false;
    }
    memset(magic, 0, 8);
    memcpy(magic, map.size > 0 ? (const void *)map.data : "", map.size < 8 ? map.size : 8);
    file_unmap(&map);
    return true;
}

static void inspect_file(Inspection *in, const char *path, const char *magic) {
    if (memcmp(magic, "GGUF", 4) == 0 || str_ends_with(path, ".gguf")) {
        inspect_put(in, in->root, "kind", "GGUF file");
        inspect_gguf(in, path);
    } else if (str_ends_with(path, ".safetensors")) {
        inspect_put(in, in->root, "kind", "safetensors file");
        inspect_safetensors(in, path);
    } else if (memcmp(magic, "PK\3\4", 4) == 0 || (unsigned char)magic[0] == 0x80) {
        Error err = {0};
        inspect_put(in, in->root, "kind", "PyTorch pickle");
        error_at(&err, ERROR_DATA, path, 0, 0,
                 "a pickle runs the code that is in it; save the model as safetensors with the "
                 "program it is from");
        inspect_refuse(in, &err);
    } else if (str_ends_with(path, ".bin") && strstr(path, "tok") == NULL) {
        inspect_put(in, in->root, "kind", "llama2.c model");
        inspect_model(in, path);
    } else {
        inspect_put(in, in->root, "kind", "tokenizer file");
        inspect_tokenizer(in, path);
    }
}

/* 1234567 bytes as "1.2 MB". */
static void put_bytes(Str *out, double bytes) {
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    size_t unit = 0;
    for (; bytes >= 1000 && unit < 4; unit++) {
        bytes /= 1000;
    }
    str_appendf(out, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

static void put_scalar(Str *out, const cJSON *item) {
    if (cJSON_IsString(item)) {
        str_append(out, item->valuestring);
    } else if (cJSON_IsBool(item)) {
        str_append(out, cJSON_IsTrue(item) ? "yes" : "no");
    } else if (item->string != NULL && str_ends_with(item->string, "_bytes")) {
        put_bytes(out, item->valuedouble);
    } else {
        json_put_double(out, item->valuedouble);
    }
}

/* The name of a member: "data_bytes" is "data". */
static void put_name(Str *out, const char *key, int indent) {
    size_t begin = out->size, n = strlen(key) - (str_ends_with(key, "_bytes") ? 6 : 0);
    str_appendf(out, "%*s", indent, "");
    for (size_t i = 0; i < n; i++) {
        str_append_char(out, key[i] == '_' && strchr(key, '.') == NULL ? ' ' : key[i]);
    }
    size_t column = strchr(key, '.') == NULL ? 24 : 44;
    do {
        str_append_char(out, ' ');
    } while (out->size - begin < column && !out->failed);
}

static void put_tree(Str *out, const cJSON *tree, int indent) {
    for (const cJSON *item = tree->child; item != NULL; item = item->next) {
        if (cJSON_IsObject(item) && item->string == NULL) { /* a tensor */
            str_appendf(out, "%*s%-44s %-5s %-16s x %.0f\n", indent, "",
                        cJSON_GetObjectItem(item, "name")->valuestring,
                        cJSON_GetObjectItem(item, "type")->valuestring,
                        cJSON_GetObjectItem(item, "shape")->valuestring,
                        cJSON_GetObjectItem(item, "count")->valuedouble);
        } else if (cJSON_IsObject(item) || cJSON_IsArray(item)) {
            if (strcmp(item->string, "list") != 0) {
                put_name(out, item->string, indent);
                str_append_char(out, '\n');
            }
            put_tree(out, item, indent + 2);
        } else {
            if (item->string != NULL) {
                put_name(out, item->string, indent);
            } else {
                str_appendf(out, "%*s", indent, "");
            }
            put_scalar(out, item);
            str_append_char(out, '\n');
        }
    }
}

/* Control characters of files' texts are not for a terminal. */
static void clean(Str *text) {
    for (size_t i = 0; i < text->size; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if ((c < 0x20 && c != '\n') || c == 0x7f) {
            text->data[i] = '?';
        }
    }
}

static bool run(const Config *config, const char *path, Error *err) {
    Inspection in = {.root = cJSON_CreateObject(),
                     .quick = config->quick,
                     .tensors = config->tensors,
                     .tokens = (size_t)config->tokens,
                     .context = (size_t)config->context};
    char magic[8];
    Str out = {0};
    bool ok = in.root != NULL || error_set(err, ERROR_OS, "out of memory");
    if (ok && file_is_folder(path)) {
        inspect_put(&in, in.root, "path", "%s", path);
        inspect_folder(&in, path);
    } else if (ok && read_magic(path, magic, err)) {
        inspect_put(&in, in.root, "path", "%s", path);
        inspect_file(&in, path, magic);
    } else {
        ok = false;
    }
    ok = ok && (!in.failed || error_set(err, ERROR_OS, "out of memory"));
    if (ok && config->json) {
        json_put_tree(&out, in.root, true);
        str_append_char(&out, '\n');
    } else if (ok) {
        put_tree(&out, in.root, 0);
        clean(&out);
    }
    ok = ok && str_ok(&out, err);
    if (ok && (fwrite(out.data, 1, out.size, stdout) != out.size || fflush(stdout) != 0)) {
        ok = error_errno(err, "writing", "standard output");
    }
    if (ok && in.refused.code != ERROR_NONE) {
        *err = in.refused;
        ok = false;
    }
    str_done(&out);
    cJSON_Delete(in.root);
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
        ok = operands == 1 ? run(&config, operand[0], &err)
                           : error_set(&err, ERROR_USAGE, "name one folder or file, %zu were given",
                                       operands);
    }
    options_done(&program, &config, origins);
    if (!ok) {
        error_print(&err, program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
