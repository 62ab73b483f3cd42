/* SPDX-License-Identifier: MIT */
#include "tests/cli/bad_input.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/file.h"

enum { WORDS = 64, OUTPUT_SHOWN = 1500 };

#if defined(__SANITIZE_ADDRESS__)
enum { SECONDS = 200 };
static const long memory_limit = 0; /* shadow memory says nothing about the program */
#else
enum { SECONDS = 30 };
static const long memory_limit = 1L << 20; /* KiB */
#endif

static const char demonstrations[] = "{\"prompt\": \"one two\", \"completion\": \"three four\"}\n"
                                     "{\"prompt\": \"two three\", \"completion\": \"four five\"}\n"
                                     "{\"prompt\": \"three four\", \"completion\": \"five six\"}\n"
                                     "{\"prompt\": \"four five\", \"completion\": \"six seven\"}\n";
static const char rankings[] =
    "{\"prompt\": \"one two\", \"completions\": [\"three\", \"four\"], \"ranks\": [0, 1]}\n"
    "{\"prompt\": \"two three\", \"completions\": [\"four\", \"five\"], \"ranks\": [1, 0]}\n";
static const char prompts[] = "{\"prompt\": \"one two\"}\n{\"prompt\": \"two three\"}\n";

static char good[512]; /* folder of the good inputs, made once */

/* "@x" and "&x" to paths; borrowed marks stay where they are no beginning of a word. */
static void expand(Str *out, const char *text, const char *own) {
    bool begin = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (begin && (*p == '@' || *p == '&')) {
            str_appendf(out, "%s/", *p == '@' ? own : good);
        } else {
            str_append_char(out, *p);
        }
        begin = strchr(" =\"'[,", *p) != NULL;
    }
}

typedef struct Outcome {
    int status;  /* exit code, or 128 + signal */
    long memory; /* peak, KiB */
    Str out, err;
} Outcome;

static void find_program(const char *name, char *path, size_t size) {
    const char *build = getenv("RLHF_TEST_BUILD");
    assert_non_null(build); /* set by tests/meson.build */
    snprintf(path, size, "%s/%s/%s", build, name + 5, name);
    if (access(path, X_OK) != 0) {
        snprintf(path, size, "%s/tools/%s", build, name);
    }
    if (access(path, X_OK) != 0) {
        fail_msg("%s is not built", name);
    }
}

static _Noreturn void become(const char *program, char **argv, int out, int err, long file_limit) {
    const struct rlimit files = {(rlim_t)file_limit, (rlim_t)file_limit};
    int in = open("/dev/null", O_RDONLY);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    for (int i = 3; i < 16; i++) {
        close(i);
    }
    if (file_limit > 0) {
        setrlimit(RLIMIT_FSIZE, &files);
    }
    setenv("ASAN_OPTIONS", "allocator_may_return_null=1", 0); /* as without the sanitizer */
    alarm(SECONDS);
    execv(program, argv);
    _exit(127);
}

static void read_all(int out, int err, Outcome *outcome) {
    struct pollfd poller[2] = {
        {.fd = out, .events = POLLIN},
        {.fd = err, .events = POLLIN}
    };
    int left = 2;
    while (left > 0 && (poll(poller, 2, -1) > 0 || errno == EINTR)) {
        for (int i = 0; i < 2; i++) {
            char buffer[4096];
            if (poller[i].fd < 0 || poller[i].revents == 0) {
                continue;
            }
            ssize_t n = read(poller[i].fd, buffer, sizeof buffer);
            if (n > 0) {
                str_append_bytes(i == 0 ? &outcome->out : &outcome->err, buffer, (size_t)n);
            } else {
                close(poller[i].fd);
                poller[i].fd = -1;
                left--;
            }
        }
    }
}

static bool trains(const char *program) {
    return strcmp(program, "rlhf-sft") == 0 || strcmp(program, "rlhf-reward") == 0 ||
           strcmp(program, "rlhf-ppo") == 0;
}

