/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON-Schema-Test-Suite's cases for the keywords that are compiled, walked byte by byte and
 * token by token: valid values are accepted in the one form that the mask has for them, invalid
 * ones in none.
 *
 * The form is found by trying: the members of objects in every order, integers without a fraction.
 * tests/data/json_schema has the cases, and a list of the schemas that are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/grammar.h"
#include "grammar/schema/schema.h"
#include "packed_tokenizer.h"
#include "sluice/sampling.h"
#include "sluice/tokenizer.h"

enum { WALKERS = 4, MEMBERS_MOST = 6, ORDERS_MOST = 20000 };

/* A vocabulary, and how a text becomes its tokens: bytes where there is no tokenizer. */
struct walker {
    const char *name;
    struct tokenizer *tokenizer;
    struct tokenizer_scratch *scratch;
    struct grammar_vocabulary *vocabulary;
    struct grammar_masks *masks; /* of the schema at hand */
};

static struct walker walkers[WALKERS] = {
    {.name = NULL}, {.name = "qwen2_5"}, {.name = "llama3_1"}, {.name = "gemma"}};

/* ---- Vocabularies ---- */

static void open_bytes(struct walker *walker)
{
    static char bytes[256];
    const char *texts[257];
    size_t lengths[257];
    const int32_t end = 256;
    for (int i = 0; i < 256; i++) {
        bytes[i] = (char)i;
        texts[i] = &bytes[i];
        lengths[i] = 1;
    }
    texts[256] = "";
    lengths[256] = 0;
    assert_int_equal(grammar_vocabulary_create(texts, lengths, 257, &end, 1, &walker->vocabulary),
                     STATUS_OK);
}

static void open_tokenizer(struct walker *walker)
{
    struct arena arena = {0};
    struct buffer text = {0};
    packed_unpack(packed_read(walker->name, &arena), &text);
    assert_int_equal(tokenizer_create(text.data, text.length, NULL, 0, &walker->tokenizer),
                     STATUS_OK);
    walker->scratch = tokenizer_scratch_create(walker->tokenizer);
    const size_t count = tokenizer_vocabulary_size(walker->tokenizer);
    const char **texts = calloc(count, sizeof *texts);
    size_t *lengths = calloc(count, sizeof *lengths);
    int32_t end = -1;
    assert_true(walker->scratch != NULL && texts != NULL && lengths != NULL);
    for (size_t i = 0; i < count; i++) {
        struct buffer token = {0};
        texts[i] = "";
        if (tokenizer_is_special(walker->tokenizer, (int32_t)i)) {
            end = (int32_t)i;
            continue;
        }
        assert_int_equal(tokenizer_token_bytes(walker->tokenizer, (int32_t)i, &token), STATUS_OK);
        texts[i] = arena_copy(&arena, token.data != NULL ? token.data : "", token.length);
        lengths[i] = token.length;
        buffer_destroy(&token);
    }
    assert_int_equal(grammar_vocabulary_create(texts, lengths, count, &end, 1, &walker->vocabulary),
                     STATUS_OK);
    free(texts);
    free(lengths);
    buffer_destroy(&text);
    arena_destroy(&arena);
}

static int open_walkers(void **state)
{
    (void)state;
    open_bytes(&walkers[0]);
    for (int i = 1; i < WALKERS; i++) {
        open_tokenizer(&walkers[i]);
    }
    return 0;
}

static int close_walkers(void **state)
{
    (void)state;
    for (int i = 0; i < WALKERS; i++) {
        grammar_vocabulary_destroy(walkers[i].vocabulary);
        tokenizer_scratch_destroy(walkers[i].scratch);
        tokenizer_destroy(walkers[i].tokenizer);
    }
    return 0;
}

/* ---- Walking ---- */

static void tokens_of(const struct walker *walker, const struct buffer *text,
                      struct token_list *out)
{
    if (walker->tokenizer != NULL) {
        assert_int_equal(tokenizer_encode(walker->tokenizer, walker->scratch, text->data,
                                          text->length, false, out),
                         STATUS_OK);
        return;
    }
    out->ids = malloc((text->length + 1) * sizeof *out->ids);
    assert_non_null(out->ids);
    for (size_t i = 0; i < text->length; i++) {
        out->ids[out->count++] = (unsigned char)text->data[i];
    }
}

