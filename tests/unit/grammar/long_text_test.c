/* SPDX-License-Identifier: Apache-2.0 */
/* Long texts: so many characters and no more, whatever they are, and without a state for each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/schema/schema.h"
#include "grammar/tables.h"

enum { EIGHT = 256, ACCENT, NEW_LINE, EIGHT_AND_QUOTE, TOKENS }; /* behind the bytes */

static struct grammar_vocabulary *vocabulary;

static int open_vocabulary(void **state)
{
    (void)state;
    static char all[256];
    const char *texts[TOKENS] = {[EIGHT] = "aaaaaaaa",
                                 [ACCENT] = "\xC3\xA9",
                                 [NEW_LINE] = "\\n",
                                 [EIGHT_AND_QUOTE] = "bbbbbbbb\""};
    size_t lengths[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        if (i < 256) {
            all[i] = (char)i;
            texts[i] = &all[i];
        }
        lengths[i] = i < 256 ? 1 : strlen(texts[i]);
    }
    return grammar_vocabulary_create(texts, lengths, TOKENS, NULL, 0, &vocabulary) == STATUS_OK
               ? 0
               : -1;
}

static int close_vocabulary(void **state)
{
    (void)state;
    grammar_vocabulary_destroy(vocabulary);
    return 0;
}

struct subject {
    struct grammar *grammar;
    struct grammar_masks *masks;
};

static void open_subject(struct subject *self, const char *schema)
{
    const struct schema_options options = {0};
    struct grammar_expressions *expressions;
    grammar_node root;
    assert_int_equal(grammar_expressions_create(NULL, &expressions), STATUS_OK);
    assert_int_equal(schema_compile_text(expressions, schema, strlen(schema), &options, &root),
                     STATUS_OK);
    assert_int_equal(grammar_compile(expressions, root, NULL, &self->grammar), STATUS_OK);
    grammar_expressions_destroy(expressions);
    assert_int_equal(grammar_masks_create(self->grammar, vocabulary, 0, &self->masks), STATUS_OK);
}

static void close_subject(struct subject *self)
{
    grammar_masks_destroy(self->masks);
    grammar_destroy(self->grammar);
}

static bool is_allowed(const struct grammar_mask *mask, int32_t token)
{
    return (mask->words[token / 32] >> (token % 32) & 1) != 0;
}

/* Before character `at` of a text of `least` to `most`, in quotes. */
static void check_place(struct grammar_matcher *matcher, size_t at, size_t least, size_t most)
{
    struct grammar_mask mask, known;
    assert_int_equal(grammar_matcher_mask(matcher, &mask), STATUS_OK);
    assert_int_equal(is_allowed(&mask, EIGHT), at + 8 <= most);
    assert_int_equal(is_allowed(&mask, 'a'), at < most);
    assert_int_equal(is_allowed(&mask, ACCENT), at < most);
    assert_int_equal(is_allowed(&mask, NEW_LINE), at < most);
    assert_int_equal(is_allowed(&mask, 0xC3), at < most);
    assert_int_equal(is_allowed(&mask, '"'), at >= least);
    assert_int_equal(is_allowed(&mask, EIGHT_AND_QUOTE), at + 8 >= least && at + 8 <= most);
    assert_false(is_allowed(&mask, '\n'));
    /* Also where it is open whether a block ends: the mask is kept. */
    assert_true(grammar_matcher_known_mask(matcher, &known));
    assert_ptr_equal(known.words, mask.words);
    assert_int_equal(grammar_matcher_shortest_length(matcher), (at < least ? least - at : 0) + 1);
}

/* Through all of it, by characters of one, two and six bytes in turn. */
static void walk(const struct subject *subject, size_t least, size_t most)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\\u0001", "\xF0\x9F\x98\x80",
                                             "\\\""};
    struct grammar_matcher *matcher;
    bool ok;
    assert_int_equal(grammar_matcher_create(subject->masks, &matcher), STATUS_OK);
    assert_int_equal(grammar_matcher_accept(matcher, '"', &ok), STATUS_OK);
    for (size_t at = 0; at <= most; at++) {
        check_place(matcher, at, least, most);
        const char *next = characters[at % COUNT_OF(characters)];
        assert_int_equal(grammar_matcher_accept_bytes(matcher, next, strlen(next), &ok), STATUS_OK);
        assert_int_equal(ok, at < most);
    }
    assert_int_equal(grammar_matcher_accept(matcher, '"', &ok), STATUS_OK);
    assert_true(ok && grammar_matcher_must_end(matcher));
    grammar_matcher_destroy(matcher);
}

static void lengths_hold(void **state)
{
    (void)state;
    static const size_t lengths[][2] = {{0, 4095}, {0, 4096},     {3, 4097},        {0, 5000},
                                        {0, 5119}, {1, 5120},     {1000, 6000},     {4096, 4096},
                                        {0, 5121}, {5000, 20000}, {511, 4096 + 511}};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        const size_t least = lengths[i][0], most = lengths[i][1];
        char schema[100];
        struct subject subject;
        (void)snprintf(schema, sizeof schema,
                       "{\"type\":\"string\",\"minLength\":%zu,\"maxLength\":%zu}", least, most);
        open_subject(&subject, schema);
        walk(&subject, least, most);
        close_subject(&subject);
    }
}

/* Twenty texts of some ten thousand characters have fewer states than one had. */
static void states_are_shared(void **state)
{
    (void)state;
    struct buffer schema = {0};
    struct subject subject;
    assert_int_equal(buffer_format(&schema, "{\"additionalProperties\":false,\"properties\":{"),
                     STATUS_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(buffer_format(&schema, "%s\"a%d\":{\"type\":\"string\",\"maxLength\":%d}",
                                       i > 0 ? "," : "", i, 10000 + i),
                         STATUS_OK);
    }
    assert_int_equal(buffer_format(&schema, "}}"), STATUS_OK);
    open_subject(&subject, schema.data);
    assert_true(subject.grammar->state_count < 200000);
    close_subject(&subject);
    open_subject(&subject, "{\"type\":\"string\",\"maxLength\":100000}");
    assert_true(subject.grammar->state_count < 200000);
    close_subject(&subject);
    buffer_destroy(&schema);
}

/* Many of something large, in brackets: it is called, and not written down so many times. */
static void lists_of_large_items(void **state)
{
    (void)state;
    struct subject subject;
    open_subject(&subject, "{\"type\":\"array\",\"maxItems\":2000,\"items\":{\"properties\":{"
                           "\"a\":{\"type\":\"string\",\"maxLength\":2000},"
                           "\"b\":{\"type\":\"integer\"}},\"additionalProperties\":false}}");
    assert_true(subject.grammar->state_count < 200000);
    close_subject(&subject);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lengths_hold),
                                       cmocka_unit_test(states_are_shared),
                                       cmocka_unit_test(lists_of_large_items)};
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
