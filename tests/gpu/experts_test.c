/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend's mixture of experts beside the CPU's, and the same bits for a token whatever
 * stands beside it and on however many ranks the experts are cut. Differences are collected,
 * printed, and fail at the end. */
#include "gpu/gpu_fixture.h"

static int failures;

enum { MOST_TOKENS = 700, SLICES = 2 };

enum routing {
    ROUTING_RANDOM,
    ROUTING_ONE,  /* the same experts for all tokens */
    ROUTING_TIES, /* even experts are equal, and odd ones */
};
static const char *const routing_names[] = {"random", "one for all", "ties"};

/* What families have beyond a soft-max: all of it that a row of this table names. */
enum rules { PLAIN, QWEN2, DEEPSEEK, ERNIE, GPT_OSS, GROUPS_BY_BEST, RULES };
static const struct {
    const char *name;
    struct router_facts router; /* but used and normalize */
    int shared;
    bool has_shared_gate, has_router_bias, has_correction, has_biases;
    float limit;
} rules[RULES] = {
    [PLAIN] = {.name = "plain", .router = {.scale = 1}},
    [QWEN2] = {.name = "shared with a gate",
               .router = {.scale = 1},
               .shared = 1,
               .has_shared_gate = true},
    [DEEPSEEK] = {.name = "sigmoid, groups by two, shared",
                  .router = {.score = ROUTER_SIGMOID,
                             .groups = 4,
                             .top_groups = 2,
                             .least_sum = 1e-20f,
                             .scale = 2.5f},
                  .shared = 2,
                  .has_correction = true},
    [ERNIE] = {.name = "soft-max, correction, least sum",
               .router = {.least_sum = 0.3f, .scale = 1},
               .shared = 1,
               .has_correction = true},
    [GPT_OSS] = {.name = "biases, clamped",
                 .router = {.scale = 1},
                 .has_router_bias = true,
                 .has_biases = true,
                 .limit = 0.7f},
    [GROUPS_BY_BEST] = {.name = "groups by one, biases, shared with a gate",
                        .router = {.groups = 2, .top_groups = 1, .group_by_best = true, .scale = 1},
                        .shared = 1,
                        .has_shared_gate = true,
                        .has_router_bias = true,
                        .has_biases = true},
};

/* Experts are those that the router chooses from. */
struct mixture_case {
    int hidden, width, experts, used, tokens;
    bool gated, normalize;
    enum activation activation;
    int32_t slice_start[SLICES + 1];
    enum routing routing;
    enum rules rules;
};

static int stacked(const struct mixture_case *c)
{
    return c->experts + rules[c->rules].shared;
}

static int router_rows(const struct mixture_case *c)
{
    return c->experts + (rules[c->rules].has_shared_gate ? 1 : 0);
}

static const struct {
    const char *name;
    enum dtype compute;
    enum weight_format stored;
    bool static_scales; /* of inputs */
    double most;
} types[] = {
    {"float32", DTYPE_FLOAT32, WEIGHT_FLOAT32, false, 5e-6},
    {"bfloat16", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, false, 1e-2},
    {"float16", DTYPE_FLOAT16, WEIGHT_FLOAT16, false, 2e-3},
    {"fp8", DTYPE_BFLOAT16, WEIGHT_FP8, false, 1e-2},
    {"fp8 static", DTYPE_BFLOAT16, WEIGHT_FP8, true, 1e-2},
    {"fp8, float16", DTYPE_FLOAT16, WEIGHT_FP8, false, 1e-2},
};

static void expect(bool right, const char *what, size_t type, const struct mixture_case *c,
                   int tokens, double figure)
{
    if (!right) {
        failures++;
        print_error("%s in %s: %d experts, %d used, %s, %d x %d cut at %d, %s, routing %s, "
                    "%d tokens: %g\n",
                    what, types[type].name, c->experts, c->used, rules[c->rules].name, c->hidden,
                    c->width, c->slice_start[1], c->gated ? "gated" : "not gated",
                    routing_names[c->routing], tokens, figure);
    }
}

/* ---- Values ---- */

struct mixture_values {
    float *in;           /* [tokens][hidden] */
    float *router;       /* [router's rows][hidden] */
    float *gate_up;      /* [stacked][width, twice where gated][hidden] */
    float *down;         /* [stacked][hidden][width] */
    float *router_bias;  /* [router's rows] */
    float *correction;   /* [experts] */
    float *gate_up_bias; /* [stacked][width, twice where gated] */
    float *down_bias;    /* [stacked][hidden] */
};

