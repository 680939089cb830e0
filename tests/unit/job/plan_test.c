/* SPDX-License-Identifier: Apache-2.0 */
/* The plan: what is chosen when memory is plenty, when it is short, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/job.h"
#include "unit/scratch_folder.h"

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
    fixture.job.engine.device = backend_kind_host();
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
    assert_string_equal(made.kind->name, "cpu");
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

/* States of all sequences that run at once are there from the start, beside weights. */
static void states_of_sequences_count(void **state)
{
    struct fixture *fixture = *state;
    struct plan without, made, twice;
    assert_int_equal(plan(fixture, 1, PLENTY, &without), STATUS_OK);
    assert_true(without.state_places == 0 && without.state_bytes == 0);
    model_close(fixture->model);
    assert_int_equal(model_open(SLUICE_TEST_DATA "/models/lfm2", &fixture->model), STATUS_OK);
    fixture->job.engine.max_sequences = 100;
    fixture->job.engine.prefix_cache = true;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_true(made.kept_states == 25 && made.state_places == 125);
    fixture->job.engine.prefix_cache = false;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_int_equal(made.kept_states, 0);
    const struct model_config *config = model_config(fixture->model);
    assert_int_equal(made.state_places, 100);
    /* Three layers of short convolutions keep two values of each channel in float32. */
    assert_int_equal(made.state_bytes, 100 * 3 * 2 * config->hidden * 4);
    fixture->job.layout.tp = 2;
    assert_int_equal(plan(fixture, 2, PLENTY, &twice), STATUS_OK);
    assert_int_equal(twice.state_bytes, made.state_bytes / 2);
    /* The blocks' memory is what is left beside them. */
    fixture->job.layout.tp = -1;
    fixture->job.engine.max_sequences = 65536;
    const int64_t states = 65536 * (made.state_bytes / 100);
    assert_refused(fixture, 1, states, "and states of 65536 sequences 50.3 MB a rank");
    fixture->job.engine.max_batch_tokens = 65536;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_true(made.weight_bytes + made.activation_bytes + made.state_bytes + made.kv_bytes <=
                made.memory_bytes);
    assert_int_equal(made.state_bytes, states);
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

/* The same memory a rank: with two ranks a host tp 2 is the answer, with one stages go across. */
static void tensor_parallelism_stays_within_hosts(void **state)
{
    struct fixture *fixture = *state;
    struct plan whole, cut;
    assert_int_equal(plan(fixture, 1, PLENTY, &whole), STATUS_OK);
    int64_t block = whole.kv_bytes / whole.kv_blocks;
    int64_t least =
        whole.weight_bytes + whole.activation_bytes + block * ((whole.max_model_len + 15) / 16);
    int64_t little = (int64_t)((double)least / 0.9) * 9 / 10;
    const struct {
        int ranks, ranks_per_host, tp, pp;
    } cases[] = {{4, 4, 2, 1}, {4, 2, 2, 1}, {4, 1, 1, 2}, {6, 3, 1, 2}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(plan_create(&fixture->job, fixture->model, cases[i].ranks,
                                     cases[i].ranks_per_host, cases[i].ranks_per_host * little,
                                     NULL, &cut),
                         STATUS_OK);
        assert_int_equal(cut.tp, cases[i].tp);
        assert_int_equal(cut.pp, cases[i].pp);
    }
    /* What is asked for is not auto's to refuse. */
    fixture->job.layout.tp = 2;
    assert_int_equal(plan_create(&fixture->job, fixture->model, 4, 1, little, NULL, &cut),
                     STATUS_OK);
    assert_int_equal(cut.tp, 2);
    /* One stage: then across hosts is better than not at all. */
    fixture->job.layout.tp = -1;
    fixture->job.layout.pp = 1;
    assert_int_equal(plan_create(&fixture->job, fixture->model, 4, 1, little, NULL, &cut),
                     STATUS_OK);
    assert_int_equal(cut.tp, 2);
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
    fixture->job.model.dtype = WEIGHT_FP8;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_UNSUPPORTED);
}

static void assert_begins(const char *wanted)
{
    if (strncmp(status_message(), wanted, strlen(wanted)) != 0) {
        fail_msg("expected \"%s\", not \"%s\"", wanted, status_message());
    }
}

