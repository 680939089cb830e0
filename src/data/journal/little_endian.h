/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian numbers in byte strings, whatever the host's own order and alignment. */
#ifndef SLUICE_DATA_LITTLE_ENDIAN_H
#define SLUICE_DATA_LITTLE_ENDIAN_H

#include <stdint.h>
#include <string.h>

#include "sluice/base.h"

static inline void wire_put(void *bytes, uint64_t value, size_t size)
{
    unsigned char *out = bytes;
    for (size_t i = 0; i < size; i++) {
        out[i] = (unsigned char)(value >> (8 * i));
    }
}

static inline uint64_t wire_get(const void *bytes, size_t size)
{
    const unsigned char *in = bytes;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)in[i] << (8 * i);
    }
    return value;
}

static inline int32_t wire_get_int32(const void *bytes)
{
    return (int32_t)(uint32_t)wire_get(bytes, 4);
}

static inline int64_t wire_get_int64(const void *bytes)
{
    return (int64_t)wire_get(bytes, 8);
}

/* A result's wire form at the front of `length` bytes: its size, 0 where it is malformed or not all
 * there. Looks at its head only. */
size_t result_wire_size(const void *bytes, size_t length);

/* Adds the columns that this whole wire form needs. Looks at its head only; STATUS_EXISTS where it
 * is of a form that this program does not read. */
struct output_columns;
status result_wire_columns(const void *bytes, struct output_columns *columns) MUST_CHECK;

#endif
