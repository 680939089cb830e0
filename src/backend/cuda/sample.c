/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling from rows of logits: kernels/sample_launch.cu does a row's work, cpu/sample.h says what
 * it is.
 *
 * One copy to the GPU (what each row asks for, histories of rows with penalties, biases), and one
 * of masks that it does not have yet; one launch, one copy back. Device and pinned memory are laid
 * out alike: requests, histories, biases, outcomes, tops; behind them the device has the hash
 * tables of histories, and pinned memory the masks on their way. */
#include "backend/cuda/cuda.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/mask_slots.h"
#include "backend/philox.h"
#include "backend/sample_arithmetic.h"

_Static_assert((int)SAMPLING_MAX_LOGPROBS == (int)SAMPLE_MAX_TOPS, "kernels report another top");

enum { MAX_HISTORY = 1 << 28 };

/* One call: what there is of each kind and where it stands. */
struct sample_layout {
    int count, vocabulary;
    int64_t history, slots, biases, tops;
    size_t history_offset, biases_offset, outcomes_offset, tops_offset, end_offset; /* of both */
    size_t host_bytes, device_bytes;
};

static bool has_penalty(const struct sample_request *request)
{
    const struct sampling *params = request->params;
    return !request->is_scored && request->history != NULL && request->history_count > 0 &&
           (params->repetition_penalty != 1 || params->presence_penalty != 0 ||
            params->frequency_penalty != 0);
}

static bool has_mask(const struct sample_request *request)
{
    return !request->is_scored && request->allowed != NULL;
}

static int32_t bias_count_of(const struct sample_request *request)
{
    return request->is_scored ? 0 : request->bias_count;
}

static int tops_of(const struct sample_request *request)
{
    const int asked = request->params->logprobs;
    const int wanted = request->is_scored && asked < 0 ? 0 : asked; /* a scored token's own */
    return wanted < SAMPLING_MAX_LOGPROBS ? wanted : SAMPLING_MAX_LOGPROBS;
}

