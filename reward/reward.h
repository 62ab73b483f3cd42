/* SPDX-License-Identifier: MIT
 *
 * Reward models: a transformer with a score head, trained on human rankings (InstructGPT, Ouyang et al.
 * 2022, section 3.5, step 2; Stiennon et al. 2020), and by the same machinery classifiers and
 * regressors on labeled text.
 *
 * Weights. Every prompt weighs the same. A prompt's weight is shared evenly by its records (rankings
 * with at least one strict pair, whoever made them), a record's by its strict pairs:
 *   L = 1/P sum_prompts 1/R_p sum_records 1/pairs sum_pairs -log sigmoid(r_better - r_worse).
 * An optimizer step takes train.batch prompts with all their records and divides by their number over
 * all micro-batches. Several people ranked the same completions: each distinct completion of a prompt
 * goes through the model once and gets the gradient of all its pairs.
 *
 * A score is read at the last row of a completion, which is its EOS unless it was cut; an encoder's at
 * the first row of the text, whose prompt and completion are then one sequence each time.
 */
#ifndef RLHF_REWARD_REWARD_H
#define RLHF_REWARD_REWARD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/loss/preference.h"
#include "common/model/family.h"
#include "common/stage/stage.h"

typedef enum RewardObjective {
    REWARD_RANKING,
    REWARD_CLASSIFICATION,
    REWARD_REGRESSION
} RewardObjective;

typedef enum RewardNormalize {
    NORMALIZE_NONE,
    NORMALIZE_DEMONSTRATIONS, /* bias: the mean over data.normalize is 0 (Stiennon et al. 2020) */
    NORMALIZE_REFERENCE       /* gain and bias: samples of the reference model are N(0, 1) (Ziegler
                                 et al. 2019, section 2.3) */
} RewardNormalize;

typedef struct RewardConfig {
    Settings settings; /* first: the shared table's offsets count from here */
    struct {
        int objective, normalize;
        double label_smoothing, centering;
        bool zero_head;
        StringList contrast; /* demonstrations to contrast; none: not done */
        double contrast_coef;
        int64_t contrast_batch;
        char *reference; /* folder of the reference model; NULL: model.path */
        int64_t normalize_samples;
    } reward;
} RewardConfig;

extern const OptionProgram reward_program;
/* Contradictions between values; ERROR_CONFIG. */
bool reward_config_check(const RewardConfig *config, Error *err);

/* ---- What is judged ---- */

/* A text to score: the completion behind its group's prompt, or with completion NULL the prompt alone. */
typedef struct RewardText {
    const Tokens *completion; /* borrowed from the ExampleSet */
    uint64_t key;             /* for dropout */
} RewardText;

/* One record: what one rater said about some texts of a group. */
typedef struct RewardJudgment {
    const Example *example; /* borrowed */
    uint32_t *text; /* [texts] indices among the group's texts, owned; of a ranking: as in the
                               record, so that record->rank[i] belongs to text[i] */
    size_t texts, pairs;
    double weight; /* share of its prompt */
    size_t screen; /* judgments of one group with equal numbers saw the same set of texts */
    size_t label;  /* class */
    double target; /* number */
} RewardJudgment;

/* Texts of one prompt that are computed together, behind one prefix unless `apart`. Never split. */
typedef struct RewardGroup {
    const Tokens *prompt; /* borrowed */
    uint64_t key;
    bool apart;       /* each text with a prompt of its own, not behind one prefix */
    RewardText *text; /* owned */
    size_t texts;
    RewardJudgment *judgment; /* owned; those of one screen are adjacent */
    size_t judgments;
    size_t rows;  /* of a batch */
    size_t score; /* where the group's scores begin in RewardSet.score, in texts */
} RewardGroup;

/* The unit of a step: a prompt with all its records (one or, when they are many, several groups); of
 * labeled text one record. */
typedef struct RewardItem {
    size_t group, groups;
} RewardItem;

typedef struct RewardCounts {
    size_t records, tied;   /* tied: all ranks equal, nothing to learn */
    size_t pairs;           /* strict */
    size_t prompts, texts;  /* distinct completions */
    size_t screens, raters; /* raters: most records on one screen */
    size_t rows;            /* of one pass over all */
} RewardCounts;

