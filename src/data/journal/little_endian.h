/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian numbers in byte strings, whatever the host's own order and alignment. */
#ifndef SLUICE_DATA_LITTLE_ENDIAN_H
#define SLUICE_DATA_LITTLE_ENDIAN_H

#include <stddef.h>
#include <stdint.h>

static inline void little_endian_put(void *bytes, uint64_t value, size_t size)
{
    unsigned char *out = bytes;
    for (size_t i = 0; i < size; i++) {
        out[i] = (unsigned char)(value >> (8 * i));
    }
}

static inline uint64_t little_endian_get(const void *bytes, size_t size)
{
    const unsigned char *in = bytes;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

static inline int32_t little_endian_get_int32(const void *bytes)
{
    return (int32_t)(uint32_t)little_endian_get(bytes, 4);
}

static inline int64_t little_endian_get_int64(const void *bytes)
{
    return (int64_t)little_endian_get(bytes, 8);
}

#endif
