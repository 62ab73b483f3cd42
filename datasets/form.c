/* SPDX-License-Identifier: MIT */
#include "datasets/form.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"

bool form_reserve_completions(Record *record, size_t n, Error *err) {
    record->completion = mem_alloc(n, sizeof *record->completion, err);
    return record->completion != NULL;
}

bool form_read_annotator(const Source *source, Record *record, Error *err) {
    const char *text = json_string(source_field(source, FIELD_ANNOTATOR, NULL));
    if (text != NULL && text[0] != '\0') {
        record->annotator = mem_strdup(text, err);
        return record->annotator != NULL;
    }
    return true;
}

bool form_missing(const Source *source, FieldId id, Error *err) {
    return row_error(source->row, NULL, err,
                     "the record has no \"%s\", which the file's form needs; expected it in every "
                     "record (data.columns.* maps other names)",
                     source_name(source, id));
}

bool form_read_prompt(const Source *source, Record *record, Error *err) {
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_PROMPT, &name);
    if (item == NULL) {
        return form_missing(source, FIELD_PROMPT, err);
    }
    const char *text = json_string(item);
    if (text != NULL) {
        return form_add_message(record, ROLE_PLAIN, text, strlen(text), err);
    }
    return form_read_messages(source, item, name, record, err);
}

static bool one_completion(const Source *source, Record *record, Error *err) {
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_COMPLETION, &name);
    if (item == NULL) {
        return form_missing(source, FIELD_COMPLETION, err);
    }
    if (!form_reserve_completions(record, 1, err)) {
        return false;
    }
    record->completion[0] = form_completion_text(source, item, name, err);
    record->completions = record->completion[0] != NULL;
    return record->completions == 1;
}

static bool match_demonstration(const Source *source) {
    return source_has(source, FIELD_PROMPT) && source_has(source, FIELD_COMPLETION);
}

static bool read_demonstration(const Source *source, Record *record, Error *err) {
    return form_read_prompt(source, record, err) && one_completion(source, record, err) &&
           form_read_annotator(source, record, err);
}

static bool match_prompt(const Source *source) {
    return source_has(source, FIELD_PROMPT);
}

static bool match_text(const Source *source) {
    return source_has(source, FIELD_TEXT);
}

static bool read_text(const Source *source, Record *record, Error *err) {
    char found[128];
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_TEXT, &name);
    if (item == NULL) {
        return form_missing(source, FIELD_TEXT, err);
    }
    const char *text = json_string(item);
    if (text == NULL) {
        return row_error(source->row, name, err, "%s; expected a string in \"%s\"",
                         json_describe(item, found, sizeof found), name);
    }
    return form_add_message(record, ROLE_PLAIN, text, strlen(text), err);
}

static bool match_messages(const Source *source) {
    return source_has(source, FIELD_MESSAGES);
}

static bool read_messages(const Source *source, Record *record, Error *err) {
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_MESSAGES, &name);
    return item == NULL ? form_missing(source, FIELD_MESSAGES, err)
                        : form_read_messages(source, item, name, record, err);
}

static bool match_conversations(const Source *source) {
    return cJSON_IsArray(source_member(source, "conversations"));
}

static bool read_conversations(const Source *source, Record *record, Error *err) {
    const cJSON *item = source_member(source, "conversations");
    if (item == NULL) {
        return row_error(source->row, NULL, err,
                         "the record has no \"conversations\", which the file's form needs");
    }
    return form_read_messages(source, item, "conversations", record, err);
}

static bool match_alpaca(const Source *source) {
    return source_member(source, "instruction") != NULL && source_has(source, FIELD_COMPLETION);
}

/* system and history, where present, make the prompt a conversation. */
static bool alpaca_turns(const Source *source, Record *record, Role *role, Error *err) {
    const char *system = json_string(source_member(source, "system"));
    const cJSON *history = source_member(source, "history");
    *role = ROLE_PLAIN;
    if (system != NULL && system[0] != '\0') {
        *role = ROLE_USER;
        if (!form_add_message(record, ROLE_SYSTEM, system, strlen(system), err)) {
            return false;
        }
    }
    size_t i = 0;
    const cJSON *pair = cJSON_IsArray(history) ? history->child : NULL;
    for (; pair != NULL; pair = pair->next, i++) {
        *role = ROLE_USER;
        const char *said = json_string(cJSON_GetArrayItem(pair, 0));
        const char *answer = json_string(cJSON_GetArrayItem(pair, 1));
        if (said == NULL || answer == NULL) {
            char place[64], found[128];
            snprintf(place, sizeof place, "history[%zu]", i);
            return row_error(source->row, place, err, "%s; expected [\"question\", \"answer\"]",
                             json_describe(pair, found, sizeof found));
        }
        if (!form_add_message(record, ROLE_USER, said, strlen(said), err) ||
            !form_add_message(record, ROLE_ASSISTANT, answer, strlen(answer), err)) {
            return false;
        }
    }
    return true;
}

