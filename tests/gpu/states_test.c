/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that keep states on the CUDA backend beside the CPU's: short convolutions, the gated delta
 * rule, state spaces. The same bits however sequences are cut into steps and batched, wherever
 * their states lie and whatever stood there, and for half of the heads on a rank. */
#include "gpu/gpu_fixture.h"

static int failures;

enum { SEQUENCES = 4, MOST_TOKENS = 400, PLACES = 10, MOST_SECTIONS = 6 };

enum kind { CONVOLUTION, DELTA, SCAN };

/* Heads: of keys and values, or of a state space with its groups. A convolution has `columns`
 * channels. */
struct layer {
    const char *what;
    enum kind kind;
    int key_heads, value_heads, rows, columns, taps, groups;
    bool has_bias, gates;
    int lengths[SEQUENCES];
};

static const struct layer layers[] = {
    {"short convolution", CONVOLUTION, 0, 0, 0, 300, 3, 0, true, false, {70, 1, 33, 2}},
    {"short convolution of 8", CONVOLUTION, 0, 0, 0, 17, 8, 0, false, false, {70, 1, 33, 2}},
    {"delta 128 x 128", DELTA, 2, 4, 128, 128, 4, 0, false, false, {70, 1, 33, 2}},
    {"delta 16 x 24", DELTA, 2, 2, 16, 24, 4, 0, false, false, {70, 1, 33, 2}},
    {"delta 100 x 40", DELTA, 4, 8, 100, 40, 2, 0, false, false, {19, 8, 9, 1}},
    {"delta 256 x 32", DELTA, 2, 2, 256, 32, 4, 0, false, false, {20, 3, 8, 7}},
    {"space 128 x 64", SCAN, 0, 4, 128, 64, 4, 2, true, true, {70, 1, 33, 2}},
    {"space 16 x 20", SCAN, 0, 6, 16, 20, 4, 2, false, false, {70, 1, 33, 2}},
    {"space 256 x 64, one group", SCAN, 0, 2, 256, 64, 4, 1, true, false, {20, 3, 8, 7}},
};

static const struct {
    const char *name;
    enum dtype compute;
    double most;
} types[] = {
    {"float32", DTYPE_FLOAT32, 1e-5},
    {"bfloat16", DTYPE_BFLOAT16, 1e-2},
    {"float16", DTYPE_FLOAT16, 2e-3},
};

/* How sequences run: those of `set`, `first` tokens of each and then `chunk` at a time, `place` the
 * first one's, others from the second step on where they move; `times` all over on the same cache.
 */
struct way {
    const char *what;
    unsigned set;
    int first, chunk, place, times;
    bool moves;
};
static const struct way whole = {"whole", 15, MOST_TOKENS, MOST_TOKENS, 0, 1, false};

static void expect(bool right, const char *what, const char *layer, const char *type, double figure)
{
    if (!right) {
        failures++;
        print_error("WRONG: %s: %s, %s: %g\n", what, layer, type, figure);
    }
}

/* ---- Rows ---- */

/* A part of a row: `count` heads (or groups) of `width` values. */
struct section {
    int count, width;
    bool is_convolved, is_out, is_group;
};

static int sections_of(const struct layer *l, struct section s[MOST_SECTIONS])
{
    const struct section keys = {l->key_heads, l->rows, true, false, false};
    const struct section values = {l->value_heads, l->columns, true, true, false};
    const struct section gates = {l->value_heads, l->columns, false, false, false};
    const struct section numbers = {l->value_heads, 1, false, false, false};
    const struct section groups = {l->groups, l->rows, true, false, true};
    if (l->kind == CONVOLUTION) {
        const struct section channels = {1, l->columns, false, false, false};
        s[0] = (struct section){1, l->columns, true, true, false};
        s[1] = s[2] = channels;
        return 3;
    }
    if (l->kind == DELTA) {
        s[0] = s[1] = keys;
        s[2] = values;
        s[3] = gates;
        s[4] = s[5] = numbers;
        return 6;
    }
    s[0] = gates;
    s[1] = values;
    s[2] = s[3] = groups;
    s[4] = numbers;
    return 5;
}

