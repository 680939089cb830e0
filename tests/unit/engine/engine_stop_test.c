/* SPDX-License-Identifier: Apache-2.0 */
/* How a sample ends and what its text is: a scripted model speaks given tokens. */
#include <math.h>

#include "engine_fake.h"

enum { BLOCKS = 16, MAX_MODEL_LEN = 64, SCRIPT_TOKENS = 12 };

static const char *const pieces[] = {
    "<end is special>", "hel",  "lo", " wor", "ld", "\n", "\n\n", "STOP", "ST", "OP",
    "\xe2\x82",         "\xac", "",   "a",    "b",  "ab",
};
enum {
    END,
    HEL,
    LO,
    WOR,
    LD,
    NEWLINE,
    NEWLINES,
    STOP,
    ST,
    OP,
    EURO_HEAD,
    EURO_TAIL,
    SPECIAL,
    A,
    B,
    AB
};

struct script {
    int32_t tokens[SCRIPT_TOKENS]; /* what the model says; the last one for ever */
    int token_count;
    const char *stops[2];
    int stop_count;
    int32_t stop_id; /* -1: none */
    int max_new_tokens;
    bool ignore_eos;
    enum finish_reason reason;
    int completion_tokens;
    const char *text;
};

static const struct script scripts[] = {
    {{HEL, LO, END}, 3, {NULL}, 0, -1, 9, false, FINISH_STOP, 3, "hello"},
    {{HEL, LO, END, LD}, 4, {NULL}, 0, -1, 4, true, FINISH_LENGTH, 4, "hello<end is special>ld"},
    {{HEL, LO, SPECIAL, LD}, 4, {NULL}, 0, -1, 4, false, FINISH_LENGTH, 4, "hellold"},
    {{HEL, LO}, 2, {NULL}, 0, -1, 2, false, FINISH_LENGTH, 2, "hello"},
    {{END}, 1, {NULL}, 0, -1, 5, false, FINISH_STOP, 1, ""},
    /* Stop ids: also where end tokens are ignored. */
    {{HEL, WOR, LD}, 3, {NULL}, 0, WOR, 5, true, FINISH_STOP, 2, "hel"},
    /* Stop strings: in a token, over tokens, at the start, twice, the earliest of many. */
    {{HEL, STOP, LD}, 3, {"STOP"}, 1, -1, 5, false, FINISH_STOP, 2, "hel"},
    {{HEL, ST, OP, LD}, 4, {"STOP"}, 1, -1, 5, false, FINISH_STOP, 3, "hel"},
    {{HEL, ST, LO, ST, OP}, 5, {"STOP"}, 1, -1, 9, false, FINISH_STOP, 5, "helSTlo"},
    {{STOP}, 1, {"STOP"}, 1, -1, 5, false, FINISH_STOP, 1, ""},
    {{HEL, NEWLINE, NEWLINE, LD}, 4, {"\n\n"}, 1, -1, 9, false, FINISH_STOP, 3, "hel"},
    {{HEL, NEWLINE, NEWLINES, LD}, 4, {"\n\n"}, 1, -1, 9, false, FINISH_STOP, 3, "hel"},
    {{HEL, LO, WOR, LD}, 4, {"o w", "lo"}, 2, -1, 9, false, FINISH_STOP, 2, "hel"},
    {{HEL, LO, WOR, LD}, 4, {"rld", "wor"}, 2, -1, 9, false, FINISH_STOP, 3, "hello "},
    {{A, AB, B}, 3, {"abb"}, 1, -1, 9, false, FINISH_STOP, 3, "a"},
    {{HEL, LO, LD}, 3, {"xyz"}, 1, -1, 3, false, FINISH_LENGTH, 3, "hellold"},
    /* The last token allowed completes one. */
    {{ST, OP}, 2, {"TO"}, 1, -1, 2, false, FINISH_STOP, 2, "S"},
    /* Characters over token boundaries. */
    {{HEL, EURO_HEAD, EURO_TAIL, LD}, 4, {"\xe2\x82\xac"}, 1, -1, 9, false, FINISH_STOP, 3, "hel"},
    {{HEL, EURO_HEAD, EURO_TAIL, END},
     4,
     {NULL},
     0,
     -1,
     9,
     false,
     FINISH_STOP,
     4,
     "hel\xe2\x82\xac"},
    {{HEL, EURO_HEAD}, 2, {NULL}, 0, -1, 2, false, FINISH_LENGTH, 2, "hel\xef\xbf\xbd"},
    {{HEL, EURO_HEAD}, 2, {"\xef\xbf\xbd"}, 1, -1, 2, false, FINISH_STOP, 2, "hel"},
    /* The context is full: 64 positions, 3 of them prompt. */
    {{LD}, 1, {NULL}, 0, -1, 1000, false, FINISH_LENGTH, 61, NULL},
};

