/* SPDX-License-Identifier: Apache-2.0 */
/* Published forms of FP8 checkpoints through whole models: weights' scales, static scales of inputs
 * and of the cache, against logits that tools/make_fp8_models.py computed in float64 with the same
 * roundings. Its seeds are such that no value lies so near the middle of two fp8 numbers that an
 * error in float32's last bits decides; so what is left is float32's error, and any scale that is
 * not used, or used at another place, moves the logits by far more. */
#include "parity/forward_fixture.h"

#include "backend/cpu/cpu.h"
#include "parity/fp8_models.h"

static status create_cpu(const struct machine *machine, const struct backend_options *options,
                         struct backend **out)
{
    return cpu_backend_create_with(machine->facts, options, out);
}

/* Valid until it is called again. The golden logits' inputs are rounded in 2 slices. */
static const struct machine *machine_of(const struct cpu_kernels *kernels,
                                        enum weight_format stored, enum dtype kv)
{
    static struct machine machine;
    machine = (struct machine){.create = create_cpu,
                               .facts = kernels,
                               .compute = DTYPE_FLOAT32,
                               .stored = stored,
                               .kv = kv,
                               .threads = 2,
                               .slices = 2};
    return &machine;
}

static const struct course whole = {.set = (1u << PROMPTS) - 1, .chunk = MAX_LENGTH};

/* Of the position that is farthest. */
static double worst_error(const struct golden *golden, const struct logits *logits)
{
    double worst = 0;
    for (int i = 0; i < PROMPTS; i++) {
        for (int j = 0; j < golden->prompt[i].length; j++) {
            const size_t at = (size_t)j * (size_t)golden->vocabulary;
            const double error = relative_error(logits->of[i] + at, golden->prompt[i].logits + at,
                                                golden->vocabulary);
            worst = error > worst || isnan(error) ? error : worst;
        }
    }
    return worst;
}

/* With the types of `stored` and `kv` the logits are the golden ones of `kind`; those of the exact
 * weights, where they are others, are far from them. */
static void check_logits(const struct fp8_model *model, const char *kind, enum weight_format stored,
                         enum dtype kv)
{
    struct golden golden, exact;
    golden_read_kind(model->name, kind, &golden);
    golden_read(model->name, &exact);
    struct logits logits =
        run_layout(model->name, &golden, machine_of(cpu_kernels_best(), stored, kv), 1, 1, whole);
    const double error = worst_error(&golden, &logits), other = worst_error(&exact, &logits);
    print_message("%-30s %-8s worst relative error of a position's logits %.2e, from %s %.2e\n",
                  model->name, kind, error, "exact ones", other);
    assert_true(error < 1e-4);
    assert_true(strcmp(kind, "logits") == 0 || other > 1e-2);
    logits_destroy(&logits);
    golden_destroy(&golden);
    golden_destroy(&exact);
}

static void weights_are_number_times_scale(void **state)
{
    (void)state;
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        check_logits(&fp8_models[m], "logits", WEIGHT_FLOAT32, DTYPE_FLOAT32);
    }
}

static void inputs_are_rounded_by_their_scales(void **state)
{
    (void)state;
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        check_logits(&fp8_models[m], "rounded", WEIGHT_FP8, DTYPE_FLOAT32);
    }
}

/* Keys and values of these models are up to several times 448: without their scales they are cut
 * off. */
static void the_cache_is_divided_by_its_scales(void **state)
{
    (void)state;
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        if (fp8_models[m].has_cache_scales) {
            check_logits(&fp8_models[m], "cached", WEIGHT_FLOAT32, DTYPE_FLOAT8_E4M3);
        }
    }
}

static void bits_know_no_layout(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int tp, pp, chunk;
        bool last_only;
    } layouts[] = {
        {"chunks of 2", 1, 1, 2, false},   {"logits of last tokens alone", 1, 1, MAX_LENGTH, true},
        {"tp 2", 2, 1, MAX_LENGTH, false}, {"tp 2 in chunks of 3", 2, 1, 3, true},
        {"pp 2", 1, 2, MAX_LENGTH, false}, {"tp 2, pp 2", 2, 2, 4, true}};
    for (size_t m = 0; m < COUNT_OF(fp8_models); m++) {
        const struct fp8_model *model = &fp8_models[m];
        struct golden golden;
        golden_read(model->name, &golden);
        const struct machine *machine =
            machine_of(cpu_kernels_best(), WEIGHT_FP8, DTYPE_FLOAT8_E4M3);
        struct logits one = run_layout(model->name, &golden, machine, 1, 1, whole);
        for (size_t i = 0; i < COUNT_OF(layouts); i++) {
            if (layouts[i].pp > model->layers) {
                continue;
            }
            const struct course course = {.set = whole.set,
                                          .chunk = layouts[i].chunk,
                                          .scattered = true,
                                          .last_only = layouts[i].last_only};
            struct logits other =
                run_layout(model->name, &golden, machine, layouts[i].tp, layouts[i].pp, course);
            fill_unasked(&golden, &course, &one, &other);
            for (int p = 0; p < PROMPTS; p++) {
                const size_t count = (size_t)golden.prompt[p].length * (size_t)golden.vocabulary;
                if (memcmp(other.of[p], one.of[p], count * sizeof(float)) != 0) {
                    fail_msg("%s, prompt %d: other bits with %s", model->name, p, layouts[i].what);
                }
            }
            logits_destroy(&other);
        }
        logits_destroy(&one);
        golden_destroy(&golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_number_times_scale),
        cmocka_unit_test(inputs_are_rounded_by_their_scales),
        cmocka_unit_test(the_cache_is_divided_by_its_scales),
        cmocka_unit_test(bits_know_no_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
