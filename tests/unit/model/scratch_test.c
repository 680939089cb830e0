/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that a plan counts on is what is then allocated: the forward pass says the bytes of
 * its buffers, the CPU backend at least what it works in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/cpu.h"
#include "scratch_folder.h"
#include "sluice/comm.h"
#include "sluice/model.h"

enum { SEQUENCES = 6, QUERY = 12, TOKENS = SEQUENCES * QUERY, BLOCK = 16, SLICES = 8 };

/* Rows are copied before products where their distance is a multiple of 512 values. */
static const char wide_config[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 512, \"intermediate_size\": "
    "4096, \"num_attention_heads\": 8, \"num_hidden_layers\": 1, \"vocab_size\": 64, "
    "\"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-5, \"torch_dtype\": \"float32\"}";

#define check(call) check_at(call, #call)
static void check_at(status s, const char *call)
{
    if (s != STATUS_OK) {
        fail_msg("%s: %s", call, status_message());
    }
}

/* ---- A backend that counts the buffers that it is asked for ---- */

static struct backend_operations counting_operations;
static status (*create_buffer)(struct backend *, size_t, struct device_buffer **);
static int64_t counted_bytes;

static status count_buffer(struct backend *backend, size_t bytes, struct device_buffer **out)
{
    counted_bytes += (int64_t)bytes;
    return create_buffer(backend, bytes, out);
}

static struct backend *counting_backend(void)
{
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = TOKENS, .max_sequences = SEQUENCES};
    struct backend *backend;
    check(backend_create("cpu", &options, &backend));
    counting_operations = *backend->operations;
    create_buffer = counting_operations.buffer_create;
    counting_operations.buffer_create = count_buffer;
    backend->operations = &counting_operations;
    counted_bytes = 0;
    return backend;
}

static int64_t worked_in(struct backend *backend)
{
    const struct cpu_backend *cpu = cpu_of(backend);
    int64_t bytes = 0;
    for (int i = 0; i < ROPE_TABLES; i++) {
        bytes += (int64_t)cpu->rope[i].region.bytes;
    }
    return bytes + (int64_t)(cpu->gathered.bytes + cpu->rounded.bytes + cpu->partials.bytes +
                             cpu->attention.bytes + cpu->experts.bytes);
}

/* ---- A rank ---- */

struct rank {
    struct partition partition;
    struct backend *backend;
    struct model_weights *weights;
    struct kv_cache *cache;
    struct communicator tensor, pipeline;
    struct forward *forward;
};

static void rank_create(const struct model_config *config, int tp, int tp_rank, int pp, int pp_rank,
                        struct rank *rank)
{
    *rank = (struct rank){
        .backend = counting_backend(), .tensor = {.size = tp}, .pipeline = {.size = pp}};
    check(partition_create(config, tp, tp_rank, pp, pp_rank, SLICES, &rank->partition));
    check(model_load_random(config, &rank->partition, rank->backend, WEIGHT_FLOAT32, 1,
                            &rank->weights));
    const struct cache_layout cache =
        partition_cache(&rank->partition, BLOCK, DTYPE_FLOAT32, SEQUENCES);
    check(rank->backend->operations->kv_create(rank->backend, &cache, SEQUENCES, &rank->cache));
    const struct forward_options options = {.config = config,
                                            .partition = &rank->partition,
                                            .weights = rank->weights,
                                            .backend = rank->backend,
                                            .cache = rank->cache,
                                            .tensor = tp > 1 ? &rank->tensor : NULL,
                                            .pipeline = pp > 1 ? &rank->pipeline : NULL,
                                            .max_tokens = TOKENS,
                                            .max_outputs = SEQUENCES,
                                            .max_model_len = BLOCK};
    check(forward_create(&options, &rank->forward));
}

static void rank_destroy(struct rank *rank)
{
    forward_destroy(rank->forward);
    rank->backend->operations->kv_destroy(rank->backend, rank->cache);
    model_weights_destroy(rank->weights, &rank->partition, rank->backend);
    rank->backend->operations->destroy(rank->backend);
    partition_destroy(&rank->partition);
}

static struct step_shape shape_of(const struct model_config *config, const struct rank *rank)
{
    const struct step_limits limits = {
        .compute = DTYPE_FLOAT32, .stored = WEIGHT_FLOAT32, .tokens = TOKENS, .outputs = SEQUENCES};
    return forward_step_shape(config, &rank->partition, &limits);
}

/* Prompts that fill a step. */
static void run_full_step(struct rank *rank, bool has_outputs)
{
    int32_t ids[TOKENS], positions[TOKENS], start[SEQUENCES + 1], context[SEQUENCES];
    int32_t blocks[SEQUENCES], outputs[SEQUENCES], places[SEQUENCES];
    start[0] = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        for (int i = 0; i < QUERY; i++) {
            ids[s * QUERY + i] = (s + i) % 50;
            positions[s * QUERY + i] = i;
        }
        start[s + 1] = (s + 1) * QUERY;
        context[s] = QUERY;
        blocks[s] = s;
        places[s] = s;
        outputs[s] = start[s + 1] - 1;
    }
    const struct batch batch = {.tokens = TOKENS,
                                .sequences = SEQUENCES,
                                .outputs = has_outputs ? SEQUENCES : 0,
                                .token_ids = ids,
                                .positions = positions,
                                .query_start = start,
                                .context_length = context,
                                .block_table = blocks,
                                .block_table_stride = 1,
                                .state_place = places,
                                .output_rows = outputs};
    struct device_buffer *logits;
    check(forward_step(rank->forward, &batch, &logits));
}