/* Heads on a rank: all, or a half of them. */
struct share {
    int part, parts;
};

static const struct share all = {0, 1};

/* A group that half of the heads read is on that rank alone; one that all read is on both. */
static int share_of(const struct section *s, const struct share *share, int *first)
{
    const int parts = s->is_group && s->count % share->parts != 0 ? 1 : share->parts;
    *first = parts == 1 ? 0 : share->part * (s->count / parts);
    return s->count / parts;
}

enum columns { ALL_COLUMNS, CONVOLVED, OUTPUTS };

static bool has(const struct section *s, enum columns columns)
{
    return columns == ALL_COLUMNS || (columns == CONVOLVED ? s->is_convolved : s->is_out);
}

static int width_of(const struct layer *l, const struct share *share, enum columns columns)
{
    struct section s[MOST_SECTIONS];
    int width = 0, first;
    const int count = sections_of(l, s);
    for (int i = 0; i < count; i++) {
        width += has(&s[i], columns) ? share_of(&s[i], share, &first) * s[i].width : 0;
    }
    return width;
}

/* The rank's columns of a row that has all. */
static void cut_row(const struct layer *l, const struct share *share, enum columns columns,
                    const float *from, float *to)
{
    struct section s[MOST_SECTIONS];
    const int count = sections_of(l, s);
    for (int i = 0; i < count; i++) {
        if (has(&s[i], columns)) {
            int first;
            const size_t own = (size_t)share_of(&s[i], share, &first) * (size_t)s[i].width;
            memcpy(to, from + (size_t)first * (size_t)s[i].width, own * sizeof *to);
            from += (size_t)s[i].count * (size_t)s[i].width;
            to += own;
        }
    }
}

static float *new_values(size_t count)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    return values;
}

static float *random_values(size_t count, uint64_t seed, float deviation)
{
    float *values = new_values(count);
    gpu_random(values, count, seed, deviation);
    return values;
}

/* ---- A layer on a rank ---- */

struct rank {
    struct backend *backend;
    const struct layer *layer;
    struct share share;
    enum dtype compute;                                           /* that inputs are rounded to */
    struct vector *convolution, *bias, *decay, *step_bias, *last; /* last: norm or skip */
    struct kv_cache *cache;
    int row, channels, out;
};

static struct vector *new_vector(struct backend *backend, const float *values, int length)
{
    struct vector *vector;
    check(backend->operations->vector_create(backend, length, values, &vector));
    return vector;
}

static struct vector *cut_vector(struct rank *rank, uint64_t seed, int rows, enum columns columns,
                                 float deviation)
{
    const int width = width_of(rank->layer, &all, columns);
    const int own = width_of(rank->layer, &rank->share, columns);
    float *values = random_values((size_t)rows * (size_t)width, seed, deviation);
    for (int i = 0; i < rows; i++) {
        float *part = new_values((size_t)own);
        cut_row(rank->layer, &rank->share, columns, values + (size_t)i * (size_t)width, part);
        memcpy(values + (size_t)i * (size_t)own, part, (size_t)own * sizeof *part);
        free(part);
    }
    struct vector *vector = new_vector(rank->backend, values, rows * own);
    free(values);
    return vector;
}

static struct vector *head_vector(struct rank *rank, uint64_t seed, float deviation)
{
    const int heads = rank->layer->value_heads, own = heads / rank->share.parts;
    float *values = random_values((size_t)heads, seed, deviation);
    struct vector *vector = new_vector(rank->backend, values + rank->share.part * own, own);
    free(values);
    return vector;
}

