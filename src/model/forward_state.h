/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the forward pass share: forward.c and the mixers. */
#ifndef SLUICE_MODEL_FORWARD_STATE_H
#define SLUICE_MODEL_FORWARD_STATE_H

#include "model/forward_memory.h"
#include "sluice/comm.h"
#include "sluice/model.h"

struct mixer; /* mixers/mixer.h */

struct forward {
    struct forward_options options;
    const struct backend_operations *operations;
    struct step_shape shape; /* of the largest step */
    struct arena arena;      /* rope frequencies, widths */

    struct mixer *mixers[MIXER_KINDS]; /* NULL where no layer of this rank is of that kind */
    int rows;               /* of the step's buffers: T, or O where the others are done with */
    int *vocabulary_widths; /* [tp] rows of the head on each rank */

    /* Scratch, [max_tokens, …] in the activation type unless said. */
    struct device_buffer *residual; /* [T, H] float32 */
    struct device_buffer *normed;   /* [T, H] */
    struct device_buffer *gates;    /* [T, columns, twice where gated] */
    struct device_buffer *active;   /* [T, columns] */
    struct device_buffer *branch;   /* this rank's partial sums of what a layer's half adds to the
                                       residual: [T, H] float32, or as the backend leaves them */
    struct device_buffer *branches; /* of all ranks, one after the other; NULL where they are summed
                                       in place */
    struct device_buffer *rank_logits; /* [O, vocabulary rows] float32, where tp > 1 */
    struct device_buffer *logits;      /* [O, vocabulary] float32 */
};

/* Makes a buffer of that extent; *out stays NULL where there is none. Its maker destroys it. */
status forward_scratch(struct forward *forward, const struct extent *extent,
                       struct device_buffer **out) MUST_CHECK;

/* The kind of this rank's layer `layer`. */
struct layer_kind forward_layer_kind(const struct forward *forward, int layer);

#endif
