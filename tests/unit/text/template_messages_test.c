/* SPDX-License-Identifier: Apache-2.0 */
/* What a template does with a conversation, and the form in which it gets it: content as parts or
 * as one text, content that is null, arguments of tool calls as objects or as texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/chat_template.h"
#include "text/template/tree.h"

/* A body with a message m in reach. */
#define EACH(body) "{% for m in messages %}" body "{% endfor %}"
/* A body with a tool call c in reach. */
#define CALLS(body) EACH("{% for c in m.tool_calls or [] %}" body "{% endfor %}")

static struct chat_template *create(const char *text)
{
    struct chat_template *template_;
    if (chat_template_create("t", text, strlen(text), &template_) != STATUS_OK) {
        fail_msg("%s: %s", text, status_message());
    }
    return template_;
}

static void templates_that_iterate_are_found(void **state)
{
    (void)state;
    static const struct {
        bool iterates;
        const char *text;
    } cases[] = {
        {true, EACH("{% for p in m.content %}{{ p.text }}{% endfor %}")},
        {true, EACH("{% for p in m['content'] %}{{ p['text'] }}{% endfor %}")},
        {true, EACH("{% for p in m.get('content') %}{{ p.text }}{% endfor %}")},
        {true, EACH("{% for p in m.get('content', []) or [] %}{{ p.text }}{% endfor %}")},
        {true, "{% for p in messages[0].content %}{{ p.text }}{% endfor %}"},
        {true, "{% set m = messages | last %}{% for p in m.content %}{% endfor %}"},
        {true, "{% set rest = messages[1:] %}{% for m in rest %}{% for p in m.content %}{% endfor "
               "%}{% endfor %}"},
        {true, "{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% else %}{% set "
               "rest = messages %}{% endif %}{% for m in rest %}{% for p in m.content "
               "%}{% endfor %}{% endfor %}"},
        {true, "{% for m in messages | selectattr('role', 'equalto', 'user') | list %}{% for p in "
               "m.content %}{% endfor %}{% endfor %}"},
        {true, EACH("{% set content = m['content'] %}{% for p in content %}{{ p }}{% endfor %}")},
        {true, EACH("{% set a = m.content %}{% set b = a %}{% for p in b %}{% endfor %}")},
        {true, EACH("{% with c = m.content %}{% for p in c %}{% endfor %}{% endwith %}")},
        {true, EACH("{% for p in m.content[1:] %}{% endfor %}")},
        {true,
         EACH("{% for p in m.content | selectattr('type', 'equalto', 'text') %}{% endfor %}")},
        {true, EACH("{{ m.content | selectattr('type', 'equalto', 'text') | map(attribute='text') "
                    "| join }}")},
        {true, EACH("{{ m.content | map(attribute='text') | join('') }}")},
        {true, EACH("{{ m.content | join('', attribute='text') }}")},
        {true, EACH("{% for p in (m.content if m.content is not string else []) %}{% endfor %}")},
        {true, EACH("{% for p in m.content | list | reverse %}{% endfor %}")},
        {true, "{% macro show(content) %}{% for p in content %}{{ p.text }}{% endfor %}{% endmacro "
               "%}" EACH("{{ show(m.content) }}")},
        {true, "{% macro show(role, content='') %}{% for p in content %}{% endfor %}{% endmacro "
               "%}" EACH("{{ show('user', content=m.content) }}")},
        {true, "{% macro inner(c) %}{% for p in c %}{% endfor %}{% endmacro %}{% macro outer(c) "
               "%}{{ inner(c) }}{% endmacro %}" EACH("{{ outer(m.content) }}")},
        {true, "{% macro outer(c) %}{{ inner(c) }}{% endmacro %}{% macro inner(c) %}{% for p in c "
               "%}{% endfor %}{% endmacro %}" EACH("{{ outer(m.content) }}")},
        {true, "{% macro show(m) %}{% for p in m.content %}{% endfor %}{% endmacro %}" EACH(
                   "{{ show(m) }}")},
        {true, "{% macro show() %}{% for p in first.content %}{% endfor %}{% endmacro %}{% set "
               "first = messages[0] %}{{ show() }}"},
        {true, "{% set ns = namespace(c='') %}" EACH(
                   "{% set ns.c = m.content %}{% for p in ns.c %}{% endfor %}")},
        {true, "{% set ns = namespace(all=messages) %}{% for m in ns.all %}{% for p in m.content "
               "%}{% endfor %}{% endfor %}"},
        {true, "{% set all = [{'role': 'system', 'content': messages[0].content}] + messages[1:] "
               "%}{% for m in all %}{% for p in m.content %}{% endfor %}{% endfor %}"},
        {true, "{% for m in messages %}{% for k, v in m.items() %}{% for p in v %}{% endfor "
               "%}{% endfor %}{% endfor %}"},
        {true, "{% for c in messages | map(attribute='content') %}{% for p in c %}{% endfor "
               "%}{% endfor %}"},
        {true, EACH("{% for p in loop.previtem.content %}{% endfor %}")},
        {true, EACH("{% set c %}x{% endset %}{% set c = m.content %}{% for p in c %}{% endfor %}")},
        {true, EACH("{{ m.content[0].text }}")},
        {true, EACH("{{ m.content[0]['text'] }}")},
        {true, EACH("{{ (m.content | first).text }}")},
        {true, EACH("{% if m.content is string %}{{ m.content }}{% elif m.content is iterable "
                    "%}{% for p in m.content %}{% endfor %}{% endif %}")},
        {false, EACH("{{ m.content }}")},
        {false, EACH("{{ m['role'] + m['content'] }}")},
        {false, EACH("{{ m.content | trim }}{{ m.content.strip() }}")},
        {false, EACH("{% if m.content is string %}{{ m.content }}{% endif %}")},
        {false, EACH("{% if m.content is iterable %}{{ m.content }}{% endif %}")},
        {false, EACH("{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text "
                     "}}{% endif %}")},
        {false, EACH("{{ m.content | tojson }}")},
        {false, EACH("{{ m.content | length }}{{ m.content[0] }}{{ m.content[:20] }}")},
        {false, EACH("{% for line in m.content.split('\\n') %}{{ line }}{% endfor %}")},
        {false, EACH("{% for word in (m.content + ' x').split() %}{{ word }}{% endfor %}")},
        {false,
         EACH("{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}{{ m.content }}")},
        {false, EACH("{% for p in m.reasoning_content %}{% endfor %}{{ m.content }}")},
        {false, "{% for d in documents %}{% for p in d.content %}{% endfor %}{% endfor %}" EACH(
                    "{{ m.content }}")},
        {false, "{% for t in tools %}{% for p in t.content %}{% endfor %}{% endfor %}" EACH(
                    "{{ m.content }}")},
        {false, EACH("{% set x = m.content %}{% set x = tools %}{% for t in x %}{% endfor %}")},
        {false, EACH("{% if m.content %}{% set x = m.content %}{% endif %}{{ x }}") "{% for t in x "
                                                                                    "%}{% endfor "
                                                                                    "%}"},
        {false, "{% macro show(c) %}{{ c }}{% endmacro %}" EACH("{{ show(m.content) }}")},
        {false, "{% macro show(c) %}{{ c }}{% endmacro %}" EACH(
                    "{% for x in show(m.content) %}{{ x }}{% endfor %}")},
        {false, "{% set ns = namespace(c='', items=[]) %}" EACH(
                    "{% set ns.c = m.content %}{% for p in ns.items %}{% endfor %}{{ ns.c }}")},
        {false, EACH("{% if 'x' in m.content %}{{ m.content }}{% endif %}")},
        {false, "{{ messages }}"},
    };
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct chat_template *template_ = create(cases[i].text);
        if (template_->uses.iterates_content != cases[i].iterates) {
            print_error("%s: expected %s\n", cases[i].text,
                        cases[i].iterates ? "one that iterates" : "one that does not");
            wrong++;
        }
        chat_template_destroy(template_);
    }
    assert_int_equal(wrong, 0);
}

