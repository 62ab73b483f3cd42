/* SPDX-License-Identifier: MIT
 *
 * Layout: how a prompt and its completion, or the turns of a conversation, become ids.
 *
 * Parts are tokenized apart and their ids concatenated; what stands between them (template,
 * separator, a leading space) is decided here and nowhere else, saved in the model folder as
 * layout.json and used by every program. Literals of a layout may be special tokens; content never
 * is. A completion ends in EOS when it is complete.
 *
 * A prompt that is no conversation is prefix + content + separator. Turns are before[role] +
 * content + after[role]; an assistant's content ends in EOS, then comes after[ROLE_ASSISTANT],
 * which is left out behind the last turn. So the ids of a conversation that ends in an assistant's
 * turn are those of layout_prompt for all turns but the last, then those of layout_completion for
 * the last.
 *
 * A layout may also be a chat template (name "template": the model folder's own). Prompts and
 * conversations are then what the template renders, its literals encoded with special tokens and
 * content without, apart; a plain prompt is a user's turn; a completion is what the template adds
 * when the assistant has answered, up to the end token. docs/templates.md says the rest.
 */
#ifndef RLHF_TEXT_LAYOUT_H
#define RLHF_TEXT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/text/tokenizer.h"

typedef enum Role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_PLAIN } Role;

/* One turn. ROLE_PLAIN: a prompt that is not a conversation; it stands alone. */
typedef struct Message {
    Role role;
    char *text; /* owned by whoever owns the record */
} Message;

/* Every string is owned. A literal that is one special token of the vocabulary becomes its id, as
 * do special tokens within it; else it is encoded as text. */
typedef struct Layout {
    char *name;      /* "plain", "chatml", "hh", "alpaca", ... */
    char *prefix;    /* plain prompts: literal before the prompt ("" by default) */
    char *separator; /* literal between prompt and completion; default "\n" for plain */
    char *turn_before[3], *turn_after[3]; /* literals around a turn, by role */
    char *lead;   /* put before content other than a system text and encoded with it: " " for hh */
    char *system; /* default system text or NULL; conversations only */
    bool bos;     /* begin with the tokenizer's BOS */
    bool framed;  /* an encoder's: a text that stands alone is prefix + text + EOS too */
    bool assumed; /* "plain", since nobody said anything else; not saved */
    bool trim;    /* strip white space at both ends of content */
    char *eos;    /* content of the token that ends a completion; NULL: the tokenizer's EOS */
    /* A chat template instead of all but name and eos, whose strings are then NULL; owned. */
    struct ChatTemplate *template;
} Layout;

/* A built-in layout by name, every string owned. */
bool layout_init(Layout *layout, const char *name, Error *err);
void layout_done(Layout *layout);
/* layout.json of a model folder, else its chat template: chat_template.jinja, or chat_template of
 * tokenizer_config.json. *found = false (and *layout untouched) if there is none of them. What the
 * file leaves out is as in the built-in layout of its name, or else as in "plain". */
bool layout_load(Layout *layout, const char *folder, bool *found, Error *err);
/* The layout of a name, or with NULL the folder's (may be NULL), else "plain". "template": the
 * folder's chat template, with the date and variables of its layout.json. */
bool layout_open(Layout *layout, const char *name, const char *folder, Error *err);
/* Of a layout that is assumed: begins with BOS where the tokenizer's file puts one before a text; for an
 * encoder prefix, separator and EOS are what the file puts before, between and behind two texts
 * ([CLS] a [SEP] b [SEP]), and ERROR_DATA if it does not. */
bool layout_frame(Layout *layout, const Tokenizer *tokenizer, bool encoder, Error *err);
/* Literals that a user chose instead of the layout's; NULL: the layout's stays. */
bool layout_replace(Layout *layout, const char *prefix, const char *separator, const char *eos,
                    Error *err);
bool layout_save(const Layout *layout, const char *folder, Error *err);
extern const char *const layout_names[]; /* NULL-terminated */

/* The source of a layout that is a chat template; borrowed, NULL if it is none. */
const char *layout_template(const Layout *layout, size_t *n);

/* Id of the token that ends a completion; ERROR_CONFIG if the tokenizer has none. */
bool layout_eos(const Layout *layout, const Tokenizer *tokenizer, int32_t *eos, Error *err);

/* Ids of a prompt, up to where the completion begins (separator or the opened assistant turn
 * included). At least one id: an empty prompt gives BOS or EOS. Turns that end in an assistant's,
 * and ROLE_PLAIN among turns, are ERROR_DATA. */
bool layout_prompt(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                   size_t messages, Tokens *out, Error *err);

/* Ids of a completion; eos appends the end token. */
bool layout_completion(const Layout *layout, const Tokenizer *tokenizer, const char *text, size_t n,
                       bool eos, Tokens *out, Error *err);

/* A whole conversation. trained[i] = 1 where id i belongs to an assistant's content or its end
 * token; *trained (may be NULL) has out->count - (old count) entries, release with free. */
bool layout_conversation(const Layout *layout, const Tokenizer *tokenizer, const Message *message,
                         size_t messages, Tokens *out, uint8_t **trained, Error *err);

#endif
