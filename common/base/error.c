/* SPDX-License-Identifier: MIT */
#include "common/base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/utf8.h"

static void set_file(Error *err, const char *file) {
    err->file[0] = '\0';
    if (file == NULL) {
        return;
    }
    size_t length = strlen(file);
    if (length < ERROR_FILE_SIZE) {
        memcpy(err->file, file, length + 1);
    } else {
        memcpy(err->file, "...", 3);
        memcpy(err->file + 3, file + length - (ERROR_FILE_SIZE - 4), ERROR_FILE_SIZE - 3);
    }
}

static void set_text(Error *err, ErrorCode code, const char *file, long line, long column,
                     const char *format, va_list arguments) {
    if (err == NULL) {
        return;
    }
    err->code = code;
    err->line = line;
    err->column = column;
    set_file(err, file);
    vsnprintf(err->text, sizeof err->text, format, arguments);
}

bool error_set(Error *err, ErrorCode code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_text(err, code, NULL, 0, 0, format, arguments);
    va_end(arguments);
    return false;
}

bool error_at(Error *err, ErrorCode code, const char *file, long line, long column,
              const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    set_text(err, code, file, line, column, format, arguments);
    va_end(arguments);
    return false;
}

bool error_errno(Error *err, const char *what, const char *path) {
    int number = errno;
    ErrorCode code = ERROR_IO;
    if (number == ENOENT || number == ENOTDIR) {
        code = ERROR_NO_INPUT;
    } else if (number == EACCES || number == EPERM || number == EROFS) {
        code = ERROR_PERMISSION;
    } else if (number == ENOMEM || number == EMFILE || number == ENFILE) {
        code = ERROR_OS;
    }
    return error_set(err, code, "%s %s: %s", what, path, strerror(number));
}

bool error_wrap(Error *err, const char *format, ...) {
    if (err == NULL) {
        return false;
    }
    char old[ERROR_TEXT_SIZE];
    memcpy(old, err->text, sizeof old);
    va_list arguments;
    va_start(arguments, format);
    int used = vsnprintf(err->text, sizeof err->text, format, arguments);
    va_end(arguments);
    size_t at = used < 0 ? 0 : (size_t)used < sizeof old ? (size_t)used : sizeof old - 1;
    for (const char *p = ": "; *p != '\0' && at < sizeof old - 1; p++) {
        err->text[at++] = *p;
    }
    size_t n = strlen(old);
    n = n < sizeof old - 1 - at ? n : sizeof old - 1 - at;
    memcpy(err->text + at, old, n);
    err->text[at + n] = '\0';
    return false;
}

/* Untrusted text may hold escape sequences and bytes that are no text: only what is printable
 * reaches the terminal. */
static void print_escaped(const char *text, const char *line_prefix, FILE *to) {
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t code = 0;
        size_t length = utf8_decode(text, left, &code);
        if (*text == '\n' && line_prefix != NULL) {
            fprintf(to, "\n%s: ", line_prefix);
        } else if (length == 0 || code < 0x20 || code == 0x7F) {
            fprintf(to, "\\x%02x", (unsigned char)*text);
        } else if (code >= 0x80 && code < 0xA0) {
            fprintf(to, "\\u%04x", (unsigned)code);
        } else {
            fwrite(text, 1, length, to);
        }
        length = length == 0 ? 1 : length;
        text += length;
        left -= length;
    }
}

void error_print(const Error *err, const char *program, FILE *to) {
    bool gathered = err->code == ERROR_USAGE || err->code == ERROR_CONFIG;
    fprintf(to, "%s: ", program);
    if (err->file[0] != '\0') {
        print_escaped(err->file, NULL, to);
        if (err->line > 0) {
            fprintf(to, ":%ld", err->line);
            if (err->column > 0) {
                fprintf(to, ":%ld", err->column);
            }
        }
        fputs(": ", to);
    }
    print_escaped(err->text, gathered ? program : NULL, to);
    fputc('\n', to);
}

_Noreturn void error_check_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: internal error: %s does not hold; please report this\n", file, line,
            condition);
    abort();
}
