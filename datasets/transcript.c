/* SPDX-License-Identifier: MIT
 *
 * Transcripts as in HH-RLHF (Bai et al. 2022): chosen and rejected are whole dialogues, "\n\nHuman: ..."
 * and "\n\nAssistant: ..." in turn. The prompt is what both share, back to the last "\n\nAssistant:".
 * Pairs that part before the last turn keep the rest, later turns included, as completion.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "datasets/form.h"

static const char human[] = "\n\nHuman:";
static const char assistant[] = "\n\nAssistant:";

bool transcript_matches(const Source *source) {
    const char *chosen = json_string(source_field(source, FIELD_CHOSEN, NULL));
    return chosen != NULL && source_has(source, FIELD_REJECTED) &&
           !source_has(source, FIELD_PROMPT) && strstr(chosen, assistant) != NULL;
}

static bool begins(const char *text, const char *end, const char *mark, size_t n) {
    return (size_t)(end - text) >= n && memcmp(text, mark, n) == 0;
}

/* The turns of [text, end); every one begins with a mark. */
static bool add_turns(const char *text, const char *end, Record *record, Error *err) {
    while (text < end) {
        bool user = begins(text, end, human, sizeof human - 1);
        text += user ? sizeof human - 1 : sizeof assistant - 1;
        text += text < end && *text == ' ';
        const char *next = text;
        while (next < end && !begins(next, end, human, sizeof human - 1) &&
               !begins(next, end, assistant, sizeof assistant - 1)) {
            next++;
        }
        if (!form_add_message(record, user ? ROLE_USER : ROLE_ASSISTANT, text,
                              (size_t)(next - text), err)) {
            return false;
        }
        text = next;
    }
    return true;
}

bool transcript_read(const Source *source, Record *record, Error *err) {
    char found[128];
    const char *name[2] = {NULL, NULL}, *text[2];
    for (size_t k = 0; k < 2; k++) {
        const cJSON *item = source_field(source, k == 0 ? FIELD_CHOSEN : FIELD_REJECTED, &name[k]);
        text[k] = json_string(item);
        if (text[k] == NULL || strncmp(text[k], human, sizeof human - 1) != 0) {
            return row_error(
                source->row, name[k], err,
                "%s; expected a transcript that begins with \"\\n\\nHuman:\" in \"%s\"",
                item == NULL ? "nothing" : json_describe(item, found, sizeof found),
                source_name(source, k == 0 ? FIELD_CHOSEN : FIELD_REJECTED));
        }
    }
    size_t common = 0;
    while (text[0][common] != '\0' && text[0][common] == text[1][common]) {
        common++;
    }
    const char *last = NULL;
    for (const char *at = text[0]; (at = strstr(at, assistant)) != NULL; at++) {
        if ((size_t)(at - text[0]) + sizeof assistant - 1 > common) {
            break;
        }
        last = at;
    }
    if (last == NULL) {
        return row_error(source->row, name[1], err,
                         "the transcripts share no turn; expected the same dialogue up to an "
                         "\"\\n\\nAssistant:\"");
    }
    if (!add_turns(text[0], last, record, err)) {
        return false;
    }
    size_t begin = (size_t)(last - text[0]) + sizeof assistant - 1;
    record->rank = mem_alloc(2, sizeof *record->rank, err);
    if (record->rank == NULL || !form_reserve_completions(record, 2, err)) {
        return false;
    }
    record->rank[1] = 1;
    for (size_t k = 0; k < 2; k++) {
        record->completion[k] = mem_strdup(text[k] + begin + (text[k][begin] == ' '), err);
        if (record->completion[k] == NULL) {
            return false;
        }
        record->completions++;
    }
    return true;
}
