/* SPDX-License-Identifier: Apache-2.0 */
/* From a logical tensor to the one in the files that has it. */
#ifndef SLUICE_LOAD_NAMES_H
#define SLUICE_LOAD_NAMES_H

#include "model/load/weight_walk.h"
#include "model/model_internal.h"
#include "model/read/tensor_source.h"

/* Finds `part`'s tensor of a layer (and an expert) with what belongs to it, and checks its shape.
 * STATUS_INVALID names the tensor that is missing or has another shape. */
status weight_source_find(const struct model *model, const struct weight_part *part, bool is_vector,
                          int layer, int expert, int expert_count,
                          struct tensor_source *out) MUST_CHECK;

/* The tensor of a name with "model." and "{layer}" in it; NULL where there is none. */
const struct tensor *tensor_find_in_layer(const struct model *model, const char *pattern,
                                          int layer);

/* The prefix that this file's names have where the patterns say "model.". */
const char *tensor_prefix_detect(const struct tensor_table *table, const struct family *family);

#endif
