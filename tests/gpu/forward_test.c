/* The forward pass on a GPU: golden logits of every family in float32, bfloat16 and fp8, and the
 * same bits however a prompt is cut, what it is batched with, and on how many ranks (threads that
 * share the GPU). Differences are collected, printed for every family, and fail at the end. */
#include "parity/forward_fixture.h"

#include "gpu/gpu_require.h"

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

static const struct {
    const char *name;
    struct machine machine;
    double most; /* relative error of the logits, from golden */
    const struct machine *reference;
    double most_from_reference;
} gpus[] = {
    {.name = "float32",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, DTYPE_FLOAT32, DTYPE_FLOAT32, 0, 2},
     .most = 1e-3},
    {.name = "float16",
     .machine = {create_named, "cuda", DTYPE_FLOAT16, DTYPE_FLOAT16, DTYPE_FLOAT16, 0, 2},
     .most = 3e-2},
    {.name = "bfloat16",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, DTYPE_BFLOAT16, DTYPE_BFLOAT16, 0, 2},
     .most = 3e-2},
    {.name = "bfloat16, fp8 cache",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3, 0, 2},
     .most = 2e-1},
    {.name = "fp8, float32 between",
     .machine = {create_named, "cuda", DTYPE_FLOAT32, DTYPE_FLOAT8_E4M3, DTYPE_FLOAT32, 0, 2},
     .most = 5e-1,
     .reference = &rounded_alike[0],
     .most_from_reference = 1e-2},
    {.name = "fp8",
     .machine = {create_named, "cuda", DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3, DTYPE_BFLOAT16, 0, 2},
     .most = 5e-1,
     .reference = &rounded_alike[1],
     .most_from_reference = 1e-2},
};

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
            report(errors.all < gpus[g].most, families[f], gpus[g].name,
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

/* Layer by layer, each from the residual that the GPU's layer before left: what a layer and the
 * vocabulary projection make of it lies near what the CPU makes of it that rounds to fp8 at the
 * same places. (From prompt to logits the two part further: the sums' last bits decide now and then
 * whether a value is rounded up or down to fp8, and layers after it magnify the step.) */
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
            report(worst < gpus[g].most_from_reference, families[f], gpus[g].name,
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
