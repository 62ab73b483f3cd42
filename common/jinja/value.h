/* SPDX-License-Identifier: MIT
 *
 * Values of a render, and the machine that holds them.
 *
 * Everything a render makes lies in one pool and goes away with it. A text is bytes with runs of
 * provenance. Functions that can fail return false (NULL) with machine->err set.
 */
#ifndef RLHF_JINJA_VALUE_H
#define RLHF_JINJA_VALUE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/jinja/jinja.h"
#include "common/jinja/pool.h"

/* Provenance of a byte: 0 literal, else index of the message + 1; the highest bit is
 * {% generation %}'s. */
typedef uint32_t Tag;
#define TAG_GENERATED ((Tag)1 << 31)

typedef struct Run {
    uint32_t end; /* begins where the one before it ends */
    Tag tag;
} Run;

typedef struct Text {
    const char *data; /* UTF-8 */
    uint32_t size;
    uint32_t runs; /* 0: all of it is literal */
    const Run *run;
    bool safe; /* markupsafe's Markup: what is joined to it would be escaped */
} Text;

typedef enum ValueKind {
    VALUE_UNDEFINED,
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INT,
    VALUE_FLOAT,
    VALUE_TEXT,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_RANGE,
    VALUE_ITERATOR, /* what a generator of Python's would be: it can be walked once */
    VALUE_VIEW,     /* keys(), values(), items() of a dict */
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_LOOP,
    VALUE_MACRO,
    VALUE_FUNCTION, /* a global */
    VALUE_METHOD,   /* a function of a value */
} ValueKind;

typedef struct Value {
    ValueKind kind;
    union {
        bool truth;
        int64_t integer;
        double real;
        const Text *text;
        struct List *list; /* LIST, TUPLE, RANGE, VIEW, ITERATOR */
        struct Dict *dict; /* DICT, NAMESPACE */
        const struct Loop *loop;
        const struct Macro *macro;
        const struct Method *method;
        const char *name; /* FUNCTION; UNDEFINED: what was looked for, may be NULL */
    };
} Value;

typedef struct List {
    Value *item;
    size_t count;
    size_t next; /* of an iterator: items before it are gone */
} List;

typedef struct Pair {
    Value key, value;
} Pair;

typedef struct Dict {
    Pair *pair; /* in the order of insertion */
    size_t count, capacity;
} Dict;

typedef struct Method {
    Value self;
    const Text *name;
} Method;

typedef struct Loop {
    const List *list;
    size_t index; /* from 0 */
} Loop;

typedef struct Scope {
    struct Scope *outer;
    struct Variable {
        const Text *name;
        Value value;
    } * variable;
    size_t count, capacity;
} Scope;

typedef struct Macro {
    const struct Node *node;
    Scope *scope; /* where it was defined */
} Macro;

/* A text under construction. */
typedef struct Builder {
    struct Machine *machine;
    char *data;
    Run *run;
    size_t size, capacity, runs, run_capacity;
    bool safe; /* of the text that it becomes */
} Builder;

typedef struct Machine {
    const Jinja *jinja;
    const struct Node *at; /* what is being evaluated, for messages */
    Pool pool;
    size_t steps, depth, calls;
    size_t namespace_reads, namespace_writes;
    Scope *scope;
    Builder *out;
    const char *date;
    Error *err;
} Machine;

/* ERROR_DATA at the node being evaluated; returns false. */
bool machine_fault(Machine *machine, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what is outside of the subset: "NAME is not supported here, ...". */
bool machine_refuse(Machine *machine, const char *what, const Text *name);
/* Counts n more steps; false when there are too many. */
bool machine_spend(Machine *machine, size_t n);
bool machine_spend_bytes(Machine *machine, size_t bytes);
/* Guards recursion over values and nodes; leave only if enter was true. */
bool machine_enter(Machine *machine);
void machine_leave(Machine *machine);
void *machine_take(Machine *machine, size_t count, size_t size); /* zeroed */

/* Texts (text.c). Offsets are bytes. */
bool builder_bytes(Builder *builder, const char *bytes, size_t n, Tag tag);
bool builder_string(Builder *builder, const char *literal);
bool builder_slice(Builder *builder, const Text *text, size_t begin, size_t end, Tag add);
bool builder_text(Builder *builder, const Text *text);
bool builder_code(Builder *builder, uint32_t code, Tag tag);
const Text *builder_finish(Builder *builder);
const Text *text_make(Machine *machine, const char *bytes, size_t n, Tag tag);
const Text *text_string(Machine *machine, const char *literal);
const Text *text_slice(Machine *machine, const Text *text, size_t begin, size_t end);
Tag text_tag(const Text *text, size_t at);
size_t text_length(const Text *text);                            /* code points */
size_t text_offset(const Text *text, size_t from, size_t codes); /* bytes that codes more take */
bool text_is(const Text *text, const char *literal);
bool text_equal(const Text *a, const Text *b);
int text_compare(const Text *a, const Text *b);
/* First occurrence of part in [from, end); SIZE_MAX if there is none. */
size_t text_find(const Text *text, const Text *part, size_t from, size_t end);

/* Values (value.c). */
Value value_none(void);
Value value_undefined(const char *name);
Value value_bool(bool truth);
Value value_int(int64_t integer);
Value value_float(double real);
Value value_text(const Text *text);
Value value_list(ValueKind kind, List *list);
List *list_make(Machine *machine, size_t count);
bool list_push(Machine *machine, List *list, size_t *capacity, Value value);
bool value_truth(Value value);
const char *value_type(Value value);           /* Python's name of the type */
bool value_is_number(Value value);             /* int, float or bool */
double value_real(Value value);                /* of a number */
bool value_integer(Value value, int64_t *out); /* int or bool */
bool value_is_sequence(Value value);           /* list, tuple or range */
/* a == b; NULL comparisons of types are false. */
bool value_equal(Machine *machine, Value a, Value b, bool *equal);
/* a < b, as Python orders; a fault if it does not. */
bool value_less(Machine *machine, Value a, Value b, bool *less);
bool value_contains(Machine *machine, Value container, Value item, bool *found);
bool value_hashable(Machine *machine, Value value);
/* The items, all at once; an iterator is empty afterwards. */
bool value_items(Machine *machine, Value value, List **out);
bool value_sort(Machine *machine, Value *key, Value *item, size_t n, bool reverse);

bool dict_find(Machine *machine, const Dict *dict, Value key, Value *value, bool *found);
const Value *dict_name(const Dict *dict, const Text *name);
bool dict_put(Machine *machine, Dict *dict, Value key, Value value);

/* Text of a value as str() and repr() give it, and as JSON (print.c, tojson.c). */
bool value_print(Machine *machine, Value value, Builder *out);
bool value_repr(Machine *machine, Value value, Builder *out);
const Text *value_str(Machine *machine, Value value); /* a text is itself */
void float_repr(double real, char out[32]);

#endif
