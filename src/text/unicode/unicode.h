/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokenizer needs to know of Unicode: properties as the reference library has them,
 * lower case, normalization forms, sets of code points.
 *
 * The reference mixes versions of Unicode; the tables (unicode_tables.c) hold each set as it was
 * measured there, and the functions below correct utf8proc where it is of another version. */
#ifndef SLUICE_TEXT_UNICODE_H
#define SLUICE_TEXT_UNICODE_H

#include "sluice/base.h"

/* ---- Tables ---- */

enum unicode_category {
    UNICODE_CN,
    UNICODE_LU,
    UNICODE_LL,
    UNICODE_LT,
    UNICODE_LM,
    UNICODE_LO,
    UNICODE_MN,
    UNICODE_MC,
    UNICODE_ME,
    UNICODE_ND,
    UNICODE_NL,
    UNICODE_NO,
    UNICODE_PC,
    UNICODE_PD,
    UNICODE_PS,
    UNICODE_PE,
    UNICODE_PI,
    UNICODE_PF,
    UNICODE_PO,
    UNICODE_SM,
    UNICODE_SC,
    UNICODE_SK,
    UNICODE_SO,
    UNICODE_ZS,
    UNICODE_ZL,
    UNICODE_ZP,
    UNICODE_CC,
    UNICODE_CF,
    UNICODE_CS,
    UNICODE_CO,
    UNICODE_CATEGORIES
};

/* Runs: first code point << 8 | label, to the next run. Ranges: pairs of first and last. Counts are
 * of array elements. */
extern const uint32_t unicode_category_runs[];
extern const size_t unicode_category_runs_count;
extern const char *const unicode_script_names[]; /* by label of unicode_script_runs */
extern const size_t unicode_script_names_count;
extern const uint32_t unicode_script_runs[];
extern const size_t unicode_script_runs_count;
extern const uint32_t unicode_alphabetic[];
extern const size_t unicode_alphabetic_count;
extern const uint32_t unicode_numeric_extra[];
extern const size_t unicode_numeric_extra_count;
extern const uint32_t unicode_word[];
extern const size_t unicode_word_count;
extern const uint32_t unicode_punctuation[];
extern const size_t unicode_punctuation_count;
extern const uint32_t unicode_bert_control[];
extern const size_t unicode_bert_control_count;
extern const uint32_t unicode_bert_accent[];
extern const size_t unicode_bert_accent_count;
extern const uint32_t unicode_combining_mark[];
extern const size_t unicode_combining_mark_count;
extern const uint32_t unicode_lower_extra[];
extern const size_t unicode_lower_extra_count;
extern const uint32_t unicode_never_normalized[];
extern const size_t unicode_never_normalized_count;

/* ---- Text ---- */

/* The code point at text[*offset] of well-formed UTF-8; moves *offset behind it. */
static inline int32_t unicode_next(const char *text, size_t *offset)
{
    const unsigned char *bytes = (const unsigned char *)text + *offset;
    int32_t first = bytes[0];
    if (first < 0x80) {
        *offset += 1;
        return first;
    }
    if (first < 0xE0) {
        *offset += 2;
        return (first & 0x1F) << 6 | (bytes[1] & 0x3F);
    }
    if (first < 0xF0) {
        *offset += 3;
        return (first & 0x0F) << 12 | (bytes[1] & 0x3F) << 6 | (bytes[2] & 0x3F);
    }
    *offset += 4;
    return (first & 0x07) << 18 | (bytes[1] & 0x3F) << 12 | (bytes[2] & 0x3F) << 6 |
           (bytes[3] & 0x3F);
}

/* Where the character that ends before `offset` (at least 1) begins. */
static inline size_t unicode_previous(const char *text, size_t offset)
{
    do {
        offset--;
    } while (offset > 0 && ((unsigned char)text[offset] & 0xC0) == 0x80);
    return offset;
}

/* The value of a hexadecimal digit, or -1. */
int unicode_hexadecimal(char digit);

status unicode_append(struct buffer *out, int32_t code_point) MUST_CHECK;

/* ---- Properties ---- */

enum unicode_category unicode_category_of(int32_t code_point);
bool unicode_is_space(int32_t code_point);       /* White_Space */
bool unicode_is_numeric(int32_t code_point);     /* Nd, Nl, No */
bool unicode_is_word(int32_t code_point);        /* \w of the Whitespace pre-tokenizer */
bool unicode_is_punctuation(int32_t code_point); /* ASCII punctuation and category P */
bool unicode_in_ranges(int32_t code_point, const uint32_t *ranges, size_t count);

/* Full lower case without context: 1 or 2 code points into out; returns how many. */
size_t unicode_lower(int32_t code_point, int32_t out[2]);
/* One representative of all code points that differ from this one in case only. */
int32_t unicode_case_key(int32_t code_point);

/* ---- Normalization forms ---- */

/* Working memory; zero-initialise before first use. */
struct unicode_normalizer {
    int32_t *points;
    size_t count, capacity;
};
void unicode_normalizer_destroy(struct unicode_normalizer *normalizer);
/* Appends the normalization form of well-formed UTF-8, in time linear in length. */
status unicode_normalize(struct unicode_normalizer *normalizer, const char *text, size_t length,
                         bool compose, bool compatibility, struct buffer *out) MUST_CHECK;

/* ---- Sets of code points ---- */

enum { UNICODE_SET_DIRECT = 0x800 }; /* below: a bitmap; above: a search in the ranges */

/* Sorted ranges that neither touch nor overlap; ranges[2i] first, ranges[2i + 1] last. */
struct unicode_set {
    uint32_t *ranges;
    size_t count, capacity; /* of elements of ranges */
    uint64_t direct[UNICODE_SET_DIRECT / 64];
};

/* While a set is built, ranges may be added in any order; unicode_set_finish sorts them. */
status unicode_set_add(struct unicode_set *set, uint32_t first, uint32_t last) MUST_CHECK;
status unicode_set_add_set(struct unicode_set *set, const struct unicode_set *other) MUST_CHECK;
status unicode_set_add_ranges(struct unicode_set *set, const uint32_t *ranges,
                              size_t count) MUST_CHECK;
/* Categories as a mask of 1 << enum unicode_category. */
status unicode_set_add_categories(struct unicode_set *set, uint32_t mask) MUST_CHECK;
status unicode_set_add_script(struct unicode_set *set, size_t script) MUST_CHECK;
void unicode_set_finish(struct unicode_set *set); /* also fills the bitmap */
status unicode_set_negate(struct unicode_set *set) MUST_CHECK;
status unicode_set_intersect(struct unicode_set *set, const struct unicode_set *other) MUST_CHECK;
/* Adds everything that differs from a member in case only. */
status unicode_set_close_case(struct unicode_set *set) MUST_CHECK;
bool unicode_set_disjoint(const struct unicode_set *a, const struct unicode_set *b);
void unicode_set_destroy(struct unicode_set *set);

static inline bool unicode_set_has(const struct unicode_set *set, int32_t code_point)
{
    if (code_point < UNICODE_SET_DIRECT) {
        return set->direct[code_point >> 6] >> (code_point & 63) & 1;
    }
    return unicode_in_ranges(code_point, set->ranges, set->count);
}

#endif
