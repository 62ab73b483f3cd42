/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/model/generate.h"
#include "tools/live_text.h"
#include "tools/tool.h"

typedef struct Config {
    ToolConfig tool;
    char *prompt;
    int64_t samples, top_k, max_tokens, min_tokens, rows, seed;
    int dtype;
    double temperature, top_p, min_p, repetition_penalty;
    bool greedy;
    StringList stop;
} Config;

#define AT(field) offsetof(Config, field)

static const char *const dtypes[] = {"fp32", "bf16", NULL}; /* as GemmType */

/* clang-format off */
static const Option rows[] = {
    {"prompt", OPTION_STRING, AT(prompt), "null",
     .help = "One prompt instead of a file. With neither, prompts are read from standard input "
             "line by line and answered as text."},
    {"generation.samples", OPTION_INT, AT(samples), "1", 1, 1e6, .unit = "completions a prompt",
     .help = "Completions of each prompt, which is computed once for all of them."},
    {"generation.greedy", OPTION_BOOL, AT(greedy), "false",
     .help = "Always take the most probable id (the lowest one of a tie)."},
    {"generation.temperature", OPTION_FLOAT, AT(temperature), "1", 0.001, 1000,
     .help = "Divides the logits; 1: the model's own distribution."},
    {"generation.top_k", OPTION_INT, AT(top_k), "0", 0, 1 << 22, .unit = "ids",
     .help = "Sample among the most probable ids only; 0: all (Fan et al. 2018)."},
    {"generation.top_p", OPTION_FLOAT, AT(top_p), "1", 0, 1, .unit = "probability",
     .help = "Sample among the fewest ids that hold this much; 1: all (Holtzman et al. 2020)."},
    {"generation.min_p", OPTION_FLOAT, AT(min_p), "0", 0, 1, .unit = "share of the largest",
     .help = "Sample among ids at least this probable; 0: all (Nguyen et al. 2024)."},
    {"generation.repetition_penalty", OPTION_FLOAT, AT(repetition_penalty), "1", 0.01, 100,
     .help = "Makes ids of prompt and completion less likely; 1: off (Keskar et al. 2019)."},
    {"generation.max_tokens", OPTION_INT, AT(max_tokens), "128", 1, 1 << 22, .unit = "tokens",
     .help = "Longest completion, its end included; the model's context may allow less."},
    {"generation.min_tokens", OPTION_INT, AT(min_tokens), "0", 0, 1 << 22, .unit = "tokens",
     .help = "The end is masked before so many tokens."},
    {"generation.stop", OPTION_STRINGS, AT(stop), "[]",
     .help = "Texts that end a completion; they are cut off."},
    {"generation.rows", OPTION_INT, AT(rows), "64", 1, 65536, .unit = "completions",
     .help = "Completions computed at once. Memory and speed depend on it, results do not."},
    {"compute.dtype", OPTION_CHOICE, AT(dtype), "\"fp32\"", .choices = dtypes,
     .help = "What weights and what they are multiplied with are rounded to. bf16 reads half the "
             "memory, which few completions at a time wait for; their log-probs differ by some 1e-2."},
    {"seed", OPTION_INT, AT(seed), "0", 0, 9e15, .help = "Seed of the random numbers."},
};