static float *random_values(size_t count, uint64_t seed, float deviation)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    gpu_random(values, count, seed, deviation);
    return values;
}

static void set_routing(const struct mixture_case *c, struct mixture_values *v)
{
    const size_t hidden = (size_t)c->hidden;
    for (size_t e = 0; e < (size_t)c->experts; e++) {
        if (c->routing == ROUTING_ONE) {
            v->router[e * hidden] = e * 7 % (size_t)c->experts < (size_t)c->used ? 4.0f : -4.0f;
        } else if (c->routing == ROUTING_TIES) {
            memcpy(v->router + e * hidden, v->router + e % 2 * hidden, hidden * sizeof(float));
        }
    }
    for (size_t t = 0; c->routing == ROUTING_ONE && t < (size_t)c->tokens; t++) {
        v->in[t * hidden] = 2.0f;
    }
}

static struct mixture_values make_values(const struct mixture_case *c, size_t type)
{
    const size_t hidden = (size_t)c->hidden, width = (size_t)c->width;
    const size_t experts = (size_t)stacked(c), tokens = (size_t)c->tokens;
    const size_t logits = (size_t)router_rows(c);
    const size_t inner = c->gated ? 2 * width : width;
    struct mixture_values v = {
        .in = random_values(tokens * hidden, 1, 1.0f),
        .router = random_values(logits * hidden, 2, 2.0f / sqrtf((float)c->hidden)),
        .gate_up = random_values(experts * inner * hidden, 3, 1.0f / sqrtf((float)c->hidden)),
        .down = random_values(experts * hidden * width, 4, 1.0f / sqrtf((float)c->width)),
        .router_bias = random_values(logits, 5, 1.0f),
        .correction = random_values((size_t)c->experts, 6, 0.3f),
        .gate_up_bias = random_values(experts * inner, 7, 0.5f),
        .down_bias = random_values(experts * hidden, 8, 0.5f),
    };
    set_routing(c, &v);
    /* The CPU keeps more bits: give both sides the same. */
    gpu_round(v.in, tokens * hidden, types[type].compute);
    gpu_round(v.router, logits * hidden, types[type].compute);
    if (types[type].stored != WEIGHT_FP8) {
        const enum dtype numbers = weight_format_facts(types[type].stored)->numbers;
        gpu_round(v.gate_up, experts * inner * hidden, numbers);
        gpu_round(v.down, experts * hidden * width, numbers);
    }
    return v;
}

static void free_values(struct mixture_values *v)
{
    free(v->in);
    free(v->router);
    free(v->gate_up);
    free(v->down);
    free(v->router_bias);
    free(v->correction);
    free(v->gate_up_bias);
    free(v->down_bias);
}

/* ---- One run ---- */

static void begin_step(struct backend *backend, int tokens)
{
    static int32_t ids[MOST_TOKENS], positions[MOST_TOKENS];
    static int32_t start[2], context, blocks[1 + MOST_TOKENS];
    static struct batch batch;
    for (int i = 0; i < tokens; i++) {
        positions[i] = i;
    }
    start[1] = context = tokens;
    batch = (struct batch){.tokens = tokens,
                           .sequences = 1,
                           .token_ids = ids,
                           .positions = positions,
                           .query_start = start,
                           .context_length = &context,
                           .block_table = blocks,
                           .block_table_stride = 1 + MOST_TOKENS};
    check(backend->operations->step_begin(backend, &batch));
}

/* What a rank holds of every expert: columns [first, last) of the width, cut into `slices`. */
struct share {
    int first, last, slices;
    bool is_first; /* has the first slice */
    int32_t slice_start[SLICES + 1];
};

static struct matrix *make_gate_up(struct backend *backend, const struct mixture_case *c,
                                   const struct mixture_values *v, const struct share *share,
                                   enum weight_format stored)
{
    const struct backend_operations *op = backend->operations;
    const int own = share->last - share->first, parts = c->gated ? 2 : 1;
    const size_t hidden = (size_t)c->hidden;
    struct matrix *matrix;
    check(op->matrix_create(backend, stacked(c), parts * own, c->hidden, NULL, 0, stored, &matrix));
    for (int e = 0; e < stacked(c); e++) {
        for (int part = 0; part < parts; part++) {
            const size_t row = (size_t)((e * parts + part) * c->width + share->first);
            check(op->matrix_write(backend, matrix, e, part * own, own,
                                   &(const struct weight_rows){.data = v->gate_up + row * hidden,
                                                               .format = WEIGHT_FLOAT32,
                                                               .stride = hidden}));
        }
    }
    check(op->matrix_finish(backend, matrix));
    return matrix;
}