typedef struct RewardSet {
    RewardGroup *group; /* owned */
    size_t groups;
    RewardItem *item; /* owned */
    size_t items;
    float *score; /* [texts * labels] of the last reward_score, owned */
    size_t texts;
    size_t most_rows, most_texts; /* rows of any group; texts of any group or judgment */
    RewardCounts counts;
} RewardSet;

typedef struct RewardSetOptions {
    bool by_prompt; /* records of one prompt form one item; else each record is one */
    bool keep_tied; /* keep records without a strict pair (they are raters of an evaluation) */
    bool apart;     /* for an encoder: RewardGroup.apart */
    size_t rows;    /* a group takes no further screen beyond this many rows */
    size_t labels;
} RewardSetOptions;

/* The examples must outlive the set. A set without any item is ERROR_DATA if `what` (for the message) is
 * not NULL. */
bool reward_set_build(RewardSet *set, const ExampleSet *examples, const RewardSetOptions *options,
                      const char *what, Error *err);
void reward_set_done(RewardSet *set);
void reward_set_describe(const RewardSet *set, Str *out);

/* Makes rankings from demonstrations: for each prompt several of K = 4, in which a completion of its own
 * stands above completions of three similar prompts (most words in common). `demonstrations` must
 * outlive the set. Fewer than eleven prompts are ERROR_DATA. */
bool reward_contrast_build(DataSet *set, const DataSet *demonstrations, uint64_t seed, Error *err);

/* ---- Passes ---- */

/* What packing groups into a batch needs; planned for the largest micro-batch. */
typedef struct RewardPass {
    Workspace *workspace;
    Batch batch;
    size_t rows, labels;
    bool segments;             /* completions are of token type 1 */
    float *score, *dscore;     /* [rows * labels] */
    float *texts, *dtexts;     /* [most texts of a group * labels] */
    float *few, *dfew;         /* the same, gathered for one judgment */
    int32_t *id;               /* scratch for one sequence */
    const RewardGroup **group; /* [rows] groups of the batch at hand */
    size_t *sequence;          /* [rows] the first text's sequence of each */
    size_t groups;
} RewardPass;

/* plan->tokens: of a micro-batch; most_texts: of any group that will pass. */
bool reward_pass_init(RewardPass *pass, const ModelConfig *config, const WorkspacePlan *plan,
                      size_t most_texts, Error *err);
void reward_pass_done(RewardPass *pass);
size_t reward_pass_bytes(const ModelConfig *config, const WorkspacePlan *plan, size_t most_texts);

/* Scores of all texts, reward bias included, into set->score. No dropout. */
bool reward_score(RewardPass *pass, const Model *model, RewardSet *set, Error *err);

typedef struct RewardSums {
    double loss;           /* weighted: of a step with scale 1/prompts the mean over prompts */
    double correct, pairs; /* strict pairs; of a classifier right records and records */
    size_t rows;           /* that went through the model */
} RewardSums;

typedef struct RewardLoss {
    RewardObjective objective;
    PreferenceOptions preference;
} RewardLoss;

/* Loss of the judgments of one group, times scale; score and dscore are [texts * labels], dscore is
 * added to. few and dfew are scratch of the same size. */
double reward_group_loss(const RewardLoss *loss, const RewardGroup *group, size_t labels,
                         const float *score, double scale, float *dscore, float *few, float *dfew,
                         RewardSums *sums);

/* Forward, loss and backward of items `item(context, i)`, i < items, in micro-batches of at most
 * pass->rows rows. Gradients are added. */
typedef size_t RewardOrder(const void *context, size_t i);
bool reward_accumulate(RewardPass *pass, const Model *model, Gradients *gradients,
                       const RewardSet *set, const RewardLoss *loss, RewardOrder *order,
                       const void *context, size_t items, double scale, RewardSums *sums,
                       Error *err);

/* ---- Evaluation ---- */

enum { CALIBRATION_BINS = 10 };

/* Pairs that agree, ties of the score counting one half, and how many there are. */
typedef struct RewardShare {
    double correct, pairs;
} RewardShare;

typedef struct RewardBin {
    double pairs, confidence, correct, margin; /* sums over pairs */
} RewardBin;