static void run(const char *command, const char *own, long file_limit, Outcome *outcome) {
    Str words = {0};
    char *argv[WORDS] = {0}, program[1024], quiet[] = "--quiet", threads[] = "-j1";
    int argc = 0, out[2], err[2], status;
    expand(&words, command, own);
    for (char *word = strtok(words.data, " "); word != NULL; word = strtok(NULL, " ")) {
        for (char *p = strchr(word, '%'); p != NULL; p = strchr(p, '%')) {
            *p = ' ';
        }
        assert_true(argc < WORDS - 1);
        argv[argc++] = word;
        if (argc == 1) {
            argv[argc++] = quiet; /* nothing but errors on stderr */
            if (trains(word)) {
                argv[argc++] = threads; /* tiny models gain nothing by a second one */
            }
        }
    }
    find_program(argv[0], program, sizeof program);
    *outcome = (Outcome){0};
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        become(program, argv, out[1], err[1], file_limit);
    }
    close(out[1]);
    close(err[1]);
    read_all(out[0], err[0], outcome);
    struct rusage usage;
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    outcome->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    outcome->memory = usage.ru_maxrss;
    str_done(&words);
}

static void outcome_done(Outcome *outcome) {
    str_done(&outcome->out);
    str_done(&outcome->err);
}

static void must_run(const char *command) {
    Outcome outcome;
    run(command, good, 0, &outcome);
    if (outcome.status != 0) {
        fail_msg("%s: exit code %d\n%s", command, outcome.status, str_text(&outcome.err));
    }
    outcome_done(&outcome);
}

