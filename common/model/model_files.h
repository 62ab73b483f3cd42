/* SPDX-License-Identifier: MIT
 *
 * What reading and writing a model folder share. Private to common/model.
 */
#ifndef RLHF_MODEL_MODEL_FILES_H
#define RLHF_MODEL_MODEL_FILES_H

/* The score head of a HEAD_BOTH model lies apart, so that the folder is a plain causal LM. */
extern const char model_score_file[];

#endif
