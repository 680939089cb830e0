/* SPDX-License-Identifier: Apache-2.0 */
/* Rows with grammars, with a fake device: answers are of the grammar whatever is drawn, tokens that
 * must follow cost no step, answers are closed in time, and nothing depends on what runs beside. */
#include "engine_fake.h"

#include <math.h>

#include "grammar/grammar.h"
#include "grammar/regex_front.h"

enum { ROWS = 120, MOST_TOKENS = 80, END = FAKE_VOCABULARY - 1, THINK_END = FAKE_VOCABULARY - 2 };

/* Answers have 35 bytes at least, most of which nothing else can stand for. */
static const char pattern[] =
    "\\{\"name\":\"[a-z]{1,12}\",\"tags\":\\[(\"(red|green|blue)\"(,\"(red|green)\"){0,3})?\\]\\}";

/* Here two of 32 and more bytes are the only way on. */
static const char free_pattern[] = "\"[a-z]{30,60}\"";

struct form {
    grammar_node node;
    struct grammar *grammar;
    struct grammar_masks *masks;
};

struct fixture {
    char bytes[FAKE_VOCABULARY][12];
    struct grammar_expressions *arena;
    struct grammar_vocabulary *vocabulary;
    struct form form, free;
};

static struct fixture fixture;

static void make_vocabulary(void)
{
    static const char *const words[] = {"\"name", "\":", "{\"", "\",", "red", "tags", "\"]"};
    const char *bytes[FAKE_VOCABULARY];
    size_t lengths[FAKE_VOCABULARY];
    for (int i = 0; i < FAKE_VOCABULARY; i++) {
        fixture.bytes[i][0] = (char)(' ' + i % 95);
        const size_t word = (size_t)('Z' - ' ' - i);
        if (i <= 'Z' - ' ' && word < COUNT_OF(words)) { /* capital letters are of no use here */
            strcpy(fixture.bytes[i], words[word]);
        }
        bytes[i] = fixture.bytes[i];
        lengths[i] = strlen(bytes[i]);
    }
    lengths[END] = lengths[THINK_END] = 0;
    const int32_t end = END;
    assert_int_equal(
        grammar_vocabulary_create(bytes, lengths, FAKE_VOCABULARY, &end, 1, &fixture.vocabulary),
        STATUS_OK);
}

static void compile(const char *text, struct form *out)
{
    const struct grammar_regex_options whole = {GRAMMAR_REGEX_PYTHON, false};
    assert_int_equal(grammar_regex(fixture.arena, text, strlen(text), whole, &out->node),
                     STATUS_OK);
    assert_int_equal(grammar_compile(fixture.arena, out->node, NULL, &out->grammar), STATUS_OK);
    assert_int_equal(grammar_masks_create(out->grammar, fixture.vocabulary, 0, &out->masks),
                     STATUS_OK);
}

static int set_up(void **state)
{
    (void)state;
    make_vocabulary();
    assert_int_equal(grammar_expressions_create(NULL, &fixture.arena), STATUS_OK);
    compile(pattern, &fixture.form);
    compile(free_pattern, &fixture.free);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    grammar_masks_destroy(fixture.form.masks);
    grammar_masks_destroy(fixture.free.masks);
    grammar_destroy(fixture.form.grammar);
    grammar_destroy(fixture.free.grammar);
    grammar_vocabulary_destroy(fixture.vocabulary);
    grammar_expressions_destroy(fixture.arena);
    return 0;
}

static struct engine_options usual_options(void)
{
    static const int32_t end = END;
    return (struct engine_options){.max_sequences = 7,
                                   .max_batch_tokens = 64,
                                   .kv_blocks = 200,
                                   .kv_block_tokens = 4,
                                   .max_model_len = 120,
                                   .steps_in_flight = 1,
                                   .prefix_cache = true,
                                   .ends = &end,
                                   .end_count = 1};
}

static struct generate_params usual_params(void)
{
    return (struct generate_params){
        .task = TASK_GENERATE,
        .max_new_tokens = MOST_TOKENS,
        .samples = 1,
        .sampling = {.repetition_penalty = 1, .top_p = 1, .logprobs = -1},
        .grammar = fixture.form.masks};
}

struct answer {
    int32_t tokens[MOST_TOKENS];
    float logprobs[MOST_TOKENS];
    int count;
    enum finish_reason reason;
    bool is_valid;
};

static void keep_answer(const struct finished_sample *sample, struct answer *out)
{
    assert_true(sample->completion_tokens <= MOST_TOKENS);
    *out = (struct answer){
        .count = sample->completion_tokens, .reason = sample->reason, .is_valid = sample->is_valid};
    for (int i = 0; i < out->count; i++) {
        out->tokens[i] = sample->token_ids[i];
        out->logprobs[i] = sample->logprobs != NULL ? sample->logprobs[i] : 0;
    }
}

