/* SPDX-License-Identifier: Apache-2.0 */
/* What a model may need that not every kind of device has: asked before anything is loaded. */
#ifndef SLUICE_BACKEND_NEEDS_H
#define SLUICE_BACKEND_NEEDS_H

#include "sluice/backend_kind.h"

enum backend_need {
    NEED_WIDE_NORMS,
    NEED_SCALED_QUERIES,
    NEED_GATED_ATTENTION,
    NEED_SINKS,
    NEED_SHORT_CONVOLUTIONS,
    NEED_GATED_DELTA,
    NEED_STATE_SPACES,
    NEED_LATENT_ATTENTION,
    NEED_EXPERT_RULES, /* of struct expert_facts more than a soft-max over experts without biases */
    NEED_BIAS_BY_DISTANCE,
    NEED_TWO_SIDED_WINDOWS,
    NEED_TYPES_ALONE, /* token types without learned positions */
    BACKEND_NEEDS
};

/* Whether no device of the kind has it. src/backend/needs.c. */
bool backend_kind_lacks(const struct backend_kind *kind, enum backend_need need);

struct model_config;

/* STATUS_UNSUPPORTED names what the model needs and the kind lacks. src/model/needs.c. */
status model_check_kind(const struct model_config *config,
                        const struct backend_kind *kind) MUST_CHECK;

#endif
