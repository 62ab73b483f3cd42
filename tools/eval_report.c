/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/base/json.h"
#include "tools/eval.h"

enum { LABEL_WIDTH = 38, COLUMN_WIDTH = 12 };

static void put_value(const EvalMetric *metric, Str *out) {
    char text[64];
    if (metric->form == METRIC_COUNT) {
        snprintf(text, sizeof text, "%.0f", metric->value);
    } else if (metric->form == METRIC_SHARE) {
        snprintf(text, sizeof text, "%.1f %%", 100 * metric->value);
    } else {
        snprintf(text, sizeof text, "%.3f", metric->value);
    }
    str_appendf(out, "%*s", COLUMN_WIDTH, text);
}

static const EvalMetric *find(const EvalMetrics *metrics, const char *key) {
    for (size_t i = 0; i < metrics->count; i++) {
        if (strcmp(metrics->metric[i].key, key) == 0) {
            return &metrics->metric[i];
        }
    }
    return NULL;
}

/* Does a file before this one have the metric? */
static bool was_shown(const EvalFile *file, size_t before, const char *key) {
    for (size_t i = 0; i < before; i++) {
        if (find(&file[i].metrics, key) != NULL) {
            return true;
        }
    }
    return false;
}

static void put_files(const EvalFile *file, size_t files, Str *out) {
    str_appendf(out, "%-*s", LABEL_WIDTH, "");
    for (size_t i = 0; i < files; i++) {
        str_appendf(out, "%*.*s", COLUMN_WIDTH, COLUMN_WIDTH - 1, file[i].name);
    }
    str_append(out, "\n");
    for (size_t i = 0; i < files; i++) {
        for (size_t m = 0; m < file[i].metrics.count; m++) {
            const EvalMetric *metric = &file[i].metrics.metric[m];
            if (was_shown(file, i, metric->key)) {
                continue;
            }
            str_appendf(out, "%-*s", LABEL_WIDTH, metric->label);
            for (size_t k = 0; k < files; k++) {
                const EvalMetric *other = find(&file[k].metrics, metric->key);
                if (other != NULL) {
                    put_value(other, out);
                } else {
                    str_appendf(out, "%*s", COLUMN_WIDTH, "");
                }
            }
            str_append(out, "\n");
        }
    }
}

static void put_best_of(const EvalFile *file, Str *out) {
    str_appendf(out, "\nBest of n samples of %s, picked by reward\n", file->name);
    for (size_t m = 0; m < file->best_of[0].count; m++) {
        str_appendf(out, "%*s", COLUMN_WIDTH, file->best_of[0].metric[m].label);
    }
    str_append(out, "\n");
    for (size_t i = 0; i < file->best_ofs; i++) {
        for (size_t m = 0; m < file->best_of[i].count; m++) {
            put_value(&file->best_of[i].metric[m], out);
        }
        str_append(out, "\n");
    }
}

void eval_put_table(const EvalFile *file, size_t files, const EvalMetrics *rankings, Str *out) {
    if (files > 0) {
        put_files(file, files, out);
    }
    for (size_t i = 0; i < files; i++) {
        if (file[i].best_ofs > 0) {
            put_best_of(&file[i], out);
        }
    }
    if (rankings->count > 0) {
        str_appendf(out, "%sRankings\n", files > 0 ? "\n" : "");
    }
    for (size_t i = 0; i < rankings->count; i++) {
        str_appendf(out, "%-*s", LABEL_WIDTH + COLUMN_WIDTH, rankings->metric[i].label);
        put_value(&rankings->metric[i], out);
        str_append(out, "\n");
    }
}

static void put_metrics(const EvalMetrics *metrics, Str *out) {
    str_append(out, "{");
    for (size_t i = 0; i < metrics->count; i++) {
        json_put_key(out, metrics->metric[i].key);
        json_put_double(out, metrics->metric[i].value);
    }
    str_append(out, "}");
}

void eval_put_json(const EvalFile *file, size_t files, const EvalMetrics *rankings, Str *out) {
    str_append(out, "{\"files\":[");
    for (size_t i = 0; i < files; i++) {
        str_append(out, i > 0 ? ",{" : "{");
        json_put_key(out, "name");
        json_put_string(out, file[i].name, strlen(file[i].name));
        json_put_key(out, "file");
        json_put_string(out, file[i].path, strlen(file[i].path));
        json_put_key(out, "metrics");
        put_metrics(&file[i].metrics, out);
        json_put_key(out, "best_of");
        str_append(out, "[");
        for (size_t k = 0; k < file[i].best_ofs; k++) {
            str_append(out, k > 0 ? "," : "");
            put_metrics(&file[i].best_of[k], out);
        }
        str_append(out, "]}");
    }
    str_append(out, "],\"rankings\":");
    put_metrics(rankings, out);
    str_append(out, "}\n");
}