static void add_rows(struct engine *engine, const struct generate_params *params)
{
    for (int row = 0; row < ROWS; row++) {
        int32_t prompt[12];
        for (int i = 0; i < 12; i++) {
            prompt[i] = (int32_t)(fake_mix((uint64_t)(row / 3), (uint64_t)i) % FAKE_VOCABULARY);
        }
        prompt[11] = row % FAKE_VOCABULARY;
        assert_int_equal(engine_add(engine, row, prompt, 12, params, FAKE_VOCABULARY, NULL),
                         STATUS_OK);
    }
    engine_end_supply(engine);
}

static void collect(struct engine *engine, struct answer *answers)
{
    for (struct finished_sample *sample; (sample = engine_next_finished(engine)) != NULL;) {
        assert_true(sample->has_form);
        keep_answer(sample, &answers[sample->row]);
        engine_release(engine, sample);
    }
}

/* What the latest run came to. */
static struct {
    int64_t steps, ahead, drawn, preemptions;
} counts;

/* Asks for what a step, which is written, draws. */
static void ask(struct engine *engine, const struct fake_device *device, struct step_plan *plan,
                struct sample_result *results)
{
    assert_int_equal(engine_await_requests(engine, plan), STATUS_OK);
    fake_answer(device, plan, results);
    for (int i = 0; i < plan->batch.outputs; i++) {
        const struct sample_request *request = &plan->requests[i];
        counts.drawn += !request->is_scored;
        assert_true(!request->is_scored || request->params->logprobs >= 0);
    }
}

/* As a device runs it that is at the next step while this one's tokens are looked at. */
static void run_rows(const struct engine_options *options, const struct generate_params *params,
                     struct answer *answers)
{
    struct engine *engine;
    struct fake_device device = fake_create(options);
    struct sample_result *results = calloc((size_t)options->max_sequences, sizeof *results);
    struct step_plan *plan = NULL, *ahead;
    assert_int_equal(engine_create(options, &engine), STATUS_OK);
    memset(&counts, 0, sizeof counts);
    add_rows(engine, params);
    while (engine_unfinished(engine) > 0) {
        if (plan == NULL) {
            assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
            assert_non_null(plan);
            fake_write(&device, &plan->batch, NULL);
            ask(engine, &device, plan, results);
        }
        assert_int_equal(engine_plan_step(engine, &ahead), STATUS_OK);
        if (ahead != NULL) {
            fake_write(&device, &ahead->batch, results);
        }
        assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
        counts.steps++;
        counts.ahead += ahead != NULL;
        plan = ahead;
        if (plan != NULL) {
            ask(engine, &device, plan, results);
        }
        collect(engine, answers);
    }
    counts.preemptions = engine_counters(engine).preemptions;
    engine_destroy(engine);
    fake_destroy(&device);
    free(results);
}

static bool is_of_grammar(const struct answer *answer, int from)
{
    char text[MOST_TOKENS * 12] = "";
    bool matches;
    for (int i = from; i < answer->count; i++) {
        if (answer->tokens[i] != END) {
            strcat(text, fixture.bytes[answer->tokens[i]]);
        }
    }
    assert_int_equal(
        grammar_matches(fixture.arena, fixture.form.node, text, strlen(text), &matches), STATUS_OK);
    return matches;
}

static void answers_are_of_the_grammar(void **state)
{
    (void)state;
    static struct answer answers[ROWS];
    const struct engine_options options = usual_options();
    const struct generate_params params = usual_params();
    run_rows(&options, &params, answers);
    int64_t tokens = 0;
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(answers[i].reason, FINISH_STOP);
        assert_true(answers[i].is_valid);
        assert_true(is_of_grammar(&answers[i], 0));
        tokens += answers[i].count;
        assert_string_equal(fixture.bytes[answers[i].tokens[1]], "\"name"); /* not drawn */
    }
    assert_true(counts.drawn < tokens * 3 / 4);
    assert_int_equal(counts.ahead, 0);
}

static void same_answers(const struct answer *answers, const struct answer *expected,
                         bool with_logprobs)
{
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(answers[i].count, expected[i].count);
        assert_int_equal(answers[i].reason, expected[i].reason);
        assert_int_equal(answers[i].is_valid, expected[i].is_valid);
        assert_memory_equal(answers[i].tokens, expected[i].tokens, sizeof answers[i].tokens);
        if (with_logprobs) {
            assert_memory_equal(answers[i].logprobs, expected[i].logprobs,
                                sizeof answers[i].logprobs);
        }
    }
}

