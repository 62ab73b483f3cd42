/* SPDX-License-Identifier: MIT
 *
 * How well scores agree with people: pairs, majorities, calibration, length.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/loss/loss.h"
#include "reward/reward.h"

/* Scratch for one screen. */
typedef struct Tally {
    size_t *position; /* [texts of a group] of a text in the screen's first judgment */
    double *rank;     /* [K] of one judgment by position */
    int32_t *votes;   /* [K * K] raters who prefer row to column, minus those who do not */
    size_t *raters;   /* [K * K] who saw both */
    float *dtexts, *few, *dfew;
} Tally;

static bool tally_init(Tally *tally, const RewardSet *set, size_t labels, bool votes, Error *err) {
    size_t K = set->most_texts, wide = mem_mul(K, labels), square = votes ? mem_mul(K, K) : 0;
    *tally = (Tally){
        .position = mem_alloc(K, sizeof *tally->position, err),
        .rank = mem_alloc(K, sizeof *tally->rank, err),
        .votes = mem_alloc(square, sizeof *tally->votes, err),
        .raters = mem_alloc(square, sizeof *tally->raters, err),
        .dtexts = mem_alloc(wide, sizeof(float), err),
        .few = mem_alloc(wide, sizeof(float), err),
        .dfew = mem_alloc(wide, sizeof(float), err),
    };
    return tally->position != NULL && tally->rank != NULL && tally->votes != NULL &&
           tally->raters != NULL && tally->dtexts != NULL && tally->few != NULL &&
           tally->dfew != NULL;
}

static void tally_done(Tally *tally) {
    free(tally->position);
    free(tally->rank);
    free(tally->votes);
    free(tally->raters);
    free(tally->dtexts);
    free(tally->few);
    free(tally->dfew);
}

static void share_add(RewardShare *share, double better, double worse) {
    share->correct += better > worse ? 1 : better == worse ? 0.5 : 0;
    share->pairs++;
}

static double share_value(const RewardShare *share) {
    return share->pairs > 0 ? share->correct / share->pairs : 0;
}

static size_t length_of(const RewardGroup *group, size_t text) {
    return group->text[text].completion->count;
}

static void add_bin(RewardEvaluation *e, double margin) {
    double confidence = loss_sigmoid(fabs(margin));
    int bin = (int)((confidence - 0.5) * 2 * CALIBRATION_BINS);
    bin = bin >= CALIBRATION_BINS ? CALIBRATION_BINS - 1 : bin;
    e->bin[bin].pairs++;
    e->bin[bin].confidence += confidence;
    e->bin[bin].correct += margin > 0 ? 1 : margin == 0 ? 0.5 : 0;
    e->bin[bin].margin += fabs(margin);
}

/* Every strict pair of one record. */
static void judge_pairs(RewardEvaluation *e, const RewardGroup *group, const float *score,
                        const RewardJudgment *judgment) {
    const double *rank = judgment->example->record->rank;
    for (size_t i = 0; i < judgment->texts; i++) {
        for (size_t j = 0; j < judgment->texts; j++) {
            if (rank[i] >= rank[j]) {
                continue;
            }
            size_t a = judgment->text[i], b = judgment->text[j];
            double better = (double)score[a], worse = (double)score[b];
            share_add(&e->pairs, better, worse);
            share_add(&e->longer, (double)length_of(group, a), (double)length_of(group, b));
            e->ties += better == worse;
            e->margin += better - worse;
            add_bin(e, better - worse);
        }
    }
}

/* One rater's ranks in the order of the screen's first judgment. */
static void read_ranks(const Tally *tally, const RewardJudgment *judgment) {
    for (size_t i = 0; i < judgment->texts; i++) {
        tally->rank[tally->position[judgment->text[i]]] = judgment->example->record->rank[i];
    }
}

static void count_votes(const Tally *tally, const RewardJudgment *judgment, size_t n, size_t K) {
    memset(tally->votes, 0, K * K * sizeof *tally->votes);
    for (size_t r = 0; r < n; r++) {
        read_ranks(tally, &judgment[r]);
        for (size_t i = 0; i < K; i++) {
            for (size_t j = 0; j < K; j++) {
                tally->votes[i * K + j] +=
                    (tally->rank[i] < tally->rank[j]) - (tally->rank[i] > tally->rank[j]);
            }
        }
    }
}

/* Each rater's preferences against the sum of the others'. */
static void compare_raters(RewardEvaluation *e, const Tally *tally, const RewardJudgment *judgment,
                           size_t n, size_t K) {
    for (size_t r = 0; r < n; r++) {
        read_ranks(tally, &judgment[r]);
        for (size_t i = 0; i < K; i++) {
            for (size_t j = 0; j < K; j++) {
                if (tally->rank[i] < tally->rank[j] && tally->votes[i * K + j] != 1) {
                    e->rater.correct += tally->votes[i * K + j] > 1;
                    e->rater.pairs++;
                }
            }
        }
    }
}

