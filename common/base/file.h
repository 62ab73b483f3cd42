/* SPDX-License-Identifier: MIT
 *
 * Files: whole reads with a limit, writes that are complete or absent, mappings, folders, and a
 * reader of lines that looks through gzip. EINTR and short transfers are retried here and nowhere
 * else.
 */
#ifndef RLHF_BASE_FILE_H
#define RLHF_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"
#include "common/base/str.h"

/* Appends the file's bytes to *out; gzip (by its magic bytes) is unpacked. More than `limit` bytes
 * (after unpacking), or an unpacked size over 1000 times the packed one, is ERROR_DATA. A folder,
 * FIFO or device is ERROR_DATA ("not a regular file"). */
bool file_read(const char *path, size_t limit, Str *out, Error *err);

/* Writes beside the target, fsyncs, renames over it and fsyncs the folder: after a crash there is the
 * old file or the new one. */
bool file_write(const char *path, const void *data, size_t n, Error *err);

/* A file being written the same way, in pieces. */
typedef struct FileWriter {
    int descriptor;
    char *path, *temporary; /* owned */
    unsigned char *buffer;  /* owned */
    size_t used;
    uint64_t written;
    void *hash; /* XXH3 state */
} FileWriter;

bool file_writer_open(FileWriter *writer, const char *path, Error *err);
bool file_writer_put(FileWriter *writer, const void *data, size_t n, Error *err);
/* fsync, close, rename. hash (may be NULL): hexadecimal XXH3-128 of the bytes, HASH_TEXT long. */
bool file_writer_commit(FileWriter *writer, char *hash, Error *err);
void file_writer_abort(FileWriter *writer); /* removes the temporary file; safe after commit */

bool file_exists(const char *path);
bool file_is_folder(const char *path);
bool file_size(const char *path, uint64_t *size, Error *err);
bool file_make_folders(const char *path, Error *err); /* mkdir -p */
bool file_sync_folder(const char *path, Error *err);
bool file_remove_tree(const char *path, Error *err); /* rm -r, never follows a link; absent is fine */
bool file_rename(const char *from, const char *to, Error *err); /* and fsyncs the folder of `to` */
bool file_truncate(const char *path, uint64_t size, Error *err);
bool file_free_space(const char *folder, uint64_t *bytes, Error *err);

/* Names in a folder without "." and "..", sorted bytewise; release each and the array with free. */
bool file_list(const char *folder, char ***names, size_t *count, Error *err);

/* "a/b" with one separator; release with free. */
char *file_join(const char *folder, const char *name, Error *err);

/* A read-only mapping of a whole regular file. size 0 maps nothing. */
typedef struct FileMap {
    const unsigned char *data;
    size_t size;
} FileMap;
bool file_map(FileMap *map, const char *path, Error *err);
void file_unmap(FileMap *map);
/* Bytes [from, from + n) have been used: they take no memory until they are read again. */
void file_map_release(const FileMap *map, size_t from, size_t n);
enum { FILE_PIECE = 1 << 20 }; /* bytes to use between two releases of a mapping read in order */

/* Lines of a plain or gzip file, unpacked under the rules of file_read. A line ends in LF or CR LF,
 * which are cut off; the last one may lack it. A byte-order mark at the beginning is skipped. */
typedef struct LineReader {
    char *path;   /* owned */
    void *source; /* the open file and what unpacks it; owned */
    Str line;     /* the current line */
    long number;  /* its number, from 1 */
    size_t limit; /* bytes a line may have; longer is ERROR_DATA */
} LineReader;
bool line_reader_open(LineReader *reader, const char *path, size_t limit, Error *err);
/* *got = false at the end of the file. */
bool line_reader_next(LineReader *reader, bool *got, Error *err);
void line_reader_close(LineReader *reader);

#endif
