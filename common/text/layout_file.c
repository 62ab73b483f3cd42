/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/text/layout.h"
#include "common/text/layout_template.h"

static const char *const role_names[] = {"system", "user", "assistant"};

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
        return layout_set(field, NULL, err);
    }
    const char *text = json_string(item);
    if (text == NULL) {
        return fault(reading, dotted, false, err,
                     nullable ? "expected a string or null" : "expected a string", item);
    }
    return layout_set(field, text, err);
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

/* A layout that is a template has fewer members. */
static bool read_template(const Reading *reading, const cJSON *tree, const char *folder,
                          Layout *layout, Error *err) {
    const cJSON *date = json_member(tree, "date"), *variables = json_member(tree, "variables");
    const char *name = json_string(json_member(tree, "name"));
    for (const cJSON *item = tree->child; item != NULL; item = item->next) {
        bool eos = strcmp(item->string, "eos") == 0;
        if (eos && !read_string(reading, item, "eos", true, &layout->eos, err)) {
            return false;
        }
        if (!eos && item != date && item != variables && strcmp(item->string, "name") != 0) {
            return fault(reading, item->string, true, err,
                         "unknown key; a layout that is a template has name, eos, date and "
                         "variables",
                         NULL);
        }
    }
    date = date == NULL || cJSON_IsNull(date) ? NULL : date;
    if (date != NULL && !chat_template_date(json_string(date))) {
        return fault(reading, "date", false, err, "expected a day as YYYY-MM-DD", date);
    }
    if (variables != NULL && !cJSON_IsObject(variables)) {
        return fault(reading, "variables", false, err, "expected an object", variables);
    }
    if (layout->template != NULL && date == NULL && variables == NULL) {
        return true; /* a built-in one */
    }
    if (strcmp(name, "template") != 0) {
        return fault(reading, "name", false, err, "date and variables belong to \"template\"",
                     NULL);
    }
    bool found = false;
    return chat_template_read(&layout->template, folder, json_string(date), variables, &found,
                              err) &&
           (found || fault(reading, "name", false, err,
                           "the folder has no chat_template.jinja, nor a chat_template in its "
                           "tokenizer_config.json",
                           NULL));
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
        {.name = "framed",    .flag = &layout->framed   },
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
        "unknown key; a layout has name, prefix, separator, lead, turns, system, bos, framed, "
        "trim and eos",
        NULL);
}

static bool read_tree(const Reading *reading, const cJSON *tree, const char *folder, Layout *layout,
                      Error *err) {
    const char *name = json_string(json_member(tree, "name"));
    if (name == NULL || *name == '\0') {
        return fault(reading, "name", false, err, "expected the layout's name", NULL);
    }
    bool own = strcmp(name, "template") == 0;
    Layout read = {0};
    bool ok = own ? layout_set(&read.name, name, err)
                  : layout_init(&read, layout_is_built_in(name) ? name : "plain", err);
    if (ok && (own || read.template != NULL)) {
        ok = read_template(reading, tree, folder, &read, err);
    } else {
        for (const cJSON *item = tree->child; ok && item != NULL; item = item->next) {
            ok = read_member(reading, item, &read, err);
        }
    }
    if (ok) {
        *layout = read;
    } else {
        layout_done(&read);
    }
    return ok;
}

static bool load_file(Layout *layout, const char *folder, const char *path, Error *err) {
    Reading reading = {.path = path};
    bool ok = file_read(path, json_limits_config.bytes, &reading.text, err);
    cJSON *tree = !ok ? NULL
                      : json_parse(str_text(&reading.text), reading.text.size, path, 1,
                                   &json_limits_config, err);
    ok = tree != NULL && read_tree(&reading, tree, folder, layout, err);
    cJSON_Delete(tree);
    str_done(&reading.text);
    return ok;
}

static bool load_template(Layout *layout, const char *folder, bool *found, Error *err) {
    Layout read = {0};
    if (!chat_template_read(&read.template, folder, NULL, NULL, found, err)) {
        return false;
    }
    if (!*found) {
        return true;
    }
    if (!layout_set(&read.name, "template", err)) {
        layout_done(&read);
        return false;
    }
    *layout = read;
    return true;
}

bool layout_load(Layout *layout, const char *folder, bool *found, Error *err) {
    char *path = file_join(folder, "layout.json", err);
    if (path == NULL) {
        return false;
    }
    *found = file_exists(path);
    bool ok =
        *found ? load_file(layout, folder, path, err) : load_template(layout, folder, found, err);
    free(path);
    return ok;
}

bool layout_open(Layout *layout, const char *name, const char *folder, Error *err) {
    bool found = false;
    if (name != NULL && strcmp(name, "template") != 0) {
        return layout_init(layout, name, err);
    }
    if (name == NULL) {
        if ((folder != NULL && !layout_load(layout, folder, &found, err)) ||
            (!found && !layout_init(layout, "plain", err))) {
            return false;
        }
        layout->assumed = !found;
        return true;
    }
    if (folder == NULL) {
        return error_set(err, ERROR_CONFIG,
                         "the layout \"template\" is read from a model folder, and none is given");
    }
    Layout own = {0};
    if (!layout_load(&own, folder, &found, err)) {
        return false;
    }
    if (found && strcmp(own.name, "template") == 0) {
        *layout = own;
        return true;
    }
    layout_done(&own);
    return load_template(layout, folder, &found, err) &&
           (found || error_set(err, ERROR_CONFIG,
                               "%s has no chat_template.jinja, nor a chat_template in its "
                               "tokenizer_config.json, which the layout \"template\" needs",
                               folder));
}

bool layout_replace(Layout *layout, const char *prefix, const char *separator, const char *eos,
                    Error *err) {
    return (prefix == NULL || layout_set(&layout->prefix, prefix, err)) &&
           (separator == NULL || layout_set(&layout->separator, separator, err)) &&
           (eos == NULL || layout_set(&layout->eos, eos, err));
}

static void put_member(Str *out, const char *indent, const char *name, const char *text) {
    str_appendf(out, "%s\"%s\": ", indent, name);
    if (text == NULL) {
        str_append(out, "null");
    } else {
        json_put_string(out, text, strlen(text));
    }
}

static bool write_layout(const char *folder, const Str *text, Error *err) {
    char *path = file_join(folder, "layout.json", err);
    bool ok = path != NULL && str_ok(text, err) && file_write(path, text->data, text->size, err);
    free(path);
    return ok;
}

bool layout_save(const Layout *layout, const char *folder, Error *err) {
    Str out = {0};
    put_member(&out, "{\n  ", "name", layout->name);
    if (layout->template != NULL) {
        put_member(&out, ",\n  ", "eos", layout->eos);
        chat_template_put(layout->template, &out);
        str_append(&out, "\n}\n");
        bool ok =
            write_layout(folder, &out, err) && chat_template_save(layout->template, folder, err);
        str_done(&out);
        return ok;
    }
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
    str_append(&out, layout->framed ? ",\n  \"framed\": true" : "");
    str_appendf(&out, ",\n  \"bos\": %s,\n  \"trim\": %s", layout->bos ? "true" : "false",
                layout->trim ? "true" : "false");
    put_member(&out, ",\n  ", "eos", layout->eos);
    str_append(&out, "\n}\n");
    bool ok = write_layout(folder, &out, err);
    str_done(&out);
    return ok;
}
