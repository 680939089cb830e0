/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a beat: little endian, with an HMAC-SHA-256 of what stands before it at the end. */
#include "run/hosts/beat.h"

#include <string.h>

static const char magic[8] = "SLUICEB\1";
enum { AT_MAGIC = 0, AT_RANK = 8, AT_LOST = 12, AT_NUMBER = 16, AT_CODE = 24 };

static void put(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

bool beat_pack(const struct beat *beat, const uint8_t token[BEAT_TOKEN_BYTES],
               uint8_t bytes[BEAT_BYTES])
{
    memcpy(bytes + AT_MAGIC, magic, sizeof magic);
    put(bytes + AT_RANK, (uint32_t)beat->rank, 4);
    put(bytes + AT_LOST, (uint32_t)beat->lost, 4);
    put(bytes + AT_NUMBER, beat->number, 8);
    return hmac_sha256(token, BEAT_TOKEN_BYTES, bytes, AT_CODE, bytes + AT_CODE);
}

/* Takes as long wherever the codes differ. */
static bool is_same(const uint8_t *a, const uint8_t *b, size_t length)
{
    unsigned int difference = 0;
    for (size_t i = 0; i < length; i++) {
        difference |= (unsigned int)(a[i] ^ b[i]);
    }
    return difference == 0;
}

bool beat_unpack(const uint8_t *bytes, size_t length, const uint8_t token[BEAT_TOKEN_BYTES],
                 struct beat *beat)
{
    uint8_t code[BEAT_BYTES - AT_CODE];
    if (length != BEAT_BYTES || memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0 ||
        !hmac_sha256(token, BEAT_TOKEN_BYTES, bytes, AT_CODE, code) ||
        !is_same(code, bytes + AT_CODE, sizeof code)) {
        return false;
    }
    *beat = (struct beat){.rank = (int32_t)(uint32_t)get(bytes + AT_RANK, 4),
                          .number = get(bytes + AT_NUMBER, 8),
                          .lost = (int32_t)(uint32_t)get(bytes + AT_LOST, 4)};
    return true;
}
