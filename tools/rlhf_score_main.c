/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/memory.h"
#include "common/model/family.h"
#include "datasets/example.h"
#include "tools/tool.h"

typedef struct Config {
    ToolConfig tool;
    bool eos;
    int64_t tokens;
} Config;

#define AT(field) offsetof(Config, field)

/* clang-format off */
static const Option rows[] = {
    {"score.eos", OPTION_BOOL, AT(eos), "true",
     .help = "End each completion or text with EOS, where a reward model reads its score; false for "
             "the perplexity of texts as other programs have it."},
    {"score.tokens", OPTION_INT, AT(tokens), "4096", 1, 1 << 24, .unit = "tokens",
     .help = "About so many are computed at once. Memory and speed depend on it, results do not."},
};

static const OptionFlag flags[] = {
    {"--eos", 0, "score.eos", NULL},
    {NULL, 0, NULL, NULL},
};
/* clang-format on */

static const OptionTable table = {rows, sizeof rows / sizeof *rows};
static const OptionTable *const tables[] = {&tool_table, &table};
static const OptionFlag *const flag_lists[] = {tool_flags, flags};

static const OptionProgram program = {
    .name = "rlhf-score",
    .summary = "Judges texts by a reward model, a classifier or a language model.",
    .examples =
        "rlhf-score --model runs/reward/model --data completions.jsonl --output scores.jsonl\n"
        "rlhf-score --model runs/sft/model --data demonstrations.csv\n"
        "rlhf-score --model runs/sft/model --data book.txt --set score.eos=false   # perplexity",
    .table = tables,
    .tables = 2,
    .flag = flag_lists,
    .flag_lists = 2,
};

typedef struct Job {
    const Config *config;
    Tool *tool;
    const DataSet *data;
    ExampleSet
        *set; /* [records] one example each; of a text longer than the context one a window */
    Workspace *workspace;
    Batch batch;
    float *logprob, *score; /* of the batch's rows */
    double total;           /* log-prob of everything, and its tokens */
    size_t tokens;
    Lines lines;
    Progress progress;
} Job;

static bool is_lm(const Job *job) {
    return job->tool->model.config.head == HEAD_LM;
}

/* Each record by itself, so that a fault has a place and the output a line for every record. */
static bool encode(Job *job, size_t i, Error *err) {
    Record *record = &job->data->record[i];
    size_t context = job->tool->model.config.context;
    DataSet one = {.record = record, .records = 1};
    EncodeOptions options = {.max_tokens = context, .append_eos = job->config->eos};
    ExampleSet *set = &job->set[i];
    Error inner = {0};
    if (examples_encode(set, &one, job->tool->tokenizer, &job->tool->layout, &options, &inner)) {
        return true;
    }
    if (set->counts.dropped_long > 0) {
        return error_at(err, ERROR_DATA, record->file, record->line, 0,
                        "prompt and completion are longer than the model's context of %zu tokens",
                        context);
    }
    if (set->counts.dropped_empty > 0) {
        return error_at(err, ERROR_DATA, record->file, record->line, 0,
                        "a completion without any token cannot be judged");
    }
    return error_at(err, inner.code, record->file, record->line, 0, "%s", inner.text);
}

static double bias_of(const Job *job) {
    return (double)job->tool->model.config.reward_bias;
}

/* What a model with a score head says of the sequence that ends at a row. */
static void put_score(const Job *job, size_t row, Str *out) {
    const ModelConfig *config = &job->tool->model.config;
    const float *score = job->score + row * config->labels;
    if (config->labels == 1) {
        json_put_float(out, (float)((double)score[0] + bias_of(job)));
        return;
    }
    double max = -INFINITY, sum = 0;
    for (size_t j = 0; j < config->labels; j++) {
        max = fmax(max, (double)score[j]);
    }
    for (size_t j = 0; j < config->labels; j++) {
        sum += exp((double)score[j] - max);
    }
    str_append_char(out, config->regression ? '[' : '{');
    for (size_t j = 0; j < config->labels; j++) {
        char number[32];
        snprintf(number, sizeof number, "LABEL_%zu", j);
        const char *name = config->label_name != NULL ? config->label_name[j] : number;
        str_append(out, j > 0 ? "," : "");
        if (!config->regression) {
            json_put_string(out, name, strlen(name));
            str_append_char(out, ':');
        }
        json_put_double(out,
                        config->regression ? (double)score[j] : exp((double)score[j] - max) / sum);
    }
    str_append_char(out, config->regression ? ']' : '}');
}

