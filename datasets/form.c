/* SPDX-License-Identifier: MIT */
#include "datasets/form.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"

bool form_add_message(Record *record, Role role, const char *text, size_t n, Error *err) {
    size_t capacity = record->messages;
    if (!mem_reserve(&record->message, &capacity, record->messages + 1, sizeof *record->message,
                     err)) {
        return false;
    }
    char *copy = mem_strndup(text, n, err);
    if (copy == NULL) {
        return false;
    }
    record->message[record->messages++] = (Message){role, copy};
    return true;
}

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

static bool missing(const Source *source, FieldId id, Error *err) {
    return row_error(source->row, NULL, err,
                     "the record has no \"%s\", which the file's form needs; expected it in every "
                     "record (data.columns.* maps other names)",
                     source_name(source, id));
}

/* The content of a message: a string, or a list of {"type": "text", "text": ...}. */
static bool content_text(const Source *source, const cJSON *content, const char *path, Str *text,
                         Error *err) {
    char found[128];
    const char *plain = json_string(content);
    if (plain != NULL) {
        str_append(text, plain);
        return str_ok(text, err);
    }
    const cJSON *part = cJSON_IsArray(content) ? content->child : NULL;
    for (; part != NULL; part = part->next) {
        const char *type = json_string(json_member(part, "type"));
        plain = json_string(json_member(part, "text"));
        if (type == NULL || strcmp(type, "text") != 0 || plain == NULL) {
            break;
        }
        str_append(text, plain);
    }
    if (part != NULL || !cJSON_IsArray(content)) {
        return row_error(source->row, path, err,
                         "%s; expected the message's text in \"%s\" (other content is not read)",
                         content == NULL ? "nothing" : json_describe(content, found, sizeof found),
                         path);
    }
    return str_ok(text, err);
}

static bool role_of(const char *name, Role *role) {
    static const struct {
        const char *name;
        Role role;
    } table[] = {
        {"system",    ROLE_SYSTEM   },
        {"developer", ROLE_SYSTEM   },
        {"user",      ROLE_USER     },
        {"human",     ROLE_USER     },
        {"assistant", ROLE_ASSISTANT},
        {"gpt",       ROLE_ASSISTANT},
        {"model",     ROLE_ASSISTANT}
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *role = table[i].role;
            return true;
        }
    }
    return false;
}

bool form_read_messages(const Source *source, const cJSON *list, const char *path, Record *record,
                        Error *err) {
    char found[128], place[256];
    if (!cJSON_IsArray(list) || list->child == NULL) {
        return row_error(source->row, path, err, "%s; expected a list of messages in \"%s\"",
                         json_describe(list, found, sizeof found), path);
    }
    size_t i = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++) {
        bool shared = json_member(item, "from") != NULL; /* ShareGPT */
        const char *role_key = shared ? "from" : "role", *text_key = shared ? "value" : "content";
        const cJSON *name = json_member(item, role_key);
        Role role;
        if (json_string(name) == NULL || !role_of(json_string(name), &role)) {
            snprintf(place, sizeof place, name == NULL ? "%s[%zu]" : "%s[%zu].%s", path, i,
                     role_key);
            return row_error(source->row, place, err,
                             "%s as role of a message; expected \"system\", \"user\" or "
                             "\"assistant\"",
                             name == NULL ? "nothing" : json_describe(name, found, sizeof found));
        }
        snprintf(place, sizeof place, "%s[%zu].%s", path, i, text_key);
        Str text = {0};
        bool ok = content_text(source, json_member(item, text_key), place, &text, err) &&
                  form_add_message(record, role, str_text(&text), text.size, err);
        str_done(&text);
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool form_read_prompt(const Source *source, Record *record, Error *err) {
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_PROMPT, &name);
    if (item == NULL) {
        return missing(source, FIELD_PROMPT, err);
    }
    const char *text = json_string(item);
    if (text != NULL) {
        return form_add_message(record, ROLE_PLAIN, text, strlen(text), err);
    }
    return form_read_messages(source, item, name, record, err);
}

