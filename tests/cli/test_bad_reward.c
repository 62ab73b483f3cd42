/* SPDX-License-Identifier: MIT
 *
 * Rewards that fail: programs that die, hang or talk nonsense, and models that do not fit.
 */
#include "tests/cli/bad_input.h"

#define PPO                                                                                        \
    "rlhf-ppo --model &m --data &prompts.jsonl --output @out --set generation.max_tokens=8 "       \
    "--set train.steps=1 --set train.batch=2 --set ppo.critic=policy --set reward.sources="
#define PROGRAM PPO "[{\"type\":\"program\",\"command\":[\"@r.sh\"],\"timeout\":2}]"
#define SCRIPT(text) WRITE("r.sh", "#!/bin/sh\n" text), MODE("r.sh", 0755)

/* clang-format off */
static const BadInput programs[] = {
    {"a program that is not there", PPO "[{\"type\":\"program\",\"command\":[\"@none\"]}]", 69,
     "@none",
     {FOLDER("x")}, .writes = true},
    {"a program that may not be run", PROGRAM, 69, "@r.sh",
     {WRITE("r.sh", "#!/bin/sh\n"), MODE("r.sh", 0644)}, .writes = true},
    {"a program that is a folder", PPO "[{\"type\":\"program\",\"command\":[\"@x\"]}]", 69, "@x",
     {FOLDER("x")}, .writes = true},
    {"a program that dies at once", PROGRAM, 69, "@r.sh ended with status 3 after 0 of 2 answers",
     {SCRIPT("exit 3\n")}, .writes = true},
    {"a program that dies after a line", PROGRAM, 69,
     "@r.sh ended with status 0 after 1 of 2 answers",
     {SCRIPT("read line; echo 1; exit 0\n")}, .writes = true},
    {"a program that kills itself", PROGRAM, 69, "@r.sh was ended by signal 9 after 0 of 2 answers",
     {SCRIPT("read line; kill -9 $$\n")}, .writes = true},
    {"a program that hangs", PROGRAM, 69, "gave 0 of 2 answers in 2 seconds",
     {SCRIPT("exec sleep 1000\n")}, .writes = true},
    {"a program that reads and says nothing", PROGRAM, 69, "gave 0 of 2 answers in 2 seconds",
     {SCRIPT("while read line; do :; done; exec sleep 1000\n")}, .writes = true},
    {"a program that answers half", PROGRAM, 69, "gave 1 of 2 answers in 2 seconds",
     {SCRIPT("read line; echo 1; exec sleep 1000\n")}, .writes = true},
    {"a program that answers too much", PROGRAM " --set train.steps=4", 69,
     "it must answer one line for each line it gets",
     {SCRIPT("while read line; do printf '1\\n2\\n'; done\n")}, .writes = true},
    {"a program that talks before it is asked", PROGRAM, 69, "\"hello", /* as an answer, or too early */
     {SCRIPT("echo hello; while read line; do echo 1; done\n")}, .writes = true},
    {"a program that answers words", PROGRAM, 69, "@r.sh answered \"good\", expected",
     {SCRIPT("while read line; do echo good; done\n")}, .writes = true},
    {"a program that answers NaN", PROGRAM, 69, "@r.sh answered \"NaN\", expected",
     {SCRIPT("while read line; do echo NaN; done\n")}, .writes = true},
    {"a program that answers 1e999999", PROGRAM, 69, "@r.sh answered \"1e999999\", expected",
     {SCRIPT("while read line; do echo 1e999999; done\n")}, .writes = true},
    {"a program that answers null", PROGRAM, 69, "@r.sh answered \"{\"score\": null}\", expected",
     {SCRIPT("while read line; do echo '{\"score\": null}'; done\n")}, .writes = true},
    {"a program that answers another key", PROGRAM, 69,
     "@r.sh answered \"{\"reward\": 1}\", expected",
     {SCRIPT("while read line; do echo '{\"reward\": 1}'; done\n")}, .writes = true},
    {"a program that answers a line without end", PROGRAM, 69, "bytes without ending the line",
     {SCRIPT("exec yes | tr -d '\\n'\n")}, .writes = true},
    {"a program that answers bytes", PROGRAM, 69, "the reward program @r.sh",
     {SCRIPT("exec cat /dev/urandom\n")}, .writes = true},
    {"a program that answers an empty line", PROGRAM, 69, "@r.sh answered \"\", expected",
     {SCRIPT("while read line; do echo; done\n")}, .writes = true},
};

static const BadInput sources[] = {
    {"sources that are no list", PPO "{}", 78, "reward.sources", {FOLDER("x")}},
    {"no source", PPO "[]", 78, "reward.sources", {FOLDER("x")}},
    {"a source of no type", PPO "[{\"path\":\"&rm\"}]", 78, "type", {FOLDER("x")}},
    {"a source of an unknown type", PPO "[{\"type\":\"oracle\"}]", 78, "oracle", {FOLDER("x")}},
    {"a source with an unknown key", PPO "[{\"type\":\"model\",\"path\":\"&rm\",\"wieght\":1}]", 78,
     "wieght",
     {FOLDER("x")}},
    {"a model without a path", PPO "[{\"type\":\"model\"}]", 78, "path", {FOLDER("x")}},
    {"a weight in words", PPO "[{\"type\":\"model\",\"path\":\"&rm\",\"weight\":\"1\"}]", 78,
     "weight",
     {FOLDER("x")}},
    {"a program without a command", PPO "[{\"type\":\"program\"}]", 78, "command", {FOLDER("x")}},
    {"a command that is a string", PPO "[{\"type\":\"program\",\"command\":\"x%y\"}]", 78,
     "command",
     {FOLDER("x")}},
    {"a command of no words", PPO "[{\"type\":\"program\",\"command\":[]}]", 78, "command",
     {FOLDER("x")}},
    {"no time", PPO "[{\"type\":\"program\",\"command\":[\"x\"],\"timeout\":0}]", 78, "timeout",
     {FOLDER("x")}},
    {"a batch of nothing", PPO "[{\"type\":\"program\",\"command\":[\"x\"],\"batch\":0}]", 78,
     "batch",
     {FOLDER("x")}},
    {"a reward model that is not there", PPO "[{\"type\":\"model\",\"path\":\"@none\"}]", 66,
     "@none",
     {FOLDER("x")}},
    {"a reward model that is a language model", PPO "[{\"type\":\"model\",\"path\":\"&m\"}]", 65,
     "&m",
     {FOLDER("x")}},
    {"a classifier without a label", PPO "[{\"type\":\"classifier\",\"path\":\"&rm\"}]", 78,
     "label",
     {FOLDER("x")}},
    {"a label that the classifier has not",
     PPO "[{\"type\":\"classifier\",\"path\":\"&rm\",\"label\":\"happy\"}]", 78, "happy",
     {FOLDER("x")}},
    {"an unknown output of a classifier",
     PPO "[{\"type\":\"classifier\",\"path\":\"&rm\",\"label\":\"0\",\"output\":\"odds\"}]", 78,
     "odds",
     {FOLDER("x")}},
    {"a damaged reward model", PPO "[{\"type\":\"model\",\"path\":\"@rm\"}]", 65,
     "@rm/model.safetensors",
     {COPY("rm", "rm"), CUT("rm/model.safetensors", 3000)}},
};
/* clang-format on */

#define ALL(table) table, sizeof table / sizeof *table

static void test_programs(void **state) {
    (void)state;
    bad_input_run(ALL(programs));
}

static void test_sources(void **state) {
    (void)state;
    bad_input_run(ALL(sources));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_programs),
        cmocka_unit_test(test_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
