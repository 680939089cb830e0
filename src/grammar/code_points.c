/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of code points as bytes of UTF-8: a range is cut where the number of bytes changes, and then
 * where its first and last disagree, until each piece is a product of ranges of bytes. */
#include <stdlib.h>

#include "grammar/nodes.h"

/* Pieces found so far, each a sequence of sets of bytes. */
struct utf8_pieces {
    struct grammar_expressions *expressions;
    grammar_node *alternatives;
    size_t count, capacity;
};

static int compare_ranges(const void *a, const void *b)
{
    const struct code_point_range *left = a, *right = b;
    return (left->first > right->first) - (left->first < right->first);
}

/* One alternative: bytes from low[i] to high[i] after each other. */
static status add_piece(struct utf8_pieces *self, const unsigned char *low,
                        const unsigned char *high, size_t count)
{
    grammar_node nodes[4];
    for (size_t i = 0; i < count; i++) {
        struct byte_set set = {{0}};
        byte_set_add(&set, low[i], high[i]);
        TRY(grammar_byte_set(self->expressions, set.words, &nodes[i]));
    }
    void *alternatives = self->alternatives;
    status s =
        array_grow(&alternatives, &self->capacity, self->count + 1, sizeof *self->alternatives);
    self->alternatives = alternatives;
    TRY(s);
    return grammar_sequence(self->expressions, nodes, count, &self->alternatives[self->count++]);
}

/* Code points of one length in UTF-8. */
static status add_equal_length(struct utf8_pieces *self, uint32_t first, uint32_t last,
                               size_t length)
{
    for (size_t tail = 1; tail < length; tail++) { /* so many continuation bytes are free */
        const uint32_t below = (UINT32_C(1) << (6 * tail)) - 1;
        if ((first & ~below) == (last & ~below)) {
            continue;
        }
        if ((first & below) != 0) {
            TRY(add_equal_length(self, first, first | below, length));
            return add_equal_length(self, (first | below) + 1, last, length);
        }
        if ((last & below) != below) {
            TRY(add_equal_length(self, first, (last & ~below) - 1, length));
            return add_equal_length(self, last & ~below, last, length);
        }
    }
    char low[4], high[4];
    utf8_encode((int32_t)first, low);
    utf8_encode((int32_t)last, high);
    return add_piece(self, (const unsigned char *)low, (const unsigned char *)high, length);
}

static status add_range(struct utf8_pieces *self, uint32_t first, uint32_t last)
{
    static const uint32_t ends[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, 0x10FFFF};
    static const size_t lengths[] = {1, 2, 3, 0, 3, 4};
    for (size_t i = 0; i < COUNT_OF(ends) && first <= last; i++) {
        if (first > ends[i]) {
            continue;
        }
        const uint32_t end = last < ends[i] ? last : ends[i];
        if (lengths[i] > 0) { /* 0: surrogates, which are no text */
            TRY(add_equal_length(self, first, end, lengths[i]));
        }
        first = end + 1;
    }
    return STATUS_OK;
}

/* Sorted ranges that touch become one. */
static status add_ranges(struct utf8_pieces *self, struct code_point_range *ranges, size_t count)
{
    qsort(ranges, count, sizeof *ranges, compare_ranges);
    for (size_t i = 0; i < count;) {
        const uint32_t first = ranges[i].first;
        uint32_t last = ranges[i].last;
        for (i++; i < count && ranges[i].first <= last + 1; i++) {
            last = ranges[i].last > last ? ranges[i].last : last;
        }
        TRY(add_range(self, first, last));
    }
    return STATUS_OK;
}

status grammar_code_points(struct grammar_expressions *self, const struct code_point_range *ranges,
                           size_t count, grammar_node *out)
{
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].last > 0x10FFFF || ranges[i].first > ranges[i].last) {
            return status_fail(STATUS_INVALID, "a range of code points from %#x to %#x",
                               (unsigned)ranges[i].first, (unsigned)ranges[i].last);
        }
    }
    struct utf8_pieces pieces = {.expressions = self};
    struct code_point_range *sorted = malloc((count + 1) * sizeof *sorted);
    if (sorted == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
    }
    for (size_t i = 0; i < count; i++) {
        sorted[i] = ranges[i];
    }
    grammar_node node;
    status s = add_ranges(&pieces, sorted, count);
    if (s == STATUS_OK) {
        s = grammar_choice(self, pieces.alternatives, pieces.count, &node);
    }
    free(sorted);
    free(pieces.alternatives);
    TRY(s);
    if (pieces.count <= 16) {
        *out = node;
        return STATUS_OK;
    }
    if (grammar_find_derived(self, DERIVED_MINIMAL, node, 0, out)) {
        return STATUS_OK;
    }
    struct automaton *automaton; /* the least there is of it, which stands wherever it is used */
    TRY(grammar_node_automaton(self, node, &automaton));
    TRY(grammar_automaton_node(self, automaton, out));
    return grammar_keep_derived(self, DERIVED_MINIMAL, node, 0, *out);
}
