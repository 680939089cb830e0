/* SPDX-License-Identifier: Apache-2.0 */
/* Mixture of experts: router and plan, grouped gate and up product with the activation in it,
 * grouped down product by slices, and the sum over each token's experts.
 *
 * Grouped products are kernels of the project's own: the number of rows of each expert is known on
 * the device alone, so nothing here waits for it. All memory is sized by tokens · used. Tokens, and
 * the columns of the down product, go through in chunks that bound it; what a chunk holds enters no
 * token's result. */
#include "backend/cuda/cuda.h"

#include <string.h>

#include "backend/cuda/kind/memory.h"

_Static_assert((int)MAX_SLICES == (int)EXPERTS_MAX_SLICES, "kernels see other slices");

enum {
    COLUMN_UNIT = 128,
    PLACE_ALIGNMENT = 256,
};

/* One call's facts and its memory for one chunk of tokens. */
struct mixture {
    const struct expert_facts *facts;
    const struct expert_weights *weights;
    const struct matrix *router, *gate_up, *down;
    int used, width, hidden, slices;
    bool gated;
    int tokens;           /* at most, of a chunk */
    int rows;             /* of the chunk: tokens · used */
    size_t partial_bytes; /* what partials has */

    struct experts_route route; /* and the plan in it */
    void *packed_in;            /* fp8: [tokens, or rows where scales are static][padded] */
    float *packed_in_scale;
    void *active;        /* [rows][width] */
    void *packed_active; /* fp8: [slices][rows][padded] */
    float *packed_active_scale;
    float *static_scale; /* fp8: [rows] */
    void *partials;      /* [slices][rows][columns that fit] */
};

static bool is_fp8(const struct matrix *matrix)
{
    return matrix->dtype == DTYPE_FLOAT8_E4M3;
}

/* What is rounded to fp8 next is not rounded to 16 bits before. */
static enum dtype active_type(const struct cuda_backend *cuda, const struct mixture *mixture)
{
    return is_fp8(mixture->down) ? DTYPE_FLOAT32 : cuda->activation;
}

static bool has_static_scales(const struct matrix *matrix)
{
    return is_fp8(matrix) && matrix->input_scale != NULL;
}

/* ---- Memory ---- */

/* Places the memory of a chunk of `tokens` tokens at `base` (NULL: only counts); returns its bytes.
 */
static size_t place_memory(const struct cuda_backend *cuda, struct mixture *mixture, int tokens,
                           char *base)
{
    const size_t rows = (size_t)tokens * (size_t)mixture->used;
    const size_t experts = (size_t)mixture->gate_up->count, slices = (size_t)mixture->slices;
    const size_t logits = (size_t)mixture->router->rows;
    const size_t width = (size_t)mixture->width;
    const bool fp8 = is_fp8(mixture->gate_up);
    const size_t packed_rows = !fp8                                  ? 0
                               : has_static_scales(mixture->gate_up) ? rows
                                                                     : (size_t)tokens;
    const size_t down_rows = is_fp8(mixture->down) ? rows : 0;
    const size_t static_rows =
        has_static_scales(mixture->gate_up) || has_static_scales(mixture->down) ? rows : 0;
    struct experts_route *route = &mixture->route;
    struct experts_plan *plan = &route->plan;
    const struct {
        void **at;
        size_t bytes;
    } parts[] = {
        {(void **)&route->logits, (size_t)tokens * logits * sizeof(float)},
        {(void **)&route->chosen, rows * sizeof(int32_t)},
        {(void **)&route->weight, rows * sizeof(float)},
        {(void **)&plan->start, (experts + 1) * sizeof(int32_t)},
        {(void **)&plan->first_tile, (experts + 1) * sizeof(int32_t)},
        {(void **)&plan->tile_expert, (rows + experts) * sizeof(int32_t)},
        {(void **)&plan->row_token, rows * sizeof(int32_t)},
        {(void **)&plan->row_expert, rows * sizeof(int32_t)},
        {(void **)&plan->row_weight, rows * sizeof(float)},
        {(void **)&plan->pair_row, rows * sizeof(int32_t)},
        {&mixture->packed_in, packed_rows * (size_t)mixture->gate_up->padded},
        {(void **)&mixture->packed_in_scale, packed_rows * sizeof(float)},
        {&mixture->active, rows * width * dtype_bytes(active_type(cuda, mixture))},
        {&mixture->packed_active, slices * down_rows * (size_t)mixture->down->padded},
        {(void **)&mixture->packed_active_scale, slices * down_rows * sizeof(float)},
        {(void **)&mixture->static_scale, static_rows * sizeof(float)},
        {&mixture->partials, mixture->partial_bytes},
    };
    size_t total = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (base != NULL) {
            *parts[i].at = base + total;
        }
        total += (parts[i].bytes + PLACE_ALIGNMENT - 1) / PLACE_ALIGNMENT * PLACE_ALIGNMENT;
    }
    return total;
}

