/* SPDX-License-Identifier: Apache-2.0 */
/* A sample's place in its row's grammar, with a real tokenizer: what follows without being drawn is
 * cut as the tokenizer cuts it, ends are the soonest, and going back leads where one was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/constraint.h"
#include "grammar/grammar.h"
#include "grammar/regex_front.h"
#include "sluice/sampling.h"

enum { VOCABULARY = 1024, END = 2, MARK_A = 300, MARK_B = 301 };

static struct tokenizer *tokenizer;
static struct tokenizer_scratch *scratch;
static struct grammar_vocabulary *vocabulary;

static int set_up(void **state)
{
    (void)state;
    struct buffer text = {0};
    const int32_t end = END;
    assert_int_equal(
        file_read(SLUICE_SOURCE_DIR "/data/small-model/tokenizer.json", 1 << 24, &text), STATUS_OK);
    assert_int_equal(tokenizer_create(text.data, text.length, NULL, 0, &tokenizer), STATUS_OK);
    buffer_destroy(&text);
    scratch = tokenizer_scratch_create(tokenizer);
    assert_non_null(scratch);
    assert_int_equal(grammar_vocabulary_of(tokenizer, VOCABULARY, &end, 1, &vocabulary), STATUS_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    grammar_vocabulary_destroy(vocabulary);
    tokenizer_scratch_destroy(scratch);
    tokenizer_destroy(tokenizer);
    return 0;
}

/* A row whose answer is of a pattern. */
struct form {
    struct grammar_expressions *arena;
    struct grammar *grammar;
    struct grammar_masks *masks;
    struct generate_params params;
    struct constraint *constraint;
};

static void form_compile(struct form *self, const char *pattern,
                         const struct grammar_vocabulary *words)
{
    const struct grammar_regex_options whole = {GRAMMAR_REGEX_PYTHON, false};
    grammar_node node;
    *self = (struct form){.params = {.max_new_tokens = 100, .samples = 1}};
    assert_int_equal(grammar_expressions_create(NULL, &self->arena), STATUS_OK);
    assert_int_equal(grammar_regex(self->arena, pattern, strlen(pattern), whole, &node), STATUS_OK);
    assert_int_equal(grammar_compile(self->arena, node, NULL, &self->grammar), STATUS_OK);
    assert_int_equal(grammar_masks_create(self->grammar, words, 0, &self->masks), STATUS_OK);
    self->params.grammar = self->masks;
}

static void form_begin(struct form *self, const char *pattern, const uint32_t *allowed)
{
    form_compile(self, pattern, vocabulary);
    assert_int_equal(constraint_create(&self->params, allowed, &self->constraint), STATUS_OK);
}

static void form_end(struct form *self)
{
    constraint_destroy(self->constraint);
    grammar_masks_destroy(self->masks);
    grammar_destroy(self->grammar);
    grammar_expressions_destroy(self->arena);
}

static struct token_list encode(const char *text, size_t length)
{
    struct token_list tokens = {0};
    assert_int_equal(tokenizer_encode(tokenizer, scratch, text, length, false, &tokens), STATUS_OK);
    return tokens;
}

static void take_text(struct form *self, const char *text)
{
    struct token_list tokens = encode(text, strlen(text));
    for (size_t i = 0; i < tokens.count; i++) {
        bool ok;
        assert_int_equal(
            constraint_take(self->constraint, &self->params, tokens.ids, (int)i + 1, &ok),
            STATUS_OK);
        assert_true(ok);
    }
    token_list_destroy(&tokens);
}

static void expect_tokens(const struct token_list *tokens, const int32_t *ids, size_t count)
{
    assert_int_equal(tokens->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tokens->ids[i], ids[i]);
    }
}

/* ---- What follows ---- */