/* ---- Tests ---- */

static void said_is_allocated(const struct model_config *config, const char *name)
{
    static const int layouts[][4] = {/* tp, its rank, pp, its rank */
                                     {1, 0, 1, 0},
                                     {2, 0, 1, 0},
                                     {2, 1, 1, 0},
                                     {4, 3, 1, 0}};
    for (size_t i = 0; i < COUNT_OF(layouts); i++) {
        struct rank rank;
        const int *layout = layouts[i];
        rank_create(config, layout[0], layout[1], layout[2], layout[3], &rank);
        const struct step_shape shape = shape_of(config, &rank);
        struct scratch_bytes said = {0};
        check(forward_add_scratch(config, &rank.partition, backend_kind_host(), &shape, &said));
        if (said.rows != counted_bytes || said.work != 0) {
            fail_msg("%s, tensor rank %d of %d: %lld bytes said, %lld allocated", name, layout[1],
                     layout[0], (long long)said.rows, (long long)counted_bytes);
        }
        rank_destroy(&rank);
    }
}

static void steps_stay_within(const struct model_config *config, const char *name)
{
    struct rank rank;
    rank_create(config, 1, 0, 1, 0, &rank);
    run_full_step(&rank, !config->encoder);
    const struct backend_kind *kind = backend_kind_host();
    const struct step_shape shape = shape_of(config, &rank);
    struct scratch_bytes said = {0};
    check(forward_add_scratch(config, &rank.partition, kind, &shape, &said));
    kind->add_scratch(&shape, &said);
    const int64_t planned = said.rows + said.rows / kind->row_margin + said.work;
    const int64_t allocated = counted_bytes + worked_in(rank.backend);
    if (allocated > planned) {
        fail_msg("%s: %lld bytes planned, %lld allocated", name, (long long)planned,
                 (long long)allocated);
    }
    rank_destroy(&rank);
}

static void each_model(void (*test)(const struct model_config *config, const char *name))
{
    static const char *const names[] = {
        "models/llama",     "models/gemma3",      "models/phi3",        "models/mixtral",
        "models/qwen3_moe", "models/lfm2",        "models/qwen3_5",     "models/granite_hybrid",
        "encoders/bert",    "models/deepseek_v2", "models/deepseek_v3", "models/falcon_h1",
        "models/nemotron_h"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[1024];
        struct model *model;
        snprintf(path, sizeof path, "%s/%s", SLUICE_TEST_DATA, names[i]);
        check(model_open(path, &model));
        test(model_config(model), names[i]);
        model_close(model);
    }
    void *folder;
    struct model *wide;
    assert_int_equal(scratch_create(&folder), 0);
    check(model_open(scratch_write(&folder, "config.json", wide_config, sizeof wide_config - 1),
                     &wide));
    test(model_config(wide), "wide");
    model_close(wide);
    scratch_destroy(&folder);
}

static void buffers_are_what_was_said(void **state)
{
    (void)state;
    each_model(said_is_allocated);
}

static void a_full_step_stays_within_the_plan(void **state)
{
    (void)state;
    each_model(steps_stay_within);
}

/* More ranks, more memory for what is between them: NCCL's on devices of their own, and rows of
 * logits that the first rank gathers. */
static void communication_counts(void **state)
{
    (void)state;
    struct step_shape shape = {.tokens = 100,
                               .outputs = 10,
                               .hidden = 64,
                               .ranks = 1,
                               .vocabulary = 1000,
                               .vocabulary_rows = 500};
    struct scratch_bytes alone = {0}, gathers = {0}, other = {0}, stages = {0};
    const struct backend_kind *gpu = backend_kind_find("cuda");
    comm_add_scratch(gpu, &shape, 1, &alone);
    assert_true(alone.rows == 0 && alone.work == 0);
    comm_add_scratch(gpu, &shape, 2, &stages);
    assert_int_equal(stages.rows, 0);
    assert_int_equal(comm_largest_send(&shape), 100 * 64 * 4);
    assert_int_equal(stages.work, (512 << 20) + 2 * 100 * 64 * 4);
    shape.ranks = 2;
    comm_add_scratch(gpu, &shape, 1, &gathers);
    assert_int_equal(gathers.rows, 10 * 500 * 4);
    /* NCCL's own, its scratch, and two slots and flags that other GPUs reach. */
    assert_int_equal(gathers.work, (512 << 20) + (32 << 20) + 2 * (8 << 20) + (64 << 10));
    shape.rank = 1;
    comm_add_scratch(backend_kind_host(), &shape, 2, &other);
    assert_true(other.rows == 0 && other.work == 0);
}

/* A GPU that samples has a mask of the vocabulary for each row, and half more (sample.c). */
static void masks_count(void **state)
{
    (void)state;
    struct step_shape shape = {.tokens = 100, .outputs = 64, .hidden = 64, .slices = 1};
    struct scratch_bytes earlier = {0}, last = {0};
    const struct backend_kind *gpu = backend_kind_find("cuda");
    gpu->add_scratch(&shape, &earlier);
    shape.vocabulary = 1001;
    gpu->add_scratch(&shape, &last);
    assert_int_equal(last.work - earlier.work, 64 * 32 * 4 * 3 / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_count),
        cmocka_unit_test(buffers_are_what_was_said),
        cmocka_unit_test(a_full_step_stays_within_the_plan),
        cmocka_unit_test(communication_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
