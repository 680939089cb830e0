/* The forward pass against Hugging Face transformers (tests/data/models), and against itself: the
 * same bits however a prompt is cut into steps, what it is batched with, where its blocks lie, on
 * how many ranks and with which instruction set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "backend/cpu/cpu.h"
#include "sluice/comm.h"
#include "sluice/json.h"
#include "sluice/model.h"

enum {
    PROMPTS = 6,
    MAX_LENGTH = 128, /* prompt and answer */
    MAX_RANKS = 24,
    SLICES = 8,
    BLOCK_TOKENS = 16,
    BLOCKS_EACH = MAX_LENGTH / BLOCK_TOKENS,
    ANSWER = 32,
};

static const char *const families[] = {"llama", "llama3",    "mistral", "mixtral",
                                       "gemma", "gemma2",    "gemma3",  "qwen2",
                                       "qwen3", "qwen3_moe", "phi3"};

/* ---- Golden files ------------------------------------------------------------------------------
 */

struct golden {
    struct arena arena;
    struct buffer tensors; /* golden_logits.safetensors */
    int vocabulary;
    struct {
        int32_t ids[MAX_LENGTH];
        int length;
        int32_t answer[ANSWER];
        double margin[ANSWER];
        const float *logits; /* [length, vocabulary] */
    } prompt[PROMPTS];
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static void model_path(const char *family, const char *file, char *path, size_t size)
{
    snprintf(path, size, "%s/models/%s%s%s", SLUICE_TEST_DATA, family, *file ? "/" : "", file);
}

static void golden_read(const char *family, struct golden *golden)
{
    memset(golden, 0, sizeof *golden);
    char path[1024];
    struct buffer text = {0};
    struct json *tree, *header;
    model_path(family, "golden.json", path, sizeof path);
    check(file_read(path, 1 << 20, &text));
    check(json_parse(text.data, text.length, &golden->arena, &tree));
    model_path(family, "golden_logits.safetensors", path, sizeof path);
    check(file_read(path, 1 << 26, &golden->tensors));
    uint64_t header_bytes;
    memcpy(&header_bytes, golden->tensors.data, sizeof header_bytes);
    check(json_parse(golden->tensors.data + 8, header_bytes, &golden->arena, &header));

    const struct json *cases = json_get(tree, "cases");
    assert_true(cases != NULL && cases->length == PROMPTS);
    for (int i = 0; i < PROMPTS; i++) {
        const struct json *prompt = json_get(cases->items[i], "prompt");
        const struct json *answer = json_get(cases->items[i], "greedy32");
        const struct json *margin = json_get(cases->items[i], "margin32");
        int64_t number;
        golden->prompt[i].length = (int)prompt->length;
        for (int j = 0; j < golden->prompt[i].length; j++) {
            assert_true(json_int64(prompt->items[j], &number));
            golden->prompt[i].ids[j] = (int32_t)number;
        }
        for (int j = 0; j < ANSWER; j++) {
            assert_true(json_int64(answer->items[j], &number));
            golden->prompt[i].answer[j] = (int32_t)number;
            assert_true(json_double(margin->items[j], &golden->prompt[i].margin[j]));
        }
        char name[32];
        snprintf(name, sizeof name, "logits_%d", i);
        const struct json *tensor = json_get(header, name);
        int64_t start;
        assert_true(json_int64(json_get(tensor, "data_offsets")->items[0], &start));
        assert_true(json_int64(json_get(tensor, "shape")->items[1], &number));
        golden->vocabulary = (int)number;
        golden->prompt[i].logits =
            (const float *)(const void *)(golden->tensors.data + 8 + header_bytes + start);
    }
    buffer_destroy(&text);
}

static void golden_destroy(struct golden *golden)
{
    buffer_destroy(&golden->tensors);
    arena_destroy(&golden->arena);
}

/* ---- Ranks in one process ----------------------------------------------------------------------
 */

/* What the ranks of one group share. */
struct group {
    pthread_barrier_t barrier;
    int size;
    float *data[MAX_RANKS];
    float *gathered;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool full;
        float *values;
    } mail[MAX_RANKS]; /* to this rank */
};

