/* SPDX-License-Identifier: MIT */
#include "common/jinja/strings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "common/base/utf8.h"

bool code_is_space(uint32_t code) {
    return (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x20) || code == 0x85 ||
           code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

static bool strips(uint32_t code, const Text *chars) {
    if (chars == NULL) {
        return code_is_space(code);
    }
    char bytes[4];
    Text one = {.data = bytes, .size = (uint32_t)utf8_encode(code, bytes)};
    return text_find(chars, &one, 0, chars->size) != SIZE_MAX;
}

size_t space_before(const char *text, size_t n, const Text *chars) {
    size_t at = 0;
    while (at < n) {
        uint32_t code = 0;
        size_t size = utf8_decode(text + at, n - at, &code);
        if (size == 0 || !strips(code, chars)) {
            break;
        }
        at += size;
    }
    return at;
}

size_t space_after(const char *text, size_t n, const Text *chars) {
    size_t end = n;
    while (end > 0) {
        size_t at = end - 1;
        while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80) {
            at--;
        }
        uint32_t code = 0;
        if (utf8_decode(text + at, end - at, &code) != end - at || !strips(code, chars)) {
            break;
        }
        end = at;
    }
    return n - end;
}

const Text *text_strip(Machine *machine, const Text *text, const Text *chars, bool left,
                       bool right) {
    if (!machine_spend_bytes(machine, text->size) ||
        (chars != NULL && !machine_spend_bytes(machine, (size_t)chars->size * 64))) {
        return NULL;
    }
    size_t begin = left ? space_before(text->data, text->size, chars) : 0;
    size_t end = text->size;
    end -= right ? space_after(text->data + begin, end - begin, chars) : 0;
    return text_slice(machine, text, begin, end);
}