/* Forced tokens from where the form is; `tools` as an engine has them. */
static struct token_list forced(struct form *self, bool with_tokenizer, int left, bool closes)
{
    struct constraint_tools tools;
    constraint_tools_create(&tools, with_tokenizer ? tokenizer : NULL);
    struct token_list tokens = {0};
    for (int i = 0; i < 2; i++) { /* the second time with a scratch that is there */
        assert_int_equal(constraint_forced(self->constraint, &tools, left, closes, &tokens),
                         STATUS_OK);
        assert_in_range(tools.scratch_count, 0, with_tokenizer);
    }
    constraint_tools_destroy(&tools);
    assert_int_equal(tools.scratch_count, 0);
    return tokens;
}

/* The whole text where it ends there; else as many tokens as nothing that follows can change. */
static void forced_text_is_cut_as_the_tokenizer_cuts_it(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *before, *text;
        bool to_end;
    } cases[] = {
        {"the quick brown fox jumped over", "", "the quick brown fox jumped over", true},
        {"a", "", "a", true}, /* a byte alone */
        {"the quick brown fox jumped over", "the quick", " brown fox jumped over", true},
        {"\\{\"name of the thing\": \"[a-z]+\"\\}", "", "{\"name of the thing\": \"", false},
        {"ab[\xc3\xa9-\xc3\xaa]", "", "ab", false}, /* half a character is not cut into tokens */
        {"na\xc3\xafve[0-9]", "", "na\xc3\xafve", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct form form;
        form_begin(&form, cases[i].pattern, NULL);
        take_text(&form, cases[i].before);
        const size_t length = strlen(cases[i].text);
        struct token_list whole = encode(cases[i].text, length);
        const size_t settled = cases[i].to_end
                                   ? length
                                   : grammar_vocabulary_settled(vocabulary, cases[i].text, length);
        struct buffer bytes = {0};
        size_t kept = 0;
        for (size_t j = 0; j < whole.count; j++) {
            assert_int_equal(grammar_vocabulary_bytes(vocabulary, whole.ids[j], &bytes), STATUS_OK);
            kept = bytes.length <= settled ? j + 1 : kept;
        }
        struct token_list tokens = forced(&form, true, 100, false);
        expect_tokens(&tokens, whole.ids, kept);
        token_list_destroy(&tokens);
        token_list_destroy(&whole);
        buffer_destroy(&bytes);
        form_end(&form);
    }
}

/* Without a tokenizer, or where it would say something else, the fewest tokens. */
static void forced_text_without_a_tokenizer(void **state)
{
    (void)state;
    static const char *const texts[] = {"the quick brown fox", "end <\\|im_end\\|> of it"};
    for (int i = 0; i < 3; i++) {
        struct form form;
        form_begin(&form, texts[i / 2], NULL);
        const char *text = i < 2 ? texts[0] : "end <|im_end|> of it";
        struct token_list fewest = {0};
        bool ok;
        assert_int_equal(grammar_vocabulary_spell(vocabulary, text, strlen(text), &fewest, &ok),
                         STATUS_OK);
        assert_true(ok);
        struct token_list tokens = forced(&form, i == 2, 100, false);
        expect_tokens(&tokens, fewest.ids, fewest.count);
        token_list_destroy(&tokens);
        token_list_destroy(&fewest);
        form_end(&form);
    }
}

static void forced_text_leaves_room_to_close(void **state)
{
    (void)state;
    struct form form;
    form_begin(&form, "over and out", NULL);
    struct token_list whole = encode("over and out", 12);
    const int count = (int)whole.count;
    const struct {
        int left;
        bool closes;
        size_t kept;
    } cases[] = {
        {count, true, whole.count},      {count - 1, true, 0},    {0, true, 0}, {-5, true, 0},
        {count - 1, false, whole.count}, {-5, false, whole.count}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct token_list tokens = forced(&form, true, cases[i].left, cases[i].closes);
        assert_int_equal(tokens.count, cases[i].kept);
        token_list_destroy(&tokens);
    }
    form_end(&form);
    /* What is not forced needs tokens as well, a byte each at most. */
    form_begin(&form, "over [0-9]{6}!", NULL);
    struct token_list tokens = forced(&form, true, 100, true);
    const int kept = (int)tokens.count;
    assert_true(kept > 0);
    struct buffer bytes = {0};
    for (int i = 0; i < kept; i++) {
        assert_int_equal(grammar_vocabulary_bytes(vocabulary, tokens.ids[i], &bytes), STATUS_OK);
    }
    const int least = kept + (12 - (int)bytes.length);
    buffer_destroy(&bytes);
    token_list_destroy(&tokens);
    tokens = forced(&form, true, least, true);
    assert_int_equal(tokens.count, kept);
    token_list_destroy(&tokens);
    tokens = forced(&form, true, least - 1, true);
    assert_int_equal(tokens.count, 0);
    token_list_destroy(&tokens);
    token_list_destroy(&whole);
    form_end(&form);
}

