# SPDX-License-Identifier: Apache-2.0
"""What make_template_cases.py renders: small templates for the language, conversations for chat templates."""

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": "Hi \"there\" <b> & 'you'"},
        {"role": "assistant", "content": "Grüße 日本 😀", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1, "y": [1.0, None, True]}}}]},
    ],
    "add_generation_prompt": True,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "extra": {
        "numbers": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "text": "  Hello, World!  ", "empty": [],
        "nothing": None, "yes": True, "no": False, "i": 7, "f": 2.5, "big": 123456789012345678901234567890, "s": "abc",
        "people": [{"name": "Bo", "age": 30, "home": {"city": "Rome"}}, {"name": "al", "age": 25, "home": {"city": "Oslo"}},
                   {"name": "Cy", "age": 30, "home": {"city": "oslo"}}],
        "d": {"b": 2, "a": 1, "items": "shadow", "C": 3}, "nested": {"list": [[1, 2], [3, [4]]], "deep": {"k": {"v": "x"}}},
        "unicode": "ÀÉ ß ǆ Σας ΟΔΟΣ ﬁ ı İ", "multi": "one\ntwo\n\n  three\r\nfour", "float_one": 1.0, "exp": 1e20, "tiny": 1e-7,
        "html": "<a href='x'>&\"</a>",
    },
}

