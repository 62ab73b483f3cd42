/* SPDX-License-Identifier: MIT */
#include "common/train/trainer.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/signals.h"
#include "common/train/checkpoint.h"
#include "common/train/trainer_private.h"

enum { MOST_FAILURES = 3 };

static bool better(const Trainer *t, double value) {
    if (!isfinite(value)) {
        return false;
    }
    if (t->state.best_step < 0) {
        return true;
    }
    return t->options->best_is_largest ? value > t->state.best_value : value < t->state.best_value;
}

static bool evaluate(Trainer *t, bool *best, Error *err) {
    bool eligible = true;
    double value;
    *best = false;
    if (t->stage->evaluate == NULL) {
        return true;
    }
    if (!t->stage->evaluate(t->stage->context, t->state.step, t->run, &t->metrics, &eligible,
                            err)) {
        return false;
    }
    if (t->options->best_metric == NULL) {
        return true;
    }
    if (!metrics_get(&t->metrics, t->options->best_metric, &value)) {
        return error_set(err, ERROR_CONFIG,
                         "checkpoint.best is \"%s\", which the evaluation does not report; take "
                         "one of the names in metrics.jsonl",
                         t->options->best_metric);
    }
    *best = eligible && better(t, value);
    return true;
}

static bool may_try_again(const Error *why) {
    return why->code == ERROR_IO || why->code == ERROR_CANNOT_CREATE;
}

/* Saves the state after state.step steps. A failure that may pass is forgiven unless `last`. */
static bool save(Trainer *t, bool scheduled, bool best, bool last, Error *err) {
    TrainerState kept = t->state;
    Error why = {0};
    double begin = clock_seconds();
    t->state.scheduled = scheduled;
    double value;
    if (best && metrics_get(&t->metrics, t->options->best_metric, &value)) {
        t->state.best_step = t->state.step;
        t->state.best_value = value;
    }
    if (!trainer_write_checkpoint(t, &why)) {
        t->state = kept;
        t->failures++;
        if (last || !may_try_again(&why) || t->failures >= MOST_FAILURES) {
            if (err != NULL) {
                *err = why;
                err->code = may_try_again(&why) ? ERROR_IO : why.code;
            }
            return error_wrap(err, "no checkpoint after step %lld", (long long)t->state.step);
        }
        log_warn(t->log, "no checkpoint after step %lld, the next one is tried as planned: %s",
                 (long long)t->state.step, why.text);
        return true;
    }
    t->failures = 0;
    t->saved = t->state.step;
    log_detail(t->log, "checkpoint after step %lld in %.2f s", (long long)t->state.step,
               clock_seconds() - begin);
    if (t->extra >= 0 && t->extra != t->state.step &&
        !checkpoint_remove(t->run->folder, t->extra, err)) {
        return false;
    }
    t->extra = scheduled ? -1 : t->state.step;
    return !scheduled ||
           checkpoint_prune(t->run->folder, t->options->keep, t->state.best_step, err);
}

static void show_progress(Trainer *t, const Progress *progress, const Metrics *timing) {
    static const struct {
        const char *metric, *shown;
    } known[] = {
        {"train/loss",       "loss"     },
        {"objective/scores", "score"    },
        {"objective/kl",     "kl"       },
        {"eval/loss",        "eval loss"}
    };
    Str *text = &t->run->line;
    double value;
    str_clear(text);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (metrics_get(&t->metrics, known[i].metric, &value)) {
            value = fabs(value) < 1e-12 ? 0 : value; /* what rounding leaves of nothing */
            str_appendf(text, "%s%s %.4g", text->size == 0 ? "" : "  ", known[i].shown, value);
        }
    }
    if (metrics_get(timing, "tokens_per_second", &value)) {
        str_appendf(text, "  %.0f tokens/s", value);
    }
    progress_show(t->log, progress, (uint64_t)t->state.step, (uint64_t)t->options->steps, "%s",
                  str_text(text));
}

static bool first_evaluation(Trainer *t, Error *err) {
    bool best;
    metrics_clear(&t->metrics);
    if (!evaluate(t, &best, err) || !run_metrics(t->run, 0, &t->metrics, err)) {
        return false;
    }
    return !best || save(t, true, true, false, err);
}

