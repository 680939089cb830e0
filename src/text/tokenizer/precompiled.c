/* SPDX-License-Identifier: Apache-2.0 */
/* SentencePiece's precompiled character map: a double-array trie (Darts) over the strings that it
 * replaces, and the replacements. The layout is that of sentencepiece/src/normalizer.cc: the size
 * of the trie in bytes (uint32, little endian), the trie's units, NUL-terminated replacements. */
#include <string.h>
#include <utf8proc.h>

#include "text/tokenizer/internal.h"

/* Longer groups of characters are never looked up as a whole. */
enum { GROUP_LONGEST = 5 };

/* A string of the map is a character or a few; a map that is a loop ends here. */
enum { MATCH_LONGEST = 256 };

static uint32_t read_uint32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

status precompiled_create(struct normalizer *normalizer, const unsigned char *bytes, size_t length,
                          struct arena *arena)
{
    uint32_t trie_bytes = length >= 4 ? read_uint32(bytes) : 0;
    if (length < 4 || trie_bytes > length - 4 || trie_bytes < 4) {
        return status_fail(STATUS_INVALID, "precompiled_charsmap: shorter than it says");
    }
    const char *strings = (const char *)bytes + 4 + trie_bytes;
    size_t strings_length = length - 4 - trie_bytes, bad_offset;
    if (!utf8_valid(strings, strings_length, &bad_offset)) {
        return status_fail(STATUS_INVALID,
                           "precompiled_charsmap: replacement byte %zu is not valid UTF-8",
                           bad_offset);
    }
    normalizer->map_unit_count = trie_bytes / 4;
    normalizer->map_units = arena_allocate_array(arena, normalizer->map_unit_count, 4);
    normalizer->map_strings = arena_copy(arena, strings, strings_length);
    normalizer->map_strings_length = strings_length;
    if (normalizer->map_units == NULL || normalizer->map_strings == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a character map");
    }
    for (size_t i = 0; i < normalizer->map_unit_count; i++) {
        normalizer->map_units[i] = read_uint32(bytes + 4 + 4 * i);
    }
    return STATUS_OK;
}

status precompiled_create_from_base64(struct normalizer *normalizer, const char *text,
                                      size_t length, struct arena *arena)
{
    struct buffer bytes = {0};
    status s = base64_decode(text, length, &bytes);
    s = s == STATUS_OK
            ? precompiled_create(normalizer, (const unsigned char *)bytes.data, bytes.length, arena)
            : status_context(s, "precompiled_charsmap");
    buffer_destroy(&bytes);
    return s;
}

/* A unit: bit 31 says that it is a value, bits 0 to 7 are the label, bit 8 says that a string ends
 * here, bit 9 widens the offset to the children, which is in bits 10 and up. */
static uint32_t unit_offset(uint32_t unit)
{
    return unit >> 10 << ((unit & UINT32_C(1) << 9) >> 6);
}

/* The string that a value points to, or NULL: one that points into a character would make text that
 * is not UTF-8. */
static const char *replacement_at(const struct normalizer *map, size_t node, size_t *length)
{
    uint32_t value = node < map->map_unit_count ? map->map_units[node] & INT32_MAX : UINT32_MAX;
    if (value >= map->map_strings_length) {
        return NULL;
    }
    const char *replacement = map->map_strings + value;
    *length = strnlen(replacement, map->map_strings_length - value);
    return utf8_valid(replacement, *length, NULL) ? replacement : NULL;
}

size_t precompiled_match(const struct normalizer *map, const char *text, size_t length,
                         bool longest, const char **replacement, size_t *replacement_length)
{
    size_t node = map->map_unit_count > 0 ? unit_offset(map->map_units[0]) : 0, matched = 0;
    for (size_t i = 0; i < length && i < MATCH_LONGEST; i++) {
        unsigned char byte = (unsigned char)text[i];
        node ^= byte;
        if (byte == 0 || node >= map->map_unit_count) {
            break;
        }
        uint32_t unit = map->map_units[node];
        if ((unit & (UINT32_C(1) << 31 | 0xFF)) != byte) {
            break;
        }
        node ^= unit_offset(unit);
        if (unit >> 8 & 1) {
            size_t found_length = 0;
            const char *found = replacement_at(map, node, &found_length);
            if (found != NULL) {
                *replacement = found;
                *replacement_length = found_length;
                matched = i + 1;
            }
            if (!longest) {
                break;
            }
        }
    }
    return matched;
}

static const char *find_replacement(const struct normalizer *map, const char *text, size_t length,
                                    size_t *replacement_length)
{
    const char *replacement = NULL;
    return precompiled_match(map, text, length, false, &replacement, replacement_length) > 0
               ? replacement
               : NULL;
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
