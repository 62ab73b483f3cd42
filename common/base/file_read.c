/* SPDX-License-Identifier: MIT
 *
 * Reading through gzip (RFC 1952): several members in a row are one file; a truncated member, a wrong
 * check sum and bytes after the last member are errors.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/file.h"
#include "common/base/file_private.h"
#include "common/base/memory.h"

enum { CHUNK = 1 << 16, LARGEST_RATIO = 1000 };

typedef struct Source {
    int descriptor;
    bool packed;    /* gzip */
    bool in_member; /* between a member's header and its end */
    bool end;       /* no more packed bytes */
    uint64_t size;  /* of the file */
    uint64_t unpacked;
    z_stream stream;
    size_t used, filled; /* of out */
    unsigned char in[CHUNK], out[CHUNK];
} Source;

static void source_close(Source *source) {
    if (source != NULL) {
        if (source->packed) {
            inflateEnd(&source->stream);
        }
        close(source->descriptor);
        free(source);
    }
}

static bool read_packed(Source *source, const char *path, Error *err) {
    size_t filled = 0;
    while (filled < CHUNK) {
        ssize_t n = read(source->descriptor, source->in + filled, CHUNK - filled);
        if (n < 0 && errno != EINTR) {
            return error_errno(err, "cannot read", path);
        }
        if (n == 0) {
            source->end = true;
            break;
        }
        filled += n > 0 ? (size_t)n : 0;
    }
    source->stream.next_in = source->in;
    source->stream.avail_in = (uInt)filled;
    return true;
}

static Source *source_open(const char *path, Error *err) {
    Source *source = mem_alloc(1, sizeof *source, err);
    if (source == NULL) {
        return NULL;
    }
    source->descriptor = file_open_regular(path, &source->size, err);
    if (source->descriptor < 0) {
        free(source);
        return NULL;
    }
    if (!read_packed(source, path, err)) {
        source_close(source);
        return NULL;
    }
    if (source->stream.avail_in >= 2 && source->in[0] == 0x1F && source->in[1] == 0x8B) {
        if (inflateInit2(&source->stream, 15 + 16) != Z_OK) {
            error_set(err, ERROR_OS, "out of memory: no room to unpack %s", path);
            source_close(source);
            return NULL;
        }
        source->packed = source->in_member = true;
    }
    return source;
}

static bool damaged(const char *path, const char *how, Error *err) {
    return error_at(err, ERROR_DATA, path, 0, 0,
                    "the gzip data is damaged (%s); copy the file again", how);
}

/* Fills out with the next unpacked bytes; filled = 0 at the end. */
static bool source_fill(Source *source, const char *path, Error *err) {
    z_stream *stream = &source->stream;
    source->used = source->filled = 0;
    while (source->filled == 0) {
        if (stream->avail_in == 0 && !source->end && !read_packed(source, path, err)) {
            return false;
        }
        if (!source->packed) {
            memcpy(source->out, source->in, stream->avail_in);
            source->filled = stream->avail_in;
            stream->avail_in = 0;
            return true;
        }
        if (stream->avail_in == 0) {
            return !source->in_member || damaged(path, "it ends too early", err);
        }
        if (!source->in_member) {
            inflateReset(stream);
            source->in_member = true;
        }
        stream->next_out = source->out;
        stream->avail_out = CHUNK;
        int result = inflate(stream, Z_NO_FLUSH);
        source->filled = CHUNK - stream->avail_out;
        source->unpacked += source->filled;
        if (result == Z_MEM_ERROR) {
            return error_set(err, ERROR_OS, "out of memory: no room to unpack %s", path);
        }
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
            return damaged(path, stream->msg == NULL ? "not a gzip stream" : stream->msg, err);
        }
        source->in_member = result != Z_STREAM_END;
        if (source->unpacked / LARGEST_RATIO > source->size) {
            return error_at(err, ERROR_DATA, path, 0, 0,
                            "unpacks to more than %d times its size; unpack it by hand if that "
                            "is right",
                            LARGEST_RATIO);
        }
    }
    return true;
}

bool file_read(const char *path, size_t limit, Str *out, Error *err) {
    Source *source = source_open(path, err);
    if (source == NULL) {
        return false;
    }
    bool ok = true;
    size_t total = 0;
    if (!source->packed && source->size > limit) {
        total = (size_t)source->size;
    }
    while (ok && total <= limit) {
        ok = source_fill(source, path, err);
        if (!ok || source->filled == 0) {
            break;
        }
        total += source->filled;
        if (total <= limit) {
            str_append_bytes(out, source->out, source->filled);
            ok = str_ok(out, err);
        }
    }
    if (ok && total > limit) {
        ok = error_at(err, ERROR_DATA, path, 0, 0, "is larger than the limit of %zu bytes", limit);
    }
    source_close(source);
    return ok;
}

bool line_reader_open(LineReader *reader, const char *path, size_t limit, Error *err) {
    *reader = (LineReader){.limit = limit};
    reader->path = mem_strdup(path, err);
    reader->source = reader->path == NULL ? NULL : source_open(path, err);
    if (reader->source == NULL) {
        line_reader_close(reader);
        return false;
    }
    return true;
}

void line_reader_close(LineReader *reader) {
    free(reader->path);
    source_close(reader->source);
    str_done(&reader->line);
    *reader = (LineReader){0};
}

static bool append(LineReader *reader, const unsigned char *data, size_t n, Error *err) {
    if (n > reader->limit + 1 - reader->line.size) { /* one more for a CR */
        return error_at(err, ERROR_DATA, reader->path, reader->number, 0,
                        "the line is longer than the limit of %zu bytes", reader->limit);
    }
    str_append_bytes(&reader->line, data, n);
    return str_ok(&reader->line, err);
}

static bool cut_ends(LineReader *reader, bool terminated, Error *err) {
    static const char mark[] = "\xEF\xBB\xBF";
    Str *line = &reader->line;
    if (terminated && line->size > 0 && line->data[line->size - 1] == '\r') {
        line->data[--line->size] = '\0';
    }
    if (reader->number == 1 && line->size >= 3 && memcmp(line->data, mark, 3) == 0) {
        line->size -= 3;
        memmove(line->data, line->data + 3, line->size + 1);
    }
    return line->size <= reader->limit ||
           error_at(err, ERROR_DATA, reader->path, reader->number, 0,
                    "the line is longer than the limit of %zu bytes", reader->limit);
}

bool line_reader_next(LineReader *reader, bool *got, Error *err) {
    Source *source = reader->source;
    str_clear(&reader->line);
    *got = false;
    for (;;) {
        if (source->used == source->filled) {
            if (!source_fill(source, reader->path, err)) {
                return false;
            }
            if (source->filled == 0) {
                return !*got || cut_ends(reader, false, err);
            }
        }
        if (!*got) {
            *got = true;
            reader->number++;
        }
        const unsigned char *from = source->out + source->used;
        size_t left = source->filled - source->used;
        const unsigned char *end = memchr(from, '\n', left);
        size_t n = end == NULL ? left : (size_t)(end - from);
        if (!append(reader, from, n, err)) {
            return false;
        }
        source->used += end == NULL ? n : n + 1;
        if (end != NULL) {
            return cut_ends(reader, true, err);
        }
    }
}
