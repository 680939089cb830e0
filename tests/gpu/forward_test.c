/* The forward pass on a GPU: golden logits of every family in float32, bfloat16 and fp8, and the
 * same bits however a prompt is cut, what it is batched with, and on how many ranks (threads that
 * share the GPU). Differences are collected, printed for every family, and fail at the end. */
#include "parity/forward_fixture.h"

#include "gpu/gpu_require.h"

static const char *const families[] = {"llama", "llama3",    "mistral", "mixtral",
                                       "gemma", "gemma2",    "gemma3",  "qwen2",
                                       "qwen3", "qwen3_moe", "phi3"};

static int failures;

static status create_named(const struct machine *machine, const struct backend_options *options,
                           struct backend **out)
{
    return backend_create(machine->facts, options, out);
}

/* What an fp8 run is compared with: the CPU, which rounds where and as the GPU does. */
static const struct machine rounded_alike[] = {
    {create_named, "cpu", DTYPE_FLOAT32, DTYPE_FLOAT8_E4M3, DTYPE_FLOAT32, 0, 2},
    {create_named, "cpu", DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3, DTYPE_BFLOAT16, 0, 2},
};

/* Relative errors. With experts a router's near tie may fall the other way at a position, whatever
 * the precision; in bfloat16 it does not here. */
struct bound {
    double dense, mixture;
};

/* Why fp8 lies no nearer to the CPU that rounds alike: an error of 2^-14 in a product's sum (the
 * tensor cores keep about so many bits of one in fp8) decides now and then that a value is rounded
 * to the next fp8 number, a step of up to 1/8, and a layer rounds four times. Products rounded to
 * 13 bits on the CPU give the same distances; single products are within 1e-2 (product_test.c). */
static const struct {
    const char *name;
    struct machine machine;
    struct bound golden; /* of the logits */
    const struct machine *reference;
    struct bound layer; /* of a layer's residual, from the reference */
} gpus[] = {
    {.name = "float32",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, DTYPE_FLOAT32, DTYPE_FLOAT32, 0, 2},
     .golden = {1e-3, 1e-3}},
    {.name = "float16",
     .machine = {create_named, "cuda", DTYPE_FLOAT16, DTYPE_FLOAT16, DTYPE_FLOAT16, 0, 2},
     .golden = {3e-2, 1.5e-1}},
    {.name = "bfloat16",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, DTYPE_BFLOAT16, DTYPE_BFLOAT16, 0, 2},
     .golden = {3e-2, 3e-2}},
    {.name = "bfloat16, fp8 cache",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3, 0, 2},
     .golden = {2e-1, 3e-1}},
    {.name = "fp8, float32 between",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, DTYPE_FLOAT8_E4M3, DTYPE_FLOAT32, 0, 2},
     .golden = {3e-1, 5e-1},
     .reference = &rounded_alike[0],
     .layer = {2e-2, 6e-2}},
    {.name = "fp8",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3, DTYPE_BFLOAT16, 0, 2},
     .golden = {3e-1, 5e-1},
     .reference = &rounded_alike[1],
     .layer = {1e-1, 1.5e-1}},
};

static double bound_of(const struct bound *bound, const char *family)
{
    const bool mixture = strcmp(family, "mixtral") == 0 || strcmp(family, "qwen3_moe") == 0;
    return mixture ? bound->mixture : bound->dense;
}

static void report(bool right, const char *family, const char *what, const char *more)
{
    if (!right) {
        failures++;
        print_error("%s: %s: %s\n", family, what, more);
    }
}

struct errors {
    double worst; /* relative error of the position that is farthest */
    double all;   /* of all positions together */
};

/* `should` NULL: the golden logits. */
static struct errors errors_of(const struct golden *golden, const struct logits *is,
                               const struct logits *should)
{
    struct errors errors = {0};
    double difference = 0, norm = 0;
    for (int i = 0; i < PROMPTS; i++) {
        for (int j = 0; j < golden->prompt[i].length; j++) {
            const size_t at = (size_t)j * (size_t)golden->vocabulary;
            const float *expected =
                should != NULL ? should->of[i] + at : golden->prompt[i].logits + at;
            const double error = relative_error(is->of[i] + at, expected, golden->vocabulary);
            double here = 0;
            for (int k = 0; k < golden->vocabulary; k++) {
                here += (double)expected[k] * (double)expected[k];
            }
            errors.worst = error > errors.worst || isnan(error) ? error : errors.worst;
            difference += error * error * here;
            norm += here;
        }
    }
    errors.all = sqrt(difference / norm);
    return errors;
}

