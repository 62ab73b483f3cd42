/* SPDX-License-Identifier: MIT
 *
 * Operators as Python has them. Whole numbers have 64 bits; what does not fit is refused.
 */
#include <math.h>

#include "common/jinja/ast.h"
#include "common/jinja/strings.h"

static bool overflow(Machine *machine) {
    return machine_fault(machine, "a whole number grows beyond 64 bits, which is not supported");
}

static bool no_operator(Machine *machine, const char *operation, Value a, Value b) {
    if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED) {
        Value value = a.kind == VALUE_UNDEFINED ? a : b;
        return machine_fault(machine, "%s%s%s is undefined", value.name == NULL ? "" : "\"",
                             value.name == NULL ? "a value" : value.name,
                             value.name == NULL ? "" : "\"");
    }
    return machine_fault(machine, "a %s %s a %s is not defined", value_type(a), operation,
                         value_type(b));
}

static bool power(Machine *machine, int64_t base, int64_t exponent, Value *out) {
    if (exponent < 0) {
        *out = value_float(pow((double)base, (double)exponent));
        return base != 0 || machine_fault(machine, "0 cannot be raised to a negative power");
    }
    int64_t result = 1;
    while (exponent > 0) {
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
            return overflow(machine);
        }
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
            return overflow(machine);
        }
    }
    *out = value_int(result);
    return true;
}

/* Quotient towards minus infinity and the rest of its sign. */
static bool divide_floor(Machine *machine, Operator operation, int64_t a, int64_t b, Value *out) {
    if (b == 0) {
        return machine_fault(machine, "division by zero");
    }
    if (b == -1) { /* INT64_MIN / -1 does not fit */
        int64_t negative = 0;
        if (operation == OPERATOR_FLOOR && __builtin_sub_overflow(0, a, &negative)) {
            return overflow(machine);
        }
        *out = value_int(operation == OPERATOR_FLOOR ? negative : 0);
        return true;
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
        quotient--;
        rest += b;
    }
    *out = value_int(operation == OPERATOR_FLOOR ? quotient : rest);
    return true;
}

static bool integers(Machine *machine, Operator operation, int64_t a, int64_t b, Value *out) {
    int64_t result = 0;
    bool over = false;
    switch (operation) {
    case OPERATOR_ADD:
        over = __builtin_add_overflow(a, b, &result);
        break;
    case OPERATOR_SUBTRACT:
        over = __builtin_sub_overflow(a, b, &result);
        break;
    case OPERATOR_MULTIPLY:
        over = __builtin_mul_overflow(a, b, &result);
        break;
    case OPERATOR_DIVIDE:
        if (b == 0) {
            return machine_fault(machine, "division by zero");
        }
        if (a > (1ll << 53) || a < -(1ll << 53) || b > (1ll << 53) || b < -(1ll << 53)) {
            return machine_fault(machine, "dividing whole numbers beyond 2^53 is not supported");
        }
        *out = value_float((double)a / (double)b);
        return true;
    case OPERATOR_POWER:
        return power(machine, a, b, out);
    default:
        return divide_floor(machine, operation, a, b, out);
    }
    *out = value_int(result);
    return !over || overflow(machine);
}

/* Python's float modulo: the sign of the divisor; the floor of the quotient agrees with it. */
static void real_modulo(double a, double b, double *floor_out, double *rest_out) {
    double rest = fmod(a, b), quotient = (a - rest) / b;
    if (rest != 0) {
        if ((rest < 0) != (b < 0)) {
            rest += b;
            quotient -= 1;
        }
    } else {
        rest = copysign(0.0, b);
    }
    double floored = copysign(0.0, a / b);
    if (quotient != 0) {
        floored = floor(quotient);
        floored += quotient - floored > 0.5 ? 1 : 0;
    }
    *floor_out = floored;
    *rest_out = rest;
}

static bool reals(Machine *machine, Operator operation, double a, double b, Value *out) {
    double quotient = 0, rest = 0, result = 0;
    switch (operation) {
    case OPERATOR_ADD:
        result = a + b;
        break;
    case OPERATOR_SUBTRACT:
        result = a - b;
        break;
    case OPERATOR_MULTIPLY:
        result = a * b;
        break;
    case OPERATOR_POWER:
        if ((a < 0 && b != floor(b)) || (a == 0 && b < 0)) {
            return machine_fault(machine, "the power is no real number");
        }
        result = pow(a, b);
        if (isinf(result) && !isinf(a) && !isinf(b)) {
            return machine_fault(machine, "the power is too large");
        }
        break;
    default:
        if (b == 0) {
            return machine_fault(machine, "division by zero");
        }
        real_modulo(a, b, &quotient, &rest);
        result = operation == OPERATOR_DIVIDE  ? a / b
                 : operation == OPERATOR_FLOOR ? quotient
                                               : rest;
    }
    *out = value_float(result);
    return true;
}

