/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/text/layout.h"

typedef struct BuiltIn {
    const char *name, *prefix, *separator;
    const char *before[3], *after[3]; /* system, user, assistant */
    const char *lead, *system, *eos;
    bool bos, trim;
} BuiltIn;

#define ALPACA_SYSTEM                                                                              \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes the request."

static const BuiltIn built_in[] = {
    {.name = "plain",
     .prefix = "",
     .separator = "\n",
     .before = {"", "", ""},
     .after = {"\n", "\n", "\n"},
     .lead = ""           },
    {                .name = "chatml",
     .prefix = "<|im_start|>user\n",
     .separator = "<|im_end|>\n<|im_start|>assistant\n",
     .before = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},
     .after = {"<|im_end|>\n", "<|im_end|>\n", "\n"},
     .lead = "",
     .eos = "<|im_end|>"},
    { .name = "llama3",
     .prefix = "<|start_header_id|>user<|end_header_id|>\n\n",
     .separator = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
     .before = {"<|start_header_id|>system<|end_header_id|>\n\n",
                "<|start_header_id|>user<|end_header_id|>\n\n",
                "<|start_header_id|>assistant<|end_header_id|>\n\n"},
     .after = {"<|eot_id|>", "<|eot_id|>", ""},
     .lead = "",
     .eos = "<|eot_id|>",
     .bos = true,
     .trim = true},
    {                         .name = "hh",
     .prefix = "\n\nHuman:",
     .separator = "\n\nAssistant:",
     .before = {"", "\n\nHuman:", "\n\nAssistant:"},
     .after = {"", "", ""},
     .lead = " ",
     .trim = true},
    {        .name = "alpaca",
     .prefix = ALPACA_SYSTEM "\n\n### Instruction:\n",
     .separator = "\n\n### Response:\n",
     .before = {"", "### Instruction:\n", "### Response:\n"},
     .after = {"\n\n", "\n\n", "\n\n"},
     .lead = "",
     .system = ALPACA_SYSTEM,
     .trim = true},
};

enum { BUILT_IN = sizeof built_in / sizeof *built_in };

const char *const layout_names[] = {"plain", "chatml", "llama3", "hh", "alpaca", NULL};

static const char *const role_names[] = {"system", "user", "assistant"};

static bool set(char **field, const char *value, Error *err) {
    free(*field);
    *field = NULL;
    if (value == NULL) {
        return true;
    }
    *field = mem_strdup(value, err);
    return *field != NULL;
}

static const BuiltIn *find(const char *name) {
    for (size_t i = 0; i < BUILT_IN; i++) {
        if (strcmp(built_in[i].name, name) == 0) {
            return &built_in[i];
        }
    }
    return NULL;
}

static bool fill(Layout *layout, const BuiltIn *from, const char *name, Error *err) {
    *layout = (Layout){.bos = from->bos, .trim = from->trim};
    bool ok = set(&layout->name, name, err) && set(&layout->prefix, from->prefix, err) &&
              set(&layout->separator, from->separator, err) &&
              set(&layout->lead, from->lead, err) && set(&layout->system, from->system, err) &&
              set(&layout->eos, from->eos, err);
    for (size_t i = 0; ok && i < 3; i++) {
        ok = set(&layout->turn_before[i], from->before[i], err) &&
             set(&layout->turn_after[i], from->after[i], err);
    }
    if (!ok) {
        layout_done(layout);
    }
    return ok;
}

bool layout_init(Layout *layout, const char *name, Error *err) {
    const BuiltIn *from = find(name);
    if (from != NULL) {
        return fill(layout, from, name, err);
    }
    const char *near = NULL;
    for (size_t i = 0; near == NULL && i < BUILT_IN; i++) {
        near = str_distance(name, built_in[i].name, 2) <= 2 ? built_in[i].name : NULL;
    }
    Str known = {0};
    for (size_t i = 0; i < BUILT_IN; i++) {
        str_appendf(&known, "%s%s", i == 0 ? "" : ", ", built_in[i].name);
    }
    error_set(err, ERROR_CONFIG, "unknown layout \"%.60s\"%s%s%s; there are %s", name,
              near == NULL ? "" : ", did you mean \"", near == NULL ? "" : near,
              near == NULL ? "" : "\"?", str_text(&known));
    str_done(&known);
    return false;
}

