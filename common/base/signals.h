/* SPDX-License-Identifier: MIT
 *
 * Signals of a training program. The first SIGINT, SIGTERM or SIGHUP asks for a clean stop: the loop
 * finishes its step, writes a checkpoint and ends with 130 or 143. A second one ends the process at
 * once (the old checkpoint is intact). SIGUSR1 asks for a checkpoint now. SIGPIPE and SIGXFSZ are
 * ignored, so that writes fail with an error instead.
 */
#ifndef RLHF_BASE_SIGNALS_H
#define RLHF_BASE_SIGNALS_H

#include <stdbool.h>

void signals_install(const char *program); /* says at once on stderr that it stops after this step */
int signals_stop(void);            /* 0, or the signal that asked for the end */
bool signals_take_checkpoint(void); /* true once after SIGUSR1 */

#endif
