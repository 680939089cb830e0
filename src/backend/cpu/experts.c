/* SPDX-License-Identifier: Apache-2.0 */
/* Mixture of experts: route, gather the rows of each expert, run its products, add the experts'
 * answers up per token. A token's experts are added in ascending order within a slice, then the
 * slices as a tree, so that neither the other tokens nor the cut over ranks enters its result. */
#include <omp.h>
#include <string.h>

#include "backend/cpu/cpu.h"

enum {
    CHUNK_BYTES = 128 << 20, /* scratch for the tokens that are worked on at once */
    ROW_PADDING = 16,        /* keeps gathered rows off the same cache sets */
};

/* One call's facts and the scratch of one chunk of tokens. A pair is a token and one of its
 * experts; pairs stand sorted by expert, then token. */
struct mixture {
    const struct matrix *router, *gate_up, *down;
    int used, experts, hidden, width, slices;
    int gate_rows; /* outputs of an expert's first product */
    bool normalize, gated;
    enum activation activation;

    float *probability;    /* [tokens][experts] */
    int32_t *chosen;       /* [tokens][used] */
    float *weight;         /* [tokens][used] */
    int32_t *expert_start; /* [experts + 1] into the pairs */
    int32_t *pair_token;   /* [tokens · used] */
    float *pair_weight;    /* likewise */
    float *rows;           /* [pairs][hidden + ROW_PADDING] */
    float *gates;          /* [pairs][gate_rows] */
    float *active;         /* [pairs][width + ROW_PADDING] */
    float *sums;           /* [threads][tokens][slices][PANEL] */
};

/* Places the scratch of `tokens` tokens at `base` (NULL: only counts) and returns its floats. */
static size_t place_scratch(struct mixture *mixture, size_t tokens, size_t threads, float *base)
{
    const size_t experts = (size_t)mixture->experts;
    const size_t pairs = tokens * (size_t)mixture->used;
    struct {
        void **at;
        size_t floats;
    } parts[] = {
        {(void **)&mixture->probability, tokens * experts},
        {(void **)&mixture->chosen, pairs},
        {(void **)&mixture->weight, pairs},
        {(void **)&mixture->expert_start, experts + 1},
        {(void **)&mixture->pair_token, pairs},
        {(void **)&mixture->pair_weight, pairs},
        {(void **)&mixture->rows, pairs * (size_t)(mixture->hidden + ROW_PADDING)},
        {(void **)&mixture->gates, pairs * (size_t)mixture->gate_rows},
        {(void **)&mixture->active, pairs * (size_t)(mixture->width + ROW_PADDING)},
        {(void **)&mixture->sums, threads * tokens * (size_t)mixture->slices * PANEL},
    };
    size_t used = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (base != NULL) {
            *parts[i].at = base + used;
        }
        used += (parts[i].floats + 15) / 16 * 16;
    }
    return used;
}

/* Tokens that are worked on at once: a matter of memory only, no token's result knows of it. */
static int choose_chunk(struct mixture *mixture, int tokens, size_t threads)
{
    const size_t token_bytes = place_scratch(mixture, 1, threads, NULL) * sizeof(float);
    const int chunk = (int)(CHUNK_BYTES / token_bytes);
    return chunk < 1 ? 1 : chunk < tokens ? chunk : tokens;
}

size_t cpu_experts_floats(const struct step_shape *shape, int threads)
{
    if (shape->experts == 0) {
        return 0;
    }
    struct mixture mixture = {.used = shape->experts_used,
                              .experts = shape->experts,
                              .hidden = shape->hidden,
                              .width = shape->expert_columns,
                              .slices = shape->slices,
                              .gate_rows = (shape->gated ? 2 : 1) * shape->expert_columns};
    const int chunk = choose_chunk(&mixture, shape->tokens, (size_t)threads);
    return place_scratch(&mixture, (size_t)chunk, (size_t)threads, NULL);
}