/* The hash table of a history is at most half full. */
static int table_bits(int32_t history_count)
{
    int bits = 1;
    while ((int64_t)1 << bits < 2 * (int64_t)history_count) {
        bits++;
    }
    return bits;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* ---- Masks: they stay on the device, in slots ---- */

static size_t mask_bytes(int vocabulary)
{
    return (size_t)sampling_mask_words(vocabulary) * sizeof(uint32_t);
}

/* Slots for half again as many masks as a step may have, so that those of a few steps stay: what
 * masks_bytes of kind/memory.c counts. */
static status make_slots(struct cuda_masks *masks, struct cuda_backend *cuda, int count,
                         int vocabulary)
{
    const int most = count > cuda->max_sequences ? count : cuda->max_sequences;
    const int slots = most + most / 2;
    if (masks->slots != NULL && slots <= masks->slot_count && vocabulary == masks->vocabulary) {
        return STATUS_OK;
    }
    mask_slots_destroy(masks->slots);
    free(masks->fresh);
    masks->slots = NULL;
    masks->fresh = malloc((size_t)slots * sizeof *masks->fresh);
    masks->slot_count = slots;
    masks->vocabulary = vocabulary;
    if (masks->fresh == NULL) {
        return status_fail(STATUS_NO_MEMORY, "sampling: out of memory for %d masks", slots);
    }
    TRY(cuda_space_grow(cuda, &masks->space, (size_t)slots * mask_bytes(vocabulary), "sampling"));
    return mask_slots_create(slots, &masks->slots);
}

/* Gives every mask of a call its slot, and lists those whose words the device does not have. */
static status place_masks(struct cuda_backend *cuda, int count, int vocabulary,
                          const struct sample_request *requests)
{
    struct cuda_masks *masks = &cuda->masks;
    masks->fresh_count = 0;
    bool begun = false;
    for (int i = 0; i < count; i++) {
        if (!has_mask(&requests[i])) {
            continue;
        }
        if (!begun) {
            TRY(make_slots(masks, cuda, count, vocabulary));
            mask_slots_begin(masks->slots);
            begun = true;
        }
        bool is_new;
        const uint32_t *words = requests[i].allowed;
        const int slot = mask_slots_take(masks->slots, words, requests[i].allowed_serial, &is_new);
        if (is_new) {
            masks->fresh[masks->fresh_count++] = (struct cuda_fresh_mask){slot, words};
        }
    }
    return STATUS_OK;
}

/* Where the device has a mask of the call. */
static const uint32_t *mask_on_device(struct cuda_masks *masks,
                                      const struct sample_request *request)
{
    bool is_new;
    const int slot =
        mask_slots_take(masks->slots, request->allowed, request->allowed_serial, &is_new);
    return (const uint32_t *)masks->space.data +
           (size_t)slot * (size_t)sampling_mask_words(masks->vocabulary);
}

/* Puts what is new on its way to its slots, by way of pinned memory, [fresh_count] masks. Masks
 * whose slots are side by side go together. */
static status send_masks(struct cuda_backend *cuda, char *pinned)
{
    const struct cuda_masks *masks = &cuda->masks;
    const struct cuda_fresh_mask *fresh = masks->fresh;
    const size_t bytes = mask_bytes(masks->vocabulary);
    for (int i = 0; i < masks->fresh_count; i++) {
        memcpy(pinned + (size_t)i * bytes, fresh[i].words, bytes);
    }
    for (int first = 0, end; first < masks->fresh_count; first = end) {
        for (end = first + 1;
             end < masks->fresh_count && fresh[end].slot == fresh[end - 1].slot + 1; end++) {
        }
        TRY(cuda_check(
            cudaMemcpyAsync((char *)masks->space.data + (size_t)fresh[first].slot * bytes,
                            pinned + (size_t)first * bytes, (size_t)(end - first) * bytes,
                            cudaMemcpyHostToDevice, cuda->stream),
            "sampling"));
    }
    return STATUS_OK;
}

static status lay_out(struct cuda_backend *cuda, struct sample_layout *layout, int count,
                      int vocabulary, const struct sample_request *requests)
{
    *layout = (struct sample_layout){.count = count, .vocabulary = vocabulary};
    TRY(place_masks(cuda, count, vocabulary, requests));
    for (int i = 0; i < count; i++) {
        const struct sample_request *request = &requests[i];
        if (request->history_count > MAX_HISTORY) {
            return status_fail(STATUS_INTERNAL, "sampling: a history of %d tokens",
                               request->history_count);
        }
        if (has_penalty(request)) {
            layout->history += request->history_count;
            layout->slots += (int64_t)1 << table_bits(request->history_count);
        }
        if (bias_count_of(request) < 0 || bias_count_of(request) > vocabulary) {
            return status_fail(STATUS_INTERNAL, "sampling: %d biases; vocabulary %d",
                               request->bias_count, vocabulary);
        }
        layout->biases += bias_count_of(request);
        layout->tops += tops_of(request) > 0 ? tops_of(request) : 0;
    }
    const size_t rows = (size_t)count;
    layout->history_offset = aligned(rows * sizeof(struct sample_row));
    layout->biases_offset =
        layout->history_offset + aligned((size_t)layout->history * sizeof(int32_t));
    layout->outcomes_offset =
        layout->biases_offset + aligned((size_t)layout->biases * sizeof(struct sample_bias));
    layout->tops_offset = layout->outcomes_offset + aligned(rows * sizeof(struct sample_outcome));
    layout->end_offset =
        layout->tops_offset + aligned((size_t)layout->tops * sizeof(struct sample_top));
    layout->host_bytes =
        layout->end_offset + (size_t)cuda->masks.fresh_count * mask_bytes(vocabulary);
    layout->device_bytes = layout->end_offset + (size_t)layout->slots * sizeof(struct sample_slot);
    return STATUS_OK;
}

/* Grows by half more than needed: histories get longer step by step. */
static status reserve(struct cuda_backend *cuda, const struct sample_layout *layout)
{
    if (layout->host_bytes > cuda->sampling_host_bytes) {
        TRY(cuda_check(cudaStreamSynchronize(cuda->stream), "sampling"));
        (void)cudaFreeHost(cuda->sampling_host);
        cuda->sampling_host = NULL;
        cuda->sampling_host_bytes = 0;
        const size_t bytes = layout->host_bytes + layout->host_bytes / 2;
        TRY(cuda_check(cudaMallocHost(&cuda->sampling_host, bytes), "sampling"));
        cuda->sampling_host_bytes = bytes;
    }
    if (layout->device_bytes > cuda->sampling.bytes) {
        return cuda_space_grow(cuda, &cuda->sampling,
                               layout->device_bytes + layout->device_bytes / 2, "sampling");
    }
    return STATUS_OK;
}

static void describe_draw(const struct sample_request *request, struct sample_row *row)
{
    const struct sampling *params = request->params;
    row->scored = request->is_scored ? request->scored : -1;
    row->drawing = !request->is_scored && params->temperature >= SAMPLE_GREEDY_BELOW;
    if (!row->drawing) {
        return;
    }
    row->random =
        philox_token_bits(params->seed, params->stream, request->sample, request->position);
    row->top_p = params->top_p;
    row->top_k = params->top_k;
    row->inverse = (float)(1 / params->temperature);
    row->cut = fmaxf((float)params->min_p, SAMPLE_LEAST_WEIGHT);
    /* The margin covers the rounding of weights by far. */
    const double reach = (1e-3 - log((double)row->cut)) * params->temperature;
    row->reach = reach < FLT_MAX ? (float)reach : INFINITY;
}

/* Copies the history to `to`; STATUS_INTERNAL for an id that is no token. */
static status describe_penalties(const struct sample_request *request, int vocabulary,
                                 struct sample_row *row, int32_t *to)
{
    const struct sampling *params = request->params;
    row->repetition = fmaxf((float)params->repetition_penalty, FLT_MIN); /* 0 / 0 is no logit */
    row->frequency = (float)params->frequency_penalty;
    row->presence = (float)params->presence_penalty;
    row->history_count = request->history_count;
    row->prompt_count = request->prompt_count;
    row->table_bits = table_bits(request->history_count);
    uint32_t most = 0;
    for (int32_t i = 0; i < request->history_count; i++) {
        const int32_t id = request->history[i];
        most = (uint32_t)id > most ? (uint32_t)id : most;
        to[i] = id;
    }
    return most < (uint32_t)vocabulary
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "sampling: token %d in a history; vocabulary %d",
                             (int32_t)most, vocabulary);
}

