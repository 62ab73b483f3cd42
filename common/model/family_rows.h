/* SPDX-License-Identifier: MIT
 *
 * Short forms of a family's tensor rows. Private to the family files.
 */
#ifndef RLHF_MODEL_FAMILY_ROWS_H
#define RLHF_MODEL_FAMILY_ROWS_H

#include "common/model/family.h"

/* A matrix with normal weights, a norm's weight, a bias. */
#define WEIGHT(part, scope, name, rows, columns, condition)                                        \
    { part, scope, name, {rows, columns}, INIT_NORMAL, true, condition, STORED_AS_IS }
#define GAIN(part, scope, name, size, condition)                                                   \
    { part, scope, name, {size, EXTENT_NONE}, INIT_ONES, false, condition, STORED_AS_IS }
#define BIAS(part, scope, name, size, condition)                                                   \
    { part, scope, name, {size, EXTENT_NONE}, INIT_ZEROS, false, condition, STORED_AS_IS }
#define SCORE(name, condition)                                                                     \
    {                                                                                              \
        PART_SCORE, SCOPE_SCORE_HEAD, name, {EXTENT_LABELS, EXTENT_WIDTH}, INIT_SCORE, true,       \
            condition, STORED_AS_IS                                                                \
    }

/* The trunk that BERT and RoBERTa have in common: rows of their tables, a comma behind them. */
#define BERT_TRUNK                                                                                 \
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "embeddings.word_embeddings.weight",             \
           EXTENT_VOCABULARY, EXTENT_WIDTH, ALWAYS),                                               \
        WEIGHT(PART_POSITION_EMBEDDING, SCOPE_EMBEDDING, "embeddings.position_embeddings.weight",  \
               EXTENT_CONTEXT, EXTENT_WIDTH, ALWAYS),                                              \
        WEIGHT(PART_SEGMENT_EMBEDDING, SCOPE_EMBEDDING, "embeddings.token_type_embeddings.weight", \
               EXTENT_SEGMENTS, EXTENT_WIDTH, IF_SEGMENTS),                                        \
        GAIN(PART_EMBEDDING_NORM_WEIGHT, SCOPE_EMBEDDING, "embeddings.LayerNorm.weight",           \
             EXTENT_WIDTH, ALWAYS),                                                                \
        BIAS(PART_EMBEDDING_NORM_BIAS, SCOPE_EMBEDDING, "embeddings.LayerNorm.bias", EXTENT_WIDTH, \
             ALWAYS),                                                                              \
        WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, "encoder.layer.%zu.attention.self.query.weight",      \
               EXTENT_QUERY, EXTENT_WIDTH, ALWAYS),                                                \
        WEIGHT(PART_K_WEIGHT, SCOPE_BLOCK, "encoder.layer.%zu.attention.self.key.weight",          \
               EXTENT_KEY, EXTENT_WIDTH, ALWAYS),                                                  \
        WEIGHT(PART_V_WEIGHT, SCOPE_BLOCK, "encoder.layer.%zu.attention.self.value.weight",        \
               EXTENT_KEY, EXTENT_WIDTH, ALWAYS),                                                  \
        BIAS(PART_QKV_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.attention.self.query.bias",            \
             EXTENT_QUERY, ALWAYS),                                                                \
        BIAS(PART_K_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.attention.self.key.bias", EXTENT_KEY,    \
             ALWAYS),                                                                              \
        BIAS(PART_V_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.attention.self.value.bias", EXTENT_KEY,  \
             ALWAYS),                                                                              \
        WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK,                                             \
               "encoder.layer.%zu.attention.output.dense.weight", EXTENT_WIDTH, EXTENT_QUERY,      \
               ALWAYS),                                                                            \
        BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK,                                                 \
             "encoder.layer.%zu.attention.output.dense.bias", EXTENT_WIDTH, ALWAYS),               \
        GAIN(PART_NORM1_WEIGHT, SCOPE_BLOCK,                                                       \
             "encoder.layer.%zu.attention.output.LayerNorm.weight", EXTENT_WIDTH, ALWAYS),         \
        BIAS(PART_NORM1_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.attention.output.LayerNorm.bias",    \
             EXTENT_WIDTH, ALWAYS),                                                                \
        WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "encoder.layer.%zu.intermediate.dense.weight",         \
               EXTENT_INNER, EXTENT_WIDTH, ALWAYS),                                                \
        BIAS(PART_UP_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.intermediate.dense.bias", EXTENT_INNER, \
             ALWAYS),                                                                              \
        WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, "encoder.layer.%zu.output.dense.weight",             \
               EXTENT_WIDTH, EXTENT_INNER, ALWAYS),                                                \
        BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.output.dense.bias", EXTENT_WIDTH,     \
             ALWAYS),                                                                              \
        GAIN(PART_NORM2_WEIGHT, SCOPE_BLOCK, "encoder.layer.%zu.output.LayerNorm.weight",          \
             EXTENT_WIDTH, ALWAYS),                                                                \
        BIAS(PART_NORM2_BIAS, SCOPE_BLOCK, "encoder.layer.%zu.output.LayerNorm.bias",              \
             EXTENT_WIDTH, ALWAYS)

