/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/train/checkpoint.h"
#include "common/train/trainer_private.h"

/* Where a metric was reported first and last, and what it was at the published step. */
typedef struct Row {
    char name[METRIC_NAME];
    double first, last, chosen;
    int64_t first_step, last_step;
    bool has_chosen;
} Row;

typedef struct Table {
    Row row[2 * METRICS_MOST];
    size_t rows;
} Table;

static Row *find_row(Table *table, const char *name) {
    for (size_t i = 0; i < table->rows; i++) {
        if (strcmp(table->row[i].name, name) == 0) {
            return &table->row[i];
        }
    }
    if (table->rows == sizeof table->row / sizeof *table->row || strlen(name) >= METRIC_NAME) {
        return NULL;
    }
    Row *row = &table->row[table->rows++];
    *row = (Row){.first_step = -1};
    memcpy(row->name, name, strlen(name) + 1);
    return row;
}

static void add_line(Table *table, const cJSON *line, int64_t chosen_step) {
    int64_t step;
    if (!json_integer(json_member(line, "step"), 0, INT32_MAX, &step)) {
        return;
    }
    for (const cJSON *item = line->child; item != NULL; item = item->next) {
        if (!cJSON_IsNumber(item) || strcmp(item->string, "step") == 0) {
            continue;
        }
        Row *row = find_row(table, item->string);
        if (row == NULL) {
            continue;
        }
        if (row->first_step < 0) {
            row->first_step = step;
            row->first = item->valuedouble;
        }
        row->last_step = step;
        row->last = item->valuedouble;
        if (step == chosen_step) {
            row->chosen = item->valuedouble;
            row->has_chosen = true;
        }
    }
}

static bool read_metrics(const Run *run, int64_t chosen_step, Table *table, Error *err) {
    LineReader reader;
    char *path = file_join(run->folder, "metrics.jsonl", err);
    bool ok = path != NULL && line_reader_open(&reader, path, json_limits_line.bytes, err);
    if (ok) {
        bool got = true;
        while ((ok = line_reader_next(&reader, &got, err)) && got) {
            cJSON *line = json_parse(reader.line.data, reader.line.size, path, reader.number,
                                     &json_limits_line, err);
            ok = line != NULL;
            if (!ok) {
                break;
            }
            add_line(table, line, chosen_step);
            cJSON_Delete(line);
        }
        line_reader_close(&reader);
    }
    free(path);
    return ok;
}

static void put_table(const Table *table, int64_t chosen_step, Str *out) {
    str_appendf(out,
                "| metric | first | (step) | last | (step) | published, step %lld |\n"
                "|---|---:|---:|---:|---:|---:|\n",
                (long long)chosen_step);
    for (size_t i = 0; i < table->rows; i++) {
        const Row *row = &table->row[i];
        str_appendf(out, "| %s | %.6g | %lld | %.6g | %lld | ", row->name, row->first,
                    (long long)row->first_step, row->last, (long long)row->last_step);
        if (row->has_chosen) {
            str_appendf(out, "%.6g |\n", row->chosen);
        } else {
            str_append(out, "- |\n");
        }
    }
}

static bool write_report(Trainer *t, int64_t chosen_step, Error *err) {
    Table *table = mem_alloc(1, sizeof *table, err);
    Str text = {0};
    bool ok = table != NULL && read_metrics(t->run, chosen_step, table, err);
    if (ok) {
        str_appendf(&text,
                    "# Report\n\n%lld %ss of %lld planned%s. The result is the state after "
                    "%s %lld",
                    (long long)t->state.step, t->stage->progress_what, (long long)t->options->steps,
                    t->state.finished && t->state.step < t->options->steps ? ", ended by a rule"
                                                                           : "",
                    t->stage->progress_what, (long long)chosen_step);
        if (t->state.best_step >= 0) {
            str_appendf(&text, ", whose %s of %.6g is the best", t->options->best_metric,
                        t->state.best_value);
        }
        str_append(&text, ".\n\n");
        put_table(table, chosen_step, &text);
        str_append_char(&text, '\n');
        ok = t->stage->report == NULL ||
             t->stage->report(t->stage->context, t->run, chosen_step, &text, err);
    }
    ok = ok && run_finish(t->run, &text, err);
    str_done(&text);
    free(table);
    return ok;
}

bool trainer_publish(Trainer *t, Error *err) {
    bool choose = t->options->best_metric != NULL && t->state.best_step >= 0;
    int64_t step = choose ? t->state.best_step : t->saved;
    char *folder = checkpoint_folder(t->run->folder, step, err);
    bool ok = folder != NULL && checkpoint_verify(folder, err);
    for (const char *const *name = t->stage->publish; ok && *name != NULL; name++) {
        char *from = file_join(folder, *name, err);
        ok = from != NULL && run_publish(t->run, from, *name, err);
        free(from);
    }
    free(folder);
    return ok && write_report(t, step, err);
}
