/* SPDX-License-Identifier: MIT */
#include "ppo/reward_source.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

bool reward_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                  Error *err) {
    if (!source->score(source, item, n, score, err)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(score[i])) {
            return error_set(err, ERROR_DATA,
                             "%s gave the score %g for completion %zu of %zu, expected a finite "
                             "number",
                             source->name, score[i], i + 1, n);
        }
    }
    return true;
}

bool reward_prepare(RewardSource *source, size_t most, Error *err) {
    return source->prepare == NULL || source->prepare(source, most, err);
}

void reward_source_free(RewardSource *source) {
    if (source != NULL) {
        source->free(source);
    }
}

void reward_put_prompt(Str *out, const Message *message, size_t messages) {
    static const char *const role[] = {"system", "user", "assistant", "user"};
    if (messages == 1 && message[0].role == ROLE_PLAIN) {
        json_put_string(out, message[0].text, strlen(message[0].text));
        return;
    }
    str_append_char(out, '[');
    for (size_t i = 0; i < messages; i++) {
        str_appendf(out, "%s{\"role\":\"%s\",\"content\":", i == 0 ? "" : ",",
                    role[message[i].role]);
        json_put_string(out, message[i].text, strlen(message[i].text));
        str_append_char(out, '}');
    }
    str_append_char(out, ']');
}

typedef struct FunctionSource {
    RewardSource source;
    RewardFunction *function;
    void *context;
} FunctionSource;

static bool function_score(RewardSource *source, const RewardItem *item, size_t n, double *score,
                           Error *err) {
    (void)err;
    FunctionSource *self = (FunctionSource *)source;
    for (size_t i = 0; i < n; i++) {
        score[i] = self->function(self->context, &item[i]);
    }
    return true;
}

static void function_free(RewardSource *source) {
    free(source->name);
    free(source);
}

RewardSource *reward_function_source(RewardFunction *function, void *function_context, Error *err) {
    FunctionSource *self = mem_alloc(1, sizeof *self, err);
    if (self == NULL) {
        return NULL;
    }
    self->source = (RewardSource){
        .name = mem_strdup("reward function", err), .score = function_score, .free = function_free};
    self->source.reads_text = true;
    self->function = function;
    self->context = function_context;
    if (self->source.name == NULL) {
        free(self);
        return NULL;
    }
    return &self->source;
}

/* Reading reward.sources. */

static bool known_keys(const cJSON *object, const char *const *keys, size_t index, Error *err) {
    for (const cJSON *item = object->child; item != NULL; item = item->next) {
        size_t k = 0;
        while (keys[k] != NULL && strcmp(keys[k], item->string) != 0) {
            k++;
        }
        if (keys[k] == NULL) {
            Str list = {0};
            for (k = 0; keys[k] != NULL; k++) {
                str_appendf(&list, "%s%s", k == 0 ? "" : ", ", keys[k]);
            }
            error_set(err, ERROR_CONFIG,
                      "reward.sources[%zu] has the unknown key \"%s\"; known are %s", index,
                      item->string, str_text(&list));
            str_done(&list);
            return false;
        }
    }
    return true;
}

static const char *need_string(const cJSON *object, const char *key, size_t index, Error *err) {
    const char *text = json_string(json_member(object, key));
    if (text == NULL) {
        error_set(err, ERROR_CONFIG, "reward.sources[%zu] needs \"%s\" as a string", index, key);
    }
    return text;
}

static bool number_in(const cJSON *object, const char *key, double minimum, double maximum,
                      double *value, size_t index, Error *err) {
    const cJSON *item = json_member(object, key);
    if (item == NULL) {
        return true;
    }
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= minimum && item->valuedouble <= maximum)) {
        char found[80];
        return error_set(err, ERROR_CONFIG,
                         "reward.sources[%zu].%s is %s, expected a number from %g to %g", index,
                         key, json_describe(item, found, sizeof found), minimum, maximum);
    }
    *value = item->valuedouble;
    return true;
}