static void copy_path(const char *from, const char *to) {
    char command[2048];
    snprintf(command, sizeof command, "cp -r '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

static void make_good_inputs(void) {
    char from[700], to[700];
    snprintf(good, sizeof good, "%s", test_folder());
    test_file(good, "sft.jsonl", demonstrations, sizeof demonstrations - 1);
    test_file(good, "rank.jsonl", rankings, sizeof rankings - 1);
    test_file(good, "prompts.jsonl", prompts, sizeof prompts - 1);
    must_run("rlhf-sft --data &sft.jsonl --output &run-sft --set train.steps=1 --set "
             "model.new={\"layers\":1,\"heads\":2,\"width\":16,\"context\":64} --set "
             "tokenizer.vocabulary=280");
    snprintf(from, sizeof from, "%s/run-sft/model", good);
    snprintf(to, sizeof to, "%s/m", good);
    copy_path(from, to);
    must_run("rlhf-reward --model &m --data &rank.jsonl --output &run-rm --set "
             "train.steps=1");
    snprintf(from, sizeof from, "%s/run-rm/model", good);
    snprintf(to, sizeof to, "%s/rm", good);
    copy_path(from, to);
}

/* Names, sizes, modes and times of all below a folder, sorted. */
static void take_snapshot(const char *folder, Str *out) {
    char **names;
    size_t count;
    Error err = {0};
    struct stat status;
    assert_ok(file_list(folder, &names, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        char *path = file_join(folder, names[i], &err);
        assert_non_null(path);
        assert_int_equal(lstat(path, &status), 0);
        str_appendf(out, "%s %lld %o %lld.%ld\n", path, (long long)status.st_size, status.st_mode,
                    (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
        if (S_ISDIR(status.st_mode) && access(path, R_OK | X_OK) == 0) {
            take_snapshot(path, out);
        }
        free(path);
        free(names[i]);
    }
    free(names);
}

static void rewrite(const char *path, const Str *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(str_text(text), 1, text->size, file), text->size);
    assert_int_equal(fclose(file), 0);
}

/* Steps that change what is in a file, or make one. */
static void change(const Step *step, const char *path, const char *own, Str *text) {
    uint64_t header = step->size;
    size_t at;
    switch (step->kind) {
    case STEP_WRITE:
        str_clear(text);
        str_append_bytes(text, step->text, step->size);
        break;
    case STEP_APPEND:
        str_append_bytes(text, step->text, step->size);
        break;
    case STEP_REPEAT:
        for (long i = 0; i < step->number; i++) {
            str_append_bytes(text, step->text, step->size);
        }
        break;
    case STEP_CUT:
        at = step->number >= 0 ? (size_t)step->number : text->size - (size_t)-step->number;
        assert_true(at <= text->size);
        text->size = at;
        break;
    case STEP_REPLACE: {
        const char *found = memmem(str_text(text), text->size, step->text, step->size);
        if (found == NULL) {
            fail_msg("%s holds no %s", path, step->text);
        }
        Str changed = {0};
        at = (size_t)(found - text->data);
        str_append_bytes(&changed, text->data, at);
        expand(&changed, step->other, own);
        str_append_bytes(&changed, found + step->size, text->size - at - step->size);
        str_done(text);
        *text = changed;
        break;
    }
    case STEP_TENSORS:
        str_clear(text);
        str_append_bytes(text, &header, sizeof header);
        str_append_bytes(text, step->text, step->size);
        for (long i = 0; i < step->number; i++) {
            str_append_char(text, '\0');
        }
        break;
    case STEP_POKE:
        at = step->number >= 0 ? (size_t)step->number : text->size - (size_t)-step->number;
        assert_true(at + step->size <= text->size);
        memcpy(text->data + at, step->text, step->size);
        break;
    default:
        fail_msg("step %d changes no file", (int)step->kind);
    }
    rewrite(path, text);
}

/* False: this machine does not let us. */
static bool take_step(const Step *step, const char *own) {
    char path[800], from[800];
    Str text = {0};
    Error err = {0};
    snprintf(path, sizeof path, "%s/%s", own, step->name);
    switch (step->kind) {
    case STEP_COPY:
        snprintf(from, sizeof from, "%s/%s", good, step->text);
        copy_path(from, path);
        break;
    case STEP_REMOVE:
        assert_ok(file_remove_tree(path, &err), &err);
        break;
    case STEP_FOLDER:
        assert_int_equal(mkdir(path, 0777), 0);
        break;
    case STEP_FIFO:
        assert_int_equal(mkfifo(path, 0666), 0);
        break;
    case STEP_LINK:
        assert_int_equal(symlink(step->text, path), 0);
        break;
    case STEP_MODE:
        assert_int_equal(chmod(path, (mode_t)step->number), 0);
        break;
    case STEP_DISK:
        snprintf(from, sizeof from, "size=%ld", step->number);
        assert_int_equal(mkdir(path, 0777), 0);
        return mount("none", path, "tmpfs", 0, from) == 0;
    case STEP_SPARSE:
        rewrite(path, &text);
        assert_int_equal(truncate(path, step->number), 0);
        break;
    default:
        if (file_exists(path)) {
            assert_ok(file_read(path, (size_t)1 << 30, &text, &err), &err);
        }
        change(step, path, own, &text);
    }
    str_done(&text);
    return true;
}

static void unmount(const BadInput *row, const char *own) {
    char path[800];
    for (size_t i = 0; i < sizeof row->step / sizeof *row->step; i++) {
        if (row->step[i].kind == STEP_DISK) {
            snprintf(path, sizeof path, "%s/%s", own, row->step[i].name);
            umount2(path, MNT_DETACH);
        }
    }
}

/* "warning: ..." of the program, or the sanitizer's on an allocation that it refuses. */
static bool is_warning(const char *line, size_t n) {
    return str_starts_with(line, "warning: ") ||
           memmem(line, n, "WARNING: AddressSanitizer failed to allocate", 44) != NULL;
}

/* Lines "program: ..."; warnings do not count; SIZE_MAX: there are others. */
static size_t count_lines(const Str *text, const char *program) {
    char prefix[64];
    size_t lines = 0;
    int length = snprintf(prefix, sizeof prefix, "%.*s: ", (int)strcspn(program, " "), program);
    for (const char *line = str_text(text); *line != '\0';) {
        size_t n = strcspn(line, "\n");
        bool warning = is_warning(line, n);
        if (line[n] != '\n' || (!warning && strncmp(line, prefix, (size_t)length) != 0)) {
            return SIZE_MAX;
        }
        lines += !warning;
        line += n + 1;
    }
    return lines;
}

/* What is wrong about the outcome, or nothing. */
static void judge(const BadInput *row, const char *own, const Outcome *outcome, const char *before,
                  const char *after, Str *complaint) {
    Str part = {0};
    bool gathers = row->code == ERROR_CONFIG || row->code == ERROR_USAGE;
    size_t lines = count_lines(&outcome->err, row->command);
    expand(&part, row->part, own);
    if (outcome->status != row->code) {
        str_appendf(complaint, "; exit code %d, expected %d", outcome->status, row->code);
    }
    if (strstr(str_text(&outcome->err), str_text(&part)) == NULL) {
        str_appendf(complaint, "; stderr without \"%s\"", str_text(&part));
    }
    if (row->code != 0 && (lines == 0 || lines == SIZE_MAX || (lines > 1 && !gathers))) {
        str_append(complaint, "; stderr is not one line of the program's");
    }
    if (row->code != 0 && outcome->out.size > 0) {
        str_append(complaint, "; stdout is not empty");
    }
    if (!row->writes && strcmp(before, after) != 0) {
        str_append(complaint, "; the folder is not as it was");
    }
    if (strstr(after, ".tmp-") != NULL) {
        str_append(complaint, "; a temporary file stays");
    }
    if (memory_limit > 0 && outcome->memory > memory_limit) {
        str_appendf(complaint, "; %ld MiB of memory", outcome->memory >> 10);
    }
    str_done(&part);
}

typedef enum Verdict { VERDICT_RIGHT, VERDICT_WRONG, VERDICT_SKIPPED } Verdict;

static Verdict run_row(const BadInput *row) {
    const char *own = test_folder();
    Str before = {0}, after = {0}, complaint = {0};
    Outcome outcome = {0};
    bool possible = !row->unprivileged || geteuid() != 0;
    for (size_t i = 0; possible && i < sizeof row->step / sizeof *row->step; i++) {
        possible = row->step[i].kind == STEP_NONE || take_step(&row->step[i], own);
    }
    if (possible) {
        take_snapshot(own, &before);
        run(row->command, own, row->file_limit, &outcome);
        take_snapshot(own, &after);
        judge(row, own, &outcome, str_text(&before), str_text(&after), &complaint);
    } else {
        print_message("skipped here: %s\n", row->name);
    }
    unmount(row, own);
    bool wrong = complaint.size > 0;
    if (wrong) {
        print_error("%s%s\n    %s\n    stderr: %.*s\n    stdout: %.*s\n", row->name,
                    str_text(&complaint), row->command, OUTPUT_SHOWN, str_text(&outcome.err),
                    OUTPUT_SHOWN, str_text(&outcome.out));
    }
    str_done(&before);
    str_done(&after);
    str_done(&complaint);
    outcome_done(&outcome);
    return !possible ? VERDICT_SKIPPED : wrong ? VERDICT_WRONG : VERDICT_RIGHT;
}

void bad_input_run(const BadInput *row, size_t rows) {
    size_t count[3] = {0};
    if (good[0] == '\0') {
        make_good_inputs();
    }
    for (size_t i = 0; i < rows; i++) {
        count[run_row(&row[i])]++;
    }
    print_message("%zu rows right, %zu skipped\n", count[VERDICT_RIGHT], count[VERDICT_SKIPPED]);
    if (count[VERDICT_WRONG] > 0) {
        fail_msg("%zu of %zu rows are wrong", count[VERDICT_WRONG], rows);
    }
}
