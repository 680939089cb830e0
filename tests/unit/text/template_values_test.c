/* SPDX-License-Identifier: Apache-2.0 */
/* What expressions, filters, tests, methods and statements of templates give, operator by operator:
 * as Jinja 3.1 gives it, in the environment that transformers makes for chat templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "sluice/chat_template.h"

static void templates_give_what_jinja_gives(void **state)
{
    (void)state;
    static const struct {
        const char *text, *rendered;
    } cases[] = {
        {"{{ 'abcabc'.rindex('b') }} {{ 'abcabc'.rfind('z') }} {{ 'abcabc'.index('c') "
         "}} {{ 'abcabc'.rindex('b', 0, 4) }}",
         "4 -1 2 1"},
        {"{{ range(3) == range(3) }} {{ range(3) == range(4) }} {{ range(0) == range(5,"
         " 5) }} {{ range(0, 4, 2) == range(0, 3, 2) }} {{ range(1, 2, 7) == range(1,"
         " 2) }} {{ range(1, 3) == range(2, 4) }} {{ range(0, 4) == range(0, 8, 2) "
         "}}",
         "True False True True True False False"},
        {"{{ 2 in range(0, 6, 2) }} {{ 3 in range(0, 6, 2) }} {{ 6 in range(6) }}"
         " {{ 'a' in {'a': 1} }} {{ 1 in [1] }} {{ 'bc' in 'abcd' }} {{ '' in 'x' "
         "}} {{ 'a' in {'a': 1}.keys() }} {{ 'b' in {'a': 1}.keys() }} {{ 1 in {'a': "
         "1}.values() }} {{ ('a', 1) in {'a': 1}.items() }}",
         "True False False True True True True True False True True"},
        {"{{ ('<' | e) is escaped }} {{ '<' is escaped }} {{ 3 is escaped }}", "True False False"},
        {"{{ '%c|%c|%5.1f|%+d|%x|%X|%o|%#x|%e|%g|%%|%s|%r' | format(65, 'z', 2.25,"
         " 3, 255, 255, 8, 255, 12345.678, 0.0001, 'x', 'y') }}",
         "A|z|  2.2|+3|ff|FF|10|0xff|1.234568e+04|0.0001|%|x|'y'"},
        {"{{ '%-5s|%5s|%05d|% d|%.2s|%i|%u|%5.1f%%' | format('ab', 'cd', 42, 7, 'xyz',"
         " 3, 4, 99.5) }}",
         "ab   |   cd|00042| 7|xy|3|4| 99.5%"},
        {"{{ '%d|%d' | format(2.9, -2.9) }} {{ '%G|%E' % (1e20, 1.5) }} {{ '%(a)s-%(b)03d' "
         "% {'a': 'x', 'b': 7} }} {{ '%*d|%-*d|%.*f' % (5, 42, 4, 7, 2, 1.2345) }"
         "}",
         "2|-2 1E+20|1.500000E+00 x-007    42|7   |1.23"},
        {"{{ '{:>5}|{:<5}|{:^5}|{:05d}|{:+.2f}|{:,}|{:x}|{:#b}|{!r}'.format('a', "
         "'b', 'c', 42, 3.14159, 1234567, 255, 5, 'q') }}",
         "    a|b    |  c  |00042|+3.14|1,234,567|ff|0b101|'q'"},
        {"{{ '{0}{1}{0} {name} {a[0]} {:.1%}'.format('x', 'y', name='n', a=[1]) if "
         "false else '{0}{1}{0} {name} {a[0]}'.format('x', 'y', name='n', a=[1]) "
         "}} {{ '{:.1%}|{:e}|{:g}|{:n}'.format(0.256, 1500, 1e10, 5) }} {{ '{{}}'.format() "
         "}}",
         "xyx n 1 25.6%|1.500000e+03|1e+10|5 {}"},
        {"{{ 7 // -2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7.5 // -2 }} {{ "
         "-7.5 % 2 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 1.5 "
         "- 2 }} {{ 3 * 1.5 }} {{ +3 }} {{ +true }} {{ -true }} {{ +2.5 }} {{ 7 // "
         "-1 }} {{ 7 % -1 }} {{ 1.0 / 4 }} {{ 5.0 - 1.5 }}",
         "-4 -4 2 -2 -4.0 0.5 3.5 1024 0.5 4 -0.5 4.5 3 1 -1 2.5 -7 0 0.25 3.5"},
        {"{{ [1, 2] + [3] }} {{ 'ab' * 2 }} {{ 2 * 'ab' }} {{ [1] * 2 }} {{ (1,) "
         "+ (2,) }} {{ 'ab' * 0 }} {{ 'ab' * -1 }} {{ 3 * [] }}",
         "[1, 2, 3] abab abab [1, 1] (1, 2)   []"},
        {"{{ 'abc'[1] }} {{ 'abc'[-1] }} {{ 'abcdef'[1:4] }} {{ 'abcdef'[::-1] }}"
         " {{ 'abcdef'[4:1:-2] }} {{ [1,2,3,4][1:] }} {{ [1,2,3,4][:-1] }} {{ (1,"
         "2,3)[::2] }} {{ 'abc'[5:] }}|{{ 'abc'[-5:2] }}",
         "b c bcd fedcba ec [2, 3, 4] [1, 2, 3] (1, 3) |ab"},
        {"{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m.name }} {{ m.arguments "
         "}} {{ m(1) }} {{ m(1, b=3) }}",
         "m ('a', 'b') 12 13"},
        {"{% for g in [{'k': 1, 'v': 2}, {'k': 2, 'v': 3}, {'k': 1, 'v': 4}] | groupby('k') "
         "%}{{ g.grouper }}:{{ g.list | map(attribute='v') | list }};{{ g[0] }}{{ "
         "g[1] | length }} {% endfor %}",
         "1:[2, 4];12 2:[3];21 "},
        {"{% set c = cycler('a', 'b', 'c') %}{{ c.current }}{{ c.next() }}{{ c.current "
         "}}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.current "
         "}}",
         "aabbcaNonea"},
        {"{% for x in [1, 2, 3, 4] | select('odd') %}{{ loop.length }}{{ loop.revindex "
         "}}{{ loop.index0 }}{{ loop.last }} {% endfor %}",
         "220False 211True "},
        {"{% for x in [1, 2, 3, 4, 5] | reject('odd') %}{{ loop.index }}{% if loop.index "
         "== 2 %}{{ loop.length }}{{ loop.revindex0 }}{% endif %}{{ loop.first }}"
         "{% endfor %}",
         "1True220False"},
        {"{% for x in 'abc' | list | map('upper') %}{{ loop.revindex0 }}{{ loop.nextitem "
         "}}{{ loop.previtem }}{{ loop.length }}{{ x }} {% endfor %}",
         "2B3A 1CA3B 0B3C "},
        {"{% for x in [3, 1, 2] | sort(reverse=true) %}{{ x }}{{ loop.cycle('a', "
         "'b') }}{{ loop.depth }}{{ loop.changed(x > 1) }} {% else %}none{% endfor "
         "%}{% for x in [] %}{% else %}none{% endfor %}",
         "3a1True 2b1False 1a1True none"},
        {"{{ 'x' is filter }} {{ 'upper' is filter }} {{ 'odd' is test }} {{ 'nope' "
         "is test }} {{ 4 is divisibleby 2 }} {{ 4 is divisibleby(3) }} {{ 5 is odd "
         "}} {{ 5 is even }} {{ none is none }} {{ 1 is boolean }} {{ true is boolean "
         "}} {{ 1.0 is float }} {{ 1 is integer }} {{ true is integer }} {{ 'a' is "
         "string }} {{ [] is iterable }} {{ 3 is iterable }} {{ {} is mapping }} "
         "{{ 'A' is upper }} {{ 'a' is lower }} {{ x is defined }} {{ x is undefined "
         "}} {{ 1 is sameas 1 }} {{ true is sameas true }} {{ 1 is in [1, 2] }} {{ "
         "1 is eq 1 }} {{ 2 is gt 1 }} {{ 2 is le 1 }} {{ 2 is ne 1 }} {{ 2 is lt "
         "3 }} {{ 2 is ge 3 }} {{ 'a' is number }} {{ 2 is number }} {{ 'a' is sequence "
         "}} {{ 3 is sequence }} {{ range is callable }} {{ 1 is callable }} {{ true "
         "is true }} {{ false is false }} {{ 1 is true }}",
         "False True True False True False True False True False True True True False "
         "True True False True True True False True True True True True True False "
         "True True False False True True False True False True True False"},
        {"{{ 'a-b_c d' | title }} {{ 'hELLO' | capitalize }} {{ ' x ' | trim }}|{{ "
         "'xxaxx' | trim('x') }} {{ 'a b  c' | wordcount }} {{ 'abc' | reverse }}"
         " {{ 'abcdefgh' | truncate(5, true) }} {{ 'hello world foo' | truncate(12,"
         " false, '..', 0) }} {{ 'ab' | center(6) }}| {{ 'a\\nb' | indent(2) }} {{ "
         "'a\\n\\nb' | indent(2, true, true) }} {{ '<a>' | escape }}",
         "A-B_c D Hello x|a 3 cba abcdefgh hello..   ab  | a\n  b   a\n  \n  b &lt;"
         "a&gt;"},
        {"{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 0) | list "
         "}} {{ [1, 2, 3, 4, 5] | slice(2) | list }} {{ [1, 2, 3] | slice(2, 'x') "
         "| list }} {{ [3, 1] | max }} {{ [3, 1] | min }} {{ [1, 2.5] | sum }} {{ "
         "['b', 'A'] | sort }} {{ ['b', 'A'] | sort(case_sensitive=true) }} {{ ['a',"
         " 'A', 'b'] | unique | list }} {{ [1, 2] | first }} {{ [1, 2] | last }} "
         "{{ [1, 2] | join('-') }} {{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1, "
         "'a': 2} | dictsort(by='value', reverse=true) }} {{ {'a': 1} | items | list "
         "}} {{ [[1, 2], [3]] | map('first') | list }} {{ [{'a': 1}, {}] | map(attribute='a',"
         " default=7) | list }}",
         "[[1, 2], [3, 4], [5]] [[1, 2], [3, 0]] [[1, 2, 3], [4, 5]] [[1, 2], [3,"
         " 'x']] 3 1 3.5 ['A', 'b'] ['A', 'b'] ['a', 'b'] 1 2 1-2 [('a', 2), ('b',"
         " 1)] [('a', 2), ('b', 1)] [('a', 1)] [1, 3] [1, 7]"},
        {"{{ 3.7 | int }} {{ '42' | int }} {{ 'x' | int(9) }} {{ '0x1f' | int(0, "
         "16) }} {{ '12.7' | int }} {{ '3.5' | float }} {{ 'x' | float(1.5) }} {{ "
         "2.567 | round(2) }} {{ 2.5 | round }} {{ 2.1 | round(0, 'ceil') }} {{ 2.9 "
         "| round(method='floor') }} {{ -3 | abs }} {{ 5 | string }} {{ [1] | tojson "
         "}} {{ {'b': 1, 'a': [true, none]} | tojson }} {{ '\xC3\xA9"
         "<' | tojson "
         "}} {{ {'a': 1} | tojson(indent=2) }} {{ none | default('d') }} {{ '' | "
         "default('d', true) }} {{ x | default('u') }} {{ 'a' | list }}",
         "3 42 9 31 12 3.5 1.5 2.57 2.0 3.0 2.0 3 5 [1] {\"b\": 1, \"a\": [true, "
         "null]} \"\xC3\xA9"
         "<\" {\n  \"a\": 1\n} None d u ['a']"},
        {"{{ 'aXbXc'.split('X') }} {{ 'a b  c'.split() }} {{ 'aXbXc'.rsplit('X', "
         "1) }} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ 'abc'.partition('b') }} {{ "
         "'abcb'.rpartition('b') "
         "}} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('bc', 1) }} {{ "
         "'abc'.replace('b', 'X') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ ' x '.strip() "
         "}}| {{ 'xax'.lstrip('x') }} {{ 'xax'.rstrip('x') }} {{ 'ab'.upper() }} "
         "{{ 'AB'.lower() }} {{ 'ab cd'.title() }} {{ 'ab'.capitalize() }} {{ 'aB'.swapcase() "
         "}} {{ 'a'.zfill(3) }} {{ '-5'.zfill(4) }} {{ 'a'.ljust(3, '.') }} {{ 'a'.rjust(3,"
         " '.') }} {{ 'a'.center(4, '.') }} {{ 'abab'.count('ab') }} {{ 'a'.isalpha() "
         "}} {{ '1'.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'x'.join(['a',"
         " 'b']) }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') "
         "}} {{ 'x'.removeprefix('xy') }} {{ 'abc'.find('c', 0, 2) }}",
         "['a', 'b', 'c'] ['a', 'b', 'c'] ['aXb', 'c'] ['a', 'b', 'c'] ('a', 'b',"
         " 'c') ('abc', 'b', '') True True aXc bba x| ax xa AB ab Ab Cd Ab Ab 00a "
         "-005 a.. ..a .a.. 2 True True True True axb x x x -1"},
        {"{% set ns = namespace(a=1) %}{% for i in range(3) %}{% set ns.a = ns.a "
         "+ i %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}{{ ns.a "
         "}} {% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% "
         "endfor %}",
         "024 01"},
        {"{% macro outer() %}[{{ caller(1) }}]{% endmacro %}{% call(x) outer() %}"
         "v{{ x }}{% endcall %} {% filter upper %}abc{% endfilter %} {% set b %}x{{ "
         "1 }}y{% endset %}{{ b }} {% with a = 1, c = 2 %}{{ a + c }}{% endwith %}",
         "[v1] ABC x1y 3"},
        {"{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' ~ 1 ~ none }} {{ not 1 }} {{ 1 and "
         "2 }} {{ 0 or 'x' }} {{ 1 if 0 else 2 }} {{ 1 == 1.0 }} {{ true == 1 }} "
         "{{ '1' == 1 }} {{ [1, 2] == [1, 2] }} {{ [1] == (1,) }} {{ {'a': 1} == "
         "{'a': 1.0} }} {{ {'a': 1} == {'b': 1} }} {{ [1, 2] < [1, 3] }} {{ 'a' < "
         "'b' }} {{ none == false }} {{ 9007199254740993 == 9007199254740992.0 }}"
         " {{ 9007199254740993 > 9007199254740992.0 }}",
         "True False a1None False 2 x 2 True True False True False True False True "
         "True False False True"},
        {"{% for k, v in {'a': 1, 'b': 2}.items() recursive %}{{ k }}{{ v }}{% endfor "
         "%} {% for i in [[1, [2]], [3]] recursive %}({% if i is iterable %}{{ loop(i) "
         "}}{% else %}{{ i }}{% endif %}){% endfor %} {{ joiner('-') is callable "
         "}} {% set j = joiner('|') %}{{ j() }}a{{ j() }}b {{ dict(a=1, b=2) }} {{ "
         "range(1, 6, 2) | list }} {{ range(3, 0, -1) | list }}",
         "a1b2 ((1)((2)))((3)) True a|b {'a': 1, 'b': 2} [1, 3, 5] [3, 2, 1]"},
        {"{{ {'a': {'b': 1}}.a.b }} {{ {'a': 1}['a'] }} {{ {'a': 1}.get('b', 5) }"
         "} {{ {'a': 1}.get('b') }} {{ {'a': 1}.keys() | list }} {{ {'a': 1}.values() "
         "| list }} {{ {'a': 1} | length }} {{ {'a': 1} | attr('a') is defined }}"
         " {{ 'abc' | attr('upper') is callable }} {{ [1, [2, 3]] | string }} {{ "
         "(1,) }} {{ () }} {{ 'it''s' if false else \"it's\" }} {{ [\"it's\", 'a\"b',"
         " \"\\n\\t\\\\\"] }} {{ 1e100 }} {{ 1.0 }} {{ 1e-7 }} {{ 123456789.123 }"
         "} {{ 0.1 + 0.2 }} {{ 1e16 }}",
         "1 1 5 None ['a'] [1] 1 False True [1, [2, 3]] (1,) () it's [\"it's\", 'a\"b',"
         " '\\n\\t\\\\'] 1e+100 1.0 1e-07 123456789.123 0.30000000000000004 1e+16"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct chat_template *template_;
        struct buffer out = {0};
        const struct chat_variables variables = {0};
        if (chat_template_create("t", cases[i].text, strlen(cases[i].text), &template_) !=
                STATUS_OK ||
            chat_template_render(template_, &variables, &out) != STATUS_OK) {
            fail_msg("%s: %s", cases[i].text, status_message());
        }
        assert_string_equal(out.data, cases[i].rendered);
        chat_template_destroy(template_);
        buffer_destroy(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(templates_give_what_jinja_gives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