EXPRESSIONS = """
1 + 2 * 3
(1 + 2) * 3
7 / 2
6 / 2
7 // 2
-7 // 2
7 // -2
-7 % 3
7 % -3
7.5 % 2
-7.5 % 2
-7.5 // 2
2 ** 10
2 ** -1
2 ** 0.5
2 ** 3 ** 2
-2 ** 2
10 ** 18
1 / 0
1 // 0
1 % 0
1.0 / 0
1.0 // 0
1.0 % 0
0 ** -1
0x1F + 0b11 + 0o17
1_000_000
1.5e3
1e5
1e16
1e15
123456789.123456789
0.1 + 0.2
1/3
1e-5
0.0001
-0.0
1e300 * 1e10
float_one
exp
tiny
big
1 ~ 2 ~ "x" ~ none ~ true ~ 1.5 ~ [1] ~ undefinedname
"a" "b" 'c'
"a" + 1
1 + "a"
"a" + nothing
[1] + [2]
[1] + (2,)
(1,) + (2,)
"ab" * 3
3 * "ab"
[1, 2] * 2
"ab" * -1
"ab" * 1.5
"ab" - "a"
{} + {}
true + true
true and 3
0 or "x"
not 0
not "a"
not not 1
1 and 0 or 2
1 < 2 < 3
1 < 2 > 3
1 == 1.0
1 == true
"1" == 1
none == false
[1, 2] == [1, 2]
[1, 2] == (1, 2)
{"a": 1, "b": 2} == {"b": 2, "a": 1}
"a" < "b"
"a" < 1
[1, 2] < [1, 3]
[1] < [1, 0]
(1, "a") >= (1, "a")
none < 1
1 in [1, 2]
3 not in [1, 2]
"b" in "abc"
1 in "abc"
"a" in d
"zz" in d
1 in none
1 in undefinedname
"role" in messages[0]
3 in range(5)
3.0 in range(5)
3.5 in range(5)
1 if true else 2
1 if false else 2
(1 if false) is defined
1 if false
"x" if yes and not no else "y"
1 if 0 else 2 if 0 else 3
undefinedname
undefinedname.foo
undefinedname["foo"]
undefinedname + 1
undefinedname | length
undefinedname()
undefinedname is defined
undefinedname is undefined
undefinedname == otherundefined
not undefinedname
undefinedname[1:]
d.zzz
d.zzz.foo
d["zzz"]["foo"]
d.a
d["items"]
d.items()
d.items() | list
d.keys()
d.values() | list
d.get("a")
d.get("zz")
d.get("zz", 5)
d | length
d
d | list
d.update({"a": 1})
d.pop("a")
d.setdefault("q", 1)
d.clear
d.copy()
d.__class__
d.__class__.x
s.__len__()
s._private
numbers.append(1)
numbers.append
numbers.sort()
numbers.reverse()
numbers.index(2)
numbers.index(9)
numbers.count(1)
numbers.copy()
numbers[0]
numbers[-1]
numbers[10]
numbers[10].x
numbers["x"]
numbers[1.0]
numbers[true]
numbers.0
numbers.10
nested.list.1.1.0
nothing.x
nothing["x"]
nothing[0]
nothing.x.y
nothing[0].y
i.x
i[0].y
s[0]
s[-1]
s[9]
s[1:]
s[:-1]
s[::-1]
s[0:2]
s[5:]
s[-100:100]
numbers[1:]
numbers[::-1]
numbers[::2]
numbers[:0]
numbers[2:0:-1]
numbers[-1:]
numbers[::0]
numbers["a":]
nothing[1:]
d[1:]
(1, 2, 3)[1:]
range(10)[2:8:2]
range(10)[2:8:2] | list
range(10)[::-1] | list
range(10)[3]
range(3)
range(1, 10, 3) | list
range(5, 0, -2) | list
range(0)| list
range(1000000)
range(1, 2, 0)
range("a")
range()
(1, 2)
(1,)
()
1, 2
[]
{}
{"a": 1, 2: [3], none: true, 1.5: (1,)}
{1: "a", true: "b", 1.0: "c"}
{[1]: 2}
[none, true, 1.5, "it's", 'say "x"', "both ' \\"", "tab\\t nl\\n", "\\x00\\x7f\\xe9\\u200b\\U0001F600"]
"\\u00e9\\x41\\101\\q\\\\"
"\\ud83d"
'a\\'b'
"line\\
cont"
unicode | upper
unicode | lower
unicode | title
unicode | capitalize
unicode.upper()
unicode.lower()
unicode.title()
unicode.swapcase()
unicode.capitalize()
"😀é日" | length
"😀é日"[1]
"😀é日"[::-1]
"😀é日" | reverse
"😀é日" | list
"it's they're x1y-abc (foo) [bar]" | title
"it's they're x1y-abc".title()
text | trim
text.strip()
text.lstrip()
text.rstrip()
text | trim("! ")
"xxaxx".strip("x")
"xyaxy".lstrip("yx")
"éaé".strip("é")
text.strip(none)
text.strip(1)
"a,b,c".split(",")
"a,b,c".split(",", 1)
"a,b,c".rsplit(",", 1)
"a,b,c".split(sep=",", maxsplit=1)
"  a  b  c ".split()
"  a  b  c ".split(none, 1)
"  a  b  c ".rsplit(none, 1)
"  a  b  c ".rsplit()
"a,,b".split(",")
"".split()
"".split(",")
"a".split("")
multi.splitlines()
multi.splitlines(true)
"a=b=c".partition("=")
"a=b=c".rpartition("=")
"abc".partition("x")
"abc".rpartition("x")
"</think>x".split("</think>")[-1].lstrip("\\n")
s.startswith("ab")
s.startswith(("x", "a"))
s.endswith("bc")
s.endswith(("x", "y"))
s.startswith("b", 1)
s.startswith(1)
s.startswith(["a"])
s.find("c")
s.find("z")
s.rfind("b")
s.index("z")
s.count("")
("ab" * 100 ~ "c").rfind("ab" * 40)
("ab" * 100).rfind("ab" * 40 ~ "c")
("x" * 70 ~ "ab" * 100).rsplit("x" * 70)
("x" * 70 ~ "ab" ~ "x" * 141).rsplit("x" * 70, 1)
"banana".count("an")
"banana".find("a", 2)
"banana".find("a", 2, 3)
"banana".rfind("a", 0, -1)
"日本日".find("日", 1)
s.replace("b", "XX")
"aaa".replace("a", "b", 2)
"abc".replace("", "-")
"abc".replace("b", none)
"-".join(["a", "b"])
"-".join("abc")
"-".join([1])
"-".join(5)
s.upper().lower().capitalize()
"abc".isalpha()
"abc1".isalnum()
"12".isdigit()
"1.2".isdigit()
"²".isdigit()
"²".isdecimal()
"½".isnumeric()
"".isdigit()
" \\t".isspace()
"abc".islower()
"ABC1".isupper()
"Abc".isupper()
"abc".isascii()
"42".zfill(5)
"-42".zfill(5)
"abc".center(8, "*")
"abc".center(7)
"abcd".center(7)
"abc".ljust(5) ~ "|"
"abc".rjust(5, "é")
"abc".rjust(5, "ab")
"prefix-x".removeprefix("prefix-")
"x.txt".removesuffix(".txt")
"{} and {}".format(1, "x")
"{0} {1} {0}".format("a", "b")
"{name:>8}|{v:.2f}|{n:05d}|{n:,}|{n:x}|{h:#x}".format(name="é", v=3.14159, n=1234567, h=255)
"{:<5}|{:^5}|{:>5}|{:*^7}".format("a", "b", "c", "d")
"{!r} {!s}".format("a", "b")
"{a.name} {a[name]}".format(a=people[0])
"{a[0]}".format(a=numbers)
"{{}} {}".format(1)
"{} {0}".format(1)
"{}".format()
"{x}".format()
"{".format()
"{:d}".format("x")
"{:.3}".format("abcdef")
"{:e} {:g} {:%} {:.1%}".format(12345.678, 0.00001, 0.5, 0.256)
"{:+d} {: d} {:,.2f}".format(5, 5, 1234567.891)
"{}".format(none)
"%s and %d" % ("a", 5)
"%5.2f|%-5s|%05d|%x|%X|%o|%e|%%|%c|%r" % (3.14159, "ab", 42, 255, 255, 8, 12345.6, "z", "q")
"%s" % 5
"%s" % [1, 2]
"%s %s" % 5
"%s" % (1, 2)
"%(a)s-%(b)05d" % {"a": 1, "b": 2}
"%d" % "x"
"%z" % 1
"%s" % undefinedname
"%d" % 3.99
"%+d % d" % (3, 4)
"%.3s|" % "abcdef"
"%*d" % (5, 42)
"%s, %s!" | format("Hello", "World")
"%(x)s" | format(x=3)
-5 | abs
-2.5 | abs
"x" | abs
d | attr("a")
[1, 2, 3, 4, 5] | batch(2) | list
[1, 2, 3, 4, 5] | batch(2, "x") | list
[1, 2, 3, 4, 5] | slice(2) | list
[1, 2, 3, 4, 5] | slice(3, "x") | list
"hello WORLD" | capitalize
"abc" | center(9)
numbers | count
nothing | length
5 | length
(numbers | map("string")) | length
undefinedname | default("x")
undefinedname | d
"" | default("x")
"" | default("x", true)
nothing | default("x")
nothing | default("x", boolean=true)
d.zzz | default("y")
undefinedname.x | default("y")
d | dictsort
d | dictsort(true)
{"b": 2, "a": 1} | dictsort(by="value")
d | dictsort(reverse=true)
d | dictsort(by="bad")
html | e
html | escape
html | safe
html | safe | e
html | e | e
html | forceescape
("<" | e) + "<"
"<" + ("<" | safe)
("<" | e) ~ "<"
[html | safe]
"3.5" | float
"x" | float
"x" | float(1.5)
" 1e3 " | float
"1_000" | float
"inf" | float
"nan" | float
nothing | float
true | float
"42" | int
"42.9" | int
"x" | int
"x" | int(5)
"0x1f" | int(0, 16)
"1f" | int(base=16)
"0b11" | int(0, 0)
" 12 " | int
"1_2" | int
"1__2" | int
"-5" | int
3.99 | int
-3.99 | int
nothing | int
[] | int(3)
true | int
numbers | first
numbers | last
empty | first
empty | last
empty | first | default("none")
"abc" | first
d | first
d | last
5 | first
people | groupby("age")
people | groupby("home.city")
people | groupby("home.city", case_sensitive=true)
people | groupby("zip", default="?") | length
multi | indent
multi | indent(2)
multi | indent(2, true)
multi | indent(2, first=true, blank=true)
multi | indent("> ")
"" | indent
"a\\n" | indent ~ "|"
d | items | list
undefinedname | items | list
numbers | items | list
numbers | join
numbers | join(", ")
people | join(", ", attribute="name")
people | join(", ", "home.city")
[1, none, "a", undefinedname] | join("-")
"abc" | join(".")
5 | join
"abc" | list
d | list
5 | list
["A", "b"] | map("lower") | list
["a,b", "c"] | map("replace", ",", ";") | list
people | map(attribute="name") | list
people | map(attribute="home.city") | join(",")
people | map(attribute="zip", default="?") | list
people | map(attribute="zip") | list
people | map | list
people | map("nofilter") | list
people | map(attribute="name", foo=1) | list
numbers | map("nofilter") is defined
[[1, 2], [3]] | map(attribute=0) | list
[[1, 2], [3]] | map("first") | list
[[1, 2], [3]] | map("join", "+") | list
numbers | max
numbers | min
words | max
words | min
words | max(case_sensitive=true)
people | max(attribute="age")
empty | max
empty | min | default("e")
[1, "a"] | max
numbers | reject("odd") | list
numbers | select("odd") | list
numbers | select("greaterthan", 1) | list
numbers | select("divisibleby", 3) | list
[0, 1, "", "a"] | select | list
[0, 1, "", "a"] | reject | list
numbers | select("notest") | list
numbers | select("in", [1, 2]) | list
messages | selectattr("role", "equalto", "user") | list | length
messages | selectattr("role", "==", "user") | map(attribute="content") | first
messages | rejectattr("role", "eq", "user") | map(attribute="role") | join(",")
messages | selectattr("tool_calls") | list | length
messages | selectattr("tool_calls", "defined") | list | length
messages | selectattr("role", "in", ["user", "system"]) | map(attribute="role") | list
messages | selectattr | list
(messages | selectattr("role", "equalto", "nobody")) is defined
"yes" if messages | selectattr("role", "equalto", "nobody") else "no"
"yes" if messages | selectattr("role", "equalto", "nobody") | list else "no"
(numbers | map("string"))[0]
(numbers | map("string")) | list | first
numbers | reverse | list
"abc" | reverse
d | reverse | list
(1, 2) | reverse | list
numbers | map("string") | reverse | list
5 | reverse
2.5 | round
3.5 | round
2.675 | round(2)
42.55 | round(1, "floor")
42.55 | round(1, "ceil")
42 | round
42.1 | round | int
1234.5 | round(-2)
1234 | round(-2)
1250 | round(-2)
1350 | round(-2)
4 | round(1, "ceil")
"x" | round
2.5 | round(0, "bad")
numbers | sort
words | sort
words | sort(case_sensitive=true)
words | sort(reverse=true)
people | sort(attribute="age") | map(attribute="name") | list
people | sort(attribute="age,name") | map(attribute="name") | list
people | sort(attribute="age", reverse=true) | map(attribute="name") | list
[1, "a"] | sort
[[2, 1], [1, 5]] | sort
nothing | sort
5 | string
none | string
numbers | sum
people | sum(attribute="age")
numbers | sum(start=10)
["a"] | sum
[] | sum
[0.1, 0.2] | sum
[[1], [2]] | sum(start=[])
"hello world-foo bar" | title
d | tojson
messages | tojson
messages[2] | tojson(indent=2)
messages[2] | tojson(indent="  ")
[[], {}, [[]], {"a": {}}] | tojson(indent=4)
[1, 2] | tojson(indent=0)
d | tojson(sort_keys=true)
d | tojson(separators=(",", ":"))
messages[2].content | tojson(ensure_ascii=true)
[1.0, 1e20, 1e-7, 0.1, 100, none, true, big] | tojson
"\\x00\\x1f\\x7f\\u2028\\"\\\\/\\b\\f\\n\\r\\t" | tojson
(1, 2) | tojson
{1: 2, none: 3, true: 4, 1.5: 5} | tojson
{(1, 2): 3} | tojson
undefinedname | tojson
[undefinedname] | tojson
range(3) | tojson
html | tojson
(html | e) | tojson
("nan" | float) | tojson
("inf" | float) | tojson
namespace(a=1) | tojson
d.items() | tojson
"foo bar baz qux" | truncate(9)
"foo bar baz qux" | truncate(9, true)
"foo bar baz qux" | truncate(11)
"foo bar baz qux" | truncate(11, false, "...", 0)
"foo bar baz qux" | truncate(9, end="~", leeway=0)
"foo" | truncate(2)
words | unique | list
words | unique(case_sensitive=true) | list
people | unique(attribute="age") | map(attribute="name") | list
[1, 1.0, true, "1"] | unique | list
"a b/c?d=é&" | urlencode
{"a b": "c/d", "e": 1} | urlencode
[("a", 1), ("b", "x y")] | urlencode
5 | urlencode
"Hello, wörld foo_bar 42!" | wordcount
"a" | nofilter
"a" is notest
1 is number
true is number
1 is integer
true is integer
1.0 is integer
1.0 is float
big is integer
"a" is string
none is none
nothing is none
none is not none
true is true
1 is true
false is false
yes is boolean
1 is boolean
d is mapping
numbers is mapping
numbers is sequence
"abc" is sequence
d is sequence
range(3) is sequence
5 is sequence
numbers is iterable
5 is iterable
"abc" is iterable
(numbers | map("string")) is iterable
(numbers | map("string")) is sequence
d.items() is sequence
undefinedname is iterable
undefinedname is sequence
range is callable
5 is callable
d.items is callable
3 is odd
4 is even
2.5 is odd
"a" is odd
9 is divisibleby 3
9 is divisibleby(4)
5 is eq 5
5 is ne 4
5 is gt 4
5 is ge 5
5 is lt 4
5 is le 5
5 is equalto 5
5 is sameas 5
none is sameas none
numbers is sameas numbers
[1] is sameas [1]
2 is in [1, 2]
2 is in(numbers)
"abc" is lower
"ABC" is upper
"a1" is upper
"upper" is filter
"nofilter" is filter
"odd" is test
1 is defined
1 is not defined
1 is not string
i is number and i > 3
i is defined and s is string or no
numbers | length > 2 and s | length == 3
s | length + 1
not s is defined
not i == 7
- i | abs
-i + 1
(-i) | abs
i is odd and not no
2 * i is number
1 == 1 is true
"a" ~ "b" | upper
"a" + "b" | upper
[1, 2][0] + {"a": 5}["a"]
{"a": 5}.a
[1, 2, 3] | length * 2
"a" in "abc" and "z" not in "abc"
1 if "a" is defined else 2
"%s" | format(1) | length
dict(a=1, b=2)
dict([("a", 1)], b=2)
dict({"x": 1}, **{"y": 2})
dict(1)
namespace(a=1).a
namespace(a=1).b
namespace({"x": 5}).x
joiner()()
cycler("a", "b").next()
cycler().next()
cycler("a", "b").current
raise_exception("boom")
raise_exception("Boom: " ~ i ~ " 'q'")
strftime_now("%Y-%m-%d %H:%M:%S")
strftime_now("%d %b %Y")
strftime_now("%A %B %-d %j %% %y %I %p")
strftime_now("%f|%z|%Z|")
range(*[1, 4]) | list
"{} {}".format(*["a", "b"])
"{a}".format(**{"a": 1})
loop is defined
self is defined or true
caller is defined
messages[0].role
messages[0]["content"] | length
messages[-1].tool_calls[0].function.arguments
messages[-1].tool_calls[0].function.arguments.y[0]
messages | length
messages[1:] | length
messages | map(attribute="role") | join(", ")
(messages | last).role
(messages | first)["role"]
[1, 2, 3] | select("gt", 1) | map("string") | join("+")
bos_token + "x" + eos_token
pad_token is defined
tools is none
documents
add_generation_prompt
"a" if tools else "b"
"a" if tools is not none and tools | length > 0 else "b"
(1, 2) == (1, 2)
[1, [2, {"a": (3,)}]]
"é" < "z"
"Z" < "a"
[3, 1] + [2] | sort
([3, 1] + [2]) | sort
1.__class__
"abc"["upper"]()
d["get"]("a")
"a\tb"
'\\'' ~ "\\""
none ~ none
true ~ false
1.0 ~ ""
100000000000000000000.0
12345678901234567.0
1e22
1.7976931348623157e308
5e-324
9223372036854775807
-9223372036854775807
9007199254740993 == 9007199254740992.0
9223372036854775807 + 0
{"a": [1, {"b": none}]} | string | length
[[1, 2], [3, 4]] | map("sum") | list
[1, 2, 3] | sum / 2
[{"a": {"b": 1}}] | map(attribute="a.b") | first
numbers | map("string") | map("length") | sum
"abc" | map("upper") | join
{"x": 1} | items | first
range(3) | map("string") | list | tojson
"Hello" | lower | replace("l", "L", 1) | upper
"a-b_c" | replace("-", "") | replace("_", "")
12 | replace("1", "3")
1 | upper
none | trim
s | string is string
"x" * 3 ~ "|"
""".strip("\n")

