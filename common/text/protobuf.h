/* SPDX-License-Identifier: MIT
 *
 * The wire format of protocol buffers, as far as a SentencePiece model needs it.
 */
#ifndef RLHF_TEXT_PROTOBUF_H
#define RLHF_TEXT_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/str.h"

typedef enum WireType { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } WireType;

/* One field: the value of a number, or where its bytes are. */
typedef struct Field {
    uint32_t number;
    WireType type;
    uint64_t value;    /* varint and fixed numbers */
    const char *bytes; /* WIRE_BYTES; borrowed */
    size_t n;
} Field;

/* Reads the field at *at of n bytes and steps over it. false: the bytes are no field, or they end
 * within one. */
bool field_read(const char *bytes, size_t n, size_t *at, Field *field);

float field_float(const Field *field);
/* A boolean or whole number; `usual` if the field has another type. */
int64_t field_number(const Field *field, int64_t usual);

void field_put_number(Str *out, uint32_t number, uint64_t value);
void field_put_float(Str *out, uint32_t number, float value);
void field_put_bytes(Str *out, uint32_t number, const void *bytes, size_t n);

#endif
