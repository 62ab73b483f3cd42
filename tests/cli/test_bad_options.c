/* SPDX-License-Identifier: MIT
 *
 * Wrong command lines and configurations, and folders that cannot hold a run.
 */
#include "tests/cli/bad_input.h"

#define SFT "rlhf-sft --model &m --data &sft.jsonl --output @out "
#define REWARD "rlhf-reward --model &m --data &rank.jsonl --output @out "
#define PPO                                                                                        \
    "rlhf-ppo --model &m --reward-model &rm --data &prompts.jsonl --output @out "                  \
    "--set generation.max_tokens=8 "

/* clang-format off */
static const BadInput options[] = {
    {"an unknown option", SFT "--learning-rate 1", 64, "unknown option --learning-rate",
     {FOLDER("x")}},
    {"a misspelled option", SFT "--sed 1", 64, "unknown option --sed; did you mean --seed?",
     {FOLDER("x")}},
    {"a misspelled option of PPO", PPO "--reward-modle x", 64, "did you mean --reward-model?",
     {FOLDER("x")}},
    {"an option of another program", SFT "--reward-model x", 64, "unknown option --reward-model",
     {FOLDER("x")}},
    {"an option without its value", SFT "--seed", 64, "--seed needs a value: --seed N",
     {FOLDER("x")}},
    {"an option before another", "rlhf-sft --model --data &sft.jsonl --output @out", 64,
     "--model needs a value",
     {FOLDER("x")}},
    {"an operand", SFT "more.jsonl", 64, "unexpected argument \"more.jsonl\"", {FOLDER("x")}},
    {"a setting without --set", SFT "train.seed=3", 64, "write --set before PATH=VALUE",
     {FOLDER("x")}},
    {"help on everything", SFT "--help=everything", 64, "expected --help", {FOLDER("x")}},
    {"two configurations", SFT "--config a --config b", 64, "--config is given twice",
     {FOLDER("x")}},
    {"no output", "rlhf-sft --model &m --data &sft.jsonl", 64, "no output folder is given",
     {FOLDER("x")}},
    {"no data", "rlhf-sft --model &m --output @out", 78,
     "no training data is given; name a file with --data",
     {FOLDER("x")}},
    {"no model", "rlhf-sft --data &sft.jsonl --output @out", 78,
     "no model is given; name a folder with --model",
     {FOLDER("x")}},
    {"no policy", "rlhf-ppo --data &prompts.jsonl --reward-model &rm --output @out", 78,
     "no policy is given",
     {FOLDER("x")}},
    {"no prompts", "rlhf-ppo --model &m --reward-model &rm --output @out", 78,
     "no prompts are given",
     {FOLDER("x")}},
    {"no reward", "rlhf-ppo --model &m --data &prompts.jsonl --output @out", 78,
     "no reward is given",
     {FOLDER("x")}},
    {"a setting without a value", SFT "--set train.seed", 64, "--set expects PATH=VALUE",
     {FOLDER("x")}},
    {"an unknown key", SFT "--set train.sede=3", 78,
     "--set: unknown key \"train.sede\"; did you mean \"train.seed\"?",
     {FOLDER("x")}},
    {"a key of another program", SFT "--set ppo.clip=0.2", 78, "unknown key \"ppo.clip\"",
     {FOLDER("x")}},
    {"a number that is a word", SFT "--seed one", 78, "--seed: train.seed: expected a whole number",
     {FOLDER("x")}},
    {"a number that is a list", SFT "--set train.batch=[1]", 78,
     "train.batch: expected a whole number from 1 to 1000000 records, found a list",
     {FOLDER("x")}},
    {"half a step", SFT "--set train.steps=1.5", 78, "found the number 1.5", {FOLDER("x")}},
    {"an empty number", SFT "--set train.steps=", 78, "found the string \"\"", {FOLDER("x")}},
    {"no batch", SFT "--set train.batch=0", 78, "found the number 0", {FOLDER("x")}},
    {"a negative batch", SFT "--set train.batch=-4", 78, "found the number -4", {FOLDER("x")}},
    {"a batch of 2^63", SFT "--set train.batch=9223372036854775807", 78,
     "found the number 9223372036854775807",
     {FOLDER("x")}},
    {"a batch of 1e999999", SFT "--set train.batch=1e999999", 78, "found the string \"1e999999\"",
     {FOLDER("x")}},
    {"an infinite rate", SFT "--set train.learning_rate=Infinity", 78,
     "found the string \"Infinity\"",
     {FOLDER("x")}},
    {"a rate of NaN", SFT "--set train.learning_rate=nan", 78,
     "train.learning_rate: expected a number from 0 to 1",
     {FOLDER("x")}},
    {"a rate above one", SFT "--set train.learning_rate=2", 78, "found the number 2",
     {FOLDER("x")}},
    {"an unknown schedule", SFT "--set train.schedule=cosin", 78, "did you mean \"cosine\"?",
     {FOLDER("x")}},
    {"an unknown type", SFT "--set compute.dtype=int4", 78, "compute.dtype: expected one of",
     {FOLDER("x")}},
    {"a flag that is no truth value", SFT "--resume=yes", 78, "resume: expected true or false",
     {FOLDER("x")}},
    {"too many threads", SFT "--threads 1000000", 78,
     "compute.threads: expected a whole number from 0 to 4096 threads",
     {FOLDER("x")}},
    {"settings that are cut off", SFT "--set train={\"seed\":", 78, "character 9 of the value",
     {FOLDER("x")}},
    {"a layout nobody knows", SFT "--set layout.name=chatlm", 78, "chatlm", {FOLDER("x")}},
    {"an end token that is none", SFT "--set layout.eos=<end>", 78, "<end>", {FOLDER("x")}},
    {"a new model whose heads do not divide its width",
     "rlhf-sft --data &sft.jsonl --output @out --set "
     "model.new={\"layers\":1,\"heads\":3,\"width\":16} --set tokenizer.vocabulary=280", 78,
     "a width of 16 is not a multiple of 3 heads",
     {FOLDER("x")}},
    {"a new model larger than memory",
     "rlhf-sft --data &sft.jsonl --output @out --set "
     "model.new={\"layers\":1000,\"heads\":1,\"width\":65536,\"inner\":262144} --set "
     "tokenizer.vocabulary=280", 71, "out of memory",
     {FOLDER("x")}},
    {"a vocabulary smaller than the bytes",
     "rlhf-sft --data &sft.jsonl --output @out --set model.new.layers=1 --set "
     "tokenizer.vocabulary=100", 78, "tokenizer.vocabulary: expected a whole number from 257",
     {FOLDER("x")}},
    {"top-k in PPO", PPO "--set generation.top_k=5", 78,
     "generation.top_k is set, but PPO must sample from the policy itself",
     {FOLDER("x")}},
    {"two rewards", PPO "--set reward.sources=[]", 78, "are both given", {FOLDER("x")}},
    {"a clip range of zero", PPO "--set ppo.clip=0", 78, "ppo.clip: expected a number from",
     {FOLDER("x")}},
    {"a discount above one", PPO "--set ppo.gamma=1.5", 78,
     "ppo.gamma: expected a number from 0 to 1",
     {FOLDER("x")}},
    {"a judge that is not there", PPO "--set ppo.select=judge", 78,
     "ppo.judge names no reward model",
     {FOLDER("x")}},
    {"completions longer than the context", PPO "--set generation.max_tokens=4000", 78,
     "generation.max_tokens is 4000",
     {FOLDER("x")}},
    {"an unknown objective", REWARD "--set reward.objective=rank", 78,
     "reward.objective: expected one of",
     {FOLDER("x")}},
    {"a reference without prompts", REWARD "--set reward.normalize=reference", 78,
     "needs prompts to sample on",
     {FOLDER("x")}},
    {"many problems at once", SFT "--seed x --set train.batch=0 --set nonsense=1", 78,
     "unknown key \"nonsense\"",
     {FOLDER("x")}},
};