/* Copies the biases to `to`; STATUS_INTERNAL for ids that are no tokens or do not ascend. */
static status describe_biases(const struct sample_request *request, int vocabulary,
                              struct sample_bias *to)
{
    int32_t before = -1;
    for (int32_t i = 0; i < request->bias_count; i++) {
        const struct logit_bias *bias = &request->biases[i];
        if (bias->id <= before || bias->id >= vocabulary) {
            return status_fail(STATUS_INTERNAL,
                               "sampling: a bias of token %d behind one of %d; vocabulary %d",
                               bias->id, before, vocabulary);
        }
        to[i] = (struct sample_bias){.id = bias->id, .bias = bias->bias};
        before = bias->id;
    }
    return STATUS_OK;
}

static void *at(void *base, size_t offset)
{
    return (char *)base + offset;
}

/* Puts everything on the stream, up to the draw. */
static status enqueue(struct cuda_backend *cuda, const struct sample_layout *layout, float *logits,
                      const struct sample_request *requests)
{
    void *host = cuda->sampling_host, *device = cuda->sampling.data;
    struct sample_row *rows = host;
    int32_t *history = at(host, layout->history_offset);
    struct sample_bias *biases = at(host, layout->biases_offset);
    int64_t history_first = 0, table_first = 0, bias_first = 0;
    int32_t top_first = 0;
    for (int i = 0; i < layout->count; i++) {
        const struct sample_request *request = &requests[i];
        struct sample_row *row = &rows[i];
        if (request->is_scored && (uint32_t)request->scored >= (uint32_t)layout->vocabulary) {
            return status_fail(STATUS_INTERNAL, "sampling: token %d to score; vocabulary %d",
                               request->scored, layout->vocabulary);
        }
        *row = (struct sample_row){.tops = tops_of(request),
                                   .top_first = top_first,
                                   .bias_first = bias_first,
                                   .bias_count = bias_count_of(request)};
        top_first += row->tops > 0 ? row->tops : 0;
        describe_draw(request, row);
        if (has_penalty(request)) {
            row->history_first = history_first;
            row->table_first = table_first;
            TRY(describe_penalties(request, layout->vocabulary, row, history + history_first));
            history_first += row->history_count;
            table_first += (int64_t)1 << row->table_bits;
        }
        if (has_mask(request)) {
            row->mask = mask_on_device(&cuda->masks, request);
        }
        if (row->bias_count > 0) {
            TRY(describe_biases(request, layout->vocabulary, biases + bias_first));
            bias_first += row->bias_count;
        }
    }
    const struct sample_call call = {
        .rows = layout->count,
        .vocabulary = layout->vocabulary,
        .logits = logits,
        .asked = device,
        .history = at(device, layout->history_offset),
        .biases = at(device, layout->biases_offset),
        .tables = at(device, layout->end_offset),
        .outcomes = at(device, layout->outcomes_offset),
        .tops = at(device, layout->tops_offset),
    };
    TRY(cuda_check(cudaMemcpyAsync(device, host, layout->outcomes_offset, cudaMemcpyHostToDevice,
                                   cuda->stream),
                   "sampling"));
    TRY(send_masks(cuda, at(host, layout->end_offset)));
    TRY(cuda_check(sample_launch(cuda->stream, &call), "sampling"));
    cuda->drawn.rows = rows;
    cuda->drawn.on_device = call.outcomes;
    cuda->drawn.outcomes = at(host, layout->outcomes_offset);
    cuda->drawn.tops = at(host, layout->tops_offset);
    return STATUS_OK;
}

