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
    const struct expert_facts *facts;
    const struct matrix *router, *gate_up, *down;
    const struct vector *router_bias;
    struct router_rows routing;
    const float *gate_bias, *down_bias; /* of the first expert; or NULL */
    int used, experts;                  /* with the shared ones */
    int logits;                         /* of a token */
    int hidden, width, slices;
    int gate_rows; /* outputs of an expert's first product */
    bool gated;

    float *probability;    /* [tokens][logits] */
    float *scores;         /* [experts] */
    int32_t *chosen;       /* [tokens][used] */
    float *weight;         /* [tokens][used] */
    int32_t *expert_start; /* [experts + 1] into the pairs */
    int32_t *pair_token;   /* [tokens · used] */
    int32_t *pair_expert;  /* likewise */
    float *pair_weight;    /* likewise */
    float *rows;           /* [pairs][hidden + ROW_PADDING] */
    float *gates;          /* [pairs][gate_rows] */
    float *active;         /* [pairs][width + ROW_PADDING] */
    float *sums;           /* [threads][tokens][slices][PANEL] */
};

/* Places the scratch of `tokens` tokens at `base` (NULL: only counts) and returns its floats. */
static size_t place_scratch(struct mixture *mixture, size_t tokens, size_t threads, float *base)
{
    const size_t experts = (size_t)mixture->experts, logits = (size_t)mixture->logits;
    const size_t pairs = tokens * (size_t)mixture->used;
    struct {
        void **at;
        size_t floats;
    } parts[] = {
        {(void **)&mixture->probability, tokens * logits},
        {(void **)&mixture->scores, experts},
        {(void **)&mixture->chosen, pairs},
        {(void **)&mixture->weight, pairs},
        {(void **)&mixture->expert_start, experts + 1},
        {(void **)&mixture->pair_token, pairs},
        {(void **)&mixture->pair_expert, pairs},
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
                              .logits = shape->experts + 1,
                              .hidden = shape->hidden,
                              .width = shape->expert_columns,
                              .slices = shape->slices,
                              .gate_rows = (shape->gated ? 2 : 1) * shape->expert_columns};
    const int chunk = choose_chunk(&mixture, shape->tokens, (size_t)threads);
    return place_scratch(&mixture, (size_t)chunk, (size_t)threads, NULL);
}

