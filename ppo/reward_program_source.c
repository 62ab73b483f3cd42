/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "ppo/reward_source.h"

enum { LINE_MOST = 1 << 16 }; /* bytes of one answer */

typedef struct ProgramSource {
    RewardSource source;
    char **argv; /* owned, NULL-terminated */
    size_t batch;
    double timeout;
    pid_t child;  /* 0: not running */
    int to, from; /* its stdin and stdout; -1: closed */
    Str request, answer;
} ProgramSource;

extern char **environ;

/* Ends the program: closing its stdin asks it to, a signal makes it. *status as of waitpid;
 * false if it had to be killed. */
static bool end_child(ProgramSource *self, double patience, int *status) {
    if (self->to >= 0) {
        close(self->to);
    }
    if (self->from >= 0) {
        close(self->from);
    }
    self->to = self->from = -1;
    if (self->child == 0) {
        return true;
    }
    double until = clock_seconds() + patience;
    pid_t got;
    while ((got = waitpid(self->child, status, WNOHANG)) == 0 && clock_seconds() < until) {
        poll(NULL, 0, 5);
    }
    bool by_itself = got == self->child;
    if (!by_itself) {
        kill(-self->child, SIGKILL); /* its group: what a shell has started ends with it */
        while (waitpid(self->child, status, 0) < 0 && errno == EINTR) {
        }
    }
    self->child = 0;
    return by_itself;
}

static void program_free(RewardSource *source) {
    ProgramSource *self = (ProgramSource *)source;
    int status;
    end_child(self, 1, &status);
    for (size_t i = 0; self->argv != NULL && self->argv[i] != NULL; i++) {
        free(self->argv[i]);
    }
    free(self->argv);
    str_done(&self->request);
    str_done(&self->answer);
    free(self->source.name);
    free(self);
}

static bool nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0;
}

static bool start(ProgramSource *self, Error *err) {
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0) {
        return error_errno(err, "cannot make a pipe to", self->argv[0]);
    }
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]);
        close(in[1]);
        return error_errno(err, "cannot make a pipe from", self->argv[0]);
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    /* A group of its own: Ctrl-C at the terminal must not end it before the run is saved. */
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    int failure =
        posix_spawnp(&self->child, self->argv[0], &actions, &attributes, self->argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(in[0]);
    close(out[1]);
    self->to = in[1];
    self->from = out[0];
    if (failure != 0) {
        self->child = 0;
        return error_set(err, ERROR_UNAVAILABLE, "the reward program %s can not be started: %s",
                         self->argv[0], strerror(failure));
    }
    if (!nonblocking(self->to) || !nonblocking(self->from)) {
        return error_errno(err, "cannot talk to", self->argv[0]);
    }
    return true;
}

static void put_request(ProgramSource *self, const RewardItem *item) {
    str_append(&self->request, "{\"prompt\":");
    reward_put_prompt(&self->request, item->message, item->messages);
    str_append(&self->request, ",\"completion\":");
    json_put_string(&self->request, item->text, strlen(item->text));
    str_appendf(&self->request, ",\"finished\":%s}\n", item->finished ? "true" : "false");
}

static bool died(ProgramSource *self, size_t answered, size_t n, Error *err) {
    int status = 0;
    const char *name = self->argv[0];
    if (!end_child(self, 1, &status)) {
        return error_set(
            err, ERROR_UNAVAILABLE,
            "the reward program %s closed its output after %zu of %zu answers; it must "
            "answer one line for each line it gets",
            name, answered, n);
    }
    if (WIFSIGNALED(status)) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "the reward program %s was ended by signal %d after %zu of %zu answers",
                         name, WTERMSIG(status), answered, n);
    }
    return error_set(err, ERROR_UNAVAILABLE,
                     "the reward program %s ended with status %d after %zu of %zu answers; it must "
                     "go on until its input ends",
                     name, WEXITSTATUS(status), answered, n);
}

/* One line of the program: {"score": x} or a bare number. */
static bool read_score(ProgramSource *self, const char *line, size_t n, double *score, Error *err) {
    JsonLimits limits = json_limits_line;
    limits.bytes = LINE_MOST;
    Error cause = {0};
    cJSON *tree = json_parse(line, n, NULL, 0, &limits, &cause);
    const cJSON *number = cJSON_IsObject(tree) ? json_member(tree, "score") : tree;
    bool ok = cJSON_IsNumber(number);
    if (ok) {
        *score = number->valuedouble;
    } else {
        error_set(
            err, ERROR_UNAVAILABLE,
            "the reward program %s answered \"%.*s\"%s, expected {\"score\": number} or a bare "
            "number on a line",
            self->argv[0], (int)(n < 80 ? n : 80), line, n > 80 ? " ..." : "");
    }
    cJSON_Delete(tree);
    return ok;
}