static const BadInput configurations[] = {
    {"no such configuration", SFT "--config @none.json", 66, "@none.json", {FOLDER("x")}},
    {"a configuration that is a folder", SFT "--config @x", 65, "@x", {FOLDER("x")}},
    {"a configuration that is a FIFO", SFT "--config @x.json", 65, "@x.json is not a regular file",
     {FIFO("x.json")}},
    {"an empty configuration", SFT "--config @x.json", 78, "@x.json:1:1: the text is empty",
     {WRITE("x.json", "")}},
    {"a configuration that is a list", SFT "--config @x.json", 78,
     "@x.json:1:1: expected an object",
     {WRITE("x.json", "[]")}},
    {"a configuration in YAML", SFT "--config @x.json", 78, "@x.json:1:1: found 't'",
     {WRITE("x.json", "train:\n  seed: 1\n")}},
    {"a key twice", SFT "--config @x.json", 78, "@x.json:2:14: the key \"seed\"",
     {WRITE("x.json", "{\"train\":\n {\"seed\": 1, \"seed\": 2}}")}},
    {"a key twice, dotted", SFT "--config @x.json", 78, "train.seed is given twice",
     {WRITE("x.json", "{\"train\": {\"seed\": 1}, \"train.seed\": 2}")}},
    {"a comment that does not end", SFT "--config @x.json", 78,
     "@x.json:1:3: this comment is not closed",
     {WRITE("x.json", "{ /* comment }")}},
    {"an unknown section", SFT "--config @x.json", 78,
     "@x.json:1:2: unknown key \"trian\"; did you mean \"train\"?",
     {WRITE("x.json", "{\"trian\": {\"seed\": 1}}")}},
    {"an unknown key in a file", SFT "--config @x.json", 78,
     "@x.json:3:3: unknown key \"train.bacth\"; did you mean \"train.batch\"?",
     {WRITE("x.json", "{\n\"train\": {\n  \"bacth\": 1}}")}},
    {"a string where a number is due", SFT "--config @x.json", 78,
     "@x.json:1:29: train.learning_rate: expected a number from 0 to 1, found the string \"1e-4\"",
     {WRITE("x.json", "{\"train\": {\"learning_rate\": \"1e-4\"}}")}},
    {"a section that is a string", SFT "--config @x.json", 78,
     "@x.json:1:11: model: expected an object, found the string \"gpt2\"",
     {WRITE("x.json", "{\"model\": \"gpt2\"}")}},
    {"a list of numbers for files", SFT "--config @x.json", 78,
     "@x.json:1:20: data.train: expected a string or a list of strings",
     {WRITE("x.json", "{\"data\": {\"train\": [1, 2]}}")}},
    {"a thousand unknown keys", SFT "--config @x.json", 78, "more",
     {WRITE("x.json", "{"), REPEAT("x.json", "\"x\":{\"y\":1},\"y\":2,", 1),
      APPEND("x.json",
             "\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\""
             ":1,\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,\"q\":1,\"r\":1}")}},
    {"a configuration of 2 MiB", SFT "--config @x.json", 65, "@x.json",
     {WRITE("x.json", "{"), REPEAT("x.json", "                ", 131072), APPEND("x.json", "}")}},
    {"a configuration of a million values", SFT "--config @x.json", 78, "more than 10000 values",
     {WRITE("x.json", "{\"a\":["), REPEAT("x.json", "1,", 100000), APPEND("x.json", "1]}")}},
    {"a configuration nested too deep", SFT "--config @x.json", 78, "nested deeper than 32",
     {REPEAT("x.json", "{\"a\":", 1000)}},
};

