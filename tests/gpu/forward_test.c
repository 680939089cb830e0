/* SPDX-License-Identifier: Apache-2.0 */
/* The forward pass on a GPU: golden logits of every family in float32, bfloat16 and fp8, and the
 * same bits however a prompt is cut, what it is batched with, and on how many ranks (threads that
 * share the GPU). Differences are collected, printed for every family, and fail at the end. */
#include "gpu/forward_checks.h"
#include "gpu/gpu_require.h"

static const char *const families[] = {"llama", "llama3",    "mistral", "mixtral",
                                       "gemma", "gemma2",    "gemma3",  "qwen2",
                                       "qwen3", "qwen3_moe", "phi3",    "granite"};

/* What an fp8 run is compared with: the CPU, which rounds where and as the GPU does. */
static const struct machine rounded_alike[] = {
    {create_named, "cpu", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
    {create_named, "cpu", DTYPE_BFLOAT16, WEIGHT_FP8, DTYPE_BFLOAT16, 0, 2},
};

/* Relative errors. With experts a router's near tie may fall the other way at a position, whatever
 * the precision; in bfloat16 it does not here. */
struct bound {
    double dense, mixture;
};

/* Why fp8 lies no nearer to the CPU that rounds alike: an error of 2^-14 in a product's sum (the
 * tensor cores keep about so many bits of one in fp8) decides now and then that a value is rounded
 * to the next fp8 number, a step of up to 1/8, and a layer rounds four times. Products rounded to
 * 13 bits on the CPU give the same distances, single products are within 1e-2 (product_test.c), and
 * so are whole models whose fp8 products add up in float32. */
static const struct {
    const char *name;
    struct machine machine;
    struct bound golden; /* of the logits */
    const struct machine *reference;
    struct bound layer;  /* of a layer's residual, from the reference */
    struct bound logits; /* from the reference's; 0: any */
} gpus[] = {
    {.name = "float32",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, WEIGHT_FLOAT32, DTYPE_FLOAT32, 0, 2},
     .golden = {1e-3, 1e-3}},
    {.name = "float16",
     .machine = {create_named, "cuda", DTYPE_FLOAT16, WEIGHT_FLOAT16, DTYPE_FLOAT16, 0, 2},
     .golden = {3e-2, 1.5e-1}},
    {.name = "bfloat16",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, DTYPE_BFLOAT16, 0, 2},
     .golden = {3e-2, 3e-2}},
    {.name = "bfloat16, fp8 cache",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_BFLOAT16, DTYPE_FLOAT8_E4M3, 0, 2},
     .golden = {2e-1, 3e-1}},
    {.name = "fp8, float32 between",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
     .golden = {3e-1, 5e-1},
     .reference = &rounded_alike[0],
     .layer = {2e-2, 6e-2}},
    {.name = "fp8, wide sums",
     .machine = {create_wide, "cuda", DTYPE_FLOAT32, WEIGHT_FP8, DTYPE_FLOAT32, 0, 2},
     .golden = {3e-1, 5e-1},
     .reference = &rounded_alike[0],
     .layer = {1e-4, 1e-4},
     .logits = {1e-2, 3e-2}},
    {.name = "fp8",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, WEIGHT_FP8, DTYPE_BFLOAT16, 0, 2},
     .golden = {3e-1, 5e-1},
     .reference = &rounded_alike[1],
     .layer = {1e-1, 1.5e-1}},
};

static double bound_of(const struct bound *bound, const char *family)
{
    const bool mixture = strcmp(family, "mixtral") == 0 || strcmp(family, "qwen3_moe") == 0;
    return mixture ? bound->mixture : bound->dense;
}