static void rank_create(struct rank *rank, struct backend *backend, const struct layer *l,
                        struct share share, enum dtype compute)
{
    *rank = (struct rank){.backend = backend, .layer = l, .share = share, .compute = compute};
    rank->row = width_of(l, &share, ALL_COLUMNS);
    rank->channels = width_of(l, &share, CONVOLVED);
    rank->out = width_of(l, &share, OUTPUTS);
    rank->convolution = cut_vector(rank, 20, l->taps, CONVOLVED, 0.5f);
    if (l->has_bias) {
        rank->bias = cut_vector(rank, 21, 1, CONVOLVED, 0.3f);
    }
    if (l->kind != CONVOLUTION) {
        rank->decay = head_vector(rank, 22, 0.5f);
        rank->step_bias = head_vector(rank, 23, 0.5f);
        float *norm = random_values((size_t)l->columns, 24, 0.5f);
        rank->last =
            l->kind == DELTA ? new_vector(backend, norm, l->columns) : head_vector(rank, 25, 0.5f);
        free(norm);
    }
    const int64_t state = (int64_t)(l->taps - 1) * rank->channels +
                          (l->kind == CONVOLUTION ? 0 : (int64_t)rank->out * l->rows);
    const struct cache_store store = {.kind = STORE_NO_POSITIONS, .state_values = state};
    const struct cache_store stores[] = {store, store};
    const struct cache_layout layout = {.layers = 2,
                                        .stores = stores,
                                        .block_tokens = 16,
                                        .dtype = DTYPE_FLOAT32,
                                        .places = PLACES};
    assert_true(backend->operations->state_bytes(backend, &layout) == 2 * 4 * state);
    check(backend->operations->kv_create(backend, &layout, 1, &rank->cache));
}

static void rank_destroy(struct rank *rank)
{
    struct vector *vectors[] = {rank->convolution, rank->bias, rank->decay, rank->step_bias,
                                rank->last};
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        if (vectors[i] != NULL) {
            rank->backend->operations->vector_destroy(rank->backend, vectors[i]);
        }
    }
    rank->backend->operations->kv_destroy(rank->backend, rank->cache);
}

static status run_operation(const struct rank *rank, struct device_buffer *in,
                            struct device_buffer *work, struct device_buffer *out)
{
    const struct backend_operations *op = rank->backend->operations;
    const struct layer *l = rank->layer;
    const int heads = l->value_heads / rank->share.parts;
    if (l->kind == CONVOLUTION) {
        return op->short_convolution(rank->backend, l->columns, l->taps, rank->convolution,
                                     rank->bias, in, rank->cache, 1, NULL, out);
    }
    if (l->kind == DELTA) {
        const struct delta_facts facts = {.key_heads = l->key_heads / rank->share.parts,
                                          .value_heads = heads,
                                          .key_dim = l->rows,
                                          .value_dim = l->columns,
                                          .taps = l->taps,
                                          .epsilon = 1e-6f};
        const struct delta_weights weights = {rank->convolution, rank->decay, rank->step_bias,
                                              rank->last};
        return op->gated_delta(rank->backend, &facts, &weights, in, work, rank->cache, 1, NULL,
                               out);
    }
    const struct section groups = {l->groups, l->rows, true, false, true};
    int first_group;
    const struct scan_facts facts = {.heads = heads,
                                     .head_dim = l->columns,
                                     .groups = share_of(&groups, &rank->share, &first_group),
                                     .state_dim = l->rows,
                                     .first_head = rank->share.part * heads,
                                     .heads_per_group = l->value_heads / l->groups,
                                     .taps = l->taps,
                                     .least_step = 0.05f,
                                     .most_step = 2.0f,
                                     .gates = l->gates};
    const struct scan_weights weights = {rank->convolution, rank->bias, rank->decay,
                                         rank->step_bias, rank->last};
    return op->scan(rank->backend, &facts, &weights, in, work, rank->cache, 1, NULL, out);
}

/* ---- Steps ---- */

/* The rank's row of a token, rounded. */
static void make_row(const struct rank *rank, int sequence, int position, float *to)
{
    const int width = width_of(rank->layer, &all, ALL_COLUMNS);
    float *row = random_values((size_t)width, (uint64_t)(100 + sequence * 1000 + position), 1.0f);
    gpu_round(row, (size_t)width, rank->compute);
    cut_row(rank->layer, &rank->share, ALL_COLUMNS, row, to);
    free(row);
}

struct step {
    struct batch batch;
    int32_t ids[MOST_TOKENS], positions[MOST_TOKENS], start[SEQUENCES + 1], context[SEQUENCES];
    int32_t table[SEQUENCES * MOST_TOKENS], place[SEQUENCES], from[SEQUENCES];
    int sequence[MOST_TOKENS]; /* of each token */
};