/* The templates that are published with models. */
static void published_templates_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool iterates;
    } cases[] = {
        {"deepseek_outputs.jinja", false}, {"documents_and_results.jinja", false},
        {"gemma_turns.jinja", true},       {"llama_blocks.jinja", true},
        {"mistral_blocks.jinja", false},   {"parts_and_calls.jinja", true},
        {"qwen_thinking.jinja", false},    {"smollm2.jinja", false},
        {"typed_tools.jinja", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[1024];
        struct buffer text = {0};
        struct chat_template *template_;
        snprintf(path, sizeof path, "%s/templates/%s", SLUICE_TEST_DATA, cases[i].name);
        assert_int_equal(file_read(path, 1 << 20, &text), STATUS_OK);
        assert_int_equal(chat_template_create(path, text.data, text.length, &template_), STATUS_OK);
        if (template_->uses.iterates_content != cases[i].iterates) {
            fail_msg("%s", cases[i].name);
        }
        chat_template_destroy(template_);
        buffer_destroy(&text);
    }
}

/* Many names and macros that call each other in circles: the analysis ends, whatever it finds. */
static void the_analysis_is_bounded(void **state)
{
    (void)state;
    struct buffer text = {0};
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(buffer_format(&text,
                                       "{%% macro m%d(a, b=m%d(a)) %%}{{ m%d(b, m%d(a)) }}"
                                       "{%% endmacro %%}{%% set x%d = {'k%d': x%d} %%}",
                                       i, (i + 7) % 2000, (i + 1) % 2000, (i + 3) % 2000, i, i,
                                       (i + 5) % 2000),
                         STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&text, "{{ m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m(m("
                                               "m(messages)))))))))))))))))))))))) }}"),
                     STATUS_OK);
    double start = clock_seconds();
    chat_template_destroy(create(text.data));
    assert_true(clock_seconds() - start < 20);
    buffer_destroy(&text);
}