static size_t column_bytes(const struct cuda_backend *cuda, const struct mixture *mixture,
                           int tokens)
{
    return (size_t)mixture->slices * (size_t)tokens * (size_t)mixture->used *
           dtype_bytes(cuda->activation);
}

/* Memory for chunks of as many tokens as a step may have, as far as the bounds let it. */
static status reserve(struct cuda_backend *cuda, struct mixture *mixture)
{
    size_t row_bytes = (size_t)mixture->width * dtype_bytes(active_type(cuda, mixture));
    if (is_fp8(mixture->down)) {
        row_bytes += (size_t)mixture->slices * (size_t)mixture->down->padded;
    }
    const size_t token_bytes = (size_t)mixture->used * (row_bytes > 0 ? row_bytes : 1);
    const size_t most_tokens = CUDA_EXPERTS_ACTIVE_BYTES / token_bytes;
    mixture->tokens = cuda->max_tokens;
    if (most_tokens < (size_t)mixture->tokens) {
        mixture->tokens = most_tokens > 0 ? (int)most_tokens : 1;
    }
    const size_t each = column_bytes(cuda, mixture, mixture->tokens);
    const size_t all = each * (size_t)mixture->hidden;
    const size_t least = each * COLUMN_UNIT;
    mixture->partial_bytes =
        least > CUDA_EXPERTS_PARTIAL_BYTES ? least : CUDA_EXPERTS_PARTIAL_BYTES;
    mixture->partial_bytes = all < mixture->partial_bytes ? all : mixture->partial_bytes;
    return cuda_space_grow(cuda, &cuda->experts, place_memory(cuda, mixture, mixture->tokens, NULL),
                           "experts");
}

/* ---- Steps of a chunk ---- */

static const float *values_or_null(const struct vector *vector)
{
    return vector != NULL ? vector->data : NULL;
}

static void set_rules(const struct mixture *mixture, struct experts_route *call)
{
    const struct router_facts *rule = &mixture->facts->router;
    call->used = mixture->used;
    call->shared = mixture->facts->shared;
    call->sigmoid = rule->score == ROUTER_SIGMOID;
    call->groups = rule->groups;
    call->top_groups = rule->top_groups;
    call->by_best = rule->group_by_best;
    call->normalize = rule->normalize;
    call->least_sum = rule->least_sum;
    call->scale = rule->scale;
    call->router_bias = values_or_null(mixture->weights->router_bias);
    call->correction = values_or_null(mixture->weights->correction);
}

static status route(struct cuda_backend *cuda, struct mixture *mixture, const void *in, int tokens)
{
    const struct matrix *router = mixture->router;
    struct experts_route *call = &mixture->route;
    struct experts_plan *plan = &call->plan;
    mixture->rows = tokens * mixture->used;
    plan->experts = mixture->gate_up->count;
    plan->rows = mixture->rows;
    plan->tile_rows = experts_tile_rows(plan->rows, plan->experts);
    /* Every expert may have one tile that is not full, and no tile is empty. */
    plan->most_tiles = plan->rows / plan->tile_rows + plan->experts;
    plan->most_tiles = plan->most_tiles < plan->rows ? plan->most_tiles : plan->rows;
    call->tokens = tokens;
    call->hidden = mixture->hidden;
    set_rules(mixture, call);
    call->in = in;
    call->dtype = (int)cuda->activation;
    call->router = router->data;
    call->router_rows = router->rows;
    call->router_dtype = (int)router->dtype;
    call->router_stride = is_fp8(router) ? router->padded : router->columns;
    call->router_scale = router->scale;
    return cuda_check(experts_route_launch(cuda->stream, call), "router");
}