/* Takes the complete lines out of the answer; *answered counts the scores. */
static bool take_lines(ProgramSource *self, size_t n, size_t *answered, double *score, Error *err) {
    size_t at = 0;
    for (;;) {
        const char *begin = self->answer.data + at;
        const char *end =
            self->answer.size == at ? NULL : memchr(begin, '\n', self->answer.size - at);
        if (end == NULL) {
            break;
        }
        if (*answered == n) {
            return error_set(err, ERROR_UNAVAILABLE,
                             "the reward program %s answered more than the %zu lines it was asked "
                             "for; it must answer one line for each line it gets",
                             self->argv[0], n);
        }
        if (!read_score(self, begin, (size_t)(end - begin), &score[*answered], err)) {
            return false;
        }
        *answered += 1;
        at = (size_t)(end - self->answer.data) + 1;
    }
    size_t left = self->answer.size - at;
    if (left > LINE_MOST) {
        return error_set(
            err, ERROR_UNAVAILABLE,
            "the reward program %s wrote %zu bytes without ending the line, expected a "
            "number on each line",
            self->argv[0], left);
    }
    if (at > 0) {
        memmove(self->answer.data, self->answer.data + at, left);
        self->answer.size = left;
    }
    return true;
}

/* Reads what there is. *open = false at the end of the program's output. */
static bool read_some(ProgramSource *self, bool *open, Error *err) {
    char buffer[8192];
    ssize_t got = read(self->from, buffer, sizeof buffer);
    if (got > 0) {
        str_append_bytes(&self->answer, buffer, (size_t)got);
        return str_ok(&self->answer, err);
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        *open = false;
    }
    return true;
}

/* Sends the request and awaits n answers, both at once, so that neither side can block the
 * other. */
static bool exchange(ProgramSource *self, size_t n, double *score, Error *err) {
    double until = clock_seconds() + self->timeout;
    size_t sent = 0, answered = 0;
    bool open = true;
    while (answered < n) {
        if (!open) {
            return died(self, answered, n, err);
        }
        double left = until - clock_seconds();
        if (left <= 0) {
            return error_set(err, ERROR_UNAVAILABLE,
                             "the reward program %s gave %zu of %zu answers in %g seconds; make it "
                             "faster, or raise its \"timeout\" or lower its \"batch\"",
                             self->argv[0], answered, n, self->timeout);
        }
        bool sending = sent < self->request.size;
        struct pollfd poller[2] = {
            {.fd = self->from,              .events = POLLIN },
            {.fd = sending ? self->to : -1, .events = POLLOUT}
        };
        if (poll(poller, 2, left > 1 ? 1000 : (int)(left * 1000) + 1) < 0 && errno != EINTR) {
            return error_errno(err, "cannot wait for", self->argv[0]);
        }
        if (sending && poller[1].revents != 0) {
            ssize_t put = write(self->to, self->request.data + sent, self->request.size - sent);
            if (put > 0) {
                sent += (size_t)put;
            } else if (errno != EAGAIN && errno != EINTR) {
                return died(self, answered, n, err);
            }
        }
        if (poller[0].revents != 0 &&
            (!read_some(self, &open, err) || !take_lines(self, n, &answered, score, err))) {
            return false;
        }
    }
    if (sent < self->request.size) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "the reward program %s answered before it had read what it was asked",
                         self->argv[0]);
    }
    return true;
}

/* An answer nobody asked for would shift all later scores by one. */
static bool check_silence(ProgramSource *self, Error *err) {
    struct pollfd poller = {.fd = self->from, .events = POLLIN};
    bool open = true;
    if (poll(&poller, 1, 0) > 0 && !read_some(self, &open, err)) {
        return false;
    }
    if (self->answer.size > 0) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "the reward program %s wrote \"%.*s\" without being asked; it must answer "
                         "one line for each line it gets",
                         self->argv[0], (int)(self->answer.size < 80 ? self->answer.size : 80),
                         self->answer.data);
    }
    return true;
}

static bool program_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                          Error *err) {
    ProgramSource *self = (ProgramSource *)source;
    if (self->child == 0 && !start(self, err)) {
        return false;
    }
    for (size_t done = 0; done < n;) {
        size_t part = n - done < self->batch ? n - done : self->batch;
        str_clear(&self->request);
        for (size_t i = 0; i < part; i++) {
            if (item[done + i].text == NULL || item[done + i].message == NULL) {
                return error_set(err, ERROR_INTERNAL, "%s reads text, but there is none",
                                 source->name);
            }
            put_request(self, &item[done + i]);
        }
        if (!str_ok(&self->request, err) || !check_silence(self, err) ||
            !exchange(self, part, score + done, err)) {
            return false;
        }
        done += part;
    }
    return check_silence(self, err);
}

RewardSource *reward_program_source(const char *const *argv, size_t batch, double timeout,
                                    Error *err) {
    ProgramSource *self = mem_alloc(1, sizeof *self, err);
    if (self == NULL) {
        return NULL;
    }
    Str name = {0};
    str_appendf(&name, "the reward program %s", argv[0]);
    self->source =
        (RewardSource){.name = str_take(&name, err), .score = program_score, .free = program_free};
    self->source.reads_text = true;
    self->batch = batch;
    self->timeout = timeout;
    self->to = self->from = -1;
    size_t words = 0;
    while (argv[words] != NULL) {
        words++;
    }
    self->argv = mem_alloc(words + 1, sizeof(char *), err);
    bool ok = self->source.name != NULL && self->argv != NULL;
    for (size_t i = 0; ok && i < words; i++) {
        self->argv[i] = mem_strdup(argv[i], err);
        ok = self->argv[i] != NULL;
    }
    if (!ok) {
        program_free(&self->source);
        return NULL;
    }
    return &self->source;
}
