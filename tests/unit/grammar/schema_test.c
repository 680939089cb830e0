/* SPDX-License-Identifier: Apache-2.0 */
/* What the suite of JSON Schema does not ask of the compiler: ranges digit by digit, the canonical
 * form, white space, formats, what is refused and with which words. */
#include <math.h>
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

static struct grammar_vocabulary *bytes;

static int open_bytes(void **state)
{
    (void)state;
    static char all[256];
    const char *texts[256];
    size_t lengths[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (char)i;
        texts[i] = &all[i];
        lengths[i] = 1;
    }
    return grammar_vocabulary_create(texts, lengths, 256, NULL, 0, &bytes) == STATUS_OK ? 0 : -1;
}

static int close_bytes(void **state)
{
    (void)state;
    grammar_vocabulary_destroy(bytes);
    return 0;
}

/* A compiled schema. */
struct subject {
    struct grammar *grammar;
    struct grammar_masks *masks;
};

static status try_open(const char *schema, const struct schema_options *options,
                       struct subject *out)
{
    struct grammar_expressions *expressions;
    grammar_node root;
    assert_int_equal(grammar_expressions_create(NULL, &expressions), STATUS_OK);
    status s = schema_compile_text(expressions, schema, strlen(schema), options, &root);
    if (s == STATUS_OK) {
        s = grammar_compile(expressions, root, NULL, &out->grammar);
    }
    grammar_expressions_destroy(expressions);
    if (s == STATUS_OK) {
        s = grammar_masks_create(out->grammar, bytes, 0, &out->masks);
    }
    return s;
}

static void subject_close(struct subject *subject)
{
    grammar_masks_destroy(subject->masks);
    grammar_destroy(subject->grammar);
}

static bool accepts(const struct subject *subject, const char *text)
{
    struct grammar_matcher *matcher;
    bool ok;
    assert_int_equal(grammar_matcher_create(subject->masks, &matcher), STATUS_OK);
    assert_int_equal(grammar_matcher_accept_bytes(matcher, text, strlen(text), &ok), STATUS_OK);
    ok = ok && grammar_matcher_may_end(matcher);
    grammar_matcher_destroy(matcher);
    return ok;
}

/* Texts of a list that ends with NULL: first those that are accepted, then, behind "-", those that
 * are not. */
static void check_with(const char *schema, const struct schema_options *options,
                       const char *const *texts)
{
    struct subject subject;
    bool wanted = true;
    if (try_open(schema, options, &subject) != STATUS_OK) {
        fail_msg("%s: %s", schema, status_message());
    }
    for (; *texts != NULL; texts++) {
        if (strcmp(*texts, "-") == 0) {
            wanted = false;
        } else if (accepts(&subject, *texts) != wanted) {
            fail_msg("%s: %s is %s", schema, *texts, wanted ? "refused" : "accepted");
        }
    }
    subject_close(&subject);
}

#define CHECK(schema, ...)                                                                         \
    check_with(schema, &(const struct schema_options){0}, (const char *const[]){__VA_ARGS__, NULL})

/* ---- Numbers ---- */

struct bound {
    const char *text;
    double value;
};

static const struct bound bounds[] = {
    {"-120", -120}, {"-99.5", -99.5}, {"-10", -10}, {"-0.25", -.25},  {"0", 0},     {"0.05", .05},
    {"1", 1},       {"9.99", 9.99},   {"10", 10},   {"100.5", 100.5}, {"1e3", 1000}};

static bool is_within(double value, const struct bound *low, bool above, const struct bound *high,
                      bool below)
{
    bool is_low = low == NULL || (above ? value > low->value : value >= low->value);
    bool is_high = high == NULL || (below ? value < high->value : value <= high->value);
    return is_low && is_high;
}

