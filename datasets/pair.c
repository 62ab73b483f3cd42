/* SPDX-License-Identifier: MIT
 *
 * Pairs: a chosen and a rejected answer, behind a prompt of their own or as whole conversations.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/form.h"

bool pair_matches(const Source *source) {
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
        const Message *other = &whole[1].message[i];
        if (message->role != other->role || strcmp(message->text, other->text) != 0) {
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
    const cJSON *turns = source_member(source, "conversations");
    if (source_has(source, FIELD_PROMPT) ||
        (turns == NULL && source_member(source, "instruction") == NULL)) {
        if (!form_read_prompt(source, record, err)) {
            return false;
        }
    } else if (turns != NULL) {
        if (!form_read_messages(source, turns, "conversations", record, err)) {
            return false;
        }
    } else {
        Str prompt = {0};
        bool ok = form_put_instruction(source, &prompt, err) &&
                  form_add_message(record, ROLE_PLAIN, str_text(&prompt), prompt.size, err);
        str_done(&prompt);
        if (!ok) {
            return false;
        }
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

bool pair_read(const Source *source, Record *record, Error *err) {
    const char *name[2] = {NULL, NULL};
    const cJSON *item[2] = {source_field(source, FIELD_CHOSEN, &name[0]),
                            source_field(source, FIELD_REJECTED, &name[1])};
    if (item[0] == NULL || item[1] == NULL) {
        return form_missing(source, item[0] == NULL ? FIELD_CHOSEN : FIELD_REJECTED, err);
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
