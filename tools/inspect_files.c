/* SPDX-License-Identifier: MIT
 *
 * The tree, and files of tensors: safetensors and GGUF.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/str.h"
#include "common/export/gguf.h"
#include "common/model/safetensors.h"
#include "tools/inspect.h"

static void keep(Inspection *in, const void *made) {
    in->failed = in->failed || made == NULL;
}

void inspect_put(Inspection *in, cJSON *object, const char *key, const char *format, ...) {
    Str text = {0};
    va_list arguments;
    va_start(arguments, format);
    str_vappendf(&text, format, arguments);
    va_end(arguments);
    keep(in, cJSON_AddStringToObject(object, key, str_text(&text)));
    str_done(&text);
}

void inspect_number(Inspection *in, cJSON *object, const char *key, double value) {
    keep(in, cJSON_AddNumberToObject(object, key, value));
}

void inspect_flag(Inspection *in, cJSON *object, const char *key, bool value) {
    keep(in, cJSON_AddBoolToObject(object, key, value));
}

cJSON *inspect_object(Inspection *in, cJSON *object, const char *key) {
    cJSON *made = cJSON_AddObjectToObject(object, key);
    keep(in, made);
    return made;
}

cJSON *inspect_array(Inspection *in, cJSON *object, const char *key) {
    cJSON *made = cJSON_AddArrayToObject(object, key);
    keep(in, made);
    return made;
}

void inspect_refuse(Inspection *in, const Error *err) {
    cJSON *list = cJSON_GetObjectItemCaseSensitive(in->root, "refused");
    Str text = {0};
    if (list == NULL) {
        in->refused = *err;
        list = inspect_array(in, in->root, "refused");
    }
    if (err->file[0] != '\0') {
        str_appendf(&text, "%s:", err->file);
    }
    if (err->line > 0) {
        str_appendf(&text, "%ld:%ld:", err->line, err->column);
    }
    str_appendf(&text, "%s%s", text.size > 0 ? " " : "", err->text);
    cJSON *item = cJSON_CreateString(str_text(&text));
    keep(in, item);
    cJSON_AddItemToArray(list, item);
    str_done(&text);
}

/* A number between dots is a block's: "h.3.ln_1" is "h.N.ln_1". */
static void pattern_of(const char *name, size_t n, bool every, Str *out) {
    for (size_t i = 0; i < n; i++) {
        size_t digits = 0;
        while (!every && i > 0 && name[i - 1] == '.' && i + digits < n &&
               isdigit((unsigned char)name[i + digits])) {
            digits++;
        }
        if (digits > 0 && i + digits < n && name[i + digits] == '.') {
            str_append_char(out, 'N');
            i += digits - 1;
        } else {
            str_append_char(out, name[i]);
        }
    }
}

void inspect_tensor(Inspection *in, TensorTable *table, const char *name, size_t n,
                    const char *type, const size_t *shape, int rank, size_t count, size_t bytes) {
    enum { RECENT = 64 }; /* lines that are looked at: more than a block has tensors */
    Str pattern = {0}, sizes = {0};
    pattern_of(name, n, in->tensors, &pattern);
    str_append_char(&sizes, '[');
    for (int i = 0; i < rank; i++) {
        str_appendf(&sizes, "%s%zu", i > 0 ? ", " : "", shape[i]);
    }
    str_append_char(&sizes, ']');
    table->count++;
    table->bytes += bytes;
    table->weights += count;
    cJSON *last = table->list->child != NULL ? table->list->child->prev : NULL;
    cJSON *found = NULL;
    for (int i = 0; i < RECENT && last != NULL && found == NULL; i++) {
        bool same =
            strcmp(cJSON_GetObjectItem(last, "name")->valuestring, str_text(&pattern)) == 0 &&
            strcmp(cJSON_GetObjectItem(last, "shape")->valuestring, str_text(&sizes)) == 0 &&
            strcmp(cJSON_GetObjectItem(last, "type")->valuestring, type) == 0;
        found = same ? last : NULL;
        last = last == table->list->child ? NULL : last->prev;
    }
    if (found != NULL) {
        cJSON *times = cJSON_GetObjectItem(found, "count");
        cJSON_SetNumberValue(times, times->valuedouble + 1);
    } else {
        cJSON *line = cJSON_CreateObject();
        keep(in, line);
        if (line != NULL) {
            inspect_put(in, line, "name", "%s", str_text(&pattern));
            inspect_put(in, line, "type", "%s", type);
            inspect_put(in, line, "shape", "%s", str_text(&sizes));
            inspect_number(in, line, "count", 1);
            cJSON_AddItemToArray(table->list, line);
        }
    }
    in->failed = in->failed || pattern.failed || sizes.failed;
    str_done(&pattern);
    str_done(&sizes);
}

