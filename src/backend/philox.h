/* SPDX-License-Identifier: Apache-2.0 */
/* Philox4x32-10: random numbers as a function of a key and a counter.
 *
 * Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011). Plain C that
 * a CUDA file includes too. */
#ifndef SLUICE_PHILOX_H
#define SLUICE_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define PHILOX_FUNCTION static inline __host__ __device__
#else
#define PHILOX_FUNCTION static inline
#endif

enum { PHILOX_ROUNDS = 10 };

/* Replaces counter[4] by its four random words. */
PHILOX_FUNCTION void philox_generate(uint32_t counter[4], uint32_t key_low, uint32_t key_high)
{
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t left = (uint64_t)counter[0] * 0xD2511F53u;
        uint64_t right = (uint64_t)counter[2] * 0xCD9E8D57u;
        uint32_t first = (uint32_t)(right >> 32) ^ counter[1] ^ key_low;
        uint32_t third = (uint32_t)(left >> 32) ^ counter[3] ^ key_high;
        counter[0] = first;
        counter[1] = (uint32_t)right;
        counter[2] = third;
        counter[3] = (uint32_t)left;
        key_low += 0x9E3779B9u; /* Weyl sequences: golden ratio, sqrt(3) - 1 */
        key_high += 0xBB67AE85u;
    }
}

/* The 64 random bits that choose output token `position` of a sample: the seed is the key; the
 * row's stream (random_stream of data.h), sample and position are the counter. */
PHILOX_FUNCTION uint64_t philox_token_bits(uint64_t seed, uint64_t stream, int32_t sample,
                                           int32_t position)
{
    uint32_t counter[4] = {(uint32_t)stream, (uint32_t)(stream >> 32), (uint32_t)sample,
                           (uint32_t)position};
    philox_generate(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
    return (uint64_t)counter[1] << 32 | counter[0];
}

#endif