/* The text keeps what ended it: a stop string, not what follows in its token; a token. */
static const struct {
    struct script script;
    bool include_stop, keep_special;
} keeping[] = {
    {{{HEL, STOP, LD}, 3, {"STO"}, 1, -1, 5, false, FINISH_STOP, 2, "helSTO"}, true, false},
    {{{HEL, WOR, LD}, 3, {NULL}, 0, WOR, 5, true, FINISH_STOP, 2, "hel wor"}, true, false},
    {{{HEL, SPECIAL, LD}, 3, {NULL}, 0, SPECIAL, 5, true, FINISH_STOP, 2, "hel"}, true, false},
    {{{HEL, SPECIAL, LD}, 3, {NULL}, 0, SPECIAL, 5, true, FINISH_STOP, 2, "hel<s>"}, true, true},
    {{{HEL, SPECIAL, LD}, 3, {NULL}, 0, LD, 5, true, FINISH_STOP, 3, "hel<s>"}, false, true},
};

static void check_script(struct engine *engine, const struct script *script, bool include_stop,
                         bool keep_special)
{
    struct generate_params params = {
        .max_new_tokens = script->max_new_tokens,
        .samples = 1,
        .stop_count = script->stop_count,
        .stop_id_count = script->stop_id >= 0,
        .stop_ids = {script->stop_id},
        .ignore_eos = script->ignore_eos,
        .include_stop = include_stop,
        .keep_special_tokens = keep_special,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    char copies[2][GENERATE_MAX_STOP_BYTES];
    for (int i = 0; i < script->stop_count; i++) {
        params.stop[i] = strcpy(copies[i], script->stops[i]);
    }
    const int32_t prompt[] = {HEL, LO, WOR};
    assert_int_equal(engine_add(engine, 1, prompt, 3, &params, COUNT_OF(pieces), NULL), STATUS_OK);
    memset(copies, 'x', sizeof copies); /* the engine keeps its own */
    while (engine_unfinished(engine) > 0) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        assert_non_null(plan);
        int position = plan->requests[0].position;
        position = position < script->token_count ? position : script->token_count - 1;
        struct sample_result result = {.token = script->tokens[position]};
        assert_int_equal(engine_complete_step(engine, plan, &result), STATUS_OK);
    }
    struct finished_sample *sample = engine_next_finished(engine);
    assert_non_null(sample);
    assert_null(engine_next_finished(engine));
    assert_int_equal(sample->reason, script->reason);
    assert_int_equal(sample->completion_tokens, script->completion_tokens);
    if (script->text != NULL) {
        assert_string_equal(sample->text, script->text);
        assert_int_equal(sample->text_length, strlen(script->text));
    }
    engine_release(engine, sample);
}

static void ends_as_scripted(void **state)
{
    (void)state;
    static const int32_t ends[] = {END};
    const struct tokenizer tokenizer = {pieces, COUNT_OF(pieces)};
    struct engine_options options = {.max_sequences = 2,
                                     .max_batch_tokens = 4,
                                     .kv_blocks = BLOCKS,
                                     .kv_block_tokens = 4,
                                     .max_model_len = MAX_MODEL_LEN,
                                     .steps_in_flight = 1,
                                     .tokenizer = &tokenizer,
                                     .ends = ends,
                                     .end_count = 1};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        print_message("script %zu\n", i);
        check_script(engine, &scripts[i], false, false);
    }
    for (size_t i = 0; i < COUNT_OF(keeping); i++) {
        print_message("keeping script %zu\n", i);
        check_script(engine, &keeping[i].script, keeping[i].include_stop, keeping[i].keep_special);
    }
    assert_int_equal(engine_counters(engine).blocks_used, 0);
    struct generate_params empty_stop = {.max_new_tokens = 1, .samples = 1, .stop_count = 1};
    empty_stop.stop[0] = "";
    const int32_t prompt[] = {HEL};
    assert_int_equal(engine_add(engine, 1, prompt, 1, &empty_stop, COUNT_OF(pieces), NULL),
                     STATUS_INVALID);
    engine_destroy(engine);
}

