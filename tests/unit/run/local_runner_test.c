/* SPDX-License-Identifier: Apache-2.0 */
/* One rank without MPI, on the small model: logits whatever the chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/local_runner.h"

enum { IDS = 50 };

static void prepare(struct job *job, int64_t chunk)
{
    assert_int_equal(job_initialize(job), STATUS_OK);
    job->model.path = SLUICE_SOURCE_DIR "/data/small-model";
    job->model.max_model_len = 64;
    job->engine.device = backend_kind_host();
    job->engine.max_sequences = chunk;
    job->engine.max_batch_tokens = chunk;
    job->engine.prefix_cache = false;
}

struct rows {
    float *values;
    int64_t next, width;
};

static status keep_rows(void *context, int64_t first, int64_t count, const float *logits)
{
    struct rows *rows = context;
    assert_int_equal(first, rows->next);
    memcpy(rows->values + first * rows->width, logits,
           (size_t)(count * rows->width) * sizeof *logits);
    rows->next += count;
    return STATUS_OK;
}

static void logits_do_not_depend_on_chunks(void **state)
{
    (void)state;
    static const int64_t chunks[] = {64, 7, 1};
    int32_t ids[IDS];
    for (int i = 0; i < IDS; i++) {
        ids[i] = (i * 37 + 5) % 1000;
    }
    float *expected = NULL;
    for (size_t c = 0; c < COUNT_OF(chunks); c++) {
        struct job job;
        struct local_runner *runner;
        prepare(&job, chunks[c]);
        assert_int_equal(local_runner_create(&job, &runner), STATUS_OK);
        int width = model_config(local_runner_model(runner))->vocabulary;
        struct rows rows = {.values = calloc((size_t)(IDS * width), sizeof(float)), .width = width};
        assert_non_null(rows.values);
        assert_int_equal(local_runner_logits(runner, ids, IDS, keep_rows, &rows), STATUS_OK);
        assert_int_equal(rows.next, IDS);
        if (expected == NULL) {
            expected = rows.values;
            assert_true(expected[0] != expected[1]);
        } else {
            assert_memory_equal(rows.values, expected, (size_t)(IDS * width) * sizeof(float));
            free(rows.values);
        }
        local_runner_destroy(runner);
        job_destroy(&job);
    }
    free(expected);
}

static status refuse_rows(void *context, int64_t first, int64_t count, const float *logits)
{
    (void)context, (void)first, (void)count, (void)logits;
    return status_fail(STATUS_IO, "no room");
}

static void wrong_ids_are_refused(void **state)
{
    (void)state;
    struct job job;
    struct local_runner *runner;
    prepare(&job, 64);
    assert_int_equal(local_runner_create(&job, &runner), STATUS_OK);
    int32_t ids[65] = {0};
    assert_int_equal(local_runner_logits(runner, ids, 0, refuse_rows, NULL), STATUS_INVALID);
    assert_int_equal(local_runner_logits(runner, ids, 65, refuse_rows, NULL), STATUS_INVALID);
    assert_int_equal(local_runner_logits(runner, ids, 2, refuse_rows, NULL), STATUS_IO);
    ids[1] = -1;
    assert_int_equal(local_runner_logits(runner, ids, 2, refuse_rows, NULL), STATUS_INVALID);
    ids[1] = model_config(local_runner_model(runner))->vocabulary;
    assert_int_equal(local_runner_logits(runner, ids, 2, refuse_rows, NULL), STATUS_INVALID);
    local_runner_destroy(runner);
    job_destroy(&job);
}

static void a_config_alone_is_no_model(void **state)
{
    (void)state;
    struct job job;
    struct local_runner *runner;
    prepare(&job, 8);
    job.model.path = SLUICE_SOURCE_DIR "/data/small-model/config.json";
    assert_int_equal(local_runner_create(&job, &runner), STATUS_INVALID);
    job_destroy(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_do_not_depend_on_chunks),
        cmocka_unit_test(wrong_ids_are_refused),
        cmocka_unit_test(a_config_alone_is_no_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
