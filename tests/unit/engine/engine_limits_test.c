/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the engine's options and of a row's parameters: what is just inside is taken, what
 * is just outside is refused. */
#include <stddef.h>

#include "engine_fake.h"

enum { MODEL_LEN = 60, VOCABULARY = 50 };

/* Fine with any one of its values at its least. */
static struct engine_options fine_options(void)
{
    return (struct engine_options){.max_sequences = 2,
                                   .max_batch_tokens = 64,
                                   .kv_blocks = 64,
                                   .kv_block_tokens = 64,
                                   .max_model_len = MODEL_LEN,
                                   .steps_in_flight = 1};
}

static struct generate_params fine_params(void)
{
    return (struct generate_params){
        .max_new_tokens = 5,
        .samples = 1,
        .sampling = {.top_p = 1, .repetition_penalty = 1, .logprobs = -1}};
}

static void options_at_their_bounds(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        int least;
    } bounds[] = {
        {offsetof(struct engine_options, max_sequences), 1},
        {offsetof(struct engine_options, kv_blocks), 1},
        {offsetof(struct engine_options, kv_block_tokens), 1},
        {offsetof(struct engine_options, max_model_len), 2},
        {offsetof(struct engine_options, steps_in_flight), 1},
        {offsetof(struct engine_options, long_rope_threshold), 0},
        {offsetof(struct engine_options, end_count), 0},
        {offsetof(struct engine_options, half_tokens), 0},
        {offsetof(struct engine_options, embedding_width), 0},
    };
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        struct engine_options options = fine_options();
        int *value = (int *)((char *)&options + bounds[i].at);
        *value = bounds[i].least;
        assert_int_equal(engine_check_options(&options), STATUS_OK);
        *value = bounds[i].least - 1;
        assert_int_equal(engine_check_options(&options), STATUS_INVALID);
        assert_string_equal(status_message(), "engine: options out of range");
    }
}

static void expect_options(struct engine_options options, const char *message)
{
    struct engine *engine;
    const status s = engine_create(&options, &engine);
    assert_int_equal(s, message == NULL ? STATUS_OK : STATUS_INVALID);
    if (message == NULL) {
        engine_destroy(engine);
    } else {
        assert_string_equal(status_message(), message);
    }
}

static void options_that_contradict_each_other(void **state)
{
    (void)state;
    struct engine_options options = fine_options();
    options.max_sequences = options.max_batch_tokens;
    expect_options(options, NULL);
    options.max_sequences++;
    expect_options(options, "max_batch_tokens 64: at least max_sequences (65), a token for each");

    options = fine_options();
    options.kv_blocks = 6;
    options.kv_block_tokens = 10;
    expect_options(options, NULL);
    options.max_model_len++;
    expect_options(options, "max_model_len 61: the KV cache holds 60 positions (6 blocks of 10); "
                            "lower max_model_len or give kv_memory more");

    options = fine_options();
    options.embedding_width = 1;
    options.max_batch_tokens = MODEL_LEN;
    expect_options(options, NULL);
    options.prefix_cache = true;
    expect_options(options, "max_batch_tokens 60: an encoder takes whole rows, of up to 60 tokens");
    options.prefix_cache = false;
    options.max_batch_tokens--;
    expect_options(options, "max_batch_tokens 59: an encoder takes whole rows, of up to 60 tokens");
    options.embedding_width = 0;
    expect_options(options, NULL);

    options = fine_options();
    options.has_states = true;
    options.prefix_cache = false;
    expect_options(options, NULL);
    options.prefix_cache = true;
    options.kept_states = 2;
    expect_options(options, NULL);
    options.kept_states = -1;
    expect_options(options, "engine: -1 states kept");
}

/* What is said of a row; NULL where it would be taken. */
static const char *refusal(const struct engine_options *options,
                           const struct generate_params *params, const int32_t *prompt,
                           size_t count, size_t first_scored)
{
    const status s = engine_check_row(options, prompt, count, first_scored, params, VOCABULARY);
    assert_true(s == STATUS_OK || s == STATUS_INVALID);
    return s == STATUS_OK ? NULL : status_message();
}

static void parameters_at_their_bounds(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a"};
    static const struct tokenizer tokenizer = {pieces, 1};
    static const int32_t prompt[MODEL_LEN] = {0};
    struct engine_options options = fine_options();
    options.tokenizer = &tokenizer;
    static const struct {
        size_t at;
        int least, most;
    } bounds[] = {
        {offsetof(struct generate_params, max_new_tokens), 1, INT32_MAX},
        {offsetof(struct generate_params, samples), 1, GENERATE_MAX_SAMPLES},
        {offsetof(struct generate_params, sampling.logprobs), -1, SAMPLING_MAX_LOGPROBS},
        {offsetof(struct generate_params, stop_count), 0, GENERATE_MAX_STOPS},
        {offsetof(struct generate_params, stop_id_count), 0, GENERATE_MAX_STOP_IDS},
    };
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        struct generate_params params = fine_params();
        for (int j = 0; j < GENERATE_MAX_STOPS; j++) {
            params.stop[j] = "x";
        }
        int *value = (int *)((char *)&params + bounds[i].at);
        *value = bounds[i].least;
        assert_null(refusal(&options, &params, prompt, 3, 0));
        *value = bounds[i].most;
        assert_null(refusal(&options, &params, prompt, 3, 0));
        *value = bounds[i].least - 1;
        assert_string_equal(refusal(&options, &params, prompt, 3, 0),
                            "generation parameters out of range");
        if (bounds[i].most < INT32_MAX) {
            *value = bounds[i].most + 1;
            assert_string_equal(refusal(&options, &params, prompt, 3, 0),
                                "generation parameters out of range");
        }
    }
}

