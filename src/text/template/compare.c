/* SPDX-License-Identifier: Apache-2.0 */
/* Values compared as Python compares them: equal, in order, one in another. */
#include <stdlib.h>

#include "text/template/internal.h"

static bool same_type(const struct value *a, const struct value *b)
{
    return a->type == b->type;
}

static status equal_lists(struct render *r, const struct list *a, const struct list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        TRY(template_equal(r, &a->items[i], &b->items[i], out));
    }
    return STATUS_OK;
}

static status equal_dicts(struct render *r, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; *out && i < a->count; i++) {
        const struct value *other;
        TRY(template_dict_get(r, b, &a->keys[i], &other));
        *out = other != NULL;
        if (*out) {
            TRY(template_equal(r, &a->values[i], other, out));
        }
    }
    return STATUS_OK;
}

static bool equal_ranges(const struct range *a, const struct range *b)
{
    return a->count == b->count && (a->count == 0 || a->start == b->start) &&
           (a->count < 2 || a->step == b->step);
}

/* Numbers of different types compare by value. A long double holds every 64-bit integer exactly; of
 * longer ones it keeps enough for a comparison with those. */
static bool as_exact(const struct value *value, long double *out)
{
    int64_t integer;
    if (template_is_integral(value, &integer)) {
        *out = integer;
        return true;
    }
    if (value->type == VALUE_BIG_INTEGER) {
        *out = strtold(value->string->text, NULL); /* JSON's text, which ends with a NUL */
        return true;
    }
    *out = value->type == VALUE_FLOAT ? (long double)value->real : 0;
    return value->type == VALUE_FLOAT;
}

/* Values of different types are equal only where one of them stands for what the other is:
 * content that is missing is none, arguments that came as a text are that text. */
static status equal_in_part(struct render *r, const struct value *a, const struct value *b,
                            bool *out)
{
    *out = (a->type == VALUE_NONE && template_is_no_content(b)) ||
           (b->type == VALUE_NONE && template_is_no_content(a));
    if ((a->type == VALUE_DICT && b->type == VALUE_STRING) ||
        (b->type == VALUE_DICT && a->type == VALUE_STRING)) {
        const struct string *x = template_text_of(a), *y = template_text_of(b);
        TRY(template_charge(r, x != NULL ? x->length / 256 : 0));
        *out = x != NULL && y != NULL && x->length == y->length &&
               memcmp(x->text, y->text, x->length) == 0;
    }
    return STATUS_OK;
}

status template_equal(struct render *r, const struct value *a, const struct value *b, bool *out)
{
    long double x, y;
    TRY(template_charge(r, 1));
    bool both_big = a->type == VALUE_BIG_INTEGER && b->type == VALUE_BIG_INTEGER;
    if (!both_big && as_exact(a, &x) && as_exact(b, &y)) {
        *out = x == y;
        return STATUS_OK;
    }
    *out = false;
    if (!same_type(a, b)) {
        return equal_in_part(r, a, b, out);
    }
    TRY(template_enter(r));
    status s = STATUS_OK;
    switch (a->type) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        *out = true;
        break;
    case VALUE_STRING:
    case VALUE_BIG_INTEGER:
        s = template_charge(r, a->string->length / 256);
        *out = a->string->length == b->string->length &&
               memcmp(a->string->text, b->string->text, a->string->length) == 0;
        break;
    case VALUE_LIST:
    case VALUE_TUPLE:
        s = equal_lists(r, a->list, b->list, out);
        break;
    case VALUE_DICT:
        s = equal_dicts(r, a->dict, b->dict, out);
        break;
    case VALUE_RANGE:
        *out = equal_ranges(a->range, b->range);
        break;
    default:
        *out = a->list == b->list; /* the same object */
        break;
    }
    r->depth--;
    return s;
}

static bool ordered(enum token_type operation, int sign)
{
    switch (operation) {
    case TOKEN_LESS:
        return sign < 0;
    case TOKEN_LESS_EQUAL:
        return sign <= 0;
    case TOKEN_GREATER:
        return sign > 0;
    default:
        return sign >= 0;
    }
}