/* ---- What templates get ---- */

static status render(const char *text, const char *messages, struct buffer *out)
{
    struct arena arena = {0};
    struct json *json = NULL;
    struct chat_template *template_ = create(text);
    if (json_parse(messages, strlen(messages), &arena, &json) != STATUS_OK) {
        fail_msg("%s: %s", messages, status_message());
    }
    struct chat_variables variables = {.messages = json};
    status s = chat_template_render(template_, &variables, out);
    chat_template_destroy(template_);
    arena_destroy(&arena);
    return s;
}

static void assert_renders(const char *text, const char *messages, const char *expected)
{
    struct buffer out = {0};
    if (render(text, messages, &out) != STATUS_OK) {
        fail_msg("%s: %s", text, status_message());
    }
    if (strcmp(out.data == NULL ? "" : out.data, expected) != 0) {
        fail_msg("%s:\n  expected %s\n  got %s", text, expected, out.data);
    }
    buffer_destroy(&out);
}

static void parts_are_joined_or_stay(void **state)
{
    (void)state;
    const char *parts =
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},\"b\","
        "{\"type\":\"input_text\",\"text\":\"c\"},{\"type\":\"refusal\",\"refusal\":\"d\"}]}]";
    assert_renders(EACH("{{ m.content }}"), parts, "a\nb\nc\nd");
    assert_renders(EACH("{{ '<' + m.content + '>' }}"), parts, "<a\nb\nc\nd>");
    assert_renders(EACH("{{ m.content is string }}"), parts, "True");
    assert_renders(EACH("{% for p in m.content %}{{ p.type }}:{{ p['text'] }} {% endfor %}"), parts,
                   "text:a text:b text:c text:d ");
    /* Also where such a template takes some of them as a text. */
    assert_renders(EACH("{% if loop.last %}{{ m.content }}{{ '|' + m.content }}{{ '%s' % m.content "
                        "}}{% else %}{% for p in m.content %}{% endfor %}{% endif %}"),
                   parts, "a\nb\nc\nd|a\nb\nc\nda\nb\nc\nd");
    assert_renders(EACH("{{ m.content }}"), "[{\"role\":\"user\",\"content\":[]}]", "");
    assert_renders(EACH("{% for p in m.content %}{{ p.cache }}{% endfor %}"),
                   "[{\"content\":[{\"type\":\"text\",\"text\":\"a\",\"cache\":1}]}]", "1");
}