static const BadInput outputs[] = {
    {"an output that holds a run", SFT, 73, "already holds a run; continue it with --resume",
     {FOLDER("out"), WRITE("out/run.json", "{}")}},
    {"an output of PPO that holds a run", PPO, 73, "already holds a run",
     {FOLDER("out"), WRITE("out/run.json", "{}")}},
    {"an output of a reward model that holds a run", REWARD, 73, "already holds a run",
     {FOLDER("out"), WRITE("out/run.json", "{}")}},
    {"an output that is a file", SFT, 73, "@out exists and is not a folder", {WRITE("out", "x")}},
    {"an output that is a FIFO", SFT, 73, "@out exists and is not a folder", {FIFO("out")}},
    {"an output below a file", "rlhf-sft --model &m --data &sft.jsonl --output @x/out", 73,
     "@x/out",
     {WRITE("x", "")}},
    {"an output where nothing can be made",
     "rlhf-sft --model &m --data &sft.jsonl --output /proc/out", 73, "/proc/out",
     {FOLDER("x")}},
    {"an output in a folder that may not be written",
     "rlhf-sft --model &m --data &sft.jsonl --output @x/out", 77, "@x",
     {FOLDER("x"), MODE("x", 0555)}, .unprivileged = true},
    {"resuming with another model", SFT "--resume", 78,
     "model.path is null in @out/run.json, but --model gives",
     {COPY("out", "run-sft")}},
    {"a finished run, by its name alone", "rlhf-sft --resume --output @out", 0, "",
     {COPY("out", "run-sft")}},
    {"resuming something that is no run", SFT "--resume", 65, "@out/run.json:1:3: ",
     {FOLDER("out"), WRITE("out/run.json", "{ not JSON"), FOLDER("out/checkpoints")}},
    {"resuming with a list for a configuration", SFT "--resume", 65,
     "@out/run.json:1:1: expected an object",
     {FOLDER("out"), WRITE("out/run.json", "[]")}},
    {"resuming with another seed", "rlhf-sft --resume --output @out --seed 7", 78,
     "train.seed is 1 in @out/run.json, but --seed gives 7",
     {COPY("out", "run-sft")}},
    {"resuming with a damaged value", "rlhf-sft --resume --output @out", 78, "@out/run.json:",
     {COPY("out", "run-sft"), REPLACE("out/run.json", "\"seed\": 1", "\"seed\": -1")}},
    {"a full disk", SFT, 74, "", {FOLDER("x")}, .file_limit = 4096, .writes = true},
    {"a full disk in PPO", PPO "--set train.steps=2", 74, "",
     {FOLDER("x")}, .file_limit = 8192, .writes = true},
};
/* clang-format on */

#define ALL(table) table, sizeof table / sizeof *table

static void test_options(void **state) {
    (void)state;
    bad_input_run(ALL(options));
}

static void test_configurations(void **state) {
    (void)state;
    bad_input_run(ALL(configurations));
}

static void test_outputs(void **state) {
    (void)state;
    bad_input_run(ALL(outputs));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
