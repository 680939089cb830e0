/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the sampling values that a model brings into model->sampling. */
#ifndef SLUICE_MODEL_SAMPLING_DEFAULTS_H
#define SLUICE_MODEL_SAMPLING_DEFAULTS_H

#include "model/model_internal.h"

/* From a parsed generation_config.json, or NULL. Values that are no numbers are not there. */
status sampling_defaults_read(struct model *model, const struct json *generation) MUST_CHECK;
status sampling_defaults_read_gguf(struct model *model) MUST_CHECK;

#endif