static const OptionFlag flags[] = {
    {"--prompt", 'p', "prompt", "TEXT"},
    {"--samples", 'n', "generation.samples", "N"},
    {"--greedy", 0, "generation.greedy", NULL},
    {"--temperature", 0, "generation.temperature", "T"},
    {"--top-k", 0, "generation.top_k", "N"},
    {"--top-p", 0, "generation.top_p", "P"},
    {"--min-p", 0, "generation.min_p", "P"},
    {"--repetition-penalty", 0, "generation.repetition_penalty", "X"},
    {"--max-tokens", 0, "generation.max_tokens", "N"},
    {"--min-tokens", 0, "generation.min_tokens", "N"},
    {"--stop", 0, "generation.stop", "TEXT"},
    {"--dtype", 0, "compute.dtype", "TYPE"},
    {"--seed", 0, "seed", "N"},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

static const OptionTable table = {rows, sizeof rows / sizeof *rows};
static const OptionTable *const tables[] = {&tool_table, &table};
static const OptionFlag *const flag_lists[] = {tool_flags, flags};

static const OptionProgram program = {
    .name = "rlhf-generate",
    .summary = "Lets a model complete prompts.",
    .examples =
        "rlhf-generate --model runs/sft/model --prompt \"Hello\"\n"
        "rlhf-generate --model runs/ppo/model --data prompts.jsonl --samples 4 --output out.jsonl\n"
        "rlhf-generate --model runs/ppo/model --greedy",
    .table = tables,
    .tables = 2,
    .flag = flag_lists,
    .flag_lists = 2,
};

/* Completions, and their tokens, held at a time; more prompts follow in the next round. */
enum { ROUND = 8192, ROUND_TOKENS = 1 << 21 };

typedef struct Job {
    const Config *config;
    Tool *tool;
    const Record *record;
    size_t records;
    Tokens *tokens; /* [records] */
    Prompt *prompt; /* [records] */
    Sampling sampling;
    Generator *generator;
    Progress progress;
    size_t done;    /* completions of earlier rounds */
    LiveText *live; /* of the only completion, or NULL */
    Error *live_err;
} Job;

/* Turns of a record that are its prompt: all, but a conversation's last answer. */
static size_t prompt_turns(const Record *record) {
    size_t n = record->messages;
    while (record->kind == RECORD_CONVERSATION && n > 0 &&
           record->message[n - 1].role == ROLE_ASSISTANT) {
        n--;
    }
    return n;
}

static bool encode(Job *job, Error *err) {
    size_t context = job->tool->model.config.context;
    for (size_t i = 0; i < job->records; i++) {
        const Record *record = &job->record[i];
        size_t turns = prompt_turns(record);
        if (turns == 0) {
            return error_at(err, ERROR_DATA, record->file, record->line, 0,
                            "a conversation without a turn to answer");
        }
        if (!layout_prompt(&job->tool->layout, job->tool->tokenizer, record->message, turns,
                           &job->tokens[i], err)) {
            return record->file != NULL ? error_wrap(err, "%s:%ld", record->file, record->line)
                                        : false;
        }
        if (job->tokens[i].count >= context) {
            return error_at(err, ERROR_DATA, record->file, record->line, 0,
                            "the prompt has %zu tokens; the model's context is %zu, so at most %zu "
                            "leave room for a completion",
                            job->tokens[i].count, context, context - 1);
        }
        job->prompt[i] = (Prompt){job->tokens[i].id, job->tokens[i].count, i};
    }
    return true;
}

/* Appends the bytes of the ids. Special tokens have none, nor have ids that the model knows beyond
 * its tokenizer's vocabulary. */
static void put_bytes(const Tokenizer *tokenizer, const int32_t *id, size_t count, Str *out) {
    for (size_t i = 0; i < count; i++) {
        size_t n;
        const char *bytes = tokenizer_bytes(tokenizer, id[i], &n);
        if (bytes != NULL && !tokenizer_is_special(tokenizer, id[i])) {
            str_append_bytes(out, bytes, n);
        }
    }
}

/* Whether the newest token completes one of the stop texts. Only the end of the text is looked at.
 * */
static bool stop_text(void *context, size_t prompt, size_t sample, const int32_t *id,
                      size_t count) {
    const Job *job = context;
    const StringList *stop = &job->config->stop;
    size_t longest = 0, have = 0, from = count, last, n;
    (void)prompt;
    (void)sample;
    for (size_t i = 0; i < stop->count; i++) {
        n = strlen(stop->item[i]);
        longest = n > longest ? n : longest;
    }
    tokenizer_bytes(job->tool->tokenizer, id[count - 1], &last);
    while (from > 0 && have < longest + last) {
        tokenizer_bytes(job->tool->tokenizer, id[--from], &n);
        have += n;
    }
    Str text = {0};
    put_bytes(job->tool->tokenizer, id + from, count - from, &text);
    bool hit = stop_text_at(stop, str_text(&text), text.size) < text.size;
    str_done(&text);
    return hit;
}

/* Text of a completion, without its end and from a stop text on; what is no UTF-8 becomes U+FFFD.
 * */
static bool completion_text(const Job *job, const Completion *completion, Str *text, Error *err) {
    const Tokenizer *tokenizer = job->tool->tokenizer;
    Tokens known = {0};
    bool ok = true;
    for (size_t i = 0; i < completion->count && ok; i++) {
        bool end = completion->finish == FINISH_EOS && i + 1 == completion->count;
        if (!end && tokenizer_text(tokenizer, completion->id[i]) != NULL) {
            ok = tokens_push(&known, completion->id[i], err);
        }
    }
    ok = ok && tokenizer_decode(tokenizer, known.id, known.count, true, true, text, err);
    size_t end = ok ? stop_text_at(&job->config->stop, str_text(text), text->size) : 0;
    if (end < text->size) {
        text->size = end;
        text->data[end] = '\0';
    }
    tokens_done(&known);
    return ok;
}

static void put_prompt(const Record *record, Str *out) {
    static const char *const roles[] = {"system", "user", "assistant", "plain"};
    if (record->messages == 1 && record->message[0].role == ROLE_PLAIN) {
        json_put_string(out, record->message[0].text, strlen(record->message[0].text));
        return;
    }
    str_append_char(out, '[');
    for (size_t i = 0; i < prompt_turns(record); i++) {
        const Message *message = &record->message[i];
        str_appendf(out, "%s{\"role\":\"%s\",\"content\":", i > 0 ? "," : "", roles[message->role]);
        json_put_string(out, message->text, strlen(message->text));
        str_append_char(out, '}');
    }
    str_append_char(out, ']');
}

static bool put_completion(const Job *job, const Record *record, const Completion *completion,
                           Str *out, Error *err) {
    static const char *const finish[] = {"eos", "stop", "length"};
    Str text = {0};
    double logprob = 0;
    bool ok = completion_text(job, completion, &text, err);
    str_append(out, "{\"prompt\":");
    put_prompt(record, out);
    str_append(out, ",\"completion\":");
    json_put_string(out, str_text(&text), text.size);
    str_append(out, ",\"tokens\":[");
    for (size_t i = 0; i < completion->count; i++) {
        str_appendf(out, "%s%d", i > 0 ? "," : "", completion->id[i]);
        logprob += (double)completion->logprob[i];
    }
    str_append(out, "],\"logprob\":");
    json_put_double(out, logprob);
    str_appendf(out, ",\"finish\":\"%s\"", finish[completion->finish]);
    if (job->config->samples > 1) {
        str_appendf(out, ",\"sample\":%zu", completion->sample);
    }
    str_append(out, "}\n");
    str_done(&text);
    return ok;
}

static void show_progress(void *context, size_t done) {
    Job *job = context;
    size_t total = job->records * (size_t)job->config->samples;
    progress_show(&job->tool->log, &job->progress, job->done + done, total, "%s", "");
}

/* Text for a reader; on a terminal control characters that could steer it are spelled out. */
static void print_text(const Str *text, bool terminal) {
    for (size_t i = 0; i < text->size; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if (terminal && (c < 0x20 || c == 0x7f) && c != '\n' && c != '\t') {
            printf("\\x%02x", c);
        } else {
            putchar(c);
        }
    }
    fflush(stdout);
}

/* Called after each token: prints what is certain of an answer that is looked at, and stops at a stop
 * text. Its decoding fails only for lack of memory; then the answer ends here. */
static bool watch_token(void *context, size_t prompt, size_t sample, const int32_t *id,
                        size_t count) {
    const Job *job = context;
    bool stop = job->config->stop.count > 0 && stop_text(context, prompt, sample, id, count);
    if (job->live != NULL) {
        Str text = {0};
        stop |=
            !live_text_put(job->live, job->tool->tokenizer, id[count - 1], &text, job->live_err);
        print_text(&text, isatty(STDOUT_FILENO) == 1);
        str_done(&text);
    }
    return stop;
}

/* Completions of the prompts [begin, end), prompt by prompt. */
static const Completion *complete(Job *job, size_t begin, size_t end, Error *err) {
    GenerateWatch watch = {.stop = job->config->stop.count > 0 || job->live != NULL ? watch_token
                                                                                    : NULL,
                           .progress = show_progress,
                           .context = job};
    return generate(job->generator, &job->tool->model, job->prompt + begin, end - begin,
                    (size_t)job->config->samples, &job->sampling, &watch, err);
}

static bool write_round(Job *job, size_t begin, size_t end, Lines *lines, Error *err) {
    size_t samples = (size_t)job->config->samples, n = (end - begin) * samples;
    const Completion *out = complete(job, begin, end, err);
    bool ok = out != NULL;
    for (size_t i = 0; i < n && ok; i++) {
        Str line = {0};
        ok = put_completion(job, &job->record[begin + i / samples], &out[i], &line, err) &&
             lines_put(lines, &line, err);
        str_done(&line);
    }
    job->done += n;
    return ok;
}

static bool create_generator(Job *job, size_t longest, size_t completions, Error *err) {
    const Config *config = job->config;
    size_t context = job->tool->model.config.context, tokens = longest + (size_t)config->max_tokens;
    GeneratorPlan plan = {.rows = (size_t)config->rows,
                          .context = tokens < context ? tokens : context,
                          .completions = completions,
                          .tokens = (size_t)config->max_tokens,
                          .type = (GemmType)config->dtype,
                          .cache = (GemmType)config->dtype,
                          .packed = true};
    plan.rows = completions < plan.rows ? completions : plan.rows;
    plan.context = plan.context < 2 ? 2 : plan.context;
    job->generator = generator_create(&job->tool->model.config, &plan, err);
    return job->generator != NULL;
}

static bool run_records(Job *job, Error *err) {
    size_t samples = (size_t)job->config->samples, longest = 0;
    size_t most = ROUND_TOKENS / (size_t)job->config->max_tokens;
    most = most < ROUND ? most : ROUND;
    size_t round = samples < most ? most / samples : 1;
    round = round < job->records ? round : job->records;
    job->tokens = mem_alloc(job->records, sizeof(Tokens), err);
    job->prompt = mem_alloc(job->records, sizeof(Prompt), err);
    Lines lines = {0};
    bool ok = job->tokens != NULL && job->prompt != NULL && encode(job, err);
    for (size_t i = 0; ok && i < job->records; i++) {
        longest = job->prompt[i].count > longest ? job->prompt[i].count : longest;
    }
    ok = ok && create_generator(job, longest, mem_mul(round, samples), err) &&
         lines_open(&lines, job->config->tool.output, err);
    progress_begin(&job->progress, "completion", 0);
    for (size_t begin = 0; ok && begin < job->records; begin += round) {
        size_t end = begin + round < job->records ? begin + round : job->records;
        ok = write_round(job, begin, end, &lines, err);
    }
    ok = ok && lines_commit(&lines, err);
    lines_abort(&lines);
    generator_free(job->generator);
    for (size_t i = 0; job->tokens != NULL && i < job->records; i++) {
        tokens_done(&job->tokens[i]);
    }
    free(job->tokens);
    free(job->prompt);
    return ok;
}

/* The only completion, printed while it is made. */
static bool answer_live(Job *job, Error *err) {
    LiveText live;
    Str rest = {0};
    bool ok = live_text_init(&live, job->tool->tokenizer, &job->config->stop, err);
    job->live = &live;
    job->live_err = err;
    ok = ok && complete(job, 0, 1, err) != NULL && err->code == ERROR_NONE &&
         live_text_end(&live, &rest, err);
    print_text(&rest, isatty(STDOUT_FILENO) == 1);
    job->live = NULL;
    live_text_done(&live);
    str_done(&rest);
    return ok;
}

static bool answer_all(Job *job, Error *err) {
    const Completion *out = complete(job, 0, 1, err);
    bool ok = out != NULL;
    for (size_t i = 0; i < (size_t)job->config->samples && ok; i++) {
        Str text = {0};
        ok = completion_text(job, &out[i], &text, err);
        str_append(&text, i + 1 < (size_t)job->config->samples ? "\n" : "");
        print_text(&text, isatty(STDOUT_FILENO) == 1);
        str_done(&text);
    }
    return ok;
}

static bool answer(Job *job, char *line, Error *err) {
    Message message = {ROLE_PLAIN, line};
    Record record = {.kind = RECORD_PROMPT, .message = &message, .messages = 1};
    Tokens tokens = {0};
    Prompt prompt;
    job->record = &record;
    job->tokens = &tokens;
    job->prompt = &prompt;
    bool ok = encode(job, err) &&
              (job->config->samples == 1 ? answer_live(job, err) : answer_all(job, err));
    if (ok) {
        putchar('\n');
        fflush(stdout);
    }
    tokens_done(&tokens);
    return ok;
}

/* Lines of standard input as prompts. On a terminal a prompt that cannot be answered only says why.
 * */
static bool run_interactive(Job *job, Error *err) {
    bool terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = 0;
    bool ok =
        create_generator(job, job->tool->model.config.context, (size_t)job->config->samples, err);
    job->records = 1;
    job->tool->log.level = LOG_QUIET;
    while (ok) {
        if (terminal) {
            fputs("> ", stdout);
            fflush(stdout);
        }
        if ((n = getline(&line, &capacity, stdin)) < 0) {
            break;
        }
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) {
            line[--n] = '\0';
        }
        ok = answer(job, line, err);
        if (!ok && terminal && err->code == ERROR_DATA) {
            error_print(err, program.name, stderr);
            *err = (Error){0};
            ok = true;
        }
        job->sampling.step++;
    }
    ok = ok && (!ferror(stdin) || error_errno(err, "reading", "standard input"));
    generator_free(job->generator);
    free(line);
    return ok;
}

