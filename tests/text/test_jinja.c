/* SPDX-License-Identifier: MIT
 *
 * The template language against Jinja2 (tests/fixtures/templates/cases.jsonl, mint_templates.py),
 * where every byte comes from, and what a template may not do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/file.h"
#include "common/base/json.h"
#include "common/jinja/jinja.h"
#include "tests/support/support.h"

enum { MESSAGES = 8 };

static size_t read_messages(const cJSON *list, JinjaMessage message[MESSAGES]) {
    size_t n = 0;
    for (const cJSON *item = list->child; item != NULL && n < MESSAGES; item = item->next) {
        const char *content = json_string(json_member(item, "content"));
        message[n++] =
            (JinjaMessage){json_string(json_member(item, "role")), content, strlen(content)};
    }
    return n;
}

static bool render(const char *source, const JinjaContext *context, JinjaText *out, Error *err) {
    Jinja *jinja = jinja_parse(source, strlen(source), NULL, err);
    bool ok = jinja != NULL && jinja_render(jinja, context, out, err);
    jinja_free(jinja);
    return ok;
}

static void check_case(const cJSON *line, const cJSON *shared, const JinjaMessage *message,
                       size_t messages) {
    const char *source = json_string(json_member(line, "template"));
    const char *want = json_string(json_member(line, "text"));
    JinjaContext context = {
        .variables = json_member(shared, "variables"),
        .message = message,
        .messages = messages,
        .add_generation_prompt = cJSON_IsTrue(json_member(line, "add_generation_prompt")),
        .date = json_string(json_member(line, "date")),
    };
    JinjaText got = {0};
    Error err = {0};
    bool ok = render(source, &context, &got, &err);
    if (ok != (want != NULL) || (ok && strcmp(got.text, want) != 0)) {
        fprintf(stderr, "template: %s\nwant: %s\ngot: %s\n", source, want == NULL ? "error" : want,
                ok ? got.text : err.text);
        fail();
    }
    if (!ok) {
        assert_int_equal(err.code, ERROR_DATA);
        assert_true(err.line > 0 && err.column > 0);
    }
    jinja_text_done(&got);
}

static void renders_as_jinja2_does(void **state) {
    (void)state;
    char path[4096];
    Error err = {0};
    LineReader reader;
    bool got = true;
    cJSON *shared = NULL;
    JinjaMessage message[MESSAGES];
    size_t messages = 0, cases = 0;
    snprintf(path, sizeof path, "%s/templates/cases.jsonl", test_fixtures());
    assert_ok(line_reader_open(&reader, path, 1 << 20, &err), &err);
    while (line_reader_next(&reader, &got, &err) && got) {
        cJSON *line = json_parse(str_text(&reader.line), reader.line.size, path, reader.number,
                                 &json_limits_line, &err);
        assert_ok(line != NULL, &err);
        if (shared == NULL) {
            shared = line;
            messages = read_messages(json_member(shared, "messages"), message);
            continue;
        }
        check_case(line, shared, message, messages);
        cases++;
        cJSON_Delete(line);
    }
    assert_true(cases >= 150);
    line_reader_close(&reader);
    cJSON_Delete(shared);
}

/* The text with content in brackets that say whose it is, and {% generation %} as capitals. */
static void check_spans(const char *source, const char *want) {
    const JinjaMessage message[] = {
        {"user",      " <a>b ", 6},
        {"assistant", "c-d",    3}
    };
    JinjaContext context = {.message = message, .messages = 2};
    JinjaText got = {0};
    Error err = {0};
    Str shown = {0};
    assert_ok(render(source, &context, &got, &err), &err);
    for (size_t i = 0, at = 0; i < got.spans; i++) {
        const char *brackets = got.span[i].source == 0 ? "[]" : "()";
        str_append_bytes(&shown, brackets, got.span[i].source >= 0);
        for (; at < got.span[i].end; at++) {
            char c = got.text[at];
            str_append_char(&shown,
                            got.span[i].generated && c >= 'a' && c <= 'z' ? (char)(c - 32) : c);
        }
        str_append_bytes(&shown, brackets + 1, got.span[i].source >= 0);
    }
    assert_string_equal(str_text(&shown), want);
    str_done(&shown);
    jinja_text_done(&got);
}

