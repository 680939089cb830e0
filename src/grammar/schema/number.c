/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal digits: reading, comparing, and the automata of ranges.
 *
 * A number is at least I.F if its whole part is longer than I, or as long and greater at the first
 * digit that differs, or equal and its fraction is at least F in the same way; "at most" likewise.
 * A range is the intersection of the two. */
#include "grammar/schema/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIGITS = 1100 };

/* ---- Reading ---- */

/* The digits of a number with its point taken out, and where the point then is. */
struct digits {
    char *text;
    size_t count;
    long point;
};

static status read_digits(const char *text, struct arena *arena, struct digits *out)
{
    *out = (struct digits){.text = arena_allocate(arena, strlen(text) + 1)};
    if (out->text == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a number");
    }
    bool has_point = false;
    for (; (*text >= '0' && *text <= '9') || *text == '.'; text++) {
        has_point |= *text == '.';
        if (*text != '.') {
            out->text[out->count++] = *text;
            out->point += !has_point;
        }
    }
    if (*text == 'e' || *text == 'E') {
        long exponent = strtol(text + 1, NULL, 10);
        exponent = exponent > 1000000 ? 1000000 : exponent < -1000000 ? -1000000 : exponent;
        out->point += exponent;
    }
    return STATUS_OK;
}

static void trim(struct digits *digits)
{
    size_t zeros = 0;
    while (zeros < digits->count && digits->text[zeros] == '0') {
        zeros++;
    }
    digits->text += zeros;
    digits->count -= zeros;
    digits->point -= (long)zeros;
    while (digits->count > 0 && digits->text[digits->count - 1] == '0') {
        digits->count--;
    }
    if (digits->count == 0) {
        digits->point = 0;
    }
}

status decimal_read(const struct json *number, struct arena *arena, struct decimal *out)
{
    struct digits digits;
    bool negative = number->text[0] == '-';
    TRY(read_digits(number->text + negative, arena, &digits));
    trim(&digits);
    const long count = (long)digits.count, point = digits.point;
    if (count > MAX_DIGITS || point > MAX_DIGITS || point < -MAX_DIGITS) {
        return status_fail(STATUS_LIMIT, "%.40s: a number of more than %d digits", number->text,
                           MAX_DIGITS);
    }
    const size_t whole = point > 0 ? (size_t)point : 0;
    const size_t fraction = count > point ? (size_t)(count - point) : 0;
    char *text = arena_allocate(arena, whole + fraction + 1);
    if (text == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a number");
    }
    for (long i = 0; i < (long)(whole + fraction); i++) {
        const long at = i + point - (long)whole; /* leading zeros of a fraction lie before 0 */
        text[i] = at >= 0 && at < count ? digits.text[at] : '0';
    }
    *out = (struct decimal){.negative = negative && count > 0,
                            .whole = whole > 0 ? text : "0",
                            .whole_count = whole > 0 ? whole : 1,
                            .fraction = text + whole,
                            .fraction_count = fraction};
    return STATUS_OK;
}

static int compare_digits(const char *a, size_t a_count, const char *b, size_t b_count)
{
    size_t common = a_count < b_count ? a_count : b_count;
    int order = common > 0 ? memcmp(a, b, common) : 0;
    return order != 0 ? order : (a_count > b_count) - (a_count < b_count);
}

static int compare_magnitude(const struct decimal *a, const struct decimal *b)
{
    if (a->whole_count != b->whole_count) {
        return a->whole_count > b->whole_count ? 1 : -1;
    }
    int order = memcmp(a->whole, b->whole, a->whole_count);
    return order != 0
               ? order
               : compare_digits(a->fraction, a->fraction_count, b->fraction, b->fraction_count);
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
    if (a->negative != b->negative) {
        return a->negative ? -1 : 1;
    }
    return a->negative ? compare_magnitude(b, a) : compare_magnitude(a, b);
}