/* Judgments [0, n) saw the same texts: what do most of them prefer? */
static void judge_screen(RewardEvaluation *e, const RewardGroup *group, const float *score,
                         const Tally *tally, const RewardJudgment *judgment, size_t n) {
    size_t K = 0;
    for (size_t i = 0; i < judgment->texts; i++) {
        size_t before = 0;
        while (before < i && judgment->text[before] != judgment->text[i]) {
            before++;
        }
        if (before == i) { /* a text that the record repeats counts once */
            tally->position[judgment->text[i]] = K++;
        }
    }
    count_votes(tally, judgment, n, K);
    for (size_t i = 0; i < judgment->texts; i++) {
        for (size_t j = 0; j < judgment->texts; j++) {
            size_t a = judgment->text[i], b = judgment->text[j];
            int32_t votes = tally->votes[tally->position[a] * K + tally->position[b]];
            if (votes <= 0) {
                continue;
            }
            double better = (double)score[a], worse = (double)score[b];
            bool all = (size_t)votes == n;
            RewardShare *part = n == 1 ? &e->single : all && n >= 3 ? &e->unanimous : &e->split;
            share_add(part, better, worse);
            share_add(&e->majority, better, worse);
            share_add(&e->longer_majority, (double)length_of(group, a),
                      (double)length_of(group, b));
        }
    }
    if (n >= 2) {
        compare_raters(e, tally, judgment, n, K);
    }
}

static void judge_group(RewardEvaluation *e, const RewardGroup *group, const float *score,
                        const Tally *tally) {
    for (size_t i = 0, end; i < group->judgments; i = end) {
        for (end = i;
             end < group->judgments && group->judgment[end].screen == group->judgment[i].screen;
             end++) {
            judge_pairs(e, group, score, &group->judgment[end]);
        }
        judge_screen(e, group, score, tally, &group->judgment[i], end - i);
    }
}

static void finish_ranking(RewardEvaluation *e) {
    double error = 0;
    for (size_t i = 0; i < CALIBRATION_BINS; i++) {
        error += fabs(e->bin[i].correct - e->bin[i].confidence);
    }
    if (e->pairs.pairs > 0) {
        e->calibration_error = error / e->pairs.pairs;
        e->margin /= e->pairs.pairs;
    }
    e->accuracy = share_value(&e->pairs);
}

static double correlation(double xx, double yy, double xy) {
    return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* Mean and deviation of scores, and their correlation with length within prompts. */
static void describe_scores(RewardEvaluation *e, const RewardSet *set) {
    double sum = 0, squares = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < set->items; i++) {
        const RewardGroup *first = &set->group[set->item[i].group];
        const RewardGroup *end = first + set->item[i].groups;
        double score = 0, length = 0, n = 0;
        for (const RewardGroup *group = first; group < end; group++) {
            for (size_t k = 0; k < group->texts; k++) {
                score += (double)set->score[group->score + k];
                length += (double)length_of(group, k);
                n++;
            }
        }
        sum += score;
        for (const RewardGroup *group = first; group < end; group++) {
            for (size_t k = 0; k < group->texts; k++) {
                double x = (double)set->score[group->score + k] - score / n;
                double y = (double)length_of(group, k) - length / n;
                xx += x * x;
                yy += y * y;
                xy += x * y;
            }
        }
    }
    e->score_mean = sum / (double)set->texts;
    for (size_t i = 0; i < set->texts; i++) {
        double d = (double)set->score[i] - e->score_mean;
        squares += d * d;
    }
    e->score_deviation = sqrt(squares / (double)set->texts);
    e->length_correlation = correlation(xx, yy, xy);
}

static void finish_classes(RewardEvaluation *e) {
    size_t n = e->labels, right = 0, all = 0, present = 0;
    double f1 = 0;
    for (size_t c = 0; c < n; c++) {
        size_t as_true = 0, as_guess = 0;
        for (size_t k = 0; k < n; k++) {
            as_true += e->confusion[c * n + k];
            as_guess += e->confusion[k * n + c];
        }
        right += e->confusion[c * n + c];
        all += as_true;
        if (as_true + as_guess > 0) {
            f1 += 2 * (double)e->confusion[c * n + c] / (double)(as_true + as_guess);
            present++;
        }
    }
    e->accuracy = (double)right / (double)all;
    e->macro_f1 = f1 / (double)present;
}