# One expression a line, but for those that hold a newline: a line that ends with a backslash continues.
_lines, _joined = EXPRESSIONS.split("\n"), []
for _line in _lines:
    if _joined and _joined[-1].endswith("\\"):
        _joined[-1] += "\n" + _line
    else:
        _joined.append(_line)
EXPRESSIONS = _joined

TEMPLATES = [
    # White space.
    "a\n{% if true %}\nb\n{% endif %}\nc\n",
    "a\n  {% if true %}  \n  b\n  {% endif %}  \nc\n",
    "a\n  {%- if true -%}  \n  b\n  {%- endif -%}  \nc\n",
    "a\n  {%+ if true +%}\n  b\n  {%+ endif +%}\nc\n",
    "a {{ 1 }}\n\n{{- 2 -}}\n b\n{{ 3 }}\n",
    "  {{ 1 }}  {% set x = 1 %}  {{ x }}\n  {% set y = 2 %}\n z",
    "{# comment #}\na{# c #}\n  {# indented #}\nb{#- strip -#}  c\n{#+ keep +#}\nd",
    "   {# first #}   x",
    "{% raw %}{{ x }}{% endraw %}|",
    "a\n  {% raw %}\n {{ x }} {% if %}\n  {% endraw %}\nb",
    "a {%- raw -%}  {{ x }}  {%- endraw -%} b",
    "{%raw%}{%endraw%}x",
    "line1\r\nline2\rline3\n\n",
    "x\n\n",
    "\n\nx",
    "\n",
    "",
    "x{% if true %}\n\n\ny{% endif %}\n\n",
    "{% if true %}x{% endif %}\n{% if true %}y{% endif %}\n",
    "\t{% if true %}\tx\t{% endif %}\t\n",
    "a\u00a0{%- if true %} b{% endif -%}\u3000c",
    "{{ 'a\\nb' }}\n{{- '  c' }}",
    "{{ 1 -}}\n\n{{- 2 }}",
    "{%- for i in [1,2,3] %}\n{{ i }}\n{%- endfor %}\n",
    "{% for i in [1,2,3] -%}\n  {{ i }},\n{%- endfor %}",
    "{% for i in [1,2,3] %}\n  {{ i }}\n{% endfor %}",
    "{{ '{{' }} {{ '%}' }} {% set x = '%}' %}{{ x }} {{ '}}' }}",
    "{{ {'a': {'b': 1}} }}",
    "{{ {'a': {'b': 1}}}}",
    "{ { x } } {% } } %",
    "a { b } c # d % e",
    "{{ 1 }}{{ 2 }}{{- 3 }}{{ 4 -}} {{ 5 }}",
    "  {%- set a = 1 %}\n\n  {%- set b = 2 %}\n\nx",
    "x {%+ set a = 1 %} y",
    "{%- if true %}a{% else %}b{% endif -%}   ",
    "{%if true%}a{%endif%}",
    "{% if true: %}a{% endif %}",
    # if
    "{% if i > 10 %}a{% elif i > 5 %}b{% else %}c{% endif %}",
    "{% if no %}a{% elif no %}b{% elif yes %}d{% endif %}",
    "{% if no %}a{% endif %}|{% if not no %}b{% endif %}",
    "{% if undefinedname %}a{% else %}b{% endif %}",
    "{% if a is defined and a %}x{% endif %}y",
    "{% if messages[0]['role'] == 'system' %}{% set m = messages[1:] %}{% set sys = messages[0].content %}{% else %}{% set m = messages %}{% endif %}{{ sys }}{{ m | length }}",
    # for
    "{% for x in numbers %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ x }};{% endfor %}",
    "{% for x in numbers %}{{ loop.previtem }}<{{ x }}<{{ loop.nextitem }}|{% endfor %}",
    "{% for x in numbers %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in numbers %}{{ loop.previtem + 1 }}{% endfor %}",
    "{% for x in numbers if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }}/{{ loop.last }} {% endfor %}",
    "{% for x in numbers if x > 100 %}x{% else %}none{% endfor %}",
    "{% for x in empty %}x{% else %}none{% endfor %}",
    "{% for x in undefinedname %}x{% else %}none{% endfor %}",
    "{% for x in nothing %}x{% endfor %}",
    "{% for x in 5 %}x{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}",
    "{% for k, v in d | dictsort %}{{ k }}={{ v }},{% endfor %}",
    "{% for k in d %}{{ k }},{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for a, b in [(1,)] %}{{ a }}{% endfor %}",
    "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for a, b in ['xy'] %}{{ a }}-{{ b }}{% endfor %}",
    "{% for c in 'héy' %}{{ c }}.{% endfor %}",
    "{% for x in numbers %}{% for y in numbers %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in numbers %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in numbers %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in numbers %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in numbers %}{% if loop.index == 2 %}{% break %}{% endif %}{{ x }}{% else %}E{% endfor %}",
    "{% for x in numbers %}{% break %}{% else %}E{% endfor %}",
    "{% for x in numbers %}{% continue %}{% else %}E{% endfor %}",
    "{% for x in numbers %}a{% set y %}b{% break %}c{% endset %}{% endfor %}z",
    "{% for x in numbers %}{% filter upper %}b{% if x == 1 %}{% continue %}{% endif %}c{% endfilter %}{% endfor %}z",
    "{% for x in range(3) %}{{ x }}{% endfor %}{{ x }}",
    "{% for x in numbers recursive %}{{ x }}{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}@{{ loop.depth }}/{{ loop.depth0 }}{% endif %}{% endfor %}",
    "{% for x in numbers %}{{ loop([1]) }}{% endfor %}",
    "{% for x in numbers %}{% for y in [loop.index] %}{{ y }}{{ loop.index }}{% endfor %}{% endfor %}",
    "{% for x in numbers | reverse %}{{ x }}{% endfor %}{% for x in numbers[::-1] %}{{ x }}{% endfor %}",
    "{% for x in numbers | map('string') %}{{ x }}{{ loop.last }}{{ loop.length }}{% endfor %}",
    "{% set g = numbers | map('string') %}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% endfor %}|",
    "{% set g = messages | selectattr('role', 'equalto', 'zz') %}{% if g %}yes{% else %}no{% endif %}",
    "{% set ns = namespace(go=true) %}{% for x in numbers if ns.go %}{{ x }}{% set ns.go = false %}{% endfor %}",
    "{% for m in messages %}{{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for i in range(10, 0, -3) %}{{ i }} {% endfor %}",
    "{% for x in numbers if loop.index > 1 %}{{ x }}{% endfor %}",
    "{% for loop in numbers %}{% endfor %}",
    "{% for x in numbers %}{% set loop = 1 %}{% endfor %}",
    "{% for x in numbers %}{{ loop }}{% endfor %}"[:0] + "{% for x in numbers %}{{ loop.nothere }}{{ loop.nothere is defined }}{% endfor %}",
    "{% for x in numbers, words %}{{ x | length }}{% endfor %}",
    "{% for x in numbers if x is odd else %}{% endfor %}",
    "{% for x in (numbers if yes else words) %}{{ x }}{% endfor %}",
    # scopes
    "{% set x = 1 %}{% for y in numbers %}{% set x = x + y %}{{ x }},{% endfor %}{{ x }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% for y in numbers %}{% if loop.first %}{% set z = 5 %}{% endif %}{{ z }},{% endfor %}{{ z }}",
    "{% set ns = namespace(n=0, found=false) %}{% for y in numbers %}{% set ns.n = ns.n + y %}{% endfor %}{{ ns.n }} {{ ns.found }}",
    "{% set ns = namespace() %}{{ ns.x }}{% set ns.x = 1 %}{{ ns.x }}{{ ns }}",
    "{% set ns.x = 1 %}",
    "{% set d.x = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set (a, b) = [1, 2] %}{{ a }}{{ b }}",
    "{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a + ns.b }}",
    "{% set a = b = 1 %}",
    "{% set 1 = 2 %}",
    "{% set none = 2 %}",
    "{% set x %}a {{ 1 + 1 }} b{% endset %}[{{ x }}]",
    "{% set x | upper %}abc{% endset %}{{ x }}",
    "{% set x | replace('a', 'z') | upper %}abc{% endset %}{{ x }}",
    "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}",
    "{% set messages = messages[1:] %}{{ messages | length }}{{ messages[0].role }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% set c = 3 %}{% endwith %}{{ a }}{{ c }}",
    "{% with %}{% set c = 3 %}{{ c }}{% endwith %}",
    "{% set a = 1 %}{% with a = 2, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% filter upper %}abc {{ s }}{% endfilter %}",
    "{% filter trim | upper %}  abc  {% endfilter %}|",
    "{% filter indent(2, true) %}a\nb{% endfilter %}",
    "{% generation %}a{% set q = 1 %}{{ q }}{% endgeneration %}{{ q }}",
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\n{% endgeneration %}\n{% endif %}{% endfor %}",
    "{% print 1, 'a' %}",
    # macros
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, 3) }}|{{ m(1, c=9) }}|{{ m(b=1, a=5) }}",
    "{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}{{ m(1) }}",
    "{% macro m(a) %}[{{ a + 1 }}]{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m(a, b=1) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1, 2, 3) }}",
    "{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}hi{% endcall %}",
    "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b=5) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}x{% endmacro %}{% call m() %}hi{% endcall %}",
    "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "{% macro m() %}{{ outer }}{% endmacro %}{% set outer = 5 %}{{ m() }}",
    "{% macro m() %}{% set v = 1 %}{{ v }}{% endmacro %}{{ m() }}{{ v }}",
    "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% for x in numbers %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% set v = 1 %}{% macro m() %}{{ v }}{% endmacro %}{% for v in [5] %}{{ m() }}{% endfor %}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(x) -%}\n  {{ x }}\n{%- endmacro %}{{ m('a') }}|{{ m('b') | upper }}",
    "{% macro m() %}{% endmacro %}{{ m.name }}{{ m }}{{ m.arguments }}",
    "{% macro m(caller=none) %}{{ caller }}{% endmacro %}{{ m() }}",
    "{% macro render_item(item, level=0) %}{{ '  ' * level }}- {{ item.name }}\n{% for c in item.kids %}{{ render_item(c, level + 1) }}{% endfor %}{% endmacro %}{{ render_item({'name': 'a', 'kids': [{'name': 'b', 'kids': [{'name': 'c'}]}]}) }}",
    "{% macro m() %}{% break %}{% endmacro %}",
    "{% call 5 %}{% endcall %}",
    "{% call nothere() %}x{% endcall %}",
    # cycler, joiner
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}",
    "{% set j = joiner('|') %}{% for x in numbers %}{{ j() }}{{ x }}{% endfor %}",
    # errors at once and later
    "{% if no %}{{ 1 | nofilter }}{% endif %}ok",
    "{% if yes %}{{ 1 | nofilter }}{% endif %}",
    "{{ 1 if yes else 2 | nofilter }}",
    "{{ 1 | nofilter if no else 3 }}",
    "{% if no %}{% for x in numbers %}{{ x | nofilter }}{% endfor %}{% endif %}",
    "{% if no %}{{ 1 is notest }}{% endif %}ok",
    "{% if yes %}{{ 1 is notest }}{% endif %}",
    "a\nb\n{{ 1 | nofilter }}",
    "{% for x in numbers %}",
    "{% if true %}a",
    "{% if true %}{% for x in y %}{% endif %}",
    "{% endif %}",
    "{% nosuchtag %}",
    "{% do 1 %}",
    "{{ 1 + }}",
    "{{ }}",
    "{{ (1 }}",
    "{{ [1, 2 }}",
    "{{ 1 ] }}",
    "{{ a b }}",
    "{{ 'abc }}",
    "{{ x",
    "{% if",
    "{# x",
    "a{#",
    "a{% raw %}",
    "{% raw %}x",
    "{{ a..b }}",
    "{{ a ! b }}",
    "{{ a $ b }}",
    "{{ a.b.1.c['d'].e() }}",
    "{{ f(a=1, 2) }}",
    "{{ f(**a, b=1) }}",
    "{{ 1 is 2 }}",
    "{{ a is defined is defined }}",
    "{{ a is not }}",
    "{{ a | }}",
    "{{ {1} }}",
    "{{ {'a' 1} }}",
    "{% set %}",
    "{% set x %}",
    "{% for %}",
    "{% for x %}",
    "{% for x of y %}{% endfor %}",
    "{% if %}{% endif %}",
    "{% macro %}{% endmacro %}",
    "{% break %}",
    "{% continue %}",
    "{{ 5 if }}",
    "{{ \"\\u12\" }}",
    "{{ 1e }}",
    "{{ 08 }}",
    "{{ 1_ }}",
    "{{ a.1b }}",
    "{{ é }}",
    "{% set é = 1 %}{{ é }}",
    "{{ a is defined if b else c }}",
    "{{ not }}",
    "{{ x[ }}",
    "{{ x[] }}",
    "{{ d['a', 'b'] is defined }}",
    "{{ -'a' }}",
    "{{ +1 }}{{ -1.5 }}{{ +true }}",
    "{{ raise_exception('line one\\nline two') }}",
    "{{ raise_exception() }}",
    "{% if messages | length > 2 %}{{ raise_exception('Too many messages') }}{% endif %}",
    "{{ messages[0].content.foo.bar }}",
    "{{ nothing.foo.bar }}",
    "{{ messages.foo.bar }}",
    "{{ 'a'.foo.bar }}",
    "{{ 5 .foo.bar }}",
    "{{ true.foo.bar }}",
    "{{ nope['x'] }}",
    "{{ messages[99]['x'] }}",
    "{{ messages[0]['nope']['x'] }}",
    "{{ messages[0][none].x }}",
    "{{ (1 if false).x }}",
    "{{ namespace(__x=1) is defined }}",
    # limits and odds
    "{% set ns = namespace(x='a') %}{% for i in range(20) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x | length }}",
    "{% set ns = namespace(x=[]) %}{% for i in range(5) %}{% set ns.x = ns.x + [i] %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace(s='') %}{% for i in range(300) %}{% set ns.s = ns.s + 'é' + i | string %}{% endfor %}{{ ns.s | length }}{{ ns.s[-5:] }}",
    "{% set x = 'ab' %}{% set y = x + 'c' %}{% set z = x + 'd' %}{% set w = y + 'e' %}{% set v = y + 'f' %}{{ x }}{{ y }}{{ z }}{{ w }}{{ v }}",
    "{{ ((((((((((((((((((((1)))))))))))))))))))) }}",
    "{% set tool_calls = messages[2].tool_calls %}{% for t in tool_calls %}{{ {'name': t.function.name, 'arguments': t.function.arguments} | tojson }}{% endfor %}",
    "{%- set ns = namespace(is_first=true) -%}\n{%- for m in messages -%}\n  {%- if ns.is_first -%}\n    first\n    {%- set ns.is_first = false -%}\n  {%- endif -%}\n  {{ m.role }}\n{%- endfor -%}\n",
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{% autoescape false %}{{ html }}{% endautoescape %}"[:0] + "{{ html }}",
]

_WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Get the weather\nfor a \"city\".",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city, e.g. <Oslo> & co"},
        "days": {"type": "integer", "default": 1, "minimum": 0.5},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "where": {"type": "object", "properties": {"lat": {"type": ["number", "null"]}}}},
        "required": ["city"]},
    "return": {"type": "string", "description": "what it is"}}}
_ADD = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
    "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]}}}
_CALL = {"id": "abcdef123", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Ås", "days": 2, "x": 1.0, "ok": True, "n": None}}}
_TEXT_CALL = {"id": "call00002", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1, \"b\": 2}"}}


def _u(text):
    return {"role": "user", "content": text}


def _a(text, **more):
    return {"role": "assistant", "content": text, **more}


def _s(text):
    return {"role": "system", "content": text}


_CHATS = [
    [_u("Hello, who are you?")],
    [_s("You are terse."), _u("Name three colours.")],
    [_u("1+1?"), _a("2"), _u("and doubled?")],
    [_s("  Spaces kept?  \n"), _u("Üñï 日本 \"quotes\" <tags> & \\ back\n\nlines  "), _a(" yes "), _u("{\"json\": true}")],
    [_u("x"), _u("two users")],
    [_a("starts with assistant"), _u("ok")],
    [_u("a"), _s("system in the middle"), _u("b")],
    [_u("q"), _a("<think>\nlet me see\n</think>\n\nThe answer."), _u("more"), _a("<think>again</think>done")],
    [_u("q"), _a("Answer", reasoning_content="because\n"), _u("more")],
    [],
    [{"content": "no role"}],
    [{"role": "user"}],
    [_u(None)],
    [_u("")],
    [{"role": "alien", "content": "who?"}],
    [_u([{"type": "text", "text": "part one "}, {"type": "text", "text": "part two"}])],
    [_s([{"type": "text", "text": "sys"}]), _u([{"type": "image"}, {"type": "text", "text": " what? "}, {"type": "image_url", "image_url": {"url": "u"}}])],
    [_u([])],
    [_u("/no_think hi"), _a("ok"), _u("x /think")],
    [{"role": "developer", "content": "dev rules"}, _u("hi")],
    [_u("weather?"), _a("", tool_calls=[_CALL]), {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "{\"t\": 3}"}, _a("3 degrees."), _u("thanks")],
    [_s("s"), _u("both"), _a(None, tool_calls=[_CALL, _TEXT_CALL]), {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "sun"}, {"role": "tool", "name": "add", "tool_call_id": "call00002", "content": "3"}],
    [_u("add"), _a("text too", tool_calls=[{"id": "123456789", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}]), {"role": "tool", "tool_call_id": "123456789", "content": {"result": 3}}],
    [_u("i"), {"role": "assistant", "tool_calls": [{"name": "add", "arguments": {"a": [1, {"k": "v"}]}}]}, {"role": "ipython", "content": "out"}],
    [_u("a"), _a("b", tool_calls=[]), _u("c")],
    [_u("%d" % i) if i % 2 == 0 else _a("r%d" % i) for i in range(9)],
]
_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
_DOCUMENTS = [{"title": "Doc one", "text": "Text one.", "doc_id": 7}, {"title": "Two", "text": "T2", "snippet": "s"}]