/* What a refusal says are the sizes of the plan that there would be, of the layout that was tried
 * last, and what there is, each in its place. */
static void messages_say_the_sizes_of_the_plan(void **state)
{
    struct fixture *fixture = *state;
    struct plan made, refused;
    char weights[24], activations[24], fixed[24], there[24], block[24], left[24], wanted[400];
    fixture->job.layout.tp = 2;
    fixture->job.layout.pp = 3;
    fixture->job.model.max_model_len = 100; /* seven blocks */
    assert_int_equal(plan(fixture, 6, PLENTY, &made), STATUS_OK);
    const int64_t both = made.weight_bytes + made.activation_bytes;
    const int64_t of_blocks = made.kv_bytes / made.kv_blocks * 7;
    assert_true(made.kv_bytes % made.kv_blocks == 0);
    format_bytes(made.weight_bytes, weights);
    format_bytes(made.activation_bytes, activations);
    format_bytes(both, fixed);
    format_bytes(of_blocks, block);
    /* A rank has its share of what the host has; the shares of six are told by looking for the
     * least with which the job runs. */
    int64_t low = 0, high = PLENTY;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        *(plan(fixture, 6, middle, &refused) == STATUS_OK ? &high : &low) = middle;
    }
    assert_int_equal(plan(fixture, 6, high, &refused), STATUS_OK);
    assert_true(refused.memory_bytes >= both + of_blocks);
    assert_true(refused.memory_bytes <= both + of_blocks + 8);
    assert_int_equal(refused.kv_blocks, 7);
    assert_int_equal(plan(fixture, 6, low, &refused), STATUS_INVALID);
    snprintf(wanted, sizeof wanted,
             "a sequence of 100 tokens takes %s of KV cache a rank (tp 2, pp 3), %s are left "
             "beside weights and activations; lower model.max_model_len",
             block, block);
    assert_begins(wanted);
    const int64_t little = high / 1000 * 10;
    assert_int_equal(plan(fixture, 6, little, &refused), STATUS_INVALID);
    snprintf(wanted, sizeof wanted, "weights take %s and activations %s a rank (tp 2, pp 3), ",
             weights, activations);
    assert_begins(wanted);
    /* A cache that is asked for is held against the same. */
    fixture->job.engine.kv_memory = of_blocks - 1;
    assert_int_equal(plan(fixture, 6, PLENTY, &refused), STATUS_INVALID);
    fixture->job.engine.kv_memory = of_blocks / 2;
    assert_int_equal(plan(fixture, 6, PLENTY, &refused), STATUS_INVALID);
    snprintf(wanted, sizeof wanted,
             "engine.kv_memory: a sequence of 100 tokens takes %s a rank (tp 2, pp 3), more than "
             "the %s; lower model.max_model_len",
             block, format_bytes(of_blocks / 2, there));
    assert_begins(wanted);
    fixture->job.engine.kv_memory = of_blocks;
    assert_int_equal(plan(fixture, 6, PLENTY, &refused), STATUS_OK);
    assert_int_equal(refused.kv_blocks, 7);
    fixture->job.engine.kv_memory = (int64_t)1 << 50;
    assert_int_equal(plan(fixture, 6, PLENTY, &refused), STATUS_INVALID);
    snprintf(wanted, sizeof wanted,
             "engine.kv_memory: %s beside %s of weights and activations a rank (tp 2, pp 3), %s "
             "are there",
             format_bytes((int64_t)1 << 50, there), fixed, format_bytes(made.memory_bytes, left));
    assert_begins(wanted);
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

/* Stages of a pipeline take memory alike: each as much as the one that needs most, which may be any
 * of them (the last has the head and the logits). */