static void judge_classes(RewardEvaluation *e, const RewardSet *set) {
    size_t labels = e->labels;
    for (size_t i = 0; i < set->groups; i++) {
        const RewardGroup *group = &set->group[i];
        for (size_t k = 0; k < group->judgments; k++) {
            const float *score = set->score + (group->score + group->judgment[k].text[0]) * labels;
            size_t best = 0;
            for (size_t j = 1; j < labels; j++) {
                best = score[j] > score[best] ? j : best;
            }
            e->confusion[group->judgment[k].label * labels + best]++;
        }
    }
    finish_classes(e);
}

static void judge_numbers(RewardEvaluation *e, const RewardSet *set) {
    double n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0, error = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < set->groups; i++) {
            const RewardGroup *group = &set->group[i];
            for (size_t k = 0; k < group->judgments; k++) {
                double score = (double)set->score[group->score + group->judgment[k].text[0]];
                double target = group->judgment[k].target;
                if (pass == 0) {
                    n++, x += score, y += target;
                    error += (score - target) * (score - target);
                } else {
                    xx += (score - x / n) * (score - x / n);
                    yy += (target - y / n) * (target - y / n);
                    xy += (score - x / n) * (target - y / n);
                }
            }
        }
    }
    e->squared_error = error / n;
    e->correlation = correlation(xx, yy, xy);
}

bool reward_evaluate(RewardEvaluation *evaluation, const RewardSet *set, const RewardLoss *loss,
                     size_t labels, Error *err) {
    RewardEvaluation *e = evaluation;
    *e = (RewardEvaluation){.prompts = set->items, .texts = set->texts, .labels = labels};
    Tally tally;
    bool ranking = loss->objective == REWARD_RANKING;
    e->confusion = mem_alloc(mem_mul(labels, labels), sizeof *e->confusion, err);
    bool ok = e->confusion != NULL && tally_init(&tally, set, labels, ranking, err);
    if (ok) {
        RewardSums sums = {0};
        for (size_t i = 0; i < set->groups; i++) {
            const RewardGroup *group = &set->group[i];
            const float *score = set->score + group->score * labels;
            reward_group_loss(loss, group, labels, score, 1 / (double)set->items, tally.dtexts,
                              tally.few, tally.dfew, &sums);
            if (ranking) {
                judge_group(e, group, score, &tally);
            }
        }
        e->loss = sums.loss;
        if (ranking) {
            finish_ranking(e);
            describe_scores(e, set);
        } else if (loss->objective == REWARD_CLASSIFICATION) {
            judge_classes(e, set);
        } else {
            judge_numbers(e, set);
        }
    }
    if (e->confusion != NULL) {
        tally_done(&tally);
    }
    if (!ok) {
        reward_evaluation_done(e);
    }
    return ok;
}

void reward_evaluation_done(RewardEvaluation *evaluation) {
    free(evaluation->confusion);
    *evaluation = (RewardEvaluation){0};
}

static void put_share(Metrics *metrics, const char *name, const RewardShare *share) {
    if (share->pairs > 0) {
        metrics_put(metrics, name, share_value(share));
    }
}

void reward_evaluation_metrics(const RewardEvaluation *e, RewardObjective objective,
                               Metrics *metrics) {
    metrics_put(metrics, "eval/loss", e->loss);
    if (objective == REWARD_REGRESSION) {
        metrics_put(metrics, "eval/squared_error", e->squared_error);
        metrics_put(metrics, "eval/correlation", e->correlation);
        return;
    }
    metrics_put(metrics, "eval/accuracy", e->accuracy);
    if (objective == REWARD_CLASSIFICATION) {
        metrics_put(metrics, "eval/macro_f1", e->macro_f1);
        return;
    }
    put_share(metrics, "eval/accuracy_majority", &e->majority);
    put_share(metrics, "eval/accuracy_unanimous", &e->unanimous);
    metrics_put(metrics, "eval/pairs", e->pairs.pairs);
    metrics_put(metrics, "eval/pairs_majority", e->majority.pairs);
    metrics_put(metrics, "eval/pairs_unanimous", e->unanimous.pairs);
    metrics_put(metrics, "eval/ties", (double)e->ties);
    metrics_put(metrics, "eval/margin", e->margin);
    metrics_put(metrics, "eval/calibration_error", e->calibration_error);
    metrics_put(metrics, "eval/score_mean", e->score_mean);
    metrics_put(metrics, "eval/score_deviation", e->score_deviation);
    metrics_put(metrics, "eval/length_correlation", e->length_correlation);
    put_share(metrics, "eval/accuracy_longer", &e->longer);
    put_share(metrics, "eval/accuracy_longer_majority", &e->longer_majority);
}
