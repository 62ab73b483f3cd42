/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "ppo/ppo.h"

static const struct {
    const char *shown, *metric;
} part_name[TIME_PARTS] = {
    [TIME_SAMPLE] = {"sampling",             "rollout_seconds"   },
    [TIME_SCORE] = {"scoring",              "score_seconds"     },
    [TIME_KNOW] = {"log-probs and values", "logprob_seconds"   },
    [TIME_UPDATE] = {"update",               "update_seconds"    },
    [TIME_EVALUATE] = {"evaluation",           "evaluate_seconds"  },
    [TIME_SAVE] = {"checkpoint",           "checkpoint_seconds"},
};

/* "WHAT took 12.3 s: sampling 40 %, scoring 5 %, ..." */
static void say(Log *log, const char *what, const double seconds[TIME_PARTS]) {
    char text[256] = "";
    double sum = 0;
    for (int i = 0; i < TIME_PARTS; i++) {
        sum += seconds[i];
    }
    size_t n = 0;
    for (int i = 0; i < TIME_PARTS; i++) {
        if (seconds[i] > 0) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %.0f %%", n == 0 ? "" : ", ",
                                  part_name[i].shown, 100 * seconds[i] / sum);
        }
    }
    log_info(log, "%s took %.2f s: %s", what, sum, text);
}

void ppo_put_time(Ppo *ppo, int64_t iteration, Metrics *timing) {
    char what[48];
    snprintf(what, sizeof what, "iteration %lld", (long long)iteration + 1);
    if (ppo->part.log != NULL) {
        say(ppo->part.log, what, ppo->spent);
    }
    metrics_put(timing, "rollout_tokens_per_second",
                (double)ppo->rollout.actions / fmax(ppo->spent[TIME_SAMPLE], 1e-9));
    for (int i = 0; i < TIME_PARTS; i++) {
        metrics_put(timing, part_name[i].metric, ppo->spent[i]);
        ppo->spent_in_all[i] += ppo->spent[i];
        ppo->spent[i] = 0;
    }
    ppo->timed++;
}

void ppo_say_time_in_all(const Ppo *ppo) {
    char what[48];
    double seconds[TIME_PARTS];
    for (int i = 0; i < TIME_PARTS; i++) {
        seconds[i] = ppo->spent_in_all[i] + ppo->spent[i];
    }
    snprintf(what, sizeof what, "%lld iterations", (long long)ppo->timed);
    if (ppo->part.log != NULL && ppo->timed > 0) {
        say(ppo->part.log, what, seconds);
    }
}
