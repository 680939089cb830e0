/* SPDX-License-Identifier: Apache-2.0 */
/* Mixers: the half of a layer in which a token takes from those before it. One interface, a file
 * for each kind behind it; mixer.c has the table.
 *
 * A mixer reads forward->normed, keeps what later steps need in its layers' stores of the cache,
 * and leaves what the layer's output product reads. Norms, the output product, the sum over ranks
 * and the residual are the forward pass's. Its results for a token depend on that token's sequence
 * alone, as operations' do (sluice/backend.h), and not on how a prompt was cut into steps. */
#ifndef SLUICE_MIXER_H
#define SLUICE_MIXER_H

#include "model/forward_state.h"

/* What the output product reads: [T, width] in the activation type, owned by the mixer and valid
 * until it runs again. */
struct mixed {
    struct device_buffer *values;
    int width;
};

enum { MIXER_MOST_BUFFERS = 8 };

struct mixer_operations {
    /* What a layer keeps on a rank. `partition` has this rank's heads already. */
    struct cache_store (*store)(const struct model_config *config,
                                const struct partition *partition, struct layer_kind kind);
    /* The buffers that create makes for steps of a shape; returns how many. Plans ask as well. */
    int (*extents)(const struct step_shape *shape, struct extent extents[MIXER_MOST_BUFFERS]);
    /* Makes facts and scratch for all layers of this kind; called once where this rank has any. */
    status (*create)(struct forward *forward, struct mixer **out);
    void (*destroy)(struct forward *forward, struct mixer *mixer);
    /* The matrix that alone reads the norm before the layer, or NULL: `reader` of
     * sluice/backend.h. */
    const struct matrix *(*reader)(const struct layer_weights *weights);
    /* Runs this rank's layer `layer` over the step's tokens. `is_read`: false where nobody reads
     * what it leaves, so that writing to the cache is all there is to do, and *out is not set. */
    status (*run)(struct forward *forward, struct mixer *mixer, const struct batch *batch,
                  int layer, bool is_read, struct mixed *out);
};

struct mixer {
    const struct mixer_operations *operations; /* kinds put their own fields behind it */
};

extern const struct mixer_operations mixer_attention;         /* attention.c */
extern const struct mixer_operations mixer_short_convolution; /* short_convolution.c */
extern const struct mixer_operations mixer_gated_delta;       /* gated_delta.c */
extern const struct mixer_operations mixer_state_space;       /* state_space.c */
extern const struct mixer_operations mixer_latent;            /* latent.c */

/* Of one part: of no kind that is made of several. */
const struct mixer_operations *mixer_operations_of(enum mixer_kind part);
/* What a layer of a kind keeps on a rank: entries of positions and states of all its parts. */
struct cache_store mixer_store(const struct model_config *config, const struct partition *partition,
                               struct layer_kind kind);

/* Makes the mixers that this rank's layers need, in forward->mixers. Whatever was made, also on
 * failure, ends with mixers_destroy. */
status mixers_create(struct forward *forward) MUST_CHECK;
void mixers_destroy(struct forward *forward);

/* run of one part of this rank's layer `layer`; the matrix that alone reads the norm before it. */
status mixer_run(struct forward *forward, enum mixer_kind part, const struct batch *batch,
                 int layer, bool is_read, struct mixed *out) MUST_CHECK;
/* What reads what a part leaves. */
const struct matrix *mixer_output(const struct layer_weights *weights, enum mixer_kind part);
const struct matrix *mixer_reader(const struct forward *forward, int layer);

#endif
