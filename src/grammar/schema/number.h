/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a schema as decimal digits, exactly: compared, and as automata of all numbers between
 * two bounds. */
#ifndef SLUICE_GRAMMAR_SCHEMA_NUMBER_H
#define SLUICE_GRAMMAR_SCHEMA_NUMBER_H

#include "grammar/expression.h"
#include "sluice/json.h"

/* (-1)^negative · whole.fraction. Digits are not NUL-terminated. */
struct decimal {
    bool negative;        /* never of zero */
    const char *whole;    /* without leading zeros: "0" for none */
    size_t whole_count;   /* at least 1 */
    const char *fraction; /* without trailing zeros */
    size_t fraction_count;
};

/* Of a JSON number. STATUS_LIMIT where it has more than 1,100 digits once its exponent is written
 * out. */
status decimal_read(const struct json *number, struct arena *arena, struct decimal *out) MUST_CHECK;
int decimal_compare(const struct decimal *a, const struct decimal *b); /* <0, 0, >0 */
bool decimal_is_integer(const struct decimal *number);

struct number_range {
    bool has_least, has_most;
    bool above, below; /* the bound itself is not in it */
    struct decimal least, most;
};

/* Narrows the range to what is also at least, or at most, this bound. */
void number_range_raise(struct number_range *range, const struct decimal *least, bool above);
void number_range_lower(struct number_range *range, const struct decimal *most, bool below);
/* Whether no number, or no integer, is in it. */
bool number_range_is_empty(const struct number_range *range, bool integers);

/* All numbers of the range as JSON writes them. Integers have neither fraction nor exponent; others
 * may have a fraction, and where the range has no bound an exponent too. */
status number_range_node(const struct number_range *range, bool integers,
                         struct grammar_expressions *expressions, grammar_node *out) MUST_CHECK;

#endif