void inspect_table_end(Inspection *in, const TensorTable *table, cJSON *object) {
    inspect_number(in, object, "tensors", (double)table->count);
    inspect_number(in, object, "weights", (double)table->weights);
    inspect_number(in, object, "data_bytes", (double)table->bytes);
}

void inspect_safetensors(Inspection *in, const char *path) {
    SafeTensors file;
    Error err = {0};
    if (!safetensors_open(&file, path, &err)) {
        inspect_refuse(in, &err);
        return;
    }
    cJSON *files = cJSON_GetObjectItemCaseSensitive(in->root, "safetensors");
    files = files != NULL ? files : inspect_object(in, in->root, "safetensors");
    const char *slash = strrchr(path, '/');
    cJSON *object = inspect_object(in, files, slash != NULL ? slash + 1 : path);
    TensorTable table = {.list = cJSON_CreateArray()};
    keep(in, table.list);
    for (size_t i = 0; i < file.tensors && !in->failed; i++) {
        const Tensor *t = &file.tensor[i];
        const char *type = t->type == TENSOR_OTHER ? "other" : tensor_type_name(t->type);
        inspect_tensor(in, &table, t->name, strlen(t->name), type, t->shape, t->rank, t->count,
                       t->bytes);
    }
    inspect_table_end(in, &table, object);
    cJSON_AddItemToObject(object, "list", table.list);
    safetensors_close(&file);
}

/* A value as text: numbers, short texts; of arrays the length. */
static void put_pair(Inspection *in, cJSON *object, const GgufPair *pair) {
    enum { SHOWN = 100 };
    Str key = {0};
    GgufText text;
    double number = 0;
    str_append_bytes(&key, pair->key.text, pair->key.n);
    if (pair->array) {
        inspect_put(in, object, str_text(&key), "%zu of %s", pair->count,
                    gguf_kind_name(pair->kind));
    } else if (gguf_text(pair, &text)) {
        Str shown = {0};
        for (size_t i = 0; i < text.n && shown.size < SHOWN; i++) {
            unsigned char c = (unsigned char)text.text[i];
            str_append_char(&shown, c >= 0x20 && c < 0x7f ? (char)c : c == '\n' ? ' ' : '?');
        }
        inspect_put(in, object, str_text(&key), "%s%s", str_text(&shown),
                    text.n > SHOWN ? "..." : "");
        str_done(&shown);
    } else if (pair->kind == GGUF_BOOL && gguf_number(pair, 0, &number)) {
        inspect_flag(in, object, str_text(&key), number != 0);
    } else if (gguf_number(pair, 0, &number)) {
        inspect_number(in, object, str_text(&key), number);
    }
    str_done(&key);
}

void inspect_gguf(Inspection *in, const char *path) {
    Gguf file;
    Error err = {0};
    if (!gguf_open(&file, path, &err)) {
        inspect_refuse(in, &err);
        return;
    }
    cJSON *object = inspect_object(in, in->root, "gguf");
    inspect_number(in, object, "version", file.version);
    TensorTable table = {.list = cJSON_CreateArray()};
    keep(in, table.list);
    for (size_t i = 0; i < file.tensors && !in->failed; i++) {
        const GgufTensor *t = &file.tensor[i];
        size_t block, bytes;
        inspect_tensor(in, &table, t->name.text, t->name.n, ggml_type_name(t->type, &block, &bytes),
                       t->shape, t->rank, t->count, t->bytes);
    }
    inspect_table_end(in, &table, object);
    cJSON *pairs = inspect_object(in, object, "metadata");
    for (size_t i = 0; i < file.pairs && !in->failed; i++) {
        put_pair(in, pairs, &file.pair[i]);
    }
    cJSON_AddItemToObject(object, "list", table.list);
    gguf_close(&file);
}
