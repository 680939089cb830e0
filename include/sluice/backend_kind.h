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

struct backend_kind {
    const char *name;    /* in job files, on command lines, in outputs: "cpu", "cuda" */
    const char *place;   /* in sentences: "the CPU", "a GPU" */
    const char *devices; /* several of them: "CPUs", "GPUs" */

    /* -- Its devices -- */
    bool has_own_memory; /* devices have memory of their own, and a host several of them; false: the
                            host's processors and memory, which its ranks share */
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

    /* -- Opening one; NULL where this program was built without it -- */
    int (*device_count)(void);
    status (*device_facts)(int device, struct device_facts *out);
    double (*device_energy)(int device);
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

#endif