static struct matrix *make_down(struct backend *backend, const struct mixture_case *c,
                                const struct mixture_values *v, const struct share *share,
                                enum weight_format stored)
{
    const struct backend_operations *op = backend->operations;
    const size_t hidden = (size_t)c->hidden, width = (size_t)c->width;
    struct matrix *matrix;
    check(op->matrix_create(backend, stacked(c), c->hidden, share->last - share->first,
                            share->slice_start, share->slices, stored, &matrix));
    for (int e = 0; e < stacked(c); e++) {
        check(op->matrix_write(
            backend, matrix, e, 0, c->hidden,
            &(const struct weight_rows){.data = v->down + (size_t)e * hidden * width + share->first,
                                        .format = WEIGHT_FLOAT32,
                                        .stride = width}));
    }
    check(op->matrix_finish(backend, matrix));
    return matrix;
}

/* Scales that differ from expert to expert, near what the values need; the last expert has none. */
static void set_static_scales(struct backend *backend, const struct mixture_case *c,
                              struct matrix *gate_up, struct matrix *down)
{
    for (int e = 0; e + 1 < stacked(c); e++) {
        check(backend->operations->matrix_input_scale(backend, gate_up, e,
                                                      0.008f + 0.001f * (float)(e % 5)));
        check(backend->operations->matrix_input_scale(backend, down, e,
                                                      0.03f + 0.004f * (float)(e % 3)));
    }
}

static struct vector *make_vector(struct backend *backend, const float *values, int length)
{
    struct vector *vector;
    check(backend->operations->vector_create(backend, length, values, &vector));
    return vector;
}

/* The vectors that the case's rules name; a rank that has the first slice adds down's biases. */
static void make_vectors(struct backend *backend, const struct mixture_case *c,
                         const struct mixture_values *v, const struct share *share,
                         struct expert_weights *weights)
{
    if (rules[c->rules].has_router_bias) {
        weights->router_bias = make_vector(backend, v->router_bias, router_rows(c));
    }
    if (rules[c->rules].has_correction) {
        weights->correction = make_vector(backend, v->correction, c->experts);
    }
    if (!rules[c->rules].has_biases) {
        return;
    }
    const int own = share->last - share->first, parts = c->gated ? 2 : 1;
    float *bias = random_values((size_t)(stacked(c) * parts * own), 1, 1.0f);
    for (int i = 0; i < stacked(c) * parts; i++) {
        for (int k = 0; k < own; k++) {
            bias[i * own + k] = v->gate_up_bias[i * c->width + share->first + k];
        }
    }
    weights->gate_up_bias = make_vector(backend, bias, stacked(c) * parts * own);
    free(bias);
    if (share->is_first) {
        weights->down_bias = make_vector(backend, v->down_bias, stacked(c) * c->hidden);
    }
}

static void destroy_vectors(struct backend *backend, const struct expert_weights *weights)
{
    const struct vector *vectors[] = {weights->router_bias, weights->correction,
                                      weights->gate_up_bias, weights->down_bias};
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        if (vectors[i] != NULL) {
            backend->operations->vector_destroy(backend, (struct vector *)(uintptr_t)vectors[i]);
        }
    }
}

/* A rank's experts for tokens [first, first + tokens). sums: [tokens][hidden] of its slices, or
 * NULL; partials: what the operation left, [slices][tokens][hidden], or NULL. */