/* Router and choice; then pairs sorted by expert and the gathered rows. */
static status route(struct cpu_backend *cpu, struct mixture *mixture, const float *in, int tokens)
{
    const size_t hidden = (size_t)mixture->hidden;
    const size_t used = (size_t)mixture->used;
    const struct product_call call = {.matrix = mixture->router,
                                      .in = in,
                                      .in_stride = hidden,
                                      .rows = tokens,
                                      .bias = mixture->router_bias,
                                      .out = mixture->probability};
    TRY(cpu_product_run(cpu, &call));
    memset(mixture->expert_start, 0, (size_t)(mixture->experts + 1) * sizeof(int32_t));
    for (size_t t = 0; t < (size_t)tokens; t++) {
        int32_t *chosen = mixture->chosen + t * used;
        cpu_choose_experts(cpu->kernels, mixture->facts, &mixture->routing,
                           mixture->probability + t * (size_t)mixture->logits, mixture->scores,
                           chosen, mixture->weight + t * used);
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
            mixture->pair_expert[pair] = mixture->chosen[t * used + i];
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

/* One pair's gates, with the bias of its expert, activated. */
static void activate_pair(const struct cpu_kernels *kernels, const struct mixture *mixture,
                          int pair)
{
    const size_t rows = (size_t)mixture->gate_rows, width = (size_t)mixture->width;
    float *gate = mixture->gates + (size_t)pair * rows;
    float *to = mixture->active + (size_t)pair * (width + ROW_PADDING);
    if (mixture->gate_bias != NULL) {
        const size_t expert = (size_t)mixture->pair_expert[pair];
        kernels->add_scaled(gate, mixture->gate_bias + expert * rows, 1.0f, mixture->gate_rows);
    }
    if (mixture->facts->limit > 0) {
        kernels->activate_clamped(mixture->facts->limit, gate, gate + width, mixture->width, to);
    } else {
        kernels->activate(mixture->facts->activation, gate, mixture->gated ? gate + width : NULL,
                          mixture->width, to);
    }
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
        activate_pair(cpu->kernels, mixture, pair);
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
    const float *bias =
        mixture->down_bias == NULL
            ? NULL
            : mixture->down_bias + (size_t)expert * (size_t)mixture->hidden + (size_t)panel * PANEL;
    const int columns = mixture->hidden - panel * PANEL;
    const int left = columns < PANEL ? columns : PANEL;
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
                if (mixture->down_bias != NULL && slice == 0) {
                    kernels->add_scaled(partial + r * PANEL, bias, 1.0f, left);
                }
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
                if (mixture->down_bias != NULL && slice == 0) {
                    cpu->kernels->add_scaled(values, mixture->down_bias + (size_t)e * hidden, 1.0f,
                                             mixture->hidden);
                }
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

static const float *values_or_null(const struct vector *vector)
{
    return vector != NULL ? vector->region.data : NULL;
}

static bool has_length(const struct vector *vector, int count, int each)
{
    return vector == NULL || (int64_t)vector->length == (int64_t)count * each;
}

static bool router_fits(const struct router_facts *router, int experts)
{
    const int each = router->groups > 0 ? experts / router->groups : 0;
    return router->used >= 1 && router->used <= experts &&
           (router->groups == 0 ||
            (router->groups > 0 && router->groups <= CPU_MOST_GROUPS && router->top_groups >= 1 &&
             router->top_groups <= router->groups && each * router->groups == experts &&
             router->used <= router->top_groups * each));
}

static bool fits(const struct mixture *mixture, const struct expert_weights *weights)
{
    const struct matrix *router = mixture->router, *gate_up = mixture->gate_up;
    const struct matrix *down = mixture->down;
    const int chosen_from = mixture->routing.experts;
    const int more = router->rows - chosen_from;
    return mixture->facts->shared >= 0 &&
           (more == 0 || (more == 1 && mixture->facts->shared > 0)) &&
           router_fits(&mixture->facts->router, chosen_from) && down->count == gate_up->count &&
           router->columns == down->rows && gate_up->columns == down->rows && down->slices > 0 &&
           router->slices == 0 && gate_up->slices == 0 &&
           (mixture->gated || gate_up->rows == down->columns) &&
           (mixture->gated || mixture->facts->limit == 0) &&
           has_length(weights->router_bias, 1, router->rows) &&
           has_length(weights->correction, 1, chosen_from) &&
           has_length(weights->gate_up_bias, gate_up->count, gate_up->rows) &&
           has_length(weights->down_bias, down->count, down->rows);
}

status cpu_experts(struct backend *backend, const struct expert_facts *facts,
                   const struct expert_weights *weights, struct device_buffer *in,
                   struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->rows;
    const struct matrix *gate_up = weights->gate_up, *down = weights->down;
    const int chosen_from = gate_up->count - facts->shared;
    struct mixture mixture = {.facts = facts,
                              .router = weights->router,
                              .gate_up = gate_up,
                              .down = down,
                              .router_bias = weights->router_bias,
                              .routing = {.experts = chosen_from,
                                          .has_shared_gate = weights->router->rows > chosen_from,
                                          .correction = values_or_null(weights->correction)},
                              .gate_bias = values_or_null(weights->gate_up_bias),
                              .down_bias = values_or_null(weights->down_bias),
                              .used = facts->router.used + facts->shared,
                              .experts = gate_up->count,
                              .logits = weights->router->rows,
                              .hidden = down->rows,
                              .width = down->columns,
                              .slices = down->slices,
                              .gate_rows = gate_up->rows,
                              .gated = gate_up->rows == 2 * down->columns};
    if (!fits(&mixture, weights)) {
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
        TRY(run_gates(cpu, &mixture, here * mixture.used));
        if (cpu_is_rounded(cpu, down)) {
            TRY(run_down_rounded(cpu, &mixture, here, to + at));
        } else {
            run_down(cpu, &mixture, here, to + at);
        }
    }
    return STATUS_OK;
}
