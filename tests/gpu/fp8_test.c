/* SPDX-License-Identifier: Apache-2.0 */
/* Published forms of FP8 checkpoints on a GPU (tests/data/models_fp8): beside golden logits with
 * the same roundings and beside the CPU that rounds alike, and the same bits however a prompt is
 * cut, what it is batched with, and on how many ranks. Differences are collected, printed for every
 * model, and fail at the end. */
#include "gpu/forward_checks.h"
#include "gpu/gpu_require.h"
#include "parity/fp8_models.h"

/* Relative errors. With experts a router's near tie may fall the other way at a position. */
struct bound {
    double dense, mixture;
};

/* What is run, and the same on the CPU. `golden`: the logits that it must be near. Where float32
 * lies between, golden logits round where the GPU rounds: what is left are numbers that errors of
 * its fp8 products (2^-14) move to the next fp8 number, and nothing where those add up in float32;
 * scales of inputs that are not used are 0.13 to 0.3 away, those of the cache 0.4 and more. In
 * bfloat16 its roundings come before those to fp8: the CPU, rounding so, is 0.05 to 0.1 from these
 * golden logits, and 0.15 where a router's choice changes. Layers' bounds are those of
 * forward_test.c, which says why they are no smaller. */
static const struct run {
    const char *name;
    struct machine machine, reference;
    const char *golden;
    bool needs_cache_scales;
    struct bound bound, layer;
} runs[] = {
    {.name = "float32",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, WEIGHT_FLOAT32, DTYPE_FLOAT32, 0, 2},
     .reference = {create_named, "cpu", DTYPE_FLOAT32, WEIGHT_FLOAT32, DTYPE_FLOAT32, 0, 2},
     .golden = "logits",
     .bound = {1e-3, 1e-3},
     .layer = {1e-3, 1e-3}},
    {.name = "bfloat16",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, DTYPE_BFLOAT16, 0, 2},
     .reference = {create_named, "cpu", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, DTYPE_BFLOAT16, 0, 2},
     .golden = "logits",
     .bound = {3e-2, 5e-2},
     .layer = {2e-2, 1.5e-1}},
    {.name = "float32, fp8 cache",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, WEIGHT_FLOAT32, DTYPE_FLOAT8_E4M3, 0, 2},
     .reference = {create_named, "cpu", DTYPE_FLOAT32, WEIGHT_FLOAT32, DTYPE_FLOAT8_E4M3, 0, 2},
     .golden = "cached",
     .needs_cache_scales = true,
     .bound = {1e-2, 2e-2},
     .layer = {1e-2, 2e-2}},
    {.name = "bfloat16, fp8 cache",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, DTYPE_FLOAT8_E4M3, 0, 2},
     .reference = {create_named, "cpu", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, DTYPE_FLOAT8_E4M3, 0, 2},
     .golden = "cached",
     .needs_cache_scales = true,
     .bound = {1e-1, 3e-1},
     .layer = {1e-1, 1.5e-1}},
    {.name = "fp8, float32 between",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
     .reference = {create_named, "cpu", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
     .golden = "rounded",
     .bound = {1e-1, 1.5e-1},
     .layer = {2e-2, 6e-2}},
    {.name = "fp8, wide sums",
     .machine = {create_wide, "cuda", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
     .reference = {create_named, "cpu", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
     .golden = "rounded",
     .bound = {1e-2, 2e-2},
     .layer = {1e-2, 1e-2}},
    {.name = "fp8",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_FP8, DTYPE_BFLOAT16, 0, 2},
     .reference = {create_named, "cpu", DTYPE_BFLOAT16, WEIGHT_FP8, DTYPE_BFLOAT16, 0, 2},
     .golden = "rounded",
     .bound = {2e-1, 3.5e-1},
     .layer = {1e-1, 1.5e-1}},
    {.name = "fp8, fp8 cache",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_FP8, DTYPE_FLOAT8_E4M3, 0, 2},
     .reference = {create_named, "cpu", DTYPE_BFLOAT16, WEIGHT_FP8, DTYPE_FLOAT8_E4M3, 0, 2},
     .golden = "rounded",
     .needs_cache_scales = true,
     .bound = {3e-1, 5e-1},
     .layer = {1e-1, 1.5e-1}},
};

