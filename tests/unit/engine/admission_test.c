/* SPDX-License-Identifier: Apache-2.0 */
/* Who may start, beside a page of obvious code: what each sequence needs, the forecast of it, what
 * is kept free where lengths are guessed, and the credit that spreads starts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/admission/admission.h"

enum { BLOCKS = 300, BLOCK = 4, MODEL_LEN = 200, STEPS = 2, SEQUENCES = 24, ROUNDS = 400 };

static uint64_t drawn;

static int below(int limit)
{
    int64_t key = (int64_t)++drawn;
    return (int)(hash_bytes(&key, sizeof key, 17) % (uint64_t)limit);
}

static const struct engine_options options = {.kv_blocks = BLOCKS,
                                              .kv_block_tokens = BLOCK,
                                              .max_model_len = MODEL_LEN,
                                              .steps_in_flight = STEPS};

static struct engine_row plain_row(int prompt, int most)
{
    return (struct engine_row){.work = WORK_SAMPLE,
                               .prompt_count = prompt,
                               .params = {.max_new_tokens = most, .samples = 1}};
}

static struct admission new_admission(void)
{
    struct admission admission = {0};
    assert_int_equal(admission_create(&options, &admission), STATUS_OK);
    return admission;
}

/* ---- Which lengths are known ---- */