static void the_largest_stage_counts(void **state)
{
    struct fixture *fixture = *state;
    const struct model_config *config = model_config(fixture->model);
    struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = 1, .max_sequences = 1};
    struct backend *backend;
    struct plan made;
    fixture->job.layout.tp = 1;
    fixture->job.layout.pp = 2;
    assert_int_equal(plan(fixture, 2, PLENTY, &made), STATUS_OK);
    assert_int_equal(backend_create("cpu", &options, &backend), STATUS_OK);
    int64_t largest = 0, stages[2];
    for (int stage = 0; stage < 2; stage++) {
        struct partition partition;
        assert_int_equal(partition_create(config, 1, 0, 2, stage, made.slices, &partition),
                         STATUS_OK);
        stages[stage] = model_weight_bytes(fixture->model, &partition, backend, made.stored);
        largest = stages[stage] > largest ? stages[stage] : largest;
        partition_destroy(&partition);
    }
    assert_true(stages[0] != stages[1]);
    assert_int_equal(made.weight_bytes, largest);
    backend->operations->destroy(backend);
}

/* ---- GPUs: what is chosen for them, with a CPU backend to answer for sizes ---- */

static struct plan_device new_gpu = {
    .description = "a new GPU", .capability = 90, .memory_bytes = (int64_t)80 << 30};

static int start_on_gpu(void **state)
{
    new_gpu.kind = backend_kind_find("cuda");
    return start(state);
}

static status plan_on(const struct fixture *fixture, int ranks, const struct plan_device *device,
                      struct plan *out)
{
    struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = 1, .max_sequences = 1};
    struct backend *backend;
    TRY(backend_create("cpu", &options, &backend));
    status s = plan_create_on(&fixture->job, fixture->model, ranks, device, backend, out);
    backend->operations->destroy(backend);
    return s;
}

static void gpu_defaults(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    struct plan_device third = new_gpu;
    third.index = 2;
    assert_int_equal(plan_on(fixture, 4, &third, &made), STATUS_OK);
    assert_string_equal(made.kind->name, "cuda");
    assert_int_equal(made.device_index, 2);
    assert_int_equal(made.compute, DTYPE_BFLOAT16);
    assert_int_equal(made.stored, WEIGHT_BFLOAT16);
    assert_int_equal(made.kv_dtype, DTYPE_BFLOAT16);
    assert_int_equal(made.dp, 4);
    assert_int_equal(made.slices, 2);
    assert_int_equal(made.max_sequences, 2048);
    assert_int_equal(made.max_batch_tokens, 8192);
    struct plan small_made;
    struct plan_device small = new_gpu;
    small.memory_bytes = (int64_t)24 << 30;
    assert_int_equal(plan_on(fixture, 4, &small, &small_made), STATUS_OK);
    assert_int_equal(small_made.max_sequences, 512);
    /* Something is left for what no plan counts, and not much. */
    assert_true(made.memory_bytes < new_gpu.memory_bytes - ((int64_t)1 << 30));
    assert_true(made.memory_bytes > new_gpu.memory_bytes / 10 * 9);
    assert_true(made.weight_bytes + made.activation_bytes + made.kv_bytes <= made.memory_bytes);
}

static void gpu_float8(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    struct plan_device old = new_gpu;
    old.capability = 80;
    snprintf(old.description, sizeof old.description, "an old GPU");
    fixture->job.model.dtype = WEIGHT_FP8;
    assert_int_equal(plan_on(fixture, 1, &new_gpu, &made), STATUS_OK);
    assert_int_equal(made.stored, WEIGHT_FP8);
    assert_int_equal(made.compute, DTYPE_BFLOAT16);
    assert_int_equal(made.kv_dtype, DTYPE_BFLOAT16);
    assert_int_equal(plan_on(fixture, 1, &old, &made), STATUS_UNSUPPORTED);
    assert_string_equal(status_message(),
                        "model.dtype: fp8 needs a GPU of compute capability 8.9 or later, an old "
                        "GPU is older; use auto");
    struct plan_device first = old; /* of those that take it, and the last that does not */
    first.capability = 89;
    assert_int_equal(plan_on(fixture, 1, &first, &made), STATUS_OK);
    assert_int_equal(made.stored, WEIGHT_FP8);
    first.capability = 88;
    assert_int_equal(plan_on(fixture, 1, &first, &made), STATUS_UNSUPPORTED);
    fixture->job.model.dtype = -1;
    assert_int_equal(plan_on(fixture, 1, &old, &made), STATUS_OK);
    assert_int_equal(made.stored, WEIGHT_BFLOAT16);
    fixture->job.model.kv_dtype = DTYPE_FLOAT8_E4M3;
    assert_int_equal(plan_on(fixture, 1, &new_gpu, &made), STATUS_OK);
    assert_int_equal(made.kv_dtype, DTYPE_FLOAT8_E4M3);
    assert_int_equal(plan_on(fixture, 1, &old, &made), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "model.kv_dtype: fp8 needs a GPU"));
}