/* What Llama and Gemma have in common, between norms that differ: rows of their tables, as above. */
#define LLAMA_EMBEDDING                                                                            \
    WEIGHT(PART_TOKEN_EMBEDDING, SCOPE_EMBEDDING, "embed_tokens.weight", EXTENT_VOCABULARY,        \
           EXTENT_WIDTH, ALWAYS)
#define LLAMA_QKV                                                                                  \
    WEIGHT(PART_QKV_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.q_proj.weight", EXTENT_QUERY,       \
           EXTENT_WIDTH, ALWAYS),                                                                  \
        WEIGHT(PART_K_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.k_proj.weight", EXTENT_KEY,       \
               EXTENT_WIDTH, ALWAYS),                                                              \
        WEIGHT(PART_V_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.v_proj.weight", EXTENT_KEY,       \
               EXTENT_WIDTH, ALWAYS),                                                              \
        BIAS(PART_QKV_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.q_proj.bias", EXTENT_QUERY,         \
             IF_QKV_BIAS),                                                                         \
        BIAS(PART_K_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.k_proj.bias", EXTENT_KEY,             \
             IF_QKV_BIAS),                                                                         \
        BIAS(PART_V_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.v_proj.bias", EXTENT_KEY,             \
             IF_QKV_BIAS)
#define LLAMA_ATTENTION_OUT                                                                        \
    WEIGHT(PART_ATTENTION_OUT_WEIGHT, SCOPE_BLOCK, "layers.%zu.self_attn.o_proj.weight",           \
           EXTENT_WIDTH, EXTENT_QUERY, ALWAYS),                                                    \
        BIAS(PART_ATTENTION_OUT_BIAS, SCOPE_BLOCK, "layers.%zu.self_attn.o_proj.bias",             \
             EXTENT_WIDTH, IF_OUT_BIAS)
#define LLAMA_FEED_FORWARD                                                                         \
    WEIGHT(PART_UP_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.gate_proj.weight", EXTENT_INNER,           \
           EXTENT_WIDTH, ALWAYS),                                                                  \
        WEIGHT(PART_GATED_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.up_proj.weight", EXTENT_INNER,      \
               EXTENT_WIDTH, ALWAYS),                                                              \
        BIAS(PART_UP_BIAS, SCOPE_BLOCK, "layers.%zu.mlp.gate_proj.bias", EXTENT_INNER,             \
             IF_INNER_BIAS),                                                                       \
        BIAS(PART_GATED_BIAS, SCOPE_BLOCK, "layers.%zu.mlp.up_proj.bias", EXTENT_INNER,            \
             IF_INNER_BIAS),                                                                       \
        WEIGHT(PART_DOWN_WEIGHT, SCOPE_BLOCK, "layers.%zu.mlp.down_proj.weight", EXTENT_WIDTH,     \
               EXTENT_INNER, ALWAYS),                                                              \
        BIAS(PART_DOWN_BIAS, SCOPE_BLOCK, "layers.%zu.mlp.down_proj.bias", EXTENT_WIDTH,           \
             IF_INNER_BIAS)
#define LLAMA_HEADS                                                                                \
    WEIGHT(PART_LM_HEAD, SCOPE_LM_HEAD, "lm_head.weight", EXTENT_VOCABULARY, EXTENT_WIDTH,         \
           IF_UNTIED),                                                                             \
        SCORE("score.weight", ALWAYS)

/* All rows of Llama, which its relatives have too (llama.c). */
enum { LLAMA_TENSORS = 22 };
extern const TensorRow llama_tensors[LLAMA_TENSORS];
extern const char *const llama_ignored[];

#endif
