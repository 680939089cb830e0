/* SPDX-License-Identifier: Apache-2.0 */
/* What templates may not do, construct by construct, and the words that say so: those of Jinja 3.1
 * and Python where these refuse it too. Where it is a limit of ours the status says that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "sluice/chat_template.h"

struct refusal {
    const char *text, *message; /* the message behind the place */
};

static status render(const char *text, struct buffer *out)
{
    struct chat_template *template_;
    const struct chat_variables variables = {.bos_token = "<s>"};
    TRY(chat_template_create("t", text, strlen(text), &template_));
    status s = chat_template_render(template_, &variables, out);
    chat_template_destroy(template_);
    return s;
}

static void assert_refused(const struct refusal *cases, size_t count, status expected)
{
    static const char place[] = "t: line 1: ";
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        struct buffer out = {0};
        const status s = render(cases[i].text, &out);
        const char *message = s == STATUS_OK ? out.data : status_message();
        if (s != expected || strncmp(message, place, sizeof place - 1) != 0 ||
            strcmp(message + sizeof place - 1, cases[i].message) != 0 || out.length != 0) {
            print_error("%s: %s: %s\n", cases[i].text, status_name(s), message);
            wrong++;
        }
        buffer_destroy(&out);
    }
    assert_int_equal(wrong, 0);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{{ [3, 1] | sort(False, reverse=True, 1) }}",
         "invalid syntax for function call expression"},
        {"{{ 'a' | indent(2, width=3) }}",
         "filter 'indent' got multiple values for argument 'width'"},
        {"{{ 'a' | indent(nope=3) }}", "filter 'indent' got an unexpected keyword argument 'nope'"},
        {"{{ 'a' | replace('a') }}", "filter 'replace' misses its argument 'new'"},
        {"{{ 'a' | replace() }}", "filter 'replace' misses its argument 'old'"},
        {"{{ 'abc'.split(1) }}", "split: a str is required, not int"},
        {"{{ 'abc'.replace('a') }}", "method 'replace' misses its argument 'new'"},
        {"{{ 'abc'.startswith(1) }}",
         "startswith first arg must be str or a tuple of str, not int"},
        {"{{ 'abc'.endswith((1,)) }}", "endswith: a str is required, not int"},
        {"{{ 'abc'.strip(5) }}", "strip: a str is required, not int"},
        {"{{ 'abc'.find(1) }}", "find: a str is required, not int"},
        {"{{ 'abc'.find('a', 'b') }}", "'str' object cannot be interpreted as an integer"},
        {"{{ 'abc'.count() }}", "method 'count' misses its argument 'sub'"},
        {"{{ 1() }}", "'int' object is not callable"},
        {"{{ 'a'() }}", "'str' object is not callable"},
        {"{{ 1 in 1 }}", "argument of type 'int' is not iterable"},
        {"{{ 1 in namespace() }}", "argument of type 'Namespace' is not iterable"},
        {"{{ 'a' in 1 }}", "argument of type 'int' is not iterable"},
        {"{{ 1 in 'a' }}", "'in <string>' requires string as left operand, not int"},
        {"{{ 9223372036854775808 }}", "an integer beyond 64 bits"},
        {"{{ 1 / 0 }}", "division by zero"},
        {"{{ 1 // 0 }}", "integer division or modulo by zero"},
        {"{{ 1 % 0 }}", "integer modulo by zero"},
        {"{{ 1.5 / 0 }}", "float division by zero"},
        {"{{ 1.5 // 0 }}", "float floor division by zero"},
        {"{{ 1.5 % 0 }}", "float modulo"},
        {"{{ 0 ** -1 }}", "0.0 cannot be raised to a negative power"},
        {"{{ (-8) ** 0.5 }}", "complex numbers are not supported"},
        {"{{ 1 + 'a' }}", "unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ 'a' - 'b' }}", "unsupported operand type(s) for -: 'str' and 'str'"},
        {"{{ [1] + (1,) }}", "can only concatenate list (not \"tuple\") to list"},
        {"{{ 'a' * 'b' }}", "can't multiply sequence by non-int of type 'str'"},
        {"{{ 'a' < 1 }}", "'<' not supported between instances of 'str' and 'int'"},
        {"{{ [1] < 1 }}", "'<' not supported between instances of 'list' and 'int'"},
        {"{{ -'a' }}", "bad operand type for unary -: 'str'"},
        {"{{ dict(a=1, **{'a': 2}) }}", "got multiple values for keyword argument 'a'"},
        {"{{ dict(**1) }}", "argument after ** must be a mapping, not int"},
        {"{{ dict(**{1: 2}) }}", "keywords must be strings"},
        {"{{ range(*1) }}", "'int' object is not iterable"},
        {"{% set a, b = [1] %}", "not enough values to unpack (expected 2, got 1)"},
        {"{% set a, b = [1, 2, 3] %}", "too many values to unpack (expected 2)"},
        {"{% set a, b = 1 %}", "cannot unpack non-iterable int object"},
        {"{% for a, b in [1] %}{% endfor %}", "cannot unpack non-iterable int object"},
        {"{% for a, b in [[1]] %}{% endfor %}", "not enough values to unpack (expected 2, got 1)"},
        {"{% for a, b in [[1, 2, 3]] %}{% endfor %}", "too many values to unpack (expected 2)"},
        {"{% macro m(a) %}{% endmacro %}{{ m(b=1) }}", "macro 'm' takes no keyword argument 'b'"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
         "macro 'm' takes not more than 1 argument(s)"},
        {"{% macro m(a) %}{% endmacro %}{{ m(1, a=1) }}",
         "macro 'm' takes no keyword argument 'a'"},
        {"{% macro m(a) %}{{ a }}{% endmacro %}{% call m(1) %}x{% endcall %}",
         "macro 'm' takes no keyword argument 'caller'"},
        {"{{ [{'a': 1}] | map(attribute='a', nope=1) | list }}",
         "Unexpected keyword argument 'nope'"},
        {"{{ [1] | map | list }}", "map requires a filter argument"},
        {"{{ [1] | map(5) | list }}", "No filter named '5'."},
        {"{{ [1] | map('nope') | list }}", "No filter named 'nope'."},
        {"{{ [1] | select('nope') | list }}", "No test named 'nope'."},
        {"{{ [1] | selectattr | list }}", "Missing parameter for attribute name"},
        {"{{ [1] | selectattr('a', 'nope') | list }}", "No test named 'nope'."},
        {"{{ 'a' | round }}", "type str doesn't define __round__ method"},
        {"{{ 1.5 | round(1, 'up') }}", "method must be common, ceil or floor"},
        {"{{ '%d' | format(1, a=2) }}",
         "can't handle positional and keyword arguments at the same time"},
        {"{{ 1 | join }}", "'int' object is not iterable"},
        {"{{ [1, [2]] | sum }}", "unsupported operand type(s) for +: 'int' and 'list'"},
        {"{{ ['a'] | sum }}", "unsupported operand type(s) for +: 'int' and 'str'"},
        {"{{ ['a'] | sum(start='') }}", "sum() can't sum strings [use ''.join(seq) instead]"},
        {"{{ 'a' | truncate(3, leeway=-1) }}", "expected leeway >= 0, got -1"},
        {"{{ 'abcdef' | truncate(2) }}", "expected length >= 3, got 2"},
        {"{{ [1] | urlencode }}", "'int' object is not iterable"},
        {"{{ [[1, 2, 3]] | urlencode }}", "urlencode: expected pairs"},
        {"{{ 1 | reverse }}", "argument must be iterable"},
        {"{{ 1 | list }}", "'int' object is not iterable"},
        {"{{ 1 | first }}", "'int' object is not iterable"},
        {"{{ 1 | length }}", "object of type 'int' has no len()"},
        {"{{ 1 | items }}", "Can only get item pairs from a mapping."},
        {"{{ 1 | dictsort }}", "'int' object has no attribute 'items'"},
        {"{{ {'a': 1} | dictsort(by='x') }}", "You can only sort by either \"key\" or \"value\""},
        {"{{ [1, 'a'] | sort }}", "'<' not supported between instances of 'str' and 'int'"},
        {"{{ [1, 'a'] | max }}", "'>' not supported between instances of 'str' and 'int'"},
        {"{{ [1, 2] | batch(0) | list }}", "batch: the size must be a positive integer"},
        {"{{ [1, 2] | batch(-1) | list }}", "batch: the size must be a positive integer"},
        {"{{ [1, 2] | batch('a') | list }}", "batch: the size must be a positive integer"},
        {"{{ [1, 2] | batch(1.5) | list }}", "batch: the size must be a positive integer"},
        {"{{ 1 | batch(2) | list }}", "'int' object is not iterable"},
        {"{{ [1, 2] | slice(0) | list }}",
         "slice: the number of slices must be a positive integer"},
        {"{{ [1, 2] | slice('a') | list }}",
         "slice: the number of slices must be a positive integer"},
        {"{{ 1 | slice(2) | list }}", "'int' object is not iterable"},
        {"{{ 'x' | center('a') }}", "'str' object cannot be interpreted as an integer"},
        {"{{ 'x'.center(5, 'ab') }}", "The fill character must be exactly one character long"},
        {"{{ 'x'.ljust('a') }}", "'str' object cannot be interpreted as an integer"},
        {"{{ '%d %d' | format(1) }}", "not enough arguments for format string"},
        {"{{ '%(a' % {'a': 1} }}", "incomplete format key"},
        {"{{ '%(a)d' % 1 }}", "format requires a mapping"},
        {"{{ '%(a)d' % {'b': 1} }}", "'a'"},
        {"{{ '%*d' % ('a', 1) }}", "* wants int"},
        {"{{ '%c' % 'ab' }}", "%c requires int or char"},
        {"{{ '%c' % 1.5 }}", "%c requires int or char"},
        {"{{ '%d' % 'a' }}", "%d format: a real number is required, not str"},
        {"{{ '%x' % 1.5 }}", "%x format: an integer is required, not float"},
        {"{{ '%f' % 'a' }}", "must be real number, not str"},
        {"{{ '%y' % 1 }}", "unsupported format character 'y'"},
        {"{{ '%' % 1 }}", "incomplete format"},
        {"{{ '%5' % 1 }}", "incomplete format"},
        {"{{ '%d' % (1, 2) }}", "not all arguments converted during string formatting"},
        {"{{ 'a' % 1 }}", "not all arguments converted during string formatting"},
        {"{{ '{:dd}'.format(1) }}", "Invalid format specifier"},
        {"{{ '{:d}'.format('a') }}", "Unknown format code 'd' for object of type 'str'"},
        {"{{ '{:=5}'.format('a') }}", "this format is not allowed in string format specifier"},
        {"{{ '{:+}'.format('a') }}", "this format is not allowed in string format specifier"},
        {"{{ '{:.2d}'.format(1) }}", "Precision not allowed in integer format specifier"},
        {"{{ '{:s}'.format(1) }}", "Unknown format code 's' for object of type 'int'"},
        {"{{ '{:d}'.format(1.5) }}", "Unknown format code 'd' for object of type 'float'"},
        {"{{ '{:5}'.format([1]) }}", "unsupported format string passed to list.__format__"},
        {"{{ '{0}{}'.format(1, 2) }}",
         "cannot switch from manual field specification to automatic field numbering"},
        {"{{ '{}{0}'.format(1, 2) }}",
         "cannot switch from automatic field numbering to manual field specification"},
        {"{{ '{a.}'.format(a=1) }}", "Empty attribute in format string"},
        {"{{ '{a[0}'.format(a=[1]) }}", "expected '}' before end of string"},
        {"{{ '{a[0]b}'.format(a=[1]) }}",
         "Only '.' or '[' may follow ']' in format field specifier"},
        {"{{ '{a[]}'.format(a=[1]) }}", "Empty attribute in format string"},
        {"{{ '{a!z}'.format(a=1) }}", "Unknown conversion specifier in format string"},
        {"{{ '{a!r'.format(a=1) }}", "expected '}' before end of string"},
        {"{{ '{:{}}'.format(1, 5) }}", "nested fields in a format specifier are not supported"},
        {"{{ 'a}'.format(1) }}", "Single '}' encountered in format string"},
        {"{{ 'a{'.format(1) }}", "Single '{' encountered in format string"},
        {"{{ '{'.format(1) }}", "Single '{' encountered in format string"},
        {"{{ '{0'.format(1) }}", "expected '}' before end of string"},
        {"{{ '{1}'.format(1) }}", "tuple index out of range"},
        {"{{ '{x}'.format(1) }}", "'x'"},
        {"{{ [1].index(2) }}", "2 is not in list"},
        {"{{ (1,).index(2) }}", "tuple.index(x): x not in tuple"},
        {"{{ cycler() }}", "at least one item has to be provided"},
        {"{{ range() }}", "range expected 1 to 3 arguments, got 0"},
        {"{{ range(1, 2, 3, 4) }}", "range expected 1 to 3 arguments, got 4"},
        {"{{ range(1, 2, 0) }}", "range() arg 3 must not be zero"},
        {"{{ range('a') }}", "'str' object cannot be interpreted as an integer"},
        {"{{ dict(1, 2) }}", "dict expected at most 1 argument, got 2"},
        {"{{ dict(1) }}", "'int' object is not iterable"},
        {"{{ strftime_now(1) }}", "strftime() argument 1 must be str, not int"},
        {"{{ strftime_now('%Y' * 1000) }}", "strftime_now: a format that is too long"},
        {"{% for x in 1 %}{% endfor %}", "'int' object is not iterable"},
        {"{% for x in namespace() %}{% endfor %}", "'Namespace' object is not iterable"},
        {"{% for x in [1] %}{% for y in loop %}{% endfor %}{% endfor %}",
         "a loop variable cannot be walked over"},
        {"{{ [1]['a':] }}", "slice indices must be integers or None or have an __index__ method"},
        {"{{ {'a': 1}[1:] }}", "unhashable type: 'slice'"},
        {"{{ 1[1:] }}", "'int' object is not subscriptable"},
        {"{{ [1][::0] }}", "slice step cannot be zero"},
        {"{{ 'a'[::0] }}", "slice step cannot be zero"},
        {"{{ '\\N{DASH}' }}", "\\N{…} escapes are not supported"},
        {"{{ '\\x1' }}", "truncated \\xXX escape"},
        {"{{ '\\u12' }}", "truncated \\uXXXX escape"},
        {"{{ '\\U0000' }}", "truncated \\UXXXXXXXX escape"},
        {"{{ '\\ud800' }}", "illegal Unicode character in an escape"},
        {"{{ 1 $ 2 }}", "unexpected char '$' at 5"},
        {"{{ 1 ! 2 }}", "unexpected char '!' at 5"},
        {"{{ 1 ] }}", "unexpected ']'"},
        {"{{ ( 1 ] }}", "unexpected ']', expected ')'"},
        {"{{ 'a }}", "unexpected char \"'\" at 3"},
        {"{{ 1", "unexpected end of template, expected 'end of print statement'."},
        {"{% if x", "unexpected end of template, expected 'end of statement block'."},
        {"{% set true = 1 %}", "can't assign to 'const'"},
        {"{% set x.y = 1 %}{{ x }}", "cannot assign attribute on non-namespace object"},
        {"{% set 1 = 2 %}", "can't assign to 'const'"},
        {"{% for true in [1] %}{% endfor %}", "can't assign to 'const'"},
        {"{% %}", "tag name expected"},
        {"{% nope %}", "Encountered unknown tag 'nope'."},
        {"{% if %}{% endif %}", "Expected an expression, got 'end of statement block'"},
        {"{% if 1 %}",
         "Unexpected end of template. Jinja was looking for the following tags: 'elif' or 'else' "
         "or 'endif'. The innermost block that needs to be closed is 'if'."},
        {"{% endif %}", "Encountered unknown tag 'endif'."},
        {"{% for x in [1] %}",
         "Unexpected end of template. Jinja was looking for the following tags: 'endfor' or "
         "'else'. The innermost block that needs to be closed is 'for'."},
        {"{% else %}", "Encountered unknown tag 'else'."},
        {"{% break %}", "'break' outside loop"},
        {"{{ x[1, 2:3] }}", "'x' is undefined"},
        {"{{ x[1:2, 3] }}", "slices of several dimensions are not supported"},
        {"{{ {'a': 1, [1]: 2} | tojson }}", "unhashable type: 'list'"},
        {"{{ {(1, 2): 2} | tojson }}", "keys must be str, int, float, bool or None, not tuple"},
        {"{{ {'a': 1} | tojson(separators=1) }}", "'int' object is not iterable"},
        {"{{ {'a': 1} | tojson(separators=(1, 2)) }}", "tojson: separators must be two strings"},
        {"{{ namespace() | tojson }}", "Object of type Namespace is not JSON serializable"},
        {"{{ {[1]: 2} }}", "unhashable type: 'list'"},
        {"{% set n = namespace() %}{{ n.x.y }}",
         "'jinja2.utils.Namespace object' has no attribute 'x'"},
        {"{{ x.y.z }}", "'x' is undefined"},
        {"{{ none.x.y }}", "'None' has no attribute 'x'"},
        {"{{ 'a'.nope() }}", "'str object' has no attribute 'nope'"},
        {"{{ namespace(1) }}", "'int' object is not iterable"},
        {"{{ 'a' | trim(1) }}", "strip: a str is required, not int"},
        {"{{ 'a' | attr(1) }}", "attribute name must be string, not 'int'"},
        {"{{ [{'a': 1}] | groupby }}", "filter 'groupby' misses its argument 'attribute'"},
        {"{{ 'abc' | wordwrap(0) }}", "No filter named 'wordwrap'."},
        {"{{ 1 is divisibleby(0) }}", "integer modulo by zero"},
        {"{{ 1 is divisibleby }}", "test 'divisibleby' misses its argument 'num'"},
        {"{{ 'a' is divisibleby(2) }}", "not all arguments converted during string formatting"},
        {"{{ 'a' is odd }}", "not all arguments converted during string formatting"},
        {"{{ 1 is sameas }}", "test 'sameas' misses its argument 'other'"},
        {"{{ 1 is lt('a') }}", "'<' not supported between instances of 'int' and 'str'"},
        {"{{ 1 is in(1) }}", "argument of type 'int' is not iterable"},
        {"{{ 'a'.join(1) }}", "can only join an iterable"},
        {"{{ 'a'.join([1]) }}", "sequence item 0: expected str instance, int found"},
        {"{{ 'a'.encode() }}", "'str object' has no attribute 'encode'"},
        {"{{ 'a'.zfill('b') }}", "'str' object cannot be interpreted as an integer"},
        {"{{ 'a'.partition('') }}", "empty separator"},
        {"{{ 'a'.split('') }}", "empty separator"},
        {"{{ 'a'.splitlines(1, 2) }}", "method 'splitlines' takes at most 1 arguments (2 given)"},
        {"{{ 'a'.removeprefix(1) }}", "removeprefix: a str is required, not int"},
        {"{{ 'abc'.index('z') }}", "substring not found"},
        {"{{ 'abc'.rindex('z') }}", "substring not found"},
        {"{{ {}.get() }}", "method 'get' misses its argument 'key'"},
        {"{{ {}.get([1]) }}", "unhashable type: 'list'"},
        {"{{ {}.pop('a') }}", "access to attribute 'pop' of 'dict' object is unsafe."},
        {"{{ raise_exception() }}", "function 'raise_exception' misses its argument 'message'"},
        {"{{ 'a' is nope(1) }}", "No test named 'nope'."},
        {"{{ [{}] | selectattr('a.b', 'equalto') | list }}", "'dict object' has no attribute 'a'"},
        {"{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}", "No caller defined"},
        {"{% call 1 %}{% endcall %}", "expected call"},
        {"{% filter nope %}x{% endfilter %}", "No filter named 'nope'."},
        {"{% set x %}{% endset %}{{ x() }}", "'str' object is not callable"},
        {"{{ loop.index }}", "'loop' is undefined"},
        {"{% for x in [1] %}{{ loop(1) }}{% endfor %}",
         "The loop must have the 'recursive' marker to be called recursively."},
        {"{% for x in [1] recursive %}{{ loop() }}{% endfor %}",
         "loop() takes exactly one argument (0 given)"},
        {"{{ super() }}", "'super' is undefined"},
        {"{{ self.x() }}", "'self' is undefined"},
        {"{{ a if }}", "unexpected 'end of print statement'"},
        {"{{ a if b else }}", "unexpected 'end of print statement'"},
        {"{{ not }}", "unexpected 'end of print statement'"},
        {"{{ a is }}", "expected token 'name', got 'end of print statement'"},
        {"{{ a | }}", "expected token 'name', got 'end of print statement'"},
        {"{{ a. }}", "expected name or number"},
        {"{{ a.1x }}", "expected token 'end of print statement', got 'x'"},
        {"{{ a[ }}", "unexpected '}', expected ']'"},
        {"{{ f(a=1, 2) }}", "invalid syntax for function call expression"},
        {"{{ f(**a, b) }}", "invalid syntax for function call expression"},
        {"{{ f(a=1, a=2) }}", "got multiple values for keyword argument 'a'"},
        {"{% macro m(a=1, b) %}{% endmacro %}", "non-default argument follows default argument"},
        {"{% macro 1() %}{% endmacro %}", "expected token 'name', got 'integer'"},
        {"{% with a %}{% endwith %}", "expected token '=', got 'end of statement block'"},
        {"{% set a, 1 = 1 %}", "can't assign to 'const'"},
    };
    assert_refused(cases, COUNT_OF(cases), STATUS_INVALID);
}

static void what_is_too_much_is_a_limit(void **state)
{
    (void)state;
    static const struct refusal cases[] = {
        {"{{ 9223372036854775807 + 1 }}", "an integer beyond 64 bits"},
        {"{{ 1e30 | int }}", "an integer beyond 64 bits"},
        {"{{ '%9999999999d' % 1 }}", "a format's width or precision of more than 65536"},
        {"{{ '{:9999999999}'.format(1) }}", "a format's width of more than 65536"},
        {"{{ '{:.9999999999f}'.format(1.5) }}", "a format's precision of more than 100"},
        {"{% set n = namespace() %}{% set n.n = n %}{{ [1] | map(n) | list }}",
         "nested more than 1200 levels deep"},
        {"{% set n = namespace() %}{% set n.n = n %}{{ [1] | select(n) | list }}",
         "nested more than 1200 levels deep"},
        {"{% set n = namespace() %}{% set n.n = n %}{{ '%s' % n }}",
         "nested more than 1200 levels deep"},
        {"{% set n = namespace() %}{% set n.n = n %}{{ n | string | length }}",
         "nested more than 1200 levels deep"},
    };
    assert_refused(cases, COUNT_OF(cases), STATUS_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(what_is_too_much_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
