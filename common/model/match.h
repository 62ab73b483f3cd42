/* SPDX-License-Identifier: MIT
 *
 * Match: what the weight files of a folder hold, seen from the model that is wanted. Private to common/model.
 */
#ifndef RLHF_MODEL_MATCH_H
#define RLHF_MODEL_MATCH_H

#include "common/model/model.h"
#include "common/model/weight_files.h"

/* A tensor of the folder that fills a parameter. */
typedef struct Source {
    const SafeTensors *file;
    const Tensor *tensor;
} Source;

typedef struct Match {
    Model *model;
    Source *source;      /* [parameters]; tensor NULL: not found */
    Source duplicate[2]; /* of what is there under another name: a tied head, a head's bias */
    size_t original[2];  /* the parameters that they are equal to */
    size_t duplicates;
    Source bias;              /* of a score head whose family has none */
    WeightFiles files, apart; /* apart: a score head */
    HeadKind had;             /* the folder's head; tensors of one that the model lacks are left */
    bool fresh;               /* the score head may be absent */
} Match;

/* Finds all that match->model wants in the folder's files, which stay open; model (laid out), had and fresh
 * are set, the rest is zero. In: fresh, whether the folder may lack the score head; out: whether it does.
 * Refuses a tensor that is missing, unknown, there twice or of another shape. On failure match_close too. */
bool match_open(Match *match, const char *folder, Error *err);
void match_close(Match *match);

/* The values of parameter i, which is there, in the order of memory; out [count]. */
bool match_read(const Match *match, size_t i, float *out, Error *err);
/* What fills no parameter: a duplicate must be equal to its original, which the model has been `filled` with
 * or which is read again; a bias without a parameter becomes the model's reward bias. From here on the head
 * has the family's name in the model's config.json too. */
bool match_rest(const Match *match, bool filled, Error *err);

#endif