static void run_experts(struct backend *backend, const struct mixture_case *c,
                        const struct mixture_values *v, size_t type, const struct share *share,
                        int first, int tokens, float *sums, float *partials)
{
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const bool on_cpu = act == DTYPE_FLOAT32 && types[type].compute != DTYPE_FLOAT32;
    const enum weight_format stored =
        on_cpu && types[type].stored != WEIGHT_FP8 ? WEIGHT_FLOAT32 : types[type].stored;
    const size_t values = (size_t)tokens * (size_t)c->hidden;
    static const struct norm_facts facts = {.epsilon = 1e-5f};
    static const int32_t no_slices[] = {0};
    struct matrix *router, *gate_up = make_gate_up(backend, c, v, share, stored);
    struct matrix *down = make_down(backend, c, v, share, stored);
    check(op->matrix_create(backend, 1, router_rows(c), c->hidden, no_slices, 0,
                            weight_format_of(act), &router));
    check(op->matrix_write(backend, router, 0, 0, router_rows(c),
                           &(const struct weight_rows){.data = v->router,
                                                       .format = WEIGHT_FLOAT32,
                                                       .stride = (size_t)c->hidden}));
    check(op->matrix_finish(backend, router));
    if (types[type].static_scales) {
        set_static_scales(backend, c, gate_up, down);
    }
    begin_step(backend, tokens);
    struct device_buffer *in =
        gpu_buffer(backend, v->in + (size_t)first * (size_t)c->hidden, values, act);
    const size_t bytes = op->partial_bytes(backend, down, tokens);
    struct device_buffer *branch =
        gpu_buffer(backend, NULL, bytes > 0 ? bytes / 4 + 1 : values, DTYPE_FLOAT32);
    struct expert_facts mixture = {.router = rules[c->rules].router,
                                   .shared = rules[c->rules].shared,
                                   .activation = c->activation,
                                   .limit = rules[c->rules].limit};
    mixture.router.used = c->used;
    mixture.router.normalize = c->normalize;
    struct expert_weights weights = {.router = router, .gate_up = gate_up, .down = down};
    make_vectors(backend, c, v, share, &weights);
    check(op->experts(backend, &mixture, &weights, in, branch));
    if (partials != NULL) {
        gpu_values(backend, branch, (size_t)share->slices * values, act, partials);
    }
    if (sums != NULL) {
        memset(sums, 0, values * sizeof *sums);
        struct device_buffer *residual = gpu_buffer(backend, sums, values, DTYPE_FLOAT32);
        check(op->add_norm(backend, &facts, branch, 1, NULL, 1.0f, NULL, residual, c->hidden, NULL,
                           NULL, NULL, NULL));
        gpu_values(backend, residual, values, DTYPE_FLOAT32, sums);
        op->buffer_destroy(backend, residual);
    }
    op->buffer_destroy(backend, in);
    op->buffer_destroy(backend, branch);
    op->matrix_destroy(backend, router);
    op->matrix_destroy(backend, gate_up);
    op->matrix_destroy(backend, down);
    destroy_vectors(backend, &weights);
}

static struct share whole_share(const struct mixture_case *c)
{
    return (struct share){.last = c->width,
                          .slices = SLICES,
                          .is_first = true,
                          .slice_start = {0, c->slice_start[1], c->slice_start[2]}};
}

/* ---- Tests ---- */

static const struct mixture_case cases[] = {
    {64, 24, 4, 1, 1, true, true, ACTIVATION_SILU, {0, 8, 24}, ROUTING_RANDOM, PLAIN},
    {64, 24, 4, 2, 17, true, false, ACTIVATION_SILU, {0, 0, 24}, ROUTING_RANDOM, PLAIN},
    {72, 20, 4, 2, 17, true, true, ACTIVATION_GELU_TANH, {0, 12, 20}, ROUTING_RANDOM, PLAIN},
    {100, 36, 8, 8, 130, false, false, ACTIVATION_RELU, {0, 0, 36}, ROUTING_RANDOM, PLAIN},
    {74, 19, 8, 2, 130, true, true, ACTIVATION_SILU, {0, 7, 19}, ROUTING_RANDOM, PLAIN},
    {320, 160, 64, 8, 2, true, true, ACTIVATION_SILU, {0, 80, 160}, ROUTING_RANDOM, PLAIN},
    {512, 88, 64, 4, 130, true, false, ACTIVATION_SILU, {0, 40, 88}, ROUTING_RANDOM, PLAIN},
    {256, 96, 128, 8, 600, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, PLAIN},
    {256, 96, 128, 8, 1, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, PLAIN},
    {1024, 768, 8, 2, 600, true, true, ACTIVATION_SILU, {0, 384, 768}, ROUTING_RANDOM, PLAIN},
    {1024, 768, 8, 2, 2, true, true, ACTIVATION_GELU, {0, 384, 768}, ROUTING_RANDOM, PLAIN},
    {128, 64, 16, 1, 600, true, false, ACTIVATION_SILU, {0, 32, 64}, ROUTING_ONE, PLAIN},
    {128, 64, 128, 2, 130, true, true, ACTIVATION_SILU, {0, 32, 64}, ROUTING_ONE, PLAIN},
    {128, 64, 16, 4, 33, true, true, ACTIVATION_SILU, {0, 32, 64}, ROUTING_TIES, PLAIN},
    {136, 64, 128, 8, 130, false, false, ACTIVATION_SILU, {0, 16, 64}, ROUTING_TIES, PLAIN},
    {64, 24, 4, 2, 17, true, false, ACTIVATION_SILU, {0, 8, 24}, ROUTING_RANDOM, QWEN2},
    {256, 96, 60, 4, 130, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, QWEN2},
    {256, 96, 64, 8, 130, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, DEEPSEEK},
    {136, 64, 16, 6, 33, true, true, ACTIVATION_SILU, {0, 16, 64}, ROUTING_TIES, DEEPSEEK},
    {256, 96, 256, 8, 600, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, DEEPSEEK},
    {72, 20, 64, 6, 17, true, true, ACTIVATION_SILU, {0, 12, 20}, ROUTING_RANDOM, ERNIE},
    {320, 160, 32, 4, 130, true, true, ACTIVATION_SILU, {0, 80, 160}, ROUTING_RANDOM, GPT_OSS},
    {74, 19, 8, 4, 2, true, true, ACTIVATION_SILU, {0, 7, 19}, ROUTING_RANDOM, GPT_OSS},
    {64, 24, 32, 4, 600, true, true, ACTIVATION_SILU, {0, 0, 24}, ROUTING_RANDOM, GPT_OSS},
    {128, 64, 16, 4, 33, true, true, ACTIVATION_SILU, {0, 32, 64}, ROUTING_TIES, GROUPS_BY_BEST},
    {100, 36, 8, 2, 130, false, false, ACTIVATION_RELU, {0, 0, 36}, ROUTING_RANDOM, GROUPS_BY_BEST},
};