struct fake_communicator {
    struct communicator base;
    struct group *group;
    struct backend *backend;
};

static float *floats_of(struct fake_communicator *self, struct device_buffer *buffer)
{
    return self->backend->operations->host_address(self->backend, buffer);
}

static float tree(float *const *data, int first, int count, size_t i)
{
    return count == 1
               ? data[first][i]
               : tree(data, first, count / 2, i) + tree(data, first + count / 2, count / 2, i);
}

static status fake_sum(struct communicator *base, struct device_buffer *data, size_t count)
{
    struct fake_communicator *self = (struct fake_communicator *)base;
    float *mine = floats_of(self, data);
    self->group->data[base->rank] = mine;
    pthread_barrier_wait(&self->group->barrier);
    float *sums = malloc((count + 1) * sizeof *sums);
    if (sums == NULL) {
        return status_fail(STATUS_NO_MEMORY, "sum");
    }
    for (size_t i = 0; i < count; i++) {
        sums[i] = tree(self->group->data, 0, base->size, i);
    }
    pthread_barrier_wait(&self->group->barrier);
    memcpy(mine, sums, count * sizeof *sums);
    free(sums);
    return STATUS_OK;
}

static status fake_gather(struct communicator *base, struct device_buffer *in,
                          struct device_buffer *out, int rows, const int *widths)
{
    struct fake_communicator *self = (struct fake_communicator *)base;
    self->group->data[base->rank] = floats_of(self, in);
    pthread_barrier_wait(&self->group->barrier);
    if (base->rank == 0) {
        float *to = floats_of(self, out);
        for (int row = 0; row < rows; row++) {
            for (int rank = 0; rank < base->size; rank++) {
                memcpy(to, self->group->data[rank] + (size_t)row * (size_t)widths[rank],
                       (size_t)widths[rank] * sizeof *to);
                to += widths[rank];
            }
        }
    }
    pthread_barrier_wait(&self->group->barrier);
    return STATUS_OK;
}

static status fake_send(struct communicator *base, struct device_buffer *data, size_t bytes, int to)
{
    struct fake_communicator *self = (struct fake_communicator *)base;
    float *copy = malloc(bytes + 1);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "send");
    }
    memcpy(copy, floats_of(self, data), bytes);
    pthread_mutex_lock(&self->group->mail[to].lock);
    while (self->group->mail[to].full) {
        pthread_cond_wait(&self->group->mail[to].changed, &self->group->mail[to].lock);
    }
    self->group->mail[to].values = copy;
    self->group->mail[to].full = true;
    pthread_cond_broadcast(&self->group->mail[to].changed);
    pthread_mutex_unlock(&self->group->mail[to].lock);
    return STATUS_OK;
}

static status fake_receive(struct communicator *base, struct device_buffer *data, size_t bytes,
                           int from)
{
    (void)from;
    struct fake_communicator *self = (struct fake_communicator *)base;
    const int rank = base->rank;
    pthread_mutex_lock(&self->group->mail[rank].lock);
    while (!self->group->mail[rank].full) {
        pthread_cond_wait(&self->group->mail[rank].changed, &self->group->mail[rank].lock);
    }
    memcpy(floats_of(self, data), self->group->mail[rank].values, bytes);
    free(self->group->mail[rank].values);
    self->group->mail[rank].full = false;
    pthread_cond_broadcast(&self->group->mail[rank].changed);
    pthread_mutex_unlock(&self->group->mail[rank].lock);
    return STATUS_OK;
}

static void group_create(struct group *group, int size)
{
    memset(group, 0, sizeof *group);
    group->size = size;
    pthread_barrier_init(&group->barrier, NULL, (unsigned)size);
    for (int i = 0; i < size; i++) {
        pthread_mutex_init(&group->mail[i].lock, NULL);
        pthread_cond_init(&group->mail[i].changed, NULL);
    }
}

