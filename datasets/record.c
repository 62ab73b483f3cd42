/* SPDX-License-Identifier: MIT */
#include "datasets/record.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/random.h"
#include "common/base/str.h"
#include "common/base/utf8.h"

void record_done(Record *record) {
    for (size_t i = 0; i < record->messages; i++) {
        free(record->message[i].text);
    }
    for (size_t i = 0; i < record->completions; i++) {
        free(record->completion[i]);
    }
    free(record->message);
    free(record->completion);
    free(record->rank);
    free(record->label);
    free(record->annotator);
    free(record->extra);
    *record = (Record){0};
}

uint64_t record_prompt_hash(const Record *record) {
    uint64_t hash = record->messages;
    for (size_t i = 0; i < record->messages; i++) {
        const Message *message = &record->message[i];
        hash = random_mix(hash, (uint64_t)message->role);
        hash = random_mix(hash, hash_bytes(message->text, strlen(message->text)));
    }
    return hash;
}

enum { RENDERED_BYTES = 240 };

static void render_text(const char *what, const char *text, Str *out) {
    size_t n = strlen(text), shown = n;
    if (n > RENDERED_BYTES) {
        for (shown = 0; shown < RENDERED_BYTES;) {
            shown += utf8_decode(text + shown, n - shown, NULL);
        }
    }
    str_appendf(out, "  %-12s ", what);
    json_put_string(out, text, shown);
    str_appendf(out, "%s\n", shown < n ? " ..." : "");
}

void record_render(const Record *record, Str *out) {
    static const char *const role[] = {"system", "user", "assistant", "prompt"};
    for (size_t i = 0; i < record->messages; i++) {
        const Message *message = &record->message[i];
        bool text = message->role == ROLE_PLAIN &&
                    (record->kind == RECORD_TEXT ||
                     (record->kind == RECORD_LABELED && record->completions == 0));
        render_text(text ? "text" : role[message->role], message->text, out);
    }
    for (size_t i = 0; i < record->completions; i++) {
        char what[64] = "completion";
        if (record->rank != NULL) {
            snprintf(what, sizeof what, "rank %g", record->rank[i]);
        }
        render_text(what, record->completion[i], out);
    }
    if (record->label != NULL) {
        render_text("label", record->label, out);
    }
}