static bool has_static_scales(const struct backend *backend)
{
    return backend->operations->matrix_input_scale != NULL;
}

/* The distance of the token that is farthest, as a share of what a token's norm is on average (a
 * token whose experts cancel each other out has next to none). */
static double worst_token(const float *is, const float *should, int tokens, int hidden, int *which)
{
    double worst = 0, squares = 0;
    *which = 0;
    for (size_t i = 0; i < (size_t)tokens * (size_t)hidden; i++) {
        squares += (double)should[i] * (double)should[i];
    }
    const double norm = sqrt(squares / tokens);
    for (int t = 0; t < tokens; t++) {
        const size_t at = (size_t)t * (size_t)hidden;
        double difference = 0;
        for (size_t i = at; i < at + (size_t)hidden; i++) {
            difference += ((double)is[i] - should[i]) * ((double)is[i] - should[i]);
        }
        const double error = sqrt(difference) / norm;
        if (error > worst || isnan(error)) {
            worst = error;
            *which = t;
        }
    }
    return worst;
}

static void experts_are_right(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct mixture_case *c = &cases[i];
        const struct share share = whole_share(c);
        const size_t values = (size_t)c->tokens * (size_t)c->hidden;
        for (size_t type = 0; type < COUNT_OF(types); type++) {
            if (gpu_leaves_out(i * COUNT_OF(types) + type, c->tokens, 200)) {
                continue;
            }
            struct mixture_values v = make_values(c, type);
            /* fp8 beside the CPU that rounds alike, others beside float32. */
            const bool rounds = types[type].stored == WEIGHT_FP8;
            float *sums[2];
            bool both = true;
            for (int side = 0; side < 2 && both; side++) {
                sums[side] = calloc(values, sizeof(float));
                assert_non_null(sums[side]);
                struct backend *backend = gpu_backend(
                    side == 0 ? "cpu" : "cuda",
                    side == 0 && !rounds ? DTYPE_FLOAT32 : types[type].compute, MOST_TOKENS, 1);
                both = !types[type].static_scales || has_static_scales(backend);
                if (both) {
                    run_experts(backend, c, &v, type, &share, 0, c->tokens, sums[side], NULL);
                }
                backend->operations->destroy(backend);
            }
            if (both) {
                int which;
                const double error = gpu_distance(sums[1], sums[0], values);
                const double worst = worst_token(sums[1], sums[0], c->tokens, c->hidden, &which);
                print_message("experts in %-12s %3d of %3d, %4d x %3d, %3d tokens: %.1e, token %d "
                              "%.1e\n",
                              types[type].name, c->used, c->experts, c->hidden, c->width, c->tokens,
                              error, which, worst);
                /* Of few tokens a step of a rounding to fp8 here and there does not average out. */
                const double few = rounds && c->tokens < 10 ? 2 : 1;
                expect(error < few * types[type].most, "experts", type, c, c->tokens, error);
                expect(worst < 10 * types[type].most, "experts of the worst token", type, c,
                       c->tokens, worst);
                free(sums[1]);
            }
            free(sums[0]);
            free_values(&v);
        }
    }
    assert_int_equal(failures, 0);
}