static double sequence_logprob(const Job *job, size_t begin, size_t end) {
    double sum = 0;
    for (size_t t = begin; t < end; t++) {
        sum += job->batch.target[t] != BATCH_NO_TARGET ? (double)job->logprob[t] : 0;
    }
    return sum;
}

static void put_logprobs(const Job *job, size_t begin, size_t end, Str *out) {
    bool first = true;
    str_append_char(out, '[');
    for (size_t t = begin; t < end; t++) {
        if (job->batch.target[t] != BATCH_NO_TARGET) {
            str_append(out, first ? "" : ",");
            json_put_float(out, job->logprob[t]);
            first = false;
        }
    }
    str_append_char(out, ']');
}

typedef enum Wanted { WANTED_SCORE, WANTED_LOGPROB, WANTED_LOGPROBS } Wanted;

/* "key": the value of n sequences together, the windows of one text; with `list` an array with one for
 * each, the completions of a ranking. */
static void put_values(const Job *job, const char *key, Wanted wanted, bool list, size_t first,
                       size_t n, Str *out) {
    json_put_key(out, key);
    str_append(out, list ? "[" : "");
    size_t step = list ? 1 : n;
    for (size_t s = first; s < first + n; s += step) {
        size_t begin = job->batch.start[s], end = job->batch.start[s + step];
        str_append(out, s > first ? "," : "");
        if (wanted == WANTED_SCORE) {
            put_score(job, family_score_row(&job->tool->model.config, begin, end), out);
        } else if (wanted == WANTED_LOGPROB) {
            json_put_double(out, sequence_logprob(job, begin, end));
        } else {
            put_logprobs(job, begin, end, out);
        }
    }
    str_append(out, list ? "]" : "");
}

/* For the perplexity of everything. */
static void count_tokens(Job *job, size_t first, size_t n) {
    size_t begin = job->batch.start[first], end = job->batch.start[first + n];
    job->total += sequence_logprob(job, begin, end);
    for (size_t t = begin; t < end; t++) {
        job->tokens += job->batch.target[t] != BATCH_NO_TARGET;
    }
}

static bool write_record(Job *job, size_t i, size_t first, Error *err) {
    const Record *record = &job->data->record[i];
    const Example *example = &job->set[i].example[0];
    const ModelConfig *config = &job->tool->model.config;
    bool list = record->kind == RECORD_RANKING;
    size_t n = list ? example->completions : job->set[i].examples;
    Str line = {0};
    str_append_char(&line, '{');
    if (is_lm(job)) {
        put_values(job, "logprob", WANTED_LOGPROB, list, first, n, &line);
        put_values(job, "logprobs", WANTED_LOGPROBS, list, first, n, &line);
        count_tokens(job, first, n);
    } else {
        bool labels = config->labels > 1 && !config->regression;
        put_values(job, labels ? "labels" : "score", WANTED_SCORE, list, first, n, &line);
    }
    str_append(&line, "}\n");
    bool ok = lines_put(&job->lines, &line, err);
    str_done(&line);
    return ok;
}

/* Computes the records [begin, end) that were gathered in the batch. */
static bool flush(Job *job, const size_t *first, size_t begin, size_t end, Error *err) {
    PerToken out = {0};
    if (is_lm(job)) {
        out.logprob = job->logprob;
    } else {
        out.score = job->score;
    }
    model_forward(&job->tool->model, job->workspace, &job->batch, &out);
    bool ok = true;
    for (size_t i = begin; i < end && ok; i++) {
        ok = write_record(job, i, first[i], err);
    }
    batch_clear(&job->batch);
    progress_show(&job->tool->log, &job->progress, end, job->data->records, "%s", "");
    return ok;
}

static bool shares(const Job *job, const Example *example) {
    return example->completions > 1 && !family_is_encoder(&job->tool->model.config);
}

static size_t record_rows(const Job *job, const ExampleSet *set) {
    size_t n = 0;
    for (size_t i = 0; i < set->examples; i++) {
        n += example_rows(&set->example[i], shares(job, &set->example[i]));
    }
    return n;
}

