/* SPDX-License-Identifier: MIT
 *
 * ChatTemplate: a layout that is a Jinja template.
 *
 * The template is rendered with messages, add_generation_prompt, tools and documents (none), the
 * special tokens that tokenizer_config.json names (bos_token, ...), and the layout's own variables.
 * When it is read, it answers a few short conversations: its prompts have to be the beginnings of
 * its conversations, and an answer has to look the same after a system text and in a later turn, or
 * prompts and completions could not be encoded apart; a template that differs is refused.
 */
#ifndef RLHF_TEXT_LAYOUT_TEMPLATE_H
#define RLHF_TEXT_LAYOUT_TEMPLATE_H

#include "common/base/json.h"
#include "common/jinja/jinja.h"
#include "common/text/layout.h"

typedef struct ChatTemplate {
    Jinja *jinja;   /* owned */
    cJSON *context; /* variables of a render; owned */
    cJSON *own;     /* those of layout.json among them, or NULL; owned */
    char *date;     /* or NULL; owned */
    char *origin;   /* the file it is from, NULL: built in; owned */
    char *tail;     /* what it writes behind an answer; owned */
} ChatTemplate;

/* The template of a model folder; *found = false if it has none. date (YYYY-MM-DD) and variables (an
 * object) may be NULL; they are copied. */
bool chat_template_read(ChatTemplate **out, const char *folder, const char *date,
                        const cJSON *variables, bool *found, Error *err);
ChatTemplate *chat_template_built_in(const char *source, const char *name, Error *err);
void chat_template_free(ChatTemplate *chat);
bool chat_template_date(const char *text); /* whether it is a day as YYYY-MM-DD; not NULL */

/* Members of layout.json: date and variables, where there are any. */
void chat_template_put(const ChatTemplate *chat, Str *out);
/* Writes chat_template.jinja unless the folder's files give the same template already. */
bool chat_template_save(const ChatTemplate *chat, const char *folder, Error *err);

/* Answers the short conversations, and learns what stands behind an answer. */
bool chat_template_probe(ChatTemplate *chat, Error *err);

/* layout_eos and its like, of a layout with a template. */
bool chat_template_eos(const Layout *layout, const Tokenizer *tokenizer, int32_t *eos, Error *err);
bool chat_template_prompt(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                          size_t messages, Tokens *out, Error *err);
bool chat_template_completion(const Layout *layout, const Tokenizer *tokenizer, const char *text,
                              size_t n, bool eos, Tokens *out, Error *err);
bool chat_template_conversation(const Layout *layout, const Tokenizer *tokenizer,
                                const Message *message, size_t messages, Tokens *out,
                                uint8_t **trained, Error *err);

/* Of layout_families.c: sets an owned string, which may be NULL. */
bool layout_set(char **field, const char *value, Error *err);
bool layout_is_built_in(const char *name);

#endif
