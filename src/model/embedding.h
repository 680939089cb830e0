/* SPDX-License-Identifier: Apache-2.0 */
/* What lies beside an encoder and says how its vectors are pooled. */
#ifndef SLUICE_MODEL_EMBEDDING_H
#define SLUICE_MODEL_EMBEDDING_H

#include "model/model_internal.h"

/* Fills model->embedding of an encoder in a directory and lowers config.max_positions to what the
 * files allow. Every message names its file. */
status embedding_open(struct model *model) MUST_CHECK;

#endif
