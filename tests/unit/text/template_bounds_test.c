/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates: what a hostile template may take, what messages say, and the contract of the
 * calls. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/chat_template.h"

static status render(const char *text, const char *extra, struct buffer *out)
{
    struct arena arena = {0};
    struct json *json = NULL;
    struct chat_template *template_;
    assert_int_equal(json_parse(extra, strlen(extra), &arena, &json), STATUS_OK);
    status s = chat_template_create("t", text, strlen(text), &template_);
    if (s == STATUS_OK) {
        struct chat_variables variables = {.extra = json, .bos_token = "<s>"};
        s = chat_template_render(template_, &variables, out);
        chat_template_destroy(template_);
    } else {
        assert_null(template_);
    }
    arena_destroy(&arena);
    return s;
}

static void assert_status(const char *text, status expected, const char *message)
{
    struct buffer out = {0};
    status s = render(text, "{}", &out);
    if (s != expected || (message != NULL && strcmp(status_message(), message) != 0)) {
        fail_msg("%.200s: %s: %s", text, status_name(s), s == STATUS_OK ? "" : status_message());
    }
    assert_int_equal(out.length, 0);
    buffer_destroy(&out);
}

static void assert_renders(const char *text, const char *extra, const char *expected)
{
    struct buffer out = {0};
    status s = render(text, extra, &out);
    if (s != STATUS_OK) {
        fail_msg("%s: %s", text, status_message());
    }
    assert_string_equal(out.data, expected);
    buffer_destroy(&out);
}

static void hostile_templates_meet_bounds(void **state)
{
    (void)state;
    static const char *const templates[] = {
        "{{ 'x' * 1000000000000 }}",
        "{{ 'x' * 9223372036854775807 }}",
        "{{ [0] * 100000000000 }}",
        "{{ [0, 1] * 9223372036854775807 }}",
        "{{ 'a\\nb' | indent(1000000000) }}",
        "{{ 'a' | center(1000000000000) }}",
        "{{ 'a'.ljust(1000000000000) }}",
        "{{ 'a'.zfill(1000000000000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1.5 }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ [1, 2] | batch(1000000000000, 'x') | list }}",
        "{{ [1, 2] | slice(1000000000000) | list }}",
        "{{ [1] | tojson(indent=1000000000) }}",
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
        "%}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor "
        "%}",
        "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor "
        "%}"
        "{{ n.x }}",
        "{% set x = 'abcdefgh' * 100000 %}{% for i in range(100000) %}{{ x }}{% endfor %}",
        "{% set x = 'abcdefgh' * 100000 %}{% for i in range(100000) %}{% set y = x | upper %}"
        "{% endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{% set y = 'b' in x %}{% endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{% set y = x.count('b') %}{% "
        "endfor %}",
        "{% set x = 'a' * 1000000 %}{% for i in range(100000) %}{% set y = x == x %}{% endfor %}",
        "{% set x = 'a' * 500000 %}{% set z = 'a' * 249999 ~ 'b' %}{% for i in range(100000) %}"
        "{% set y = x.rfind(z) %}{% endfor %}",
        "{% set x = 'a' * 500000 %}{% set z = 'b' * 250000 ~ 'a' %}{% set y = x.strip(z) %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(x) %}{% call m(x) %}{{ caller() }}{% endcall %}{% endmacro %}{{ m(1) }}",
        "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}",
        "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
        "{% set n = namespace(g=[1]) %}{% for i in range(5000) %}{% set n.g = n.g | map('string') "
        "%}"
        "{% endfor %}{{ n.g | list }}",
        "{% set n = namespace(g=[1]) %}{% for i in range(5000) %}{% set n.g = [n.g] %}{% endfor %}"
        "{{ n.g == n.g }}{{ n.g | tojson }}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 2 ** 64 }}",
        "{{ -9223372036854775807 - 2 }}",
        "{{ '9223372036854775808' | int }}",
        "{{ 1e30 | int }}",
    };
    for (size_t i = 0; i < COUNT_OF(templates); i++) {
        assert_status(templates[i], STATUS_LIMIT, NULL);
    }
    static const char *const times[] = {"%1000000d", "%-1000d", "%_5d", "%010d", "%^a", "%Ey",
                                        "%Od",       "%",       "%-",   "%%%",   "%--d"};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        char text[64];
        snprintf(text, sizeof text, "{{ strftime_now('%s') }}", times[i]);
        assert_status(text, STATUS_INVALID, "t: line 1: strftime_now: an unknown format");
    }
    assert_status("{{ range(1000000000000) }}", STATUS_INVALID,
                  "t: line 1: Range too big. The sandbox blocks ranges larger than MAX_RANGE "
                  "(100000).");
}

