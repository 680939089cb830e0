/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of backends: one table of what each is called, what its devices are like, what a plan
 * starts from on it and what memory it works in. Whatever is above the backends asks this table and
 * knows no kind by its name.
 *
 * Rows are there for every kind that the project has, also for those that this program was built
 * without: a job file may name them, and a plan for them can be made where none of their devices
 * is. */
#ifndef SLUICE_BACKEND_KIND_H
#define SLUICE_BACKEND_KIND_H

#include "sluice/backend.h"

/* What a rank's steps ask of its backend at most: widths are this rank's part. forward_step_shape
 * of sluice/model.h makes it from a model, a partition and a plan's types. */
struct step_shape {
    enum dtype compute;        /* of activations */
    enum weight_format stored; /* of the layers' weights */
    int tokens, outputs;       /* T and O; a step has at most O sequences */
    int hidden, head_dim, query_heads, kv_heads;
    bool wide_qk_norm; /* a norm over all heads is summed over ranks */
    bool gated_attention;
    int channels;                  /* of short convolutions */
    int delta_row, delta_channels; /* of the gated delta rule: a row of its input, and of that what
                                      is convolved */
    int delta_out;                 /* and a row of its output */
    int scan_width, scan_channels; /* of state spaces: a row of the output, what is convolved */
    int scan_heads, scan_norm_groups; /* heads here, groups of the norm on all ranks */
    int latent_dim, latent_rope;  /* of latent attention: what a position keeps; 0: there is none */
    int latent_key, query_latent; /* a head's q without rope, and the latent that q is made of */
    int columns;                  /* between an MLP's products */
    bool gated;                   /* which then has twice as many outputs of the first */
    int experts, experts_used, expert_columns; /* with the shared ones */
    int ranks, rank;                           /* of the tensor-parallel group */
    int slices;                                /* of this rank's sliced products */
    int vocabulary;      /* values of a row of logits; 0: there are none on this stage */
    int vocabulary_rows; /* of this rank's part of the vocabulary, on the last stage; else 0 */
};

/* Device memory that a room works in beside weights and KV cache. Rooms add to it. */
struct scratch_bytes {
    int64_t rows; /* buffers with a row for each token or output; a plan counts the kind's
                     row_margin on top of them */
    int64_t work; /* what is bounded or fixed: counted as it is */
};

/* How two devices of a host reach each other's memory, the slowest way first. */
enum device_link {
    DEVICE_LINK_UNKNOWN,
    DEVICE_LINK_HOST_MEMORY, /* not at all: data goes through the host's */
    DEVICE_LINK_BUS,         /* over PCI Express */
    DEVICE_LINK_DIRECT,      /* over NVLink */
};

struct backend_kind {
    const char *name;    /* in job files, on command lines, in outputs: "cpu", "cuda" */
    const char *place;   /* in sentences: "the CPU", "a GPU" */
    const char *devices; /* several of them: "CPUs", "GPUs" */

    /* -- Its devices -- */
    bool has_own_memory; /* devices have memory of their own, and a host several of them; false: the
                            host's processors and memory, which its ranks share */
    bool runs_behind;    /* operations return before the device has run them */
    const char *not_built, *not_there; /* why there is none and what mends it: this program cannot,
                                          or this host has no such device */

    /* -- What a plan starts from where the job leaves it open -- */
    bool has_narrow_types; /* activations in 16 bits; false: float32, whatever the weights' type */
    bool (*takes_block_tokens)(int tokens); /* that a block of the KV cache may hold */
    const char *block_tokens;               /* the same in words: "a multiple of 16" */
    int usual_tokens;                       /* a step */
    int usual_sequences;                    /* at once */
    int usual_sequences_large;              /* where a rank may use large_memory_bytes */
    int64_t large_memory_bytes;
    int usual_slices;          /* of sums over ranks */
    double memory_share;       /* of the memory found that a plan may use */
    int64_t reserve_bytes;     /* of that, for what is not counted and does not shrink with it */
    int64_t usual_cache_bytes; /* of the KV cache; 0: all that is left */

    /* -- The memory that it works in -- */
    /* Adds what the backend takes for such steps, beside the buffers that it is asked for, whose
     * bytes are in *total already. */
    void (*add_scratch)(const struct step_shape *shape, struct scratch_bytes *total);
    int row_margin; /* rows take up to a row_margin-th more: padding, scales, what is read with them
                     */
    /* As partial_bytes of struct backend_operations, of a matrix [hidden, …] of such a rank's
     * slices; NULL: always 0. */
    size_t (*partial_bytes)(const struct step_shape *shape);

    /* -- Opening one; NULL where this program was built without it -- */
    int (*device_count)(void);
    status (*device_facts)(int device, struct device_facts *out);
    double (*device_energy)(int device);
    /* As struct device_facts' `address`, without opening the device; NULL: devices have none. */
    status (*device_address)(int device, char out[32]);
    /* Between a device and the one of that address on this host; NULL: always DEVICE_LINK_UNKNOWN.
     */
    enum device_link (*device_link)(int device, const char *address);
    status (*create)(const struct backend_options *options, struct backend **out);
};

/* Row `index`, NULL past the end. "auto" is the last that is built and has a device here. */
const struct backend_kind *backend_kind_at(size_t index);
/* The row of that name; NULL: there is none. */
const struct backend_kind *backend_kind_find(const char *name);
/* The row of the host's own processors, which every program has. */
const struct backend_kind *backend_kind_host(void);
/* Whether this program has it, and how many of its devices this host has. */
bool backend_kind_is_built(const struct backend_kind *kind);
int backend_kind_device_count(const struct backend_kind *kind);
/* Between device `device` and the one at `address` (struct device_facts'; "": none) on this host.
 */
enum device_link backend_kind_link(const struct backend_kind *kind, int device,
                                   const char *address);
/* What to say of it at the end of a line: ", over NVLink"; "" where nothing is known. */
const char *backend_link_text(enum device_link link);

#endif
