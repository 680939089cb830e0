/* The plan: what is chosen when memory is plenty, when it is short, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/job.h"

static const char model_path[] = SLUICE_SOURCE_DIR "/data/small-model";
static const int64_t PLENTY = (int64_t)64 << 30;

struct fixture {
    struct job job;
    struct model *model;
};

static int start(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    *state = &fixture;
    if (job_initialize(&fixture.job) != STATUS_OK ||
        model_open(model_path, &fixture.model) != STATUS_OK) {
        return -1;
    }
    fixture.job.model.path = model_path;
    fixture.job.engine.device = DEVICE_CPU;
    return 0;
}

static int end(void **state)
{
    struct fixture *fixture = *state;
    model_close(fixture->model);
    job_destroy(&fixture->job);
    return 0;
}

static status plan(const struct fixture *fixture, int ranks, int64_t host_memory, struct plan *out)
{
    return plan_create(&fixture->job, fixture->model, ranks, ranks, host_memory, NULL, out);
}

static void assert_refused(const struct fixture *fixture, int ranks, int64_t host_memory,
                           const char *message)
{
    struct plan refused;
    assert_int_equal(plan(fixture, ranks, host_memory, &refused), STATUS_INVALID);
    if (strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\" in \"%s\"", message, status_message());
    }
}

static void plenty_means_replicas(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    assert_int_equal(plan(fixture, 4, PLENTY, &made), STATUS_OK);
    assert_string_equal(made.device, "cpu");
    assert_int_equal(made.dp, 4);
    assert_int_equal(made.tp, 1);
    assert_int_equal(made.pp, 1);
    assert_int_equal(made.slices, 8);
    assert_int_equal(made.max_sequences, 64);
    assert_int_equal(made.max_batch_tokens, 512);
    assert_int_equal(made.kv_block_tokens, 16);
    int positions = model_config(fixture->model)->max_positions;
    assert_int_equal(made.max_model_len, positions);
    /* Not more cache than all sequences at full length fill. */
    assert_int_equal(made.kv_blocks, 64 * ((positions + 15) / 16));
    assert_true(made.weight_bytes + made.activation_bytes + made.kv_bytes <= made.memory_bytes);
}

/* Memory of a host with `ranks` ranks where one replica of that many ranks fits and fewer do not.
 */
static void short_memory_means_tensor_parallelism(void **state)
{
    struct fixture *fixture = *state;
    struct plan whole, cut;
    assert_int_equal(plan(fixture, 1, PLENTY, &whole), STATUS_OK);
    int64_t block = whole.kv_bytes / whole.kv_blocks;
    int64_t least =
        whole.weight_bytes + whole.activation_bytes + block * ((whole.max_model_len + 15) / 16);
    int64_t enough = (int64_t)((double)least / 0.9) + 4096;
    assert_int_equal(plan(fixture, 1, enough, &cut), STATUS_OK);
    assert_refused(fixture, 1, enough * 9 / 10, "use tp >= 2");
    assert_int_equal(plan(fixture, 4, 4 * (enough * 9 / 10), &cut), STATUS_OK);
    assert_int_equal(cut.tp, 2);
    assert_int_equal(cut.pp, 1);
    assert_int_equal(cut.dp, 2);
    assert_refused(fixture, 4, 4 << 20, "no layout of this model fits");
}

static void cache_follows_memory(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    int64_t memory = (int64_t)256 << 20;
    assert_int_equal(plan(fixture, 1, memory, &made), STATUS_OK);
    assert_true(made.kv_bytes <= made.memory_bytes / 4);
    assert_true(made.kv_blocks * 16 >= made.max_model_len);
    fixture->job.engine.kv_memory = (int64_t)32 << 20;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_true(made.kv_bytes <= fixture->job.engine.kv_memory);
    assert_true(made.kv_bytes + made.kv_bytes / made.kv_blocks > fixture->job.engine.kv_memory);
    fixture->job.engine.kv_memory = 4096;
    assert_refused(fixture, 1, PLENTY, "engine.kv_memory: a sequence of");
    fixture->job.engine.kv_memory = PLENTY;
    assert_refused(fixture, 1, PLENTY, "engine.kv_memory: ");
}

static void layouts_that_are_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    fixture->job.layout.tp = 2;
    fixture->job.layout.pp = 3;
    assert_int_equal(plan(fixture, 12, PLENTY, &made), STATUS_OK);
    assert_int_equal(made.dp, 2);
    assert_refused(fixture, 4, PLENTY,
                   "4 ranks cannot be divided into replicas of tp 2 x pp 3 = 6");
    fixture->job.layout.pp = model_config(fixture->model)->layers + 1;
    assert_refused(fixture, 2 * (int)fixture->job.layout.pp, PLENTY, "layers");
    fixture->job.layout.tp_slices = 1;
    assert_refused(fixture, 2, PLENTY, "layout.tp: 2 does not divide layout.tp_slices");
}

static void sizes_that_contradict(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    fixture->job.engine.max_batch_tokens = 8; /* bounds the sequences that are left to auto */
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_int_equal(made.max_sequences, 8);
    fixture->job.engine.max_sequences = 9;
    assert_refused(fixture, 1, PLENTY, "engine.max_batch_tokens: 8 is less than");
    fixture->job.engine.max_batch_tokens = -1;
    fixture->job.engine.max_sequences = 1000;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_int_equal(made.max_batch_tokens, 1000);
    fixture->job.model.max_model_len = 100;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_int_equal(made.max_model_len, 100);
    fixture->job.model.max_model_len = 1 << 20;
    assert_refused(fixture, 1, PLENTY, "model.max_model_len: 1048576; the model has");
    fixture->job.model.max_model_len = -1;
    fixture->job.model.dtype = DTYPE_FLOAT8_E4M3;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_UNSUPPORTED);
}

static void system_memory_is_found(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    assert_int_equal(plan(fixture, 1, 0, &made), STATUS_OK);
    assert_true(made.memory_bytes > made.weight_bytes);
}

static void description_names_every_rank(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    struct buffer text = {0};
    fixture->job.layout.tp = 2;
    fixture->job.layout.pp = 2;
    assert_int_equal(plan(fixture, 8, PLENTY, &made), STATUS_OK);
    assert_int_equal(plan_describe(&made, fixture->model, &text), STATUS_OK);
    assert_non_null(strstr(text.data, "8 = dp 2 x tp 2 x pp 2; sums in 8 slices"));
    const char *table = strstr(text.data, "\n\n");
    assert_non_null(table);
    int lines = 0;
    for (const char *c = table + 2; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    assert_int_equal(lines, 1 + 4);
    buffer_destroy(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plenty_means_replicas, start, end),
        cmocka_unit_test_setup_teardown(short_memory_means_tensor_parallelism, start, end),
        cmocka_unit_test_setup_teardown(cache_follows_memory, start, end),
        cmocka_unit_test_setup_teardown(layouts_that_are_asked_for, start, end),
        cmocka_unit_test_setup_teardown(sizes_that_contradict, start, end),
        cmocka_unit_test_setup_teardown(system_memory_is_found, start, end),
        cmocka_unit_test_setup_teardown(description_names_every_rank, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