/* ---- Ends ---- */

static void the_shortest_answer_must_fit(void **state)
{
    (void)state;
    struct form form;
    form_compile(&form, "twelve angry men", vocabulary);
    struct token_list fewest = {0};
    bool ok;
    assert_int_equal(grammar_vocabulary_spell(vocabulary, "twelve angry men", 16, &fewest, &ok),
                     STATUS_OK);
    form.params.max_new_tokens = (int)fewest.count;
    assert_int_equal(constraint_check(&form.params), STATUS_OK);
    form.params.max_new_tokens--;
    assert_int_equal(constraint_check(&form.params), STATUS_INVALID);
    char message[100];
    snprintf(message, sizeof message, "max_tokens: %zu; the shortest answer of this form takes %zu",
             fewest.count - 1, fewest.count);
    assert_string_equal(status_message(), message);
    form.params.grammar_after_count = 1; /* nobody knows when it begins to count */
    assert_int_equal(constraint_check(&form.params), STATUS_OK);
    form.params.grammar = NULL;
    assert_int_equal(constraint_check(&form.params), STATUS_OK);
    token_list_destroy(&fewest);
    form_end(&form);
}

static void a_vocabulary_may_lack_the_bytes(void **state)
{
    (void)state;
    const char *const bytes[] = {"a", "b", ""};
    const size_t lengths[] = {1, 1, 0};
    const int32_t end = 2;
    struct grammar_vocabulary *small;
    struct form form;
    assert_int_equal(grammar_vocabulary_create(bytes, lengths, 3, &end, 1, &small), STATUS_OK);
    form_compile(&form, "abc", small);
    assert_int_equal(constraint_check(&form.params), STATUS_INVALID);
    assert_string_equal(status_message(),
                        "the form of the answer: the vocabulary has no tokens for it");
    assert_int_equal(constraint_create(&form.params, NULL, &form.constraint), STATUS_OK);
    struct token_list tokens = {0};
    assert_int_equal(constraint_close(form.constraint, &tokens), STATUS_INTERNAL);
    bool can = true;
    assert_int_equal(constraint_can_close(form.constraint, 2, &can), STATUS_OK);
    assert_false(can);
    constraint_mask(form.constraint);
    assert_int_equal(form.constraint->failure, STATUS_OK);
    token_list_destroy(&tokens);
    form_end(&form);
    grammar_vocabulary_destroy(small);
}

/* The last word of a mask may have one token, which counts like any other. */
static void a_mask_reaches_the_last_token(void **state)
{
    (void)state;
    enum { TOKENS = 33 };
    const char *bytes[TOKENS];
    size_t lengths[TOKENS];
    const int32_t end = 0;
    const uint32_t allowed[] = {0, 1};
    for (int i = 0; i < TOKENS; i++) {
        bytes[i] = i < TOKENS - 1 ? "a" : "b";
        lengths[i] = i > 0;
    }
    struct grammar_vocabulary *small;
    struct form form;
    assert_int_equal(grammar_vocabulary_create(bytes, lengths, TOKENS, &end, 1, &small), STATUS_OK);
    form_compile(&form, "b", small);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(constraint_create(&form.params, i == 0 ? NULL : allowed, &form.constraint),
                         STATUS_OK);
        constraint_mask(form.constraint);
        assert_int_equal(form.constraint->failure, STATUS_OK);
        assert_false(form.constraint->is_stuck);
        assert_int_equal(form.constraint->mask[0], 0);
        assert_int_equal(form.constraint->mask[1], 1);
        if (i == 0) {
            constraint_destroy(form.constraint);
        }
    }
    form_end(&form);
    grammar_vocabulary_destroy(small);
}