bool decimal_is_integer(const struct decimal *number)
{
    return number->fraction_count == 0;
}

/* ---- Ranges ---- */

void number_range_raise(struct number_range *range, const struct decimal *least, bool above)
{
    int order = range->has_least ? decimal_compare(least, &range->least) : 1;
    if (order > 0) {
        range->least = *least;
        range->above = above;
    } else if (order == 0) {
        range->above = range->above || above;
    }
    range->has_least = true;
}

void number_range_lower(struct number_range *range, const struct decimal *most, bool below)
{
    int order = range->has_most ? decimal_compare(most, &range->most) : -1;
    if (order < 0) {
        range->most = *most;
        range->below = below;
    } else if (order == 0) {
        range->below = range->below || below;
    }
    range->has_most = true;
}

/* Whether an integer lies between two bounds of which the first is smaller: of the same sign and
 * whole part it can only be one of the bounds themselves. */
static bool has_integer(const struct number_range *range)
{
    const struct decimal *a = &range->least, *b = &range->most;
    if ((decimal_is_integer(a) && !range->above) || (decimal_is_integer(b) && !range->below)) {
        return true;
    }
    const struct decimal zero = {.whole = "0", .whole_count = 1, .fraction = ""};
    if (decimal_compare(a, &zero) < 0 && decimal_compare(&zero, b) < 0) {
        return true;
    }
    /* |from| < |to| of one sign; an integer n with |from| < n < |to| is wanted: the next above
     * |from|. */
    const struct decimal *from = a->negative ? b : a, *to = a->negative ? a : b;
    char next[MAX_DIGITS + 3];
    size_t count = from->whole_count;
    next[0] = '0';
    memcpy(next + 1, from->whole, count);
    size_t at = count;
    while (next[at] == '9') {
        next[at--] = '0';
    }
    next[at]++;
    bool grew = next[0] != '0';
    const struct decimal above = {
        .whole = next + !grew, .whole_count = count + grew, .fraction = ""};
    struct decimal limit = *to;
    limit.negative = false;
    return decimal_compare(&above, &limit) < 0;
}

bool number_range_is_empty(const struct number_range *range, bool integers)
{
    if (!range->has_least || !range->has_most) {
        return false;
    }
    int order = decimal_compare(&range->least, &range->most);
    if (order > 0 || (order == 0 && (range->above || range->below))) {
        return true;
    }
    return integers && (order == 0 ? !decimal_is_integer(&range->least) : !has_integer(range));
}

/* ---- Automata ---- */

enum { MAX_WAYS = 3 * MAX_DIGITS + 8 };

struct ways {
    struct grammar_expressions *expressions;
    bool integers;
    grammar_node any_digit, nonzero, tail; /* tail: a fraction, or none */
    grammar_node *items;                   /* [MAX_WAYS] alternatives found so far */
    size_t count;
};

static status digit_node(struct grammar_expressions *expressions, char first, char last,
                         grammar_node *out)
{
    const struct code_point_range range = {(uint32_t)first, (uint32_t)last};
    return grammar_code_points(expressions, &range, 1, out);
}

static status digits_node(struct ways *ways, uint32_t least, uint32_t most, grammar_node *out)
{
    return grammar_repeat(ways->expressions, ways->any_digit, least, most, out);
}

/* ("." digits)? */
static status fraction_node(struct ways *ways, grammar_node *out)
{
    grammar_node parts[2];
    TRY(grammar_literal(ways->expressions, ".", 1, &parts[0]));
    TRY(digits_node(ways, 1, GRAMMAR_UNBOUNDED, &parts[1]));
    TRY(grammar_sequence(ways->expressions, parts, 2, out));
    return grammar_repeat(ways->expressions, *out, 0, 1, out);
}

