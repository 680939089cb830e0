/* SPDX-License-Identifier: Apache-2.0 */
/* Models of tests/data/models and models_fp8 run by the ranks of a layout, as threads of one
 * process, and the golden files beside them. One file of a program includes this:
 * tests/parity/forward_test.c and fp8_test.c, tests/gpu/forward_test.c and fp8_test.c. */
#ifndef SLUICE_FORWARD_FIXTURE_H
#define SLUICE_FORWARD_FIXTURE_H

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

#include "sluice/comm.h"
#include "sluice/json.h"
#include "sluice/model.h"

enum {
    PROMPTS = 6,
    MAX_LENGTH = 128, /* prompt and answer */
    MAX_RANKS = 24,
    BLOCK_TOKENS = 16,
    BLOCKS_EACH = MAX_LENGTH / BLOCK_TOKENS,
    ANSWER = 32,
};

/* ---- Golden files ---- */

struct golden {
    struct arena arena;
    struct buffer tensors; /* golden_logits.safetensors */
    int vocabulary;
    struct {
        int32_t ids[MAX_LENGTH];
        int length;
        int32_t answer[ANSWER]; /* where the file has one */
        double margin[ANSWER];
        const float *logits; /* [length, vocabulary] */
    } prompt[PROMPTS];
};

static inline void check(status s)
{
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static void model_path(const char *family, const char *file, char *path, size_t size)
{
    /* "models/llama" or, of the set that most tests are about, "llama" */
    snprintf(path, size, "%s/%s%s%s%s", SLUICE_TEST_DATA,
             strchr(family, '/') == NULL ? "models/" : "", family, *file ? "/" : "", file);
}

/* `kind`: which of the logits in the file, "logits" where there is but one. */
static void golden_read_kind(const char *family, const char *kind, struct golden *golden)
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
        for (int j = 0; answer != NULL && j < ANSWER; j++) {
            assert_true(json_int64(answer->items[j], &number));
            golden->prompt[i].answer[j] = (int32_t)number;
            assert_true(json_double(margin->items[j], &golden->prompt[i].margin[j]));
        }
        char name[32];
        snprintf(name, sizeof name, "%s_%d", kind, i);
        const struct json *tensor = json_get(header, name);
        if (tensor == NULL) {
            fail_msg("%s: there are no golden %s", family, name);
        }
        int64_t start;
        assert_true(json_int64(json_get(tensor, "data_offsets")->items[0], &start));
        assert_true(json_int64(json_get(tensor, "shape")->items[1], &number));
        golden->vocabulary = (int)number;
        golden->prompt[i].logits =
            (const float *)(const void *)(golden->tensors.data + 8 + header_bytes + start);
    }
    buffer_destroy(&text);
}

static inline void golden_read(const char *family, struct golden *golden)
{
    golden_read_kind(family, "logits", golden);
}

static void golden_destroy(struct golden *golden)
{
    buffer_destroy(&golden->tensors);
    arena_destroy(&golden->arena);
}

/* ---- Ranks in one process ---- */

/* What each stage of a pipeline sends, of a course of one step; the caller frees it. */
struct tape {
    float *sent[MAX_RANKS];
    size_t bytes; /* of each */
};

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
    } mail[MAX_RANKS];        /* to this rank */
    struct tape *tape;        /* NULL: nothing is kept */
    const struct tape *given; /* what stages receive in place of what was sent to them; or NULL */
};

struct fake_communicator {
    struct communicator base;
    struct group *group;
    struct backend *backend;
    float *copy[2]; /* of buffers in device memory: what is sent, what is received */
};

/* `bytes` of the buffer in host memory: its own, or a copy that lives until the next call. */
static float *host_copy(struct fake_communicator *self, int slot, struct device_buffer *buffer,
                        size_t bytes, bool filled)
{
    float *own = self->backend->operations->host_address(self->backend, buffer);
    if (own != NULL) {
        return own;
    }
    free(self->copy[slot]);
    self->copy[slot] = malloc(bytes + 1);
    if (self->copy[slot] == NULL ||
        (filled && self->backend->operations->download(self->backend, buffer, 0, self->copy[slot],
                                                       bytes) != STATUS_OK)) {
        fprintf(stderr, "no copy of a buffer: %s\n", status_message());
        exit(1);
    }
    return self->copy[slot];
}

static status host_return(struct fake_communicator *self, struct device_buffer *buffer,
                          const float *values, size_t bytes)
{
    if (self->backend->operations->host_address(self->backend, buffer) != NULL) {
        return STATUS_OK;
    }
    return self->backend->operations->upload(self->backend, buffer, 0, values, bytes);
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
    float *mine = host_copy(self, 0, data, count * sizeof(float), true);
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
    return host_return(self, data, mine, count * sizeof(float));
}

