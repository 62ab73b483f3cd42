/* SPDX-License-Identifier: MIT */
#include "common/base/fault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_KILLED = 99 };

static struct {
    FaultKind kind;
    long at; /* 0: never */
    int number;
    bool kill;
} wanted;

static atomic_long calls;

static _Noreturn void refuse(const char *text) {
    fprintf(stderr, "RLHF_FAULT=%s: malloc:N, write:N:ERROR or fsync:N:ERROR is expected\n", text);
    _exit(EXIT_KILLED);
}

static void parse(void) {
    static const char *const kinds[] = {
        [FAULT_MALLOC] = "malloc", [FAULT_WRITE] = "write", [FAULT_FSYNC] = "fsync"};
    static const struct {
        const char *name;
        int number;
    } errors[] = {
        {"",       EIO   },
        {"EIO",    EIO   },
        {"ENOSPC", ENOSPC},
        {"EFBIG",  EFBIG },
        {"EDQUOT", EDQUOT},
        {"kill",   0     }
    };
    const char *text = getenv("RLHF_FAULT");
    char kind[16] = "", error[16] = "";
    if (text == NULL) {
        return;
    }
    if (sscanf(text, "%15[a-z]:%ld:%15[A-Za-z]", kind, &wanted.at, error) < 2 || wanted.at < 1) {
        refuse(text);
    }
    size_t k = 0, e = 0;
    while (k < sizeof kinds / sizeof *kinds && strcmp(kinds[k], kind) != 0) {
        k++;
    }
    while (e < sizeof errors / sizeof *errors && strcmp(errors[e].name, error) != 0) {
        e++;
    }
    if (k == sizeof kinds / sizeof *kinds || e == sizeof errors / sizeof *errors) {
        refuse(text);
    }
    wanted.kind = (FaultKind)k;
    wanted.number = wanted.kind == FAULT_MALLOC ? ENOMEM : errors[e].number;
    wanted.kill = strcmp(error, "kill") == 0;
}

bool fault_strikes(FaultKind kind) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, parse);
    if (wanted.at == 0 || kind != wanted.kind || atomic_fetch_add(&calls, 1) + 1 != wanted.at) {
        return false;
    }
    if (wanted.kill) {
        _exit(EXIT_KILLED);
    }
    errno = wanted.number;
    return true;
}