/* Characters whose upper case, or title case, is more than one character. */
static bool grows(uint32_t code) {
    static const uint32_t ranges[][2] = {
        {0x00DF, 0x00DF},
        {0x0149, 0x0149},
        {0x01F0, 0x01F0},
        {0x0390, 0x0390},
        {0x03B0, 0x03B0},
        {0x0587, 0x0587},
        {0x1E96, 0x1E9A},
        {0x1F50, 0x1F50},
        {0x1F52, 0x1F52},
        {0x1F54, 0x1F54},
        {0x1F56, 0x1F56},
        {0x1F80, 0x1FAF},
        {0x1FB2, 0x1FB4},
        {0x1FB6, 0x1FB7},
        {0x1FBC, 0x1FBC},
        {0x1FC2, 0x1FC4},
        {0x1FC6, 0x1FC7},
        {0x1FCC, 0x1FCC},
        {0x1FD2, 0x1FD3},
        {0x1FD6, 0x1FD7},
        {0x1FE2, 0x1FE4},
        {0x1FE6, 0x1FE7},
        {0x1FF2, 0x1FF4},
        {0x1FF6, 0x1FF7},
        {0x1FFC, 0x1FFC},
        {0xFB00, 0xFB06},
        {0xFB13, 0xFB17},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (code >= ranges[i][0] && code <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

typedef enum Letter { LETTER_UPPER, LETTER_LOWER, LETTER_TITLE } Letter;

static bool put_case(Builder *out, uint32_t code, Letter how, Tag tag) {
    bool hard = how == LETTER_LOWER ? code == 0x0130 || code == 0x03A3 : grows(code);
    if (hard) {
        return machine_fault(out->machine,
                             "the %s case of U+%04" PRIX32 " is not supported; it is more than a "
                             "character, or depends on its neighbors",
                             how == LETTER_LOWER ? "lower" : "upper", code);
    }
    utf8proc_int32_t from = (utf8proc_int32_t)code;
    utf8proc_int32_t to = how == LETTER_LOWER   ? utf8proc_tolower(from)
                          : how == LETTER_UPPER ? utf8proc_toupper(from)
                                                : utf8proc_totitle(from);
    return builder_code(out, (uint32_t)to, tag);
}

static bool is_letter(uint32_t code) {
    return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
}

/* What the filter title splits words at. */
static bool word_border(uint32_t code) {
    return code_is_space(code) || (code < 128 && code != 0 && strchr("-({[<", (int)code) != NULL);
}

const Text *text_case(Machine *machine, const Text *text, TextCase how) {
    Builder out = {.machine = machine, .safe = text->safe};
    bool begins = true, ok = true;
    for (size_t at = 0; ok && at < text->size;) {
        uint32_t code = 0;
        size_t n = utf8_decode(text->data + at, text->size - at, &code);
        Letter letter = how == CASE_UPPER   ? LETTER_UPPER
                        : how == CASE_LOWER ? LETTER_LOWER
                        : begins            ? (how == CASE_WORDS ? LETTER_UPPER : LETTER_TITLE)
                                            : LETTER_LOWER;
        if (how == CASE_TITLE && code >= 128) {
            machine_fault(machine, "title() of a text beyond ASCII is not supported");
            return NULL;
        }
        ok = put_case(&out, code, letter, text_tag(text, at));
        begins = how == CASE_TITLE   ? !is_letter(code)
                 : how == CASE_WORDS ? word_border(code)
                                     : false;
        at += n;
    }
    return ok && machine_spend_bytes(machine, text->size) ? builder_finish(&out) : NULL;
}

const Text *text_replace(Machine *machine, const Text *text, const Text *old, const Text *by,
                         int64_t count) {
    Builder out = {.machine = machine};
    size_t at = 0;
    bool ok = machine_spend_bytes(machine, text->size);
    for (int64_t done = 0; ok && (count < 0 || done < count); done++) {
        size_t found = text_find(text, old, at, text->size);
        if (found == SIZE_MAX) {
            break;
        }
        ok = machine_spend(machine, 1) && builder_slice(&out, text, at, found, 0) &&
             builder_text(&out, by);
        at = found + old->size;
        if (ok && old->size == 0) { /* between all characters, and at both ends */
            size_t next = text_offset(text, at, 1);
            ok = builder_slice(&out, text, at, next, 0);
            if (at == text->size) {
                break;
            }
            at = next;
        }
    }
    ok = ok && builder_slice(&out, text, at, text->size, 0);
    return ok ? builder_finish(&out) : NULL;
}

static bool push_slice(Machine *machine, List *list, size_t *capacity, const Text *text,
                       size_t begin, size_t end) {
    const Text *part = text_slice(machine, text, begin, end);
    return part != NULL && list_push(machine, list, capacity, value_text(part));
}

/* The size of the code point that ends at `end`. */
static size_t code_before(const Text *text, size_t end, uint32_t *code) {
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)text->data[at] & 0xC0) == 0x80) {
        at--;
    }
    utf8_decode(text->data + at, end - at, code);
    return end - at;
}

/* What a limit leaves over keeps its white space at the far side. */
static bool split_space(Machine *machine, const Text *text, int64_t limit, bool from_right,
                        List *list) {
    size_t capacity = 0, begin = 0, end = text->size;
    for (int64_t done = 0;; done++) {
        begin += from_right ? 0 : space_before(text->data + begin, end - begin, NULL);
        end -= from_right ? space_after(text->data, end, NULL) : 0;
        if (begin == end) {
            return true;
        }
        size_t at = from_right ? end : begin;
        uint32_t code = 0;
        bool last = limit >= 0 && done >= limit;
        while (!last && (from_right ? at > begin : at < end)) {
            size_t n = from_right ? code_before(text, at, &code)
                                  : utf8_decode(text->data + at, end - at, &code);
            if (code_is_space(code)) {
                break;
            }
            at = from_right ? at - n : at + n;
        }
        at = last ? (from_right ? begin : end) : at;
        if (!push_slice(machine, list, &capacity, text, from_right ? at : begin,
                        from_right ? end : at)) {
            return false;
        }
        *(from_right ? &end : &begin) = at;
    }
}