static status fake_gather_all(struct communicator *base, struct device_buffer *own,
                              struct device_buffer *all, size_t bytes)
{
    struct fake_communicator *self = (struct fake_communicator *)base;
    const size_t total = bytes * (size_t)base->size;
    self->group->data[base->rank] = host_copy(self, 0, own, bytes, true);
    pthread_barrier_wait(&self->group->barrier);
    float *to = host_copy(self, 1, all, total, false);
    for (int rank = 0; rank < base->size; rank++) {
        memcpy((char *)to + (size_t)rank * bytes, self->group->data[rank], bytes);
    }
    pthread_barrier_wait(&self->group->barrier);
    return host_return(self, all, to, total);
}

static status fake_gather(struct communicator *base, struct device_buffer *in,
                          struct device_buffer *out, int rows, const int *widths)
{
    struct fake_communicator *self = (struct fake_communicator *)base;
    size_t total = 0;
    for (int rank = 0; rank < base->size; rank++) {
        total += (size_t)rows * (size_t)widths[rank] * sizeof(float);
    }
    self->group->data[base->rank] =
        host_copy(self, 0, in, (size_t)rows * (size_t)widths[base->rank] * sizeof(float), true);
    pthread_barrier_wait(&self->group->barrier);
    float *whole = NULL;
    if (base->rank == 0) {
        float *to = whole = host_copy(self, 1, out, total, false);
        for (int row = 0; row < rows; row++) {
            for (int rank = 0; rank < base->size; rank++) {
                memcpy(to, self->group->data[rank] + (size_t)row * (size_t)widths[rank],
                       (size_t)widths[rank] * sizeof *to);
                to += widths[rank];
            }
        }
    }
    pthread_barrier_wait(&self->group->barrier);
    return base->rank == 0 ? host_return(self, out, whole, total) : STATUS_OK;
}

static status fake_send(struct communicator *base, struct device_buffer *data, size_t bytes, int to)
{
    struct fake_communicator *self = (struct fake_communicator *)base;
    float *copy = malloc(bytes + 1);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "send");
    }
    memcpy(copy, host_copy(self, 0, data, bytes, true), bytes);
    struct tape *tape = self->group->tape;
    if (tape != NULL) {
        tape->sent[base->rank] = malloc(bytes + 1);
        if (tape->sent[base->rank] == NULL) {
            free(copy);
            return status_fail(STATUS_NO_MEMORY, "send");
        }
        memcpy(tape->sent[base->rank], copy, bytes);
        tape->bytes = bytes;
    }
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
    float *to = host_copy(self, 1, data, bytes, false);
    const struct tape *given = self->group->given;
    memcpy(to, given != NULL ? given->sent[rank - 1] : self->group->mail[rank].values, bytes);
    free(self->group->mail[rank].values);
    self->group->mail[rank].full = false;
    pthread_cond_broadcast(&self->group->mail[rank].changed);
    pthread_mutex_unlock(&self->group->mail[rank].lock);
    return host_return(self, data, to, bytes);
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

/* ---- One rank ---- */

/* What a rank computes with. */
struct machine {
    status (*create)(const struct machine *machine, const struct backend_options *options,
                     struct backend **out);
    const void *facts; /* of create */
    enum dtype compute;
    enum weight_format stored;
    enum dtype kv;
    int threads, slices;
};

struct rank {
    struct model *model;
    struct partition partition;
    struct backend *backend;
    struct model_weights *weights;
    struct kv_cache *cache;
    struct forward *forward;
    struct fake_communicator tensor, pipeline;
};

static status fake_check(struct communicator *base)
{
    (void)base;
    return STATUS_OK;
}

static struct communicator *communicator_of(struct fake_communicator *self, struct group *group,
                                            int rank, struct backend *backend)
{
    *self = (struct fake_communicator){.base = {.rank = rank,
                                                .size = group->size,
                                                .sum = fake_sum,
                                                .gather = fake_gather_all,
                                                .gather_columns = fake_gather,
                                                .send = fake_send,
                                                .receive = fake_receive,
                                                .check = fake_check},
                                       .group = group,
                                       .backend = backend};
    return &self->base;
}

static status rank_create(struct rank *rank, const char *family, const struct machine *machine,
                          struct group *tensor, int tp_rank, struct group *pipeline, int pp_rank)
{
    memset(rank, 0, sizeof *rank);
    char path[1024];
    model_path(family, "", path, sizeof path);
    TRY(model_open(path, &rank->model));
    const struct model_config *config = model_config(rank->model);
    TRY(partition_create(config, tensor->size, tp_rank, pipeline->size, pp_rank, machine->slices,
                         &rank->partition));
    const struct backend_options options = {.compute = machine->compute,
                                            .max_tokens = PROMPTS * MAX_LENGTH,
                                            .max_sequences = PROMPTS * MAX_LENGTH,
                                            .threads = machine->threads};
    TRY(machine->create(machine, &options, &rank->backend));
    TRY(model_load(rank->model, &rank->partition, rank->backend, machine->stored, &rank->weights));
    const struct cache_layout cache =
        partition_cache(&rank->partition, BLOCK_TOKENS, machine->kv, PROMPTS);
    TRY(rank->backend->operations->kv_create(rank->backend, &cache, PROMPTS * BLOCKS_EACH,
                                             &rank->cache));
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
    for (int i = 0; i < 2; i++) {
        free(rank->tensor.copy[i]);
        free(rank->pipeline.copy[i]);
    }
}

