/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ppo/ppo.h"

static bool failed(const Ppo *ppo, Error *err) {
    return error_errno(err, "cannot write rollouts to", ppo->config->ppo.dump);
}

bool ppo_dump_open(Ppo *ppo, Error *err) {
    const char *path = ppo->config->ppo.dump;
    if (path != NULL) {
        ppo->dump = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    }
    return path == NULL || ppo->dump >= 0 || failed(ppo, err);
}

bool ppo_dump_rewind(Ppo *ppo, uint64_t size, Error *err) {
    struct stat status;
    ppo->dump_size = 0;
    if (ppo->dump < 0) {
        return true;
    }
    if (fstat(ppo->dump, &status) != 0) {
        return failed(ppo, err);
    }
    ppo->dump_size = (uint64_t)status.st_size < size ? (uint64_t)status.st_size : size;
    return !S_ISREG(status.st_mode) || ftruncate(ppo->dump, (off_t)ppo->dump_size) == 0 ||
           failed(ppo, err);
}

static void put_ids(Str *out, const char *key, const int32_t *id, size_t n) {
    str_appendf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        str_appendf(out, i == 0 ? "%d" : ",%d", (int)id[i]);
    }
    str_append_char(out, ']');
}

static void put_floats(Str *out, const char *key, const float *x, size_t n) {
    str_appendf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        if (i > 0) {
            str_append_char(out, ',');
        }
        json_put_float(out, x[i]);
    }
    str_append_char(out, ']');
}

static void put_completion(const Ppo *ppo, int64_t iteration, size_t s, Str *out) {
    const Rollout *rollout = &ppo->rollout;
    const RolloutPrompt *prompt = rollout->prompt[s / rollout->per_group];
    size_t from = rollout->start[s], n = rollout->start[s + 1] - from;
    str_appendf(out, "{\"step\":%lld,\"sample\":%zu,\"finished\":%s", (long long)iteration + 1, s,
                rollout->finished[s] ? "true" : "false");
    str_append(out, ",\"raw_score\":");
    json_put_double(out, rollout->raw_score[s]);
    str_append(out, ",\"score\":");
    json_put_double(out, rollout->score[s]);
    str_append(out, ",\"beta\":");
    json_put_double(out, ppo->beta);
    put_ids(out, "prompt", prompt->id, prompt->count);
    put_ids(out, "completion", rollout->action + from, n);
    put_floats(out, "sampler_logprob", rollout->sampled + from, n);
    put_floats(out, "old_logprob", rollout->old + from, n);
    put_floats(out, "reference_logprob", rollout->reference + from, n);
    put_floats(out, "value", rollout->value + from, n);
    put_floats(out, "reward", rollout->reward + from, n);
    put_floats(out, "advantage", rollout->advantage + from, n);
    put_floats(out, "return", rollout->returns + from, n);
    if (rollout->text[s] != NULL) {
        str_append(out, ",\"text\":");
        json_put_string(out, rollout->text[s], strlen(rollout->text[s]));
    }
    str_append(out, "}\n");
}

bool ppo_dump(Ppo *ppo, int64_t iteration, Error *err) {
    if (ppo->dump < 0) {
        return true;
    }
    if (iteration == 0 && !ppo_dump_rewind(ppo, 0, err)) {
        return false;
    }
    Str out = {0};
    for (size_t s = 0; s < ppo->rollout.samples; s++) {
        put_completion(ppo, iteration, s, &out);
    }
    bool ok = str_ok(&out, err);
    for (size_t done = 0; ok && done < out.size;) {
        ssize_t n = write(ppo->dump, out.data + done, out.size - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            ok = failed(ppo, err);
        }
    }
    ppo->dump_size += ok ? out.size : 0;
    str_done(&out);
    return ok;
}