static size_t find_last(const Text *text, const Text *part, size_t end) {
    for (size_t at = end >= part->size ? end - part->size + 1 : 0; at-- > 0;) {
        if (memcmp(text->data + at, part->data, part->size) == 0) {
            return at;
        }
    }
    return SIZE_MAX;
}

static bool split_separator(Machine *machine, const Text *text, const Text *separator,
                            int64_t limit, bool from_right, List *list) {
    size_t capacity = 0, begin = 0, end = text->size;
    for (int64_t done = 0; limit < 0 || done < limit; done++) {
        size_t found =
            from_right ? find_last(text, separator, end) : text_find(text, separator, begin, end);
        if (found == SIZE_MAX) {
            break;
        }
        size_t behind = found + separator->size;
        if (!push_slice(machine, list, &capacity, text, from_right ? behind : begin,
                        from_right ? end : found)) {
            return false;
        }
        *(from_right ? &end : &begin) = from_right ? found : behind;
    }
    return push_slice(machine, list, &capacity, text, begin, end);
}

bool text_split(Machine *machine, const Text *text, const Text *separator, int64_t limit,
                bool from_right, Value *out) {
    List *list = list_make(machine, 0);
    if (list == NULL || !machine_spend_bytes(machine, text->size)) {
        return false;
    }
    if (separator != NULL && separator->size == 0) {
        return machine_fault(machine, "a text cannot be split at an empty separator");
    }
    bool ok = separator == NULL
                  ? split_space(machine, text, limit, from_right, list)
                  : split_separator(machine, text, separator, limit, from_right, list);
    for (size_t i = 0, n = list->count; ok && from_right && i < n / 2; i++) {
        Value swap = list->item[i];
        list->item[i] = list->item[n - 1 - i];
        list->item[n - 1 - i] = swap;
    }
    *out = value_list(VALUE_LIST, list);
    return ok;
}

static bool ends_line(uint32_t code) {
    return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
           code == 0x2028 || code == 0x2029;
}

bool text_lines(Machine *machine, const Text *text, bool keep, List **out) {
    List *list = list_make(machine, 0);
    size_t capacity = 0, begin = 0;
    bool ok = list != NULL && machine_spend_bytes(machine, text->size);
    for (size_t at = 0; ok && at < text->size;) {
        uint32_t code = 0;
        size_t n = utf8_decode(text->data + at, text->size - at, &code);
        if (!ends_line(code)) {
            at += n;
            continue;
        }
        n += code == '\r' && at + 1 < text->size && text->data[at + 1] == '\n';
        ok = push_slice(machine, list, &capacity, text, begin, keep ? at + n : at);
        at += n;
        begin = at;
    }
    ok = ok &&
         (begin == text->size || push_slice(machine, list, &capacity, text, begin, text->size));
    *out = list;
    return ok;
}

const Text *text_join(Machine *machine, const Text *separator, const List *list, bool texts_only) {
    Builder out = {.machine = machine};
    bool ok = machine_spend(machine, list->count / 4);
    for (size_t i = 0; ok && i < list->count; i++) {
        if (texts_only && list->item[i].kind != VALUE_TEXT) {
            machine_fault(machine, "join() takes texts only, not a %s", value_type(list->item[i]));
            return NULL;
        }
        ok = (i == 0 || builder_text(&out, separator)) && value_print(machine, list->item[i], &out);
    }
    return ok ? builder_finish(&out) : NULL;
}

const Text *text_indent(Machine *machine, const Text *text, const Text *indent, bool first,
                        bool blank) {
    List *lines = NULL;
    Builder whole = {.machine = machine}, out = {.machine = machine};
    bool ok = builder_text(&whole, text) && builder_string(&whole, "\n");
    const Text *ended = ok ? builder_finish(&whole) : NULL;
    ok = ended != NULL && text_lines(machine, ended, false, &lines);
    for (size_t i = 0; ok && i < lines->count; i++) {
        const Text *line = lines->item[i].text;
        bool indented = i == 0 ? first : blank || line->size > 0;
        ok = (i == 0 || builder_string(&out, "\n")) && (!indented || builder_text(&out, indent)) &&
             builder_text(&out, line);
    }
    return ok ? builder_finish(&out) : NULL;
}

