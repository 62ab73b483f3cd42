/* SPDX-License-Identifier: MIT
 *
 * Built-in layouts: families of chat formats as data. Where turns depend on one another, a template.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/text/layout.h"
#include "common/text/layout_template.h"

typedef struct BuiltIn {
    const char *name, *prefix, *separator;
    const char *before[3], *after[3]; /* system, user, assistant */
    const char *lead, *system, *eos;
    bool bos, trim;
    const char *jinja; /* instead of all but the name and eos */
} BuiltIn;

#define ALPACA_SYSTEM                                                                              \
    "Below is an instruction that describes a task. Write a response that appropriately "          \
    "completes the request."

#define VICUNA_SYSTEM                                                                              \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives " \
    "helpful, detailed, and polite answers to the user's questions."
#define QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

/* What the templates begin with: user and assistant take turns, after perhaps a system text. */
#define ALTERNATE                                                                                  \
    "{%- set start = 1 if messages and messages[0].role == 'system' else 0 %}\n"                   \
    "{%- for message in messages[start:] %}\n"                                                     \
    "{%- if message.role != ('user' if loop.index0 is even else 'assistant') %}\n"                 \
    "{{- raise_exception('user and assistant have to take turns, the user first') }}\n"            \
    "{%- endif %}\n"

#define LLAMA2                                                                                     \
    ALTERNATE                                                                                      \
    "{%- if message.role == 'user' %}\n"                                                           \
    "{{- '<s>[INST] ' }}\n"                                                                        \
    "{%- if loop.first and start %}\n"                                                             \
    "{{- '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' }}\n"                            \
    "{%- endif %}\n"                                                                               \
    "{{- message.content | trim + ' [/INST]' }}\n"                                                 \
    "{%- else %}\n"                                                                                \
    "{{- ' ' + message.content | trim + ' </s>' }}\n"                                              \
    "{%- endif %}\n"                                                                               \
    "{%- endfor %}\n"

#define MISTRAL                                                                                    \
    "{{- '<s>' }}\n" ALTERNATE "{%- if message.role == 'user' %}\n"                                \
    "{{- '[INST] ' }}\n"                                                                           \
    "{%- if loop.first and start %}\n"                                                             \
    "{{- messages[0].content + '\\n\\n' }}\n"                                                      \
    "{%- endif %}\n"                                                                               \
    "{{- message.content + ' [/INST]' }}\n"                                                        \
    "{%- else %}\n"                                                                                \
    "{{- ' ' + message.content + '</s>' }}\n"                                                      \
    "{%- endif %}\n"                                                                               \
    "{%- endfor %}\n"

#define GEMMA                                                                                      \
    "{{- '<bos>' }}\n"                                                                             \
    "{%- if messages and messages[0].role == 'system' %}\n"                                        \
    "{{- raise_exception('the layout gemma has no system text; put it before the user\\'s') }}\n"  \
    "{%- endif %}\n" ALTERNATE                                                                     \
    "{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' }}\n"    \
    "{{- message.content | trim + '<end_of_turn>\\n' }}\n"                                         \
    "{%- endfor %}\n"                                                                              \
    "{%- if add_generation_prompt %}\n"                                                            \
    "{{- '<start_of_turn>model\\n' }}\n"                                                           \
    "{%- endif %}\n"

static const BuiltIn built_in[] = {
    {.name = "plain",
     .prefix = "",
     .separator = "\n",
     .before = {"", "", ""},
     .after = {"\n", "\n", "\n"},
     .lead = ""},
    {.name = "chatml",
     .prefix = "<|im_start|>user\n",
     .separator = "<|im_end|>\n<|im_start|>assistant\n",
     .before = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},
     .after = {"<|im_end|>\n", "<|im_end|>\n", "\n"},
     .lead = "",
     .eos = "<|im_end|>"},
    {.name = "llama3",
     .prefix = "<|start_header_id|>user<|end_header_id|>\n\n",
     .separator = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
     .before = {"<|start_header_id|>system<|end_header_id|>\n\n",
                "<|start_header_id|>user<|end_header_id|>\n\n",
                "<|start_header_id|>assistant<|end_header_id|>\n\n"},
     .after = {"<|eot_id|>", "<|eot_id|>", ""},
     .lead = "",
     .eos = "<|eot_id|>",
     .bos = true,
     .trim = true},
    {.name = "hh",
     .prefix = "\n\nHuman:",
     .separator = "\n\nAssistant:",
     .before = {"", "\n\nHuman:", "\n\nAssistant:"},
     .after = {"", "", ""},
     .lead = " ",
     .trim = true},
    {.name = "alpaca",
     .prefix = ALPACA_SYSTEM "\n\n### Instruction:\n",
     .separator = "\n\n### Response:\n",
     .before = {"", "### Instruction:\n", "### Response:\n"},
     .after = {"\n\n", "\n\n", "\n\n"},
     .lead = "",
     .system = ALPACA_SYSTEM,
     .trim = true},
    {.name = "zephyr",
     .prefix = "<|user|>\n",
     .separator = "</s>\n<|assistant|>\n",
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .after = {"</s>\n", "</s>\n", "\n"},
     .lead = "",
     .eos = "</s>"},
    {.name = "phi3",
     .prefix = "<|user|>\n",
     .separator = "<|end|>\n<|assistant|>\n",
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .after = {"<|end|>\n", "<|end|>\n", "\n"},
     .lead = "",
     .eos = "<|end|>"},
    {.name = "vicuna",
     .prefix = VICUNA_SYSTEM " USER:",
     .separator = " ASSISTANT:",
     .before = {"", "USER:", "ASSISTANT:"},
     .after = {" ", " ", ""},
     .lead = " ",
     .system = VICUNA_SYSTEM,
     .eos = "</s>",
     .bos = true,
     .trim = true},
    {.name = "qwen2.5",
     .prefix = "<|im_start|>system\n" QWEN_SYSTEM "<|im_end|>\n<|im_start|>user\n",
     .separator = "<|im_end|>\n<|im_start|>assistant\n",
     .before = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},
     .after = {"<|im_end|>\n", "<|im_end|>\n", "\n"},
     .lead = "",
     .system = QWEN_SYSTEM,
     .eos = "<|im_end|>"},
    {.name = "llama2",  .jinja = LLAMA2,                                          .eos = "</s>"                                                                         },
    {.name = "mistral",                                             .jinja = MISTRAL,                                                             .eos = "</s>"                                                    },
    {.name = "gemma",                     .jinja = GEMMA,                .eos = "<end_of_turn>"                                                },
};