static void group_destroy(struct group *group)
{
    pthread_barrier_destroy(&group->barrier);
    for (int i = 0; i < group->size; i++) {
        pthread_mutex_destroy(&group->mail[i].lock);
        pthread_cond_destroy(&group->mail[i].changed);
    }
}

/* ---- One rank ----------------------------------------------------------------------------------
 */

struct rank {
    struct model *model;
    struct partition partition;
    struct backend *backend;
    struct model_weights *weights;
    struct kv_cache *cache;
    struct forward *forward;
    struct fake_communicator tensor, pipeline;
};

static struct communicator *communicator_of(struct fake_communicator *self, struct group *group,
                                            int rank, struct backend *backend)
{
    *self = (struct fake_communicator){.base = {.rank = rank,
                                                .size = group->size,
                                                .sum = fake_sum,
                                                .gather_columns = fake_gather,
                                                .send = fake_send,
                                                .receive = fake_receive},
                                       .group = group,
                                       .backend = backend};
    return &self->base;
}

static status rank_create(struct rank *rank, const char *family, const struct cpu_kernels *kernels,
                          int threads, struct group *tensor, int tp_rank, struct group *pipeline,
                          int pp_rank)
{
    memset(rank, 0, sizeof *rank);
    char path[1024];
    model_path(family, "", path, sizeof path);
    TRY(model_open(path, &rank->model));
    const struct model_config *config = model_config(rank->model);
    TRY(partition_create(config, tensor->size, tp_rank, pipeline->size, pp_rank, SLICES,
                         &rank->partition));
    const struct backend_options options = {.compute = DTYPE_FLOAT32,
                                            .max_tokens = PROMPTS * MAX_LENGTH,
                                            .max_sequences = PROMPTS * MAX_LENGTH,
                                            .threads = threads};
    TRY(cpu_backend_create_with(kernels, &options, &rank->backend));
    TRY(model_load(rank->model, &rank->partition, rank->backend, DTYPE_FLOAT32, &rank->weights));
    TRY(rank->backend->operations->kv_create(
        rank->backend, rank->partition.layer_count, rank->partition.kv_head_count, config->head_dim,
        BLOCK_TOKENS, PROMPTS * BLOCKS_EACH, DTYPE_FLOAT32, &rank->cache));
    const struct forward_options forward = {
        .config = config,
        .partition = &rank->partition,
        .weights = rank->weights,
        .backend = rank->backend,
        .cache = rank->cache,
        .tensor = communicator_of(&rank->tensor, tensor, tp_rank, rank->backend),
        .pipeline = communicator_of(&rank->pipeline, pipeline, pp_rank, rank->backend),
        .max_tokens = options.max_tokens,
        .max_outputs = options.max_tokens,
        .max_model_len = MAX_LENGTH};
    return forward_create(&forward, &rank->forward);
}

static void rank_destroy(struct rank *rank)
{
    forward_destroy(rank->forward);
    if (rank->backend != NULL) {
        rank->backend->operations->kv_destroy(rank->backend, rank->cache);
        model_weights_destroy(rank->weights, &rank->partition, rank->backend);
        rank->backend->operations->destroy(rank->backend);
    }
    partition_destroy(&rank->partition);
    model_close(rank->model);
}

/* How prompts are run: those of `set` together, `chunk` tokens of each in a step. */
struct course {
    unsigned set;
    int chunk;
    bool scattered; /* blocks in another order than they are used */
};

struct logits {
    float *of[PROMPTS]; /* [length, vocabulary]; NULL where the prompt is not in the course */
};

