/* SPDX-License-Identifier: Apache-2.0 */
/* What a job is: a text of "key: value" lines that names the data set, the model, the arithmetic
 * and every parameter that decides what a row answers. A journal and a finished output carry it. */
#ifndef SLUICE_IDENTITY_H
#define SLUICE_IDENTITY_H

#include "sluice/base.h"

/* Raised with every change of the program after which the same job may answer with other bits.
 *
 *   1  sluice 0.1
 *   2  random numbers keyed by ids and own seeds; the tokenizer's end token; the model's own
 *      sampling defaults
 */
enum { ARITHMETIC_GENERATION = 2 };

/* The generation that an identity names; 1 where it names none, as sluice 0.1 wrote them. */
int identity_generation(const char *identity, size_t length);

enum { IDENTITY_WHY_BYTES = 480 }; /* for identity_compare */

enum identity_verdict {
    IDENTITY_SAME,
    IDENTITY_OTHER_ARITHMETIC, /* the same job with other bits: another generation, kind of
                                  processor or GPU, or library */
    IDENTITY_OTHER_JOB,
};

/* Compares an identity that was found (there_length bytes, any bytes) with the one of now: line by
 * line, in whatever order. Where they differ, why[why_size] quotes the first line that does, of the
 * job before one of the arithmetic: `"seed: 1" there, "seed: 2" now`. */
enum identity_verdict identity_compare(const char *there, size_t there_length, const char *now,
                                       char *why, size_t why_size);

/* Appends the identity of now with the hashes of its data set that the other one has: while it is
 * not known whether they are the same, all else can be compared. */
status identity_take_hashes(const char *there, size_t there_length, const char *now,
                            struct buffer *out) MUST_CHECK;

/* Appends an identity without what hangs on the arithmetic: neither generation nor device, and
 * nothing that this generation was the first to name. Tells whether a finished output is this job's
 * though a later generation would answer with other bits. */
status identity_without_arithmetic(const char *identity, size_t length,
                                   struct buffer *out) MUST_CHECK;

/* Appends the first line whose key is "arithmetic", without the key; nothing where there is none.
 */
status identity_arithmetic(const char *identity, size_t length, struct buffer *out) MUST_CHECK;

#endif