/* Rows rounded to fp8 for `reader`: with a scale of each row and slice, or its expert's where the
 * matrix has static ones (0: none for that expert). */
static status pack(struct cuda_backend *cuda, struct mixture *mixture, const struct matrix *reader,
                   struct rows_copy *call, void *packed, float *scale)
{
    struct rows_target *target = &call->target;
    *target = (struct rows_target){.packed = packed,
                                   .scale = scale,
                                   .slices = reader->slices > 0 ? reader->slices : 1,
                                   .padded = reader->padded,
                                   .scale_stride = call->rows};
    memcpy(target->slice_start, reader->slice_start, sizeof target->slice_start);
    if (has_static_scales(reader)) {
        struct experts_scales scales = {.rows = mixture->rows,
                                        .row_expert = mixture->route.plan.row_expert,
                                        .scale = mixture->static_scale};
        memcpy(scales.of_expert, reader->input_scale,
               (size_t)reader->count * sizeof *reader->input_scale);
        TRY(cuda_check(experts_scales_launch(cuda->stream, &scales), "experts"));
        target->row_static_scale = mixture->static_scale;
    }
    call->width = reader->columns;
    return cuda_check(rows_copy_launch(cuda->stream, call), "rounding to fp8");
}

/* Where the slices of `matrix` begin and how much of k they hold, and the same of its input: plain
 * rows `in`, or packed ones of `in_rows` rows. */
static status describe_operands(struct cuda_backend *cuda, const struct matrix *matrix,
                                const void *in, int in_rows, struct experts_product *call)
{
    const bool fp8 = is_fp8(matrix);
    const void *weights = matrix->data;
    enum dtype dtype = matrix->dtype;
    call->slices = matrix->slices > 0 ? matrix->slices : 1;
    if (fp8 && cuda->wide_sums) {
        const size_t columns = (size_t)call->slices * (size_t)matrix->padded;
        const size_t rows = (size_t)matrix->count * (size_t)matrix->rows;
        TRY(cuda_widen(cuda, 0, weights, rows * columns, &weights));
        TRY(cuda_widen(cuda, 1, in, (size_t)in_rows * columns, &in));
        dtype = DTYPE_FLOAT32;
    }
    const size_t value_bytes = dtype_bytes(dtype);
    const size_t row = (size_t)(fp8 ? matrix->padded : matrix->columns) * value_bytes;
    call->dtype = (int)dtype;
    call->weights = weights;
    call->weight_row_bytes = call->in_row_bytes = row;
    call->expert_bytes = (size_t)matrix->rows * row * (size_t)(fp8 ? call->slices : 1);
    call->matrix_rows = matrix->rows;
    call->weight_scale = matrix->scale;
    call->in = in;
    size_t offsets = row | call->expert_bytes | (size_t)(uintptr_t)in;
    for (int i = 0; i < call->slices; i++) {
        const size_t first = (size_t)matrix->slice_start[i] * value_bytes;
        call->weight_slice[i] = fp8 ? (size_t)i * (size_t)matrix->rows * row : first;
        call->in_slice[i] = fp8 ? (size_t)i * (size_t)in_rows * row : first;
        call->slice_bytes[i] =
            (int)((size_t)(matrix->slice_start[i + 1] - matrix->slice_start[i]) * value_bytes);
        offsets |= call->weight_slice[i] | call->in_slice[i];
    }
    call->aligned = offsets % 16 == 0;
    return STATUS_OK;
}