/* What a row's parameters do to logits, position by position, and what is refused. */
static void processors_follow_the_row(void **state)
{
    (void)state;
    static const int32_t ends[] = {END, 1000}; /* one that no vocabulary has is never drawn */
    static const struct tokenizer tokenizer = {pieces, COUNT_OF(pieces)};
    const struct engine_options options = {.max_sequences = 2,
                                           .max_batch_tokens = 4,
                                           .kv_blocks = BLOCKS,
                                           .kv_block_tokens = 4,
                                           .max_model_len = MAX_MODEL_LEN,
                                           .steps_in_flight = 1,
                                           .tokenizer = &tokenizer,
                                           .ends = ends,
                                           .end_count = 2};
    int32_t allowed[] = {END, A, B, LO};
    struct logit_bias biases[] = {{LD, -1}, {A, 2}}; /* ids ascend */
    struct generate_params params = {
        .max_new_tokens = 6,
        .samples = 1,
        .stop_count = 1,
        .stop = {"b"},
        .stop_id_count = 1,
        .stop_ids = {LD},
        .min_tokens = 3,
        .allowed_ids = allowed,
        .allowed_id_count = COUNT_OF(allowed),
        .biases = biases,
        .bias_count = COUNT_OF(biases),
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    const int32_t prompt[] = {HEL, LO};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    assert_int_equal(engine_add(engine, 1, prompt, 2, &params, COUNT_OF(pieces), NULL), STATUS_OK);
    memset(allowed, 0xff, sizeof allowed); /* the engine keeps its own */
    memset(biases, 0xff, sizeof biases);
    static const int32_t script[] = {A, B, A, AB, LO};
    for (int position = 0; engine_unfinished(engine) > 0; position++) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        const struct sample_request *request = &plan->requests[0];
        assert_int_equal(request->position, position);
        assert_int_equal(request->allowed[0], 1u << END | 1u << A | 1u << B | 1u << LO);
        const bool early = position < 3;
        assert_int_equal(request->bias_count, early ? 3 : 2);
        const struct logit_bias *bias = request->biases;
        if (early) { /* END, LD and A: ids ascend */
            assert_int_equal(bias[0].id, END);
            assert_true(bias[0].bias == -INFINITY);
            bias++;
        }
        assert_int_equal(bias[0].id, LD);
        assert_true(bias[0].bias == (early ? -INFINITY : -1.0f));
        assert_int_equal(bias[1].id, A);
        assert_true(bias[1].bias == 2);
        const struct sample_result result = {.token = script[position]};
        assert_int_equal(engine_complete_step(engine, plan, &result), STATUS_OK);
    }
    struct finished_sample *sample = engine_next_finished(engine);
    assert_non_null(sample);
    assert_int_equal(sample->reason, FINISH_STOP);
    assert_string_equal(sample->text, "abaa"); /* the first "b" came too early to count */
    engine_release(engine, sample);

    const int32_t outside[] = {A, COUNT_OF(pieces)}, only_end[] = {END, LD};
    const struct logit_bias far[] = {{COUNT_OF(pieces), 1}};
    struct generate_params wrong[4] = {params, params, params, params};
    wrong[0].allowed_ids = outside;
    wrong[0].allowed_id_count = 2;
    wrong[1].allowed_id_count = 0;
    wrong[1].biases = far;
    wrong[1].bias_count = 1;
    wrong[2].allowed_ids = only_end;
    wrong[2].allowed_id_count = 2;
    wrong[3].allowed_id_count = wrong[3].bias_count = 0;
    wrong[3].min_tokens = 7;
    static const char *const messages[] = {
        "allowed_token_ids: token 16; the vocabulary has 16",
        "logit_bias: token 16; the vocabulary has 16",
        "min_tokens: all of allowed_token_ids would end the answer",
        "min_tokens: 7 is more than max_new_tokens, 6"};
    for (int i = 0; i < 4; i++) {
        wrong[i].bias_count = i == 1;
        assert_int_equal(engine_add(engine, 1, prompt, 2, &wrong[i], COUNT_OF(pieces), NULL),
                         STATUS_INVALID);
        assert_string_equal(status_message(), messages[i]);
    }
    engine_destroy(engine);
}

/* As many stop ids as a row may have, the last of which counts; one more is refused. */
static void the_last_of_many_stop_ids_counts(void **state)
{
    (void)state;
    const struct engine_options options = {.max_sequences = 1,
                                           .max_batch_tokens = 8,
                                           .kv_blocks = BLOCKS,
                                           .kv_block_tokens = 4,
                                           .max_model_len = MAX_MODEL_LEN,
                                           .steps_in_flight = 1};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    struct generate_params params = {
        .max_new_tokens = 9,
        .samples = 1,
        .stop_id_count = GENERATE_MAX_STOP_IDS,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
    for (int i = 0; i < GENERATE_MAX_STOP_IDS; i++) {
        params.stop_ids[i] = 100 + i;
    }
    const int32_t prompt[] = {1, 2}, said[] = {99, 100 + GENERATE_MAX_STOP_IDS - 1, 7};
    assert_int_equal(engine_add(engine, 0, prompt, 2, &params, 1000, NULL), STATUS_OK);
    for (int i = 0; engine_unfinished(engine) > 0; i++) {
        struct step_plan *plan;
        assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
        const struct sample_result result = {.token = said[i < 2 ? i : 2]};
        assert_int_equal(engine_complete_step(engine, plan, &result), STATUS_OK);
    }
    struct finished_sample *sample = engine_next_finished(engine);
    assert_int_equal(sample->reason, FINISH_STOP);
    assert_int_equal(sample->completion_tokens, 2);
    engine_release(engine, sample);
    params.stop_id_count++;
    assert_int_equal(engine_add(engine, 1, prompt, 2, &params, 1000, NULL), STATUS_INVALID);
    engine_destroy(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_last_of_many_stop_ids_counts),
                                       cmocka_unit_test(ends_as_scripted),
                                       cmocka_unit_test(processors_follow_the_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
