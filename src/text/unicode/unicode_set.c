/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of code points as sorted ranges: union, negation, intersection, closure under case. */
#include <stdlib.h>
#include <string.h>

#include "text/unicode/unicode.h"

enum { LAST_CODE_POINT = 0x10FFFF };

status unicode_set_add(struct unicode_set *set, uint32_t first, uint32_t last)
{
    void *ranges = set->ranges;
    status s = array_grow(&ranges, &set->capacity, set->count + 2, sizeof *set->ranges);
    set->ranges = ranges;
    if (s == STATUS_OK) {
        set->ranges[set->count++] = first;
        set->ranges[set->count++] = last;
    }
    return s;
}

status unicode_set_add_ranges(struct unicode_set *set, const uint32_t *ranges, size_t count)
{
    for (size_t i = 0; i + 1 < count; i += 2) {
        TRY(unicode_set_add(set, ranges[i], ranges[i + 1]));
    }
    return STATUS_OK;
}

status unicode_set_add_set(struct unicode_set *set, const struct unicode_set *other)
{
    return unicode_set_add_ranges(set, other->ranges, other->count);
}

static status add_runs(struct unicode_set *set, const uint32_t *runs, size_t count,
                       const bool wanted[256])
{
    for (size_t i = 0; i < count; i++) {
        if (wanted[runs[i] & 0xFF]) {
            uint32_t last = i + 1 < count ? (runs[i + 1] >> 8) - 1 : LAST_CODE_POINT;
            TRY(unicode_set_add(set, runs[i] >> 8, last));
        }
    }
    return STATUS_OK;
}

status unicode_set_add_categories(struct unicode_set *set, uint32_t mask)
{
    bool wanted[256] = {false};
    for (int i = 0; i < UNICODE_CATEGORIES; i++) {
        wanted[i] = mask >> i & 1;
    }
    return add_runs(set, unicode_category_runs, unicode_category_runs_count, wanted);
}

status unicode_set_add_script(struct unicode_set *set, size_t script)
{
    bool wanted[256] = {false};
    wanted[script] = true;
    return add_runs(set, unicode_script_runs, unicode_script_runs_count, wanted);
}

static int compare_ranges(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

void unicode_set_finish(struct unicode_set *set)
{
    if (set->count > 0) {
        qsort(set->ranges, set->count / 2, 2 * sizeof *set->ranges, compare_ranges);
    }
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i += 2) {
        uint32_t first = set->ranges[i], last = set->ranges[i + 1];
        if (kept > 0 && first <= set->ranges[kept - 1] + 1) {
            if (last > set->ranges[kept - 1]) {
                set->ranges[kept - 1] = last;
            }
        } else {
            set->ranges[kept++] = first;
            set->ranges[kept++] = last;
        }
    }
    set->count = kept;
    memset(set->direct, 0, sizeof set->direct);
    for (size_t i = 0; i < kept && set->ranges[i] < UNICODE_SET_DIRECT; i += 2) {
        for (uint32_t c = set->ranges[i]; c <= set->ranges[i + 1] && c < UNICODE_SET_DIRECT; c++) {
            set->direct[c >> 6] |= UINT64_C(1) << (c & 63);
        }
    }
}

status unicode_set_negate(struct unicode_set *set)
{
    struct unicode_set negated = {0};
    uint32_t next = 0;
    status s = STATUS_OK;
    for (size_t i = 0; i < set->count && s == STATUS_OK; i += 2) {
        if (set->ranges[i] > next) {
            s = unicode_set_add(&negated, next, set->ranges[i] - 1);
        }
        next = set->ranges[i + 1] + 1;
    }
    if (s == STATUS_OK && next <= LAST_CODE_POINT) {
        s = unicode_set_add(&negated, next, LAST_CODE_POINT);
    }
    if (s != STATUS_OK) {
        unicode_set_destroy(&negated);
        return s;
    }
    unicode_set_finish(&negated);
    unicode_set_destroy(set);
    *set = negated;
    return STATUS_OK;
}

status unicode_set_intersect(struct unicode_set *set, const struct unicode_set *other)
{
    struct unicode_set common = {0};
    status s = STATUS_OK;
    for (size_t i = 0, j = 0; i < set->count && j < other->count && s == STATUS_OK;) {
        uint32_t first = set->ranges[i] > other->ranges[j] ? set->ranges[i] : other->ranges[j];
        bool set_ends = set->ranges[i + 1] < other->ranges[j + 1];
        uint32_t last = set_ends ? set->ranges[i + 1] : other->ranges[j + 1];
        if (first <= last) {
            s = unicode_set_add(&common, first, last);
        }
        i += set_ends ? 2 : 0;
        j += set_ends ? 0 : 2;
    }
    if (s != STATUS_OK) {
        unicode_set_destroy(&common);
        return s;
    }
    unicode_set_finish(&common);
    unicode_set_destroy(set);
    *set = common;
    return STATUS_OK;
}

status unicode_set_close_case(struct unicode_set *set)
{
    enum { LAST_CASED = 0x1FFFF };
    unsigned char *wanted = calloc(LAST_CASED + 1, 1); /* by case key */
    if (wanted == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for letter cases");
    }
    for (size_t i = 0; i < set->count; i += 2) {
        for (uint32_t c = set->ranges[i]; c <= set->ranges[i + 1] && c <= LAST_CASED; c++) {
            wanted[unicode_case_key((int32_t)c) & LAST_CASED] = 1;
        }
    }
    status s = STATUS_OK;
    for (int32_t c = 0; c <= LAST_CASED && s == STATUS_OK; c++) {
        if (wanted[unicode_case_key(c) & LAST_CASED] != 0) {
            s = unicode_set_add(set, (uint32_t)c, (uint32_t)c);
        }
    }
    free(wanted);
    unicode_set_finish(set);
    return s;
}

bool unicode_set_disjoint(const struct unicode_set *a, const struct unicode_set *b)
{
    for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
        if (a->ranges[i + 1] < b->ranges[j]) {
            i += 2;
        } else if (b->ranges[j + 1] < a->ranges[i]) {
            j += 2;
        } else {
            return false;
        }
    }
    return true;
}

void unicode_set_destroy(struct unicode_set *set)
{
    free(set->ranges);
    *set = (struct unicode_set){0};
}