static void known_lengths_teach_nothing(void **state)
{
    (void)state;
    static const struct {
        int prompt, most, stops, stop_ids;
        bool ignores_end;
        enum task_work work;
        int limit; /* that is noted; 0: the length is known */
    } cases[] = {
        {10, 50, 0, 0, false, WORK_SAMPLE, 50},
        {10, 50, 0, 0, true, WORK_SAMPLE, 0}, /* nothing ends it before */
        {10, 50, 1, 0, true, WORK_SAMPLE, 50},
        {10, 50, 0, 1, true, WORK_SAMPLE, 50},
        {10, 50, 0, 0, false, WORK_READ, 0},
        {10, 50, 0, 0, false, WORK_POOL, 0},
        {10, 500, 0, 0, false, WORK_SAMPLE, 190}, /* the context is full first */
        {190, 50, 0, 0, false, WORK_SAMPLE, 10},
        {10, 2 * BLOCK, 0, 0, false, WORK_SAMPLE, 0}, /* so short that it does not matter */
        {10, 2 * BLOCK + 1, 0, 0, false, WORK_SAMPLE, 2 * BLOCK + 1},
        {MODEL_LEN - 2 * BLOCK, 50, 0, 0, false, WORK_SAMPLE, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct admission admission = new_admission();
        struct engine_row row = plain_row(cases[i].prompt, cases[i].most);
        row.work = cases[i].work;
        row.params.stop_count = cases[i].stops;
        row.params.stop_id_count = cases[i].stop_ids;
        row.params.ignore_eos = cases[i].ignores_end;
        admission_note_row(&admission, &row);
        assert_int_equal(admission.lengths.longest, cases[i].limit);
        const enum finish_reason reasons[] = {FINISH_STOP, FINISH_LENGTH, FINISH_ERROR};
        for (int j = 0; j < 3; j++) {
            const struct sequence sequence = {
                .row = &row, .finished = {.reason = reasons[j], .completion_tokens = 5 + j}};
            admission_note_end(&admission, &sequence);
        }
        assert_int_equal(admission.end_count, 3);
        const double counted = cases[i].limit > 0;
        assert_true(admission.lengths.total == 2 * counted); /* not the error */
        assert_true(admission.lengths.ended[5] == counted && admission.lengths.cut[6] == counted);
        assert_true(admission.lengths.cut[5] == 0 && admission.lengths.ended[6] == 0);
        admission_destroy(&admission);
    }
}

/* ---- Rounds ---- */

static void full_and_as_before_is_not_tried(void **state)
{
    (void)state;
    struct admission admission = new_admission();
    struct sequence_list running = {0};
    struct admission_step step = {.number = 100, .prompt_tokens = 1};
    assert_true(admission_begin(&admission, &running, &step));
    assert_int_equal(admission.round_step, 100);
    const int span = admission.forecast.span;
    assert_int_equal(span, BLOCK);
    admission.is_full = true;
    step.number = 100 + span - 1;
    assert_false(admission_begin(&admission, &running, &step));
    assert_true(admission.is_full);
    step.number = 100 + span; /* a span later */
    assert_true(admission_begin(&admission, &running, &step));
    assert_false(admission.is_full);
    admission.is_full = true;
    admission.end_count++; /* something has ended */
    assert_true(admission_begin(&admission, &running, &step));
    assert_int_equal(admission.round_ends, admission.end_count);

    admission.is_saving = true;
    admission.credit = 0.5;
    assert_true(admission_begin(&admission, &running, &step));
    assert_false(admission.is_saving);
    admission.is_saving = true;
    admission.credit = 0;
    assert_false(admission_begin(&admission, &running, &step));
    assert_true(admission.is_saving);
    step.is_last = true; /* there is nothing to save for */
    assert_true(admission_begin(&admission, &running, &step));
    assert_true(admission.is_last);
    admission_destroy(&admission);
}

static void credit_is_saved_up_and_spent(void **state)
{
    (void)state;
    struct admission admission = new_admission();
    const double step = 1.05 * BLOCKS * BLOCK / STEPS;
    assert_true(fabs(admission.credit - 16 * step) < 1e-6);
    admission_note_step(&admission);
    assert_true(fabs(admission.credit - 16 * step) < 1e-6); /* no more than that */
    struct engine_row row = plain_row(20, 30);
    row.params.ignore_eos = true;
    int32_t blocks[3] = {0, 1, 2};
    struct sequence sequence = {
        .row = &row, .count = 20, .blocks = blocks, .block_count = 3, .published = 3};
    struct sequence_list running = {0};
    const struct admission_step now = {.number = 1, .prompt_tokens = 1};
    assert_true(admission_begin(&admission, &running, &now));
    assert_true(admission_fits(&admission, &sequence));
    admission_include(&admission, &sequence);
    /* 30 steps of 20 positions that grow to 50, but for 12 that are there. */
    assert_true(fabs(admission.credit - (16 * step - 30 * (20 - 12 + 15))) < 1e-6);
    admission.credit = 0;
    assert_false(admission_fits(&admission, &sequence));
    assert_true(admission.is_saving);
    assert_false(admission.is_full);
    row.params.ignore_eos = false; /* guesses spread by themselves */
    assert_true(admission_fits(&admission, &sequence));
    assert_false(admission.is_saving);
    const double guessed = admission.guessed;
    admission_include(&admission, &sequence);
    assert_true(admission.credit == 0 && admission.guessed > guessed);
    row.params.ignore_eos = true;
    admission.is_last = true;
    assert_true(admission_fits(&admission, &sequence));
    admission_note_step(&admission);
    assert_true(fabs(admission.credit - step) < 1e-6);
    row.work = WORK_READ; /* does not grow, and takes one step */
    admission_include(&admission, &sequence);
    assert_true(fabs(admission.credit - (step - 8)) < 1e-6);
    admission_destroy(&admission);
}

/* ---- Beside obvious code ---- */

static struct engine_row rows[SEQUENCES];
static struct sequence sequences[SEQUENCES];
static int32_t blocks_of[SEQUENCES][MODEL_LEN / BLOCK];

static void draw_sequence(int i)
{
    struct engine_row *row = &rows[i];
    *row = plain_row(1 + below(80), 1 + below(300));
    row->work = below(5) == 0 ? WORK_READ : WORK_SAMPLE;
    row->params.ignore_eos = below(2) == 0;
    row->params.min_tokens = below(3) == 0 ? below(row->params.max_new_tokens + 1) : 0;
    const int room = MODEL_LEN - row->prompt_count;
    const int most = row->params.max_new_tokens < room ? row->params.max_new_tokens : room;
    struct sequence *s = &sequences[i];
    *s = (struct sequence){.row = row, .order = 1000 * below(1000) + i, .blocks = blocks_of[i]};
    s->count = row->prompt_count + (row->work == WORK_SAMPLE ? below(most) : 0);
    s->computed = below(2) == 0 ? s->count - 1 : below(s->count);
    s->block_count = s->computed / BLOCK;
    s->published = s->block_count > 0 ? below(s->block_count + 1) : 0;
    for (int j = 0; j < s->block_count; j++) { /* some are others' as well */
        blocks_of[i][j] = j < 3 ? j : 10 + (i * 11 + j) % (BLOCKS - 10);
    }
}

static bool is_known(const struct engine_row *row)
{
    const int room = MODEL_LEN - row->prompt_count;
    const int most = row->params.max_new_tokens < room ? row->params.max_new_tokens : room;
    return row->work == WORK_READ || row->params.ignore_eos || most <= 8;
}

static struct forecast_need model_need(const struct lengths *lengths, const struct sequence *s,
                                       int ahead)
{
    const struct engine_row *row = s->row;
    struct forecast_need need = {.tokens = s->count, .steps = 1 + ahead};
    need.is_read = row->work == WORK_READ;
    if (need.is_read) {
        return need;
    }
    const int output = s->count - row->prompt_count, room = MODEL_LEN - row->prompt_count;
    int end = row->params.max_new_tokens < room ? row->params.max_new_tokens : room;
    need.is_guess = !is_known(row);
    if (need.is_guess) {
        const double turns = (double)(s->order % (1 << 24)) * (sqrt(5) - 1) / 2;
        const int least = row->params.min_tokens > output ? row->params.min_tokens : output;
        end = lengths_predict(lengths, turns - floor(turns), least, end);
    }
    need.steps = (end - output < 1 ? 1 : end - output) + ahead;
    return need;
}

static double model_square(const struct forecast_need *need)
{
    const double blocks = (need->tokens + need->steps) / (double)BLOCK;
    return need->is_guess ? blocks * blocks : 0;
}

static int longest_first(const void *a, const void *b)
{
    const struct sequence *left = *(struct sequence *const *)a;
    const struct sequence *right = *(struct sequence *const *)b;
    return right->need.steps - left->need.steps;
}

/* The forecast of the first `count` sequences, and the sum of squares of what is guessed. */
static double model_forecast(const struct admission *admission, int count, int asked,
                             const struct admission_step *step, struct forecast *out)
{
    struct sequence *order[SEQUENCES];
    int64_t prompts = 0;
    int longest = asked > 1 ? asked : 1;
    double guessed = 0;
    for (int i = 0; i < count; i++) {
        struct sequence *s = &sequences[i];
        const int rest = s->count - s->computed;
        prompts += rest > 1 ? rest : 0;
        s->need =
            model_need(&admission->lengths, s, rest > 1 ? (int)(prompts / step->prompt_tokens) : 0);
        longest = s->need.steps > longest ? s->need.steps : longest;
        guessed += model_square(&s->need);
        order[i] = s;
    }
    qsort(order, (size_t)count, sizeof order[0], longest_first);
    forecast_begin(out, longest);
    for (int i = 0; i < count; i++) {
        forecast_add(out, &order[i]->need, order[i]->blocks,
                     step->shares ? order[i]->published : 0);
    }
    forecast_settle(out);
    return guessed;
}

static void link_running(struct sequence_list *list, int count)
{
    *list = (struct sequence_list){0};
    for (int i = 0; i < count; i++) {
        sequences[i].previous = list->last;
        sequences[i].next = NULL;
        *(list->last != NULL ? &list->last->next : &list->first) = &sequences[i];
        list->last = &sequences[i];
        list->count++;
    }
}

static void check_forecast(const struct admission *admission, const struct forecast *expected)
{
    assert_int_equal(admission->forecast.span, expected->span);
    assert_memory_equal(admission->forecast.held, expected->held, sizeof expected->held);
}

/* Those that are not running ask one after the other; returns how many fit. */
static int ask_the_others(struct admission *admission, struct forecast *expected, int running,
                          double guessed)
{
    int fitting = 0;
    for (int i = running; i < SEQUENCES; i++) {
        struct sequence *s = &sequences[i];
        admission->credit = 1e9;
        const struct forecast_need need = model_need(&admission->lengths, s, 0);
        const int64_t limit = BLOCKS - (int64_t)ceil(0.25 * sqrt(guessed));
        const bool fits = forecast_fits(expected, &need, s->blocks, s->block_count, limit);
        assert_int_equal(admission_fits(admission, s), fits);
        assert_int_equal(admission->is_full, !fits);
        assert_true(admission->longest >= need.steps);
        if (fits) {
            admission_include(admission, s);
            forecast_include(expected, &need, s->blocks, s->published);
            guessed += model_square(&need);
            fitting++;
        }
        assert_true(fabs(admission->guessed - guessed) <= 1e-9 * guessed);
        assert_true(is_known(s->row) == (admission->credit < 1e9) || !fits);
        check_forecast(admission, expected);
    }
    return fitting;
}

static void rounds_are_those_of_obvious_code(void **state)
{
    (void)state;
    struct admission admission = new_admission();
    struct forecast expected;
    int fitting = 0, asked = 0;
    assert_int_equal(forecast_create(BLOCKS, BLOCK, &expected), STATUS_OK);
    for (int round = 0; round < ROUNDS; round++) {
        const int running = below(SEQUENCES);
        for (int i = 0; i < SEQUENCES; i++) {
            draw_sequence(i);
            admission_note_row(&admission, &rows[i]);
        }
        struct sequence_list list;
        link_running(&list, running);
        const struct admission_step step = {
            .number = round * 1000, .prompt_tokens = 1 + below(100), .shares = below(2) == 0};
        const int before = admission.longest;
        assert_true(admission_begin(&admission, &list, &step));
        const double guessed = model_forecast(&admission, running, before, &step, &expected);
        assert_true(fabs(admission.guessed - guessed) <= 1e-9 * guessed);
        check_forecast(&admission, &expected);
        fitting += ask_the_others(&admission, &expected, running, guessed);
        asked += SEQUENCES - running;
        for (int i = 0; i < running; i++) {
            sequences[i].finished =
                (struct finished_sample){.reason = below(2) == 0 ? FINISH_STOP : FINISH_LENGTH,
                                         .completion_tokens = 1 + below(100)};
            admission_note_end(&admission, &sequences[i]);
        }
    }
    assert_true(fitting > asked / 10 && fitting < asked * 9 / 10); /* both are tried */
    forecast_destroy(&expected);
    admission_destroy(&admission);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_lengths_teach_nothing),
        cmocka_unit_test(full_and_as_before_is_not_tried),
        cmocka_unit_test(credit_is_saved_up_and_spent),
        cmocka_unit_test(rounds_are_those_of_obvious_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
