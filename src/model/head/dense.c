/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers of one vector in host memory. */
#include "model/head/dense.h"

#include <math.h>
#include <stdlib.h>

enum { LANES = 16 };

/* Lane l adds the products at l, l + 16, …; then the lanes are added in their order. */
static float dot(const float *a, const float *b, int count)
{
    float lanes[LANES] = {0};
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int lane = 0; lane < LANES; lane++) {
            lanes[lane] += a[i + lane] * b[i + lane];
        }
    }
    for (int lane = 0; i < count; i++, lane++) {
        lanes[lane] += a[i] * b[i];
    }
    double sum = 0;
    for (int lane = 0; lane < LANES; lane++) {
        sum += (double)lanes[lane];
    }
    return (float)sum;
}

static float activate(int activation, float x)
{
    switch (activation) {
    case HEAD_TANH:
        return (float)tanh((double)x);
    case HEAD_RELU:
        return x > 0 ? x : 0;
    case HEAD_GELU:
        return (float)(0.5 * (double)x * (1 + erf((double)x / sqrt(2))));
    default:
        return x;
    }
}

static void normalize(const struct dense_layer *layer, float *values)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < layer->outputs; i++) {
        mean += (double)values[i];
    }
    mean /= layer->outputs;
    for (int i = 0; i < layer->outputs; i++) {
        const double distance = (double)values[i] - mean;
        squares += distance * distance;
    }
    const double scale = 1 / sqrt(squares / layer->outputs + (double)layer->epsilon);
    for (int i = 0; i < layer->outputs; i++) {
        const double bias = layer->norm_bias != NULL ? (double)layer->norm_bias[i] : 0;
        values[i] = (float)(((double)values[i] - mean) * scale * (double)layer->norm[i] + bias);
    }
}

void dense_run(const struct dense_layer *layer, const float *in, float *out)
{
    for (int i = 0; i < layer->outputs; i++) {
        const float *row = layer->weight + (size_t)i * (size_t)layer->inputs;
        const float sum = dot(row, in, layer->inputs) + (layer->bias != NULL ? layer->bias[i] : 0);
        out[i] = activate(layer->activation, sum);
    }
    if (layer->norm != NULL) {
        normalize(layer, out);
    }
}

void dense_destroy(struct dense_layer *layer)
{
    free(layer->weight);
    free(layer->bias);
    free(layer->norm);
    free(layer->norm_bias);
    *layer = (struct dense_layer){0};
}
