/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas that want to be trouble: circles, contradictions, numbers that no machine holds, texts
 * that are none, expressions whose automata explode. Each compiles to what it means or is refused
 * with a line that says where, within the work that it may take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/grammar.h"
#include "grammar/schema/schema.h"

static double seconds = 2; /* of work that a schema may take */

static status compile(const char *schema, struct grammar **out)
{
    const struct grammar_limits limits = {.seconds = seconds};
    const struct schema_options options = {0};
    struct grammar_expressions *expressions;
    grammar_node root;
    assert_int_equal(grammar_expressions_create(&limits, &expressions), STATUS_OK);
    status s = schema_compile_text(expressions, schema, strlen(schema), &options, &root);
    if (s == STATUS_OK) {
        s = grammar_compile(expressions, root, &limits, out);
    }
    grammar_expressions_destroy(expressions);
    return s;
}

/* What a schema comes to: the shortest text, or words of the message. */
static void check(const char *schema, const char *shortest, const char *words)
{
    struct grammar *grammar = NULL;
    const status s = compile(schema, &grammar);
    if (words != NULL) {
        if (s == STATUS_OK || strstr(status_message(), words) == NULL ||
            strchr(status_message(), '\n') != NULL) {
            fail_msg("%.200s: %s", schema, s == STATUS_OK ? "compiles" : status_message());
        }
        grammar_destroy(grammar);
        return;
    }
    if (s != STATUS_OK) {
        fail_msg("%.200s: %s", schema, status_message());
    }
    static const char *const nothing[] = {"\x01"};
    static const size_t one[] = {1};
    struct grammar_vocabulary *vocabulary;
    struct grammar_masks *masks;
    struct grammar_matcher *matcher;
    struct buffer text = {0};
    assert_int_equal(grammar_vocabulary_create(nothing, one, 1, NULL, 0, &vocabulary), STATUS_OK);
    assert_int_equal(grammar_masks_create(grammar, vocabulary, 0, &masks), STATUS_OK);
    assert_int_equal(grammar_matcher_create(masks, &matcher), STATUS_OK);
    assert_int_equal(grammar_matcher_shortest(matcher, &text), STATUS_OK);
    if (text.length != strlen(shortest) || memcmp(text.data, shortest, text.length) != 0) {
        fail_msg("%.200s: %.*s", schema, (int)text.length, text.data);
    }
    buffer_destroy(&text);
    grammar_matcher_destroy(matcher);
    grammar_masks_destroy(masks);
    grammar_vocabulary_destroy(vocabulary);
    grammar_destroy(grammar);
}

static void circles(void **state)
{
    (void)state;
    check("{\"$ref\":\"#\"}", NULL, "defined as itself");
    check("{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"$ref\":"
          "\"#/$defs/a\"}}}",
          NULL, "#/$defs/a: the schema is defined as itself");
    check("{\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/a\"}]}},\"$ref\":\"#/$defs/a\"}", NULL,
          "defined as itself");
    check("{\"$defs\":{\"a\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"},{\"type\":\"null\"}]}},"
          "\"$ref\":\"#/$defs/a\"}",
          NULL, "defined as itself");
    /* Values that would never end. */
    check("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":1}", NULL,
          "no text matches");
    check("{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#\"}},\"required\":[\"x\"]}",
          NULL, "no text matches");
    check("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"},\"minItems\":0}", "[]", NULL);
}

static void contradictions(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "false",
        "{\"enum\":[]}",
        "{\"type\":[]}",
        "{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}",
        "{\"type\":\"number\",\"minimum\":5,\"exclusiveMaximum\":5}",
        "{\"type\":\"string\",\"minLength\":5,\"maxLength\":4}",
        "{\"type\":\"array\",\"minItems\":5,\"maxItems\":4}",
        "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}",
        "{\"allOf\":[{\"const\":1},{\"const\":2}]}",
        "{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}",
        "{\"type\":\"object\",\"properties\":{\"a\":{}},\"additionalProperties\":false,"
        "\"minProperties\":2}",
        "{\"type\":\"string\",\"pattern\":\"^(ab|cd)*$\",\"minLength\":3,\"maxLength\":3}",
    };
    for (size_t i = 0; i < COUNT_OF(schemas); i++) {
        struct grammar *grammar = NULL;
        if (compile(schemas[i], &grammar) == STATUS_OK) {
            fail_msg("%s compiles", schemas[i]);
        }
        assert_true(strlen(status_message()) > 0 && strchr(status_message(), '\n') == NULL);
    }
}

static void numbers(void **state)
{
    (void)state;
    check("{\"type\":\"string\",\"maxLength\":-1}", NULL, "maxLength");
    check("{\"type\":\"string\",\"maxLength\":2.5}", NULL, "maxLength");
    check("{\"type\":\"string\",\"minLength\":2.0}", "\"  \"", NULL);
    check("{\"type\":\"string\",\"minLength\":4294967295}", NULL, "");
    check("{\"type\":\"string\",\"maxLength\":4294967296}", NULL, "");
    check("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1000000000}", NULL,
          "");
    check("{\"type\":\"integer\",\"maximum\":1e99999999999999999999}", NULL, "maximum");
    check("{\"type\":\"number\",\"minimum\":1e999999999}", NULL, "minimum");
    check("{\"type\":3}", NULL, "type");
    check("{\"type\":\"strng\"}", NULL, "strng");
    check("{\"const\":1e400}", "1e400", NULL); /* as the schema writes it */
}