/* Behind that, the results' way to pinned memory. */
static status enqueue_results(struct cuda_backend *cuda, const struct sample_layout *layout)
{
    return cuda_check(cudaMemcpyAsync(at(cuda->sampling_host, layout->outcomes_offset),
                                      cuda->drawn.on_device,
                                      layout->end_offset - layout->outcomes_offset,
                                      cudaMemcpyDeviceToHost, cuda->stream),
                      "sampling");
}

static void read_outcome(const struct sample_row *row, const struct sample_outcome *outcome,
                         const struct sample_top *tops, struct sample_result *result)
{
    *result = (struct sample_result){.logprob = NAN, .not_finite = outcome->not_finite != 0};
    for (int i = 0; i < SAMPLING_MAX_LOGPROBS; i++) {
        result->top_ids[i] = -1;
        result->top_logprobs[i] = NAN;
    }
    if (result->not_finite) {
        return;
    }
    result->token = outcome->token;
    if (row->tops < 0) {
        return;
    }
    const double log_sum = sample_log_sum(outcome->total);
    result->logprob = (float)((double)outcome->raw - outcome->highest - log_sum);
    result->top_count = outcome->top_count;
    for (int i = 0; i < outcome->top_count; i++) {
        result->top_ids[i] = tops[row->top_first + i].id;
        result->top_logprobs[i] =
            (float)((double)tops[row->top_first + i].logit - outcome->highest - log_sum);
    }
}

/* ---- From begin to end ---- */

status cuda_sampling_create(struct cuda_backend *cuda)
{
    cuda->times.sampled = cuda->times.sampled_before = -1;
    for (int i = 0; i < 2; i++) {
        TRY(cuda_check(cudaEventCreate(&cuda->times.began[i]), "event"));
        TRY(cuda_check(cudaEventCreate(&cuda->times.ended[i]), "event"));
    }
    return cuda_check(cudaEventCreateWithFlags(&cuda->drawn.arrived, cudaEventDisableTiming),
                      "event");
}