/* At every place: the answer can be closed by exactly as many tokens as closing it takes. */
static void closing_takes_what_is_said(void **state)
{
    (void)state;
    static const char text[] = "{\"name of it\": [17, \"yes\", 170]}";
    struct token_list all = encode(text, strlen(text));
    struct form form;
    form_begin(&form, "\\{\"name of it\": \\[(\"yes\"|[0-9]+)(, (\"yes\"|[0-9]+))*\\]\\}", NULL);
    for (size_t i = 0; i <= all.count; i++) {
        struct token_list end = {0};
        bool can, ok;
        assert_int_equal(constraint_close(form.constraint, &end), STATUS_OK);
        const int needed = (int)end.count;
        for (int left = -1; left <= needed + 20; left++) {
            assert_int_equal(constraint_can_close(form.constraint, left, &can), STATUS_OK);
            assert_int_equal(can, needed == 0 || left >= needed);
        }
        assert_int_equal(needed == 0, constraint_may_end(form.constraint));
        struct form other; /* that has come as far, and is closed */
        form_begin(&other, "\\{\"name of it\": \\[(\"yes\"|[0-9]+)(, (\"yes\"|[0-9]+))*\\]\\}",
                   NULL);
        for (int j = 0; j < (int)i; j++) {
            assert_int_equal(constraint_take(other.constraint, &other.params, all.ids, j + 1, &ok),
                             STATUS_OK);
        }
        for (size_t j = 0; j < end.count; j++) {
            assert_false(constraint_may_end(other.constraint));
            assert_int_equal(
                constraint_take(other.constraint, &other.params, end.ids, (int)j + 1, &ok),
                STATUS_OK);
            assert_true(ok);
        }
        assert_true(constraint_may_end(other.constraint));
        assert_true(constraint_must_end(other.constraint));
        form_end(&other);
        token_list_destroy(&end);
        if (i < all.count) {
            assert_int_equal(
                constraint_take(form.constraint, &form.params, all.ids, (int)i + 1, &ok),
                STATUS_OK);
            assert_true(ok);
        }
    }
    token_list_destroy(&all);
    form_end(&form);
}

/* ---- Where it is ---- */

static bool is_allowed(const struct constraint *constraint, int32_t id)
{
    return constraint->mask == NULL || (constraint->mask[id / 32] >> (id % 32) & 1) != 0;
}

/* Back to any place, and on from there. */
static void going_back(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": 12, \"a\": 3456, \"a\": 7}";
    static const char pattern[] = "\\{\"a\": [0-9]+(, \"a\": [0-9]+)*\\}";
    struct token_list all = encode(text, strlen(text));
    struct form form, other;
    form_begin(&form, pattern, NULL);
    take_text(&form, text);
    const size_t words = (size_t)sampling_mask_words(VOCABULARY) * sizeof(uint32_t);
    for (int i = (int)all.count; i >= 0; i--) {
        bool ok;
        assert_int_equal(constraint_rewind(form.constraint, &form.params, all.ids, i), STATUS_OK);
        form_begin(&other, pattern, NULL);
        for (int j = 1; j <= i; j++) {
            assert_int_equal(constraint_take(other.constraint, &other.params, all.ids, j, &ok),
                             STATUS_OK);
        }
        constraint_mask(form.constraint);
        constraint_mask(other.constraint);
        assert_memory_equal(form.constraint->mask, other.constraint->mask, words);
        /* Two grammars have one mask between them; one at a text's end is nobody's. */
        const bool is_kept = !constraint_must_end(form.constraint);
        assert_int_equal(form.constraint->mask_serial != 0, is_kept);
        assert_int_equal(form.constraint->mask_serial, other.constraint->mask_serial);
        assert_int_equal(form.constraint->mask == other.constraint->mask, is_kept);
        assert_int_equal(constraint_may_end(form.constraint), constraint_may_end(other.constraint));
        form_end(&other);
    }
    const int32_t wrong[] = {all.ids[0], all.ids[0]};
    bool ok;
    assert_int_equal(constraint_take(form.constraint, &form.params, wrong, 1, &ok), STATUS_OK);
    assert_true(ok);
    assert_int_equal(constraint_take(form.constraint, &form.params, wrong, 2, &ok), STATUS_OK);
    assert_false(ok);
    assert_int_equal(constraint_rewind(form.constraint, &form.params, wrong, 2), STATUS_INTERNAL);
    token_list_destroy(&all);
    form_end(&form);
}