static status ways_start(struct ways *ways, struct grammar_expressions *expressions, bool integers,
                         struct arena *arena)
{
    *ways = (struct ways){.expressions = expressions, .integers = integers};
    ways->items = arena_allocate_array(arena, MAX_WAYS, sizeof *ways->items);
    if (ways->items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a range of numbers");
    }
    TRY(digit_node(expressions, '0', '9', &ways->any_digit));
    TRY(digit_node(expressions, '1', '9', &ways->nonzero));
    return integers ? grammar_literal(expressions, "", 0, &ways->tail)
                    : fraction_node(ways, &ways->tail);
}

static status add_way(struct ways *ways, const grammar_node *parts, size_t count)
{
    return grammar_sequence(ways->expressions, parts, count, &ways->items[ways->count++]);
}

/* `before` digits of the whole part, a digit of first to last, and any others up to its length. */
static status add_whole(struct ways *ways, const char *whole, size_t before, size_t count,
                        char first, char last)
{
    grammar_node parts[4];
    if (first > last) {
        return STATUS_OK;
    }
    const uint32_t behind = (uint32_t)(count - before - 1);
    TRY(grammar_literal(ways->expressions, whole, before, &parts[0]));
    TRY(digit_node(ways->expressions, first, last, &parts[1]));
    TRY(digits_node(ways, behind, behind, &parts[2]));
    parts[3] = ways->tail;
    return add_way(ways, parts, 4);
}

/* The whole part, a point, `before` digits of the fraction, and `behind`. */
static status add_fraction(struct ways *ways, const struct decimal *bound, size_t before,
                           grammar_node behind)
{
    grammar_node parts[4];
    TRY(grammar_literal(ways->expressions, bound->whole, bound->whole_count, &parts[0]));
    TRY(grammar_literal(ways->expressions, ".", 1, &parts[1]));
    TRY(grammar_literal(ways->expressions, bound->fraction, before, &parts[2]));
    parts[3] = behind;
    return add_way(ways, parts, 4);
}

static status add_exactly(struct ways *ways, const struct decimal *bound, grammar_node behind)
{
    grammar_node parts[2];
    TRY(grammar_literal(ways->expressions, bound->whole, bound->whole_count, &parts[0]));
    parts[1] = behind;
    return add_way(ways, parts, 2);
}

/* A digit of first to last, then any: how a fraction goes on where it differs from the bound's. */
static status differing(struct ways *ways, char first, char last, grammar_node *out)
{
    grammar_node parts[2];
    TRY(digit_node(ways->expressions, first, last, &parts[0]));
    TRY(digits_node(ways, 0, GRAMMAR_UNBOUNDED, &parts[1]));
    return grammar_sequence(ways->expressions, parts, 2, out);
}

/* Digits that are not all 0. */
static status above_zero(struct ways *ways, grammar_node *out)
{
    grammar_node parts[3];
    TRY(digits_node(ways, 0, GRAMMAR_UNBOUNDED, &parts[0]));
    parts[1] = ways->nonzero;
    parts[2] = parts[0];
    return grammar_sequence(ways->expressions, parts, 3, out);
}

/* Of the bound's own whole part, what is at least its fraction. */
static status at_least_fraction(struct ways *ways, const struct decimal *bound, bool above)
{
    grammar_node node;
    const size_t count = bound->fraction_count;
    if (ways->integers || (count == 0 && !above)) {
        return count == 0 && !above ? add_exactly(ways, bound, ways->tail) : STATUS_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (bound->fraction[i] < '9') {
            TRY(differing(ways, (char)(bound->fraction[i] + 1), '9', &node));
            TRY(add_fraction(ways, bound, i, node));
        }
    }
    TRY(above ? above_zero(ways, &node) : digits_node(ways, 0, GRAMMAR_UNBOUNDED, &node));
    return add_fraction(ways, bound, count, node);
}