static void content_keeps_its_source(void **state) {
    (void)state;
    static const struct {
        const char *source, *want;
    } cases[] = {
        {"x{{ messages[0].content }}y{{ messages[1].content }}",                                   "x[ <a>b ]y(c-d)"      },
        {"{{ '<' + messages[0].content | trim + '>' }}",                                           "<[<a>b]>"             },
        {"{{ messages[0].content[1:3] ~ messages[0]['content'][::-1] }}",                          "[<a b>a< ]"           },
        {"{{ messages[1].content.replace('-', 'xyz') }}",                                          "(c)xyz(d)"            },
        {"{{ 'a.b'.replace('.', messages[1].content) }}",                                          "a(c-d)b"              },
        {"{{ messages[1].content.split('-') | join('+') }}",                                       "(c)+(d)"              },
        {"{{ messages[1].content | upper }}{{ messages[1].content | tojson }}",                    "(C-D)\"(c-d)\""       },
        {"{{ messages | map(attribute='content') | list }}",                                       "['[ <a>b ]', '(c-d)']"},
        {"{{ messages[0].content | e }}",                                                          "[ &lt;a&gt;b ]"       },
        {"{% set x %}{{ messages[1].content }}!{% endset %}{{ x * 2 }}",                           "(c-d)!(c-d)!"         },
        {"{% macro m(t) %}<{{ t }}>{% endmacro %}{{ m(messages[1].content) | title }}",            "<(C-D)>"              },
        {"{% set ns = namespace(t='') %}{% for m in messages %}{% set ns.t = ns.t + m.content %}"
         "{% endfor %}{{ ns.t }}",                                                        "[ <a>b ](c-d)"        },
        {"{{ '%s|{}' % messages[1].content }}",                                                    "(c-d)|{}"             },
        {"{{ '{}.{}'.format(messages[1].content, 1) }}",                                           "(c-d).1"              },
        {"{{ {messages[1].content: 1} }}{{ messages[1].content | length }}",                       "{'(c-d)': 1}3"        },
        {"{{ messages[1].content | reverse }}{{ messages[1].content | list | join }}",             "(d-cc-d)"             },
        {"{{ messages[1].content | indent(2, true) }}{{ messages[1].content | string }}",
         "  (c-dc-d)"                                                                                                     },
        {"{{ messages[1].role }}a{% generation %}b{{ messages[1].content }}e{% endgeneration %}f",
         "assistantaB(C-D)Ef"                                                                                             },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_spans(cases[i].source, cases[i].want);
    }
}

static void check_refused(const char *source, const char *part, long line, long column) {
    JinjaContext context = {0};
    JinjaText got = {0};
    Error err = {0};
    clock_t begin = clock();
    assert_false(render(source, &context, &got, &err));
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 20);
    if (strstr(err.text, part) == NULL) {
        fprintf(stderr, "template: %.200s\nwant: %s\ngot: %s\n", source, part, err.text);
        fail();
    }
    assert_int_equal(err.code, ERROR_DATA);
    if (line > 0 && (err.line != line || err.column != column)) {
        fprintf(stderr, "template: %s\nwant: %ld:%ld\ngot: %ld:%ld\n", source, line, column,
                err.line, err.column);
        fail();
    }
}