static bool due(int64_t step, int64_t every) {
    return every > 0 && step % every == 0;
}

static bool one_step(Trainer *t, const Progress *progress, Error *err) {
    double begin = clock_seconds(), loss;
    bool best = false;
    metrics_clear(&t->metrics);
    metrics_clear(&t->timing);
    if (!t->stage->step(t->stage->context, t->state.step, &t->metrics, &t->timing,
                        &t->state.finished, err)) {
        return false;
    }
    if (metrics_get(&t->metrics, "train/loss", &loss) && !isfinite(loss)) {
        return error_set(err, ERROR_DIVERGED, "the loss of step %lld is not finite",
                         (long long)t->state.step + 1);
    }
    metrics_put(&t->timing, "seconds", clock_seconds() - begin);
    t->state.step++;
    bool last = t->state.step == t->options->steps || t->state.finished;
    if ((last || due(t->state.step, t->options->evaluate_every)) && !evaluate(t, &best, err)) {
        return false;
    }
    metrics_put(&t->timing, "peak_memory_bytes", (double)mem_peak_rss());
    if (!run_metrics(t->run, t->state.step, &t->metrics, err) ||
        !run_timing(t->run, t->state.step, &t->timing, err)) {
        return false;
    }
    show_progress(t, progress, &t->timing);
    if (last || best || due(t->state.step, t->options->checkpoint_every)) {
        return save(t, true, best, last, err);
    }
    return true;
}

static bool stop_here(Trainer *t, ErrorCode code, const char *why, Error *err) {
    if (t->saved != t->state.step && !save(t, false, false, true, err)) {
        return false;
    }
    return error_set(err, code,
                     "%s after step %lld of %lld; continue with the same command and --resume", why,
                     (long long)t->state.step, (long long)t->options->steps);
}

static bool loop(Trainer *t, Error *err) {
    Progress progress;
    double begin = clock_seconds();
    const int64_t first = t->state.step;
    progress_begin(&progress, t->stage->progress_what, (uint64_t)first);
    while (t->state.step < t->options->steps && !t->state.finished) {
        int signal_number = signals_stop();
        if (signal_number != 0) {
            return stop_here(t, signal_number == SIGINT ? ERROR_INTERRUPTED : ERROR_TERMINATED,
                             signal_number == SIGINT ? "interrupted" : "terminated", err);
        }
        /* At least one step, so that a run continued again and again gets to its end. */
        if (t->options->max_seconds > 0 && t->state.step > first &&
            clock_seconds() - begin >= t->options->max_seconds) {
            return stop_here(t, ERROR_TEMPORARY, "the time limit is reached", err);
        }
        if (signals_take_checkpoint() && t->saved != t->state.step &&
            !save(t, false, false, false, err)) {
            return false;
        }
        if (!one_step(t, &progress, err)) {
            return false;
        }
    }
    return true;
}

bool trainer_run(const TrainerOptions *options, const TrainerStage *stage, Run *run, Log *log,
                 Error *err) {
    Trainer *t = mem_alloc(1, sizeof *t, err);
    if (t == NULL) {
        return false;
    }
    *t = (Trainer){
        .options = options,
        .stage = stage,
        .run = run,
        .log = log,
        .state = {.best_step = -1, .scheduled = true},
        .saved = -1,
        .extra = -1
    };
    bool resumed = false;
    bool ok = trainer_resume(t, &resumed, err);
    if (ok && !resumed && options->evaluate_first) {
        ok = first_evaluation(t, err);
    }
    ok = ok && loop(t, err);
    if (ok && t->saved != t->state.step) { /* no steps at all, or a run made shorter */
        ok = save(t, true, false, true, err);
    }
    /* A run that was killed while pruning has nothing else left to do. */
    ok = ok && checkpoint_prune(run->folder, options->keep, t->state.best_step, err) &&
         trainer_publish(t, err);
    if (ok && t->state.finished && t->state.step < options->steps) {
        ok = error_set(err, ERROR_STOPPED,
                       "stopped by a rule after step %lld of %lld; the result is in %s",
                       (long long)t->state.step, (long long)options->steps, run->folder);
    }
    free(t);
    return ok;
}
