/* SPDX-License-Identifier: Apache-2.0 */
/* Static scales that checkpoints were calibrated to: of products' inputs, and of cached keys and
 * values. The scales of weights are read with them (tensor_source.c). */
#ifndef SLUICE_LOAD_SCALES_H
#define SLUICE_LOAD_SCALES_H

#include "model/load/weight_walk.h"
#include "model/model_internal.h"

/* out[item->count]: the scale of the input of each product whose weights are of the format, all 0
 * where inputs are rounded with a scale of each row. Rows of several tensors share one input: the
 * largest of their scales holds all of its values. A stack has them for all of its products or for
 * none: an expert that calibration never reached has no scale, and a guessed one would cut its
 * input off. */
status load_input_scales(const struct model *model, const struct weight_item *item,
                         enum weight_format format, float *out) MUST_CHECK;

/* The scales of a layer's keys and values; left as they are where the checkpoint has none. */
status load_cache_scales(const struct model *model, int layer, float *key, float *value) MUST_CHECK;

#endif
