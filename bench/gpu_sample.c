/* SPDX-License-Identifier: Apache-2.0 */
/* Time of a step's sampling on a GPU beside the time that reading its logits once takes.
 *
 *     bench_gpu_sample [rows] [vocabulary]
 *
 * Wall time of `sample`: upload of the requests, kernel, download of the results, wait. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/philox.h"
#include "sluice/backend.h"

enum { WARM_UP = 5, STEPS = 50, HISTORY = 1000 };
static const double BYTES_A_SECOND = 3.0e12;

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_gpu_sample: %s\n", status_message());
        exit(1);
    }
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "%zu bytes", bytes));
    }
    return memory;
}

/* Bell-shaped logits with a few that stand out, as a language model's do, or flat ones. */
static void fill(float *logits, int rows, int vocabulary, bool flat)
{
    for (int row = 0; row < rows; row++) {
        float *to = logits + (size_t)row * (size_t)vocabulary;
        for (int id = 0; id < vocabulary; id++) {
            const uint64_t bits = philox_token_bits(1, row, 0, id);
            float sum = 0;
            for (int k = 0; k < 4; k++) {
                sum += (float)(bits >> (16 * k) & 0xffff) / 65536.0f - 0.5f;
            }
            to[id] = sum * (flat ? 0.2f : 4.0f);
            if (!flat && bits % 5003 == 0) {
                to[id] += 12.0f * (float)(bits >> 32 & 0xff) / 256.0f;
            }
        }
    }
}

struct setting {
    const char *name;
    bool flat, penalties;
    struct sampling params;
};

static const struct setting settings[] = {
    {"greedy", false, false, {.top_p = 1, .logprobs = -1}},
    {"top_k 50, top_p 0.9",
     false,
     false,
     {.temperature = 1, .top_k = 50, .top_p = 0.9, .logprobs = -1}},
    {"greedy, logprobs 5", false, false, {.top_p = 1, .logprobs = 5}},
    {"top_k 50, top_p 0.9, logprobs 5",
     false,
     false,
     {.temperature = 1, .top_k = 50, .top_p = 0.9, .logprobs = 5}},
    {"temperature 1", false, false, {.temperature = 1, .top_p = 1, .logprobs = -1}},
    {"top_p 0.9", false, false, {.temperature = 1, .top_p = 0.9, .logprobs = -1}},
    {"min_p 0.05", false, false, {.temperature = 1, .top_p = 1, .min_p = 0.05, .logprobs = -1}},
    {"top_p 0.9, flat logits", true, false, {.temperature = 1, .top_p = 0.9, .logprobs = -1}},
    {"greedy, repetition penalty", false, true, {.top_p = 1, .logprobs = -1}},
};

static double seconds_a_step(struct backend *backend, struct device_buffer *logits, int rows,
                             int vocabulary, struct sample_request *requests,
                             struct sample_result *results)
{
    double start = 0;
    for (int step = -WARM_UP; step < STEPS; step++) {
        if (step == 0) {
            start = clock_seconds();
        }
        for (int i = 0; i < rows; i++) {
            requests[i].position = step + WARM_UP;
        }
        check(backend->operations->sample(backend, logits, rows, vocabulary, requests, results));
    }
    return (clock_seconds() - start) / STEPS;
}

int main(int argc, char **argv)
{
    const int rows = argc > 1 ? atoi(argv[1]) : 512;
    const int vocabulary = argc > 2 ? atoi(argv[2]) : 128256;
    if (rows < 1 || rows > 1 << 14 || vocabulary < 1 || vocabulary > 1 << 20) {
        fprintf(stderr, "bench_gpu_sample: 1 to 16384 rows, vocabulary of 1 to 1048576\n");
        return 2;
    }
    const struct backend_options options = {
        .compute = DTYPE_BFLOAT16, .max_tokens = rows, .max_sequences = rows};
    struct backend *backend;
    check(backend_create("cuda", &options, &backend));
    const size_t bytes = (size_t)rows * (size_t)vocabulary * sizeof(float);
    float *values = allocate(bytes);
    int32_t *history = allocate(HISTORY * sizeof *history);
    for (int i = 0; i < HISTORY; i++) {
        history[i] = (int32_t)(philox_token_bits(2, i, 0, 0) % (uint64_t)vocabulary);
    }
    struct sample_request *requests = allocate((size_t)rows * sizeof *requests);
    struct sample_result *results = allocate((size_t)rows * sizeof *results);
    struct device_buffer *logits;
    check(backend->operations->buffer_create(backend, bytes, &logits));
    const double floor = (double)bytes / BYTES_A_SECOND;
    printf("%s; %d rows of %d: %.0f us at %.1f TB/s\n", backend->operations->device_name(backend),
           rows, vocabulary, 1e6 * floor, 1e-12 * BYTES_A_SECOND);
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        struct sampling params = settings[i].params;
        params.repetition_penalty = settings[i].penalties ? 1.1 : 1;
        for (int row = 0; row < rows; row++) {
            requests[row] = (struct sample_request){.params = &params, .sample = row};
            if (settings[i].penalties) {
                requests[row].history = history;
                requests[row].history_count = HISTORY;
            }
        }
        if (i == 0 || settings[i].flat != settings[i - 1].flat) {
            fill(values, rows, vocabulary, settings[i].flat);
            check(backend->operations->upload(backend, logits, 0, values, bytes));
        }
        const double seconds = seconds_a_step(backend, logits, rows, vocabulary, requests, results);
        printf("%-32s %7.0f us a step, %.2f x the floor\n", settings[i].name, 1e6 * seconds,
               seconds / floor);
    }
    backend->operations->buffer_destroy(backend, logits);
    backend->operations->destroy(backend);
    free(results);
    free(requests);
    free(history);
    free(values);
    return 0;
}