/* Runs the rows in steps and caches of many sizes. */
static void vary(const struct engine_options *usual, const struct generate_params *usual_params,
                 const struct answer *expected)
{
    static struct answer answers[ROWS];
    int64_t preemptions = 0;
    for (int i = 0; i < 8; i++) {
        struct engine_options options = *usual;
        struct generate_params params = *usual_params;
        options.max_sequences = (const int[]){1, ROWS, 7, 7, 7, 7, 64, 64}[i];
        options.max_batch_tokens = (const int[]){64, 500, 7, 64, 64, 64, 64, 200}[i];
        options.kv_blocks = (const int[]){200, 1200, 200, 40, 32, 200, 1200, 40}[i];
        options.admission = i % 4 == 3 ? ADMIT_BY_ROOM : ADMIT_BY_NEED;
        options.prefix_cache = i != 3;
        params.sampling.logprobs = i == 5 ? -1 : 0;
        run_rows(&options, &params, answers);
        same_answers(answers, expected, i != 5);
        preemptions += counts.preemptions;
        assert_true(options.always_ahead ? counts.ahead > counts.steps / 8
                                         : counts.ahead == 0 || options.plans_ahead);
    }
    assert_true(preemptions > 0 || usual_params->max_new_tokens < MOST_TOKENS);
}

/* Everything that may differ between two runs but must not. */
static void nothing_beside_a_row_counts(void **state)
{
    (void)state;
    static struct answer expected[ROWS];
    for (int i = 0; i < 2 * 2 * 2; i++) {
        const bool closes = i % 2 != 0;
        struct engine_options options = usual_options();
        struct generate_params params = usual_params();
        options.has_states = i / 2 % 2 != 0;
        options.kept_states = options.has_states ? 5 : 0;
        options.long_rope_threshold = i / 4 % 2 != 0 ? 24 : 0;
        params.sampling.logprobs = 0;
        params.grammar_closes = closes;
        params.max_new_tokens = closes ? 22 : MOST_TOKENS;
        run_rows(&options, &params, expected);
        vary(&options, &params, expected);
        options.plans_ahead = true;
        vary(&options, &params, expected);
        options.always_ahead = true;
        vary(&options, &params, expected);
    }
}

/* A sequence whose tokens are forced is a step late where the step is planned ahead. */
static void steps_are_planned_ahead_where_it_pays(void **state)
{
    (void)state;
    static struct answer answers[ROWS], expected[ROWS];
    struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    options.max_sequences = 64;
    options.kv_blocks = 64 * 30;
    options.plans_ahead = true;
    run_rows(&options, &params, answers);
    assert_true(counts.ahead < counts.steps / 3);
    const int64_t steps = counts.steps;
    options.always_ahead = true;
    run_rows(&options, &params, answers);
    assert_true(counts.steps > steps);

    options.always_ahead = false;
    params.grammar = fixture.free.masks;
    run_rows(&options, &params, answers);
    assert_true(counts.ahead > counts.steps * 7 / 8);
    options.plans_ahead = false;
    run_rows(&options, &params, expected);
    same_answers(answers, expected, false);
}

/* A token that was not drawn has the log-probability that scoring it gives. *scored: how many have
 * it; returns how many at the answer's end. */
static int count_scored(const struct answer *answer, int row, int *scored)
{
    uint64_t chain = 0;
    int position = 0, at_end = 0;
    for (; position < 12; position++) {
        const int32_t token =
            position == 11
                ? row % FAKE_VOCABULARY
                : (int32_t)(fake_mix((uint64_t)(row / 3), (uint64_t)position) % FAKE_VOCABULARY);
        chain = fake_chain(chain, token, position, false);
    }
    *scored = 0;
    for (int i = 0; i < answer->count; i++) {
        const bool is_scored = answer->logprobs[i] == fake_score(chain, answer->tokens[i]).logprob;
        *scored += is_scored;
        at_end = is_scored ? at_end + 1 : 0;
        chain = fake_chain(chain, answer->tokens[i], position++, false);
    }
    return at_end;
}

static void forced_tokens_have_log_probabilities(void **state)
{
    (void)state;
    static struct answer answers[ROWS];
    const struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    params.sampling.logprobs = 0;
    run_rows(&options, &params, answers);
    for (int row = 0; row < ROWS; row++) {
        int scored;
        count_scored(&answers[row], row, &scored);
        assert_in_range(scored, 3, answers[row].count - 2);
    }
}