/* Magnitudes of at least the bound's. */
static status at_least(struct ways *ways, const struct decimal *bound, bool above,
                       grammar_node *out)
{
    const size_t count = bound->whole_count;
    grammar_node longer[3];
    ways->count = 0;
    longer[0] = ways->nonzero;
    TRY(digits_node(ways, (uint32_t)count, GRAMMAR_UNBOUNDED, &longer[1]));
    longer[2] = ways->tail;
    TRY(add_way(ways, longer, 3));
    for (size_t i = 0; i < count; i++) {
        TRY(add_whole(ways, bound->whole, i, count, (char)(bound->whole[i] + 1), '9'));
    }
    TRY(at_least_fraction(ways, bound, above));
    return grammar_choice(ways->expressions, ways->items, ways->count, out);
}

/* ("." "0"+)?: what may follow a whole part that is the bound itself. */
static status fraction_of_zeros(struct ways *ways, grammar_node *out)
{
    grammar_node parts[2];
    TRY(grammar_literal(ways->expressions, ".", 1, &parts[0]));
    TRY(digit_node(ways->expressions, '0', '0', &parts[1]));
    TRY(grammar_repeat(ways->expressions, parts[1], 1, GRAMMAR_UNBOUNDED, &parts[1]));
    TRY(grammar_sequence(ways->expressions, parts, 2, out));
    return grammar_repeat(ways->expressions, *out, 0, 1, out);
}

/* Fractions below the bound's: they end before it, or have a smaller digit. */
static status smaller_fractions(struct ways *ways, const struct decimal *bound)
{
    grammar_node nothing, smaller;
    TRY(grammar_literal(ways->expressions, "", 0, &nothing));
    TRY(add_exactly(ways, bound, nothing));
    for (size_t i = 0; i < bound->fraction_count; i++) {
        if (i > 0) {
            TRY(add_fraction(ways, bound, i, nothing));
        }
        if (bound->fraction[i] > '0') {
            TRY(differing(ways, '0', (char)(bound->fraction[i] - 1), &smaller));
            TRY(add_fraction(ways, bound, i, smaller));
        }
    }
    return STATUS_OK;
}

/* Of the bound's own whole part, what is at most its fraction. */
static status at_most_fraction(struct ways *ways, const struct decimal *bound, bool below)
{
    grammar_node node;
    if (bound->fraction_count == 0) {
        if (below) {
            return STATUS_OK;
        }
        TRY(ways->integers ? grammar_literal(ways->expressions, "", 0, &node)
                           : fraction_of_zeros(ways, &node));
        return add_exactly(ways, bound, node);
    }
    if (ways->integers) {
        TRY(grammar_literal(ways->expressions, "", 0, &node));
        return add_exactly(ways, bound, node);
    }
    TRY(smaller_fractions(ways, bound));
    TRY(digit_node(ways->expressions, '0', '0', &node));
    TRY(grammar_repeat(ways->expressions, node, 0, GRAMMAR_UNBOUNDED, &node));
    return below ? STATUS_OK : add_fraction(ways, bound, bound->fraction_count, node);
}

/* Magnitudes of at most the bound's. */
static status at_most(struct ways *ways, const struct decimal *bound, bool below, grammar_node *out)
{
    const size_t count = bound->whole_count;
    ways->count = 0;
    if (count > 1) {
        grammar_node shorter[3];
        TRY(add_whole(ways, "", 0, 1, '0', '0'));
        shorter[0] = ways->nonzero;
        TRY(digits_node(ways, 0, (uint32_t)(count - 2), &shorter[1]));
        shorter[2] = ways->tail;
        TRY(add_way(ways, shorter, 3));
    }
    for (size_t i = 0; i < count; i++) {
        const char first = i == 0 && count > 1 ? '1' : '0';
        TRY(add_whole(ways, bound->whole, i, count, first, (char)(bound->whole[i] - 1)));
    }
    TRY(at_most_fraction(ways, bound, below));
    return grammar_choice(ways->expressions, ways->items, ways->count, out);
}

