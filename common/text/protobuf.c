/* SPDX-License-Identifier: MIT */
#include "common/text/protobuf.h"

#include <string.h>

static bool read_varint(const char *bytes, size_t n, size_t *at, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < n; shift += 7) {
        unsigned char byte = (unsigned char)bytes[(*at)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

static bool read_fixed(const char *bytes, size_t n, size_t *at, size_t size, uint64_t *value) {
    if (n - *at < size) {
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        *value |= (uint64_t)(unsigned char)bytes[*at + i] << 8 * i;
    }
    *at += size;
    return true;
}

bool field_read(const char *bytes, size_t n, size_t *at, Field *field) {
    uint64_t key = 0;
    *field = (Field){0};
    if (*at >= n || !read_varint(bytes, n, at, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX) {
        return false;
    }
    field->number = (uint32_t)(key >> 3);
    field->type = (WireType)(key & 7);
    switch (field->type) {
    case WIRE_VARINT:
        return read_varint(bytes, n, at, &field->value);
    case WIRE_64:
        return read_fixed(bytes, n, at, 8, &field->value);
    case WIRE_32:
        return read_fixed(bytes, n, at, 4, &field->value);
    case WIRE_BYTES:
        if (!read_varint(bytes, n, at, &field->value) || field->value > n - *at) {
            return false;
        }
        field->bytes = bytes + *at;
        field->n = (size_t)field->value;
        *at += field->n;
        return true;
    }
    return false; /* groups, which nobody writes any more */
}

float field_float(const Field *field) {
    uint32_t bits = (uint32_t)field->value;
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t field_number(const Field *field, int64_t usual) {
    return field->type == WIRE_VARINT ? (int64_t)field->value : usual;
}

static void put_varint(Str *out, uint64_t value) {
    while (value >= 0x80) {
        str_append_char(out, (char)(value | 0x80));
        value >>= 7;
    }
    str_append_char(out, (char)value);
}

void field_put_number(Str *out, uint32_t number, uint64_t value) {
    put_varint(out, (uint64_t)number << 3 | WIRE_VARINT);
    put_varint(out, value);
}

void field_put_float(Str *out, uint32_t number, float value) {
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    put_varint(out, (uint64_t)number << 3 | WIRE_32);
    for (int i = 0; i < 4; i++) {
        str_append_char(out, (char)(bits >> 8 * i));
    }
}

void field_put_bytes(Str *out, uint32_t number, const void *bytes, size_t n) {
    put_varint(out, (uint64_t)number << 3 | WIRE_BYTES);
    put_varint(out, n);
    str_append_bytes(out, bytes, n);
}
