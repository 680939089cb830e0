/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of whole models on a GPU share: differences are counted and printed, and the test
 * goes on. One file of a program includes this: tests/gpu/forward_test.c, tests/gpu/fp8_test.c. */
#ifndef SLUICE_FORWARD_CHECKS_H
#define SLUICE_FORWARD_CHECKS_H

#include "parity/forward_fixture.h"

static int failures;

static status create_named(const struct machine *machine, const struct backend_options *options,
                           struct backend **out)
{
    return backend_create(machine->facts, options, out);
}

static status create_wide(const struct machine *machine, const struct backend_options *options,
                          struct backend **out)
{
    struct backend_options wide = *options;
    wide.wide_sums = true;
    return create_named(machine, &wide, out);
}

static void report(bool right, const char *family, const char *what, const char *more)
{
    if (!right) {
        failures++;
        print_error("%s: %s: %s\n", family, what, more);
    }
}

struct errors {
    double worst;       /* relative error of the position that is farthest */
    double all;         /* of all positions together */
    int far, positions; /* those with an error over 1e-2 */
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
            errors.far += !(error < 1e-2);
            errors.positions++;
            difference += error * error * here;
            norm += here;
        }
    }
    errors.all = sqrt(difference / norm);
    return errors;
}

static const struct course whole = {.set = (1u << PROMPTS) - 1, .chunk = MAX_LENGTH};

static double values_error(const float *is, const float *should, size_t bytes)
{
    return relative_error(is, should, (int)(bytes / sizeof(float)));
}

struct distances {
    double layer;  /* of the farthest one */
    double logits; /* each from its own prompt to its own logits */
};

/* Layer by layer, each from the residual that the GPU's layer before left: what a layer (the last
 * with the vocabulary projection) makes of it beside what `reference` makes of it. Prints all. */
static struct distances distances_of(const char *family, const char *type,
                                     const struct golden *golden, const struct machine *machine,
                                     const struct machine *reference, int layers)
{
    struct tape on_gpu = {.bytes = 0}, on_cpu = {.bytes = 0};
    struct logits logits = run_taped(family, golden, machine, 1, layers, whole, &on_gpu, NULL);
    struct logits other = run_taped(family, golden, reference, 1, layers, whole, &on_cpu, &on_gpu);
    struct logits alone = run_layout(family, golden, reference, 1, 1, whole);
    const struct errors errors = errors_of(golden, &logits, &alone);
    struct distances far = {.layer = errors_of(golden, &logits, &other).all, .logits = errors.all};
    const double last = far.layer;
    print_message("%-10s %-20s layers", family, type);
    for (int i = 0; i + 1 < layers; i++) {
        const double error = values_error(on_gpu.sent[i], on_cpu.sent[i], on_gpu.bytes);
        print_message(" %.2e", error);
        far.layer = error > far.layer || isnan(error) ? error : far.layer;
        free(on_gpu.sent[i]);
        free(on_cpu.sent[i]);
    }
    print_message(
        " %.2e; from prompt to logits %.2e, %d of %d positions over 1e-2; both from golden "
        "%.2e and %.2e\n",
        last, far.logits, errors.far, errors.positions, errors_of(golden, &logits, NULL).all,
        errors_of(golden, &alone, NULL).all);
    logits_destroy(&logits);
    logits_destroy(&other);
    logits_destroy(&alone);
    return far;
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

#endif
