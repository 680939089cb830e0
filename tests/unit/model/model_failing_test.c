/* SPDX-License-Identifier: Apache-2.0 */
/* Models of every form opened, digested, checked and loaded, with each allocation and each call on
 * their files failing in turn: the call says so, and what was there is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "sluice/model.h"

enum { SLICES = 4, TOKENS = 4, BLOCK = 16 };

struct example {
    const char *path;
    int tp, tp_rank, pp, pp_rank;
    enum weight_format stored;
    enum task task; /* other than TASK_GENERATE: what is pooled is made of it */
};

/* One sequence of some tokens, all of them outputs. */
static status run_step(struct forward *forward, struct backend *backend, bool has_outputs)
{
    static const int32_t ids[TOKENS] = {1, 2, 3, 4}, positions[TOKENS] = {0, 1, 2, 3};
    static const int32_t start[] = {0, TOKENS}, context[] = {TOKENS}, blocks[] = {0},
                         places[] = {0};
    const struct batch batch = {.tokens = TOKENS,
                                .sequences = 1,
                                .outputs = has_outputs ? TOKENS : 0,
                                .token_ids = ids,
                                .positions = positions,
                                .query_start = start,
                                .context_length = context,
                                .block_table = blocks,
                                .block_table_stride = 1,
                                .state_place = places,
                                .output_rows = positions};
    struct device_buffer *logits;
    TRY(forward_step(forward, &batch, &logits));
    return backend->operations->synchronize(backend);
}

static status run_forward(struct model *model, const struct partition *partition,
                          const struct model_weights *weights, struct backend *backend)
{
    const struct cache_layout layout = partition_cache(partition, BLOCK, DTYPE_FLOAT32, 1);
    struct forward_options options = {.config = model_config(model),
                                      .partition = partition,
                                      .weights = weights,
                                      .backend = backend,
                                      .max_tokens = TOKENS,
                                      .max_outputs = TOKENS,
                                      .max_model_len = BLOCK};
    struct forward *forward;
    TRY(backend->operations->kv_create(backend, &layout, 1, &options.cache));
    status s = forward_create(&options, &forward);
    if (s == STATUS_OK) {
        s = run_step(forward, backend, !options.config->encoder);
        forward_destroy(forward);
    }
    backend->operations->kv_destroy(backend, options.cache);
    return s;
}

static status load_part(struct model *model, const struct example *example,
                        const struct partition *partition, struct backend *backend)
{
    struct model_weights *weights;
    TRY(model_load(model, partition, backend, example->stored, &weights));
    const bool is_whole = example->tp == 1 && example->pp == 1;
    status s = is_whole ? run_forward(model, partition, weights, backend) : STATUS_OK;
    model_weights_destroy(weights, partition, backend);
    return s;
}

static status load(struct model *model, const struct example *example)
{
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = TOKENS, .max_sequences = TOKENS, .threads = 1};
    struct partition partition;
    struct backend *backend;
    TRY(partition_create(model_config(model), example->tp, example->tp_rank, example->pp,
                         example->pp_rank, SLICES, &partition));
    status s = backend_create("cpu", &options, &backend);
    if (s == STATUS_OK) {
        s = load_part(model, example, &partition, backend);
        backend->operations->destroy(backend);
    }
    partition_destroy(&partition);
    return s;
}

static status pool(struct model *model, enum task task)
{
    static const float hidden[TOKENS * 1024];
    float out[1024];
    struct pooler *pooler;
    TRY(model_prepare(model, task));
    assert_in_range(model_config(model)->hidden, 1, 1024);
    assert_in_range(model_config(model)->answer_width, 1, 1024);
    TRY(pooler_create(model, &pooler));
    pooler_run(pooler, hidden, TOKENS, out);
    pooler_destroy(pooler);
    return STATUS_OK;
}

static status look_and_load(struct model *model, const struct example *example)
{
    char config[65], weights[65], text[65];
    TRY(model_digest(model, config, weights));
    TRY(model_text_digest(model, text));
    if (example->task != TASK_GENERATE) {
        TRY(pool(model, example->task));
    }
    TRY(model_check_weights(model));
    return load(model, example);
}

static status act(void *context)
{
    const struct example *example = context;
    struct model *model;
    TRY(model_open(example->path, &model));
    status s = look_and_load(model, example);
    model_close(model);
    return s;
}

/* Places that go on without what they were denied. */
static const char *const survivors[] = {
    "is_there",                         /* a tokenizer that cannot be looked for is not there */
    "model_locate",                     /* opened as it stands */
    "cpu_host_name_below",              /* the device is called CPU */
    "pthread_create read_ahead_create", /* nothing is read ahead */
    NULL};

static void walk(const struct example *example, unsigned kinds)
{
    const struct failing_walk how = {.name = example->path,
                                     .kinds = kinds,
                                     .act = act,
                                     .context = (void *)example,
                                     .optional = FAIL_CLOSE,
                                     .survived_by = survivors};
    assert_true(failing_walk(&how) > 3);
}

#define DATA SLUICE_TEST_DATA
static const struct example examples[] = {
    {DATA "/models/llama", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_GENERATE},
    {DATA "/models/qwen3_moe", 2, 1, 2, 1, WEIGHT_FLOAT32, TASK_GENERATE},
    {DATA "/models/gemma3", 1, 0, 1, 0, WEIGHT_BFLOAT16, TASK_GENERATE},
    {DATA "/encoders/bert", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_EMBED},
    {DATA "/heads/bert_cls", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_CLASSIFY},
    {DATA "/heads/llama_cls", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_CLASSIFY},
    {DATA "/heads/qwen3_embedding", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_EMBED},
    {DATA "/gguf/llama.gguf", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_GENERATE},
    {DATA "/models/lfm2", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_GENERATE}, /* states beside the cache */
    {DATA "/models/olmo2", 1, 0, 1, 0, WEIGHT_FLOAT32,
     TASK_GENERATE}, /* norms over all heads together */
    {DATA "/models/mixtral", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_GENERATE}, /* experts */
    {DATA "/models/ministral3", 1, 0, 1, 0, WEIGHT_FLOAT32,
     TASK_GENERATE}, /* queries that are scaled */
    {DATA "/models/phi3", 1, 0, 1, 0, WEIGHT_FLOAT32,
     TASK_GENERATE}, /* projections in one tensor */
    {DATA "/gguf/mixtral.gguf", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_GENERATE},
    {DATA "/models_fp8/llama_static", 1, 0, 1, 0, WEIGHT_FP8, TASK_GENERATE},
    {DATA "/models_fp8/mixtral_static", 1, 0, 1, 0, WEIGHT_FP8, TASK_GENERATE},
    {DATA "/models_fp8/mistral_activation", 1, 0, 1, 0, WEIGHT_FP8, TASK_GENERATE},
    {DATA "/models_fp8/qwen3_block", 1, 0, 1, 0, WEIGHT_FLOAT32, TASK_GENERATE},
};

static void without_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        walk(&examples[i], FAIL_MEMORY);
    }
}

static void without_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        walk(&examples[i], FAIL_FILES | FAIL_MAP | FAIL_THREAD);
    }
}

static void without_room_in_arenas(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        walk(&examples[i], FAIL_ARENA);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_room_in_arenas),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(without_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
