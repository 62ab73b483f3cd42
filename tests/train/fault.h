/* SPDX-License-Identifier: MIT
 *
 * Faults at chosen system calls: this header defines write, fsync and rename of the test program, which
 * libc's callers then get. Call number `at` (from 0, all three counted together) fails with `number`, or
 * ends the process at once when `number` is 0.
 */
#ifndef RLHF_TESTS_TRAIN_FAULT_H
#define RLHF_TESTS_TRAIN_FAULT_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAULT_KILLED = 99 };

static struct {
    bool armed;
    long at, calls;
    int number;
    bool lasting; /* every later call fails too */
} fault;

/* For test_folder: thousands of small files are better kept in memory, where there is such a folder. */
static void fault_prefer_memory(void) {
    if (access("/dev/shm", W_OK | X_OK) == 0) {
        setenv("TMPDIR", "/dev/shm", 0);
    }
}

static bool fault_strikes(void) {
    if (!fault.armed) {
        return false;
    }
    long call = fault.calls++;
    if (call != fault.at && !(fault.lasting && call > fault.at)) {
        return false;
    }
    if (fault.number == 0) {
        _exit(FAULT_KILLED);
    }
    errno = fault.number;
    return true;
}

ssize_t write(int descriptor, const void *data, size_t n) {
    /* What goes to the terminal is not the run's. */
    return descriptor > 2 && fault_strikes() ? -1 : syscall(SYS_write, descriptor, data, n);
}

/* A process that dies loses nothing that it wrote, synced or not; only the order of calls is tested, and
 * thousands of real syncs would take minutes. */
int fsync(int descriptor) {
    (void)descriptor;
    return fault_strikes() ? -1 : 0;
}

int rename(const char *from, const char *to) {
    return fault_strikes() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

#endif