/* Every number of up to three digits and two decimals, and some around the bounds. */
static void check_range(const struct bound *low, bool above, const struct bound *high, bool below,
                        bool integers)
{
    char schema[256], number[32];
    struct subject subject = {0};
    size_t length = (size_t)snprintf(schema, sizeof schema, "{\"type\": \"%s\"",
                                     integers ? "integer" : "number");
    if (low != NULL) {
        length += (size_t)snprintf(schema + length, sizeof schema - length, ", \"%s\": %s",
                                   above ? "exclusiveMinimum" : "minimum", low->text);
    }
    if (high != NULL) {
        length += (size_t)snprintf(schema + length, sizeof schema - length, ", \"%s\": %s",
                                   below ? "exclusiveMaximum" : "maximum", high->text);
    }
    snprintf(schema + length, sizeof schema - length, "}");
    const status s = try_open(schema, &(const struct schema_options){0}, &subject);
    bool any = false;
    for (int i = -12550; i <= 12550; i += i % 100 == 0 ? 1 : 7) {
        snprintf(number, sizeof number,
                 i % 100 == 0  ? "%.0f"
                 : i % 10 == 0 ? "%.1f"
                               : "%.2f",
                 i / 100.0);
        bool wanted = is_within(i / 100.0, low, above, high, below) && (!integers || i % 100 == 0);
        any = any || wanted;
        if (s == STATUS_OK && accepts(&subject, number) != wanted) {
            fail_msg("%s: %s is %s", schema, number, wanted ? "refused" : "accepted");
        }
    }
    assert_true(s == STATUS_OK || !any);
    if (s == STATUS_OK) {
        subject_close(&subject);
    }
}

static void ranges_hold_digit_by_digit(void **state)
{
    (void)state;
    for (size_t i = 0; i <= COUNT_OF(bounds); i++) {
        for (size_t j = 0; j <= COUNT_OF(bounds); j += 1 + (i % 2)) {
            const struct bound *low = i < COUNT_OF(bounds) ? &bounds[i] : NULL;
            const struct bound *high = j < COUNT_OF(bounds) ? &bounds[j] : NULL;
            check_range(low, i % 3 == 0, high, j % 2 == 0, (i + j) % 3 == 0);
        }
    }
}

static void numbers_have_one_form(void **state)
{
    (void)state;
    CHECK("{\"type\": \"integer\"}", "0", "-1", "10", "123456789012345678901234567890", "-", "01",
          "1.0", "1e2", "+1", "-", "");
    CHECK("{\"type\": \"number\"}", "0", "0.5", "-0.5", "1e10", "1.5E-3", "-", ".5", "1.", "00",
          "1e", "1e1234");
    CHECK("{\"minimum\": 0, \"type\": \"number\"}", "0", "0.00", "12.5", "-", "-1", "1e3");
    CHECK("{\"minimum\": 9007199254740993, \"type\": \"integer\"}", "9007199254740993", "-",
          "9007199254740992");
    CHECK("{\"const\": 1.0}", "1.0", "1", "-", "1.00", "true");
    CHECK("{\"type\": \"integer\", \"format\": \"int32\"}", "2147483647", "-2147483648", "-",
          "2147483648");
    CHECK("{\"multipleOf\": 1, \"type\": \"number\"}", "5", "-", "5.5");
}

/* ---- Structures ---- */

static void members_stand_in_order(void **state)
{
    (void)state;
    CHECK("{\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"null\"}, \"a\": {\"type\": "
          "\"null\"}}, \"additionalProperties\": false}",
          "{}", "{\"b\":null}", "{\"a\":null}", "{\"b\":null,\"a\":null}", "-",
          "{\"a\":null,\"b\":null}", "{\"b\":null,}", "{,}", "{\"c\":null}", "{ }");
    CHECK("{\"type\": \"object\", \"properties\": {\"a\": {\"const\": 1}, \"b\": {\"const\": 2}, "
          "\"c\": {\"const\": 3}}, \"required\": [\"b\", \"z\"], \"additionalProperties\": "
          "{\"const\": 0}}",
          "{\"b\":2,\"z\":0}", "{\"a\":1,\"b\":2,\"c\":3,\"z\":0,\"y\":0,\"x\":0}",
          "{\"a\":1,\"b\":2,\"z\":0}", "-", "{\"a\":1,\"z\":0}", "{\"b\":2}", "{\"z\":0,\"b\":2}",
          "{\"b\":2,\"z\":0,\"a\":0}", "{\"b\":2,\"z\":0,\"a\":1}");
    CHECK("{\"allOf\": [{\"$ref\": \"#/$defs/base\"}], \"properties\": {\"y\": {\"const\": 2}}, "
          "\"required\": [\"y\"], \"type\": \"object\", \"$defs\": {\"base\": {\"properties\": "
          "{\"x\": {\"const\": 1}}, \"required\": [\"x\"]}}}",
          "{\"y\":2,\"x\":1}", "-", "{\"y\":2}");
}

