/* SPDX-License-Identifier: Apache-2.0 */
/* A sign of life as it stands in a datagram. Whoever can send to this host can send one, so a
 * datagram counts only where it bears the code of who knows the job's token. */
#ifndef SLUICE_RUN_BEAT_H
#define SLUICE_RUN_BEAT_H

#include "sluice/base.h"

enum { BEAT_TOKEN_BYTES = 32, BEAT_BYTES = 56 };

struct beat {
    int32_t rank;    /* that sends it */
    uint64_t number; /* grows from beat to beat of a rank, so that none counts twice */
    int32_t lost;    /* the host that the sender ends the job for; -1: none */
};

/* False where the code cannot be computed. */
bool beat_pack(const struct beat *beat, const uint8_t token[BEAT_TOKEN_BYTES],
               uint8_t bytes[BEAT_BYTES]);
/* False: no beat of this job. What the fields say is not checked. */
bool beat_unpack(const uint8_t *bytes, size_t length, const uint8_t token[BEAT_TOKEN_BYTES],
                 struct beat *beat);

#endif