bool form_put_instruction(const Source *source, Str *prompt, Error *err) {
    const cJSON *item = source_member(source, "instruction");
    const char *instruction = json_string(item);
    const char *input = json_string(source_member(source, "input"));
    if (instruction == NULL) {
        return row_error(source->row, item == NULL ? NULL : "instruction", err,
                         "the record has no text in \"instruction\", which the file's form needs");
    }
    str_append(prompt, instruction);
    if (input != NULL && input[0] != '\0') {
        str_appendf(prompt, "\n%s", input);
    }
    return str_ok(prompt, err);
}

static bool read_alpaca(const Source *source, Record *record, Error *err) {
    Role role;
    Str prompt = {0};
    bool ok = form_put_instruction(source, &prompt, err) &&
              alpaca_turns(source, record, &role, err) &&
              form_add_message(record, role, str_text(&prompt), prompt.size, err) &&
              one_completion(source, record, err);
    str_done(&prompt);
    return ok;
}

static bool match_labeled(const Source *source) {
    return source_has(source, FIELD_LABEL) &&
           (source_has(source, FIELD_TEXT) || source_has(source, FIELD_PROMPT));
}

static bool read_label(const Source *source, Record *record, Error *err) {
    char found[128];
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_LABEL, &name);
    if (item == NULL) {
        return form_missing(source, FIELD_LABEL, err);
    }
    const char *text = json_string(item);
    Str label = {0};
    if (cJSON_IsBool(item)) {
        str_append(&label, cJSON_IsTrue(item) ? "true" : "false");
    } else if (cJSON_IsNumber(item)) {
        json_put_double(&label, item->valuedouble);
    } else if (text != NULL && text[0] != '\0') {
        str_append(&label, text);
    } else {
        return row_error(source->row, name, err,
                         "%s; expected a label (a string, a number, true or false) in \"%s\"",
                         json_describe(item, found, sizeof found), name);
    }
    record->label = str_take(&label, err);
    Error ignored = {0};
    record->has_score = source_number(source, item, name, &record->score, &ignored);
    return record->label != NULL;
}

static bool read_labeled(const Source *source, Record *record, Error *err) {
    if (source_has(source, FIELD_TEXT)) {
        return read_text(source, record, err) && read_label(source, record, err);
    }
    if (!form_read_prompt(source, record, err)) {
        return false;
    }
    bool answered = source_has(source, FIELD_COMPLETION);
    return (!answered || one_completion(source, record, err)) && read_label(source, record, err) &&
           form_read_annotator(source, record, err);
}

/* In the order of recognition: what says more about a row comes first. */
/* clang-format off */
static const Form forms[] = {
    {"transcript", RECORD_RANKING, transcript_matches, transcript_read,
     {FIELD_CHOSEN, FIELD_REJECTED, FIELDS}},
    {"pair", RECORD_RANKING, pair_matches, pair_read,
     {FIELD_PROMPT, FIELD_CHOSEN, FIELD_REJECTED, FIELDS}},
    {"ranking", RECORD_RANKING, ranking_matches, ranking_read,
     {FIELD_PROMPT, FIELD_COMPLETIONS, FIELDS}},
    {"alpaca", RECORD_DEMONSTRATION, match_alpaca, read_alpaca, {FIELDS}},
    {"labeled", RECORD_LABELED, match_labeled, read_labeled,
     {FIELD_TEXT, FIELD_PROMPT, FIELD_LABEL, FIELDS}},
    {"demonstration", RECORD_DEMONSTRATION, match_demonstration, read_demonstration,
     {FIELD_PROMPT, FIELD_COMPLETION, FIELDS}},
    {"prompt", RECORD_PROMPT, match_prompt, form_read_prompt, {FIELD_PROMPT, FIELDS}},
    {"messages", RECORD_CONVERSATION, match_messages, read_messages, {FIELD_MESSAGES, FIELDS}},
    {"conversations", RECORD_CONVERSATION, match_conversations, read_conversations, {FIELDS}},
    {"text", RECORD_TEXT, match_text, read_text, {FIELD_TEXT, FIELDS}},
};
/* clang-format on */
enum { FORMS = sizeof forms / sizeof *forms };

