/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers of one vector against the same in double precision: every count of values around
 * the lanes, activations, biases, norms. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/head/dense.h"

enum { MOST = 50, OUTPUTS = 7 };

static void fill(float *values, int count, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 12345;
    for (int i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / (1 << 23) - 1.0f;
    }
}

static double activated(int activation, double x)
{
    switch (activation) {
    case HEAD_TANH:
        return tanh(x);
    case HEAD_RELU:
        return x > 0 ? x : 0;
    case HEAD_GELU:
        return x * erfc(-x / sqrt(2)) / 2;
    default:
        return x;
    }
}

static void expected_layer(const struct dense_layer *layer, const float *in, double *out)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < layer->outputs; i++) {
        double sum = layer->bias != NULL ? (double)layer->bias[i] : 0;
        for (int j = 0; j < layer->inputs; j++) {
            sum += (double)layer->weight[i * layer->inputs + j] * (double)in[j];
        }
        out[i] = activated(layer->activation, sum);
        mean += out[i] / layer->outputs;
    }
    for (int i = 0; i < layer->outputs; i++) {
        variance += (out[i] - mean) * (out[i] - mean) / layer->outputs;
    }
    for (int i = 0; layer->norm != NULL && i < layer->outputs; i++) {
        out[i] = (out[i] - mean) / sqrt(variance + (double)layer->epsilon) * (double)layer->norm[i];
        out[i] += layer->norm_bias != NULL ? (double)layer->norm_bias[i] : 0;
    }
}

static void check_layer(const struct dense_layer *layer, const float *in)
{
    float out[OUTPUTS + 1];
    double expected[OUTPUTS];
    out[layer->outputs] = 17; /* behind the end */
    dense_run(layer, in, out);
    expected_layer(layer, in, expected);
    assert_true(out[layer->outputs] == 17);
    for (int i = 0; i < layer->outputs; i++) {
        if (fabs((double)out[i] - expected[i]) > 1e-5 * (1 + fabs(expected[i]))) {
            fail_msg("%d inputs, activation %d, output %d: %.9g, expected %.9g", layer->inputs,
                     layer->activation, i, (double)out[i], expected[i]);
        }
    }
}

static void layers_are_as_in_double_precision(void **state)
{
    (void)state;
    static const int activations[] = {HEAD_LINEAR, HEAD_TANH, HEAD_RELU, HEAD_GELU};
    float weight[MOST * OUTPUTS], in[MOST], bias[OUTPUTS], norm[OUTPUTS], norm_bias[OUTPUTS];
    fill(weight, MOST * OUTPUTS, 1);
    fill(in, MOST, 2);
    fill(bias, OUTPUTS, 3);
    fill(norm, OUTPUTS, 4);
    fill(norm_bias, OUTPUTS, 5);
    for (int inputs = 1; inputs <= MOST; inputs++) {
        for (size_t a = 0; a < COUNT_OF(activations); a++) {
            for (int with = 0; with < 8; with++) {
                const struct dense_layer layer = {.inputs = inputs,
                                                  .outputs = OUTPUTS - with % 3,
                                                  .weight = weight,
                                                  .bias = with & 1 ? bias : NULL,
                                                  .activation = activations[a],
                                                  .norm = with & 2 ? norm : NULL,
                                                  .norm_bias = with & 4 ? norm_bias : NULL,
                                                  .epsilon = 0.125f};
                check_layer(&layer, in);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_as_in_double_precision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
