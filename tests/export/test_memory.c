/* SPDX-License-Identifier: MIT
 *
 * Memory of an export: what the process has at its peak beside what it had before, with weights of 88 MB
 * whose largest tensor has 4 MB. The same files as from a model in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/export/export.h"
#include "tests/export/models.h"
#include "tests/support/support.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static const size_t largest = 512 * 2048 * sizeof(float), slack = 12 << 20;

static const TestModel row = {"deep",
                              "\"architectures\":[\"GPT2LMHeadModel\"],\"model_type\":\"gpt2\","
                              "\"n_embd\":512,\"n_layer\":7,\"n_head\":4,\"n_positions\":96,"
                              "\"vocab_size\":403",
                              "gpt2.json", NULL, "<|endoftext|>"};
static const char *folder;
static Tokenizer *tokenizer;

/* A line of /proc/self/status in bytes; 0: it is not there. */
static size_t status(const char *name) {
    char line[256];
    size_t bytes = 0, n = strlen(name);
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, n) == 0) {
            bytes = strtoul(line + n, NULL, 10) << 10;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

/* Sets the peak to what the process has now. */
static bool peak_reset(void) {
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file == NULL) {
        return false;
    }
    bool ok = fputs("5", file) >= 0;
    return fclose(file) == 0 && ok;
}

static bool export_to(const ModelReader *reader, int form, const char *path, Error *err) {
    static const GgmlType ggml[] = {GGML_F32, GGML_F16, GGML_Q8_0};
    static const TensorType type[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16};
    Str notes = {0};
    const ExportSource source = {model_reader_model(reader), tokenizer, NULL, "deep", reader};
    bool ok = form < 3 ? export_gguf(&source, ggml[form], path, &notes, err)
                       : file_make_folders(path, err) &&
                             model_reader_save(reader, path, type[form - 3], 10 << 20, err);
    str_done(&notes);
    return ok;
}

static void test_peak(void **state) {
    (void)state;
    bool measured = peak_reset();
#ifdef SANITIZED
    measured = false;
#endif
    if (!measured || getenv("RLHF_TEST_VALGRIND") != NULL) {
        print_message("not measured: the process has memory of a tool's, or no peak to reset\n");
        skip();
    }
    for (int form = 0; form < 6; form++) {
        Error err = {0};
        const char *path = test_path(test_folder(), "out");
        peak_reset();
        size_t before = status("VmRSS:");
        ModelReader *reader = model_reader_open(folder, &err);
        assert_ok(reader != NULL && export_to(reader, form, path, &err), &err);
        model_reader_close(reader);
        size_t peak = status("VmHWM:");
        assert_true(before > 0 && peak > 0);
        if (peak > before + largest + slack) {
            fail_msg("form %d: %zu bytes more at the peak, the largest tensor has %zu", form,
                     peak - before, largest);
        }
    }
}

/* Hashes of a file, or of all files of a folder. */
static void put_hashes(const char *path, Str *out) {
    Error err = {0};
    char **name = NULL;
    size_t names = 0;
    bool folder_there = file_is_folder(path);
    if (folder_there) {
        assert_ok(file_list(path, &name, &names, &err), &err);
    }
    for (size_t i = 0; i < (folder_there ? names : 1); i++) {
        char hash[HASH_TEXT];
        Str text = {0};
        const char *file = folder_there ? test_path(path, name[i]) : path;
        assert_ok(file_read(file, 1 << 28, &text, &err), &err);
        hash_hex(text.data, text.size, hash);
        str_appendf(out, "%s %s\n", folder_there ? name[i] : "", hash);
        str_done(&text);
    }
    for (size_t i = 0; i < names; i++) {
        free(name[i]);
    }
    free(name);
}

static void test_same_files(void **state) {
    (void)state;
    Error err = {0};
    Model model;
    assert_ok(model_load(&model, folder, -1, 0, NULL, &err), &err);
    ModelReader *reader[] = {model_reader_open(folder, &err), model_reader_of(&model, &err)};
    assert_ok(reader[0] != NULL && reader[1] != NULL, &err);
    assert_int_equal(model_reader_buffer(reader[0]), 512 * 2048);
    assert_int_equal(model_reader_buffer(reader[1]), 0);
    for (int form = 0; form < 6; form++) {
        Str hashes[2] = {{0}, {0}};
        for (int from = 0; from < 2; from++) {
            const char *path = test_path(test_folder(), "out");
            assert_ok(export_to(reader[from], form, path, &err), &err);
            put_hashes(path, &hashes[from]);
        }
        assert_string_equal(str_text(&hashes[0]), str_text(&hashes[1]));
        str_done(&hashes[0]);
        str_done(&hashes[1]);
    }
    model_reader_close(reader[0]);
    model_reader_close(reader[1]);
    model_done(&model);
}

int main(void) {
    Model model;
    test_model_open(&row, &model, &tokenizer, &folder);
    model_done(&model);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peak),
        cmocka_unit_test(test_same_files),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tokenizer_free(tokenizer);
    return failed;
}
