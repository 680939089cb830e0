/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of gates and steps of layers that keep states, for one value at a time: plain
 * functions that kernels and tests on the host both compile. As on the CPU it runs in float64 and
 * is rounded once. */
#ifndef SLUICE_CUDA_STATES_RULES_H
#define SLUICE_CUDA_STATES_RULES_H

#include <math.h>

#include "backend/cuda/kernels/either_side.h"

EITHER_SIDE double state_softplus(double x)
{
    return x > 20 ? x : log1p(exp(x));
}

/* exp(-exp(A_log) · softplus(a + dt_bias)) */
EITHER_SIDE float delta_decay(float rate, float a, float bias)
{
    return (float)exp(-exp((double)rate) * state_softplus((double)a + (double)bias));
}

EITHER_SIDE float delta_beta(float b)
{
    return (float)(1 / (1 + exp(-(double)b)));
}

/* What values with this sum of squares are multiplied by to have the length 1 / more. */
EITHER_SIDE float delta_length(float squares, double more)
{
    return (float)(1 / (sqrt((double)squares + 1e-6) * more));
}

/* softplus(dt + dt_bias), held within [least, most] */
EITHER_SIDE float scan_step(float dt, float bias, float least, float most)
{
    const float step = (float)state_softplus((double)dt + (double)bias);
    return step < least ? least : step > most ? most : step;
}

EITHER_SIDE float scan_decay(float rate, float step)
{
    return (float)exp(-exp((double)rate) * (double)step);
}

#endif