static void stop_strings(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a"};
    static const struct tokenizer tokenizer = {pieces, 1};
    static const int32_t prompt[3] = {0};
    struct engine_options options = fine_options();
    struct generate_params params = fine_params();
    params.stop_count = 2;
    params.stop[0] = params.stop[1] = "x";
    assert_string_equal(refusal(&options, &params, prompt, 3, 0),
                        "stop strings need a tokenizer, and the model has none; use "
                        "stop_token_ids");
    options.tokenizer = &tokenizer;
    assert_null(refusal(&options, &params, prompt, 3, 0));
    params.stop[1] = "";
    assert_string_equal(refusal(&options, &params, prompt, 3, 0), "an empty stop string");
    params.stop[1] = NULL;
    assert_string_equal(refusal(&options, &params, prompt, 3, 0), "an empty stop string");
}

static void prompts_at_their_bounds(void **state)
{
    (void)state;
    int32_t prompt[MODEL_LEN + 1] = {0};
    const struct engine_options options = fine_options();
    struct generate_params params = fine_params();
    prompt[MODEL_LEN - 2] = VOCABULARY - 1;
    assert_null(refusal(&options, &params, prompt, 1, 0));
    assert_null(refusal(&options, &params, prompt, MODEL_LEN - 1, 0));
    assert_string_equal(refusal(&options, &params, prompt, MODEL_LEN, 0),
                        "prompt of 60 tokens; the context holds 60");
    prompt[0] = VOCABULARY;
    assert_string_equal(refusal(&options, &params, prompt, 2, 0),
                        "prompt token 0 is 50; the vocabulary has 50");
    prompt[0] = 0;
    params.task = TASK_SCORE; /* needs no room for an answer */
    assert_null(refusal(&options, &params, prompt, MODEL_LEN, 1));
    assert_null(refusal(&options, &params, prompt, MODEL_LEN, MODEL_LEN - 1));
    assert_string_equal(refusal(&options, &params, prompt, MODEL_LEN, MODEL_LEN),
                        "no token to score: the text has 60, from 60 on");
    assert_string_equal(refusal(&options, &params, prompt, 5, 0),
                        "no token to score: the text has 5, from 0 on");
    assert_string_equal(refusal(&options, &params, prompt, MODEL_LEN + 1, 1),
                        "prompt of 61 tokens; the context holds 60");
    params.samples = 2;
    assert_string_equal(refusal(&options, &params, prompt, 5, 1), "n: 2; a text is scored once");
}

static void lists_at_their_bounds(void **state)
{
    (void)state;
    static const int32_t prompt[3] = {0}, ends[] = {7};
    struct engine_options options = fine_options();
    options.ends = ends;
    options.end_count = 1;
    int32_t allowed[] = {0, VOCABULARY - 1};
    struct logit_bias biases[] = {{0, 1}, {VOCABULARY - 1, 1}};
    struct generate_params params = fine_params();
    params.allowed_ids = allowed;
    params.allowed_id_count = 2;
    params.biases = biases;
    params.bias_count = 2;
    params.min_tokens = params.max_new_tokens;
    assert_null(refusal(&options, &params, prompt, 3, 0));
    allowed[0] = -1;
    assert_string_equal(refusal(&options, &params, prompt, 3, 0),
                        "allowed_token_ids: token -1; the vocabulary has 50");
    allowed[0] = 0;
    biases[0].id = -1;
    assert_string_equal(refusal(&options, &params, prompt, 3, 0),
                        "logit_bias: token -1; the vocabulary has 50");
    biases[0].id = 0;
    allowed[0] = allowed[1] = 7; /* the end token alone: fine where nothing must come before it */
    assert_string_equal(refusal(&options, &params, prompt, 3, 0),
                        "min_tokens: all of allowed_token_ids would end the answer");
    params.min_tokens = 0;
    assert_null(refusal(&options, &params, prompt, 3, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_at_their_bounds),
        cmocka_unit_test(options_that_contradict_each_other),
        cmocka_unit_test(parameters_at_their_bounds),
        cmocka_unit_test(stop_strings),
        cmocka_unit_test(prompts_at_their_bounds),
        cmocka_unit_test(lists_at_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