/* active = activation(gates), for every row */
static status run_gates(struct cuda_backend *cuda, struct mixture *mixture, const void *in,
                        int tokens)
{
    const struct matrix *gate_up = mixture->gate_up;
    const struct experts_plan *plan = &mixture->route.plan;
    if (mixture->width == 0) {
        return STATUS_OK;
    }
    struct experts_product call = {
        .plan = *plan,
        .columns = mixture->width,
        .bias = values_or_null(mixture->weights->gate_up_bias),
        .activation = (int)mixture->facts->activation,
        .limit = mixture->facts->limit,
        .gate_distance = mixture->gated ? mixture->width : 0,
        .source = plan->row_token,
        .out = mixture->active,
        .out_dtype = (int)active_type(cuda, mixture),
    };
    int in_rows = tokens;
    if (is_fp8(gate_up)) {
        struct rows_copy copy = {.rows = tokens, .in = in, .dtype = (int)cuda->activation};
        if (has_static_scales(gate_up)) { /* a token's row differs from expert to expert */
            copy.rows = in_rows = mixture->rows;
            copy.pick = plan->row_token;
            call.source = NULL;
        }
        TRY(pack(cuda, mixture, gate_up, &copy, mixture->packed_in, mixture->packed_in_scale));
        in = mixture->packed_in;
        call.in_scale = mixture->packed_in_scale;
        call.in_scale_stride = in_rows;
    }
    TRY(describe_operands(cuda, gate_up, in, in_rows, &call));
    return cuda_check(experts_product_launch(cuda->stream, &call), "experts");
}

/* The partial sums [slices][step's tokens][hidden] of `tokens` tokens, the first at `out`. */
static status run_down(struct cuda_backend *cuda, struct mixture *mixture, int tokens, void *out)
{
    const struct matrix *down = mixture->down;
    const struct experts_plan *plan = &mixture->route.plan;
    struct experts_product call = {
        .plan = *plan,
        .bias = values_or_null(mixture->weights->down_bias),
        .activation = -1,
        .row_weight = plan->row_weight,
        .out = mixture->partials,
        .out_dtype = (int)cuda->activation,
    };
    const void *in = mixture->active;
    if (is_fp8(down) && down->columns > 0) {
        struct rows_copy copy = {
            .rows = mixture->rows, .in = in, .dtype = (int)active_type(cuda, mixture)};
        TRY(pack(cuda, mixture, down, &copy, mixture->packed_active, mixture->packed_active_scale));
        in = mixture->packed_active;
        call.in_scale = mixture->packed_active_scale;
        call.in_scale_stride = mixture->rows;
    }
    TRY(describe_operands(cuda, down, in, mixture->rows, &call));
    if (down->columns == 0) {
        call.weight_scale = NULL; /* nobody wrote them; the sums are 0 */
    }
    struct experts_combine combine = {.tokens = tokens,
                                      .used = mixture->used,
                                      .slices = mixture->slices,
                                      .pair_row = plan->pair_row,
                                      .in = mixture->partials,
                                      .out = out,
                                      .out_tokens = cuda->step.tokens,
                                      .hidden = mixture->hidden,
                                      .dtype = (int)cuda->activation};
    const size_t fit = mixture->partial_bytes / column_bytes(cuda, mixture, tokens);
    const int columns =
        fit >= (size_t)mixture->hidden ? mixture->hidden : (int)fit / COLUMN_UNIT * COLUMN_UNIT;
    for (int first = 0; first < mixture->hidden; first += columns) {
        const int left = mixture->hidden - first;
        call.first_row = combine.first_column = first;
        call.columns = combine.columns = left < columns ? left : columns;
        TRY(cuda_check(experts_product_launch(cuda->stream, &call), "experts"));
        TRY(cuda_check(experts_combine_launch(cuda->stream, &combine), "experts"));
    }
    return STATUS_OK;
}

/* ---- The operation ---- */

static bool has_length(const struct vector *vector, int count, int each)
{
    return vector == NULL || (int64_t)vector->length == (int64_t)count * each;
}

static bool rules_fit(const struct router_facts *rule, int experts)
{
    const int each = rule->groups > 0 ? experts / rule->groups : 0;
    return rule->used >= 1 && rule->used <= experts &&
           (rule->groups == 0 ||
            (rule->groups > 0 && rule->groups <= EXPERTS_MOST_GROUPS && rule->top_groups >= 1 &&
             rule->top_groups <= rule->groups && each * rule->groups == experts &&
             rule->used <= rule->top_groups * each));
}

