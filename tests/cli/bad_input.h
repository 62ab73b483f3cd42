/* SPDX-License-Identifier: MIT
 *
 * Bad input: a table of command lines on hostile files, and what each must end in.
 *
 * A row names the files that are made in a fresh folder, the command line, the exit code and a part
 * of the one sentence on stderr. Beside that every row must hold: the program ends by itself within
 * 30 seconds and within 1 GiB, by no signal; stdout stays empty; stderr is one line "program: ..."
 * (several only where problems of a configuration are gathered); the folder is afterwards as it was
 * before: nothing half-written, no output folder.
 *
 * To add a case, add a row. In commands, texts and expectations "@" at the beginning of a word
 * stands for the row's own folder, "&" for the folder with good inputs:
 * - &m: a tiny causal LM folder (config.json, model.safetensors, tokenizer.json, ...)
 * - &rm: a tiny reward model folder with the same tokenizer
 * - &sft.jsonl: demonstrations; &rank.jsonl: rankings; &prompts.jsonl: prompts
 */
#ifndef RLHF_TESTS_CLI_BAD_INPUT_H
#define RLHF_TESTS_CLI_BAD_INPUT_H

#include "tests/support/support.h"

typedef enum StepKind {
    STEP_NONE,
    STEP_WRITE,
    STEP_COPY,
    STEP_CUT,
    STEP_APPEND,
    STEP_REPLACE,
    STEP_REMOVE,
    STEP_TENSORS,
    STEP_POKE,
    STEP_REPEAT,
    STEP_FOLDER,
    STEP_FIFO,
    STEP_LINK,
    STEP_MODE,
    STEP_SPARSE,
    STEP_DISK,
} StepKind;

typedef struct Step {
    StepKind kind;
    const char *name; /* relative to the row's folder */
    const char *text;
    size_t size; /* of text */
    const char *other;
    long number;
} Step;

#define WRITE(name, literal)                                                                       \
    { STEP_WRITE, name, literal, sizeof(literal) - 1, NULL, 0 }
/* A copy of one of the good inputs, a file or a folder. */
#define COPY(name, of)                                                                             \
    { STEP_COPY, name, of, 0, NULL, 0 }
/* To this length; negative: so many bytes less. */
#define CUT(name, length)                                                                          \
    { STEP_CUT, name, NULL, 0, NULL, length }
#define APPEND(name, literal)                                                                      \
    { STEP_APPEND, name, literal, sizeof(literal) - 1, NULL, 0 }
/* The first occurrence, which must be there. */
#define REPLACE(name, old, new)                                                                    \
    { STEP_REPLACE, name, old, sizeof(old) - 1, new, 0 }
#define REMOVE(name)                                                                               \
    { STEP_REMOVE, name, NULL, 0, NULL, 0 }
/* A safetensors file with this header and so many zeros. */
#define TENSORS(name, header, zeros)                                                               \
    { STEP_TENSORS, name, header, sizeof(header) - 1, NULL, zeros }
/* Bytes over those at an offset; negative: from the end. */
#define POKE(name, at, literal)                                                                    \
    { STEP_POKE, name, literal, sizeof(literal) - 1, NULL, at }
/* Appends a text many times. */
#define REPEAT(name, literal, times)                                                               \
    { STEP_REPEAT, name, literal, sizeof(literal) - 1, NULL, times }
#define FOLDER(name)                                                                               \
    { STEP_FOLDER, name, NULL, 0, NULL, 0 }
#define FIFO(name)                                                                                 \
    { STEP_FIFO, name, NULL, 0, NULL, 0 }
#define LINK(name, to)                                                                             \
    { STEP_LINK, name, to, 0, NULL, 0 }
#define MODE(name, bits)                                                                           \
    { STEP_MODE, name, NULL, 0, NULL, bits }
/* A file of this length without content. */
#define SPARSE(name, length)                                                                       \
    { STEP_SPARSE, name, NULL, 0, NULL, length }
/* A folder on a disk of its own of so many bytes; where none can be mounted, the row is skipped. */
#define DISK(name, bytes)                                                                          \
    { STEP_DISK, name, NULL, 0, NULL, bytes }

typedef struct BadInput {
    const char *name;
    const char *command; /* words between blanks; "%" is a blank within a word */
    int code;
    const char *part; /* of stderr */
    Step step[8];
    long file_limit;   /* bytes a file may have (RLIMIT_FSIZE); 0: no limit */
    bool writes;       /* the folder may change: the failure comes in the middle of a run;
                        * but no temporary file stays */
    bool unprivileged; /* of no use to root, whom no permission stops */
} BadInput;

/* Runs the rows and fails with all that went wrong. */
void bad_input_run(const BadInput *row, size_t rows);

#endif