/* Values whose bits differ. */
static int count_other_bits(const float *a, const float *b, size_t count)
{
    int other = 0;
    for (size_t i = 0; i < count; i++) {
        other += memcmp(&a[i], &b[i], sizeof *a) != 0;
    }
    return other;
}

/* Tokens alone and in smaller batches have the bits that they have in the whole: numbers of tokens
 * that take tiles of every size. */
static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct mixture_case both[] = {
        {512, 160, 16, 4, 700, true, true, ACTIVATION_SILU, {0, 64, 160}, ROUTING_RANDOM, PLAIN},
        {200, 36, 8, 2, 700, true, true, ACTIVATION_SILU, {0, 20, 36}, ROUTING_RANDOM, PLAIN},
        {256, 96, 64, 8, 700, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, DEEPSEEK},
        {320, 160, 32, 4, 700, true, true, ACTIVATION_SILU, {0, 80, 160}, ROUTING_RANDOM, GPT_OSS},
        {256, 96, 60, 4, 700, true, true, ACTIVATION_SILU, {0, 48, 96}, ROUTING_RANDOM, QWEN2},
    };
    static const struct {
        int first, tokens;
    } parts[] = {{0, 1}, {699, 1}, {350, 7}, {3, 64}, {100, 257}, {0, 512}, {0, 700}};
    failures = 0;
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        const struct mixture_case *c = &both[i];
        const struct share share = whole_share(c);
        const size_t hidden = (size_t)c->hidden;
        for (size_t type = 0; type < COUNT_OF(types); type++) {
            struct mixture_values v = make_values(c, type);
            float *whole = random_values((size_t)c->tokens * hidden, 1, 1.0f);
            float *part = random_values((size_t)c->tokens * hidden, 1, 1.0f);
            struct backend *backend = gpu_backend("cuda", types[type].compute, MOST_TOKENS, 1);
            run_experts(backend, c, &v, type, &share, 0, c->tokens, whole, NULL);
            for (size_t k = 0; k < COUNT_OF(parts); k++) {
                run_experts(backend, c, &v, type, &share, parts[k].first, parts[k].tokens, part,
                            NULL);
                const float *should = whole + (size_t)parts[k].first * hidden;
                const size_t count = (size_t)parts[k].tokens * hidden;
                const int other = count_other_bits(part, should, count);
                if (other > 0) {
                    print_error("tokens from %d: %d of %zu values, distance %g\n", parts[k].first,
                                other, count, gpu_distance(part, should, count));
                }
                expect(other == 0, "bits in a smaller batch", type, c, parts[k].tokens, other);
            }
            backend->operations->destroy(backend);
            free(whole);
            free(part);
            free_values(&v);
        }
    }
    assert_int_equal(failures, 0);
}

/* Both slices on one rank are what each leaves on a rank of its own. */
static void bits_know_no_ranks(void **state)
{
    (void)state;
    failures = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct mixture_case *c = &cases[i];
        const struct share whole = whole_share(c);
        const size_t values = (size_t)c->tokens * (size_t)c->hidden;
        for (size_t type = 0; type < COUNT_OF(types); type++) {
            struct mixture_values v = make_values(c, type);
            float *one = random_values(SLICES * values, 1, 1.0f);
            float *other = random_values(values, 1, 1.0f);
            struct backend *backend = gpu_backend("cuda", types[type].compute, MOST_TOKENS, 1);
            run_experts(backend, c, &v, type, &whole, 0, c->tokens, NULL, one);
            for (int rank = 0; rank < SLICES; rank++) {
                const int first = c->slice_start[rank], last = c->slice_start[rank + 1];
                const struct share share = {.first = first,
                                            .last = last,
                                            .slices = 1,
                                            .is_first = rank == 0,
                                            .slice_start = {0, last - first}};
                run_experts(backend, c, &v, type, &share, 0, c->tokens, NULL, other);
                const int differ = count_other_bits(other, one + (size_t)rank * values, values);
                expect(differ == 0, rank == 0 ? "bits of rank 0" : "bits of rank 1", type, c,
                       c->tokens, differ);
            }
            backend->operations->destroy(backend);
            free(one);
            free(other);
            free_values(&v);
        }
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(experts_are_right),
        cmocka_unit_test(bits_know_no_batch),
        cmocka_unit_test(bits_know_no_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
