/* SPDX-License-Identifier: MIT
 *
 * llama2.c's checkpoint files (Karpathy 2023, version 0): a Llama as seven int32 (dim, hidden_dim,
 * n_layers, n_heads, n_kv_heads, vocab_size, seq_len; a negative vocab_size: the head is not tied)
 * followed by its tensors as float32, all layers of a kind together. Rotary dimensions lie in
 * pairs there, here in halves. Private to common/model.
 */
#ifndef RLHF_MODEL_LLAMA2C_H
#define RLHF_MODEL_LLAMA2C_H

#include "common/model/model.h"

/* Whether the path is a file, and so no model folder. */
bool llama2c_is_file(const char *path);

/* The configuration that the header gives: rotary theta 10000, norm epsilon 1e-5, BOS 1, EOS 2. The file
 * must be as long as it calls for. Later versions and other files are ERROR_DATA. */
bool llama2c_config_read(ModelConfig *config, const char *path, Error *err);

/* Fills the weights of a model of that configuration, with any head. Non-finite numbers are ERROR_DATA. */
bool llama2c_weights_read(Model *model, const char *path, Error *err);

#endif
