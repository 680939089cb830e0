/* SPDX-License-Identifier: Apache-2.0 */
/* The order of rows and the prefix cache together: rows that begin alike stand far from each other
 * in the data, more beginnings than the cache has room for; each is computed once all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/order/row_order.h"
#include "scratch_folder.h"
#include "sluice/engine.h"

enum {
    BEGINNINGS = 200,
    ROWS = 5 * BEGINNINGS,
    BEGINNING = 480, /* tokens, a letter each; whole blocks */
    OWN = 20,
    ANSWER = 4,
    BLOCK = 16,
    AT_ONCE = 32,
    CACHE_TOKENS = BEGINNINGS * BEGINNING / 4, /* a quarter of all beginnings */
    END_TOKEN = 1,
};

/* The letters of a row's prompt: its beginning's, then its own. */
static void make_prompt(int64_t row, int32_t *prompt)
{
    const int64_t beginning = row % BEGINNINGS;
    for (int i = 0; i < BEGINNING + OWN; i++) {
        const int64_t key[] = {i < BEGINNING ? -1 - beginning : row, i};
        prompt[i] = 'a' + (int32_t)(hash_bytes(key, sizeof key, 0) % 26);
    }
}

static void write_data(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int64_t row = 0; row < ROWS; row++) {
        int32_t prompt[BEGINNING + OWN];
        char text[BEGINNING + OWN + 1] = "";
        make_prompt(row, prompt);
        for (int i = 0; i < BEGINNING + OWN; i++) {
            text[i] = (char)prompt[i];
        }
        fprintf(file, "{\"prompt\": \"%s\"}\n", text);
    }
    assert_int_equal(fclose(file), 0);
}

/* The rows in the order in which rank 0 hands them out. */
static void order_rows(const char *folder, bool as_read, int64_t *rows)
{
    char path[600];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    write_data(path);
    const struct record_reader_options reading = {.path = path, .limit = -1};
    struct record_reader *reader;
    struct row_order *order;
    struct record record = {0};
    bool more = true;
    assert_int_equal(record_reader_open(&reading, &reader), STATUS_OK);
    const struct row_order_options options = {
        .reader = reader, .directory = folder, .max_new_tokens = ANSWER, .as_read = as_read};
    assert_int_equal(row_order_create(&options, &order), STATUS_OK);
    for (bool ahead = true; ahead;) {
        assert_int_equal(row_order_read(order, &ahead), STATUS_OK);
    }
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
        assert_true(more);
        rows[i] = record.row;
    }
    assert_int_equal(row_order_next(order, &record, &more), STATUS_OK);
    assert_false(more);
    buffer_destroy(&record.bytes);
    row_order_destroy(order);
    record_reader_close(reader);
}

static void add_row(struct engine *engine, int64_t row)
{
    int32_t prompt[BEGINNING + OWN];
    struct generate_params params = {.samples = 1,
                                     .max_new_tokens = ANSWER,
                                     .ignore_eos = true,
                                     .sampling = {.top_p = 1, .logprobs = -1}};
    params.sampling.repetition_penalty = 1;
    make_prompt(row, prompt);
    assert_int_equal(engine_add(engine, row, prompt, BEGINNING + OWN, &params, 128, NULL),
                     STATUS_OK);
}

static void take_step(struct engine *engine)
{
    struct sample_result results[AT_ONCE] = {0};
    struct step_plan *plan;
    struct finished_sample *sample;
    assert_int_equal(engine_plan_step(engine, &plan), STATUS_OK);
    for (int i = 0; i < plan->batch.outputs; i++) {
        results[i].token = 2;
    }
    assert_int_equal(engine_complete_step(engine, plan, results), STATUS_OK);
    while ((sample = engine_next_finished(engine)) != NULL) {
        engine_release(engine, sample);
    }
}

/* Runs the rows in this order; returns the tokens that were computed. */
static int64_t compute(const int64_t *rows)
{
    static const int32_t ends[] = {END_TOKEN};
    const struct engine_options options = {.max_sequences = AT_ONCE,
                                           .max_batch_tokens = 1024,
                                           .kv_blocks = CACHE_TOKENS / BLOCK,
                                           .kv_block_tokens = BLOCK,
                                           .max_model_len = BEGINNING + OWN + ANSWER,
                                           .steps_in_flight = 1,
                                           .prefix_cache = true,
                                           .ends = ends,
                                           .end_count = 1};
    struct engine *engine;
    assert_int_equal(engine_create(&options, &engine), STATUS_OK);
    int added = 0;
    while (added < ROWS || engine_unfinished(engine) > 0) {
        while (added < ROWS && engine_waiting(engine) < AT_ONCE / 8 + 1) {
            add_row(engine, rows[added++]);
        }
        if (added == ROWS) {
            engine_end_supply(engine);
        }
        take_step(engine);
    }
    const int64_t tokens = engine_counters(engine).computed_tokens;
    assert_int_equal(engine_counters(engine).preemptions, 0);
    engine_destroy(engine);
    return tokens;
}

static void each_beginning_is_computed_once(void **state)
{
    const struct scratch_folder *scratch = *state;
    const int64_t own = (int64_t)ROWS * (OWN + ANSWER - 1);
    int64_t rows[ROWS];
    order_rows(scratch->path, true, rows);
    assert_int_equal(compute(rows), own + (int64_t)ROWS * BEGINNING);
    order_rows(scratch->path, false, rows);
    assert_int_equal(compute(rows), own + (int64_t)BEGINNINGS * BEGINNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_beginning_is_computed_once),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
