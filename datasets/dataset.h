/* SPDX-License-Identifier: MIT
 *
 * DataSet: files to records. Formats are recognized by content and said; every fault names
 * file:line:column, what was found and what was expected.
 *
 * Files: CSV and TSV (libcsv, strict), JSON lines, one JSON array, plain text; each plain or gzip.
 * Forms: prompt/completion, messages, conversations (ShareGPT), Alpaca, prompt/chosen/rejected
 * (strings or messages), HH-RLHF transcripts, rankings (completions + ranks | ranking | scores,
 * completions[] of {completion, rank}, best-of-K), labeled text, prompt alone, text.
 */
#ifndef RLHF_DATASETS_DATASET_H
#define RLHF_DATASETS_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/options.h"
#include "common/base/str.h"
#include "datasets/record.h"

/* Other names for the fields: column.prompt = "mr" reads the prompt from column (key) "mr" of the files
 * that have it; files that do not are read by the usual names, so that one mapping serves several files.
 * NULL: the usual names. */
typedef struct DataColumns {
    char *prompt, *completion, *chosen, *rejected, *completions, *ranks, *ranking, *scores,
        *messages, *text, *label, *margin, *annotator;
} DataColumns;

typedef struct DataOptions {
    const char *root;   /* put before relative names; NULL or "": none */
    const char *format; /* "auto" or the name of a form, e.g. "ranking" */
    DataColumns columns;
    bool keep_extra; /* keep each row's JSON in Record.extra */
    bool unranked;   /* completions without ranks are records too (all ranks 0, K >= 1) */
    bool skip_bad;   /* count and skip bad records instead of stopping at the first */
    unsigned accept; /* bit set of 1 << RecordKind the caller can use; others are ERROR_DATA that
                            says what this program reads */
} DataOptions;

typedef struct DataSet {
    Record *record; /* owned */
    size_t records, capacity;
    char **path; /* files that were read, owned */
    size_t paths;
    size_t bad;      /* skipped bad records */
    Str description; /* "demonstrations.csv: CSV, prompt/completion (mr, ref), 7,592 records" lines */
} DataSet;

/* Reads all files of a list. An empty file, or one without any record, is ERROR_DATA. */
bool dataset_read(DataSet *set, const StringList *files, const DataOptions *options, Error *err);
void dataset_done(DataSet *set);

/* Splits by prompt: records whose prompt hash falls below `share` (by seed) go to *held, the others
 * stay, both in their old order. Records of one prompt are never parted. */
bool dataset_split(DataSet *set, double share, uint64_t seed, DataSet *held, Error *err);

/* "7,592" */
void dataset_put_count(Str *out, size_t n);

/* Keeps the records whose prompt falls into [begin, end) of the unit interval, by a hash that no seed
 * changes: models trained on [0, 0.5) and [0.5, 1) of one file never share a prompt. A set that would be
 * empty is ERROR_DATA. */
bool dataset_keep_part(DataSet *set, double begin, double end, Error *err);

/* Keeps the first `limit` records; 0: all. */
void dataset_limit(DataSet *set, size_t limit);

#endif