static void nothing_counts_before_the_marker(void **state)
{
    (void)state;
    static const int32_t said[] = {MARK_B, MARK_A, MARK_A, MARK_B, 5};
    const uint32_t allowed[VOCABULARY / 32] = {7};
    struct form form;
    form_compile(&form, "yes", vocabulary);
    form.params.grammar_after[0] = MARK_A;
    form.params.grammar_after[1] = MARK_B;
    form.params.grammar_after_count = 2;
    assert_int_equal(constraint_create(&form.params, allowed, &form.constraint), STATUS_OK);
    for (int i = 1; i <= 4; i++) {
        bool ok = false, can = false;
        assert_false(form.constraint->is_active);
        assert_false(constraint_may_end(form.constraint) || constraint_must_end(form.constraint));
        assert_int_equal(constraint_can_close(form.constraint, 0, &can), STATUS_OK);
        assert_true(can);
        struct token_list tokens = forced(&form, true, 100, true);
        assert_int_equal(tokens.count, 0);
        token_list_destroy(&tokens);
        constraint_mask(form.constraint);
        assert_ptr_equal(form.constraint->mask, allowed); /* the row's own holds alone */
        assert_false(form.constraint->is_stuck);
        assert_int_equal(constraint_take(form.constraint, &form.params, said, i, &ok), STATUS_OK);
        assert_true(ok);
    }
    assert_true(form.constraint->is_active);
    bool can;
    assert_int_equal(constraint_can_close(form.constraint, 0, &can), STATUS_OK);
    assert_false(can);
    assert_int_equal(constraint_rewind(form.constraint, &form.params, said, 3), STATUS_OK);
    assert_false(form.constraint->is_active);
    assert_int_equal(constraint_rewind(form.constraint, &form.params, said, 4), STATUS_OK);
    assert_true(form.constraint->is_active);
    form_end(&form);
}

static void every_token_of_a_marker_counts(void **state)
{
    (void)state;
    static const int32_t marker[] = {MARK_A, MARK_B, MARK_B, MARK_A};
    const int most = COUNT_OF(marker);
    struct form form;
    form_compile(&form, "yes", vocabulary);
    for (int length = 1; length <= most; length++) {
        memcpy(form.params.grammar_after, marker, sizeof marker);
        form.params.grammar_after_count = length;
        assert_int_equal(constraint_create(&form.params, NULL, &form.constraint), STATUS_OK);
        for (int wrong = -1; wrong < length; wrong++) {
            int32_t said[COUNT_OF(marker)];
            memcpy(said, marker, sizeof said);
            if (wrong >= 0) {
                said[wrong] = 5;
            }
            assert_int_equal(constraint_rewind(form.constraint, &form.params, said, length),
                             STATUS_OK);
            assert_int_equal(form.constraint->is_active, wrong < 0);
        }
        if (length < most) {
            constraint_destroy(form.constraint);
        }
    }
    form_end(&form);
}

