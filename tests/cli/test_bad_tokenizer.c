/* SPDX-License-Identifier: MIT
 *
 * Hostile tokenizers, layouts and texts.
 */
#include "tests/cli/bad_input.h"

#define ENCODE "rlhf-tokenizer encode --model @m abc"
#define DECODE "rlhf-tokenizer decode --model &m "
#define TRAIN "rlhf-tokenizer train --output @out --data "
#define FILE_ "m/tokenizer.json"
#define CONFIG "m/tokenizer_config.json"

/* clang-format off */
static const BadInput tokenizers[] = {
    {"an empty tokenizer", ENCODE, 65, "@m/tokenizer.json:1:1: the text is empty",
     {COPY("m", "m"), WRITE(FILE_, "")}},
    {"a tokenizer that is cut off", ENCODE, 65, "@m/tokenizer.json:",
     {COPY("m", "m"), CUT(FILE_, 2000)}},
    {"a tokenizer that lacks its last brace", ENCODE, 65, "the text ends where",
     {COPY("m", "m"), CUT(FILE_, -3)}},
    {"a tokenizer that is a list", ENCODE, 65, "@m/tokenizer.json:1:1: expected an object",
     {COPY("m", "m"), WRITE(FILE_, "[]")}},
    {"an empty object", ENCODE, 65, "@m/tokenizer.json", {COPY("m", "m"), WRITE(FILE_, "{}")}},
    {"a tokenizer nested too deep", ENCODE, 65, "nested deeper",
     {COPY("m", "m"), WRITE(FILE_, ""), REPEAT(FILE_, "[", 100000)}},
    {"a tokenizer of another version", ENCODE, 65, "@m/tokenizer.json:2:14: version",
     {COPY("m", "m"), REPLACE(FILE_, "\"1.0\"", "\"2.0\"")}},
    {"another kind of model", ENCODE, 65, "Unigram",
     {COPY("m", "m"), REPLACE(FILE_, "\"BPE\"", "\"Unigram\"")}},
    {"WordPiece", ENCODE, 65, "WordPiece",
     {COPY("m", "m"), REPLACE(FILE_, "\"BPE\"", "\"WordPiece\"")}},
    {"a normalizer", ENCODE, 65, "@m/tokenizer.json:",
     {COPY("m", "m"),
      REPLACE(FILE_, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Lowercase\"}")}},
    {"another pre-tokenizer", ENCODE, 65, "Metaspace",
     {COPY("m", "m"),
      REPLACE(FILE_, "\"pre_tokenizer\": {\n    \"type\": \"ByteLevel\"",
              "\"pre_tokenizer\": {\n    \"type\": \"Metaspace\"")}},
    {"dropout", ENCODE, 65, "dropout",
     {COPY("m", "m"), REPLACE(FILE_, "\"dropout\": null", "\"dropout\": 0.1")}},
    {"a vocabulary that is a list", ENCODE, 65, "vocab",
     {COPY("m", "m"), REPLACE(FILE_, "\"vocab\": {", "\"vocab\": [], \"other\": {")}},
    {"merges that are a string", ENCODE, 65, "merges",
     {COPY("m", "m"), REPLACE(FILE_, "\"merges\": [", "\"merges\": \"a b\", \"other\": [")}},
    {"an id twice", ENCODE, 65, "id 65 is given to both",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": 65")}},
    {"a token twice", ENCODE, 65, "@m/tokenizer.json:111:7: the key \"a\"",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"a\": 66")}},
    {"a negative id", ENCODE, 65, "-66",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": -66")}},
    {"half an id", ENCODE, 65, "66.5",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": 66.5")}},
    {"an id in words", ENCODE, 65, "the string \"66\"",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": \"66\"")}},
    {"an id of 2^31", ENCODE, 65, "2147483648",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": 2147483648")}},
    {"an id of two billions", ENCODE, 65, "2000000000",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": 2000000000")}},
    {"an id of 1e999999", ENCODE, 65, "is too large",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"b\": 1e999999")}},
    {"a byte that is missing", ENCODE, 65,
     "@m/tokenizer.json: the vocabulary has no token for byte 0x62",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66,", "")}},
    {"an empty token", ENCODE, 65, "is empty",
     {COPY("m", "m"), REPLACE(FILE_, "\"b\": 66", "\"\": 66")}},
    {"a merge of an unknown token", ENCODE, 65, "is not in the vocabulary",
     {COPY("m", "m"), REPLACE(FILE_, "\"thr\",\n        \"ee\"", "\"thr\",\n        \"zz\"")}},
    {"a merge whose result is unknown", ENCODE, 65, "to a token that is not in the vocabulary",
     {COPY("m", "m"), REPLACE(FILE_, "\"thr\",\n        \"ee\"", "\"thr\",\n        \"x\"")}},
    {"a merge twice", ENCODE, 65, "repeats merge 0",
     {COPY("m", "m"), REPLACE(FILE_, "\"thr\",\n        \"ee\"", "\"f\",\n        \"o\"")}},
    {"a merge of three", ENCODE, 65, "merge",
     {COPY("m", "m"),
      REPLACE(FILE_, "\"thr\",\n        \"ee\"", "\"thr\", \"e\",\n        \"e\"")}},
    {"a merge of one", ENCODE, 65, "merge",
     {COPY("m", "m"), REPLACE(FILE_, "\"thr\",\n        \"ee\"", "\"three\"")}},
    {"a merge that is a number", ENCODE, 65, "merge",
     {COPY("m", "m"), REPLACE(FILE_, "\"thr\",\n        \"ee\"", "3, 4")}},
    {"an added token without an id", ENCODE, 65, "@m/tokenizer.json:",
     {COPY("m", "m"), REPLACE(FILE_, "\"id\": 0", "\"ib\": 0")}},
    {"an added token with the id of another", ENCODE, 65, "<|endoftext|>",
     {COPY("m", "m"), REPLACE(FILE_, "\"id\": 0", "\"id\": 5")}},
    {"an added token without content", ENCODE, 65, "@m/tokenizer.json:",
     {COPY("m", "m"), REPLACE(FILE_, "\"content\": \"<|endoftext|>\",", "")}},
    {"an end token that is not there", ENCODE, 65, "<|other|>",
     {COPY("m", "m"),
      REPLACE(CONFIG, "\"eos_token\": \"<|endoftext|>\"", "\"eos_token\": \"<|other|>\"")}},
    {"an end token that is a number", ENCODE, 65, "@m/tokenizer_config.json:",
     {COPY("m", "m"), REPLACE(CONFIG, "\"eos_token\": \"<|endoftext|>\"", "\"eos_token\": 5")}},
    {"a bad tokenizer_config.json", ENCODE, 65, "@m/tokenizer_config.json:1:1: ",
     {COPY("m", "m"), WRITE(CONFIG, "nope")}},
    {"a tokenizer that is a FIFO", ENCODE, 65, "@m/tokenizer.json is not a regular file",
     {COPY("m", "m"), REMOVE(FILE_), FIFO(FILE_)}},
    {"a tokenizer that is a folder", ENCODE, 65, "@m/tokenizer.json",
     {COPY("m", "m"), REMOVE(FILE_), FOLDER(FILE_)}},
    {"a folder without a tokenizer", "rlhf-tokenizer encode --model @x abc", 66,
     "@x holds no tokenizer: expected tokenizer.json, or vocab.json and merges.txt",
     {FOLDER("x")}},
    {"no tokenizer", "rlhf-tokenizer encode --model @none abc", 66, "@none", {FOLDER("x")}},
    {"a vocabulary without merges", ENCODE, 66, "merges.txt",
     {COPY("m", "m"), REMOVE(FILE_), REMOVE("m/merges.txt")}},
    {"merges.txt with a merge of three", ENCODE, 65, "@m/merges.txt:",
     {COPY("m", "m"), REMOVE(FILE_), APPEND("m/merges.txt", "a b c\n")}},
    {"merges.txt with an unknown token", ENCODE, 65, "is not in the vocabulary",
     {COPY("m", "m"), REMOVE(FILE_), APPEND("m/merges.txt", "zz y\n")}},
    {"merges.txt that is no text", ENCODE, 65, "@m/merges.txt",
     {COPY("m", "m"), REMOVE(FILE_), WRITE("m/merges.txt", "\xFF\xFE\0\0 \0\n\0")}},
    {"vocab.json that is a list", ENCODE, 65, "@m/vocab.json: vocabulary: expected an object",
     {COPY("m", "m"), REMOVE(FILE_), WRITE("m/vocab.json", "[]")}},
    {"a tokenizer larger than the model", "rlhf-sft --model @m --data &sft.jsonl --output @out", 78,
     "rows of embeddings",
     {COPY("m", "m"),
      REPLACE(FILE_, "\"added_tokens\": [",
              "\"added_tokens\": [{\"id\":273,\"content\":\"<more>\",\"single_word\":false,"
              "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true},")}},
    {"a layout that is a list", "rlhf-sft --model @m --data &sft.jsonl --output @out", 65,
     "@m/layout.json: name: expected the layout's name",
     {COPY("m", "m"), WRITE("m/layout.json", "[]")}},
    {"a layout whose separator is a number", "rlhf-sft --model @m --data &sft.jsonl --output @out",
     65, "@m/layout.json:",
     {COPY("m", "m"), REPLACE("m/layout.json", "\"separator\": \"\\n\"", "\"separator\": 7")}},
    {"a layout with an unknown key", "rlhf-sft --model @m --data &sft.jsonl --output @out", 65,
     "@m/layout.json:",
     {COPY("m", "m"), REPLACE("m/layout.json", "\"separator\"", "\"seperator\"")}},
};

