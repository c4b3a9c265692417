"""Writes snippets.json: Jinja snippets and what Hugging Face transformers renders them to; null where it refuses.

    pip install jinja2==3.1.6 transformers==5.24.0
    python3 tests/data/templates/snippets.py > tests/data/templates/snippets.json
"""

import json

from transformers.utils.chat_template_utils import _compile_jinja_template

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi <b>&amp;</b>\n\"there\" ü "},
    {"role": "assistant", "content": "<think>why</think>Hello"},
]
VARIABLES = {
    "messages": MESSAGES,
    "tools": None,
    "documents": None,
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
}

# By subject: source texts.
SNIPPETS = {
    "variables": r"""
{{ tools is none }}{{ tools is defined }}{{ documents is none }}
{% if tools is not none and tools | length %}T{% else %}N{% endif %}
{% if tools is iterable and tools | length > 0 %}T{% else %}N{% endif %}
{% if not documents %}N{% endif %}
{{ undefined_name }}|{{ undefined_name is defined }}
{{ undefined_name.x }}
{{ messages[0].tool_calls is defined }}|{{ messages[0].tool_calls }}
{{ messages[9] is defined }}|{{ messages[-1].role }}
{{ messages[0]['role'] ~ messages[0].content | length }}
{{ bos_token + 'a' + eos_token }}
{{ x | default('d') }}{{ none | default('d') }}{{ '' | default('e', true) }}
""",
    "tests": r"""
{{ none is iterable }}{{ 1 is iterable }}{{ 'a' is iterable }}{{ [] is iterable }}{{ {} is iterable }}
{{ 'a' is string }}{{ 'a' is sequence }}{{ [] is sequence }}{{ {} is sequence }}{{ {} is mapping }}{{ 1 is sequence }}
{{ undefined_name is iterable }}
{{ 1 is number }}{{ 1.0 is float }}{{ 1 is integer }}{{ true is boolean }}{{ true is integer }}{{ none is none }}
{{ 3 is odd }}{{ 4 is even }}{{ 9 is divisibleby 3 }}{{ 1 is eq 1 }}{{ 2 is gt 1 }}{{ 'a' is in 'abc' }}
{{ 'a' is lower }}{{ 'A' is upper }}{{ range is callable }}{{ 1 is callable }}
{{ 'a' is sameas 'a' }}{{ none is sameas none }}{{ true is true }}{{ false is false }}{{ 1 is true }}
{{ 'upper' is filter }}{{ 'odd' is test }}{{ 'nofilter' is filter }}
{{ x is not defined }}{{ not x is defined }}{{ x is undefined }}
""",
    "strings": r"""
{{ 'a</t>b</t>c'.rsplit('</t>', 1)[-1] }}
{{ 'a.b.c'.rsplit('.', 1) }}{{ ' a  b '.rsplit() }}
{{ 'a,b,c'.split(',') }}{{ 'a,b,c'.split(',', 1) }}{{ ' a  b '.split() }}{{ ''.split() }}{{ ''.split(',') }}
{{ 'a  b c'.split(none, 1) }}{{ 'a b c'.split(maxsplit=1) }}{{ 'a,b'.split(sep=',') }}
{{ 'foobar'.removeprefix('foo') }}{{ 'foobar'.removeprefix('bar') }}{{ 'foobar'.removesuffix('bar') }}{{ 'x'.removesuffix('') }}
{{ 'k=v=w'.partition('=') }}{{ 'k'.partition('=') }}
{{ 'k=v=w'.rpartition('=') }}{{ 'k'.rpartition('=') }}
{{ 'hello'.index('l') }}{{ 'hello'.rindex('l') }}{{ 'hello'.find('z') }}{{ 'hello'.rfind('l') }}
{{ 'hello'.index('z') }}
{{ 'hello'.find('l', 3) }}{{ 'hello'.find('l', 0, 2) }}{{ 'üäl'.find('l') }}{{ 'hello'.index('l', -2) }}
{{ 'hello'.count('l') }}{{ 'hello'.count('l', 3) }}{{ 'aaa'.count('aa') }}{{ 'abc'.count('') }}
{{ '42'.zfill(5) }}{{ '-42'.zfill(5) }}{{ '+1'.zfill(1) }}{{ ''.zfill(2) }}
{{ 'a'.center(5) }}|{{ 'ab'.center(5, '*') }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '.') }}|
{{ ' x '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ ' x '.lstrip() }}|{{ ' x '.rstrip() }}|{{ 'abcba'.lstrip('ab') }}|{{ 'x\n'.rstrip('\n') }}|
{{ 'Ab'.upper() }}{{ 'Ab'.lower() }}{{ 'aB cD'.title() }}{{ 'aB'.capitalize() }}{{ 'aB'.swapcase() }}{{ 'Straße'.casefold() }}
{{ "they're bill's".title() }}{{ 'a1b'.title() }}
{{ 'abc'.startswith('a') }}{{ 'abc'.endswith(('b', 'c')) }}{{ 'abc'.startswith('b', 1) }}{{ 'abc'.startswith('') }}
{{ 'aXbX'.replace('X', '-') }}{{ 'aXbX'.replace('X', '-', 1) }}{{ 'ab'.replace('', '.') }}
{{ 'a\nb\r\nc'.splitlines() }}{{ 'a\nb'.splitlines(true) }}{{ ''.splitlines() }}{{ 'a\rb'.splitlines() }}
{{ '12'.isdigit() }}{{ 'a'.isalpha() }}{{ 'a1'.isalnum() }}{{ ' '.isspace() }}{{ 'a'.islower() }}{{ 'A'.isupper() }}{{ ''.isdigit() }}
{{ 'Ab Cd'.istitle() }}{{ 'a_1'.isidentifier() }}{{ '1'.isdecimal() }}{{ '½'.isnumeric() }}{{ '½'.isdigit() }}{{ 'a'.isascii() }}{{ '\n'.isprintable() }}
{{ 'a\tb'.expandtabs(4) }}|{{ 'ab'.expandtabs() }}
{{ ', '.join(['a', 'b']) }}{{ '-'.join('abc') }}{{ ','.join([]) }}
{{ ','.join([1]) }}
{{ 'abc'[1] }}{{ 'abc'[-1] }}{{ 'abc'[::-1] }}{{ 'abcdef'[1:-1] }}{{ 'abcdef'[::2] }}{{ 'abc'[5:] }}
{{ 'a' 'b' }}{{ 'a' ~ 1 ~ none ~ true }}{{ 'ab' * 3 }}{{ 'b' in 'abc' }}{{ 'a' < 'b' }}
{{ '\u00e9\x41\t|\'|\\' }}
{{ '{}-{}'.format(1, 'x') }}{{ '{0}{1}{0}'.format('a', 'b') }}{{ '{a}'.format(a=1) }}{{ '{{}}'.format() }}
{{ '{:>5}|{:<4}|{:^5}|{:03d}|{:.2f}|{:,}|{:x}'.format('a', 'b', 'c', 7, 1.5, 12345, 255) }}
{{ '{:*^7}'.format('ab') }}{{ '{:5}'.format(3) }}{{ '{:+d}'.format(3) }}{{ '{:e}'.format(1500.0) }}
{{ '{0[a]}'.format({'a': 1}) }}
{{ messages[2].content.split('</think>')[-1].lstrip('\n') }}
{{ 'a'.nomethod() }}
""",
    "percent": r"""
{{ '%s: %s' % ('a', 'b') }}
{{ '%d%%' % 7 }}{{ '%.2f' % 1.5 }}{{ '%s' % 1 }}{{ '%s' % none }}{{ '%s' % [1, 'a'] }}
{{ '%5d|%-5d|%05d|%+d|%x|%X|%o' % (1, 2, 3, 4, 255, 255, 8) }}
{{ '%(a)s-%(b)d' % {'a': 'x', 'b': 2} }}
{{ '%c' % 'a' }}{{ '%5s|%-5s|' % ('a', 'b') }}{{ '%.1s' % 'abc' }}{{ '%e' % 1234.5 }}{{ '%g' % 0.5 }}
{{ '%s' % ('a', 'b') }}
{{ '%s %s' % ('a',) }}
{{ '%d' % 'a' }}
{{ 7 % 3 }}{{ -7 % 3 }}{{ 7.5 % 2 }}{{ 1 + 7 % 4 * 2 }}
{% for m in messages %}{{ '<%s>' % m.role }}{% endfor %}
{% set f = '<%s>' %}{{ f % 'a' }}{{ (f ~ f) % ('a', 'b') }}
{{ '%s|%s' | format('a', 1) }}
{{ 'a' % 'b' }}
""",
    "json": r"""
{{ {'role': 'user', 'n': [1, 2]} | tojson }}
{{ {'role': 'user', 'n': [1, 2]} | tojson(separators=(',', ':')) }}
{{ {'b': 1, 'a': 2} | tojson(separators=(', ', ': ')) }}
{{ {'b': 1, 'a': {'d': 1, 'c': 2}} | tojson(sort_keys=true) }}
{{ {'a': 1, 'b': [1, {}], 'c': []} | tojson(indent=2) }}
{{ {'a': [1, 2]} | tojson(indent=2, separators=(',', ':')) }}
{{ {'a': [1, 2]} | tojson(indent=0) }}
{{ {'b': [1], 'a': 2} | tojson(indent=4, sort_keys=true) }}
{{ 'ü<>&\'"\\/\n\t\u2028😀' | tojson }}
{{ 'ü<>&\'"\\/\n\t\u2028😀' | tojson(ensure_ascii=true) }}
{{ '\x01\x7f\x08\x0c\r' | tojson }}
{{ [1, 1.0, 1e20, 1.5e-7, true, none, 'a'] | tojson }}
{{ (1, 2) | tojson }}{{ [] | tojson }}{{ {} | tojson }}{{ 'a' | tojson }}
{{ messages | tojson }}
{{ messages[1] | tojson(ensure_ascii=False, indent=2) }}
{{ {1: 'a', none: 'b', true: 'c'} | tojson }}
{{ undefined_name | tojson }}
{{ '<a>' | tojson | length }}{{ ('<a>' | tojson) ~ '<b>' }}
{{ {'a': 1} | tojson(2) }}
{{ {'a': [1]} | tojson(indent='  ') }}
""",
    "values": r"""
{{ [1, 'a', none, true, 1.5] }}{{ {'a': 'b'} }}{{ (1, 'x') }}{{ (1,) }}{{ () }}
{{ ["it's", 'a"b', "a\n", 'ü', "\\"] }}
{{ true }}{{ false }}{{ none }}{{ True }}{{ None }}
{{ 1.0 }} {{ 0.1 }} {{ 1e100 }} {{ 1e-7 }} {{ 100000000000000000000.0 }} {{ 1e16 }} {{ 123456789.125 }}
{{ 7 / 2 }} {{ 4 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1 + 2.0 }} {{ 10 ** 20 }}
{{ 1 == 1.0 }}{{ 1 < 2 < 3 }}{{ 1 in [1] }}{{ 'a' not in ['b'] }}{{ 'k' in {'k': 1} }}{{ [1] == [1] }}{{ (1,) == [1] }}
{{ [1] + [2] }}{{ [0] * 3 }}{{ (1,) + (2,) }}{{ [1, 2, 3][1:] }}{{ [3, 2][::-1] }}{{ (1, 2, 3)[:2] }}
{{ 1 if true else 2 }}{{ 1 if false }}{{ 'x' if messages else 'y' }}{{ none or 'a' }}{{ 'a' and 'b' }}{{ not '' }}
{{ 1_000 }}{{ 0x1f }}{{ 0b11 }}{{ 0o17 }}
{{ {'a': 1}.get('a') }}{{ {'a': 1}.get('b') }}{{ {'a': 1}.get('b', 2) }}
{{ {'a': 1, 'b': 2}.items() | list }}{{ {'a': 1}.keys() | list }}{{ {'a': 1}.values() | list }}
{{ {'a': 1}.copy() }}{{ dict(a=1, b=2) }}{{ dict({'a': 1}, b=2) }}
{{ [1, 2, 1].count(1) }}{{ [1, 2].index(2) }}{{ [1].copy() }}{{ (1, 2).index(2) }}
{% set l = [] %}{{ l.append(1) }}
{{ {}.update({'a': 1}) }}
{{ range(3) | list }}{{ range(5, 0, -2) | list }}{{ range(0) | list }}
{{ 'a' + 1 }}
{{ [1, [2, {'a': (1, 2)}]] | string }}{{ 1 | string }}{{ none | string }}
{{ -1 | abs }}{{ (-1) | abs }}{{ 5.0 | int }}{{ '7' | int + 1 }}{{ 'x' | int }}{{ 'x' | int(3) }}{{ '1.5' | float }}{{ '0x1A' | int(base=16) }}
""",
    "filters": r"""
{{ 'hello world' | title }}{{ 'hELLO' | capitalize }}{{ 'a' | upper }}{{ 'A' | lower }}
{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'a b' | replace(' ', '_') }}{{ 'aaa' | replace('a', 'b', 2) }}
{{ [3, 1, 2] | sort }}{{ [3, 1] | sort(reverse=true) }}{{ ['b', 'A'] | sort }}{{ ['b', 'A'] | sort(case_sensitive=true) }}
{{ messages | map(attribute='role') | join(',') }}{{ messages | map('length') | list }}{{ ['a'] | map('upper') | list }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', 'eq', 'user') | map(attribute='role') | list }}
{{ [1, 2, 3] | select('odd') | list }}{{ [1, 2, 3] | reject('odd') | list }}{{ [0, 1, ''] | select | list }}
{{ messages | map(attribute='x', default='-') | join }}{{ messages | selectattr('content') | list | length }}
{{ [1, 2, 3] | first }}{{ [1, 2, 3] | last }}{{ [1, 2, 3] | length }}{{ 'abc' | count }}{{ [] | first }}
{{ [1, 2] | sum }}{{ [1, 2] | max }}{{ [1, 2] | min }}{{ [[1], [2]] | sum(start=[]) }}{{ messages | map(attribute='content') | map('length') | sum }}
{{ [1, 1, 2] | unique | list }}{{ ['a', 'A'] | unique | list }}
{{ 'abc' | reverse }}{{ [1, 2] | reverse | list }}{{ 'abc' | list }}
{{ [1, 2, 3] | batch(2) | list }}{{ [1, 2, 3] | batch(2, 0) | list }}{{ [1, 2, 3] | slice(2) | list }}
{{ {'b': 1, 'a': 2} | dictsort }}{{ {'b': 1, 'a': 2} | dictsort(by='value') }}{{ {'b': 1} | items | list }}
{% for k, g in messages | groupby('role') %}{{ k }}{{ g | length }}{% endfor %}
{{ 'a\nb' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2) }}|{{ 'a\nb' | indent(width=1, first=true, blank=true) }}
{{ '<a>' | e }}{{ '<a>' | escape }}{{ '<a>' | safe }}
{{ 1.2345 | round(2) }}{{ 1.5 | round }}{{ 1.25 | round(1, 'floor') }}{{ 2.1 | round(method='ceil') }}{{ 12 | round(-1) }}
{{ 'a b  c' | wordcount }}{{ 'ab' | center(6) }}|
{{ [['a', 1]] | map('first') | list }}{{ [1, 2] | join }}{{ [1, 2] | join('-') }}{{ messages | join(',', attribute='role') }}
{{ [1.0, 2] | join(', ') }}
{{ none | length }}
{{ 'a' | nofilter }}
{% filter upper %}a{{ 'b' }}{% endfilter %}
""",
    "statements": r"""
{% for m in messages %}{% generation %}{{ m.role }}{% endgeneration %}{% endfor %}
{%- generation -%} a {%- endgeneration -%}  b
{% generation %}{% set x = 1 %}{% endgeneration %}{{ x is defined }}
{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}
{% for i in range(5) %}{% if i is odd %}{% continue %}{% endif %}{{ i }}{% endfor %}
{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}
{% for i in [1, 1, 2] %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i) }}{{ loop.depth }}{% endfor %}
{% for i in [] %}x{% else %}empty{% endfor %}{% for i in [1, 2, 3] if i > 1 %}{{ loop.index }}{{ i }}{% endfor %}
{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{% for k in {'a': 1} %}{{ k }}{% endfor %}
{% for i in undefined_name %}x{% else %}none{% endfor %}
{% for i in [1, [2, [3]]] recursive %}{% if i is iterable %}({{ loop(i) }}){% else %}{{ i }}{% endif %}{% endfor %}
{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}{% if true %}{% set x = 3 %}{% endif %}{{ x }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c %}x{{ a }}{% endset %}{{ c }}{% set d | upper %}x{% endset %}{{ d }}
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}
{% set s = namespace({'a': 1}) %}{{ s.a }}
{% set s = namespace(x=1) %}{% for i in [1, 2] %}{% set s.x = s.x + i %}{% endfor %}{{ s.x }}
{% macro f(n) %}{{ n.x }}{% endmacro %}{% set s = namespace(x=1) %}{{ f(s) }}
{% macro f(n) %}{% set n.x = 5 %}{% endmacro %}{% set s = namespace(x=1) %}{{ f(s) }}{{ s.x }}
{% macro f(a, n) %}{% set n.x = n.x + a %}{% endmacro %}{% set s = namespace(x=1) %}{{ f(2, n=s) }}{{ s.x }}
{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(o) %}{% set o.x = 7 %}{% endmacro %}{% set s = namespace() %}{{ f(s) }}{{ s.x }}
{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f() }}
{% macro f() %}[{{ caller() }}]{% endmacro %}{% call f() %}x{% endcall %}
{% macro f() %}{{ caller(1) }}{% endmacro %}{% call(a) f() %}x{{ a }}{% endcall %}
{% macro f(a) %}{% if a %}{{ a }}{{ f(a - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% set j = joiner(', ') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}
{% set j = joiner() %}{{ j() }}a{{ j() }}b
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% if c.reset() %}{% endif %}{{ c.current }}
{% block main %}a{{ bos_token }}{% endblock %}b
{{ debug is defined }}{{ range is defined }}
{% block main %}{% set x = 1 %}{% endblock main %}{{ x is defined }}
{% for i in [1, 2] %}{% block item scoped %}{{ i }}{% endblock %}{% endfor %}
{% raw %}{{ x }}{% endraw %}{# comment #}|{% raw -%} y {%- endraw %}
{% if false %}a{% elif true %}b{% else %}c{% endif %}
{% do 1 %}
{% set a = [1, 2] %}{% set a = a + [3] %}{{ a }}{% set b = (a, a) %}{{ b | length }}
{% set parts = 'a</think>b'.split('</think>') %}{{ parts[0] }}|{{ parts[-1].strip() }}
{% for m in messages if m.role != 'system' %}{{ loop.index0 % 2 == 0 }}{% endfor %}
{% for m in messages %}{{ m.role | upper if loop.first else '' }}{{ ', ' if not loop.last }}{% endfor %}
{% for m in messages[1:] %}{{ m['role'] }}{% endfor %}{% for k, v in messages[0] | items %}{{ k }}{% endfor %}
{% set ns = namespace(found=false) %}{% for m in messages[::-1] %}{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}{{ loop.index0 }}{% endif %}{% endfor %}
{% set x = 7 if tools else 8 %}{{ x % 5 }}{% if x % 2 == 0 %}even{% else %}odd{% endif %}
{% include 'x' %}
{% import 'x' as y %}
{% extends 'x' %}
{{ raise_exception('no') }}
{{ strftime_now('%%') }}
""",
}
# With several lines.
LINES = [
    "A\r\n{% if true %}\r\nB{% endif %}",
    "A\r\n\r\nB\r\n.",
    "A\rB\n",
    "A\n\n",
    "{% if true %}\n  x\n  {% endif %}\ny\n",
    "  {%+ if true %}x{% endif %}",
    "a  {%- if true -%}  x  {%- endif -%}  b",
    "{% if true -%}\n\n a{% endif %}\n{{ 'x' }}\n\n{{- 'y' -}}\n z",
    "{# c #}\nx\n  {# d #}\ny",
    "{{ 'a\r\nb' }}",
    "{% generation %}\n x\n  {% endgeneration %}\ny",
    "{%- for m in messages %}\n    {{- m.role }}\n{%- endfor %}\n",
    "  {% block a %}\n x\n  {% endblock %}\ny",
    "{% set x %}\n a\n{% endset %}[{{ x }}]",
    "{{ 1 }}\n{%+ if true +%}\nx{% endif %}",
    "\ufeffa",
    "{% macro f() %}\n a\n{% endmacro %}\n{{ f() }}{{ f() | trim }}",
]


def render(source):
    try:
        return _compile_jinja_template(source).render(**VARIABLES)
    except Exception:
        return None


sources = [s for text in SNIPPETS.values() for s in text.strip("\n").split("\n")] + LINES
snippets = [{"source": s, "expected": render(s)} for s in sources]
print(json.dumps({"variables": VARIABLES, "snippets": snippets}, indent=1, ensure_ascii=False))
