/* SPDX-License-Identifier: MIT
 *
 * Filters that walk over items (filters_list.c), for the table in filters.c.
 */
#ifndef RLHF_JINJA_FILTERS_H
#define RLHF_JINJA_FILTERS_H

#include "common/jinja/ast.h"

typedef bool Filter(Machine *machine, Value self, const Arguments *arguments, Value *out);

Filter filter_first, filter_last, filter_list, filter_items, filter_join, filter_reverse,
    filter_sort, filter_dictsort, filter_unique, filter_min, filter_max, filter_sum, filter_map,
    filter_select, filter_reject, filter_selectattr, filter_rejectattr;

/* Arguments of these kinds, with what they are when absent. */
bool argument_bool(const Arguments *arguments, int position, const char *name, bool absent);
/* A fault if it is there and no text; *out = NULL if it is absent or none. */
bool argument_text(Machine *machine, const Arguments *arguments, int position, const char *name,
                   const Text **out);
bool argument_int(Machine *machine, const Arguments *arguments, int position, const char *name,
                  int64_t absent, int64_t *out);

#endif
