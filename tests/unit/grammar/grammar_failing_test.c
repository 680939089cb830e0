/* SPDX-License-Identifier: Apache-2.0 */
/* Grammars from schemas, patterns and notations down to a matcher's masks, with each of their
 * allocations failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "grammar/ebnf_front.h"
#include "grammar/expression.h"
#include "grammar/grammar.h"
#include "grammar/regex_front.h"
#include "grammar/schema/schema.h"
#include "sluice/json.h"

struct example {
    status (*front)(struct grammar_expressions *self, const char *text, size_t length,
                    grammar_node *out);
    const char *text, *accepted;
};

static status from_schema(struct grammar_expressions *self, const char *text, size_t length,
                          grammar_node *out)
{
    const struct schema_options options = {0};
    struct arena arena = {0};
    struct json *schema;
    status s = json_parse(text, length, &arena, &schema);
    if (s == STATUS_OK) {
        s = schema_compile(self, schema, &options, out);
    }
    arena_destroy(&arena);
    return s;
}

static status from_pattern(struct grammar_expressions *self, const char *text, size_t length,
                           grammar_node *out)
{
    return grammar_regex(self, text, length, (struct grammar_regex_options){0}, out);
}

static status make_vocabulary(struct grammar_vocabulary **out)
{
    static char bytes[256];
    const char *texts[259];
    size_t lengths[259];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        texts[i] = &bytes[i];
        lengths[i] = 1;
    }
    static const char *const longer[] = {"", "{\"", "ab"};
    for (int i = 0; i < 3; i++) {
        texts[256 + i] = longer[i];
        lengths[256 + i] = strlen(longer[i]);
    }
    const int32_t ends[] = {256};
    return grammar_vocabulary_create(texts, lengths, 259, ends, 1, out);
}

static status step(struct grammar_matcher *matcher, const char *text)
{
    struct grammar_mask mask;
    struct grammar_matcher *copy;
    struct buffer out = {0};
    bool ok = true;
    for (; *text != '\0' && ok; text++) {
        TRY(grammar_matcher_mask(matcher, &mask));
        TRY(grammar_matcher_accept(matcher, (unsigned char)*text, &ok));
    }
    if (!ok) {
        return status_fail(STATUS_INTERNAL, "refused before %s", text);
    }
    status s = grammar_matcher_shortest(matcher, &out);
    buffer_destroy(&out);
    TRY(s);
    TRY(grammar_matcher_clone(matcher, &copy));
    s = grammar_matcher_reset(copy);
    grammar_matcher_destroy(copy);
    return s;
}

static status match(const struct grammar *grammar, const char *text)
{
    struct grammar_vocabulary *vocabulary;
    struct grammar_masks *masks = NULL;
    struct grammar_matcher *matcher = NULL;
    TRY(make_vocabulary(&vocabulary));
    status s = grammar_masks_create(grammar, vocabulary, 0, &masks);
    if (s == STATUS_OK) {
        s = grammar_matcher_create(masks, &matcher);
    }
    if (s == STATUS_OK) {
        s = step(matcher, text);
        grammar_matcher_destroy(matcher);
    }
    grammar_masks_destroy(masks);
    grammar_vocabulary_destroy(vocabulary);
    return s;
}

static status compile_and_match(void *context)
{
    const struct example *example = context;
    const struct grammar_limits limits = {.seconds = 60, .bytes = 64 << 20};
    struct grammar_expressions *expressions;
    struct grammar *grammar = NULL;
    grammar_node root;
    TRY(grammar_expressions_create(&limits, &expressions));
    status s = example->front(expressions, example->text, strlen(example->text), &root);
    if (s == STATUS_OK) {
        s = grammar_compile(expressions, root, &limits, &grammar);
    }
    grammar_expressions_destroy(expressions);
    if (s == STATUS_OK) {
        s = match(grammar, example->accepted);
        grammar_destroy(grammar);
    }
    return s;
}

/* A mask that is not kept is made again. */
static const char *const survivors[] = {"mask_pool_copy", NULL};

static void grammars(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {from_schema,
         "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1,"
         "\"maxLength\":3,\"pattern\":\"^[a-c]+$\"},\"n\":{\"type\":\"integer\",\"minimum\":-3,"
         "\"maximum\":120},\"x\":{\"type\":\"number\",\"exclusiveMinimum\":0},"
         "\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"red\",1.5,null]},\"minItems\":1,"
         "\"maxItems\":3},\"d\":{\"type\":\"string\",\"format\":\"date\"}},\"required\":[\"name\","
         "\"n\"],\"additionalProperties\":{\"type\":\"boolean\"},\"patternProperties\":{\"^p_\":{"
         "\"type\":\"null\"}}}",
         "{\"name\":\"ab\",\"n\":12,\"x\":1.5,\"tags\":[\"red\",null]"},
        {from_schema,
         "{\"$defs\":{\"t\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"object\",\"properties\":{"
         "\"l\":{\"$ref\":\"#/$defs/t\"}},\"required\":[\"l\"],\"additionalProperties\":false}]}},"
         "\"allOf\":[{\"$ref\":\"#/$defs/t\"},{\"type\":\"object\"}]}",
         "{\"l\":{\"l\":null}}"},
        {from_pattern, "(?:[0-9]{3}-|[^\\d\\s]+(?:é|\\u00e8)?)*x?", "123-ab"},
        {grammar_gbnf,
         "root ::= e\ne ::= e [-+*/] t | t # left recursion\nt ::= \"(\" e \")\" | [0-9]+ | "
         "\"\\x41\"{2,3}\n",
         "(1+22)*3-AA"},
        {grammar_lark,
         "start: sum\nsum: product | sum \"+\" product\nproduct: NUMBER | \"(\" sum \")\"\nNUMBER: "
         "/[0-9]+/ | \"x\"i\n%ignore \" \"\n",
         "(1+X)+2"},
    };
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        const struct failing_walk walk = {.name = examples[i].text,
                                          .kinds = FAIL_MEMORY | FAIL_ARENA,
                                          .act = compile_and_match,
                                          .context = (void *)&examples[i],
                                          .survived_by = survivors,
                                          .once = true,
                                          .depth = 6};
        assert_true(failing_walk(&walk) > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(grammars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