/* The `used` most probable experts of one token, the lower number first where two are equal. */
static void choose_experts(const struct mixture *mixture, float *probability, int32_t *chosen,
                           float *weight)
{
    float total = 0.0f;
    for (int i = 0; i < mixture->used; i++) {
        int best = -1;
        for (int e = 0; e < mixture->experts; e++) {
            bool taken = false;
            for (int j = 0; j < i; j++) {
                taken |= chosen[j] == e;
            }
            if (!taken && (best < 0 || probability[e] > probability[best])) {
                best = e;
            }
        }
        chosen[i] = best;
        weight[i] = probability[best];
        total += weight[i];
    }
    for (int i = 0; mixture->normalize && i < mixture->used; i++) {
        weight[i] /= total;
    }
}

/* Router, soft-max, choice; then pairs sorted by expert and the gathered rows. */
static status route(struct cpu_backend *cpu, struct mixture *mixture, const float *in, int tokens)
{
    const size_t hidden = (size_t)mixture->hidden;
    const size_t used = (size_t)mixture->used;
    const struct product_call call = {.matrix = mixture->router,
                                      .in = in,
                                      .in_stride = hidden,
                                      .rows = tokens,
                                      .out = mixture->probability};
    TRY(cpu_product_run(cpu, &call));
    memset(mixture->expert_start, 0, (size_t)(mixture->experts + 1) * sizeof(int32_t));
    for (size_t t = 0; t < (size_t)tokens; t++) {
        float *probability = mixture->probability + t * (size_t)mixture->experts;
        int32_t *chosen = mixture->chosen + t * used;
        cpu->kernels->soft_max(probability, mixture->experts);
        choose_experts(mixture, probability, chosen, mixture->weight + t * used);
        for (size_t i = 0; i < used; i++) {
            mixture->expert_start[chosen[i] + 1]++;
        }
    }
    for (int e = 0; e < mixture->experts; e++) {
        mixture->expert_start[e + 1] += mixture->expert_start[e];
    }
    /* Each pair goes to the next free place of its expert, which moves the starts up by one. */
    for (size_t t = 0; t < (size_t)tokens; t++) {
        for (size_t i = 0; i < used; i++) {
            const int32_t pair = mixture->expert_start[mixture->chosen[t * used + i]]++;
            mixture->pair_token[pair] = (int32_t)t;
            mixture->pair_weight[pair] = mixture->weight[t * used + i];
        }
    }
    memmove(mixture->expert_start + 1, mixture->expert_start,
            (size_t)mixture->experts * sizeof(int32_t));
    mixture->expert_start[0] = 0;

    const int pairs = tokens * mixture->used;
    for (size_t pair = 0; pair < (size_t)pairs; pair++) {
        memcpy(mixture->rows + pair * (hidden + ROW_PADDING),
               in + (size_t)mixture->pair_token[pair] * hidden, hidden * sizeof *in);
    }
    return STATUS_OK;
}

static status run_gates(struct cpu_backend *cpu, const struct mixture *mixture, int pairs)
{
    const size_t in_stride = (size_t)mixture->hidden + ROW_PADDING;
    const size_t gate_stride = (size_t)mixture->gate_up->rows;
    const size_t width = (size_t)mixture->width;
    for (int e = 0; e < mixture->experts; e++) {
        const int first = mixture->expert_start[e];
        const struct product_call call = {.matrix = mixture->gate_up,
                                          .index = e,
                                          .in = mixture->rows + (size_t)first * in_stride,
                                          .in_stride = in_stride,
                                          .rows = mixture->expert_start[e + 1] - first,
                                          .out = mixture->gates + (size_t)first * gate_stride,
                                          .keeps_sums = true};
        TRY(cpu_is_rounded(cpu, mixture->gate_up) ? cpu_product_slice(cpu, &call, 0, call.out)
                                                  : cpu_product_run(cpu, &call));
    }
    const int threads = cpu_threads_for(cpu, 16.0 * pairs * mixture->width);
#pragma omp parallel for num_threads(threads)
    for (int pair = 0; pair < pairs; pair++) {
        const float *gate = mixture->gates + (size_t)pair * gate_stride;
        cpu->kernels->activate(mixture->activation, gate, mixture->gated ? gate + width : NULL,
                               mixture->width,
                               mixture->active + (size_t)pair * (width + ROW_PADDING));
    }
    if (!mixture->down->fp8) {
        cpu_round(cpu, NULL, mixture->active, (size_t)pairs * (width + ROW_PADDING));
    }
    return STATUS_OK;
}