/* A format that no GPU multiplies with is expanded, whatever the device. */
static void gpu_int8_checkpoint(void **state)
{
    struct fixture *fixture = *state;
    static const char config[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 256, "
        "\"intermediate_size\": 512, \"num_attention_heads\": 8, \"num_hidden_layers\": 2, "
        "\"vocab_size\": 1024, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, "
        "\"torch_dtype\": \"float16\", \"quantization_config\": {\"quant_method\": "
        "\"compressed-tensors\", \"format\": \"int-quantized\"}}";
    void *folder;
    assert_int_equal(scratch_create(&folder), 0);
    fixture->job.model.path = scratch_write(&folder, "config.json", config, sizeof config - 1);
    struct plan made;
    struct fixture int8 = {.job = fixture->job};
    assert_int_equal(model_open(fixture->job.model.path, &int8.model), STATUS_OK);
    assert_int_equal(plan_on(&int8, 1, &new_gpu, &made), STATUS_OK);
    assert_int_equal(made.stored, WEIGHT_FLOAT16);
    assert_int_equal(made.compute, DTYPE_FLOAT16);
    model_close(int8.model);
    scratch_destroy(&folder);
}

/* fp8 weights are kept as they are where the device takes them, else widened. */
static void gpu_float8_checkpoint(void **state)
{
    struct fixture *fixture = *state;
    static const char config[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 256, "
        "\"intermediate_size\": 512, \"num_attention_heads\": 8, \"num_hidden_layers\": 2, "
        "\"vocab_size\": 1024, \"max_position_embeddings\": 512, \"rms_norm_eps\": 1e-5, "
        "\"torch_dtype\": \"bfloat16\", \"quantization_config\": {\"quant_method\": \"fp8\"}}";
    void *folder;
    assert_int_equal(scratch_create(&folder), 0);
    fixture->job.model.path = scratch_write(&folder, "config.json", config, sizeof config - 1);
    struct plan made;
    struct plan_device old = new_gpu;
    old.capability = 80;
    struct fixture float8 = {.job = fixture->job};
    assert_int_equal(model_open(fixture->job.model.path, &float8.model), STATUS_OK);
    assert_int_equal(plan_on(&float8, 1, &new_gpu, &made), STATUS_OK);
    assert_int_equal(made.stored, WEIGHT_FP8);
    assert_int_equal(made.compute, DTYPE_BFLOAT16);
    assert_int_equal(plan_on(&float8, 1, &old, &made), STATUS_OK);
    assert_int_equal(made.stored, WEIGHT_BFLOAT16);
    model_close(float8.model);
    scratch_destroy(&folder);
}

static void gpu_memory_decides_the_layout(void **state)
{
    struct fixture *fixture = *state;
    struct plan whole, cut;
    struct plan_device small = new_gpu;
    assert_int_equal(plan_on(fixture, 1, &new_gpu, &whole), STATUS_OK);
    /* Ranks that share a GPU find less. */
    small.memory_bytes = new_gpu.memory_bytes / 2;
    assert_int_equal(plan_on(fixture, 2, &small, &cut), STATUS_OK);
    assert_true(cut.memory_bytes < whole.memory_bytes / 2);
    small.memory_bytes = (int64_t)512 << 20;
    assert_int_equal(plan_on(fixture, 2, &small, &cut), STATUS_INVALID);
    /* Communicators count: a layout of several ranks needs more beside the weights. */
    fixture->job.layout.pp = 2;
    assert_int_equal(plan_on(fixture, 2, &new_gpu, &cut), STATUS_OK);
    assert_true(cut.activation_bytes > whole.activation_bytes);
}

static void a_gpu_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    struct plan made;
    fixture->job.engine.device = backend_kind_find("cuda");
    if (backend_device_count("cuda") > 0) {
        skip();
    }
    const status expected = backend_is_built("cuda") ? STATUS_NOT_FOUND : STATUS_UNSUPPORTED;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), expected);
    assert_non_null(strstr(status_message(), "engine.device: "));
    fixture->job.engine.device = NULL;
    assert_int_equal(plan(fixture, 1, PLENTY, &made), STATUS_OK);
    assert_string_equal(made.kind->name, "cpu");
}