static void texts(void **state)
{
    (void)state;
    check("{\"const\":\"\\ud83d\"}", NULL, "");         /* half a pair is no text */
    check("{\"enum\":[\"\\ude00\\ud83d\"]}", NULL, ""); /* nor are two in the wrong order */
    check("{\"const\":\"\xff\xfe\"}", NULL, "UTF-8");
    check("{\"const\":\"\\ud83d\\ude00\"}", "\"\xF0\x9F\x98\x80\"", NULL);
    check("{\"const\":\"a\\u0000b\"}", "\"a\\u0000b\"", NULL);
    check("{\"type\":\"object\",\"properties\":{\"\":{\"type\":\"null\"}},\"required\":[\"\"],"
          "\"additionalProperties\":false}",
          "{\"\":null}", NULL);
    check("{\"type\":\"integer\",\"type\":\"string\"}", NULL, "key \"type\" twice");
}

static void expressions(void **state)
{
    (void)state;
    check("{\"type\":\"string\",\"pattern\":\"(?<\"}", NULL, "pattern");
    check("{\"type\":\"string\",\"pattern\":\"^(a|b)*a(a|b){60}$\"}", NULL, "");
    check("{\"type\":\"string\",\"pattern\":\"^(a|aa|aaa)*(a?){50}b$\"}", "\"b\"", NULL);
    check("{\"type\":\"string\",\"pattern\":\"^\\\\ud83d$\"}", NULL, "");
}

static void references(void **state)
{
    (void)state;
    check("{\"$ref\":\"http://example.com/x\"}", NULL, "http://example.com/x");
    check("{\"$ref\":\"#/$defs/a~1b%25\",\"$defs\":{\"a/b%\":{\"type\":\"null\"}}}", "null", NULL);
    check("{\"$ref\":\"#/$defs/none\"}", NULL, "#/$defs/none");
    check("{\"$ref\":5}", NULL, "$ref");
}

/* Many of something: enormous lists compile, and where they are too many the limit says so. */
static void many(void **state)
{
    (void)state;
    struct buffer schema = {0};
    assert_int_equal(buffer_format(&schema, "{\"enum\":["), STATUS_OK);
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(buffer_format(&schema, "%s\"value %d\"", i > 0 ? "," : "", i), STATUS_OK);
    }
    assert_int_equal(buffer_format(&schema, "]}"), STATUS_OK);
    check(schema.data, "\"value 0\"", NULL);
    /* Every value of one list is looked for in the other: that is work, too. */
    struct buffer both = {0};
    seconds = 0.2;
    for (int number = 0; number < 2; number++) {
        both.length = 0;
        assert_int_equal(buffer_format(&both, "{\"allOf\":["), STATUS_OK);
        for (int list = 0; list < 2; list++) {
            assert_int_equal(buffer_format(&both, "%s{\"enum\":[", list > 0 ? "," : ""), STATUS_OK);
            for (int i = 0; i < 20000; i++) {
                assert_int_equal(buffer_format(&both, number ? "%s%d.%d" : "%s\"%d %d\"",
                                               i > 0 ? "," : "", i, 1 + list),
                                 STATUS_OK);
            }
            assert_int_equal(buffer_format(&both, "]}"), STATUS_OK);
        }
        assert_int_equal(buffer_format(&both, "]}"), STATUS_OK);
        check(both.data, NULL, "structured.compile_limit");
    }
    buffer_destroy(&both);
    seconds = 2;
    schema.length = 0;
    assert_int_equal(buffer_format(&schema, "{\"$ref\":\"#/$defs/d0\",\"$defs\":{"), STATUS_OK);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(buffer_format(&schema, "\"d%d\":{\"$ref\":\"#/$defs/d%d\"},", i, i + 1),
                         STATUS_OK);
    }
    assert_int_equal(buffer_format(&schema, "\"d1000\":{\"type\":\"null\"}}}"), STATUS_OK);
    check(schema.data, NULL, "more than 64 schemas must hold together");
    schema.length = 0;
    assert_int_equal(buffer_format(&schema, "{\"allOf\":["), STATUS_OK);
    for (int i = 0; i < 24; i++) { /* 2^24 ways to choose */
        assert_int_equal(buffer_format(&schema,
                                       "%s{\"anyOf\":[{\"required\":[\"a%d\"]},{\"required\":["
                                       "\"b%d\"]}]}",
                                       i > 0 ? "," : "", i, i),
                         STATUS_OK);
    }
    assert_int_equal(buffer_format(&schema, "]}"), STATUS_OK);
    check(schema.data, NULL, "");
    buffer_destroy(&schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(circles), cmocka_unit_test(contradictions), cmocka_unit_test(numbers),
        cmocka_unit_test(texts),   cmocka_unit_test(expressions),    cmocka_unit_test(references),
        cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