/* `count` times `opening`, then `middle`, then `count` times `closing`. */
static void assert_nested(const char *opening, const char *middle, const char *closing,
                          size_t count, status expected)
{
    struct buffer text = {0}, out = {0};
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buffer_append_text(&text, opening), STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&text, middle), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buffer_append_text(&text, closing), STATUS_OK);
    }
    status s = render(text.data, "{}", &out);
    if (s != expected) {
        fail_msg("%zu times %s: %s", count, opening, s == STATUS_OK ? "ok" : status_message());
    }
    buffer_destroy(&text);
    buffer_destroy(&out);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    assert_nested("{% if true %}", "x", "{% endif %}", 50, STATUS_OK);
    assert_nested("{% if true %}", "x", "{% endif %}", 100000 / 24, STATUS_LIMIT);
    assert_nested("{% for x in [1] %}", "x", "{% endfor %}", 4000, STATUS_LIMIT);
    static const char *const openings[] = {"(",  "[",  "{1:", "not ", "-", "1 if x else ",
                                           "f(", "x[", "x|f("};
    for (size_t i = 0; i < COUNT_OF(openings); i++) {
        struct buffer text = {0}, out = {0};
        assert_int_equal(buffer_append_text(&text, "{% if x %}{{ "), STATUS_OK);
        for (size_t j = 0; j < 10000; j++) {
            assert_int_equal(buffer_append_text(&text, openings[i]), STATUS_OK);
        }
        assert_int_equal(render(text.data, "{}", &out), STATUS_LIMIT);
        buffer_destroy(&text);
        buffer_destroy(&out);
    }
    /* A long chain is a deep tree, though it is not nested. */
    struct buffer text = {0}, out = {0};
    assert_int_equal(buffer_append_text(&text, "{{ 1"), STATUS_OK);
    for (size_t j = 0; j < 50000; j++) {
        assert_int_equal(buffer_append_text(&text, " + 1"), STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&text, " }}"), STATUS_OK);
    assert_int_equal(render(text.data, "{}", &out), STATUS_LIMIT);
    buffer_destroy(&text);
    buffer_destroy(&out);
}

static void messages_name_template_line_and_construct(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
        status expected;
    } cases[] = {
        {"a\n{{ 1 | nope }}", "t: line 2: No filter named 'nope'.", STATUS_INVALID},
        {"\n\n{% if x is nope %}{% endif %}{{ 1 is nope }}", "t: line 3: No test named 'nope'.",
         STATUS_INVALID},
        {"\n{{ nope() }}", "t: line 2: 'nope' is undefined", STATUS_INVALID},
        {"{{\n\nnope.x }}", "t: line 3: 'nope' is undefined", STATUS_INVALID},
        {"{% set l = [] %}{{ l.append(1) }}",
         "t: line 1: access to attribute 'append' of 'list' object is unsafe.", STATUS_INVALID},
        {"{{ raise_exception('Only\nthis.') }}", "Only this.", STATUS_INVALID},
        {"x\n{% include 'a' %}",
         "t: line 2: {% include %} is not supported: a chat template stands alone",
         STATUS_UNSUPPORTED},
        {"{% import 'a' as b %}",
         "t: line 1: {% import %} is not supported: a chat template stands alone",
         STATUS_UNSUPPORTED},
        {"{% extends 'a' %}",
         "t: line 1: {% extends %} is not supported: a chat template stands alone",
         STATUS_UNSUPPORTED},
        {"\xff", "t: byte 0: not UTF-8", STATUS_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_status(cases[i].text, cases[i].expected, cases[i].message);
    }
}

static void numbers_of_json_keep_their_kind(void **state)
{
    (void)state;
    assert_renders("{{ x | tojson }} {{ x }}",
                   "{\"x\": [1, 1.0, -0, -0.0, 1e2, 123456789012345678901234567890, true, null]}",
                   "[1, 1.0, 0, -0.0, 100.0, 123456789012345678901234567890, true, null] [1, 1.0, "
                   "0, -0.0, 100.0, 123456789012345678901234567890, True, None]");
    struct buffer out = {0};
    assert_int_equal(render("{{ x + 1 }}", "{\"x\": 123456789012345678901234567890}", &out),
                     STATUS_LIMIT);
    buffer_destroy(&out);
}

static void variables_are_those_given(void **state)
{
    (void)state;
    assert_renders("{{ bos_token }}{{ eos_token is defined }}{{ tools is none }}"
                   "{{ documents is none }}{{ add_generation_prompt }}{{ enable_thinking }}",
                   "{\"enable_thinking\": false}", "<s>FalseTrueTrueFalseFalse");
    assert_renders("{{ bos_token }}", "{\"bos_token\": \"other\"}", "other");
}

static void a_failure_leaves_the_output_alone(void **state)
{
    (void)state;
    struct buffer out = {0};
    assert_int_equal(buffer_append_text(&out, "kept"), STATUS_OK);
    assert_int_equal(render("abc{{ nope.x }}", "{}", &out), STATUS_INVALID);
    assert_string_equal(out.data, "kept");
    assert_int_equal(render("-{{ 1 }}", "{}", &out), STATUS_OK);
    assert_string_equal(out.data, "kept-1");
    buffer_destroy(&out);
}

static void *render_often(void *argument)
{
    const struct chat_template *template_ = argument;
    struct buffer out = {0};
    bool right = true;
    for (int i = 0; i < 200 && right; i++) {
        struct chat_variables variables = {.bos_token = "<s>"};
        buffer_clear(&out);
        right = chat_template_render(template_, &variables, &out) == STATUS_OK &&
                strcmp(out.data, "<s>0:A1:A2:A") == 0;
    }
    buffer_destroy(&out);
    return right ? argument : NULL;
}

static void threads_share_a_template(void **state)
{
    (void)state;
    static const char text[] = "{% macro m(x) %}{{ x ~ ':' }}{{ 'a' | upper }}{% endmacro %}"
                               "{{ bos_token }}{% for i in range(3) %}{{ m(i) }}{% endfor %}";
    struct chat_template *template_;
    pthread_t threads[4];
    assert_int_equal(chat_template_create("t", text, sizeof text - 1, &template_), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, template_), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, template_);
    }
    chat_template_destroy(template_);
    chat_template_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_templates_meet_bounds),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(messages_name_template_line_and_construct),
        cmocka_unit_test(numbers_of_json_keep_their_kind),
        cmocka_unit_test(variables_are_those_given),
        cmocka_unit_test(a_failure_leaves_the_output_alone),
        cmocka_unit_test(threads_share_a_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