/* `experts`: those that the router chooses from. */
static bool router_fits(const struct mixture *mixture, int experts)
{
    const struct matrix *router = mixture->router;
    const int shared = mixture->facts->shared, more = router->rows - experts;
    return shared >= 0 && (more == 0 || (more == 1 && shared > 0)) &&
           rules_fit(&mixture->facts->router, experts) && router->count == 1 &&
           router->slices == 0 && router->columns == mixture->hidden &&
           has_length(mixture->weights->router_bias, 1, router->rows) &&
           has_length(mixture->weights->correction, 1, experts);
}

static bool products_fit(const struct mixture *mixture)
{
    const struct matrix *gate_up = mixture->gate_up, *down = mixture->down;
    return down->count == gate_up->count && gate_up->columns == down->rows && down->slices > 0 &&
           gate_up->slices == 0 && (mixture->gated || gate_up->rows == down->columns) &&
           (mixture->gated || mixture->facts->limit == 0) &&
           has_length(mixture->weights->gate_up_bias, gate_up->count, gate_up->rows) &&
           has_length(mixture->weights->down_bias, down->count, down->rows);
}

static status check_mixture(const struct cuda_backend *cuda, const struct mixture *mixture,
                            const struct device_buffer *in, const struct device_buffer *out)
{
    const int experts = mixture->gate_up->count;
    if (!router_fits(mixture, experts - mixture->facts->shared) || !products_fit(mixture)) {
        return status_fail(STATUS_INTERNAL, "experts: router, gates and down do not fit together");
    }
    if (experts > EXPERTS_MOST || mixture->used > EXPERTS_MOST_USED) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%d experts of which a token uses %d: the CUDA backend knows up to %d "
                           "and %d; use engine.device: cpu",
                           experts, mixture->used, (int)EXPERTS_MOST, (int)EXPERTS_MOST_USED);
    }
    if (in->packed.valid) {
        return status_fail(STATUS_INTERNAL, "experts: their input was left for another product");
    }
    if (cuda->partials.block_bytes > out->bytes) {
        return status_fail(STATUS_INTERNAL, "experts: %zu bytes in a buffer of %zu",
                           cuda->partials.block_bytes, out->bytes);
    }
    return cuda_buffer_check(in, cuda->step.tokens, mixture->hidden, dtype_bytes(cuda->activation));
}

status cuda_experts(struct backend *backend, const struct expert_facts *facts,
                    const struct expert_weights *weights, struct device_buffer *in,
                    struct device_buffer *out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const size_t value_bytes = dtype_bytes(cuda->activation);
    const struct matrix *gate_up = weights->gate_up, *down = weights->down;
    struct mixture mixture = {.facts = facts,
                              .weights = weights,
                              .router = weights->router,
                              .gate_up = gate_up,
                              .down = down,
                              .used = facts->router.used + facts->shared,
                              .width = down->columns,
                              .hidden = down->rows,
                              .slices = down->slices,
                              .gated = gate_up->rows == 2 * down->columns};
    cuda_partials_describe(cuda, down, cuda->step.tokens, &cuda->partials);
    cuda->partials.scaled = false; /* scales are applied here; the block keeps its size */
    TRY(check_mixture(cuda, &mixture, in, out));
    cuda_buffer_is_plain(out);
    if (mixture.hidden == 0) {
        return STATUS_OK;
    }
    TRY(reserve(cuda, &mixture));
    for (int first = 0; first < cuda->step.tokens; first += mixture.tokens) {
        const int left = cuda->step.tokens - first;
        const int tokens = left < mixture.tokens ? left : mixture.tokens;
        const size_t at = (size_t)first * (size_t)mixture.hidden * value_bytes;
        const char *from = (const char *)in->data + at;
        place_memory(cuda, &mixture, tokens, cuda->experts.data);
        TRY(route(cuda, &mixture, from, tokens));
        TRY(run_gates(cuda, &mixture, from, tokens));
        TRY(run_down(cuda, &mixture, tokens, (char *)out->data + at));
    }
    return STATUS_OK;
}
