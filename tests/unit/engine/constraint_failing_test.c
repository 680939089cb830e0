/* SPDX-License-Identifier: Apache-2.0 */
/* A sample's place in its row's grammar with each of its allocations failing in turn: the call says
 * so, and what was there is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/constraint.h"
#include "failing/failing.h"
#include "grammar/grammar.h"
#include "grammar/regex_front.h"

enum { VOCABULARY = 1024, END = 2 };

static struct tokenizer *tokenizer;
static struct grammar_vocabulary *vocabulary;
static struct grammar_expressions *arena;
static struct grammar *grammar;

static int set_up(void **state)
{
    (void)state;
    static const char pattern[] = "over and out [0-9]{2}";
    const struct grammar_regex_options whole = {GRAMMAR_REGEX_PYTHON, false};
    struct buffer text = {0};
    const int32_t end = END;
    grammar_node node;
    assert_int_equal(
        file_read(SLUICE_SOURCE_DIR "/data/small-model/tokenizer.json", 1 << 24, &text), STATUS_OK);
    assert_int_equal(tokenizer_create(text.data, text.length, NULL, 0, &tokenizer), STATUS_OK);
    buffer_destroy(&text);
    assert_int_equal(grammar_vocabulary_of(tokenizer, VOCABULARY, &end, 1, &vocabulary), STATUS_OK);
    assert_int_equal(grammar_expressions_create(NULL, &arena), STATUS_OK);
    assert_int_equal(grammar_regex(arena, pattern, strlen(pattern), whole, &node), STATUS_OK);
    assert_int_equal(grammar_compile(arena, node, NULL, &grammar), STATUS_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    grammar_destroy(grammar);
    grammar_expressions_destroy(arena);
    grammar_vocabulary_destroy(vocabulary);
    tokenizer_destroy(tokenizer);
    return 0;
}

/* What a form does for a row, with masks that nobody has computed before. */
static status with_masks(void *context, status (*use)(struct constraint *constraint))
{
    (void)context;
    static const uint32_t allowed[VOCABULARY / 32] = {~0u, ~0u};
    struct grammar_masks *masks;
    struct constraint *constraint;
    TRY(grammar_masks_create(grammar, vocabulary, 0, &masks));
    const struct generate_params params = {.max_new_tokens = 100, .samples = 1, .grammar = masks};
    status s = constraint_create(&params, allowed, &constraint);
    if (s == STATUS_OK) {
        s = use(constraint);
        constraint_destroy(constraint);
    }
    grammar_masks_destroy(masks);
    return s;
}

static status use_mask(struct constraint *constraint)
{
    constraint_mask(constraint);
    assert_int_equal(constraint->has_mask, constraint->failure == STATUS_OK);
    return constraint->failure;
}

static status use_forced(struct constraint *constraint)
{
    struct constraint_tools tools;
    struct token_list tokens = {0};
    constraint_tools_create(&tools, tokenizer);
    const status s = constraint_forced(constraint, &tools, 100, true, &tokens);
    assert_true(s != STATUS_OK || tokens.count > 0);
    token_list_destroy(&tokens);
    constraint_tools_destroy(&tools);
    return s;
}

static status mask(void *context)
{
    return with_masks(context, use_mask);
}

static status forced(void *context)
{
    return with_masks(context, use_forced);
}

static void a_mask_is_told_to_be_missing(void **state)
{
    (void)state;
    const struct failing_walk how = {.name = "mask", .kinds = FAIL_MEMORY, .act = mask};
    assert_true(failing_walk(&how) > 5);
}

static void forced_text_is_told_to_be_missing(void **state)
{
    (void)state;
    const struct failing_walk how = {.name = "forced", .kinds = FAIL_MEMORY, .act = forced};
    assert_true(failing_walk(&how) > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mask_is_told_to_be_missing),
        cmocka_unit_test(forced_text_is_told_to_be_missing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