static status run_step(struct rank *rank, const struct golden *golden, const struct course *course,
                       int done, bool *any, struct logits *logits)
{
    static _Thread_local int32_t ids[PROMPTS * MAX_LENGTH], positions[PROMPTS * MAX_LENGTH],
        outputs[PROMPTS * MAX_LENGTH], start[PROMPTS + 1], context[PROMPTS],
        blocks[PROMPTS * BLOCKS_EACH];
    int source[PROMPTS];
    struct batch batch = {.token_ids = ids,
                          .positions = positions,
                          .query_start = start,
                          .context_length = context,
                          .block_table = blocks,
                          .block_table_stride = BLOCKS_EACH,
                          .output_rows = outputs};
    start[0] = 0;
    for (int i = 0; i < PROMPTS; i++) {
        const int left = golden->prompt[i].length - done;
        if ((course->set >> i & 1) == 0 || left <= 0) {
            continue;
        }
        const int here = left < course->chunk ? left : course->chunk;
        for (int j = 0; j < here; j++, batch.tokens++) {
            ids[batch.tokens] = golden->prompt[i].ids[done + j];
            positions[batch.tokens] = done + j;
            outputs[batch.tokens] = batch.tokens;
        }
        for (int j = 0; j < BLOCKS_EACH; j++) {
            const int block = i * BLOCKS_EACH + j;
            blocks[batch.sequences * BLOCKS_EACH + j] =
                course->scattered ? (block * 29 + 7) % (PROMPTS * BLOCKS_EACH) : block;
        }
        source[batch.sequences] = i;
        context[batch.sequences++] = done + here;
        start[batch.sequences] = batch.tokens;
    }
    batch.outputs = batch.tokens;
    *any = batch.tokens > 0;
    if (!*any) {
        return STATUS_OK;
    }
    struct device_buffer *buffer;
    TRY(forward_step(rank->forward, &batch, &buffer));
    for (int s = 0; buffer != NULL && s < batch.sequences; s++) {
        const size_t width = (size_t)golden->vocabulary;
        TRY(rank->backend->operations->download(
            rank->backend, buffer, (size_t)start[s] * width * sizeof(float),
            logits->of[source[s]] + (size_t)done * width,
            (size_t)(start[s + 1] - start[s]) * width * sizeof(float)));
    }
    return STATUS_OK;
}

static status run_course(struct rank *rank, const struct golden *golden,
                         const struct course *course, struct logits *logits)
{
    bool any = true;
    for (int done = 0; any; done += course->chunk) {
        TRY(run_step(rank, golden, course, done, &any, logits));
    }
    return STATUS_OK;
}

struct rank_thread {
    pthread_t thread;
    const char *family;
    const struct cpu_kernels *kernels;
    int threads;
    struct group *tensor, *pipeline;
    int tp_rank, pp_rank;
    const struct golden *golden;
    const struct course *course;
    struct logits *logits;
    char message[512];
};

/* A rank that fails ends the program: the others would wait for it. */
static void *run_rank(void *argument)
{
    struct rank_thread *self = argument;
    struct rank rank;
    status s = rank_create(&rank, self->family, self->kernels, self->threads, self->tensor,
                           self->tp_rank, self->pipeline, self->pp_rank);
    if (s == STATUS_OK) {
        s = run_course(&rank, self->golden, self->course, self->logits);
    }
    if (s != STATUS_OK) {
        fprintf(stderr, "%s, tensor rank %d, stage %d: %s\n", self->family, self->tp_rank,
                self->pp_rank, status_message());
        exit(1);
    }
    rank_destroy(&rank);
    return NULL;
}

static struct logits logits_create(const struct golden *golden, unsigned set)
{
    struct logits logits = {{NULL}};
    for (int i = 0; i < PROMPTS; i++) {
        if (set >> i & 1) {
            logits.of[i] = calloc((size_t)golden->prompt[i].length * (size_t)golden->vocabulary,
                                  sizeof(float));
            assert_non_null(logits.of[i]);
        }
    }
    return logits;
}

static void logits_destroy(struct logits *logits)
{
    for (int i = 0; i < PROMPTS; i++) {
        free(logits->of[i]);
    }
}