void layout_done(Layout *layout) {
    free(layout->name);
    free(layout->prefix);
    free(layout->separator);
    free(layout->lead);
    free(layout->system);
    free(layout->eos);
    for (size_t i = 0; i < 3; i++) {
        free(layout->turn_before[i]);
        free(layout->turn_after[i]);
    }
    *layout = (Layout){0};
}

/* layout.json while it is read. */
typedef struct Reading {
    const char *path;
    Str text;
} Reading;

static bool fault(const Reading *reading, const char *dotted, bool key, Error *err,
                  const char *expected, const cJSON *found) {
    long line = 0, column = 0;
    char shown[64];
    json_locate(reading->text.data, reading->text.size, dotted, key, &line, &column);
    return error_at(err, ERROR_DATA, reading->path, line, column, "%s: %s%s%s", dotted, expected,
                    found == NULL ? "" : ", found ",
                    found == NULL ? "" : json_describe(found, shown, sizeof shown));
}

static bool read_string(const Reading *reading, const cJSON *item, const char *dotted,
                        bool nullable, char **field, Error *err) {
    if (nullable && cJSON_IsNull(item)) {
        return set(field, NULL, err);
    }
    const char *text = json_string(item);
    if (text == NULL) {
        return fault(reading, dotted, false, err,
                     nullable ? "expected a string or null" : "expected a string", item);
    }
    return set(field, text, err);
}

static bool read_turn(const Reading *reading, const cJSON *turn, const char *dotted, size_t role,
                      Layout *layout, Error *err) {
    if (!cJSON_IsObject(turn)) {
        return fault(reading, dotted, false, err, "expected an object with before and after", turn);
    }
    for (const cJSON *item = turn->child; item != NULL; item = item->next) {
        char path[256];
        snprintf(path, sizeof path, "%s.%.100s", dotted, item->string);
        char **field = strcmp(item->string, "before") == 0  ? &layout->turn_before[role]
                       : strcmp(item->string, "after") == 0 ? &layout->turn_after[role]
                                                            : NULL;
        if (field == NULL) {
            return fault(reading, path, true, err, "unknown key, expected before or after", NULL);
        }
        if (!read_string(reading, item, path, false, field, err)) {
            return false;
        }
    }
    return true;
}

static bool read_turns(const Reading *reading, const cJSON *turns, Layout *layout, Error *err) {
    if (!cJSON_IsObject(turns)) {
        return fault(reading, "turns", false, err, "expected an object of roles", turns);
    }
    for (const cJSON *item = turns->child; item != NULL; item = item->next) {
        size_t role = 0;
        char path[128];
        snprintf(path, sizeof path, "turns.%.100s", item->string);
        while (role < 3 && strcmp(item->string, role_names[role]) != 0) {
            role++;
        }
        if (role == 3) {
            return fault(reading, path, true, err,
                         "unknown role, expected system, user or assistant", NULL);
        }
        if (!read_turn(reading, item, path, role, layout, err)) {
            return false;
        }
    }
    return true;
}