static const struct course whole = {.set = (1u << PROMPTS) - 1, .chunk = MAX_LENGTH};

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

static double values_error(const float *is, const float *should, size_t bytes)
{
    return relative_error(is, should, (int)(bytes / sizeof(float)));
}

/* Layer by layer, each from the residual that the GPU's layer before left: what a layer (the last
 * with the vocabulary projection) makes of it beside what the CPU makes of it. */
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
            struct tape on_gpu = {.bytes = 0}, on_cpu = {.bytes = 0};
            struct logits logits =
                run_taped(families[f], &golden, &gpus[g].machine, 1, layers, whole, &on_gpu, NULL);
            struct logits reference = run_taped(families[f], &golden, gpus[g].reference, 1, layers,
                                                whole, &on_cpu, &on_gpu);
            struct logits alone = run_layout(families[f], &golden, gpus[g].reference, 1, 1, whole);
            double worst = errors_of(&golden, &logits, &reference).all;
            for (int i = 0; i + 1 < layers; i++) {
                const double error = values_error(on_gpu.sent[i], on_cpu.sent[i], on_gpu.bytes);
                worst = error > worst || isnan(error) ? error : worst;
                free(on_gpu.sent[i]);
                free(on_cpu.sent[i]);
            }
            print_message(
                "%-10s %-20s the farthest of %d layers %.2e; from prompt to logits "
                "%.2e, both from golden %.2e and %.2e\n",
                families[f], gpus[g].name, layers, worst, errors_of(&golden, &logits, &alone).all,
                errors_of(&golden, &logits, NULL).all, errors_of(&golden, &alone, NULL).all);
            report(worst < bound_of(&gpus[g].layer, families[f]), families[f], gpus[g].name,
                   "a layer is far from the CPU that rounds alike");
            logits_destroy(&logits);
            logits_destroy(&reference);
            logits_destroy(&alone);
        }
        golden_destroy(&golden);
    }
    assert_int_equal(failures, 0);
}

static void compare_bits(const char *family, const char *type, const char *what,
                         const struct golden *golden, const struct logits *is,
                         const struct logits *should, unsigned set)
{
    int values = 0, prompts = 0;
    for (int i = 0; i < PROMPTS; i++) {
        const size_t count = (size_t)golden->prompt[i].length * (size_t)golden->vocabulary;
        int here = 0;
        for (size_t k = 0; (set >> i & 1) && k < count; k++) {
            here += memcmp(&is->of[i][k], &should->of[i][k], sizeof(float)) != 0;
        }
        values += here;
        prompts += here > 0;
    }
    char text[200];
    snprintf(text, sizeof text, "%s: other bits with %s: %d values in %d prompts", type, what,
             values, prompts);
    report(values == 0, family, "bits", text);
}

static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct course course;
    } ways[] = {
        {"one prompt alone, scattered blocks", {1u << 5, MAX_LENGTH, true}},
        {"token by token", {(1u << PROMPTS) - 1, 1, true}},
        {"one prompt token by token", {1u << 4, 1, true}},
        {"chunks of 5", {(1u << PROMPTS) - 1, 5, true}},
        {"half of the prompts in chunks of 33", {0x2a, 33, true}},
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
    } layouts[] = {{"tp 2", 2, 1}, {"pp 2", 1, 2}, {"tp 2, pp 2", 2, 2}};
    failures = 0;
    for (size_t f = 0; f < COUNT_OF(families); f++) {
        struct golden golden;
        golden_read(families[f], &golden);
        for (size_t g = 0; g < COUNT_OF(gpus); g++) {
            struct logits one = run_layout(families[f], &golden, &gpus[g].machine, 1, 1, whole);
            for (size_t i = 0; i < COUNT_OF(layouts); i++) {
                struct logits other = run_layout(families[f], &golden, &gpus[g].machine,
                                                 layouts[i].tp, layouts[i].pp, whole);
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