static void refuses_by_name_and_place(void **state) {
    (void)state;
    static const struct {
        const char *source, *part;
        long line, column;
    } cases[] = {
        {"a\n {% include 'x' %}",                                                                    "{% include %}",                 2, 5 },
        {"{% import 'x' as y %}",                                                                    "{% import %}",                  1, 4 },
        {"{% from 'x' import y %}",                                                                  "{% from %}",                    1, 4 },
        {"{% extends 'x' %}",                                                                        "{% extends %}",                 1, 4 },
        {"{% block a %}{% endblock %}",                                                              "{% block %}",                   1, 4 },
        {"{% filter upper %}{% endfilter %}",                                                        "{% filter %}",                  1, 4 },
        {"{% call f() %}{% endcall %}",                                                              "{% call %}",                    1, 4 },
        {"{% with a = 1 %}{% endwith %}",                                                            "{% with %}",                    1, 4 },
        {"{% do f() %}",                                                                             "{% do %}",                      1, 4 },
        {"{% for x in y recursive %}{% endfor %}",                                                   "recursive",                     1, 15},
        {"\n{{ 'a' | wordcount }}",                                                                  "the filter \"wordcount\"",      2, 10},
        {"{{ 1 is sameas 1 }}",                                                                      "the test \"sameas\"",           1, 9 },
        {"{{ 'a'.swapcase() }}",                                                                     "the method \"swapcase\"",       1, 16},
        {"{{ [].append(1) }}",                                                                       "the method \"append\"",         1, 13},
        {"{{ ''.__class__ }}",                                                                       "the attribute \"__class__\"",   1, 7 },
        {"{{ cycler(1) }}",                                                                          "the name \"cycler\"",           1, 4 },
        {"{{ f(*[1]) }}",                                                                            "* and **",                      1, 6 },
        {"{% macro f() %}{{ varargs }}{% endmacro %}",                                               "varargs",                       1, 19},
        {"{{ 9223372036854775807 + 1 }}",                                                            "64 bits",                       1, 4 },
        {"{{ 'stra\xC3\x9F"
         "e' | upper }}",                                                                   "U+00DF",                        1, 16},
        {"{{ raise_exception('no ' ~ 5) }}",                                                         "no 5",                          1, 19},
        {"{{ strftime_now('%Y') }}",                                                                 "\"strftime_now\" is undefined", 1, 16},
        {"{% set ns = namespace(a=1) %}{% for x in [1, 2] if ns.a %}{% set ns.a = 0 %}{% endfor %}",
         "reads a namespace",                                                                                                         1, 33},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_refused(cases[i].source, cases[i].part, cases[i].line, cases[i].column);
    }
}

static void reaches_only_what_is_there(void **state) {
    (void)state;
    JinjaContext context = {0};
    JinjaText got = {0};
    Error err = {0};
    const char *source = "{% if tools %}{{ tools | from_json }}{% endif %}ok";
    assert_ok(render(source, &context, &got, &err), &err);
    assert_string_equal(got.text, "ok");
    jinja_text_done(&got);
    Jinja *jinja = jinja_parse(source, strlen(source), "x.jinja", &err);
    assert_ok(jinja != NULL, &err);
    assert_false(jinja_check(jinja, &err));
    assert_non_null(strstr(err.text, "from_json"));
    assert_string_equal(err.file, "x.jinja");
    assert_int_equal(err.column, 26);
    jinja_free(jinja);
}

static char *repeated(const char *before, const char *part, size_t n, const char *after) {
    Str out = {0};
    str_append(&out, before);
    for (size_t i = 0; i < n; i++) {
        str_append(&out, part);
    }
    str_append(&out, after);
    return out.data;
}

static void check_hostile(const char *before, const char *part, size_t n, const char *after,
                          const char *message) {
    char *source = repeated(before, part, n, after);
    check_refused(source, message, 0, 0);
    free(source);
}

static void check_balanced(char open, char close, const char *inside) {
    Str closing = {0};
    for (int i = 0; i < 300000; i++) {
        str_append_char(&closing, close);
    }
    str_append(&closing, "}}");
    char part[] = {open, '\0'};
    char *opening = repeated("{{", part, 300000, inside);
    check_hostile(opening, "", 0, str_text(&closing), "nests deeper");
    free(opening);
    str_done(&closing);
}

