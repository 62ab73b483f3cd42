# SPDX-License-Identifier: MIT
"""Writes tests/fixtures/templates/cases.jsonl: templates, what they are given, and what Jinja2 makes
of them. Run in the source folder: python3 tests/text/mint_templates.py"""
import json

from template_oracle import render

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  What is <2 + 2>?\n"},
    {"role": "assistant", "content": "4 & \"no\" 'more'"},
    {"role": "user", "content": "naïve café ☕ 日本"},
]
NUMBERS = {"n": 7, "m": -3, "x": 2.5, "y": 1e20, "z": 0.1, "t": True, "f": False, "none": None,
           "big": 123456789012}
THINGS = {
    "word": "Hello, World", "empty": "", "spaced": " \t a b \n", "quote": "it's", "both": "a'b\"c",
    "list": [3, 1, 2], "words": ["pear", "Apple", "fig"], "nested": [[1, [2]], {"k": "v"}],
    "dict": {"b": 1, "a": 2, "C": 3}, "items": [{"name": "x", "age": 3}, {"name": "y"}],
    "deep": {"a": {"b": [{"c": "found"}]}}, "lines": "one\n\ntwo\r\nthree\u2028four",
    "uni": "Ünï ☃ 𝄞", "control": "a\tb\\c\u0007\u200b\u00a0", "people": [
        {"name": "Bo", "age": 30, "ok": True}, {"name": "al", "age": 25, "ok": False},
        {"name": "Cy", "age": 30}],
    **NUMBERS,
}

