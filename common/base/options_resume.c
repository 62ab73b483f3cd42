/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/options_rows.h"

typedef struct Resume {
    OptionRows rows;
    void *config;
    OptionOrigins *origins;
    const char *path;
    const char *const *may_change;
    Str text; /* of the saved configuration */
    cJSON *tree;
    Str differences;
} Resume;

static bool may_change(const Resume *resume, const char *path) {
    for (size_t i = 0; resume->may_change[i] != NULL; i++) {
        const char *allowed = resume->may_change[i];
        size_t n = strlen(allowed);
        if (strncmp(allowed, path, n) == 0 && (path[n] == '\0' || path[n] == '.')) {
            return true;
        }
    }
    return false;
}

static const cJSON *saved_value(const Resume *resume, const char *path) {
    const cJSON *item = resume->tree;
    while (item != NULL && *path != '\0') {
        char part[128];
        size_t n = strcspn(path, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        item = json_member(item, part);
        path += n + (path[n] == '.');
    }
    return item;
}

static bool store(const Resume *resume, const Option *option, const cJSON *value, Error *err) {
    Str problem = {0};
    bool ok = option_store(option, resume->config, value, false, &problem);
    if (!ok && problem.size == 0) {
        error_set(err, ERROR_OS, "out of memory while reading the configuration");
    } else if (!ok) {
        long line, column;
        json_locate(str_text(&resume->text), resume->text.size, option->path, false, &line,
                    &column);
        error_at(err, ERROR_CONFIG, resume->path, line, column, "%s: %s", option->path,
                 str_text(&problem));
    }
    str_done(&problem);
    return ok;
}

static bool store_text(const Resume *resume, const Option *option, const Str *json, Error *err) {
    cJSON *value = json_parse(json->data, json->size, NULL, 1, &json_limits_config, err);
    bool ok = value != NULL && store(resume, option, value, err);
    cJSON_Delete(value);
    return ok;
}

static bool set_origin(Resume *resume, size_t row, Error *err) {
    char origin[ERROR_FILE_SIZE];
    long line, column;
    json_locate(str_text(&resume->text), resume->text.size, resume->rows.row[row].path, false,
                &line, &column);
    snprintf(origin, sizeof origin, "%s:%ld", resume->path, line);
    char *copy = mem_strdup(origin, err);
    if (copy != NULL) {
        free(resume->origins->origin[row]);
        resume->origins->origin[row] = copy;
    }
    return copy != NULL;
}

static bool adopt(Resume *resume, size_t row, Error *err) {
    const Option *option = &resume->rows.row[row];
    const cJSON *value = saved_value(resume, option->path);
    bool given = resume->origins->origin[row] != NULL;
    Str now = {0}, saved = {0};
    if (value == NULL || (given && may_change(resume, option->path))) {
        return true;
    }
    option_put_value(option, resume->config, &now);
    bool ok = store(resume, option, value, err);
    option_put_value(option, resume->config, &saved);
    ok = ok && str_ok(&now, err) && str_ok(&saved, err);
    if (ok && given && strcmp(str_text(&now), str_text(&saved)) != 0) {
        str_appendf(&resume->differences, "%s%s is %s in %s, but %s gives %s",
                    resume->differences.size == 0 ? "" : "; ", option->path, str_text(&saved),
                    resume->path, resume->origins->origin[row], str_text(&now));
        ok = store_text(resume, option, &now, err);
    } else if (ok && !given) {
        ok = set_origin(resume, row, err);
    }
    str_done(&now);
    str_done(&saved);
    return ok;
}

static bool read_saved(Resume *resume, Error *err) {
    if (!file_read(resume->path, json_limits_config.bytes, &resume->text, err)) {
        return false;
    }
    resume->tree = json_parse(str_text(&resume->text), resume->text.size, resume->path, 1,
                              &json_limits_config, err);
    return resume->tree != NULL &&
           (cJSON_IsObject(resume->tree) ||
            error_at(err, ERROR_DATA, resume->path, 1, 1, "expected an object with sections"));
}

bool options_resume(const OptionProgram *program, void *config, OptionOrigins *origins,
                    const char *path, const char *const *free_paths, Error *err) {
    Resume resume = {.config = config, .origins = origins, .path = path, .may_change = free_paths};
    bool ok = option_rows_init(&resume.rows, program, err) && read_saved(&resume, err);
    for (size_t i = 0; ok && i < resume.rows.count; i++) {
        ok = adopt(&resume, i, err);
    }
    if (ok && resume.differences.size > 0) {
        ok = error_set(err, ERROR_CONFIG,
                       "a run goes on with its own configuration: %s; leave these out, or name "
                       "another output folder",
                       str_text(&resume.differences));
    }
    cJSON_Delete(resume.tree);
    str_done(&resume.text);
    str_done(&resume.differences);
    option_rows_done(&resume.rows);
    return ok;
}