CONVERSATIONS = []
for _chat in _CHATS:
    CONVERSATIONS.append({"messages": _chat, "add_generation_prompt": True, **_TOKENS})
for _chat in _CHATS[:9] + _CHATS[18:25]:
    CONVERSATIONS.append({"messages": _chat, "add_generation_prompt": False, **_TOKENS})
for _chat in _CHATS[:4] + _CHATS[18:24]:
    CONVERSATIONS.append({"messages": _chat, "tools": [_WEATHER, _ADD], "add_generation_prompt": True, **_TOKENS})
CONVERSATIONS += [
    {"messages": _CHATS[1], "tools": [], "add_generation_prompt": True, **_TOKENS},
    {"messages": _CHATS[1], "documents": _DOCUMENTS, "add_generation_prompt": True, **_TOKENS},
    {"messages": _CHATS[2], "add_generation_prompt": True},
    {"messages": _CHATS[2], "add_generation_prompt": True, "extra": {"enable_thinking": False}, **_TOKENS},
    {"messages": _CHATS[7], "add_generation_prompt": True, "extra": {"enable_thinking": True, "thinking": True, "preserve_thinking": True}, **_TOKENS},
    {"messages": _CHATS[1], "tools": [_WEATHER["function"]], "add_generation_prompt": True, "extra": {"tools_in_user_message": False, "date_string": "01 Jan 2025", "xml_tools": ["t"], "controls": {"length": "long"}, "reasoning_effort": "high", "custom_tools": [_ADD], "builtin_tools": ["wolfram_alpha", "code_interpreter"]}, **_TOKENS},
    {"messages": _CHATS[0], "tools": [_WEATHER, _ADD], "documents": _DOCUMENTS, "add_generation_prompt": True, "extra": {"thinking": True, "available_tools": [_ADD], "citations": True, "builtin_tools": ["browser", "python"], "model_identity": "Me."}, **_TOKENS},
]