/* One panel of outputs of one expert: its partial products, weighted, join the sums of its tokens'
 * slices. */
static void add_expert(const struct cpu_kernels *kernels, const struct mixture *mixture, int expert,
                       int panel, float *sums)
{
    const struct matrix *down = mixture->down;
    const size_t in_stride = (size_t)mixture->width + ROW_PADDING;
    const char *weights =
        (const char *)down->region.data +
        ((size_t)expert * (size_t)down->panels + (size_t)panel) * down->panel_bytes;
    float partial[MAX_TILE_ROWS * PANEL];
    const int last = mixture->expert_start[expert + 1];
    for (int first = mixture->expert_start[expert]; first < last; first += kernels->tile_rows) {
        const int rows = last - first < kernels->tile_rows ? last - first : kernels->tile_rows;
        for (int slice = 0; slice < mixture->slices; slice++) {
            const struct product_tile tile = {.in = mixture->active + (size_t)first * in_stride,
                                              .in_stride = in_stride,
                                              .rows = rows,
                                              .panel = weights,
                                              .panel_bytes = down->panel_bytes,
                                              .panels = 1,
                                              .bfloat16 = down->bfloat16,
                                              .slice_start = down->slice_start + slice,
                                              .slices = 1,
                                              .out = partial,
                                              .out_stride = PANEL,
                                              .columns = PANEL,
                                              .next = weights};
            kernels->product(&tile);
            for (int r = 0; r < rows; r++) {
                const size_t token = (size_t)mixture->pair_token[first + r];
                kernels->add_scaled(sums +
                                        (token * (size_t)mixture->slices + (size_t)slice) * PANEL,
                                    partial + r * PANEL, mixture->pair_weight[first + r], PANEL);
            }
        }
    }
}

static void run_down(struct cpu_backend *cpu, const struct mixture *mixture, int tokens, float *out)
{
    const struct cpu_kernels *kernels = cpu->kernels;
    const size_t sum_floats = (size_t)tokens * (size_t)mixture->slices * PANEL;
    const int threads =
        cpu_threads_for(cpu, (double)tokens * mixture->used * mixture->hidden * mixture->width);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int panel = 0; panel < mixture->down->panels; panel++) {
        float *sums = mixture->sums + (size_t)omp_get_thread_num() * sum_floats;
        memset(sums, 0, sum_floats * sizeof *sums);
        for (int e = 0; e < mixture->experts; e++) {
            add_expert(kernels, mixture, e, panel, sums);
        }
        const int left = mixture->hidden - panel * PANEL;
        for (size_t t = 0; t < (size_t)tokens; t++) {
            kernels->add_parts(sums + t * (size_t)mixture->slices * PANEL, mixture->slices, PANEL,
                               NULL, left < PANEL ? left : PANEL,
                               out + t * (size_t)mixture->hidden + (size_t)panel * PANEL);
        }
    }
}