/* Index of the first sequence that is judged: a shared prefix comes before them. */
static bool gather(Job *job, size_t i, size_t *first, Error *err) {
    const ExampleSet *set = &job->set[i];
    size_t wanted = set->example[0].completions > 1 ? set->example[0].completions : set->examples;
    for (size_t k = 0; k < set->examples; k++) {
        const Example *example = &set->example[k];
        size_t start;
        if (!example_add(example, shares(job, example), false, &job->batch, &start, err)) {
            return false;
        }
        for (size_t j = 0; job->tool->model.config.segments > 1 && j < example->completions; j++) {
            batch_set_segments(&job->batch, start + j, example->prompt.count);
        }
    }
    *first = job->batch.sequences - wanted;
    return true;
}

static bool allocate(Job *job, Error *err) {
    size_t tokens = (size_t)job->config->tokens, sequences = 0, total = 0;
    for (size_t i = 0; i < job->data->records; i++) {
        size_t n = record_rows(job, &job->set[i]);
        tokens = n > tokens ? n : tokens;
        total += n;
        sequences += job->set[i].example[0].completions + job->set[i].examples + 1;
    }
    tokens = total < tokens ? total : tokens;
    sequences = sequences < tokens ? sequences : tokens;
    WorkspacePlan plan = {tokens, sequences, false};
    job->workspace = workspace_create(&job->tool->model.config, &plan, err);
    size_t labels = is_lm(job) ? 1 : job->tool->model.config.labels;
    float *values = mem_alloc_aligned(mem_mul(tokens, labels), sizeof(float), err);
    job->logprob = is_lm(job) ? values : NULL;
    job->score = is_lm(job) ? NULL : values;
    return job->workspace != NULL && values != NULL &&
           batch_init(&job->batch, tokens, sequences, err);
}

static bool score_all(Job *job, size_t *first, Error *err) {
    size_t records = job->data->records, begin = 0;
    for (size_t i = 0; i < records; i++) {
        if (!encode(job, i, err)) {
            return false;
        }
    }
    if (!allocate(job, err) || !lines_open(&job->lines, job->config->tool.output, err)) {
        return false;
    }
    progress_begin(&job->progress, "record", 0);
    for (size_t i = 0; i < records; i++) {
        size_t more = record_rows(job, &job->set[i]);
        if (i > begin && job->batch.tokens + more > job->batch.token_capacity) {
            if (!flush(job, first, begin, i, err)) {
                return false;
            }
            begin = i;
        }
        if (!gather(job, i, &first[i], err)) {
            return false;
        }
    }
    if (!flush(job, first, begin, records, err) || !lines_commit(&job->lines, err)) {
        return false;
    }
    if (job->tokens > 0) {
        log_info(&job->tool->log, "%zu tokens, perplexity %.4f", job->tokens,
                 exp(-job->total / (double)job->tokens));
    }
    return true;
}

static bool run(const Config *config, Tool *tool, Error *err) {
    unsigned accept = 1u << RECORD_DEMONSTRATION | 1u << RECORD_RANKING |
                      1u << RECORD_CONVERSATION | 1u << RECORD_LABELED;
    accept |= tool->model.config.head == HEAD_LM ? 1u << RECORD_TEXT : 0;
    DataSet data = {0};
    if (!tool_read(tool, &config->tool, false, accept, &data, err)) {
        return false;
    }
    Job job = {.config = config, .tool = tool, .data = &data};
    job.set = mem_alloc(data.records, sizeof(ExampleSet), err);
    size_t *first = mem_alloc(data.records, sizeof(size_t), err);
    bool ok = job.set != NULL && first != NULL && score_all(&job, first, err);
    lines_abort(&job.lines);
    for (size_t i = 0; job.set != NULL && i < data.records; i++) {
        examples_done(&job.set[i]);
    }
    batch_done(&job.batch);
    workspace_free(job.workspace);
    free(job.logprob);
    free(job.score);
    free(job.set);
    free(first);
    dataset_done(&data);
    return ok;
}

int main(int argc, char **argv) {
    Config config = {0};
    OptionOrigins *origins = NULL;
    OptionAction action = OPTION_RUN;
    Error err = {0};
    bool ok = options_parse(&program, argc, argv, &config, &origins, NULL, NULL, &action, &err);
    if (ok && action == OPTION_RUN) {
        Tool tool;
        if (config.tool.data.files.count == 0) {
            ok = error_set(&err, ERROR_USAGE, "no records: name a file with --data FILE");
        }
        ok = ok && tool_open(&tool, &config.tool, -1, &err);
        if (ok) {
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