static bool run(const Config *config, Tool *tool, Error *err) {
    Job job = {.config = config, .tool = tool};
    job.sampling = (Sampling){.greedy = config->greedy,
                              .temperature = (float)config->temperature,
                              .top_k = (int)config->top_k,
                              .top_p = (float)config->top_p,
                              .min_p = (float)config->min_p,
                              .repetition_penalty = (float)config->repetition_penalty,
                              .max_tokens = (size_t)config->max_tokens,
                              .min_tokens = (size_t)config->min_tokens,
                              .stop = &tool->eos,
                              .stops = tool->eos >= 0,
                              .seed = (uint64_t)config->seed,
                              .purpose = RANDOM_SAMPLE};
    if (config->tool.data.files.count > 0) {
        const unsigned accept = 1u << RECORD_PROMPT | 1u << RECORD_DEMONSTRATION |
                                1u << RECORD_RANKING | 1u << RECORD_CONVERSATION;
        DataSet set = {0};
        bool ok = tool_read(tool, &config->tool, false, accept, &set, err);
        job.record = set.record;
        job.records = set.records;
        ok = ok && run_records(&job, err);
        dataset_done(&set);
        return ok;
    }
    if (config->prompt != NULL) {
        Message message = {ROLE_PLAIN, config->prompt};
        Record record = {.kind = RECORD_PROMPT, .message = &message, .messages = 1};
        job.record = &record;
        job.records = 1;
        return run_records(&job, err);
    }
    return run_interactive(&job, err);
}