/* Those of an end that stands in the place of a drawn token, too, the first one's among them. */
static void closing_tokens_have_log_probabilities(void **state)
{
    (void)state;
    static struct answer answers[ROWS];
    const struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    int closed = 0;
    params.sampling.logprobs = 0;
    params.grammar_closes = true;
    for (params.max_new_tokens = 13; params.max_new_tokens < 25; params.max_new_tokens++) {
        run_rows(&options, &params, answers);
        for (int row = 0; row < ROWS; row++) {
            const struct answer *answer = &answers[row];
            int scored;
            for (int i = 0; i < answer->count; i++) {
                assert_true(isfinite(answer->logprobs[i]));
            }
            if (answer->reason == FINISH_LENGTH) {
                assert_true(count_scored(answer, row, &scored) > 0);
                closed++;
            }
        }
    }
    assert_true(closed > ROWS);
}

static void answers_are_closed_in_time(void **state)
{
    (void)state;
    static struct answer answers[ROWS];
    const struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    int cut = 0;
    for (params.max_new_tokens = 12; params.max_new_tokens < 40; params.max_new_tokens += 3) {
        params.grammar_closes = true;
        run_rows(&options, &params, answers);
        for (int i = 0; i < ROWS; i++) {
            assert_true(answers[i].count <= params.max_new_tokens);
            assert_true(answers[i].is_valid);
            assert_true(is_of_grammar(&answers[i], 0));
        }
        params.grammar_closes = false;
        run_rows(&options, &params, answers);
        for (int i = 0; i < ROWS; i++) {
            assert_int_equal(answers[i].is_valid, is_of_grammar(&answers[i], 0));
            assert_int_equal(answers[i].reason == FINISH_STOP, answers[i].is_valid);
            cut += !answers[i].is_valid;
        }
    }
    assert_true(cut > 0);
}

static void too_few_tokens_are_refused(void **state)
{
    (void)state;
    const struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    const int32_t prompt[] = {1, 2, 3};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    params.max_new_tokens = 5;
    assert_int_equal(engine_add(engine, 0, prompt, 3, &params, FAKE_VOCABULARY, NULL),
                     STATUS_INVALID);
    assert_string_equal(status_message(),
                        "max_tokens: 5; the shortest answer of this form takes 12");
    assert_int_equal(engine_unfinished(engine), 0);
    engine_destroy(engine);
}

static void the_grammar_counts_behind_a_marker(void **state)
{
    (void)state;
    static struct answer answers[ROWS];
    const struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    params.grammar_after[0] = THINK_END;
    params.grammar_after_count = 1;
    run_rows(&options, &params, answers);
    int thought = 0;
    for (int i = 0; i < ROWS; i++) {
        int from = 0;
        while (from < answers[i].count && answers[i].tokens[from] != THINK_END) {
            from++;
        }
        if (answers[i].reason == FINISH_STOP && from < answers[i].count) {
            assert_true(answers[i].is_valid);
            assert_true(is_of_grammar(&answers[i], from + 1));
            thought += from > 0;
        }
        assert_true(from < answers[i].count || !answers[i].is_valid);
    }
    assert_true(thought > 0);
}

/* The row's own list of tokens holds as well; where both leave nothing the row says so. */
static void own_masks_are_kept(void **state)
{
    (void)state;
    static struct answer answers[ROWS];
    const struct engine_options options = usual_options();
    struct generate_params params = usual_params();
    int32_t allowed[FAKE_VOCABULARY];
    for (int32_t i = 0; i < FAKE_VOCABULARY; i++) {
        if (i != 'g' - ' ') {
            allowed[params.allowed_id_count++] = i;
        }
    }
    params.allowed_ids = allowed;
    run_rows(&options, &params, answers);
    for (int i = 0; i < ROWS; i++) {
        assert_true(answers[i].is_valid);
        for (int j = 0; j < answers[i].count; j++) {
            assert_int_not_equal(answers[i].tokens[j], 'g' - ' ');
        }
    }
    params.allowed_id_count = 3;
    run_rows(&options, &params, answers);
    assert_int_equal(answers[0].reason, FINISH_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_of_the_grammar),
        cmocka_unit_test(nothing_beside_a_row_counts),
        cmocka_unit_test(steps_are_planned_ahead_where_it_pays),
        cmocka_unit_test(forced_tokens_have_log_probabilities),
        cmocka_unit_test(closing_tokens_have_log_probabilities),
        cmocka_unit_test(answers_are_closed_in_time),
        cmocka_unit_test(too_few_tokens_are_refused),
        cmocka_unit_test(the_grammar_counts_behind_a_marker),
        cmocka_unit_test(own_masks_are_kept),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
