/* SPDX-License-Identifier: MIT
 *
 * rlhf-generate, rlhf-score and rlhf-eval on hostile input.
 */
#include "tests/cli/bad_input.h"

#define GENERATE "rlhf-generate --model &m --output @out.jsonl --max-tokens 4 "
#define SCORE "rlhf-score --model &rm --output @out.jsonl "
#define EVAL "rlhf-eval --output @out.json "

/* clang-format off */
static const BadInput generate[] = {
    {"generating without a model", "rlhf-generate --prompt abc", 64, "--model", {FOLDER("x")}},
    {"generating with a model that is not there", "rlhf-generate --model @none --prompt abc", 66,
     "@none",
     {FOLDER("x")}},
    {"generating with a reward model", "rlhf-generate --model &rm --prompt abc", 65, "was expected",
     {FOLDER("x")}},
    {"generating from a file that is not there", GENERATE "--data @none.jsonl", 66, "@none.jsonl",
     {FOLDER("x")}},
    {"generating from an empty file", GENERATE "--data @x.jsonl", 65,
     "@x.jsonl: the file holds no record",
     {WRITE("x.jsonl", "")}},
    {"generating from broken JSON", GENERATE "--data @x.jsonl", 65, "@x.jsonl:2:11: ",
     {WRITE("x.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":}\n")}},
    {"generating from a FIFO", GENERATE "--data @x.jsonl", 65, "@x.jsonl is not a regular file",
     {FIFO("x.jsonl")}},
    {"generating from a file and a prompt", GENERATE "--data &prompts.jsonl --prompt abc", 64,
     "--prompt",
     {FOLDER("x")}},
    {"generating from prompts that are numbers", GENERATE "--data @x.jsonl", 65, "@x.jsonl:1:11: ",
     {WRITE("x.jsonl", "{\"prompt\":3}\n")}},
    {"a prompt that is no UTF-8", GENERATE "--prompt ab\xFF", 65, "UTF-8", {FOLDER("x")}},
    {"no temperature", GENERATE "--prompt abc --temperature 0", 78,
     "generation.temperature: expected a number from 0.001",
     {FOLDER("x")}},
    {"a top-p above one", GENERATE "--prompt abc --top-p 1.1", 78, "generation.top_p",
     {FOLDER("x")}},
    {"no samples", GENERATE "--prompt abc --samples 0", 78, "generation.samples", {FOLDER("x")}},
    {"a prompt longer than the context", GENERATE "--data @x.jsonl", 65,
     "@x.jsonl:1: the prompt has 2001 tokens; the model's context is 64",
     {WRITE("x.jsonl", "{\"prompt\":\""), REPEAT("x.jsonl", "word ", 400),
      APPEND("x.jsonl", "\"}\n")}},
    {"output into a folder that is not there",
     "rlhf-generate --model &m --prompt abc --max-tokens 4 --output @none/out.jsonl", 73,
     "cannot create @none/out.jsonl: No such file",
     {FOLDER("x")}},
    {"output over a folder", "rlhf-generate --model &m --prompt abc --max-tokens 4 --output @x", 73,
     "@x",
     {FOLDER("x")}},
    {"output to a full disk",
     "rlhf-generate --model &m --data &prompts.jsonl --max-tokens 4 --samples 64 --output "
     "@out.jsonl", 74, "@out.jsonl",
     {FOLDER("x")}, .file_limit = 1024},
    {"a damaged model", "rlhf-generate --model @m --prompt abc", 65, "@m/model.safetensors",
     {COPY("m", "m"), CUT("m/model.safetensors", 5000)}},
    {"a damaged tokenizer", "rlhf-generate --model @m --prompt abc", 65, "@m/tokenizer.json:",
     {COPY("m", "m"), CUT("m/tokenizer.json", 500)}},
};

static const BadInput score[] = {
    {"scoring without a model", "rlhf-score --data &sft.jsonl", 64, "--model", {FOLDER("x")}},
    {"a name of the Hub",
     "rlhf-generate --model someone/model --prompt x",
     66, "someone/model: there is no such model folder here; if it is a name on the Hugging Face Hub, "
     "download it first (hf download someone/model --local-dir DIR)",
     {FOLDER("x")}},
    {"exporting a name of the Hub",
     "rlhf-export someone/model --to gguf --output @out",
     66, "hf download someone/model",
     {FOLDER("x")}},
    {"scoring nothing", "rlhf-score --model &rm", 64, "--data", {FOLDER("x")}},
    {"scoring a file that is not there", SCORE "--data @none.jsonl", 66, "@none.jsonl",
     {FOLDER("x")}},
    {"scoring an empty file", SCORE "--data @x.jsonl", 65, "@x.jsonl: the file holds no record",
     {WRITE("x.jsonl", "")}},
    {"scoring prompts", SCORE "--data &prompts.jsonl", 65, "&prompts.jsonl", {FOLDER("x")}},
    {"scoring a completion that is a number", SCORE "--data @x.jsonl", 65, "@x.jsonl:1:28: ",
     {WRITE("x.jsonl", "{\"prompt\":\"a\",\"completion\":1}\n")}},
    {"scoring a text longer than the context", SCORE "--data @x.jsonl", 65, "@x.jsonl:1: ",
     {WRITE("x.jsonl", "{\"prompt\":\"a\",\"completion\":\""), REPEAT("x.jsonl", "word ", 400),
      APPEND("x.jsonl", "\"}\n")}},
    {"scoring with a damaged model", "rlhf-score --model @rm --data &sft.jsonl", 65,
     "@rm/model.safetensors",
     {COPY("rm", "rm"), POKE("rm/model.safetensors", -4, "\0\0\xC0\x7F")}},
    {"scoring with a model of no score", "rlhf-score --model @rm --data &sft.jsonl", 65,
     "'reward_bias' is the string \"much\"",
     {COPY("rm", "rm"),
      REPLACE("rm/config.json", "\"reward_bias\": ", "\"reward_bias\": \"much\", \"other\": ")}},
};

static const BadInput eval[] = {
    {"judging nothing", "rlhf-eval --json", 64, "no file of outputs and no --rankings",
     {FOLDER("x")}},
    {"judging a file that is not there", EVAL "@none.jsonl", 66, "@none.jsonl", {FOLDER("x")}},
    {"judging an empty file", EVAL "@x.jsonl", 65, "@x.jsonl", {WRITE("x.jsonl", "")}},
    {"judging broken JSON", EVAL "@x.jsonl", 65, "@x.jsonl:1:12: ",
     {WRITE("x.jsonl", "{\"prompt\": }\n")}},
    {"judging by facts that are no JSON", EVAL "--facts @f.json &sft.jsonl", 65, "@f.json:1:1: ",
     {WRITE("f.json", "facts")}},
    {"judging by facts that are a list", EVAL "--facts @f.json &sft.jsonl", 65, "@f.json",
     {WRITE("f.json", "[]")}},
    {"judging by a reward model that is not there", EVAL "-r @none &sft.jsonl", 66, "@none",
     {FOLDER("x")}},
    {"judging by a language model", EVAL "-r &m &sft.jsonl", 65, "&m", {FOLDER("x")}},
    {"KL without a reference", EVAL "-p &m &sft.jsonl", 64, "--reference", {FOLDER("x")}},
    {"more policies than files", EVAL "-p &m -p &m --reference &m &sft.jsonl", 64,
     "2 policies for 1 files",
     {FOLDER("x")}},
    {"rankings that are demonstrations", EVAL "-r &rm --rankings &sft.jsonl", 65, "&sft.jsonl",
     {FOLDER("x")}},
    {"judging into a full disk", EVAL "&sft.jsonl", 74, "@out.json",
     {FOLDER("x")}, .file_limit = 16},
};
/* clang-format on */

#define ALL(table) table, sizeof table / sizeof *table

static void test_generate(void **state) {
    (void)state;
    bad_input_run(ALL(generate));
}

static void test_score(void **state) {
    (void)state;
    bad_input_run(ALL(score));
}

static void test_eval(void **state) {
    (void)state;
    bad_input_run(ALL(eval));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_eval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