static bool is_accepted(const Source *source, RecordKind kind) {
    return (source->options->accept >> kind & 1u) != 0;
}

/* A form whose prompt alone can be used. */
static bool has_prompt(const Form *form) {
    return form->kind != RECORD_TEXT && form->kind != RECORD_LABELED;
}

static const char *accepted_forms(const Source *source, char *out, size_t size) {
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < FORMS && used < size; i++) {
        if (is_accepted(source, forms[i].kind)) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     forms[i].name);
        }
    }
    return out;
}

/* What reads records of a kind. */
static const char *reader_of(RecordKind kind) {
    switch (kind) {
    case RECORD_RANKING:
        return "rlhf-reward";
    case RECORD_LABELED:
        return "rlhf-reward with reward.objective \"classification\" or \"regression\"";
    case RECORD_PROMPT:
        return "rlhf-ppo and rlhf-generate";
    default:
        return "rlhf-sft";
    }
}

const Form *form_recognize(const Source *source, Error *err) {
    for (size_t i = 0; i < FORMS; i++) {
        if (is_accepted(source, forms[i].kind) && forms[i].matches(source)) {
            return &forms[i];
        }
    }
    char accepted[256];
    for (size_t i = 0; i < FORMS; i++) {
        if (forms[i].matches(source)) {
            if (has_prompt(&forms[i]) && is_accepted(source, RECORD_PROMPT)) {
                return &forms[i];
            }
            row_error(
                source->row, NULL, err,
                "a record of form \"%s\", which this program does not use as it is set (%s does); "
                "expected one of: %s",
                forms[i].name, reader_of(forms[i].kind),
                accepted_forms(source, accepted, sizeof accepted));
            return NULL;
        }
    }
    Str fields = {0};
    for (const cJSON *item = source->row->object->child; item != NULL; item = item->next) {
        str_appendf(&fields, "%s\"%.60s\"", fields.size > 0 ? ", " : "", item->string);
    }
    row_error(
        source->row, NULL, err,
        "a record with the fields %.500s, whose form is not recognized; expected the fields of "
        "one of: %s (data.columns.* maps other names)",
        fields.size > 0 ? str_text(&fields) : "(none)",
        accepted_forms(source, accepted, sizeof accepted));
    str_done(&fields);
    return NULL;
}

const Form *form_find(const char *name, Error *err) {
    Str names = {0};
    for (size_t i = 0; i < FORMS; i++) {
        if (strcmp(forms[i].name, name) == 0) {
            str_done(&names);
            return &forms[i];
        }
        str_appendf(&names, ", %s", forms[i].name);
    }
    error_set(err, ERROR_CONFIG, "data.format is \"%.100s\"; expected one of: auto%s", name,
              str_text(&names));
    str_done(&names);
    return NULL;
}

/* Keeps the turns up to the last one that is not the assistant's. */
static bool keep_prompt(const Source *source, Record *record, Error *err) {
    while (record->completions > 0) {
        free(record->completion[--record->completions]);
    }
    while (record->messages > 0 && record->message[record->messages - 1].role == ROLE_ASSISTANT) {
        free(record->message[--record->messages].text);
    }
    free(record->rank);
    record->rank = NULL;
    record->kind = RECORD_PROMPT;
    return record->messages > 0 ||
           row_error(source->row, NULL, err, "a conversation without a user's turn; expected one");
}

static bool has_answer(const Source *source, const Record *record, Error *err) {
    for (size_t i = 0; i < record->messages; i++) {
        if (record->message[i].role == ROLE_ASSISTANT) {
            return true;
        }
    }
    return row_error(source->row, NULL, err,
                     "a conversation without an assistant's turn; expected one to train on");
}

bool form_read(const Form *form, const Source *source, Record *record, Error *err) {
    *record = (Record){.kind = form->kind, .file = source->row->file, .line = source->row->line};
    bool ok = form->read(source, record, err);
    bool accepted = is_accepted(source, form->kind);
    if (ok && !accepted) {
        ok = keep_prompt(source, record, err);
    } else if (ok && form->kind == RECORD_CONVERSATION) {
        ok = has_answer(source, record, err);
    }
    if (ok && source->options->keep_extra) {
        Str extra = {0};
        json_put_tree(&extra, source->row->object, false);
        record->extra = str_take(&extra, err);
        ok = record->extra != NULL;
    }
    if (!ok) {
        record_done(record);
    }
    return ok;
}