static bool read_member(const Reading *reading, const cJSON *item, Layout *layout, Error *err) {
    struct {
        const char *name;
        char **text;
        bool *flag;
    } known[] = {
        {.name = "name",      .text = &layout->name     },
        {.name = "prefix",    .text = &layout->prefix   },
        {.name = "separator", .text = &layout->separator},
        {.name = "lead",      .text = &layout->lead     },
        {.name = "system",    .text = &layout->system   },
        {.name = "eos",       .text = &layout->eos      },
        {.name = "bos",       .flag = &layout->bos      },
        {.name = "trim",      .flag = &layout->trim     },
    };
    if (strcmp(item->string, "turns") == 0) {
        return read_turns(reading, item, layout, err);
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(item->string, known[i].name) != 0) {
            continue;
        }
        if (known[i].text != NULL) {
            bool nullable = known[i].text == &layout->system || known[i].text == &layout->eos;
            return read_string(reading, item, known[i].name, nullable, known[i].text, err);
        }
        if (!cJSON_IsBool(item)) {
            return fault(reading, known[i].name, false, err, "expected true or false", item);
        }
        *known[i].flag = cJSON_IsTrue(item);
        return true;
    }
    return fault(
        reading, item->string, true, err,
        "unknown key; a layout has name, prefix, separator, lead, turns, system, bos, trim "
        "and eos",
        NULL);
}

static bool read_tree(const Reading *reading, const cJSON *tree, Layout *layout, Error *err) {
    const char *name = json_string(json_member(tree, "name"));
    if (name == NULL || *name == '\0') {
        return fault(reading, "name", false, err, "expected the layout's name", NULL);
    }
    const BuiltIn *from = find(name);
    Layout read = {0};
    bool ok = fill(&read, from == NULL ? &built_in[0] : from, name, err);
    for (const cJSON *item = tree->child; ok && item != NULL; item = item->next) {
        ok = read_member(reading, item, &read, err);
    }
    if (ok) {
        *layout = read;
    } else {
        layout_done(&read);
    }
    return ok;
}

bool layout_load(Layout *layout, const char *folder, bool *found, Error *err) {
    char *path = file_join(folder, "layout.json", err);
    if (path == NULL) {
        return false;
    }
    *found = file_exists(path);
    bool ok = true;
    if (*found) {
        Reading reading = {.path = path};
        ok = file_read(path, json_limits_config.bytes, &reading.text, err);
        cJSON *tree = !ok ? NULL
                          : json_parse(str_text(&reading.text), reading.text.size, path, 1,
                                       &json_limits_config, err);
        ok = tree != NULL && read_tree(&reading, tree, layout, err);
        cJSON_Delete(tree);
        str_done(&reading.text);
    }
    free(path);
    return ok;
}

static void put_member(Str *out, const char *indent, const char *name, const char *text) {
    str_appendf(out, "%s\"%s\": ", indent, name);
    if (text == NULL) {
        str_append(out, "null");
    } else {
        json_put_string(out, text, strlen(text));
    }
}

bool layout_save(const Layout *layout, const char *folder, Error *err) {
    Str out = {0};
    put_member(&out, "{\n  ", "name", layout->name);
    put_member(&out, ",\n  ", "prefix", layout->prefix);
    put_member(&out, ",\n  ", "separator", layout->separator);
    put_member(&out, ",\n  ", "lead", layout->lead);
    str_append(&out, ",\n  \"turns\": {");
    for (size_t i = 0; i < 3; i++) {
        str_appendf(&out, "%s\n    \"%s\": {", i == 0 ? "" : ",", role_names[i]);
        put_member(&out, "", "before", layout->turn_before[i]);
        put_member(&out, ", ", "after", layout->turn_after[i]);
        str_append_char(&out, '}');
    }
    str_append(&out, "\n  }");
    put_member(&out, ",\n  ", "system", layout->system);
    str_appendf(&out, ",\n  \"bos\": %s,\n  \"trim\": %s", layout->bos ? "true" : "false",
                layout->trim ? "true" : "false");
    put_member(&out, ",\n  ", "eos", layout->eos);
    str_append(&out, "\n}\n");
    char *path = file_join(folder, "layout.json", err);
    bool ok = path != NULL && str_ok(&out, err) && file_write(path, out.data, out.size, err);
    free(path);
    str_done(&out);
    return ok;
}