static bool make_step(const struct layer *l, const struct way *way, int number, struct step *step)
{
    const int first = number == 0 ? 0 : way->first + (number - 1) * way->chunk;
    const int chunk = number == 0 ? way->first : way->chunk;
    step->batch = (struct batch){.token_ids = step->ids,
                                 .positions = step->positions,
                                 .query_start = step->start,
                                 .context_length = step->context,
                                 .block_table = step->table,
                                 .block_table_stride = MOST_TOKENS,
                                 .state_place = step->place,
                                 .state_from = way->moves ? step->from : NULL};
    struct batch *batch = &step->batch;
    for (int i = 0; i < SEQUENCES; i++) {
        const int s = number % 2 == 0 ? i : SEQUENCES - 1 - i;
        const int left = l->lengths[s] - first, here = left < chunk ? left : chunk;
        if ((way->set >> s & 1) == 0 || left <= 0) {
            continue;
        }
        for (int k = 0; k < here; k++) {
            step->sequence[batch->tokens] = s;
            step->positions[batch->tokens++] = first + k;
        }
        step->context[batch->sequences] = first + here;
        const int before = (way->place + s) % PLACES, behind = (before + SEQUENCES) % PLACES;
        step->place[batch->sequences] = way->moves && number > 0 ? behind : before;
        step->from[batch->sequences] = number > 1 ? behind : before;
        step->start[++batch->sequences] = batch->tokens;
    }
    return batch->tokens > 0;
}

static void run_step(const struct rank *rank, const struct step *step, float *const *outs)
{
    const struct backend_operations *op = rank->backend->operations;
    const enum dtype act = op->activation_dtype(rank->backend);
    const size_t tokens = (size_t)step->batch.tokens, row = (size_t)rank->row;
    const size_t width = (size_t)rank->out;
    float *rows = new_values(tokens * (row > width ? row : width));
    for (size_t t = 0; t < tokens; t++) {
        make_row(rank, step->sequence[t], step->positions[t], rows + t * row);
    }
    struct device_buffer *in = gpu_buffer(rank->backend, rows, tokens * row, act);
    struct device_buffer *work =
        gpu_buffer(rank->backend, NULL, tokens * (size_t)rank->channels, DTYPE_FLOAT32);
    struct device_buffer *out = gpu_buffer(rank->backend, NULL, tokens * width, act);
    check(op->step_begin(rank->backend, &step->batch));
    check(run_operation(rank, in, work, out));
    gpu_values(rank->backend, out, tokens * width, act, rows);
    for (size_t t = 0; t < tokens; t++) {
        memcpy(outs[step->sequence[t]] + (size_t)step->positions[t] * width, rows + t * width,
               width * sizeof *rows);
    }
    op->buffer_destroy(rank->backend, in);
    op->buffer_destroy(rank->backend, work);
    op->buffer_destroy(rank->backend, out);
    free(rows);
}

/* outs: [sequence][length][the rank's outputs], to be freed one by one. */
static void run_way(struct backend *backend, const struct layer *l, struct share share,
                    enum dtype compute, const struct way *way, float *outs[SEQUENCES])
{
    static struct step step;
    struct rank rank;
    rank_create(&rank, backend, l, share, compute);
    for (int s = 0; s < SEQUENCES; s++) {
        outs[s] = calloc((size_t)l->lengths[s] * (size_t)rank.out + 1, sizeof(float));
        assert_non_null(outs[s]);
    }
    for (int time = 0; time < way->times; time++) {
        for (int number = 0; make_step(l, way, number, &step); number++) {
            run_step(&rank, &step, outs);
        }
    }
    rank_destroy(&rank);
}

static void free_outs(float *outs[SEQUENCES])
{
    for (int s = 0; s < SEQUENCES; s++) {
        free(outs[s]);
    }
}

/* ---- Tests ---- */