# White space control.
SPACE = [
    "a {{ 1 }} b", "a {{- 1 -}} b", "a {%- if true -%} b {%- endif -%} c",
    "  {% if true %}\n  x\n  {% endif %}\n  y\n", "  {%+ if true %}\n  x\n  {%+ endif %}\n",
    "{% if true +%}\nx{% endif +%}\ny", "a\n  {# c #}\nb", "a\n  {#- c -#}\n  b", "{#+ c +#}\nb",
    "a {# one {{ two }} #} b", "{% raw %}{{ x }} {% if %}{% endraw %}",
    "  {% raw %}\n a {% endraw %}\n b", "x {%- raw -%} a {%- endraw -%} y",
    "{% raw %} {%+ endraw +%}\nz", "text\n\n", "text\n", "\n", "", "{{ 'a' }}\n{{ 'b' }}\n",
    "a\r\nb\rc\n", "\t{% set a = 1 %}\n\t{{ a }}\n", "x  {% set a = 1 %}  y",
    "{% for i in [1, 2] %}\n- {{ i }}\n{% endfor %}\nend", "{% for i in [1, 2] -%}\n {{ i }}\n{%- endfor %}",
    "  {{ 1 }}\n  {{- 2 }}", "{{ 1 }}\u00a0{%- if true %}x{% endif %}", "a\u2003{%- set b = 1 %}b",
    "{% if true %}{% endif %}  {% if true %}  {% endif %}\n", "}} %} #} { {", "{ { }", "{{ '}}' }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}", "{{ '%}' }}{% set s = '{%' %}{{ s }}", "{{'a'-}}   {{-'b'}}",
    "a{#-#} b", "a {%- endif_ is defined %}",
]
# Literals and operators.
EXPRESSIONS = [
    "{{ 1 + 2 * 3 - 4 / 2 }}", "{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }}",
    "{{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }}", "{{ 1.5 // 0.4 }} {{ -1.5 % 0.4 }}",
    "{{ 1e3 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1.5e-7 }} {{ 1e16 }} {{ 1e22 }}",
    "{{ 0.1 + 0.2 }} {{ 1.0 }} {{ 100.0 }} {{ 1e-5 }} {{ 0.0001 }} {{ 123456789.125 }} {{ y }}",
    "{{ true }} {{ True }} {{ none }} {{ None }} {{ false }}", "{{ 'a' 'b' \"c\" }}",
    "{{ 'a\\nb\\t\\\\\\'\\x41\\u00e9\\U0001F600\\q\\101' }}", "{{ 'a' ~ 1 ~ none ~ 2.0 ~ [1] }}",
    "{{ 1 + 2 ~ 3 + 4 }}", "{{ 1 ~ 2 * 3 }}", "{{ 'ab' * 3 }} {{ 2 * [1, 2] }} {{ 'x' * -1 }}",
    "{{ [1] + [2] }} {{ (1,) + (2, 3) }}", "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == true }}",
    "{{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1,) <= (1,) }} {{ 2 >= 3 }} {{ 2 != 3 }}",
    "{{ 2 in [1, 2] }} {{ 'b' in 'abc' }} {{ 'x' not in dict }} {{ 'a' in dict }} {{ 3 in (1, 2) }}",
    "{{ not true }} {{ not not 1 }} {{ not 1 == 2 }}", "{{ 1 and 0 or 'x' }} {{ '' or none or 5 }}",
    "{{ 'yes' if n > 3 else 'no' }} {{ 'only' if false }}|{{ 1 if false else 2 if false else 3 }}",
    "{{ -n }} {{ +m }} {{ - -n }} {{ -t }} {{ +t }}", "{{ (1, 2) }} {{ (1,) }} {{ () }} {{ 1, 2 }}",
    "{{ [1, 'a', none, true, 1.5, {'k': [2]}] }}", "{{ {'a': 1, 2: 'b', none: true, 1.5: ()} }}",
    "{{ {1: 'a', true: 'b', 1.0: 'c'} }}", "{{ [quote, both, control, uni] }}", "{{ [] == [] }} {{ {} == {} }}",
    "{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ [1] == (1,) }} {{ none == false }}",
    "{{ t + t }} {{ t * 3 }} {{ 5 / 2 }} {{ 4 / 2 }} {{ 1 - 0.9 }}", "{{ 'a%sb' % 1 }} {{ '%s-%d%%' % ('x', 2.7) }}",
    "{{ -1|abs }} {{ -x|abs }} {{ 3|abs }}", "{{ missing }}|{{ missing ~ 'x' }}|{{ missing == nothing }}",
    "{{ 1 is defined and missing is not defined }}", "{{ big * big % 1000 if false else big }}",
    "{{ 'a' if missing else 'b' }} {{ not missing }} {{ missing or 'c' }}", "{{ 5 . real if false }}",
    "{{ '\\\n' }}|", "{{ \"it's\" }}", "{{ 1 if true else missing.x }}", "{{ ((((((1)))))) }}",
    "{{ 10 // 3 * 3 + 10 % 3 }}", "{{ 7.0 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -0.0 }} {{ 0.0 * -1 }}",
]
ACCESS = [
    "{{ dict.a }} {{ dict['b'] }} {{ dict.zzz }} {{ dict['zzz'] }}|", "{{ deep.a.b[0].c }} {{ deep['a']['b'][0]['c'] }}",
    "{{ list[0] }} {{ list[-1] }} {{ list[9] }}|{{ list.0 }} {{ words.1 }}", "{{ word[0] }} {{ word[-1] }} {{ uni[1] }} {{ uni[99] }}|",
    "{{ list[1:] }} {{ list[:-1] }} {{ list[::-1] }} {{ list[::2] }} {{ list[5:] }} {{ list[-2:] }}",
    "{{ word[1:4] }} {{ word[::-1] }} {{ word[-5:] }} {{ uni[::2] }} {{ word[8:2:-2] }} {{ word[:] }}",
    "{{ (1, 2, 3)[1:] }} {{ range(10)[2:5]|list }} {{ [][0:1] }} {{ 'abc'[10:] }}|{{ 'abc'[-10:2] }}",
    "{{ none.x }}|{{ n.x }}|{{ n['x'] }}|{{ none['x'] }}|{{ none[0] }}|", "{{ dict[none] }}|{{ dict[[1]] }}|{{ word['x'] }}|",
    "{{ dict.items is defined }} {{ dict['items'] is defined }} {{ word.upper is callable }}",
    "{{ {'items': 1}.items is callable }} {{ {'items': 1}['items'] }}", "{{ 'abc'['upper']() }}", "{{ list[true] }} {{ list[1.0] }}|",
    "{{ items[0].name }}{{ items[1].age }}|", "{{ word.missing is defined }} {{ list.foo is undefined }}",
    "{{ {1: 'one'}[1] }} {{ {1: 'one'}[true] }} {{ {(1, 2): 'pair'}[(1, 2)] }}",
]
STATEMENTS = [
    "{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }};{% endfor %}",
    "{% for w in words %}{{ loop.previtem }}<{{ w }}>{{ loop.nextitem }} {% endfor %}",
    "{% for k, v in dict.items() %}{{ k }}={{ v }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for k in dict %}{{ k }}{% endfor %}{% for c in 'añb' %}[{{ c }}]{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for x in [] %}x{% else %}none{% endfor %}",
    "{% for x in missing %}x{% else %}nothing{% endfor %}", "{% for x in range(10) if x % 3 == 0 %}{{ loop.index }}:{{ x }} {% endfor %}",
    "{% for x in range(3) if false %}{% else %}all out{% endfor %}", "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [3, 4] %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{{ loop.index }};{% endfor %}",
    "{% set a = 1 %}{% for x in [1, 2] %}{{ a }}{% set a = a + x %}{{ a }} {% endfor %}{{ a }}",
    "{% set ns = namespace(n=0, s='') %}{% for x in list %}{% set ns.n = ns.n + x %}{% set ns.s = ns.s ~ x %}{% endfor %}{{ ns.n }} {{ ns.s }} {{ ns.q }}|",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }} {{ ns }}", "{% if n > 5 %}a{% elif n > 3 %}b{% else %}c{% endif %}",
    "{% if missing %}a{% elif m > 0 %}b{% elif m < 0 %}c{% else %}d{% endif %}", "{% if true %}{% set a = 5 %}{% endif %}{{ a }}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set a = 1, 2 %}{{ a }}", "{% set x %}a{{ n }}{% endset %}[{{ x }}]",
    "{% set x | upper | replace('A', 'b') %}a{{ n }}a{% endset %}[{{ x }}]", "{% set ns = namespace() %}{% set ns.x %}cap{% endset %}{{ ns.x }}",
    "{% macro hi(a, b='B', c=a) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ hi(1) }} {{ hi(1, 2) }} {{ hi(1, c=3) }} {{ hi(b=4, a=5) }}",
    "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }} {{ m(1) }} {{ m(none) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro a() %}<{{ b() }}>{% endmacro %}{% macro b() %}b{% endmacro %}{{ a() }}", "{% set v = 1 %}{% macro g() %}{{ v }}{% endmacro %}{% set v = 2 %}{{ g() }}",
    "{% macro g(x) %}{% set v = x %}{{ v }}{% endmacro %}{{ g(3) }}{{ v is defined }}", "{% for i in [1, 2] %}{% macro q() %}{{ i }}{% endmacro %}{{ q() }}{% endfor %}",
    "{% macro g() %} padded {% endmacro %}[{{ g() | trim }}]{{ g() is string }}", "{% generation %}x{{ n }}{% endgeneration %}y",
    "{% set a = 1 %}{% generation %}{% set a = 2 %}{{ a }}{% endgeneration %}{{ a }}", "{% if true: %}colon{% endif %}",
    "{% for x in list recursive_ %}{% endfor %}", "{% for x in [1, 2, 3] %}{{ x }}{% if loop.index == 2 %}{% break %}{% endif %}{% else %}never{% endfor %}",
    "{% set loop = 5 %}{{ loop }}", "{% for x in [1] %}{% else %}{% endfor %}{{ x is defined }}", "{% set x = 1 %}{% for x in [2, 3] %}{{ x }}{% endfor %}{{ x }}",
    "{% macro m(list) %}{% for x in list %}{{ x }}{% endfor %}{% endmacro %}{{ m([1, 2]) }}{{ m('ab') }}",
    "{% set ns = namespace(i=0) %}{% for x in [1, 2, 3] if x > 1 %}{% set ns.i = ns.i + x %}{% endfor %}{{ ns.i }}",
    "{% set messages = [1] + list %}{{ messages }}{% set loop_messages = messages[1:] %}{{ loop_messages | length }}",
]
FILTERS = [
    "{{ word | upper }} {{ word | lower }} {{ 'hELLO wORLD' | capitalize }} {{ 'a-b c(d)e ÉTÉ' | title }}", "[{{ spaced | trim }}] [{{ 'xxaxx' | trim('x') }}] [{{ 5 | trim }}]",
    "{{ word | length }} {{ list | count }} {{ dict | length }} {{ uni | length }} {{ missing | length }}", "{{ missing | default('d') }} {{ none | default('d') }} {{ '' | default('d', true) }} {{ none | d('e', boolean=true) }} {{ missing | default }}|",
    "{{ list | join }} {{ list | join(', ') }} {{ items | join('-', attribute='name') }} {{ 'abc' | join('.') }} {{ [1, none, 'x'] | join('|') }}",
    "{{ dict | tojson }} {{ nested | tojson }} {{ uni | tojson }} {{ both | tojson }} {{ control | tojson }}", "{{ '<&>' | tojson }} {{ uni | tojson(ensure_ascii=true) }} {{ '\\x7f' | tojson(ensure_ascii=True) }}",
    "{{ nested | tojson(indent=2) }}\n{{ [] | tojson(indent=4) }}{{ {} | tojson(indent=1) }}{{ {'a': []} | tojson(indent='--') }}", "{{ dict | tojson(sort_keys=true) }} {{ dict | tojson(separators=(',', ':')) }} {{ [1.0, 1e20, none, true] | tojson }}",
    "{{ {1: 2, none: 3, true: 4, 1.5: 6} | tojson }} {{ (1, (2,)) | tojson }}", "{{ {'b': 1, 'a': {'z': 1, 'y': 2}} | tojson(indent=2, sort_keys=true) }}",
    "{{ dict | items | list }} {{ missing | items | list }} {{ dict | dictsort }} {{ dict | dictsort(true) }} {{ dict | dictsort(by='value', reverse=true) }}",
    "{{ people | selectattr('ok') | map(attribute='name') | list }} {{ people | rejectattr('ok') | map(attribute='name') | join(',') }}",
    "{{ people | selectattr('age', 'equalto', 30) | list | length }} {{ people | selectattr('ok', 'defined') | map(attribute='name') | list }}", "{{ people | rejectattr('age', '>', 26) | map(attribute='name') | first }}",
    "{{ [1, 2, 3, 4] | select('odd') | list }} {{ [0, 1, '', 'a'] | select | list }} {{ [1, none, 2] | reject('none') | list }} {{ [1, 2, 3] | reject('in', [2]) | list }}",
    "{{ words | map('upper') | list }} {{ [' a ', 'b '] | map('trim') | join }} {{ [1, 2] | map('string') | join('+') }} {{ people | map(attribute='zip', default='?') | list }}", "{{ words | map('replace', 'p', 'q') | list }} {{ nested | map(attribute=0) | list }}",
    "{{ list | first }} {{ list | last }} {{ [] | first }}|{{ '' | last }}|{{ 'xyz' | first }}{{ 'xyz' | last }} {{ dict | first }} {{ dict | last }} {{ missing | first }}|",
    "{{ list | sort }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ list | sort(reverse=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }}", "{{ people | sort(attribute='age,name') | map(attribute='name') | list }} {{ people | sort(true, attribute='age') | map(attribute='name') | list }}",
    "{{ list | reverse | list }} {{ 'abc☃' | reverse }} {{ (1, 2) | reverse | list }}", "{{ [1, 2, 1, 'a', 'A'] | unique | list }} {{ ['a', 'A'] | unique(case_sensitive=true) | list }} {{ people | unique(attribute='age') | map(attribute='name') | list }}",
    "{{ list | min }} {{ list | max }} {{ words | min }} {{ words | max }} {{ people | max(attribute='age') | tojson }} {{ [] | min }}|{{ ['b', 'A'] | min(case_sensitive=true) }}", "{{ list | sum }} {{ [1.5, 2] | sum }} {{ [] | sum }} {{ [{'a': 1}, {'a': 2}] | sum(attribute='a') }} {{ [[1], [2]] | sum(start=[]) }}",
    "{{ '42' | int }} {{ ' -7 ' | int }} {{ '3.9' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.99 | int }} {{ -3.99 | int }} {{ none | int }} {{ true | int }} {{ '1e3' | int }} {{ 'inf' | int }} {{ '' | int }}",
    "{{ '1.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ '1e3' | float }} {{ none | float(2.5) }} {{ 'inf' | float }} {{ '0x10' | float }}", "{{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 2.1 | round(method='ceil') }} {{ 2.9 | round(0, 'floor') }} {{ 7 | round }} {{ 1.25 | round(1) }} {{ -1.5 | round }}",
    "{{ 'a<b>&\"\\'' | e }} {{ 'x<' | escape }} {{ '<b>' | safe }} {{ ('<b>' | safe) ~ 'plain' }} {{ '<' ~ ('<b>' | safe) ~ '>&' }} {{ ('<' | safe) + '>' }} {{ '<' + ('>' | safe) }} {{ '<' | e | upper }} {{ 5 | e }}", "{{ 'one\ntwo\n\nthree' | indent }}|{{ 'one\ntwo' | indent(2, true) }}|{{ 'one\n\ntwo' | indent(1, blank=true) }}|{{ 'a\nb' | indent('> ') }}",
    "{{ 'aXbXc' | replace('X', '-') }} {{ 'aXbXc' | replace('X', '-', 1) }} {{ 'abc' | replace('', '.') }} {{ 515 | replace(5, 6) }} {{ 'aa' | replace('a', 'aa') }}", "{{ '%s is %d' | format('x', 3) }} {{ '%r' | format('q') }} {{ '%%' | format }}",
    "{{ 5 | string }} {{ none | string }} {{ [1] | string | length }} {{ missing | string }}|{{ 'x' | list }} {{ dict | list }} {{ missing | list }} {{ range(3) | list }}", "{{ words | map('length') | sum }} {{ words | join(' ') | upper | replace(' ', '_') | length }}",
    "{% set g = words | map('upper') %}{{ g | first }}{{ g | list }}{{ g | list }}", "{{ ('a' ~ 'b') | upper }} {{ -5 | string | length }} {{ 'a' ~ 'b' | upper }}", "{{ [3, 1] | sort | first + 10 }}", "{{ [[2, 'b'], [1, 'c'], [1, 'a']] | sort }}",
]
METHODS = [
    "[{{ spaced.strip() }}] [{{ spaced.lstrip() }}] [{{ spaced.rstrip() }}] [{{ 'xxaxy'.strip('xy') }}] [{{ '\\n\\na'.lstrip('\\n') }}]", "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.split(maxsplit=1) }} {{ ''.split() }} {{ ''.split(',') }}",
    "{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b  c '.rsplit(none, 1) }} {{ 'a b c'.rsplit() }} {{ 'aaa'.rsplit('aa') }} {{ 'aaa'.split('aa') }} {{ 'x'.rsplit('xyz') }}", "{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\\n'.splitlines() }}",
    "{{ word.startswith('He') }} {{ word.endswith(('x', 'ld')) }} {{ word.startswith(('a', 'b')) }} {{ ''.startswith('') }}", "{{ word.upper() }} {{ word.lower() }} {{ 'abC dEF'.capitalize() }} {{ \"they're bill's x1y\".title() }} {{ 'é'.upper() }} {{ 'ЖЗ'.lower() }}",
    "{{ word.replace('l', 'L') }} {{ word.replace('l', '', 2) }} {{ 'aaa'.replace('aa', 'b') }} {{ 'ab'.replace('', '-', 2) }}", "{{ word.find('o') }} {{ word.rfind('o') }} {{ word.find('zz') }} {{ word.count('l') }} {{ 'aaaa'.count('aa') }} {{ uni.find('☃') }} {{ 'ab'.count('') }} {{ word.index('W') }} {{ 'aXa'.rfind('') }}",
    "{{ ', '.join(words) }} {{ ''.join([]) }} {{ '-'.join('abc') }} {{ '|'.join(dict) }}", "{{ '{} and {}'.format(1, 'x') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}{{}}'.format(x=none) }}", "{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'a'.removeprefix('b') }}",
    "{{ dict.items() | list }} {{ dict.keys() | list }} {{ dict.values() | list }} {{ dict.get('a') }} {{ dict.get('q') }} {{ dict.get('q', 5) }} {{ dict.keys() | length }} {{ 'a' in dict.keys() }} {{ dict.items() | first }}", "{{ list.index(2) }} {{ list.count(1) }} {{ (1, 1).count(1) }} {{ dict.copy() }}",
    "{{ range(3) | list }} {{ range(1, 7, 2) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }} {{ range(3) | last }} {{ range(4)[1] }}", "{{ dict(a=1, b='x') if false else 1 }} {{ namespace(a=1).a }}", "{{ 'think</think>answer'.split('</think>')[-1].lstrip('\\n') }} {{ 'a</think>b'.split('</think>')[0].rstrip('\\n').split('<think>')[-1] }}",
]
TESTS = [
    "{{ [1 is number, 1 is integer, 1.0 is float, true is number, true is integer, 1 is float, 'a' is number] }}", "{{ ['a' is string, 1 is string, [] is string, missing is string, none is none, 0 is none, missing is none] }}",
    "{{ [{} is mapping, [] is mapping, dict is mapping, missing is mapping, [] is sequence, 'a' is sequence, {} is sequence, 1 is sequence, range(2) is sequence, missing is sequence, none is sequence] }}", "{{ [[] is iterable, 'a' is iterable, 1 is iterable, {} is iterable, none is iterable, missing is iterable, dict.items() is iterable, dict.items() is sequence] }}",
    "{{ [true is true, 1 is true, false is false, 0 is false, true is boolean, 1 is boolean, none is boolean] }}", "{{ [3 is odd, 4 is even, 9 is divisibleby(3), 9 is divisibleby 2, 2.0 is even, true is odd] }}",
    "{{ [1 is eq 1, 1 is equalto(2), 1 is ne 2, 2 is gt 1, 2 is greaterthan(1), 1 is lt 2, 1 is le 1, 1 is ge 2, 1 is lessthan 2, 1 is in [1], 'a' is in 'abc'] }}", "{{ [missing is defined, missing is undefined, n is defined, missing is not defined, n is not undefined] }}",
    "{{ [range is callable, 'a' is callable, word.upper is callable, raise_exception is defined] }}", "{{ 1 is defined and 2 is defined or false }} {{ (1 is number) is boolean }} {{ not 1 is none }} {{ 'x' if 1 is string else 'y' }}", "{{ '<' | e is escaped }} {{ 'x' is escaped }}",
    "{{ n is number and n > 3 }} {{ n is defined == true }} {{ [1] is iterable and [1] is not string and [1] is not mapping }}",
]
CHATS = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 1) and m.role != 'system' %}{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role | upper }}] {{ m.content | trim }} {{ eos_token }}{% endfor %}",
    "{%- if messages[0].role == 'system' %}\n    {%- set sys = messages[0].content %}\n    {%- set rest = messages[1:] %}\n{%- else %}\n    {%- set rest = messages %}\n{%- endif %}\n\n{%- for m in rest %}\n    {%- if loop.first and sys is defined %}\n{{ '<<' ~ sys ~ '>>\\n' }}\n    {%- endif %}\n    {{- m.role[0] ~ ': ' ~ m.content.strip().replace('\\n', ' ') ~ '\\n' }}\n{%- endfor %}\n",
    "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% if ns.last < 0 and m.role == 'user' %}{% set ns.last = messages | length - 1 - loop.index0 %}{% endif %}{% endfor %}{{ ns.last }}{% for m in messages %}{{ '*' if loop.index0 == ns.last }}{{ m.content | length }} {% endfor %}",
    "{{ messages | map(attribute='role') | unique | join(',') }}: {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | map('trim') | join(' / ') }}",
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<end>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}", "{{ messages | tojson(indent=2) }}", "{{ messages[-1]['content'][2:7].upper() ~ messages.1.content[::-1] }}",
]
# What Jinja2 refuses too.
ERRORS = [
    "{{ 1 + 'a' }}", "{{ 'a' + 1 }}", "{{ missing.x }}", "{{ missing.x.y }}", "{{ missing[0] }}", "{{ missing() }}", "{{ missing + 1 }}", "{{ none + 1 }}", "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ none | length }}",
    "{{ 5 | length }}", "{{ 1 < 'a' }}", "{{ none in none }}", "{{ 1 in 'a' }}", "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{{ [1] < ['a'] }}", "{{ {[]: 1} }}", "{{ raise_exception('no ' ~ word) }}", "{{ 'a'.foo() }}", "{{ list.append(4) }}", "{{ dict.update({}) }}", "{{ dict.pop('a') }}", "{{ range(100001) | list }}", "{{ range() }}",
    "{% if %}{% endif %}", "{% if true %}", "{% endif %}", "{% for x in list %}", "{{ }}", "{{ 1 +", "{{ 'abc }}", "{% foo %}", "{{ 1 2 }}", "{{ a b }}", "{{ (1 }}", "{{ [1 }}", "{{ 1) }}", "{{ {'a' 1} }}", "{# open", "{% raw %}x", "{{ a..b }}", "{{ 1 is }}", "{{ x | }}", "{{ 1 | nofilter }}", "{{ 1 is notest }}",
    "{% set %}", "{% set 1 = 2 %}", "{% set x.y = 2 %}", "{% set word.y = 2 %}", "{% break %}", "{% macro %}{% endmacro %}", "{% macro f(a, a2=1, b) %}{% endmacro %}", "{{ f(1, 2) }}", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{% endmacro %}{{ f(b=2) }}", "{{ f(a=1, 2) }}",
    "{{ ';' ; }}", "{{ 'a' & 'b' }}", "{{ '\\x1' }}", "{{ n[1:] }}", "{{ dict[1:2] }}", "{{ list['a':] }}", "{{ list[::0] }}", "{{ 'a'.split('') }}", "{{ missing | tojson }}", "{{ dict.items() | tojson }}", "{{ words | map('upper') | length }}", "{% for x in 5 | items %}{% endfor %}", "{{ 5 | join }}", "{{ [1, 'a'] | sort }}", "{{ ''.join([1]) }}",
    "{{ 'x'.index('y') }}", "{{ [1].index(2) }}", "{{ '%d' % 'a' }}", "{{ '%s' % (1, 2) }}", "{{ '%s %s' % 1 }}", "{{ '{}'.format() }}", "{{ -'a' }}", "{{ 1() }}", "{{ [] | map('nofilter') | list }}{{ [1] | map('nofilter') | list }}", "{{ messages[0].role.x.y }}", "{{ 0 ** -1 }}", "{% for loop.x in list %}{% endfor %}",
    "{{ missing | int }}", "{{ 'a' is odd }}", "{{ 1 is divisibleby }}", "{% generation %}", "{% for x in list %}{% if %}{% endfor %}", "{% else %}", "{{ 1 if }}", "{{ not }}", "{{ a.1b }}", "{% elif true %}", "{% for x in list %}{% set loop = 1 %}{% endfor %}", "{% for loop in list %}{% endfor %}",
]


