/* SPDX-License-Identifier: MIT
 *
 * What a model folder makes of conversations: its layout or chat template, what of it is refused, and a
 * conversation with its ids and the ones that are trained.
 */
#ifndef RLHF_TOOLS_TEMPLATE_VIEW_H
#define RLHF_TOOLS_TEMPLATE_VIEW_H

#include "common/text/layout.h"

/* command: show, render or check. layout: a name, or NULL for the folder's own. messages: a JSON file
 * with an array of {role, content}, or NULL for an example. Appends what is to be printed. */
bool template_view(const char *command, const char *folder, const char *layout,
                   const char *messages, Str *out, Error *err);

#endif