static void ends_within_limits(void **state) {
    (void)state;
    static const struct {
        const char *source, *part;
    } cases[] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",         "steps"              },
        {"{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",                                 "nest deeper than 64"},
        {"{% macro f() %}{{ g() }}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% "
         "endmacro %}"
         "{{ f() }}",                                                                     "nest deeper"        },
        {"{% macro d(n) %}{% if n %}{{ d(n - 1) }}{{ d(n - 1) }}{% endif %}{% endmacro %}{{ d(60) "
         "}}",                                                                            "steps"              },
        {"{{ 'x' * 16777217 }}",                                                                   "16 MiB"             },
        {"{{ 'x' * 99999999999 }}",                                                                "16 MiB"             },
        {"{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
         "{% endfor %}",                                                                  "16 MiB"             },
        {"{% set ns = namespace(s='x' * 4000000) %}{% for i in range(9999) %}"
         "{% set ns.s = ns.s[1:] ~ 'y' %}{% endfor %}",                                   "256 MiB"            },
        {"{% for i in range(99999) %}{{ 'x' * 999 }}{% endfor %}",                                 "16 MiB"             },
        {"{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor "
         "%}"
         "{{ ns.l }}",                                                                    "deeper"             },
        {"{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor "
         "%}"
         "{{ ns.l | tojson }}",                                                           "deeper"             },
        {"{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor "
         "%}"
         "{{ ns.l == [ns.l] }}",                                                          "deeper"             },
        {"{{ [0] * 1000001 }}",                                                                    "1000000"            },
        {"{{ range(99999) | list | sort | map('string') | join | length }}{% for i in range(99) %}"
         "{{ range(99999) | list | sort | length }}{% endfor %}",                         "steps"              },
        {"{% set s = 'ab' * 4000000 %}{% for i in range(99999) %}{{ s.find('aab') }}{% endfor %}",
         "steps"                                                                                                        },
        {"{% set s = 'a' * 8000000 %}{% for i in range(9999) %}{{ s.replace('a', '') }}{% endfor "
         "%}",                                                                            "steps"              },
        {"{{ 2 ** 64 }}",                                                                          "64 bits"            },
        {"{{ ('a' * 1000000) | list | unique | list | length }}{{ ('a' * 9000000) | list | length "
         "}}",                                                                            ""                   },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_refused(cases[i].source, cases[i].part, 0, 0);
    }
    check_hostile("{{ ", "(", 500000, "1", "no end");
    check_hostile("{{ ", "{", 500000, "1 }}", "no end");
    check_balanced('(', ')', "1");
    check_balanced('[', ']', "");
    check_hostile("{{ ", "-", 500000, "1 }}", "nests deeper");
    check_hostile("{{ ", "not ", 200000, "1 }}", "nests deeper");
    check_hostile("{{ a", ".b", 400000, " }}", "nests deeper");
    check_hostile("{{ a", "|e", 400000, " }}", "nests deeper");
    check_hostile("{{ 1", " if 1 else 1", 80000, " }}", "nests deeper");
    check_hostile("", "{% if 1 %}", 50000, "", "blocks nest deeper than 64");
    check_hostile("", "{% for x in y %}", 50000, "", "blocks nest deeper than 64");
    check_hostile("{{ f(", "a=1,", 200000, "a=2) }}", "twice");
    check_hostile("{{ '", "\\", 500001, "' }}", "no end");
    check_hostile("", "{#", 400000, "", "no end");
    check_hostile("", "{% raw %}", 100000, "", "no {% endraw %}");
    check_hostile("", "x", JINJA_TEMPLATE_MAX + 1, "", "1048576");
}

/* Long chains are no deep trees, and long templates are read. */
static void takes_what_is_long_only(void **state) {
    (void)state;
    static const struct {
        const char *before, *part, *after;
    } cases[] = {
        {"{{ 1",       "+1",               "}}"         },
        {"{{ 'a'",     "~'b'",             "}}"         },
        {"{{ 1",       " and 1",           "}}"         },
        {"{{ 0",       " or 1",            "}}"         },
        {"{{ 1",       "<2",               "}}"         },
        {"",           "{{ 1 }}{# c #}\n", ""           },
        {"{% if 0 %}", "{% elif 0 %}",     "{% endif %}"},
        {"{{ [",       "1,",               "] }}"       },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *source = repeated(cases[i].before, cases[i].part, 20000, cases[i].after);
        JinjaContext context = {0};
        JinjaText got = {0};
        Error err = {0};
        if (strstr(cases[i].part, "<") != NULL) {
            assert_ok(render(source, &context, &got, &err), &err); /* 1<2<2: false soon */
            assert_string_equal(got.text, "False");
        } else {
            assert_ok(render(source, &context, &got, &err), &err);
        }
        jinja_text_done(&got);
        free(source);
    }
}

static void refuses_bad_utf8(void **state) {
    (void)state;
    Error err = {0};
    assert_null(jinja_parse("a\xFF", 2, "t", &err));
    assert_int_equal(err.code, ERROR_DATA);
    const JinjaMessage message = {"user", "a\xC3", 2};
    JinjaContext context = {.message = &message, .messages = 1};
    JinjaText got = {0};
    err = (Error){0};
    assert_false(render("x", &context, &got, &err));
    assert_non_null(strstr(err.text, "message 1 is not valid UTF-8 at byte 1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renders_as_jinja2_does),    cmocka_unit_test(content_keeps_its_source),
        cmocka_unit_test(refuses_by_name_and_place), cmocka_unit_test(reaches_only_what_is_there),
        cmocka_unit_test(ends_within_limits),        cmocka_unit_test(takes_what_is_long_only),
        cmocka_unit_test(refuses_bad_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