static struct logits run_layout(const char *family, const struct golden *golden,
                                const struct cpu_kernels *kernels, int threads, int tp, int pp,
                                struct course course)
{
    struct logits logits = logits_create(golden, course.set);
    struct group tensor[MAX_RANKS], pipeline[MAX_RANKS];
    static struct rank_thread ranks[MAX_RANKS];
    for (int i = 0; i < pp; i++) {
        group_create(&tensor[i], tp);
    }
    for (int i = 0; i < tp; i++) {
        group_create(&pipeline[i], pp);
    }
    for (int i = 0; i < tp * pp; i++) {
        ranks[i] = (struct rank_thread){.family = family,
                                        .kernels = kernels,
                                        .threads = threads,
                                        .tensor = &tensor[i / tp],
                                        .pipeline = &pipeline[i % tp],
                                        .tp_rank = i % tp,
                                        .pp_rank = i / tp,
                                        .golden = golden,
                                        .course = &course,
                                        .logits = &logits};
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]), 0);
    }
    for (int i = 0; i < tp * pp; i++) {
        pthread_join(ranks[i].thread, NULL);
    }
    for (int i = 0; i < pp; i++) {
        group_destroy(&tensor[i]);
    }
    for (int i = 0; i < tp; i++) {
        group_destroy(&pipeline[i]);
    }
    return logits;
}

/* ---- Tests -------------------------------------------------------------------------------------
 */

static const unsigned all_prompts = (1u << PROMPTS) - 1;

static double relative_error(const float *is, const float *should, int n)
{
    double difference = 0, norm = 0;
    for (int i = 0; i < n; i++) {
        difference += ((double)is[i] - should[i]) * ((double)is[i] - should[i]);
        norm += (double)should[i] * should[i];
    }
    return sqrt(difference / norm);
}

static void logits_are_golden(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        struct logits logits = run_layout(families[f], &golden, cpu_kernels_best(), 2, 1, 1,
                                          (struct course){.set = all_prompts, .chunk = MAX_LENGTH});
        double worst = 0;
        for (int i = 0; i < PROMPTS; i++) {
            for (int j = 0; j < golden.prompt[i].length; j++) {
                const size_t at = (size_t)j * (size_t)golden.vocabulary;
                const double error = relative_error(logits.of[i] + at, golden.prompt[i].logits + at,
                                                    golden.vocabulary);
                worst = error > worst || isnan(error) ? error : worst;
            }
        }
        print_message("%-10s worst relative error of a position's logits %.2e\n", families[f],
                      worst);
        assert_true(worst < 1e-4);
        logits_destroy(&logits);
        golden_destroy(&golden);
    }
}

static int largest(const float *logits, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    return best;
}

/* Prompt and answer in one call: the logits before each token of the answer must choose it. */
static void greedy_tokens_are_golden(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        int prompt_length[PROMPTS];
        for (int i = 0; i < PROMPTS; i++) {
            prompt_length[i] = golden.prompt[i].length;
            memcpy(golden.prompt[i].ids + prompt_length[i], golden.prompt[i].answer,
                   sizeof golden.prompt[i].answer);
            golden.prompt[i].length += ANSWER;
        }
        struct logits logits = run_layout(families[f], &golden, cpu_kernels_best(), 2, 1, 1,
                                          (struct course){.set = all_prompts, .chunk = 1});
        for (int i = 0; i < PROMPTS; i++) {
            for (int j = 0; j < ANSWER; j++) {
                const int at = prompt_length[i] + j - 1;
                const int token = largest(logits.of[i] + (size_t)at * (size_t)golden.vocabulary,
                                          golden.vocabulary);
                if (token != golden.prompt[i].answer[j] && golden.prompt[i].margin[j] > 1e-4) {
                    fail_msg("%s, prompt %d, token %d: %d, golden %d by %g", families[f], i, j,
                             token, golden.prompt[i].answer[j], golden.prompt[i].margin[j]);
                }
            }
        }
        logits_destroy(&logits);
        golden_destroy(&golden);
    }
}