static void content_that_is_null_is_no_text(void **state)
{
    (void)state;
    const char *const rows[] = {"[{\"role\":\"assistant\",\"content\":null}]",
                                "[{\"role\":\"assistant\"}]"};
    for (size_t i = 0; i < 2; i++) {
        assert_renders(EACH("<{{ m.content }}>"), rows[i], "<>");
        assert_renders(EACH("{{ '<' + m.content + '>' }}"), rows[i], "<>");
        assert_renders(EACH("{{ m['content'] + m['content'] ~ '.' }}"), rows[i], ".");
        assert_renders(EACH("{{ m.content | trim }}{{ m.content.strip() }}."), rows[i], ".");
        assert_renders(EACH("{{ m.content.split('x')[-1] }}{{ m.content[1:] }}."), rows[i], ".");
        assert_renders(EACH("{{ 'x' in m.content }}{{ m.content | length }}"), rows[i], "False0");
        assert_renders(EACH("{% for p in m.content %}x{% endfor %}."), rows[i], ".");
        assert_renders(EACH("{{ m.content is none }}{{ m.content == none }}"), rows[i], "TrueTrue");
        assert_renders(EACH("{{ m.content is not none }}{{ not m.content }}"), rows[i],
                       "FalseTrue");
        assert_renders(EACH("{{ m.content != none }}{{ m.content is string }}"), rows[i],
                       "FalseFalse");
        assert_renders(EACH("{{ m.get('content') is none }}<{{ m.get('content') }}>"), rows[i],
                       "True<>");
        assert_renders(EACH("{{ m.content | tojson }}{{ m.content or 'or' }}"), rows[i], "nullor");
        assert_renders(EACH("{{ ['a', m.content] | join('-') }}{{ '-'.join([m.content]) }}"),
                       rows[i], "a-");
    }
    assert_renders(EACH("{{ m.content is defined }}{{ 'content' in m }}"), rows[0], "TrueTrue");
    assert_renders(EACH("{{ m.content is defined }}{{ 'content' in m }}"), rows[1], "FalseFalse");
    /* None is still none everywhere else. */
    assert_renders(EACH("{{ m.other }}{{ none }}"), "[{\"other\":null}]", "NoneNone");
}

#define CALL(arguments)                                                                            \
    "[{\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{"        \
    "\"name\":\"f\",\"arguments\":" arguments "}}]}]"

static void arguments_are_objects(void **state)
{
    (void)state;
    const char *text = CALL("\" {\\\"b\\\": 1.50,\\\"a\\\":\\\"x\\\"}\"");
    const char *object = CALL("{\"b\":1.50,\"a\":\"x\"}");
    assert_renders(CALLS("{{ c.function.arguments | tojson }}"), text,
                   "{\"b\": 1.5, \"a\": \"x\"}");
    assert_renders(CALLS("{{ c.function.arguments | tojson }}"), object,
                   "{\"b\": 1.5, \"a\": \"x\"}");
    /* As Python reads them: the last value, in the place of the first; deeper down, too. */
    assert_renders(CALLS("{{ c.function.arguments | tojson }}"),
                   CALL("\"{\\\"b\\\":1,\\\"a\\\":[{\\\"k\\\":1,\\\"k\\\":2}],"
                        "\\\"b\\\":3,\\\"b\\\":null}\""),
                   "{\"b\": null, \"a\": [{\"k\": 2}]}");
    assert_renders(CALLS("{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }},{% endfor "
                         "%}"),
                   text, "b=1.5,a=x,");
    assert_renders(CALLS("{{ c.function.arguments is mapping }}"), text, "True");
    assert_renders(CALLS("{% if c.function.arguments is string %}s{{ c.function.arguments "
                         "}}{% else %}{{ c.function.arguments | tojson }}{% endif %}"),
                   text, "{\"b\": 1.5, \"a\": \"x\"}");
    assert_renders(CALLS("{{ c | tojson }}"), text,
                   "{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"f\", "
                   "\"arguments\": {\"b\": 1.5, \"a\": \"x\"}}}");
    /* As a text they are what was written. */
    const char *written = " {\"b\": 1.50,\"a\":\"x\"}";
    assert_renders(CALLS("{{ c.function.arguments }}"), text, written);
    assert_renders(CALLS("{{ '' + c.function.arguments }}"), text, written);
    assert_renders(CALLS("{{ c.function.arguments ~ '' }}"), text, written);
    assert_renders(CALLS("{{ '%s' % c.function.arguments }}"), text, written);
    assert_renders(CALLS("{{ c.function.arguments | string }}"), text, written);
    assert_renders(CALLS("{{ c.function.arguments | replace('~', '') }}"), text, written);
    assert_renders(CALLS("{{ c.function.arguments.strip() }}"), text, written + 1);
    assert_renders(CALLS("{{ c.function.arguments[1:] }}"), text, written + 1);
    assert_renders(CALLS("{% if c.function.arguments is string %}{{ c.function.arguments "
                         "}}{% endif %}"),
                   text, written);
    assert_renders(CALLS("{{ c.function }}"), text,
                   "{'name': 'f', 'arguments': ' {\"b\": 1.50,\"a\":\"x\"}'}");
    /* Texts that are no objects. */
    assert_renders(CALLS("{{ c.function.arguments }}"), CALL("\"[1, 2]\""), "[1, 2]");
    assert_renders(CALLS("{{ c.function.arguments is string }}"), CALL("\"{broken\""), "True");
    assert_renders(CALLS("{{ c.function.arguments is string }}"), CALL("\"3\""), "True");
}