/* How prompts are run: those of `set` together, `chunk` tokens of each in a step. */
struct course {
    unsigned set;
    int chunk;
    bool scattered; /* blocks in another order than they are used */
    bool last_only; /* logits of each prompt's last token alone */
};

struct logits {
    float *of[PROMPTS]; /* [length, vocabulary]; NULL where the prompt is not in the course */
};

static status run_step(struct rank *rank, const struct golden *golden, const struct course *course,
                       int done, bool *any, struct logits *logits)
{
    static _Thread_local int32_t ids[PROMPTS * MAX_LENGTH], positions[PROMPTS * MAX_LENGTH],
        outputs[PROMPTS * MAX_LENGTH], start[PROMPTS + 1], context[PROMPTS],
        blocks[PROMPTS * BLOCKS_EACH], places[PROMPTS];
    int source[PROMPTS];
    struct batch batch = {.token_ids = ids,
                          .positions = positions,
                          .query_start = start,
                          .context_length = context,
                          .block_table = blocks,
                          .block_table_stride = BLOCKS_EACH,
                          .state_place = places,
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
            if (!course->last_only || done + j + 1 == golden->prompt[i].length) {
                outputs[batch.outputs++] = batch.tokens;
            }
        }
        for (int j = 0; j < BLOCKS_EACH; j++) {
            const int block = i * BLOCKS_EACH + j;
            blocks[batch.sequences * BLOCKS_EACH + j] =
                course->scattered ? (block * 29 + 7) % (PROMPTS * BLOCKS_EACH) : block;
        }
        source[batch.sequences] = i;
        places[batch.sequences] = course->scattered ? PROMPTS - 1 - i : i;
        context[batch.sequences++] = done + here;
        start[batch.sequences] = batch.tokens;
    }
    *any = batch.tokens > 0;
    if (!*any) {
        return STATUS_OK;
    }
    struct device_buffer *buffer;
    TRY(forward_step(rank->forward, &batch, &buffer));
    for (int i = 0, s = 0; buffer != NULL && i < batch.outputs; i++) {
        const size_t width = (size_t)golden->vocabulary;
        for (; outputs[i] >= start[s + 1]; s++) {
        }
        TRY(rank->backend->operations->download(
            rank->backend, buffer, (size_t)i * width * sizeof(float),
            logits->of[source[s]] + (size_t)positions[outputs[i]] * width, width * sizeof(float)));
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

/* What a course did not ask for, as another one has it. */
static void fill_unasked(const struct golden *golden, const struct course *course,
                         const struct logits *from, struct logits *to)
{
    for (int i = 0; course->last_only && i < PROMPTS; i++) {
        if ((course->set >> i & 1) != 0) {
            memcpy(to->of[i], from->of[i],
                   (size_t)(golden->prompt[i].length - 1) * (size_t)golden->vocabulary *
                       sizeof(float));
        }
    }
}

struct rank_thread {
    pthread_t thread;
    const char *family;
    const struct machine *machine;
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
    status s = rank_create(&rank, self->family, self->machine, self->tensor, self->tp_rank,
                           self->pipeline, self->pp_rank);
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

/* `tape` and `given`: of each pipeline, as struct group says. */
static struct logits run_taped(const char *family, const struct golden *golden,
                               const struct machine *machine, int tp, int pp, struct course course,
                               struct tape *tape, const struct tape *given)
{
    struct logits logits = logits_create(golden, course.set);
    struct group tensor[MAX_RANKS], pipeline[MAX_RANKS];
    static struct rank_thread ranks[MAX_RANKS];
    for (int i = 0; i < pp; i++) {
        group_create(&tensor[i], tp);
    }
    for (int i = 0; i < tp; i++) {
        group_create(&pipeline[i], pp);
        pipeline[i].tape = tape;
        pipeline[i].given = given;
    }
    for (int i = 0; i < tp * pp; i++) {
        ranks[i] = (struct rank_thread){.family = family,
                                        .machine = machine,
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

static struct logits run_layout(const char *family, const struct golden *golden,
                                const struct machine *machine, int tp, int pp, struct course course)
{
    return run_taped(family, golden, machine, tp, pp, course, NULL, NULL);
}

/* ---- Comparing ---- */

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

#endif