/* A mask that is known needs no work; one that is not, or that the row's own narrows, does. */
static void known_masks(void **state)
{
    (void)state;
    struct token_list text = encode("ab", 2);
    uint32_t allowed[VOCABULARY / 32];
    struct form form, narrowed;
    bool ok;
    memset(allowed, 0xff, sizeof allowed);
    form_begin(&form, "[ab]{1,9}", NULL);
    constraint_look_up_mask(form.constraint);
    assert_false(form.constraint->has_mask);
    constraint_mask(form.constraint);
    assert_true(form.constraint->has_mask);
    const uint32_t *first = form.constraint->mask;
    assert_int_equal(constraint_take(form.constraint, &form.params, text.ids, 1, &ok), STATUS_OK);
    assert_true(ok);
    assert_false(form.constraint->has_mask);
    constraint_look_up_mask(form.constraint);
    assert_false(form.constraint->has_mask);
    assert_int_equal(constraint_rewind(form.constraint, &form.params, text.ids, 0), STATUS_OK);
    assert_false(form.constraint->has_mask);
    constraint_look_up_mask(form.constraint);
    assert_true(form.constraint->has_mask);
    assert_ptr_equal(form.constraint->mask, first);
    form_end(&form);
    form_begin(&narrowed, "[ab]{1,9}", allowed);
    constraint_mask(narrowed.constraint);
    assert_int_equal(narrowed.constraint->mask_serial, 0);
    constraint_look_up_mask(narrowed.constraint);
    assert_false(narrowed.constraint->has_mask);
    form_end(&narrowed);
    token_list_destroy(&text);
}

/* Forms whose shortest text, or whose end, is longer than any memory. */
static void endless_texts(void **state)
{
    (void)state;
    static const char endless[] = "((((a{200}){200}){200}){200}){200}";
    struct form form;
    struct token_list text = encode("b", 1);
    bool ok, can;
    form_compile(&form, endless, vocabulary);
    assert_int_equal(constraint_check(&form.params), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "max_tokens: 100; the shortest answer of this form "
                                             "takes more than 100"));
    form_end(&form);
    form_begin(&form, "c|b((((a{200}){200}){200}){200}){200}", NULL);
    assert_int_equal(constraint_check(&form.params), STATUS_OK);
    assert_int_equal(constraint_take(form.constraint, &form.params, text.ids, 1, &ok), STATUS_OK);
    assert_true(ok);
    assert_int_equal(constraint_can_close(form.constraint, 99, &can), STATUS_OK);
    assert_false(can);
    token_list_destroy(&text);
    form_end(&form);
}

static void masks_are_joined(void **state)
{
    (void)state;
    struct form plain, joined;
    uint32_t allowed[VOCABULARY / 32];
    for (size_t i = 0; i < COUNT_OF(allowed); i++) {
        allowed[i] = 0x5a5a5a5a;
    }
    form_begin(&plain, "[a-z0-9 ]{1,9}", NULL);
    form_begin(&joined, "[a-z0-9 ]{1,9}", allowed);
    constraint_mask(plain.constraint);
    constraint_mask(joined.constraint);
    int both = 0, one = 0;
    for (int32_t id = 0; id < VOCABULARY; id++) {
        const bool own = (allowed[id / 32] >> (id % 32) & 1) != 0;
        const bool grammars = is_allowed(plain.constraint, id);
        assert_int_equal(is_allowed(joined.constraint, id), own && grammars);
        both += own && grammars;
        one += grammars;
    }
    assert_true(both > 0 && both < one);
    assert_false(joined.constraint->is_stuck);
    form_end(&plain);
    form_end(&joined);
    memset(allowed, 0, sizeof allowed);
    allowed[VOCABULARY / 32 - 1] = 1u << 31; /* the last token alone, which does not fit */
    form_begin(&joined, "#", allowed);
    constraint_mask(joined.constraint);
    assert_true(joined.constraint->is_stuck);
    assert_int_equal(joined.constraint->failure, STATUS_OK);
    form_end(&joined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forced_text_is_cut_as_the_tokenizer_cuts_it),
        cmocka_unit_test(forced_text_without_a_tokenizer),
        cmocka_unit_test(forced_text_leaves_room_to_close),
        cmocka_unit_test(the_shortest_answer_must_fit),
        cmocka_unit_test(a_vocabulary_may_lack_the_bytes),
        cmocka_unit_test(a_mask_reaches_the_last_token),
        cmocka_unit_test(closing_takes_what_is_said),
        cmocka_unit_test(going_back),
        cmocka_unit_test(nothing_counts_before_the_marker),
        cmocka_unit_test(every_token_of_a_marker_counts),
        cmocka_unit_test(masks_are_joined),
        cmocka_unit_test(known_masks),
        cmocka_unit_test(endless_texts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