static status order_lists(struct render *r, enum token_type operation, const struct list *a,
                          const struct list *b, bool *out)
{
    for (size_t i = 0; i < a->count && i < b->count; i++) {
        bool equal;
        TRY(template_equal(r, &a->items[i], &b->items[i], &equal));
        if (!equal) {
            return template_order(r, operation, &a->items[i], &b->items[i], out);
        }
    }
    *out = ordered(operation, a->count < b->count ? -1 : a->count > b->count);
    return STATUS_OK;
}

status template_order(struct render *r, enum token_type operation, const struct value *a,
                      const struct value *b, bool *out)
{
    long double x, y;
    TRY(template_charge(r, 1));
    if (a->type == VALUE_UNDEFINED || b->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, a->type == VALUE_UNDEFINED ? a : b);
    }
    if (as_exact(a, &x) && as_exact(b, &y)) {
        *out = x != x || y != y ? false : ordered(operation, x < y ? -1 : x > y);
        return STATUS_OK;
    }
    if (a->type == VALUE_STRING && b->type == VALUE_STRING) {
        size_t shared =
            a->string->length < b->string->length ? a->string->length : b->string->length;
        TRY(template_charge(r, shared / 256));
        int sign = memcmp(a->string->text, b->string->text, shared);
        if (sign == 0) {
            sign =
                a->string->length < b->string->length ? -1 : a->string->length > b->string->length;
        }
        *out = ordered(operation, sign);
        return STATUS_OK;
    }
    if (same_type(a, b) && (a->type == VALUE_LIST || a->type == VALUE_TUPLE)) {
        TRY(template_enter(r));
        TRY(order_lists(r, operation, a->list, b->list, out));
        r->depth--;
        return STATUS_OK;
    }
    return template_fail("'%s' not supported between instances of '%s' and '%s'",
                         template_token_describe(operation), template_type_name(a),
                         template_type_name(b));
}

static status contains_range(struct render *r, const struct range *range, const struct value *item,
                             bool *out)
{
    (void)r;
    long double x;
    *out = false;
    if (range->count > 0 && as_exact(item, &x)) {
        long double steps = (x - range->start) / range->step;
        *out =
            steps >= 0 && steps < (long double)range->count && steps == (long double)(int64_t)steps;
    }
    return STATUS_OK;
}

static status contains_text(struct render *r, const struct string *text, const struct value *item,
                            bool *out)
{
    const struct string *wanted = template_text_of(item);
    if (wanted == NULL) {
        return template_fail("'in <string>' requires string as left operand, not %s",
                             template_type_name(item));
    }
    TRY(template_charge(r, text->length / 64));
    *out = wanted->length == 0 ||
           memmem(text->text, text->length, wanted->text, wanted->length) != NULL;
    return STATUS_OK;
}

status template_contains(struct render *r, const struct value *given, const struct value *item,
                         bool *out)
{
    const struct value self = template_or_empty(given), *container = &self;
    const struct value *found;
    switch (container->type) {
    case VALUE_STRING:
        return contains_text(r, container->string, item, out);
    case VALUE_DICT:
        TRY(template_dict_get(r, container->dict, item, &found));
        *out = found != NULL;
        return STATUS_OK;
    case VALUE_RANGE:
        return contains_range(r, container->range, item, out);
    case VALUE_VIEW:
        if (container->view->kind == VIEW_KEYS) {
            TRY(template_dict_get(r, container->view->dict, item, &found));
            *out = found != NULL;
            return STATUS_OK;
        }
        break;
    default:
        break;
    }
    if (!template_is_iterable(container)) {
        return template_fail("argument of type '%s' is not iterable",
                             container->type == VALUE_NAMESPACE ? "Namespace"
                                                                : template_type_name(container));
    }
    struct iterator iterator;
    struct value candidate;
    bool more;
    *out = false;
    TRY(template_iterator_start(r, container, &iterator));
    for (;;) {
        TRY(template_iterator_next(r, &iterator, &candidate, &more));
        if (!more || *out) {
            return STATUS_OK;
        }
        TRY(template_equal(r, item, &candidate, out));
        if (*out) {
            return STATUS_OK;
        }
    }
}