def cases():
    groups = [SPACE, EXPRESSIONS, ACCESS, STATEMENTS, FILTERS, METHODS, TESTS, CHATS, ERRORS]
    for group in groups:
        for template in group:
            for prompt in (False, True) if group is CHATS else (False,):
                yield {"template": template,
                       "variables": dict(THINGS, bos_token="<s>", eos_token="</s>"),
                       "messages": CHAT, "add_generation_prompt": prompt}
    for template in ["{{ strftime_now('%d %b %Y') }}", "{{ strftime_now('%Y-%m-%d %H:%M:%S %A %B %j') }}",
                     "{{ strftime_now('%-d. %-m.') }}"]:
        yield {"template": template, "variables": {}, "messages": [], "date": "2026-03-07"}


if __name__ == "__main__":
    count = 0
    with open("tests/fixtures/templates/cases.jsonl", "w", encoding="utf-8") as out:
        out.write(json.dumps({"variables": dict(THINGS, bos_token="<s>", eos_token="</s>"),
                              "messages": CHAT}, ensure_ascii=False) + "\n")
        for case in cases():
            expected = render(case)
            line = {"template": case["template"]}
            line.update({key: case[key] for key in ("add_generation_prompt", "date") if case.get(key)})
            line.update(expected if "text" in expected else {"error": True})
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    print("%d cases" % count)