static void members_are_counted(void **state)
{
    (void)state;
    CHECK("{\"type\": \"object\", \"minProperties\": 2, \"maxProperties\": 2, \"properties\": "
          "{\"a\": {\"const\": 1}, \"b\": {\"const\": 2}, \"c\": {\"const\": 3}}, "
          "\"additionalProperties\": false}",
          "{\"a\":1,\"b\":2}", "{\"a\":1,\"c\":3}", "{\"b\":2,\"c\":3}", "-", "{}", "{\"a\":1}",
          "{\"a\":1,\"b\":2,\"c\":3}");
    CHECK("{\"type\": \"object\", \"minProperties\": 1, \"additionalProperties\": {\"const\": 0}}",
          "{\"a\":0}", "{\"a\":0,\"b\":0}", "-", "{}");
}

static void names_may_have_patterns(void **state)
{
    (void)state;
    CHECK("{\"type\": \"object\", \"patternProperties\": {\"^s\": {\"type\": \"string\"}, \"x$\": "
          "{\"minLength\": 2}}, \"additionalProperties\": {\"const\": 0}, \"properties\": {\"sx\": "
          "{}}}",
          "{\"sa\":\"\"}", "{\"sx\":\"ab\"}", "{\"sax\":\"ab\"}", "{\"ax\":1}", "{\"b\":0}", "-",
          "{\"sa\":1}", "{\"sx\":\"a\"}", "{\"sax\":\"a\"}", "{\"ax\":\"a\"}", "{\"b\":1}");
    CHECK("{\"type\": \"object\", \"propertyNames\": {\"enum\": [\"a\", \"b\"]}, "
          "\"additionalProperties\": {\"const\": 0}}",
          "{\"a\":0}", "{\"b\":0,\"a\":0}", "-", "{\"c\":0}");
}

static void choices_may_recur(void **state)
{
    (void)state;
    CHECK("{\"$ref\": \"#/$defs/list\", \"$defs\": {\"list\": {\"oneOf\": [{\"type\": \"null\"}, "
          "{\"type\": \"object\", \"properties\": {\"next\": {\"$ref\": \"#/$defs/list\"}}, "
          "\"required\": [\"next\"], \"additionalProperties\": false}]}}}",
          "null", "{\"next\":null}", "{\"next\":{\"next\":null}}", "-", "{}", "{\"next\":{}}");
    CHECK("{\"oneOf\": [{\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"a\"}, "
          "\"x\": {\"const\": 1}}, \"required\": [\"kind\", \"x\"], \"additionalProperties\": "
          "false}, {\"type\": \"object\", \"properties\": {\"kind\": {\"const\": \"b\"}}, "
          "\"required\": [\"kind\"], \"additionalProperties\": false}]}",
          "{\"kind\":\"a\",\"x\":1}", "{\"kind\":\"b\"}", "-", "{\"kind\":\"a\"}",
          "{\"kind\":\"b\",\"x\":1}");
    CHECK("{\"items\": [{\"type\": \"integer\"}], \"additionalItems\": {\"type\": \"null\"}, "
          "\"type\": \"array\", \"minItems\": 1, \"maxItems\": 3}",
          "[1]", "[1,null]", "[1,null,null]", "-", "[]", "[null]", "[1,1]", "[1,null,null,null]",
          "[1,]");
}