char *form_completion_text(const Source *source, const cJSON *item, const char *path, Error *err) {
    char found[128];
    const char *text = json_string(item);
    if (text != NULL) {
        return mem_strdup(text, err);
    }
    Record turns = {0};
    if (!cJSON_IsArray(item)) {
        row_error(source->row, path, err,
                  "%s; expected a completion (a string or one assistant message) in \"%s\"",
                  json_describe(item, found, sizeof found), path);
        return NULL;
    }
    char *copy = NULL;
    if (form_read_messages(source, item, path, &turns, err)) {
        if (turns.messages == 1 && turns.message[0].role == ROLE_ASSISTANT) {
            copy = mem_strdup(turns.message[0].text, err);
        } else {
            row_error(source->row, path, err,
                      "a completion of %zu messages in \"%s\"; expected one of the assistant",
                      turns.messages, path);
        }
    }
    record_done(&turns);
    return copy;
}

static bool one_completion(const Source *source, Record *record, Error *err) {
    const char *name = NULL;
    const cJSON *item = source_field(source, FIELD_COMPLETION, &name);
    if (item == NULL) {
        return missing(source, FIELD_COMPLETION, err);
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
        return missing(source, FIELD_TEXT, err);
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
    return item == NULL ? missing(source, FIELD_MESSAGES, err)
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

static bool read_alpaca(const Source *source, Record *record, Error *err) {
    const cJSON *item = source_member(source, "instruction");
    const char *instruction = json_string(item);
    const char *input = json_string(source_member(source, "input"));
    if (instruction == NULL) {
        return row_error(source->row, item == NULL ? NULL : "instruction", err,
                         "the record has no text in \"instruction\", which the file's form needs");
    }
    Role role;
    Str prompt = {0};
    str_append(&prompt, instruction);
    if (input != NULL && input[0] != '\0') {
        str_appendf(&prompt, "\n%s", input);
    }
    bool ok = alpaca_turns(source, record, &role, err) && str_ok(&prompt, err) &&
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
        return missing(source, FIELD_LABEL, err);
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

static bool match_pair(const Source *source) {
    return source_has(source, FIELD_CHOSEN) && source_has(source, FIELD_REJECTED);
}

/* chosen and rejected as whole conversations without a prompt of their own: what they share. */
static bool implicit_prompt(const Source *source, const cJSON *item[2], const char *name[2],
                            Record *record, Error *err) {
    Record whole[2] = {{0}, {0}};
    bool ok = form_read_messages(source, item[0], name[0], &whole[0], err) &&
              form_read_messages(source, item[1], name[1], &whole[1], err);
    size_t n = whole[0].messages;
    ok = ok && (n >= 2 || row_error(source->row, name[0], err,
                                    "a conversation of one message and no prompt; expected the "
                                    "turns before it"));
    if (ok && (n != whole[1].messages || whole[0].message[n - 1].role != ROLE_ASSISTANT ||
               whole[1].message[n - 1].role != ROLE_ASSISTANT)) {
        ok = row_error(source->row, name[1], err,
                       "conversations that differ in more than the last answer; expected the same "
                       "turns before one answer each");
    }
    for (size_t i = 0; ok && i + 1 < n; i++) {
        const Message *message = &whole[0].message[i];
        if (strcmp(message->text, whole[1].message[i].text) != 0) {
            ok = row_error(source->row, name[1], err,
                           "message %zu differs from that of the chosen conversation; expected the "
                           "same turns before one answer each",
                           i + 1);
        }
        ok = ok &&
             form_add_message(record, message->role, message->text, strlen(message->text), err);
    }
    for (size_t k = 0; ok && k < 2; k++) {
        record->completion[k] = mem_strdup(whole[k].message[n - 1].text, err);
        ok = record->completion[k] != NULL;
        record->completions += ok;
    }
    record_done(&whole[0]);
    record_done(&whole[1]);
    return ok;
}

static bool explicit_prompt(const Source *source, const cJSON *item[2], const char *name[2],
                            Record *record, Error *err) {
    if (source_member(source, "instruction") != NULL && !source_has(source, FIELD_PROMPT)) {
        const char *text = json_string(source_member(source, "instruction"));
        const char *input = json_string(source_member(source, "input"));
        Str prompt = {0};
        str_append(&prompt, text == NULL ? "" : text);
        if (input != NULL && input[0] != '\0') {
            str_appendf(&prompt, "\n%s", input);
        }
        bool ok = str_ok(&prompt, err) &&
                  form_add_message(record, ROLE_PLAIN, str_text(&prompt), prompt.size, err);
        str_done(&prompt);
        if (!ok) {
            return false;
        }
    } else if (match_conversations(source) && !source_has(source, FIELD_PROMPT)) {
        if (!read_conversations(source, record, err)) {
            return false;
        }
    } else if (!form_read_prompt(source, record, err)) {
        return false;
    }
    for (size_t k = 0; k < 2; k++) {
        const cJSON *answer = item[k];
        if (json_member(answer, "value") != NULL) { /* ShareGPT: {"from": ..., "value": ...} */
            answer = json_member(answer, "value");
        }
        record->completion[k] = form_completion_text(source, answer, name[k], err);
        if (record->completion[k] == NULL) {
            return false;
        }
        record->completions++;
    }
    return true;
}

static bool read_pair(const Source *source, Record *record, Error *err) {
    const char *name[2] = {NULL, NULL};
    const cJSON *item[2] = {source_field(source, FIELD_CHOSEN, &name[0]),
                            source_field(source, FIELD_REJECTED, &name[1])};
    if (item[0] == NULL || item[1] == NULL) {
        return missing(source, item[0] == NULL ? FIELD_CHOSEN : FIELD_REJECTED, err);
    }
    record->rank = mem_alloc(2, sizeof *record->rank, err);
    if (record->rank == NULL || !form_reserve_completions(record, 2, err)) {
        return false;
    }
    record->rank[1] = 1;
    bool whole = cJSON_IsArray(item[0]) && cJSON_GetArraySize(item[0]) > 1 &&
                 cJSON_IsArray(item[1]) && cJSON_GetArraySize(item[1]) > 1;
    if (!(whole ? implicit_prompt : explicit_prompt)(source, item, name, record, err)) {
        return false;
    }
    const cJSON *margin = source_field(source, FIELD_MARGIN, &name[0]);
    if (margin != NULL && !source_number(source, margin, name[0], &record->margin, err)) {
        return false;
    }
    return form_read_annotator(source, record, err);
}

/* In the order of recognition: what says more about a row comes first. */
/* clang-format off */
static const Form forms[] = {
    {"transcript", RECORD_RANKING, transcript_matches, transcript_read, {FIELD_CHOSEN,
     FIELD_REJECTED, FIELDS}},
    {"pair", RECORD_RANKING, match_pair, read_pair, {FIELD_PROMPT, FIELD_CHOSEN, FIELD_REJECTED,
     FIELDS}},
    {"ranking", RECORD_RANKING, ranking_matches, ranking_read, {FIELD_PROMPT, FIELD_COMPLETIONS,
     FIELDS}},
    {"alpaca", RECORD_DEMONSTRATION, match_alpaca, read_alpaca, {FIELDS}},
    {"labeled", RECORD_LABELED, match_labeled, read_labeled, {FIELD_TEXT, FIELD_PROMPT, FIELD_LABEL,
     FIELDS}},
    {"demonstration", RECORD_DEMONSTRATION, match_demonstration, read_demonstration, {FIELD_PROMPT,
     FIELD_COMPLETION, FIELDS}},
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
                "a record of form \"%s\", which this program does not use; expected one of: %s",
                forms[i].name, accepted_forms(source, accepted, sizeof accepted));
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