static void states_are_right(void **state)
{
    (void)state;
    failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, MOST_TOKENS, SEQUENCES);
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, MOST_TOKENS, SEQUENCES);
        for (size_t i = 0; i < COUNT_OF(layers); i++) {
            const struct layer *l = &layers[i];
            float *is[SEQUENCES], *should[SEQUENCES];
            run_way(gpu, l, all, types[t].compute, &whole, is);
            run_way(cpu, l, all, types[t].compute, &whole, should);
            double worst = 0;
            for (int s = 0; s < SEQUENCES; s++) {
                const size_t count = (size_t)l->lengths[s] * (size_t)width_of(l, &all, OUTPUTS);
                const double distance = gpu_distance(is[s], should[s], count);
                worst = distance > worst ? distance : worst;
            }
            print_message("%-28s %-10s %.1e\n", l->what, types[t].name, worst);
            expect(worst < types[t].most, "values", l->what, types[t].name, worst);
            free_outs(is);
            free_outs(should);
        }
        gpu->operations->destroy(gpu);
    }
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

/* Values of the sequences in `set` whose bits differ; `is` has the columns of `share`. */
static int count_other_bits(const struct layer *l, const struct share *share, unsigned set,
                            float *const *is, float *const *should)
{
    const size_t width = (size_t)width_of(l, share, OUTPUTS);
    const size_t from = (size_t)width_of(l, &all, OUTPUTS);
    float *part = new_values(width);
    int other = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        for (size_t p = 0; (set >> s & 1) && p < (size_t)l->lengths[s]; p++) {
            cut_row(l, share, OUTPUTS, should[s] + p * from, part);
            for (size_t i = 0; i < width; i++) {
                other += memcmp(part + i, is[s] + p * width + i, sizeof *part) != 0;
            }
        }
    }
    free(part);
    return other;
}

static void bits_know_no_steps(void **state)
{
    (void)state;
    static const struct way ways[] = {
        {"token by token", 15, 1, 1, 0, 1, false},
        {"chunks of 5", 15, 5, 5, 3, 1, false},
        {"chunks of 8", 15, 8, 8, 1, 1, false},
        {"a chunk of 17, then tokens", 15, 17, 1, 0, 1, false},
        {"alone", 1, MOST_TOKENS, 1, 5, 1, false},
        {"two of them, second time", 5, 9, 7, 2, 2, false},
        {"states that move", 15, 8, 9, 3, 2, true},
    };
    failures = 0;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, MOST_TOKENS, SEQUENCES);
        for (size_t i = 0; i < COUNT_OF(layers); i++) {
            float *is[SEQUENCES], *should[SEQUENCES];
            run_way(gpu, &layers[i], all, types[t].compute, &whole, should);
            for (size_t w = 0; w < COUNT_OF(ways); w++) {
                run_way(gpu, &layers[i], all, types[t].compute, &ways[w], is);
                const int other = count_other_bits(&layers[i], &all, ways[w].set, is, should);
                expect(other == 0, ways[w].what, layers[i].what, types[t].name, other);
                free_outs(is);
            }
            free_outs(should);
        }
        gpu->operations->destroy(gpu);
    }
    assert_int_equal(failures, 0);
}

static void bits_know_no_ranks(void **state)
{
    (void)state;
    failures = 0;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, MOST_TOKENS, SEQUENCES);
        for (size_t i = 0; i < COUNT_OF(layers); i++) {
            if (layers[i].kind == CONVOLUTION) {
                continue;
            }
            float *is[SEQUENCES], *should[SEQUENCES];
            run_way(gpu, &layers[i], all, types[t].compute, &whole, should);
            for (int part = 0; part < 2; part++) {
                const struct share share = {part, 2};
                run_way(gpu, &layers[i], share, types[t].compute, &whole, is);
                const int other = count_other_bits(&layers[i], &share, 15, is, should);
                expect(other == 0, part == 0 ? "first half" : "second half", layers[i].what,
                       types[t].name, other);
                free_outs(is);
            }
            free_outs(should);
        }
        gpu->operations->destroy(gpu);
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_right),
        cmocka_unit_test(bits_know_no_steps),
        cmocka_unit_test(bits_know_no_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