/* A model whose folder says nothing of a layout has seen text alone: it goes on where the prompt ends. */
static void continue_text(const Config *config, Tool *tool) {
    if (tool->layout.assumed && config->tool.layout.name == NULL &&
        config->tool.layout.separator == NULL && tool->layout.separator != NULL) {
        tool->layout.separator[0] = '\0';
        log_info(&tool->log, "the model has neither a layout nor a chat template: it continues the "
                             "prompt's text; layout.separator puts something between");
    }
}

int main(int argc, char **argv) {
    Config config = {0};
    OptionOrigins *origins = NULL;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    bool ok = options_parse(&program, argc, argv, &config, &origins, NULL, NULL, &action, &err);
    if (ok && action == OPTION_RUN) {
        Tool tool;
        if (config.prompt != NULL && config.tool.data.files.count > 0) {
            ok = error_set(&err, ERROR_USAGE, "give --prompt or --data, not both");
        }
        ok = ok && tool_open(&tool, &config.tool, HEAD_LM, &err);
        if (ok) {
            continue_text(&config, &tool);
            ok = run(&config, &tool, &err);
            tool_close(&tool);
        }
    }
    options_done(&program, &config, origins);
    if (!ok) {
        error_print(&err, program.name, stderr);
        return (int)err.code;
    }
    return 0;
}
