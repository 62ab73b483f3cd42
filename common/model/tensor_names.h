/* SPDX-License-Identifier: MIT
 *
 * What a tensor's name in a file stands for: Hugging Face's names with and without the trunk's prefix, older
 * spellings, and what other trainers call a head. Private to common/model.
 *
 *   TRL             v_head.summary.{weight,bias} beside a causal LM
 *   OpenRLHF        score.weight, value_head.weight, or the name in config.json's value_head_prefix
 *   DeepSpeed-Chat  rwtransformer. (or, misspelt, rwtranrsformer.) before the trunk, v_head.weight
 */
#ifndef RLHF_MODEL_TENSOR_NAMES_H
#define RLHF_MODEL_TENSOR_NAMES_H

#include "common/model/model.h"

typedef enum NameKind {
    NAME_PARAMETER,
    NAME_DUPLICATE, /* of a parameter: its values must be the same (a tied head that is there all the same) */
    NAME_LM_HEAD,    /* a tensor of the family's LM head that the model does not have */
    NAME_SCORE_HEAD, /* the same of a score head */
    NAME_SCORE_BIAS, /* [1] of a reward model or critic, where the family's score head has none */
    NAME_BUFFER,     /* nothing that the model needs */
    NAME_QUANTIZED,  /* a part of a quantized weight */
    NAME_UNKNOWN,
} NameKind;

/* *parameter (NAME_PARAMETER, NAME_DUPLICATE): index in model->parameter. */
NameKind tensor_name_find(const Model *model, const char *name, size_t *parameter);

#endif