static void no_arguments_are_an_empty_object(void **state)
{
    (void)state;
    const char *const rows[] = {CALL("\"\""), CALL("\" \""), CALL("null"), CALL("\"{}\""),
                                CALL("{}")};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_renders(CALLS("({% for k, v in c.function.arguments.items() %}x{% endfor %})"),
                       rows[i], "()");
        assert_renders(CALLS("{{ c.function.arguments | tojson }}"), rows[i], "{}");
    }
    assert_renders(CALLS("{{ c.function.arguments | tojson }}"),
                   "[{\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]}]", "{}");
}

static void older_forms_of_calls_are_read(void **state)
{
    (void)state;
    const char *bare = "[{\"tool_calls\":[{\"id\":\"7\",\"name\":\"f\",\"arguments\":"
                       "\"{\\\"a\\\": 1}\"}]}]";
    const char *older = "[{\"content\":null,\"function_call\":{\"name\":\"f\",\"arguments\":"
                        "\"{\\\"a\\\": 1}\"}}]";
    const char *wrapped = "{{ c.function.name }} {{ c.function.arguments.a }} {{ c.type }}";
    assert_renders(CALLS("{{ c.name }} {{ c.arguments.a }}"), bare, "f 1");
    assert_renders(EACH("{% for c in m.tool_calls %}{% if c.function is defined %}{% set c = "
                        "c.function %}{% endif %}{{ c.name }} {{ c.arguments | tojson }}{% endfor "
                        "%}"),
                   bare, "f {\"a\": 1}");
    char text[256];
    snprintf(text, sizeof text,
             "{%% for m in messages %%}{%% for c in m.tool_calls %%}%s{%% endfor %%}{%% endfor %%}",
             wrapped);
    assert_renders(text, bare, "f 1 function");
    assert_renders(text, older, "f 1 function");
    assert_renders(EACH("{{ m.function_call.name }} {{ m.function_call.arguments | tojson }} {{ "
                        "m.tool_calls is defined }}"),
                   older, "f {\"a\": 1} False");
    /* Calls that are none are not there. */
    assert_renders(EACH("{{ 'tool_calls' in m }}{{ m.function_call is defined }}"),
                   "[{\"tool_calls\":[],\"function_call\":null}]", "FalseFalse");
    assert_renders(EACH("{{ 'tool_calls' in m }}"), "[{\"tool_calls\":null}]", "False");
}

/* What a template fails of is told as it was with the objects. */
static void the_first_failure_is_told(void **state)
{
    (void)state;
    struct buffer out = {0};
    assert_int_equal(render(CALLS("{{ c.function.arguments.a.b.c }}"), CALL("\"{}\""), &out),
                     STATUS_INVALID);
    assert_non_null(strstr(status_message(), "'dict object' has no attribute 'a'"));
    assert_int_equal(out.length, 0);
    buffer_destroy(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_that_iterate_are_found),
        cmocka_unit_test(published_templates_are_told_apart),
        cmocka_unit_test(the_analysis_is_bounded),
        cmocka_unit_test(parts_are_joined_or_stay),
        cmocka_unit_test(content_that_is_null_is_no_text),
        cmocka_unit_test(arguments_are_objects),
        cmocka_unit_test(no_arguments_are_an_empty_object),
        cmocka_unit_test(older_forms_of_calls_are_read),
        cmocka_unit_test(the_first_failure_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