/* Whether a text is accepted; masks and steps have to agree on every token. */
static bool walk(const struct walker *walker, const struct buffer *text)
{
    struct grammar_matcher *matcher;
    struct token_list tokens = {0};
    bool ok = true;
    assert_int_equal(grammar_matcher_create(walker->masks, &matcher), STATUS_OK);
    tokens_of(walker, text, &tokens);
    for (size_t i = 0; ok && i < tokens.count; i++) {
        struct grammar_mask mask;
        const uint32_t id = (uint32_t)tokens.ids[i];
        assert_int_equal(grammar_matcher_mask(matcher, &mask), STATUS_OK);
        const bool is_set = (mask.words[id / 32] >> (id % 32) & 1) != 0;
        assert_int_equal(grammar_matcher_accept(matcher, tokens.ids[i], &ok), STATUS_OK);
        assert_int_equal(is_set, ok);
    }
    ok = ok && grammar_matcher_may_end(matcher);
    grammar_matcher_destroy(matcher);
    token_list_destroy(&tokens);
    return ok;
}

/* ---- Forms of a value ---- */

struct forms {
    const struct walker *walker;
    struct json *root;
    int tried;
    bool accepted;
};

/* The structures and numbers of a value, in a list, so that every order can be tried. */
static void list_parts(struct json *value, struct json **parts, size_t *count)
{
    assert_true(*count < 64);
    if (value->type == JSON_OBJECT || value->type == JSON_NUMBER) {
        parts[(*count)++] = value;
    }
    for (size_t i = 0; value->type == JSON_ARRAY && i < value->length; i++) {
        list_parts(value->items[i], parts, count);
    }
    for (size_t i = 0; value->type == JSON_OBJECT && i < value->length; i++) {
        list_parts(value->members[i].value, parts, count);
    }
}

static void try_parts(struct forms *forms, struct json **parts, size_t count);

static void try_orders(struct forms *forms, struct json **parts, size_t count, size_t from)
{
    struct json *object = parts[0];
    if (from == object->length) {
        try_parts(forms, parts + 1, count - 1);
        return;
    }
    for (size_t i = from; i < object->length && !forms->accepted; i++) {
        struct json_member kept = object->members[from];
        object->members[from] = object->members[i];
        object->members[i] = kept;
        try_orders(forms, parts, count, from + 1);
        kept = object->members[from];
        object->members[from] = object->members[i];
        object->members[i] = kept;
    }
}

/* 1.0 is an integer, which the mask writes as 1. */
static void try_number(struct forms *forms, struct json **parts, size_t count)
{
    struct json *number = parts[0];
    int64_t integer;
    char text[32];
    try_parts(forms, parts + 1, count - 1);
    if (!forms->accepted && json_int64(number, &integer)) {
        const struct json kept = *number;
        number->length = (size_t)snprintf(text, sizeof text, "%lld", (long long)integer);
        number->text = text;
        try_parts(forms, parts + 1, count - 1);
        *number = kept;
    }
}

static void try_parts(struct forms *forms, struct json **parts, size_t count)
{
    if (forms->accepted || forms->tried > ORDERS_MOST) {
        return;
    }
    if (count == 0) {
        struct buffer text = {0};
        forms->tried++;
        assert_int_equal(json_write(forms->root, &text), STATUS_OK);
        forms->accepted = walk(forms->walker, &text);
        buffer_destroy(&text);
    } else if (parts[0]->type == JSON_OBJECT) {
        try_orders(forms, parts, count, 0);
    } else {
        try_number(forms, parts, count);
    }
}

static bool is_accepted(const struct walker *walker, const struct json *value)
{
    struct arena arena = {0};
    struct buffer text = {0};
    struct json *copy, *parts[64];
    size_t count = 0;
    assert_int_equal(json_write(value, &text), STATUS_OK);
    assert_int_equal(json_parse(text.data, text.length, &arena, &copy), STATUS_OK);
    list_parts(copy, parts, &count);
    struct forms forms = {.walker = walker, .root = copy};
    try_parts(&forms, parts, count);
    assert_true(forms.tried <= ORDERS_MOST);
    buffer_destroy(&text);
    arena_destroy(&arena);
    return forms.accepted;
}