static bool is_run(const struct fp8_model *model, const struct run *run)
{
    return model->has_cache_scales || !run->needs_cache_scales;
}

static double bound_of(const struct bound *bound, const struct fp8_model *model)
{
    return model->has_experts ? bound->mixture : bound->dense;
}

static void logits_are_golden(void **state)
{
    (void)state;
    failures = 0;
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        const struct fp8_model *model = &fp8_models[m];
        for (size_t r = 0; r < COUNT_OF(runs); r++) {
            if (!is_run(model, &runs[r])) {
                continue;
            }
            struct golden golden;
            golden_read_kind(model->name, runs[r].golden, &golden);
            struct logits logits = run_layout(model->name, &golden, &runs[r].machine, 1, 1, whole);
            struct logits reference =
                run_layout(model->name, &golden, &runs[r].reference, 1, 1, whole);
            const struct errors errors = errors_of(&golden, &logits, NULL);
            print_message("%-30s %-20s from golden %s %.2e, worst position %.2e; the CPU's %.2e\n",
                          model->name, runs[r].name, runs[r].golden, errors.all, errors.worst,
                          errors_of(&golden, &reference, NULL).all);
            report(errors.all < bound_of(&runs[r].bound, model), model->name, runs[r].name,
                   "far from the golden logits");
            logits_destroy(&logits);
            logits_destroy(&reference);
            golden_destroy(&golden);
        }
    }
    assert_int_equal(failures, 0);
}

static void layers_round_as_the_cpu_does(void **state)
{
    (void)state;
    failures = 0;
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        const struct fp8_model *model = &fp8_models[m];
        for (size_t r = 0; r < COUNT_OF(runs); r++) {
            if (!is_run(model, &runs[r])) {
                continue;
            }
            struct golden golden;
            golden_read_kind(model->name, runs[r].golden, &golden);
            const double far = distances_of(model->name, runs[r].name, &golden, &runs[r].machine,
                                            &runs[r].reference, model->layers)
                                   .layer;
            report(far < bound_of(&runs[r].layer, model), model->name, runs[r].name,
                   "a layer is far from the CPU that rounds alike");
            golden_destroy(&golden);
        }
    }
    assert_int_equal(failures, 0);
}

static void bits_know_no_layout(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int tp, pp;
        struct course course;
    } ways[] = {
        {"one prompt alone, scattered blocks", 1, 1, {1u << 5, MAX_LENGTH, true, false}},
        {"token by token", 1, 1, {(1u << PROMPTS) - 1, 1, true, false}},
        {"half of the prompts in chunks of 3", 1, 1, {0x2a, 3, true, false}},
        {"logits of last tokens alone", 1, 1, {(1u << PROMPTS) - 1, MAX_LENGTH, false, true}},
        {"tp 2", 2, 1, {(1u << PROMPTS) - 1, MAX_LENGTH, false, false}},
        {"pp 2", 1, 2, {(1u << PROMPTS) - 1, MAX_LENGTH, false, false}},
        {"tp 2, pp 2 in chunks of 4", 2, 2, {(1u << PROMPTS) - 1, 4, true, false}},
    };
    failures = 0;
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        const struct fp8_model *model = &fp8_models[m];
        struct golden golden;
        golden_read(model->name, &golden);
        for (size_t r = 0; r < COUNT_OF(runs); r++) {
            struct logits one = run_layout(model->name, &golden, &runs[r].machine, 1, 1, whole);
            for (size_t i = 0; i < COUNT_OF(ways); i++) {
                if (ways[i].pp > model->layers) {
                    continue;
                }
                struct logits other = run_layout(model->name, &golden, &runs[r].machine, ways[i].tp,
                                                 ways[i].pp, ways[i].course);
                fill_unasked(&golden, &ways[i].course, &one, &other);
                compare_bits(model->name, runs[r].name, ways[i].what, &golden, &other, &one,
                             ways[i].course.set);
                logits_destroy(&other);
            }
            logits_destroy(&one);
        }
        golden_destroy(&golden);
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    gpu_require();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_golden),
        cmocka_unit_test(layers_round_as_the_cpu_does),
        cmocka_unit_test(bits_know_no_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