void cuda_sampling_destroy(struct cuda_backend *cuda)
{
    (void)cudaFreeHost(cuda->sampling_host);
    mask_slots_destroy(cuda->masks.slots);
    free(cuda->masks.fresh);
    cuda_space_free(&cuda->masks.space);
    const cudaEvent_t events[] = {cuda->times.began[0], cuda->times.began[1], cuda->times.ended[0],
                                  cuda->times.ended[1], cuda->drawn.arrived};
    for (size_t i = 0; i < COUNT_OF(events); i++) {
        if (events[i] != NULL) {
            (void)cudaEventDestroy(events[i]);
        }
    }
}

status cuda_take_drawn(struct cuda_backend *cuda, const struct batch *batch, int32_t *token_ids)
{
    for (int token = 0; token < batch->tokens; token++) {
        if (batch->token_ids[token] < 0) {
            return cuda_check(
                sample_fill_drawn(cuda->stream, batch->tokens, token_ids, cuda->drawn.on_device),
                "step");
        }
    }
    return STATUS_OK;
}

/* Up to the draw itself. */
static status enqueue_draw(struct cuda_backend *cuda, struct device_buffer *logits, int vocabulary,
                           const struct sample_request *requests, struct sample_layout *layout)
{
    if (vocabulary < 1 || vocabulary > SAMPLE_MAX_VOCABULARY) {
        return status_fail(STATUS_INVALID, "a vocabulary of %d; sampling takes 1 to %d", vocabulary,
                           SAMPLE_MAX_VOCABULARY);
    }
    TRY(cuda_buffer_check(logits, layout->count, vocabulary, sizeof(float)));
    TRY(lay_out(cuda, layout, layout->count, vocabulary, requests));
    TRY(reserve(cuda, layout));
    return enqueue(cuda, layout, logits->data, requests);
}

status cuda_sample_begin(struct backend *backend, struct device_buffer *logits, int count,
                         int vocabulary, const struct sample_request *requests)
{
    struct cuda_backend *cuda = cuda_of(backend);
    struct cuda_step_times *times = &cuda->times;
    struct sample_layout layout = {.count = count};
    cuda->drawn.count = 0;
    if (count > 0) {
        TRY(enqueue_draw(cuda, logits, vocabulary, requests, &layout));
    }
    TRY(cuda_check(cudaEventRecord(times->ended[times->number % 2], cuda->stream), "sampling"));
    times->sampled_before = times->sampled;
    times->sampled = times->number;
    TRY(count > 0 ? enqueue_results(cuda, &layout) : STATUS_OK);
    cuda->drawn.count = count;
    return cuda_check(cudaEventRecord(cuda->drawn.arrived, cuda->stream), "sampling");
}

bool cuda_sample_is_done(struct backend *backend)
{
    const bool done = cudaEventQuery(cuda_of(backend)->drawn.arrived) != cudaErrorNotReady;
    (void)cudaGetLastError();
    return done;
}

/* Seconds between the end of the step that was sampled before and the beginning of this one. */
static double find_gap(const struct cuda_step_times *times)
{
    float milliseconds = 0;
    const bool follows = times->number > 0 && times->sampled_before == times->sampled - 1;
    const bool known =
        follows && cudaEventElapsedTime(&milliseconds, times->ended[times->sampled_before % 2],
                                        times->began[times->sampled % 2]) == cudaSuccess;
    (void)cudaGetLastError();
    return known ? (double)milliseconds * 1e-3 : 0;
}

status cuda_sample_end(struct backend *backend, struct sample_result *results, double *gap)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct cuda_drawn *drawn = &cuda->drawn;
    TRY(cuda_check(cudaEventSynchronize(drawn->arrived), "sampling"));
    for (int i = 0; i < drawn->count; i++) {
        read_outcome(&drawn->rows[i], &drawn->outcomes[i], drawn->tops, &results[i]);
    }
    *gap = find_gap(&cuda->times);
    return STATUS_OK;
}

status cuda_sample(struct backend *backend, struct device_buffer *logits, int count, int vocabulary,
                   const struct sample_request *requests, struct sample_result *results)
{
    double gap;
    TRY(cuda_sample_begin(backend, logits, count, vocabulary, requests));
    return cuda_sample_end(backend, results, &gap);
}