/* ---- The cases ---- */

static status compile(const struct json *schema, struct grammar **out)
{
    const struct schema_options options = {0};
    struct grammar_expressions *expressions;
    grammar_node root;
    assert_int_equal(grammar_expressions_create(NULL, &expressions), STATUS_OK);
    status s = schema_compile(expressions, schema, &options, &root);
    if (s == STATUS_OK) {
        s = grammar_compile(expressions, root, NULL, out);
    }
    grammar_expressions_destroy(expressions);
    return s;
}

static int check_values(const struct json *group, struct grammar *grammar)
{
    const struct json *tests = json_get(group, "tests");
    int wrong = 0;
    for (size_t i = 0; i < tests->length; i++) {
        const struct json *test = tests->items[i];
        bool valid;
        assert_true(json_bool(json_get(test, "valid"), &valid));
        for (int j = 0; j < WALKERS; j++) {
            assert_int_equal(
                grammar_masks_create(grammar, walkers[j].vocabulary, 0, &walkers[j].masks),
                STATUS_OK);
            if (is_accepted(&walkers[j], json_get(test, "data")) != valid) {
                print_error("%s: %s: %s: %s by %s\n", json_get(group, "file")->text,
                            json_get(group, "description")->text,
                            json_get(test, "description")->text, valid ? "refused" : "accepted",
                            walkers[j].name != NULL ? walkers[j].name : "bytes");
                wrong++;
            }
            grammar_masks_destroy(walkers[j].masks);
        }
    }
    return wrong;
}

/* A schema that nothing satisfies has no grammar: of its values none is valid. */
static bool none_is_valid(const struct json *group)
{
    const struct json *tests = json_get(group, "tests");
    for (size_t i = 0; i < tests->length; i++) {
        bool valid = true;
        if (!json_bool(json_get(tests->items[i], "valid"), &valid) || valid) {
            return false;
        }
    }
    return true;
}

static int check_group(const struct json *group, struct buffer *refused)
{
    struct grammar *grammar = NULL;
    status s = compile(json_get(group, "schema"), &grammar);
    if (s == STATUS_OK) {
        int wrong = check_values(group, grammar);
        grammar_destroy(grammar);
        return wrong;
    }
    if (s == STATUS_INVALID && strstr(status_message(), "no text") != NULL) {
        return none_is_valid(group) ? 0 : 1;
    }
    assert_int_equal(buffer_format(refused, "%s: %s: %s\n", json_get(group, "file")->text,
                                   json_get(group, "description")->text, status_message()),
                     STATUS_OK);
    return 0;
}

static void the_suite_holds(void **state)
{
    (void)state;
    struct buffer lines = {0}, refused = {0}, expected = {0};
    int wrong = 0, groups = 0;
    assert_int_equal(file_read(SLUICE_TEST_DATA "/json_schema/draft2020-12.jsonl", 1 << 24, &lines),
                     STATUS_OK);
    assert_int_equal(file_read(SLUICE_TEST_DATA "/json_schema/refused.txt", 1 << 20, &expected),
                     STATUS_OK);
    char *rest = lines.data;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        struct arena arena = {0};
        struct json *group;
        if (line[0] != '\0') {
            assert_int_equal(json_parse(line, strlen(line), &arena, &group), STATUS_OK);
            wrong += check_group(group, &refused);
            groups++;
        }
        arena_destroy(&arena);
    }
    assert_int_equal(groups, 203);
    assert_int_equal(wrong, 0);
    if (refused.length != expected.length ||
        memcmp(refused.data, expected.data, refused.length) != 0) {
        fputs(refused.data != NULL ? refused.data : "", stderr);
        fail_msg("the schemas above are refused, which tests/data/json_schema/refused.txt does not "
                 "list so");
    }
    buffer_destroy(&lines);
    buffer_destroy(&refused);
    buffer_destroy(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_suite_holds)};
    return cmocka_run_group_tests(tests, open_walkers, close_walkers);
}