static RewardSource *parse_classifier(const cJSON *object, const RewardContext *context,
                                      size_t index, Error *err) {
    static const char *const keys[] = {"type", "weight", "path", "label", "output", NULL};
    static const char *const outputs[] = {"logit", "probability", "log_probability"};
    const char *path, *label;
    if (!known_keys(object, keys, index, err) ||
        (path = need_string(object, "path", index, err)) == NULL ||
        (label = need_string(object, "label", index, err)) == NULL) {
        return NULL;
    }
    ClassifierOutput output = CLASSIFIER_LOGIT;
    const cJSON *item = json_member(object, "output");
    if (item != NULL) {
        const char *text = json_string(item);
        int k = 0;
        while (k < 3 && (text == NULL || strcmp(text, outputs[k]) != 0)) {
            k++;
        }
        if (k == 3) {
            char found[80];
            error_set(err, ERROR_CONFIG,
                      "reward.sources[%zu].output is %s, expected \"logit\", \"probability\" or "
                      "\"log_probability\"",
                      index, json_describe(item, found, sizeof found));
            return NULL;
        }
        output = (ClassifierOutput)k;
    }
    return reward_classifier_source(path, label, output, context, err);
}

static RewardSource *parse_program(const cJSON *object, const RewardContext *context, size_t index,
                                   Error *err) {
    static const char *const keys[] = {"type", "weight", "command", "timeout", "batch", NULL};
    if (!known_keys(object, keys, index, err)) {
        return NULL;
    }
    const cJSON *command = json_member(object, "command");
    int words = cJSON_IsArray(command) ? cJSON_GetArraySize(command) : 0;
    bool good = words > 0;
    for (int i = 0; good && i < words; i++) {
        good = json_string(cJSON_GetArrayItem(command, i)) != NULL;
    }
    if (!good) {
        error_set(
            err, ERROR_CONFIG,
            "reward.sources[%zu] needs \"command\" as an array of strings, the program and its "
            "arguments",
            index);
        return NULL;
    }
    double timeout = context->timeout, batch = 64;
    if (!number_in(object, "timeout", 0.01, 86400, &timeout, index, err) ||
        !number_in(object, "batch", 1, 65536, &batch, index, err)) {
        return NULL;
    }
    const char **argv = mem_alloc((size_t)words + 1, sizeof *argv, err);
    if (argv == NULL) {
        return NULL;
    }
    for (int i = 0; i < words; i++) {
        argv[i] = json_string(cJSON_GetArrayItem(command, i));
    }
    RewardSource *source = reward_program_source(argv, (size_t)batch, timeout, err);
    free(argv);
    return source;
}

static RewardSource *parse_source(const cJSON *object, const RewardContext *context, size_t index,
                                  double *weight, Error *err) {
    static const char *const keys[] = {"type", "weight", "path", NULL};
    char found[80];
    if (!cJSON_IsObject(object)) {
        error_set(err, ERROR_CONFIG, "reward.sources[%zu] is %s, expected an object", index,
                  json_describe(object, found, sizeof found));
        return NULL;
    }
    *weight = 1;
    const char *type = need_string(object, "type", index, err);
    if (type == NULL || !number_in(object, "weight", -1e9, 1e9, weight, index, err)) {
        return NULL;
    }
    if (strcmp(type, "model") == 0) {
        const char *path = NULL;
        if (!known_keys(object, keys, index, err) ||
            (path = need_string(object, "path", index, err)) == NULL) {
            return NULL;
        }
        return reward_model_source(path, context, err);
    }
    if (strcmp(type, "classifier") == 0) {
        return parse_classifier(object, context, index, err);
    }
    if (strcmp(type, "program") == 0) {
        return parse_program(object, context, index, err);
    }
    error_set(
        err, ERROR_CONFIG,
        "reward.sources[%zu].type is \"%s\", expected \"model\", \"classifier\" or \"program\"",
        index, type);
    return NULL;
}

RewardSource *reward_sources_parse(const cJSON *sources, const RewardContext *context, Error *err) {
    int count = cJSON_IsArray(sources) ? cJSON_GetArraySize(sources) : 0;
    if (count == 0) {
        char found[80];
        error_set(err, ERROR_CONFIG,
                  "reward.sources is %s, expected an array of one or more objects",
                  cJSON_IsArray(sources) ? "empty" : json_describe(sources, found, sizeof found));
        return NULL;
    }
    RewardSource **source = mem_alloc((size_t)count, sizeof *source, err);
    double *weight = mem_alloc((size_t)count, sizeof *weight, err);
    bool ok = source != NULL && weight != NULL;
    size_t made = 0;
    for (const cJSON *item = sources->child; ok && item != NULL; item = item->next) {
        source[made] = parse_source(item, context, made, &weight[made], err);
        ok = source[made] != NULL;
        made += ok;
    }
    RewardSource *mix = NULL;
    if (ok) {
        mix = reward_mix(source, weight, made, err);
    } else {
        for (size_t i = 0; i < made; i++) {
            reward_source_free(source[i]);
        }
    }
    free(source);
    free(weight);
    return mix;
}
