/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON schema, a newline, a JSON value: the schema is refused, or its grammar accepts no text of
 * a value for which it does not hold. */
#include <stdlib.h>

#include "fuzz.h"
#include "grammar/grammar.h"
#include "grammar/schema/schema.h"

static struct grammar_vocabulary *all_bytes(void)
{
    static struct grammar_vocabulary *vocabulary;
    static char bytes[256];
    const char *texts[256];
    size_t lengths[256];
    for (int i = 0; vocabulary == NULL && i < 256; i++) {
        bytes[i] = (char)i;
        texts[i] = &bytes[i];
        lengths[i] = 1;
    }
    if (vocabulary == NULL) {
        REQUIRE(grammar_vocabulary_create(texts, lengths, 256, NULL, 0, &vocabulary) == STATUS_OK);
    }
    return vocabulary;
}

static bool accepts(const struct grammar *grammar, const struct json *value)
{
    struct grammar_masks *masks;
    struct grammar_matcher *matcher;
    struct buffer text = {0};
    bool ok;
    REQUIRE(grammar_masks_create(grammar, all_bytes(), 0, &masks) == STATUS_OK);
    REQUIRE(grammar_matcher_create(masks, &matcher) == STATUS_OK);
    REQUIRE(json_write(value, &text) == STATUS_OK);
    REQUIRE(grammar_matcher_accept_bytes(matcher, text.data, text.length, &ok) == STATUS_OK);
    ok = ok && grammar_matcher_may_end(matcher);
    buffer_destroy(&text);
    grammar_matcher_destroy(matcher);
    grammar_masks_destroy(masks);
    return ok;
}

/* What the evaluator cannot say (a limit, a keyword that is refused) proves nothing. */
static void check_value(struct grammar_expressions *expressions, const struct grammar *grammar,
                        const struct json *schema, const char *text, size_t length,
                        struct arena *arena)
{
    struct json *value;
    bool holds;
    if (json_parse(text, length, arena, &value) == STATUS_OK &&
        schema_accepts(expressions, schema, value, &holds) == STATUS_OK && !holds) {
        REQUIRE(!accepts(grammar, value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct grammar_limits limits = {.seconds = 0.05, .bytes = 16 << 20};
    const struct schema_options options = {.any_white_space = size % 4 == 1,
                                           .closed_objects = size % 4 == 2};
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    const size_t length = end != NULL ? (size_t)(end - text) : size;
    struct arena arena = {0};
    struct grammar_expressions *expressions;
    struct grammar *grammar;
    struct json *schema;
    grammar_node root;
    REQUIRE(grammar_expressions_create(&limits, &expressions) == STATUS_OK);
    status s = json_parse(text, length, &arena, &schema);
    if (s == STATUS_OK) {
        s = schema_compile(expressions, schema, &options, &root);
    }
    if (s == STATUS_OK) {
        s = grammar_compile(expressions, root, &limits, &grammar);
    }
    require_message(s);
    if (s == STATUS_OK) {
        if (end != NULL && !options.closed_objects) {
            check_value(expressions, grammar, schema, end + 1, size - length - 1, &arena);
        }
        grammar_destroy(grammar);
    }
    grammar_expressions_destroy(expressions);
    arena_destroy(&arena);
    return 0;
}