static void white_space_is_bounded(void **state)
{
    (void)state;
    const struct schema_options any = {.any_white_space = true};
    char most[128], more[128];
    snprintf(most, sizeof most, "[%*s1]", SCHEMA_WHITE_SPACE_MOST, "");
    snprintf(more, sizeof more, "[%*s1]", SCHEMA_WHITE_SPACE_MOST + 1, "");
    check_with("{\"items\": {\"const\": 1}, \"type\": \"array\"}", &any,
               (const char *const[]){"[1]", "[ 1 ,\n\t1 ]", "[\n]", most, "-", more, " [1]", "[1] ",
                                     NULL});
    check_with(
        "{\"const\": {\"a\": [1, {}]}}", &any,
        (const char *const[]){"{\"a\":[1,{}]}", "{ \"a\" : [ 1 , { } ] }", "-", "{\"a\":1}", NULL});
}

static void objects_may_be_closed(void **state)
{
    (void)state;
    const struct schema_options closed = {.closed_objects = true};
    check_with(
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"object\"}}}", &closed,
        (const char *const[]){"{}", "{\"a\":{}}", "{\"a\":{\"b\":1}}", "-", "{\"b\":1}", NULL});
}

/* ---- Texts ---- */

static void texts_are_escaped(void **state)
{
    (void)state;
    CHECK("{\"type\": \"string\", \"minLength\": 1, \"maxLength\": 1}", "\"a\"", "\"\xC3\xA4\"",
          "\"\xF0\x9F\x98\x80\"", "\"\\n\"", "\"\\\"\"", "\"\\u0001\"", "-", "\"\"", "\"ab\"",
          "\"\n\"", "\"\\u0041\"", "\"\\/\"", "\"\xC3\"");
    CHECK("{\"type\": \"string\", \"pattern\": \"^a.c$\"}", "\"abc\"", "\"a\\\"c\"", "-",
          "\"a\\nc\"", "\"xabc\"");
    CHECK("{\"enum\": [\"a\\\"\\u0007\", {\"b\": [1, null]}]}", "\"a\\\"\\u0007\"",
          "{\"b\":[1,null]}", "-", "\"a\"");
    CHECK("{\"enum\": [\"a\", 1, \"bb\"], \"type\": \"string\", \"minLength\": 2}", "\"bb\"", "-",
          "\"a\"", "1");
}

static void formats_hold(void **state)
{
    (void)state;
#define FORMAT(name) "{\"type\": \"string\", \"format\": \"" name "\"}"
    CHECK(FORMAT("date"), "\"2024-02-29\"", "\"2000-02-29\"", "\"2023-12-31\"", "-",
          "\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"0000-01-01\"", "\"2024-1-01\"");
    CHECK(FORMAT("time"), "\"23:59:59Z\"", "\"00:00:00.125+05:30\"", "-", "\"24:00:00Z\"",
          "\"12:00:00\"");
    CHECK(FORMAT("date-time"), "\"2024-02-29T12:00:00Z\"", "-", "\"2024-02-29 12:00:00Z\"");
    CHECK(FORMAT("duration"), "\"P1Y2M3DT4H5M6S\"", "\"PT5M\"", "\"P3W\"", "-", "\"P\"", "\"P1YT\"",
          "\"5D\"");
    CHECK(FORMAT("uuid"), "\"2EB8AA08-AA98-11EA-b4aa-73b441d16380\"", "-",
          "\"2eb8aa08aa9811eab4aa73b441d16380\"");
    CHECK(FORMAT("email"), "\"joe.bloggs@example.com\"", "-", "\"joe@localhost\"", "\"2962\"",
          "\".a@b.c\"");
    CHECK(FORMAT("ipv4"), "\"192.168.0.1\"", "\"255.255.255.255\"", "-", "\"256.1.1.1\"",
          "\"1.2.3\"", "\"01.2.3.4\"");
    CHECK(FORMAT("ipv6"), "\"::\"", "\"::1\"", "\"1:2:3:4:5:6:7:8\"", "\"fe80::1:2\"",
          "\"::ffff:1.2.3.4\"", "\"1::\"", "-", "\"1:2:3:4:5:6:7\"", "\"1::2::3\"", "\"12345::\"");
    CHECK(FORMAT("uri"), "\"http://example.com/a?b#c\"", "\"urn:isbn:1\"", "\"https://[::1]:80\"",
          "-", "\"//example.com\"", "\"abc\"", "\"http://a b\"");
    CHECK(FORMAT("hostname"), "\"a-b.example\"", "-", "\"-a\"", "\"a..b\"");
    CHECK(FORMAT("json-pointer"), "\"\"", "\"/a~1b/~0\"", "-", "\"a\"", "\"/~2\"");
}