/* The prompts of `set` have the same bits in both. */
static void assert_same_bits(const char *family, const char *what, const struct golden *golden,
                             const struct logits *is, const struct logits *should, unsigned set)
{
    for (int i = 0; i < PROMPTS; i++) {
        const size_t count = (size_t)golden->prompt[i].length * (size_t)golden->vocabulary;
        if ((set >> i & 1) && memcmp(is->of[i], should->of[i], count * sizeof(float)) != 0) {
            fail_msg("%s, prompt %d: other bits with %s", family, i, what);
        }
    }
}

static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int threads;
        struct course course;
    } ways[] = {
        {"one prompt alone, scattered blocks", 1, {1u << 5, MAX_LENGTH, true}},
        {"another prompt alone", 1, {1u << 3, MAX_LENGTH, false}},
        {"token by token", 2, {(1u << PROMPTS) - 1, 1, true}},
        {"chunks of 5", 3, {(1u << PROMPTS) - 1, 5, true}},
        {"chunks of 19", 1, {(1u << PROMPTS) - 1, 19, false}},
        {"half of the prompts", 4, {0x2a, 33, true}},
    };
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        struct logits whole = run_layout(families[f], &golden, cpu_kernels_best(), 2, 1, 1,
                                         (struct course){.set = all_prompts, .chunk = MAX_LENGTH});
        for (size_t i = 0; i < COUNT_OF(ways); i++) {
            struct logits other = run_layout(families[f], &golden, cpu_kernels_best(),
                                             ways[i].threads, 1, 1, ways[i].course);
            assert_same_bits(families[f], ways[i].what, &golden, &other, &whole,
                             ways[i].course.set);
            logits_destroy(&other);
        }
        logits_destroy(&whole);
        golden_destroy(&golden);
    }
}

static void bits_know_no_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int tp, pp;
    } layouts[] = {
        {"tp 2", 2, 1}, {"tp 4", 4, 1}, {"tp 8", 8, 1}, {"pp 3", 1, 3}, {"tp 2, pp 2", 2, 2}};
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        struct logits whole = run_layout(families[f], &golden, cpu_kernels_best(), 2, 1, 1,
                                         (struct course){.set = all_prompts, .chunk = MAX_LENGTH});
        for (size_t i = 0; i < COUNT_OF(layouts); i++) {
            struct logits other =
                run_layout(families[f], &golden, cpu_kernels_best(), 1, layouts[i].tp,
                           layouts[i].pp, (struct course){.set = all_prompts, .chunk = 40});
            assert_same_bits(families[f], layouts[i].what, &golden, &other, &whole, all_prompts);
            logits_destroy(&other);
        }
        logits_destroy(&whole);
        golden_destroy(&golden);
    }
}

/* AVX2 and AVX-512 give the same bits; the baseline, which has no fused multiply-add, the same
 * numbers. */
static void bits_know_no_vectors(void **state)
{
    (void)state;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        const struct course course = {.set = all_prompts, .chunk = 40};
        struct logits best = run_layout(families[f], &golden, cpu_kernels_best(), 2, 1, 1, course);
        struct logits plain =
            run_layout(families[f], &golden, &cpu_kernels_baseline, 1, 1, 1, course);
        for (int i = 0; i < PROMPTS; i++) {
            assert_true(relative_error(plain.of[i], best.of[i],
                                       golden.prompt[i].length * golden.vocabulary) < 1e-5);
        }
        logits_destroy(&plain);
#ifdef SLUICE_CPU_X86_KERNELS
        if (cpu_kernels_best() == &cpu_kernels_v4) {
            struct logits other =
                run_layout(families[f], &golden, &cpu_kernels_v3, 1, 1, 1, course);
            assert_same_bits(families[f], "AVX2", &golden, &other, &best, all_prompts);
            logits_destroy(&other);
        }
#endif
        logits_destroy(&best);
        golden_destroy(&golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_golden),    cmocka_unit_test(greedy_tokens_are_golden),
        cmocka_unit_test(bits_know_no_batch),   cmocka_unit_test(bits_know_no_ranks),
        cmocka_unit_test(bits_know_no_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