static const BadInput texts[] = {
    {"no command", "rlhf-tokenizer --model &m", 64, "no command: expected train, encode or decode",
     {FOLDER("x")}},
    {"an unknown command", "rlhf-tokenizer encod --model &m", 64, "unknown command \"encod\"",
     {FOLDER("x")}},
    {"no tokenizer to encode with", "rlhf-tokenizer encode abc", 64,
     "no tokenizer: name its folder",
     {FOLDER("x")}},
    {"text that is no UTF-8", "rlhf-tokenizer encode --model &m ab\xFF", 65, "UTF-8",
     {FOLDER("x")}},
    {"ids that are none", DECODE "12,x", 64, "\"x\" is not an id", {FOLDER("x")}},
    {"an id below zero", DECODE "12,-3", 64, "is not an id", {FOLDER("x")}},
    {"an id beyond the vocabulary", DECODE "12,5000", 65, "5000", {FOLDER("x")}},
    {"an id beyond all", DECODE "99999999999999999999", 64, "is not an id", {FOLDER("x")}},
    {"ids that are a string", DECODE "--data @x.jsonl", 65, "@x.jsonl:1",
     {WRITE("x.jsonl", "\"12\"\n")}},
    {"ids that are words", DECODE "--data @x.jsonl", 65, "expected an id, found the string \"a\"",
     {WRITE("x.jsonl", "[\"a\"]\n")}},
    {"texts that are numbers", "rlhf-tokenizer encode --model &m --data @x.jsonl", 65, "@x.jsonl:1",
     {WRITE("x.jsonl", "17\n")}},
    {"training on nothing", "rlhf-tokenizer train --output @out", 64,
     "train needs --data FILE and --output DIR",
     {FOLDER("x")}},
    {"training on a file that is not there", TRAIN "@none.txt", 66, "@none.txt", {FOLDER("x")}},
    {"training on an empty file", TRAIN "@x.txt", 65, "@x.txt", {WRITE("x.txt", "")}},
    {"training on Latin-1", TRAIN "@x.txt", 65, "@x.txt:1:4: ", {WRITE("x.txt", "caf\xE9\n")}},
    {"a vocabulary smaller than the bytes", TRAIN "&sft.jsonl --vocabulary 100", 78,
     "expected a whole number from 257",
     {FOLDER("x")}},
    {"a special token twice", TRAIN "&sft.jsonl --special <a> --special <a>", 78,
     "special token \"<a>\" is named twice",
     {FOLDER("x")}},
    {"an empty special token", TRAIN "&sft.jsonl --special=", 78, "special token 1 is empty",
     {FOLDER("x")}},
    {"a special token that is a byte", TRAIN "&sft.jsonl --special a", 65,
     "special token \"a\" is also a byte",
     {FOLDER("x")}},
    {"an end token that is no special token", TRAIN "&sft.jsonl --eos <end>", 78, "<end>",
     {FOLDER("x")}},
    {"training over a tokenizer", "rlhf-tokenizer train --output @m --data &sft.jsonl", 73,
     "@m already holds a tokenizer",
     {COPY("m", "m")}},
    {"training into a file", TRAIN "&sft.jsonl", 73, "@out", {WRITE("out", "")}},
};
/* clang-format on */

#define ALL(table) table, sizeof table / sizeof *table

static void test_tokenizers(void **state) {
    (void)state;
    bad_input_run(ALL(tokenizers));
}

static void test_texts(void **state) {
    (void)state;
    bad_input_run(ALL(texts));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenizers),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