/* ---- What is refused ---- */

static void errors_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        status code;
        const char *message;
    } cases[] = {
        {"{\"properties\": {\"a/b\": {\"not\": {}}}}", STATUS_UNSUPPORTED, "#/properties/a"},
        {"{\"items\": {\"uniqueItems\": true}}", STATUS_UNSUPPORTED, "#/items/uniqueItems: not "},
        {"{\"multipleOf\": 0.01}", STATUS_UNSUPPORTED, "#/multipleOf: not supported: 1 alone is"},
        {"{\"allOf\": [{\"if\": {}}]}", STATUS_UNSUPPORTED, "#/allOf/0/if: not supported"},
        {"{\"tpye\": \"string\"}", STATUS_UNSUPPORTED, "#: tpye: an unknown keyword"},
        {"{\"type\": \"strin\"}", STATUS_INVALID, "#/type: strin is no type"},
        {"{\"type\": \"string\", \"format\": \"regex\"}", STATUS_UNSUPPORTED,
         "#/format: regex is not supported"},
        {"{\"type\": \"string\", \"pattern\": \"(\"}", STATUS_INVALID, "#: pattern \"(\": "},
        {"{\"$ref\": \"#/$defs/a\"}", STATUS_INVALID, "#/$ref: #/$defs/a: nothing is there"},
        {"{\"$ref\": \"https://example.com/a\"}", STATUS_UNSUPPORTED,
         "#/$ref: https://example.com/a is in another document"},
        {"{\"$ref\": \"#\"}", STATUS_INVALID, "#: the schema is defined as itself"},
        {"{\"anyOf\": []}", STATUS_INVALID, "#/anyOf: expected a list of schemas"},
        {"{\"oneOf\": [{\"type\": \"integer\"}, {\"minimum\": 2}]}", STATUS_UNSUPPORTED,
         "#/oneOf: schemas 0 and 1 may both hold for one value"},
        {"{\"minLength\": -1}", STATUS_INVALID, "#/minLength: expected a number of at least 0"},
        {"{\"required\": \"a\"}", STATUS_INVALID, "#/required: expected a list of names"},
        {"{\"minimum\": \"1\"}", STATUS_INVALID, "#/minimum: expected a number, not a string"},
        {"{\"items\": 5}", STATUS_INVALID, "#: expected a schema, not a number"},
        {"[]", STATUS_INVALID, "#: expected a schema, not an array"},
        {"{", STATUS_INVALID, "byte"},
        {"{\"minimum\": 1e999999}", STATUS_LIMIT, "#/minimum: 1e999999: a number of more than"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct subject subject;
        const status s = try_open(cases[i].schema, &(const struct schema_options){0}, &subject);
        if (s != cases[i].code || strstr(status_message(), cases[i].message) != status_message()) {
            fail_msg("%s: %s: %s", cases[i].schema, status_name(s), status_message());
        }
    }
}

static void what_says_nothing_is_ignored(void **state)
{
    (void)state;
    CHECK("{\"type\": \"null\", \"title\": \"t\", \"description\": \"d\", \"default\": 5, "
          "\"examples\": [1], \"x-mine\": {}, \"deprecated\": true, \"uniqueItems\": false, "
          "\"unevaluatedProperties\": true, \"discriminator\": {\"propertyName\": \"a\"}}",
          "null", "-", "5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_hold_digit_by_digit),
        cmocka_unit_test(numbers_have_one_form),
        cmocka_unit_test(members_stand_in_order),
        cmocka_unit_test(members_are_counted),
        cmocka_unit_test(names_may_have_patterns),
        cmocka_unit_test(choices_may_recur),
        cmocka_unit_test(white_space_is_bounded),
        cmocka_unit_test(objects_may_be_closed),
        cmocka_unit_test(texts_are_escaped),
        cmocka_unit_test(formats_hold),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(what_says_nothing_is_ignored),
    };
    return cmocka_run_group_tests(tests, open_bytes, close_bytes);
}
