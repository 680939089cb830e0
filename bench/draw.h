/* SPDX-License-Identifier: Apache-2.0 */
/* Chance that is the same in every run, for benchmarks that make answers up. */
#ifndef SLUICE_BENCH_DRAW_H
#define SLUICE_BENCH_DRAW_H

#include <stdint.h>

/* The next of the numbers that begin with *state: splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* One of the tokens of mask[words], by chance; -1 where it allows none. */
static inline int32_t draw_allowed(uint64_t *state, const uint32_t *mask, int words)
{
    uint64_t count = 0;
    for (int i = 0; i < words; i++) {
        count += (uint64_t)__builtin_popcount(mask[i]);
    }
    uint64_t wanted = count > 0 ? draw(state) % count : 0;
    for (int i = 0; i < words; i++) {
        for (uint32_t word = mask[i]; word != 0; word &= word - 1) {
            if (wanted-- == 0) {
                return 32 * i + __builtin_ctz(word);
            }
        }
    }
    return -1;
}

#endif
