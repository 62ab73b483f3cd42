/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/fault.h"
#include "common/base/file.h"
#include "common/base/file_private.h"
#include "common/base/hash.h"
#include "common/base/memory.h"

enum { BUFFER = 1 << 18 };

int file_sync(int descriptor) {
    if (fault_strikes(FAULT_FSYNC)) {
        return -1;
    }
    int result;
    do {
        result = fsync(descriptor);
    } while (result != 0 && errno == EINTR);
    return result;
}

ssize_t file_write_some(int descriptor, const void *data, size_t n) {
    if (fault_strikes(FAULT_WRITE)) {
        return -1;
    }
    ssize_t written;
    do {
        written = write(descriptor, data, n);
    } while (written < 0 && errno == EINTR);
    return written;
}

static bool write_all(FileWriter *writer, const unsigned char *data, size_t n, Error *err) {
    XXH3_128bits_update(writer->hash, data, n);
    while (n > 0) {
        ssize_t written = file_write_some(writer->descriptor, data, n);
        if (written < 0) {
            return error_errno(err, "cannot write", writer->path);
        }
        data += written;
        n -= (size_t)written;
    }
    return true;
}

static bool flush(FileWriter *writer, Error *err) {
    bool ok = write_all(writer, writer->buffer, writer->used, err);
    writer->used = 0;
    return ok;
}

static void release(FileWriter *writer) {
    free(writer->path);
    free(writer->temporary);
    free(writer->buffer);
    XXH3_freeState(writer->hash);
    *writer = (FileWriter){.descriptor = -1};
}

bool file_writer_open(FileWriter *writer, const char *path, Error *err) {
    *writer = (FileWriter){.descriptor = -1};
    struct stat status;
    signal(SIGXFSZ, SIG_IGN); /* a file over the limit is a failed write, not the end of all */
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        return error_set(err, ERROR_CANNOT_CREATE,
                         "cannot write %s: it exists and is not a regular file", path);
    }
    Str temporary = {0};
    str_appendf(&temporary, "%s.tmp-%ld", path, (long)getpid());
    writer->path = mem_strdup(path, err);
    writer->buffer = mem_alloc(BUFFER, 1, err);
    writer->hash = XXH3_createState();
    if (writer->path == NULL || writer->buffer == NULL ||
        (writer->temporary = str_take(&temporary, err)) == NULL) {
        str_done(&temporary);
        release(writer);
        return false;
    }
    if (writer->hash == NULL) {
        release(writer);
        return error_set(err, ERROR_OS, "out of memory: no room for a hash");
    }
    XXH3_128bits_reset(writer->hash);
    writer->descriptor =
        open(writer->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (writer->descriptor < 0) {
        file_cannot_create("cannot create", path, err);
        release(writer);
        return false;
    }
    return true;
}

bool file_writer_put(FileWriter *writer, const void *data, size_t n, Error *err) {
    writer->written += n;
    if (n >= BUFFER) {
        return flush(writer, err) && write_all(writer, data, n, err);
    }
    if (writer->used + n > BUFFER && !flush(writer, err)) {
        return false;
    }
    if (n > 0) {
        memcpy(writer->buffer + writer->used, data, n);
        writer->used += n;
    }
    return true;
}

bool file_writer_commit(FileWriter *writer, char *hash, Error *err) {
    bool ok = flush(writer, err);
    if (ok && file_sync(writer->descriptor) != 0) {
        ok = error_errno(err, "cannot sync", writer->path);
    }
    int descriptor = writer->descriptor;
    writer->descriptor = -1;
    if (close(descriptor) != 0 && ok) {
        ok = error_errno(err, "cannot close", writer->path);
    }
    if (ok && rename(writer->temporary, writer->path) != 0) {
        ok = file_cannot_create("cannot rename a finished file to", writer->path, err);
    }
    if (!ok) {
        unlink(writer->temporary);
        release(writer);
        return false;
    }
    if (hash != NULL) {
        XXH128_hash_t value = XXH3_128bits_digest(writer->hash);
        snprintf(hash, HASH_TEXT, "%016llx%016llx", (unsigned long long)value.high64,
                 (unsigned long long)value.low64);
    }
    ok = file_sync_parent(writer->path, err);
    release(writer);
    return ok;
}

void file_writer_abort(FileWriter *writer) {
    if (writer->temporary != NULL) {
        if (writer->descriptor >= 0) {
            close(writer->descriptor);
        }
        unlink(writer->temporary);
        release(writer);
    }
}

bool file_write(const char *path, const void *data, size_t n, Error *err) {
    FileWriter writer;
    if (!file_writer_open(&writer, path, err)) {
        return false;
    }
    if (!file_writer_put(&writer, data, n, err)) {
        file_writer_abort(&writer);
        return false;
    }
    return file_writer_commit(&writer, NULL, err);
}
