/* SPDX-License-Identifier: MIT */
#include "common/loss/preference.h"

#include "common/loss/loss.h"

size_t preference_pairs(const double *rank, size_t K) {
    size_t pairs = 0;
    for (size_t i = 0; i < K; i++) {
        for (size_t j = 0; j < K; j++) {
            pairs += rank[i] < rank[j];
        }
    }
    return pairs;
}

double preference_loss(const float *score, const double *rank, size_t K, double margin,
                       const PreferenceOptions *options, double weight, float *dscore) {
    size_t pairs = preference_pairs(rank, K);
    if (pairs == 0) {
        return 0;
    }
    double e = options->label_smoothing, c = options->centering;
    double share = weight / (double)pairs, loss = 0;
    for (size_t i = 0; i < K; i++) {
        /* One sum a completion and one rounding to float, so that the order of the completions does
         * not change the gradient by more than the sum's own rounding. */
        double gradient = 0;
        for (size_t j = 0; j < K; j++) {
            if (rank[i] == rank[j]) {
                continue;
            }
            bool above = rank[i] < rank[j];
            double sum = (double)score[i] + (double)score[j];
            double difference = (double)score[i] - (double)score[j];
            double d = (above ? difference : -difference) - margin;
            double dd = -(1 - e) * loss_sigmoid(-d) + e * loss_sigmoid(d);
            gradient += (above ? dd : -dd) + 2 * c * sum;
            if (above) {
                loss += (1 - e) * loss_softplus(-d) + e * loss_softplus(d) + c * sum * sum;
            }
        }
        dscore[i] += (float)(share * gradient);
    }
    return share * loss;
}

double preference_best_loss(const float *score, size_t best, size_t K, double weight,
                            float *dscore) {
    double top = (double)score[0];
    for (size_t i = 1; i < K; i++) {
        top = fmax(top, (double)score[i]);
    }
    double total = 0;
    for (size_t i = 0; i < K; i++) {
        total += exp((double)score[i] - top);
    }
    for (size_t i = 0; i < K; i++) {
        double p = exp((double)score[i] - top) / total;
        dscore[i] += (float)(weight * (p - (i == best ? 1 : 0)));
    }
    return weight * (top + log(total) - (double)score[best]);
}

double preference_correct(const float *score, const double *rank, size_t K) {
    double correct = 0;
    for (size_t i = 0; i < K; i++) {
        for (size_t j = 0; j < K; j++) {
            if (rank[i] < rank[j]) {
                correct += score[i] > score[j] ? 1 : score[i] == score[j] ? 0.5 : 0;
            }
        }
    }
    return correct;
}