/* An encoder takes whole rows: a step has room for the longest. */
static void encoders_take_whole_rows(void **state)
{
    struct fixture *fixture = *state;
    struct plan chosen;
    model_close(fixture->model);
    fixture->model = NULL;
    fixture->job.model.path = SLUICE_SOURCE_DIR "/tests/data/encoders/bert";
    assert_int_equal(model_open(fixture->job.model.path, &fixture->model), STATUS_OK);
    const int longest = model_config(fixture->model)->max_positions;
    fixture->job.engine.max_sequences = 4;
    assert_int_equal(plan(fixture, 1, PLENTY, &chosen), STATUS_OK);
    assert_true(chosen.max_batch_tokens >= chosen.max_model_len);
    assert_true(chosen.max_model_len <= longest);
    char message[200];
    snprintf(message, sizeof message,
             "engine.max_batch_tokens: 8; an encoder takes whole rows, of up to %d tokens "
             "(model.max_model_len)",
             longest);
    fixture->job.engine.max_batch_tokens = 8;
    assert_refused(fixture, 1, PLENTY, message);
    fixture->job.model.max_model_len = 8;
    assert_int_equal(plan(fixture, 1, PLENTY, &chosen), STATUS_OK);
    assert_int_equal(chosen.max_batch_tokens, 8);
    fixture->job.engine.max_batch_tokens = 3;
    assert_refused(fixture, 1, PLENTY,
                   "engine.max_batch_tokens: 3 is less than engine.max_sequences, 4: every running "
                   "sequence takes a token of a step");
}

static void a_model_that_gpus_lack_kernels_for(void **state)
{
    struct fixture *fixture = *state;
    const struct plan_device gpu = {.kind = backend_kind_find("cuda"),
                                    .memory_bytes = PLENTY,
                                    .capability = 90,
                                    .near_ranks = 1};
    struct plan made;
    model_close(fixture->model);
    assert_int_equal(model_open(SLUICE_TEST_DATA "/models/gpt_oss", &fixture->model), STATUS_OK);
    assert_int_equal(plan_on(fixture, 1, &gpu, &made), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "GptOssForCausalLM: sinks in attention"));
    assert_non_null(strstr(status_message(), "engine.device: cpu"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plenty_means_replicas, start, end),
        cmocka_unit_test_setup_teardown(states_of_sequences_count, start, end),
        cmocka_unit_test_setup_teardown(short_memory_means_tensor_parallelism, start, end),
        cmocka_unit_test_setup_teardown(tensor_parallelism_stays_within_hosts, start, end),
        cmocka_unit_test_setup_teardown(cache_follows_memory, start, end),
        cmocka_unit_test_setup_teardown(layouts_that_are_asked_for, start, end),
        cmocka_unit_test_setup_teardown(sizes_that_contradict, start, end),
        cmocka_unit_test_setup_teardown(messages_say_the_sizes_of_the_plan, start, end),
        cmocka_unit_test_setup_teardown(system_memory_is_found, start, end),
        cmocka_unit_test_setup_teardown(description_names_every_rank, start, end),
        cmocka_unit_test_setup_teardown(the_largest_stage_counts, start, end),
        cmocka_unit_test_setup_teardown(gpu_defaults, start_on_gpu, end),
        cmocka_unit_test_setup_teardown(gpu_float8, start_on_gpu, end),
        cmocka_unit_test_setup_teardown(gpu_float8_checkpoint, start_on_gpu, end),
        cmocka_unit_test_setup_teardown(gpu_int8_checkpoint, start_on_gpu, end),
        cmocka_unit_test_setup_teardown(gpu_memory_decides_the_layout, start_on_gpu, end),
        cmocka_unit_test_setup_teardown(a_gpu_that_is_not_there, start, end),
        cmocka_unit_test_setup_teardown(a_model_that_gpus_lack_kernels_for, start_on_gpu, end),
        cmocka_unit_test_setup_teardown(encoders_take_whole_rows, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