static void logits_are_golden(void **state)
{
    (void)state;
    failures = 0;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        for (size_t g = 0; g < COUNT_OF(gpus); g++) {
            struct logits logits = run_layout(families[f], &golden, &gpus[g].machine, 1, 1, whole);
            const struct errors errors = errors_of(&golden, &logits, NULL);
            print_message("%-10s %-20s from golden %.2e, worst position %.2e\n", families[f],
                          gpus[g].name, errors.all, errors.worst);
            report(errors.all < bound_of(&gpus[g].golden, families[f]), families[f], gpus[g].name,
                   "far from the golden logits");
            logits_destroy(&logits);
        }
        golden_destroy(&golden);
    }
    assert_int_equal(failures, 0);
}

static int layers_of(const char *family)
{
    char path[1024];
    struct model *model;
    model_path(family, "", path, sizeof path);
    check(model_open(path, &model));
    const int layers = model_config(model)->layers;
    model_close(model);
    return layers;
}

static void layers_round_as_the_cpu_does(void **state)
{
    (void)state;
    failures = 0;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        const int layers = layers_of(families[f]);
        for (size_t g = 0; g < COUNT_OF(gpus); g++) {
            if (gpus[g].reference == NULL) {
                continue;
            }
            const struct distances far = distances_of(families[f], gpus[g].name, &golden,
                                                      &gpus[g].machine, gpus[g].reference, layers);
            report(far.layer < bound_of(&gpus[g].layer, families[f]), families[f], gpus[g].name,
                   "a layer is far from the CPU that rounds alike");
            const double most = bound_of(&gpus[g].logits, families[f]);
            report(most == 0 || far.logits < most, families[f], gpus[g].name,
                   "the logits are far from those of the CPU that rounds alike");
        }
        golden_destroy(&golden);
    }
    assert_int_equal(failures, 0);
}

static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct course course;
    } ways[] = {
        {"one prompt alone, scattered blocks", {1u << 5, MAX_LENGTH, true, false}},
        {"token by token", {(1u << PROMPTS) - 1, 1, true, false}},
        {"one prompt token by token", {1u << 4, 1, true, false}},
        {"chunks of 5", {(1u << PROMPTS) - 1, 5, true, false}},
        {"half of the prompts in chunks of 33", {0x2a, 33, true, false}},
        {"the last tokens alone", {(1u << PROMPTS) - 1, MAX_LENGTH, false, true}},
        {"the last tokens alone, in chunks of 12", {(1u << PROMPTS) - 1, 12, true, true}},
    };
    failures = 0;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        for (size_t g = 0; g < COUNT_OF(gpus); g++) {
            struct logits first = run_layout(families[f], &golden, &gpus[g].machine, 1, 1, whole);
            for (size_t i = 0; i < COUNT_OF(ways); i++) {
                struct logits other =
                    run_layout(families[f], &golden, &gpus[g].machine, 1, 1, ways[i].course);
                fill_unasked(&golden, &ways[i].course, &first, &other);
                compare_bits(families[f], gpus[g].name, ways[i].what, &golden, &other, &first,
                             ways[i].course.set);
                logits_destroy(&other);
            }
            logits_destroy(&first);
        }
        golden_destroy(&golden);
    }
    assert_int_equal(failures, 0);
}

static void bits_know_no_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int tp, pp;
        bool last_only;
    } layouts[] = {{"tp 2", 2, 1, false},
                   {"pp 2", 1, 2, true},
                   {"tp 2, pp 2", 2, 2, false},
                   {"tp 2, pp 2, the last tokens alone", 2, 2, true}};
    failures = 0;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        for (size_t g = 0; g < COUNT_OF(gpus); g++) {
            struct logits one = run_layout(families[f], &golden, &gpus[g].machine, 1, 1, whole);
            for (size_t i = 0; i < COUNT_OF(layouts); i++) {
                struct course course = whole;
                course.last_only = layouts[i].last_only;
                struct logits other = run_layout(families[f], &golden, &gpus[g].machine,
                                                 layouts[i].tp, layouts[i].pp, course);
                fill_unasked(&golden, &course, &one, &other);
                compare_bits(families[f], gpus[g].name, layouts[i].what, &golden, &other, &one,
                             whole.set);
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
        cmocka_unit_test(bits_know_no_batch),
        cmocka_unit_test(bits_know_no_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
