/* SPDX-License-Identifier: Apache-2.0 */
/* What lies beside a model and says how its vectors are pooled. */
#ifndef SLUICE_MODEL_EMBEDDING_H
#define SLUICE_MODEL_EMBEDDING_H

#include "model/model_internal.h"

/* Fills model->embedding, the modules and most_embedded of a model in a directory. Every message
 * names its file. */
status embedding_open(struct model *model) MUST_CHECK;

#endif
