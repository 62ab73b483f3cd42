/* SPDX-License-Identifier: MIT */
#include "datasets/dataset.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "datasets/form.h"
#include "datasets/reader.h"
#include "datasets/source.h"

void dataset_done(DataSet *set) {
    for (size_t i = 0; i < set->records; i++) {
        record_done(&set->record[i]);
    }
    for (size_t i = 0; i < set->paths; i++) {
        free(set->path[i]);
    }
    free(set->record);
    free(set->path);
    str_done(&set->description);
    *set = (DataSet){0};
}

void dataset_put_count(Str *out, size_t n) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%zu", n);
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0) {
            str_append_char(out, ',');
        }
        str_append_char(out, digits[i]);
    }
}

static bool add_record(DataSet *set, Record *record, Error *err) {
    if (!mem_reserve(&set->record, &set->capacity, set->records + 1, sizeof *set->record, err)) {
        record_done(record);
        return false;
    }
    set->record[set->records++] = *record;
    return true;
}

static const char *add_path(DataSet *set, const char *root, const char *name, Error *err) {
    size_t capacity = set->paths;
    if (!mem_reserve(&set->path, &capacity, set->paths + 1, sizeof *set->path, err)) {
        return NULL;
    }
    bool joined = root != NULL && root[0] != '\0' && name[0] != '/';
    char *path = joined ? file_join(root, name, err) : mem_strdup(name, err);
    if (path != NULL) {
        set->path[set->paths++] = path;
    }
    return path;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

typedef struct FileCount {
    const Form *form;
    size_t records, bad;
    Str names; /* "mr, ref" */
} FileCount;

/* Names of the fields that are used, as the first record has them. */
static void note_names(const Form *form, const Source *source, Str *names) {
    for (size_t i = 0; i < 4 && form->shown[i] != FIELDS; i++) {
        const char *name = NULL;
        if (source_field(source, form->shown[i], &name) != NULL) {
            str_appendf(names, "%s%s", names->size > 0 ? ", " : "", name);
        }
    }
}

/* One row; false only if the whole reading must end. */
static bool read_row(DataSet *set, const DataOptions *options, Reader *reader, FileCount *count,
                     bool *more, Error *err) {
    Row row;
    bool got = false;
    Record record;
    Error fault = {0};
    bool ok = reader_next(reader, &row, &got, &fault);
    *more = got || !ok;
    Source source = {&row, options};
    if (ok && got && count->form == NULL) {
        count->form = form_recognize(&source, &fault);
        ok = count->form != NULL;
        if (!ok) {
            *err = fault;
            return false;
        }
        note_names(count->form, &source, &count->names);
    }
    ok = ok && (!got || form_read(count->form, &source, &record, &fault));
    if (ok && got) {
        record.file = set->path[set->paths - 1];
        count->records++;
        return add_record(set, &record, err);
    }
    if (!ok && options->skip_bad && fault.code == ERROR_DATA && reader_can_continue(reader)) {
        count->bad++;
        return true;
    }
    if (!ok) {
        *err = fault;
    }
    return ok;
}

static void describe(DataSet *set, const Reader *reader, const FileCount *count,
                     const DataOptions *options) {
    Str *out = &set->description;
    str_appendf(out, "%s%s: %s, %s", out->size > 0 ? "\n" : "",
                base_name(set->path[set->paths - 1]), reader_kind_name(reader_kind(reader)),
                count->form->name);
    if (count->names.size > 0) {
        str_appendf(out, " (%s)", str_text(&count->names));
    }
    if ((options->accept >> count->form->kind & 1u) == 0) {
        str_append(out, ", of which the prompts");
    }
    str_append(out, ", ");
    dataset_put_count(out, count->records);
    str_append(out, count->records == 1 ? " record" : " records");
    if (count->bad > 0) {
        str_append(out, ", ");
        dataset_put_count(out, count->bad);
        str_append(out, " bad (skipped)");
    }
}

static bool read_file(DataSet *set, const char *path, const DataOptions *options, Error *err) {
    const char **known = source_known_names(options, err);
    if (known == NULL) {
        return false;
    }
    Reader *reader = reader_open(path, known, err);
    free(known);
    if (reader == NULL) {
        return false;
    }
    FileCount count = {0};
    bool ok = true, more = true;
    if (options->format != NULL && strcmp(options->format, "auto") != 0) {
        count.form = form_find(options->format, err);
        ok = count.form != NULL;
    }
    while (ok && more) {
        ok = read_row(set, options, reader, &count, &more, err);
    }
    if (ok && count.records == 0) {
        ok = count.bad > 0
                 ? error_at(err, ERROR_DATA, path, 0, 0,
                            "none of %zu records could be read; expected at least one", count.bad)
                 : error_at(err, ERROR_DATA, path, 0, 0,
                            "the file holds no record; expected at least one");
    }
    if (ok) {
        describe(set, reader, &count, options);
        set->bad += count.bad;
        ok = str_ok(&set->description, err) && str_ok(&count.names, err);
    }
    str_done(&count.names);
    reader_close(reader);
    return ok;
}

bool dataset_read(DataSet *set, const StringList *files, const DataOptions *options, Error *err) {
    *set = (DataSet){0};
    if (files->count == 0) {
        return error_set(err, ERROR_CONFIG, "no data file is named; expected at least one");
    }
    for (size_t i = 0; i < files->count; i++) {
        const char *path = add_path(set, options->root, files->item[i], err);
        if (path == NULL || !read_file(set, path, options, err)) {
            dataset_done(set);
            return false;
        }
    }
    return true;
}

static bool copy_paths(const DataSet *from, DataSet *to, Error *err) {
    to->path = mem_alloc(from->paths, sizeof *to->path, err);
    for (size_t i = 0; to->path != NULL && i < from->paths; i++) {
        to->path[i] = mem_strdup(from->path[i], err);
        if (to->path[i] == NULL) {
            return false;
        }
        to->paths++;
    }
    return to->path != NULL;
}

static const char *same_path(const DataSet *from, const DataSet *to, const char *path) {
    for (size_t i = 0; i < from->paths; i++) {
        if (from->path[i] == path) {
            return to->path[i];
        }
    }
    return NULL;
}

static bool is_held(const Record *record, double share, uint64_t seed) {
    Random stream = random_stream(seed, RANDOM_SPLIT, record_prompt_hash(record), 0);
    return random_uniform(&stream, 0) < share;
}

bool dataset_split(DataSet *set, double share, uint64_t seed, DataSet *held, Error *err) {
    *held = (DataSet){0};
    size_t apart = 0;
    for (size_t i = 0; i < set->records; i++) {
        apart += is_held(&set->record[i], share, seed);
    }
    if (share > 0 && share < 1 && (apart == 0 || apart == set->records)) {
        return error_set(
            err, ERROR_DATA,
            "a share of %g of %zu records, split by prompt, holds %zu; expected some on "
            "both sides (name a validation file, or take another share or seed)",
            share, set->records, apart);
    }
    held->record = mem_alloc(apart, sizeof *held->record, err);
    if (held->record == NULL || !copy_paths(set, held, err)) {
        dataset_done(held);
        return false;
    }
    held->capacity = apart;
    size_t kept = 0;
    for (size_t i = 0; i < set->records; i++) {
        Record record = set->record[i];
        if (is_held(&record, share, seed)) {
            record.file = same_path(set, held, record.file);
            held->record[held->records++] = record;
        } else {
            set->record[kept++] = record;
        }
    }
    set->records = kept;
    return true;
}

bool dataset_keep_part(DataSet *set, double begin, double end, Error *err) {
    size_t all = set->records, kept = 0;
    for (size_t i = 0; i < all; i++) {
        Random stream = random_stream(0, RANDOM_SPLIT, record_prompt_hash(&set->record[i]), 1);
        double place = random_uniform(&stream, 0);
        if (place >= begin && place < end) {
            Record record = set->record[kept];
            set->record[kept++] = set->record[i];
            set->record[i] = record;
        }
    }
    dataset_limit(set, kept > 0 ? kept : all);
    return kept > 0 || error_set(err, ERROR_DATA,
                                 "none of %zu records has a prompt in the part [%g, %g) of the "
                                 "data; take a larger part",
                                 all, begin, end);
}

void dataset_limit(DataSet *set, size_t limit) {
    while (limit > 0 && set->records > limit) {
        record_done(&set->record[--set->records]);
    }
}
