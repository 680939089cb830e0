/* SPDX-License-Identifier: Apache-2.0 */
/* SentencePiece's precompiled character map: a double-array trie (Darts) over the strings that it
 * replaces, and the replacements. The layout is that of sentencepiece/src/normalizer.cc: the size
 * of the trie in bytes (uint32, little endian), the trie's units, NUL-terminated replacements. */
#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer_internal.h"

/* Longer groups of characters are never looked up as a whole. */
enum { GROUP_LONGEST = 5 };

static status decode_base64(const char *text, size_t length, struct arena *arena,
                            unsigned char **out, size_t *out_length)
{
    unsigned char *bytes = arena_allocate(arena, length / 4 * 3 + 3);
    if (bytes == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a character map");
    }
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    unsigned pending = 0;
    size_t count = 0;
    while (length > 0 && text[length - 1] == '=') {
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        const char *digit = text[i] != '\0' ? strchr(digits, text[i]) : NULL;
        if (digit == NULL) {
            return status_fail(STATUS_INVALID, "precompiled_charsmap: byte %zu is not base64", i);
        }
        bits = bits << 6 | (uint32_t)(digit - digits);
        pending += 6;
        if (pending >= 8) {
            pending -= 8;
            bytes[count++] = (unsigned char)(bits >> pending);
        }
    }
    *out = bytes;
    *out_length = count;
    return STATUS_OK;
}

status precompiled_create(struct normalizer *normalizer, const char *base64, size_t length,
                          struct arena *arena)
{
    unsigned char *bytes = NULL;
    size_t count = 0;
    TRY(decode_base64(base64, length, arena, &bytes, &count));
    uint32_t trie_bytes = count >= 4 ? (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 |
                                           (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24
                                     : 0;
    if (count < 4 || trie_bytes > count - 4 || trie_bytes < 4) {
        return status_fail(STATUS_INVALID, "precompiled_charsmap: shorter than it says");
    }
    normalizer->map_unit_count = trie_bytes / 4;
    normalizer->map_units = arena_allocate_array(arena, normalizer->map_unit_count, 4);
    if (normalizer->map_units == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a character map");
    }
    for (size_t i = 0; i < normalizer->map_unit_count; i++) {
        const unsigned char *unit = bytes + 4 + 4 * i;
        normalizer->map_units[i] = (uint32_t)unit[0] | (uint32_t)unit[1] << 8 |
                                   (uint32_t)unit[2] << 16 | (uint32_t)unit[3] << 24;
    }
    normalizer->map_strings = (const char *)bytes + 4 + trie_bytes;
    normalizer->map_strings_length = count - 4 - trie_bytes;
    size_t bad_offset;
    if (!utf8_valid(normalizer->map_strings, normalizer->map_strings_length, &bad_offset)) {
        return status_fail(STATUS_INVALID,
                           "precompiled_charsmap: replacement byte %zu is not valid UTF-8",
                           bad_offset);
    }
    return STATUS_OK;
}

/* A unit: bit 31 says that it is a value, bits 0 to 7 are the label, bit 8 says that a string ends
 * here, bit 9 widens the offset to the children, which is in bits 10 and up. */
static uint32_t unit_offset(uint32_t unit)
{
    return unit >> 10 << ((unit & UINT32_C(1) << 9) >> 6);
}

/* The replacement of the shortest string of the map that `text` begins with, whatever stands behind
 * it in `text`; NULL where there is none. */
static const char *find_replacement(const struct normalizer *map, const char *text, size_t length,
                                    size_t *replacement_length)
{
    size_t node = unit_offset(map->map_units[0]);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (byte == 0 || node >= map->map_unit_count) {
            return NULL;
        }
        uint32_t unit = map->map_units[node];
        if ((unit & (UINT32_C(1) << 31 | 0xFF)) != byte) {
            return NULL;
        }
        node ^= unit_offset(unit);
        if (unit >> 8 & 1) {
            uint32_t value =
                node < map->map_unit_count ? map->map_units[node] & INT32_MAX : UINT32_MAX;
            if (value >= map->map_strings_length) {
                return NULL;
            }
            const char *replacement = map->map_strings + value;
            *replacement_length = strnlen(replacement, map->map_strings_length - value);
            /* A value that points into a character would make text that is not UTF-8. */
            return utf8_valid(replacement, *replacement_length, NULL) ? replacement : NULL;
        }
    }
    return NULL;
}

static status apply_to_group(const struct normalizer *map, const char *text, size_t length,
                             struct buffer *out)
{
    size_t replacement_length = 0;
    if (length <= GROUP_LONGEST) {
        const char *replacement = find_replacement(map, text, length, &replacement_length);
        if (replacement != NULL) {
            return buffer_append(out, replacement, replacement_length);
        }
    }
    for (size_t at = 0; at < length;) {
        size_t start = at;
        unicode_next(text, &at);
        const char *replacement =
            find_replacement(map, text + start, at - start, &replacement_length);
        TRY(replacement != NULL ? buffer_append(out, replacement, replacement_length)
                                : buffer_append(out, text + start, at - start));
    }
    return STATUS_OK;
}

status precompiled_apply(const struct normalizer *normalizer, const char *text, size_t length,
                         struct buffer *out)
{
    size_t start = 0;
    utf8proc_int32_t state = 0;
    int32_t before = -1;
    for (size_t at = 0; at < length;) {
        size_t here = at;
        int32_t c = unicode_next(text, &at);
        if (before >= 0 && utf8proc_grapheme_break_stateful(before, c, &state)) {
            TRY(apply_to_group(normalizer, text + start, here - start, out));
            start = here;
        }
        before = c;
    }
    return apply_to_group(normalizer, text + start, length - start, out);
}
