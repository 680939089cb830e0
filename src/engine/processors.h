/* SPDX-License-Identifier: Apache-2.0 */
/* Logits processors of a row: what its parameters do to logits before a token is drawn, in the form
 * that a sample request takes. They depend on the row and on how many tokens its sample has, and on
 * nothing that runs beside it. */
#ifndef SLUICE_PROCESSORS_H
#define SLUICE_PROCESSORS_H

#include "sluice/engine.h"

struct processors {
    uint32_t *allowed;         /* mask over the vocabulary; NULL: all tokens are */
    uint64_t allowed_serial;   /* 0: no mask */
    struct logit_bias *biases; /* [bias_count] */
    struct logit_bias *early;  /* [early_count] likewise, before min_tokens are generated */
    int32_t bias_count, early_count;
    int min_tokens;
};

/* STATUS_INVALID for ids outside of the vocabulary, and where nothing could be drawn. */
status processors_check(const struct engine_options *options, const struct generate_params *params,
                        int vocabulary) MUST_CHECK;

/* From checked parameters; *out ends with processors_destroy, also on failure. */
status processors_create(const struct engine_options *options, const struct generate_params *params,
                         int vocabulary, struct processors *out) MUST_CHECK;
void processors_destroy(struct processors *self);

/* Sets mask and biases of a request whose position is set. Borrowed from the processors. */
void processors_apply(const struct processors *self, struct sample_request *request);

#endif