/* run_down with the roundings of a reduced type. */
static status run_down_rounded(struct cpu_backend *cpu, const struct mixture *mixture, int tokens,
                               float *out)
{
    const size_t hidden = (size_t)mixture->hidden, slices = (size_t)mixture->slices;
    const size_t in_stride = (size_t)mixture->width + ROW_PADDING;
    const size_t sum_floats = (size_t)tokens * slices * hidden;
    size_t bytes;
    TRY(cpu_size(&bytes, "partial sums", 3, (size_t)tokens * (slices + 1), hidden, sizeof(float)));
    TRY(cpu_region_grow(&cpu->partials, bytes, "partial sums"));
    float *sums = cpu->partials.data, *product = sums + sum_floats; /* product [tokens][hidden] */
    memset(sums, 0, sum_floats * sizeof *sums);
    for (int e = 0; e < mixture->experts; e++) {
        const int first = mixture->expert_start[e], last = mixture->expert_start[e + 1];
        const struct product_call call = {.matrix = mixture->down,
                                          .index = e,
                                          .in = mixture->active + (size_t)first * in_stride,
                                          .in_stride = in_stride,
                                          .rows = last - first,
                                          .keeps_sums = true};
        for (size_t slice = 0; slice < slices && first < last; slice++) {
            TRY(cpu_product_slice(cpu, &call, (int)slice, product));
            for (int pair = first; pair < last; pair++) { /* weighted, rounded, then added */
                float *values = product + (size_t)(pair - first) * hidden;
                for (size_t i = 0; i < hidden; i++) {
                    values[i] *= mixture->pair_weight[pair];
                }
            }
            cpu_round(cpu, NULL, product, (size_t)(last - first) * hidden);
            for (int pair = first; pair < last; pair++) {
                const size_t token = (size_t)mixture->pair_token[pair];
                cpu->kernels->add_scaled(sums + (token * slices + slice) * hidden,
                                         product + (size_t)(pair - first) * hidden, 1.0f,
                                         mixture->hidden);
            }
        }
    }
    cpu_round(cpu, NULL, sums, sum_floats);
    for (size_t t = 0; t < (size_t)tokens; t++) {
        cpu->kernels->add_parts(sums + t * slices * hidden, mixture->slices, hidden, NULL,
                                mixture->hidden, out + t * hidden);
    }
    return STATUS_OK;
}

status cpu_experts(struct backend *backend, const struct matrix *router, int used, bool normalize,
                   enum activation activation, const struct matrix *gate_up,
                   const struct matrix *down, struct device_buffer *in, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->rows;
    struct mixture mixture = {.router = router,
                              .gate_up = gate_up,
                              .down = down,
                              .used = used,
                              .experts = router->rows,
                              .hidden = down->rows,
                              .width = down->columns,
                              .slices = down->slices,
                              .gate_rows = gate_up->rows,
                              .normalize = normalize,
                              .gated = gate_up->rows == 2 * down->columns,
                              .activation = activation};
    if (used < 1 || used > router->rows || gate_up->count != router->rows ||
        down->count != router->rows || router->columns != down->rows ||
        gate_up->columns != down->rows || down->slices == 0 || router->slices > 0 ||
        gate_up->slices > 0 || (!mixture.gated && gate_up->rows != down->columns)) {
        return status_fail(STATUS_INTERNAL, "experts: router, gates and down do not fit together");
    }
    const float *from = cpu_floats(in, tokens, mixture.hidden);
    float *to = cpu_floats(out, tokens, mixture.hidden);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    const size_t threads = (size_t)cpu->threads;
    const int chunk = choose_chunk(&mixture, tokens, threads);
    TRY(cpu_region_grow(&cpu->experts,
                        place_scratch(&mixture, (size_t)chunk, threads, NULL) * sizeof(float),
                        "experts"));
    place_scratch(&mixture, (size_t)chunk, threads, cpu->experts.data);
    for (int first = 0; first < tokens; first += chunk) {
        const int here = tokens - first < chunk ? tokens - first : chunk;
        const size_t at = (size_t)first * (size_t)mixture.hidden;
        TRY(route(cpu, &mixture, from + at, here));
        TRY(run_gates(cpu, &mixture, here * used));
        if (cpu_is_rounded(cpu, down)) {
            TRY(run_down_rounded(cpu, &mixture, here, to + at));
        } else {
            run_down(cpu, &mixture, here, to + at);
        }
    }
    return STATUS_OK;
}