enum { BUILT_IN = sizeof built_in / sizeof *built_in };

const char *const layout_names[] = {"plain",   "chatml", "llama3", "hh",      "alpaca",
                                    "zephyr",  "phi3",   "vicuna", "qwen2.5", "llama2",
                                    "mistral", "gemma",  NULL};

bool layout_set(char **field, const char *value, Error *err) {
    free(*field);
    *field = NULL;
    if (value == NULL) {
        return true;
    }
    *field = mem_strdup(value, err);
    return *field != NULL;
}

static const BuiltIn *find(const char *name) {
    for (size_t i = 0; i < BUILT_IN; i++) {
        if (strcmp(built_in[i].name, name) == 0) {
            return &built_in[i];
        }
    }
    return NULL;
}

static bool fill(Layout *layout, const BuiltIn *from, const char *name, Error *err) {
    if (from->jinja != NULL) {
        *layout = (Layout){0};
        bool made =
            layout_set(&layout->name, name, err) && layout_set(&layout->eos, from->eos, err);
        layout->template = made ? chat_template_built_in(from->jinja, name, err) : NULL;
        if (layout->template == NULL) {
            layout_done(layout);
        }
        return layout->template != NULL;
    }
    *layout = (Layout){.bos = from->bos, .trim = from->trim};
    bool ok =
        layout_set(&layout->name, name, err) && layout_set(&layout->prefix, from->prefix, err) &&
        layout_set(&layout->separator, from->separator, err) &&
        layout_set(&layout->lead, from->lead, err) &&
        layout_set(&layout->system, from->system, err) && layout_set(&layout->eos, from->eos, err);
    for (size_t i = 0; ok && i < 3; i++) {
        ok = layout_set(&layout->turn_before[i], from->before[i], err) &&
             layout_set(&layout->turn_after[i], from->after[i], err);
    }
    if (!ok) {
        layout_done(layout);
    }
    return ok;
}

bool layout_init(Layout *layout, const char *name, Error *err) {
    const BuiltIn *from = find(name);
    if (from != NULL) {
        return fill(layout, from, name, err);
    }
    const char *near = NULL;
    for (size_t i = 0; near == NULL && i < BUILT_IN; i++) {
        near = str_distance(name, built_in[i].name, 2) <= 2 ? built_in[i].name : NULL;
    }
    Str known = {0};
    for (size_t i = 0; i < BUILT_IN; i++) {
        str_appendf(&known, "%s, ", built_in[i].name);
    }
    str_append(&known, "and template, which is the model folder's own");
    error_set(err, ERROR_CONFIG, "unknown layout \"%.60s\"%s%s%s; there are %s", name,
              near == NULL ? "" : ", did you mean \"", near == NULL ? "" : near,
              near == NULL ? "" : "\"?", str_text(&known));
    str_done(&known);
    return false;
}

void layout_done(Layout *layout) {
    free(layout->name);
    free(layout->prefix);
    free(layout->separator);
    free(layout->lead);
    free(layout->system);
    free(layout->eos);
    chat_template_free(layout->template);
    for (size_t i = 0; i < 3; i++) {
        free(layout->turn_before[i]);
        free(layout->turn_after[i]);
    }
    *layout = (Layout){0};
}

bool layout_is_built_in(const char *name) {
    return find(name) != NULL;
}
