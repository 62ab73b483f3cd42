/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "common/base/str.h"
#include "common/base/utf8.h"
#include "common/jinja/value.h"

/* Doubles a block of the pool; the old one is lost until the end. */
static bool grow(Machine *machine, void **block, size_t *capacity, size_t need, size_t size) {
    if (need <= *capacity) {
        return true;
    }
    size_t wanted = *capacity < 8 ? 16 : *capacity * 2;
    wanted = wanted < need ? need : wanted;
    void *grown = machine_take(machine, wanted, size);
    if (grown == NULL) {
        return false;
    }
    if (*capacity > 0) {
        memcpy(grown, *block, *capacity * size);
    }
    *block = grown;
    *capacity = wanted;
    return true;
}

static bool put_run(Builder *builder, size_t end, Tag tag) {
    if (builder->runs > 0 && builder->run[builder->runs - 1].tag == tag) {
        builder->run[builder->runs - 1].end = (uint32_t)end;
        return true;
    }
    void *block = builder->run;
    if (!grow(builder->machine, &block, &builder->run_capacity, builder->runs + 1,
              sizeof *builder->run)) {
        return false;
    }
    builder->run = block;
    builder->run[builder->runs++] = (Run){(uint32_t)end, tag};
    return true;
}

bool builder_bytes(Builder *builder, const char *bytes, size_t n, Tag tag) {
    if (n == 0) {
        return true;
    }
    if (n > JINJA_TEXT_MAX - builder->size) {
        return machine_fault(builder->machine, "the text grows beyond %d MiB",
                             JINJA_TEXT_MAX >> 20);
    }
    void *block = builder->data;
    if (!machine_spend_bytes(builder->machine, n) ||
        !grow(builder->machine, &block, &builder->capacity, builder->size + n, 1)) {
        return false;
    }
    builder->data = block;
    memcpy(builder->data + builder->size, bytes, n);
    builder->size += n;
    return put_run(builder, builder->size, tag);
}

bool builder_string(Builder *builder, const char *literal) {
    return builder_bytes(builder, literal, strlen(literal), 0);
}

/* Index of the run that holds a byte. */
static size_t find_run(const Text *text, size_t at) {
    size_t low = 0, high = text->runs;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (text->run[middle].end <= at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool builder_slice(Builder *builder, const Text *text, size_t begin, size_t end, Tag add) {
    if (text->runs == 0) {
        return builder_bytes(builder, text->data + begin, end - begin, add);
    }
    for (size_t i = find_run(text, begin); begin < end; i++) {
        size_t stop = text->run[i].end < end ? text->run[i].end : end;
        if (!builder_bytes(builder, text->data + begin, stop - begin, text->run[i].tag | add)) {
            return false;
        }
        begin = stop;
    }
    return true;
}

bool builder_text(Builder *builder, const Text *text) {
    return builder_slice(builder, text, 0, text->size, 0);
}

bool builder_code(Builder *builder, uint32_t code, Tag tag) {
    char bytes[4];
    return builder_bytes(builder, bytes, utf8_encode(code, bytes), tag);
}

const Text *builder_finish(Builder *builder) {
    Text *text = machine_take(builder->machine, 1, sizeof *text);
    if (text != NULL) {
        bool literal = builder->runs == 0 || (builder->runs == 1 && builder->run[0].tag == 0);
        *text = (Text){.data = builder->data == NULL ? "" : builder->data,
                       .size = (uint32_t)builder->size,
                       .runs = literal ? 0 : (uint32_t)builder->runs,
                       .run = literal ? NULL : builder->run,
                       .safe = builder->safe};
    }
    return text;
}

const Text *text_make(Machine *machine, const char *bytes, size_t n, Tag tag) {
    Builder builder = {.machine = machine};
    return builder_bytes(&builder, bytes, n, tag) ? builder_finish(&builder) : NULL;
}

const Text *text_string(Machine *machine, const char *literal) {
    Text *text = machine_take(machine, 1, sizeof *text);
    if (text != NULL) {
        *text = (Text){.data = literal, .size = (uint32_t)strlen(literal)};
    }
    return text;
}

/* Bytes are shared; runs are, where one holds them all. */
const Text *text_slice(Machine *machine, const Text *text, size_t begin, size_t end) {
    if (begin == 0 && end == text->size) {
        return text;
    }
    Text *part = machine_take(machine, 1, sizeof *part);
    if (part == NULL) {
        return NULL;
    }
    *part = (Text){.data = text->data + begin, .size = (uint32_t)(end - begin), .safe = text->safe};
    if (text->runs == 0 || begin == end) {
        return part;
    }
    size_t first = find_run(text, begin), last = find_run(text, end - 1);
    if (first == last && text->run[first].tag == 0) {
        return part;
    }
    Run *run = machine_take(machine, last - first + 1, sizeof *run);
    if (run == NULL || !machine_spend(machine, (last - first) / 16)) {
        return NULL;
    }
    for (size_t i = first; i <= last; i++) {
        size_t stop = text->run[i].end < end ? text->run[i].end : end;
        run[i - first] = (Run){(uint32_t)(stop - begin), text->run[i].tag};
    }
    part->run = run;
    part->runs = (uint32_t)(last - first + 1);
    return part;
}

Tag text_tag(const Text *text, size_t at) {
    return text->runs == 0 ? 0 : text->run[find_run(text, at)].tag;
}

size_t text_length(const Text *text) {
    size_t codes = 0;
    for (size_t i = 0; i < text->size; i++) {
        codes += ((unsigned char)text->data[i] & 0xC0) != 0x80;
    }
    return codes;
}

size_t text_offset(const Text *text, size_t from, size_t codes) {
    size_t at = from;
    while (at < text->size) {
        if (((unsigned char)text->data[at] & 0xC0) != 0x80 && codes-- == 0) {
            break;
        }
        at++;
    }
    return at;
}

bool text_is(const Text *text, const char *literal) {
    return strlen(literal) == text->size && memcmp(text->data, literal, text->size) == 0;
}

bool text_equal(const Text *a, const Text *b) {
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Bytes of UTF-8 order as code points do. */
int text_compare(const Text *a, const Text *b) {
    size_t n = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->data, b->data, n);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

size_t text_find(const Text *text, const Text *part, size_t from, size_t end) {
    if (from > end || part->size > end - from) {
        return SIZE_MAX;
    }
    const char *found = part->size == 0
                            ? text->data + from
                            : str_find(text->data + from, end - from, part->data, part->size);
    return found == NULL ? SIZE_MAX : (size_t)(found - text->data);
}
