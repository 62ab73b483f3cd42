/* SPDX-License-Identifier: MIT
 *
 * Fuzzing of GGUF. Whatever opens has values and tensors within the file; what of it the writer can say is
 * written, read again and the same.
 */
#include <stdlib.h>
#include <string.h>

#include "common/export/gguf.h"
#include "tests/fuzz/fuzz.h"

static volatile unsigned char sink; /* so that every byte is read */

static void read_pair(const GgufPair *pair) {
    double number;
    GgufText text;
    size_t texts = 0;
    for (size_t i = 0; gguf_number(pair, i, &number); i++) {
        sink = (unsigned char)(number > 0);
    }
    for (size_t at = 0; gguf_next_text(pair, &at, &text); texts++) {
        for (size_t i = 0; i < text.n; i++) {
            sink = (unsigned char)text.text[i];
        }
    }
    demand(pair->kind != GGUF_STRING || texts == pair->count);
}

/* Our writer has these kinds, and its own alignment. */
static bool can_write(const GgufPair *pair) {
    static const char alignment[] = "general.alignment";
    bool one = pair->kind == GGUF_U32 || pair->kind == GGUF_F32 ||
               (pair->kind == GGUF_BOOL && pair->data[0] <= 1);
    bool many = pair->kind == GGUF_I32 || pair->kind == GGUF_F32;
    return (pair->kind == GGUF_STRING || (pair->array ? many : one)) &&
           (pair->key.n != sizeof alignment - 1 ||
            memcmp(pair->key.text, alignment, pair->key.n) != 0);
}

static void write_items(GgufWriter *writer, const GgufPair *pair) {
    GgufText text;
    for (size_t at = 0; gguf_next_text(pair, &at, &text);) {
        gguf_item_string(writer, text.text, text.n);
    }
    double value;
    for (size_t i = 0; pair->kind != GGUF_STRING && gguf_number(pair, i, &value); i++) {
        if (pair->kind == GGUF_I32) {
            gguf_item_i32(writer, (int32_t)value);
        } else {
            float item;
            memcpy(&item, pair->data + 4 * i, sizeof item);
            gguf_item_f32(writer, item);
        }
    }
}

static void write_pair(GgufWriter *writer, const GgufPair *pair) {
    char *key = strndup(pair->key.text, pair->key.n);
    uint32_t bits = 0;
    GgufText text;
    demand(key != NULL);
    if (pair->array) {
        gguf_put_array(writer, key, pair->kind, pair->count);
        write_items(writer, pair);
    } else if (gguf_text(pair, &text)) {
        gguf_put_string(writer, key, text.text, text.n);
    } else if (pair->kind == GGUF_BOOL) {
        gguf_put_bool(writer, key, pair->data[0] != 0);
    } else {
        memcpy(&bits, pair->data, sizeof bits);
        float number;
        memcpy(&number, &bits, sizeof bits);
        if (pair->kind == GGUF_U32) {
            gguf_put_u32(writer, key, bits);
        } else {
            gguf_put_f32(writer, key, number);
        }
    }
    free(key);
}

/* Returns how many pairs are in the file that is written. */
static size_t write_again(const Gguf *gguf, const char *path) {
    GgufWriter *writer = gguf_writer_create(NULL);
    size_t pairs = 0;
    demand(writer != NULL);
    for (size_t i = 0; i < gguf->pairs; i++) {
        if (can_write(&gguf->pair[i])) {
            write_pair(writer, &gguf->pair[i]);
            pairs++;
        }
    }
    for (size_t i = 0; i < gguf->tensors; i++) {
        const GgufTensor *tensor = &gguf->tensor[i];
        char name[GGUF_NAME_MAX + 1] = {0};
        memcpy(name, tensor->name.text, tensor->name.n);
        demand(gguf_writer_add(writer, name, (GgmlType)tensor->type, tensor->shape, tensor->rank,
                               NULL));
    }
    demand(gguf_writer_begin(writer, path, NULL));
    for (size_t i = 0; i < gguf->tensors; i++) {
        size_t n = gguf->tensor[i].bytes, half = n / 2;
        demand((half == 0 || gguf_writer_put(writer, gguf->tensor[i].data, half, NULL)) &&
               gguf_writer_put(writer, gguf->tensor[i].data + half, n - half, NULL));
    }
    uint64_t expected = gguf_writer_size(writer);
    demand(gguf_writer_commit(writer, NULL));
    gguf_writer_free(writer);
    size_t size;
    demand(memory_file(path, &size) != NULL && size == expected);
    return pairs;
}

static bool same_bytes(const void *a, size_t n, const void *b, size_t m) {
    return n == m && (n == 0 || memcmp(a, b, n) == 0);
}

static void compare(const Gguf *gguf, const Gguf *again, size_t pairs) {
    demand(again->pairs == pairs && again->tensors == gguf->tensors);
    for (size_t i = 0, k = 0; i < gguf->pairs; i++) {
        const GgufPair *a = &gguf->pair[i];
        if (can_write(a)) {
            const GgufPair *b = &again->pair[k++];
            demand(a->kind == b->kind && a->array == b->array && a->count == b->count &&
                   same_bytes(a->key.text, a->key.n, b->key.text, b->key.n) &&
                   same_bytes(a->data, a->bytes, b->data, b->bytes));
        }
    }
    for (size_t i = 0; i < gguf->tensors; i++) {
        const GgufTensor *a = &gguf->tensor[i], *b = &again->tensor[i];
        demand(a->type == b->type && a->rank == b->rank && a->count == b->count &&
               memcmp(a->shape, b->shape, (size_t)a->rank * sizeof *a->shape) == 0 &&
               same_bytes(a->name.text, a->name.n, b->name.text, b->name.n) &&
               same_bytes(a->data, a->bytes, b->data, b->bytes));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    memory_file_put("memory:/a.gguf", data, size);
    Error err = {0};
    Gguf gguf, again;
    if (gguf_open(&gguf, "memory:/a.gguf", &err)) {
        for (size_t i = 0; i < gguf.pairs; i++) {
            read_pair(&gguf.pair[i]);
        }
        size_t pairs = write_again(&gguf, "memory:/b.gguf");
        demand(gguf_open(&again, "memory:/b.gguf", &err));
        compare(&gguf, &again, pairs);
        gguf_close(&again);
        gguf_close(&gguf);
    } else {
        demand(err.text[0] != '\0');
    }
    memory_files_clear();
    return 0;
}