static status any_magnitude(struct ways *ways, grammar_node *out)
{
    const struct decimal zero = {.whole = "0", .whole_count = 1, .fraction = ""};
    return at_least(ways, &zero, false, out);
}

/* Magnitudes between two bounds, each of which may be missing. */
static status magnitudes(struct ways *ways, const struct decimal *least, bool above,
                         const struct decimal *most, bool below, grammar_node *out)
{
    grammar_node low, high;
    if (least == NULL && most == NULL) {
        return any_magnitude(ways, out);
    }
    if (least != NULL) {
        TRY(at_least(ways, least, above, &low));
    }
    if (most != NULL) {
        TRY(at_most(ways, most, below, &high));
    }
    if (least == NULL || most == NULL) {
        *out = least != NULL ? low : high;
        return STATUS_OK;
    }
    return grammar_both(ways->expressions, low, high, out);
}

static bool is_zero(const struct decimal *number)
{
    return number->whole[0] == '0' && number->fraction_count == 0;
}

/* Of numbers at least 0. A bound below 0 is none. */
static status positive_side(struct ways *ways, const struct number_range *range, grammar_node *out)
{
    if (range->has_most && range->most.negative) {
        return grammar_choice(ways->expressions, NULL, 0, out);
    }
    bool is_low = range->has_least && !range->least.negative;
    return magnitudes(ways, is_low ? &range->least : NULL, range->above,
                      range->has_most ? &range->most : NULL, range->below, out);
}

/* "-" and a magnitude. "-0" is there where 0 is in the range. */
static status negative_side(struct ways *ways, const struct number_range *range, grammar_node *out)
{
    if (range->has_least && !range->least.negative) {
        return grammar_choice(ways->expressions, NULL, 0, out);
    }
    bool is_low = range->has_most && (range->most.negative || is_zero(&range->most));
    grammar_node parts[2];
    TRY(grammar_literal(ways->expressions, "-", 1, &parts[0]));
    TRY(magnitudes(ways, is_low ? &range->most : NULL, range->below,
                   range->has_least ? &range->least : NULL, range->above, &parts[1]));
    return grammar_sequence(ways->expressions, parts, 2, out);
}

/* e, a sign, three digits at most: what a double can hold. */
static status add_exponent(struct ways *ways, grammar_node *number)
{
    const struct code_point_range letters[] = {{'E', 'E'}, {'e', 'e'}};
    const struct code_point_range signs[] = {{'+', '+'}, {'-', '-'}};
    grammar_node parts[3], whole[2];
    TRY(grammar_code_points(ways->expressions, letters, 2, &parts[0]));
    TRY(grammar_code_points(ways->expressions, signs, 2, &parts[1]));
    TRY(grammar_repeat(ways->expressions, parts[1], 0, 1, &parts[1]));
    TRY(digits_node(ways, 1, 3, &parts[2]));
    whole[0] = *number;
    TRY(grammar_sequence(ways->expressions, parts, 3, &whole[1]));
    TRY(grammar_repeat(ways->expressions, whole[1], 0, 1, &whole[1]));
    return grammar_sequence(ways->expressions, whole, 2, number);
}

static status range_node(struct ways *ways, const struct number_range *range, grammar_node *out)
{
    grammar_node sides[2];
    TRY(positive_side(ways, range, &sides[0]));
    TRY(negative_side(ways, range, &sides[1]));
    TRY(grammar_choice(ways->expressions, sides, 2, out));
    return ways->integers || range->has_least || range->has_most ? STATUS_OK
                                                                 : add_exponent(ways, out);
}

status number_range_node(const struct number_range *range, bool integers,
                         struct grammar_expressions *expressions, grammar_node *out)
{
    struct arena arena = {0};
    struct ways ways;
    status s = ways_start(&ways, expressions, integers, &arena);
    if (s == STATUS_OK) {
        s = range_node(&ways, range, out);
    }
    arena_destroy(&arena);
    return s;
}