static bool numbers(Machine *machine, Operator operation, Value a, Value b, Value *out) {
    int64_t i = 0, j = 0;
    if (value_integer(a, &i) && value_integer(b, &j)) {
        return integers(machine, operation, i, j, out);
    }
    return reals(machine, operation, value_real(a), value_real(b), out);
}

static bool add_texts(Machine *machine, const Text *a, const Text *b, Value *out) {
    Builder builder = {.machine = machine, .safe = a->safe || b->safe};
    a = text_beside(machine, a, builder.safe);
    b = text_beside(machine, b, builder.safe);
    if (a == NULL || b == NULL || !builder_text(&builder, a) || !builder_text(&builder, b)) {
        return false;
    }
    const Text *text = builder_finish(&builder);
    *out = value_text(text);
    return text != NULL;
}

static bool add_lists(Machine *machine, Value a, Value b, Value *out) {
    size_t n = a.list->count + b.list->count;
    List *list = list_make(machine, n);
    if (list == NULL || !machine_spend(machine, n / 16)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        list->item[i] = i < a.list->count ? a.list->item[i] : b.list->item[i - a.list->count];
    }
    *out = value_list(a.kind, list);
    return true;
}

static bool repeat(Machine *machine, Value value, int64_t times, Value *out) {
    if (value.kind == VALUE_TEXT) {
        const Text *text = text_repeat(machine, value.text, times);
        *out = value_text(text);
        return text != NULL;
    }
    size_t count = value.list->count;
    if (times > 0 && count > 0 && (size_t)times > JINJA_STEPS_MAX / count) {
        return machine_fault(machine, "the list grows beyond %d items", JINJA_STEPS_MAX);
    }
    size_t n = times > 0 ? count * (size_t)times : 0;
    List *list = machine_spend(machine, n / 16) ? list_make(machine, n) : NULL;
    for (size_t i = 0; list != NULL && i < n; i++) {
        list->item[i] = value.list->item[i % count];
    }
    *out = value_list(value.kind, list);
    return list != NULL;
}

static bool repeatable(Value value) {
    return value.kind == VALUE_TEXT || value.kind == VALUE_LIST || value.kind == VALUE_TUPLE;
}

bool arithmetic(Machine *machine, Operator operation, Value a, Value b, Value *out) {
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "**"};
    int64_t times = 0;
    if (value_is_number(a) && value_is_number(b)) {
        return numbers(machine, operation, a, b, out);
    }
    if (operation == OPERATOR_ADD && a.kind == b.kind) {
        if (a.kind == VALUE_TEXT) {
            return add_texts(machine, a.text, b.text, out);
        }
        if (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE) {
            return add_lists(machine, a, b, out);
        }
    }
    if (operation == OPERATOR_MULTIPLY && repeatable(a) && value_integer(b, &times)) {
        return repeat(machine, a, times, out);
    }
    if (operation == OPERATOR_MULTIPLY && repeatable(b) && value_integer(a, &times)) {
        return repeat(machine, b, times, out);
    }
    if (operation == OPERATOR_MODULO && a.kind == VALUE_TEXT) {
        bool tuple = b.kind == VALUE_TUPLE;
        const Text *text =
            text_percent(machine, a.text, tuple ? b.list->item : &b, tuple ? b.list->count : 1);
        *out = value_text(text);
        return text != NULL;
    }
    return no_operator(machine, names[operation], a, b);
}

bool compare(Machine *machine, Operator operation, Value a, Value b, bool *out) {
    bool negate = operation == OPERATOR_UNEQUAL || operation == OPERATOR_NOT_IN, less = false;
    switch (operation) {
    case OPERATOR_EQUAL:
    case OPERATOR_UNEQUAL:
        if (!value_equal(machine, a, b, out)) {
            return false;
        }
        break;
    case OPERATOR_IN:
    case OPERATOR_NOT_IN:
        if (!value_contains(machine, b, a, out)) {
            return false;
        }
        break;
    default:
        if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED) {
            return no_operator(machine, "<", a, b);
        }
        bool swap = operation == OPERATOR_GREATER || operation == OPERATOR_GREATER_EQUAL;
        if (!value_less(machine, swap ? b : a, swap ? a : b, &less)) {
            return false;
        }
        *out = less;
        if (!less && (operation == OPERATOR_LESS_EQUAL || operation == OPERATOR_GREATER_EQUAL)) {
            return value_equal(machine, a, b, out);
        }
    }
    *out = *out != negate;
    return true;
}
