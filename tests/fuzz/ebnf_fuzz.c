/* SPDX-License-Identifier: Apache-2.0 */
/* A byte that chooses among GBNF, Lark's notation and the dialects of regular expressions, and a
 * text in it. What it compiles to is gone through along its shortest text. */
#include "fuzz.h"
#include "grammar/ebnf_front.h"
#include "grammar/grammar.h"
#include "grammar/regex_front.h"

static status read_text(struct grammar_expressions *arena, uint8_t kind,
                        const struct fuzz_input *text, grammar_node *out)
{
    const char *bytes = (const char *)text->bytes;
    const struct grammar_regex_options options = {
        (kind & 1) != 0 ? GRAMMAR_REGEX_ECMA : GRAMMAR_REGEX_PYTHON, (kind & 2) != 0};
    switch (kind >> 2 & 3) {
    case 0:
        return grammar_gbnf(arena, bytes, text->length, out);
    case 1:
        return grammar_lark(arena, bytes, text->length, out);
    default:
        return grammar_regex(arena, bytes, text->length, options, out);
    }
}

static void walk(const struct grammar *grammar)
{
    const char *const token = "a";
    const size_t length = 1;
    struct grammar_vocabulary *vocabulary;
    struct grammar_masks *masks;
    struct grammar_matcher *matcher;
    struct buffer text = {0};
    bool ok;
    REQUIRE(grammar_vocabulary_create(&token, &length, 1, NULL, 0, &vocabulary) == STATUS_OK);
    REQUIRE(grammar_masks_create(grammar, vocabulary, 0, &masks) == STATUS_OK);
    REQUIRE(grammar_matcher_create(masks, &matcher) == STATUS_OK);
    if (grammar_matcher_shortest_length(matcher) < 10000) {
        struct grammar_mask mask;
        REQUIRE(grammar_matcher_shortest(matcher, &text) == STATUS_OK);
        REQUIRE(grammar_matcher_mask(matcher, &mask) == STATUS_OK);
        REQUIRE(grammar_matcher_accept_bytes(matcher, text.data, text.length, &ok) == STATUS_OK);
        REQUIRE(ok && grammar_matcher_may_end(matcher));
    }
    buffer_destroy(&text);
    grammar_matcher_destroy(matcher);
    grammar_masks_destroy(masks);
    grammar_vocabulary_destroy(vocabulary);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const struct grammar_limits limits = {.nodes = 100000, .states = 20000, .seconds = 0.2};
    struct fuzz_input input = {bytes, length};
    const uint8_t kind = take_byte(&input);
    struct grammar_expressions *arena;
    struct grammar *grammar;
    grammar_node node;
    REQUIRE(grammar_expressions_create(&limits, &arena) == STATUS_OK);
    status s = read_text(arena, kind, &input, &node);
    if (s == STATUS_OK) {
        s = grammar_compile(arena, node, &limits, &grammar);
    }
    require_message(s);
    if (s == STATUS_OK) {
        walk(grammar);
        grammar_destroy(grammar);
    }
    grammar_expressions_destroy(arena);
    return 0;
}
