/* SPDX-License-Identifier: MIT
 *
 * Form: what the fields of a file's rows mean, and how a row becomes a Record. One row of a table per
 * form; a new one is a recognizer, a reader and a row.
 */
#ifndef RLHF_DATASETS_FORM_H
#define RLHF_DATASETS_FORM_H

#include <stdbool.h>

#include "datasets/source.h"

typedef struct Form {
    const char *name; /* what data.format calls it, and the description */
    RecordKind kind;
    bool (*matches)(const Source *source);
    bool (*read)(const Source *source, Record *record, Error *err);
    FieldId shown[4]; /* fields whose names the description lists; FIELDS ends the list */
} Form;

/* The form of a file by its first row: the first whose kind is accepted, or whose prompt is when only
 * prompts are. NULL and *err if there is none, saying which fields the row has. */
const Form *form_recognize(const Source *source, Error *err);

/* A form by the name of data.format; ERROR_CONFIG with the names otherwise. */
const Form *form_find(const char *name, Error *err);

/* Reads a row that should be of this form. When only its prompt is accepted, only that stays. */
bool form_read(const Form *form, const Source *source, Record *record, Error *err);

/* Shared by the forms. */
bool form_read_prompt(const Source *source, Record *record, Error *err);
bool form_read_messages(const Source *source, const cJSON *list, const char *path, Record *record,
                        Error *err);
/* The text of a completion: a string, or a list of one assistant message. */
char *form_completion_text(const Source *source, const cJSON *item, const char *path, Error *err);
bool form_add_message(Record *record, Role role, const char *text, size_t n, Error *err);
bool form_read_annotator(const Source *source, Record *record, Error *err);
bool form_reserve_completions(Record *record, size_t n, Error *err);

/* ERROR_DATA: the record lacks a field that the file's form needs. */
bool form_missing(const Source *source, FieldId id, Error *err);
/* Alpaca's instruction and, where there is one, its input on the next line. */
bool form_put_instruction(const Source *source, Str *prompt, Error *err);

/* Pairs of a chosen and a rejected answer. */
bool pair_matches(const Source *source);
bool pair_read(const Source *source, Record *record, Error *err);

/* Pairs of HH-RLHF transcripts ("\n\nHuman: ...\n\nAssistant: ..."). */
bool transcript_matches(const Source *source);
bool transcript_read(const Source *source, Record *record, Error *err);

/* Rankings of K completions. */
bool ranking_matches(const Source *source);
bool ranking_read(const Source *source, Record *record, Error *err);

#endif
