/* SPDX-License-Identifier: MIT */
#include "common/base/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_signal, checkpoint_wanted;
static char stop_message[256];
static size_t stop_message_size;

static void on_stop(int number) {
    if (stop_signal != 0) {
        _exit(128 + number);
    }
    stop_signal = number;
    int saved = errno;
    ssize_t n = write(STDERR_FILENO, stop_message, stop_message_size);
    (void)n; /* a closed stderr must not keep the run from its checkpoint */
    errno = saved;
}

static void on_checkpoint(int number) {
    (void)number;
    checkpoint_wanted = 1;
}

static void handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void signals_install(const char *program) {
    int n = snprintf(stop_message, sizeof stop_message,
                     "\n%.100s: stopping after this step, with a checkpoint; once more to stop "
                     "at once\n",
                     program);
    stop_message_size = n > 0 ? (size_t)n : 0;
    handle(SIGINT, on_stop);
    handle(SIGTERM, on_stop);
    struct sigaction old;
    if (sigaction(SIGHUP, NULL, &old) != 0 || old.sa_handler != SIG_IGN) {
        handle(SIGHUP, on_stop); /* stays ignored under nohup */
    }
    handle(SIGUSR1, on_checkpoint);
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN);
}

int signals_stop(void) {
    return stop_signal;
}

bool signals_take_checkpoint(void) {
    bool wanted = checkpoint_wanted != 0;
    checkpoint_wanted = 0;
    return wanted;
}