typedef struct RewardEvaluation {
    double loss;
    size_t prompts, texts, ties; /* ties: strict pairs whose scores are equal */
    RewardShare pairs, majority;
    RewardShare unanimous, split, single; /* parts of majority: at least three raters and all prefer
                                             the same; other pairs of several raters; of one */
    RewardShare longer, longer_majority;  /* "the longer completion wins" */
    RewardShare rater; /* a rater against the majority of the others: what can be hoped for */
    RewardBin bin[CALIBRATION_BINS]; /* strict pairs by sigma(|margin|) from 0.5 to 1 */
    double calibration_error;
    double score_mean, score_deviation, margin;
    double
        length_correlation; /* of score and completion tokens, both centered within their prompt */
    /* labeled text */
    double accuracy, macro_f1, squared_error, correlation;
    size_t *confusion; /* [labels * labels] counts, row = true class; owned */
    size_t labels;
} RewardEvaluation;

/* Uses set->score. */
bool reward_evaluate(RewardEvaluation *evaluation, const RewardSet *set, const RewardLoss *loss,
                     size_t labels, Error *err);
void reward_evaluation_done(RewardEvaluation *evaluation);
/* eval/… metrics by the objective. */
void reward_evaluation_metrics(const RewardEvaluation *evaluation, RewardObjective objective,
                               Metrics *metrics);
/* Tables for report.md. label_name may be NULL. */
void reward_evaluation_report(const RewardEvaluation *evaluation, RewardObjective objective,
                              char *const *label_name, Str *out);

/* ---- The run ---- */

/* Mean and deviation of scores over the normalization texts; what the published head becomes:
 * score' = gain * w.h + bias. */
typedef struct RewardScale {
    double mean, deviation;
    size_t texts;
    double gain, bias;
} RewardScale;

typedef struct Reward {
    const RewardConfig *config;
    Log *log;
    RewardLoss loss;
    size_t labels;
    Tokenizer *tokenizer;
    Layout layout;
    DataSet train_data, validation_data, normalize_data, demonstrations, contrast_data;
    ExampleSet train_examples, validation_examples, normalize_examples, contrast_examples;
    RewardSet train, validation, normalize, contrast;
    char **label_name; /* [labels] of a classifier, sorted; owned */
    Model model, ema;  /* ema.data is NULL without an average */
    bool fresh_head;
    Gradients gradients;
    Optimizer optimizer;
    RewardPass pass;
    size_t rows, most_texts; /* of the largest micro-batch, of any group */
    int64_t steps;
    const char *best; /* metric that chooses the result; NULL: the last one */
    bool best_is_largest;
    RewardScale before; /* of the model as it was loaded, when normalizing */
    uint64_t seen;      /* rows so far */
} Reward;

/* Data, tokenizer, model, counts; on failure everything is released. */
bool reward_prepare(Reward *reward, const RewardConfig *config, Log *log, Error *err);
/* Workspace, optimizer, normalization texts. */
bool reward_allocate(Reward *reward, Error *err);
bool reward_plan(const Reward *reward, Str *plan, Error *err);
void reward_done(Reward *reward);

/* What the settings ask for; always "none" unless the objective is a ranking. */
RewardNormalize reward_normalization(const Reward *reward);
/* How records become ids. */
EncodeOptions reward_encode_options(const Reward *reward);
/* Encodes data.normalize, or samples the reference model (which reward_prepare leaves to
 * reward_allocate); nothing for "none". */
bool reward_normalize_prepare(Reward *reward, Error *err);
/* Scale of a model over the normalization texts; gain 1 and the model's own bias for "none". */
bool reward_scale(Reward *reward, const Model *model, RewardScale *scale, Error *err);
/* Writes model, tokenizer and layout with the scale put into head and bias; the model is as before. */
bool reward_save_scaled(const Reward *reward, Model *model, const RewardScale *scale,
                        const char *folder, Error *err);

const Model *reward_result(const Reward *reward); /* the average if there is one */

/* For TrainerStage.report: tables of the published model. */
bool reward_report(void *context, const Run *run, int64_t best_step, Str *out, Error *err);

/* Callbacks for the training loop; context is the Reward. */
extern const TrainerStage reward_stage;

#endif
