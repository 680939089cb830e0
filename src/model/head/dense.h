/* SPDX-License-Identifier: Apache-2.0 */
/* Linear layers of one vector in host memory: heads, Dense modules. */
#ifndef SLUICE_MODEL_HEAD_DENSE_H
#define SLUICE_MODEL_HEAD_DENSE_H

#include "model/family.h"

struct dense_layer {
    int inputs, outputs;
    float *weight;           /* [outputs, inputs] */
    float *bias;             /* [outputs], or NULL */
    int activation;          /* of struct head_layer */
    float *norm, *norm_bias; /* [outputs] of a layer norm behind it, or NULL */
    float epsilon;
};

/* in [inputs] to out [outputs]. A sum is one chain of additions over lanes, the same whatever runs
 * it. */
void dense_run(const struct dense_layer *layer, const float *in, float *out);
void dense_destroy(struct dense_layer *layer);

#endif