const Text *text_escape(Machine *machine, const Text *text) {
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    Builder out = {.machine = machine, .safe = true};
    bool ok = true;
    for (size_t at = 0; ok && at < text->size; at++) {
        const char *special = text->data[at] == '\0' ? NULL : strchr(from, text->data[at]);
        const char *name = special == NULL ? text->data + at : to[special - from];
        ok = builder_bytes(&out, name, special == NULL ? 1 : strlen(name), text_tag(text, at));
    }
    return ok ? builder_finish(&out) : NULL;
}

const Text *text_beside(Machine *machine, const Text *text, bool safe) {
    return safe && !text->safe ? text_escape(machine, text) : text;
}

const Text *text_repeat(Machine *machine, const Text *text, int64_t times) {
    enum { UNIT = 1024 };
    Builder out = {.machine = machine, .safe = text->safe};
    const Text *unit = text; /* many copies of a short text, put at once */
    int64_t copies = text->size > 0 ? UNIT / (int64_t)text->size + 1 : 1;
    if (copies > 1 && times / 2 >= copies) {
        unit = text_repeat(machine, text, copies);
    } else {
        copies = 1;
    }
    bool ok = unit != NULL;
    for (int64_t i = 0; ok && text->size > 0 && i < times / copies; i++) {
        ok = (i % 64 != 0 || machine_spend(machine, 1)) && builder_text(&out, unit);
    }
    for (int64_t i = 0; ok && text->size > 0 && i < times % copies; i++) {
        ok = builder_text(&out, text);
    }
    return ok ? builder_finish(&out) : NULL;
}

static bool put_directive(Machine *machine, char directive, Value value, Builder *out) {
    int64_t integer = 0;
    char text[32];
    switch (directive) {
    case 's':
        return value_print(machine, value, out);
    case 'r':
        return value_repr(machine, value, out);
    case 'd':
    case 'i':
        if (value.kind == VALUE_FLOAT && value.real > -9e15 && value.real < 9e15) {
            integer = (int64_t)value.real;
        } else if (!value_integer(value, &integer)) {
            return machine_fault(machine, "%%d writes whole numbers, not a %s", value_type(value));
        }
        snprintf(text, sizeof text, "%" PRId64, integer);
        return builder_string(out, text);
    default:
        return machine_fault(machine, "only %%s, %%d, %%i, %%r and %%%% are supported in a format");
    }
}

const Text *text_percent(Machine *machine, const Text *text, const Value *value, size_t values) {
    Builder out = {.machine = machine};
    size_t used = 0, at = 0;
    bool mapping = values == 1 && (value->kind == VALUE_LIST || value->kind == VALUE_DICT ||
                                   value->kind == VALUE_RANGE || value->kind == VALUE_UNDEFINED);
    static const Text percent = {.data = "%", .size = 1};
    if (text->safe) {
        machine_fault(machine, "formatting a text that is marked |safe is not supported");
        return NULL;
    }
    while (at < text->size) {
        size_t found = text_find(text, &percent, at, text->size);
        size_t end = found == SIZE_MAX ? text->size : found;
        if (!builder_slice(&out, text, at, end, 0)) {
            return NULL;
        }
        at = end + 2;
        if (found == SIZE_MAX) {
            break;
        }
        char directive = found + 1 < text->size ? text->data[found + 1] : '\0';
        bool ok = directive == '%' ? builder_string(&out, "%")
                  : used < values  ? put_directive(machine, directive, value[used++], &out)
                                   : machine_fault(machine, "the format wants more values");
        if (!ok) {
            return NULL;
        }
    }
    if (used < values && !mapping) {
        machine_fault(machine, "the format uses only %zu of %zu values", used, values);
        return NULL;
    }
    return builder_finish(&out);
}
