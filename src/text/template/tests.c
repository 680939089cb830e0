/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of "is": a table of facts. */
#include "text/template/internal.h"

static status answer(struct value *out, bool truth)
{
    *out = value_boolean(truth);
    return STATUS_OK;
}

static status test_defined(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type != VALUE_UNDEFINED);
}

static status test_undefined(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_UNDEFINED);
}

static status test_none(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_NONE || template_is_no_content(&call->self));
}

static status test_boolean(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_BOOLEAN);
}

static status test_true(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_BOOLEAN && call->self.boolean);
}

static status test_false(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_BOOLEAN && !call->self.boolean);
}

static status test_integer(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_INTEGER || call->self.type == VALUE_BIG_INTEGER);
}

static status test_float(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_FLOAT);
}

static status test_number(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    double number;
    return answer(out,
                  template_is_number(&call->self, &number) || call->self.type == VALUE_BIG_INTEGER);
}

static status test_string(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_STRING);
}

static status test_mapping(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_DICT);
}

static status test_sequence(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, template_is_sized(&call->self) && call->self.type != VALUE_VIEW);
}

static status test_iterable(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, template_is_iterable(&call->self));
}

static status test_callable(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, template_is_callable(&call->self));
}

static status test_filter(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_STRING &&
                           template_filter_find(call->self.string) != NULL);
}

static status test_test(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_STRING &&
                           template_native_find(&template_tests, call->self.string) != NULL);
}

static status test_escaped(struct render *r, const struct call *call, struct value *out)
{
    (void)r;
    return answer(out, call->self.type == VALUE_STRING && call->self.string->markup);
}

/* value % divisor == remainder, by the rules of %. */
static status is_remainder(struct render *r, const struct value *value, const struct value *divisor,
                           int64_t remainder, struct value *out)
{
    struct value rest, wanted = value_integer(remainder);
    bool equal;
    TRY(template_binary(r, TOKEN_MODULO, value, divisor, &rest));
    TRY(template_equal(r, &rest, &wanted, &equal));
    return answer(out, equal);
}

static status test_odd(struct render *r, const struct call *call, struct value *out)
{
    struct value two = value_integer(2);
    return is_remainder(r, &call->self, &two, 1, out);
}

static status test_even(struct render *r, const struct call *call, struct value *out)
{
    struct value two = value_integer(2);
    return is_remainder(r, &call->self, &two, 0, out);
}

static status test_divisibleby(struct render *r, const struct call *call, struct value *out)
{
    return is_remainder(r, &call->self, &call->arguments[0], 0, out);
}

/* Whether all letters of str(value) are of one case, and there is one. */
static status is_cased(struct render *r, const struct value *value, bool upper, struct value *out)
{
    struct value text;
    bool any = false;
    size_t size;
    TRY(template_to_string(r, value, &text));
    TRY(template_charge(r, text.string->length / 16));
    for (size_t i = 0; i < text.string->length; i += size) {
        int32_t c = utf8_decode(text.string->text + i, text.string->length - i, &size);
        if (template_is_title(c) || (upper ? template_is_lower(c) : template_is_upper(c))) {
            return answer(out, false);
        }
        any = any || template_is_upper(c) || template_is_lower(c);
    }
    return answer(out, any);
}

static status test_lower(struct render *r, const struct call *call, struct value *out)
{
    return is_cased(r, &call->self, false, out);
}

static status test_upper(struct render *r, const struct call *call, struct value *out)
{
    return is_cased(r, &call->self, true, out);
}

/* The same object: for what has no identity here, the same value of the same type. */
static status test_sameas(struct render *r, const struct call *call, struct value *out)
{
    const struct value *a = &call->self, *b = &call->arguments[0];
    bool same = a->type == b->type;
    switch (a->type) {
    case VALUE_NONE:
        break;
    case VALUE_BOOLEAN:
    case VALUE_INTEGER:
    case VALUE_BIG_INTEGER:
    case VALUE_FLOAT:
    case VALUE_STRING:
        if (same) {
            TRY(template_equal(r, a, b, &same));
        }
        break;
    default:
        same = same && a->list == b->list;
        break;
    }
    return answer(out, same);
}

static status test_in(struct render *r, const struct call *call, struct value *out)
{
    bool found;
    TRY(template_contains(r, &call->arguments[0], &call->self, &found));
    return answer(out, found);
}

static status test_equal(struct render *r, const struct call *call, struct value *out)
{
    bool equal;
    TRY(template_equal(r, &call->self, &call->arguments[0], &equal));
    return answer(out, equal);
}

static status test_not_equal(struct render *r, const struct call *call, struct value *out)
{
    bool equal;
    TRY(template_equal(r, &call->self, &call->arguments[0], &equal));
    return answer(out, !equal);
}

static status test_order(struct render *r, const struct call *call, enum token_type operation,
                         struct value *out)
{
    bool holds;
    TRY(template_order(r, operation, &call->self, &call->arguments[0], &holds));
    return answer(out, holds);
}

static status test_greater(struct render *r, const struct call *call, struct value *out)
{
    return test_order(r, call, TOKEN_GREATER, out);
}

static status test_greater_equal(struct render *r, const struct call *call, struct value *out)
{
    return test_order(r, call, TOKEN_GREATER_EQUAL, out);
}

static status test_less(struct render *r, const struct call *call, struct value *out)
{
    return test_order(r, call, TOKEN_LESS, out);
}

static status test_less_equal(struct render *r, const struct call *call, struct value *out)
{
    return test_order(r, call, TOKEN_LESS_EQUAL, out);
}

static const struct native tests[] = {
    {"boolean", test_boolean, 0, false, {NULL}},
    {"callable", test_callable, 0, false, {NULL}},
    {"defined", test_defined, 0, false, {NULL}},
    {"divisibleby", test_divisibleby, 1, false, {"num"}},
    {"eq", test_equal, 1, false, {"other"}},
    {"equalto", test_equal, 1, false, {"other"}},
    {"==", test_equal, 1, false, {"other"}},
    {"escaped", test_escaped, 0, false, {NULL}},
    {"even", test_even, 0, false, {NULL}},
    {"false", test_false, 0, false, {NULL}},
    {"filter", test_filter, 0, false, {NULL}},
    {"float", test_float, 0, false, {NULL}},
    {"ge", test_greater_equal, 1, false, {"other"}},
    {">=", test_greater_equal, 1, false, {"other"}},
    {"gt", test_greater, 1, false, {"other"}},
    {"greaterthan", test_greater, 1, false, {"other"}},
    {">", test_greater, 1, false, {"other"}},
    {"in", test_in, 1, false, {"seq"}},
    {"integer", test_integer, 0, false, {NULL}},
    {"iterable", test_iterable, 0, false, {NULL}},
    {"le", test_less_equal, 1, false, {"other"}},
    {"<=", test_less_equal, 1, false, {"other"}},
    {"lower", test_lower, 0, false, {NULL}},
    {"lt", test_less, 1, false, {"other"}},
    {"lessthan", test_less, 1, false, {"other"}},
    {"<", test_less, 1, false, {"other"}},
    {"mapping", test_mapping, 0, false, {NULL}},
    {"ne", test_not_equal, 1, false, {"other"}},
    {"!=", test_not_equal, 1, false, {"other"}},
    {"none", test_none, 0, false, {NULL}},
    {"number", test_number, 0, false, {NULL}},
    {"odd", test_odd, 0, false, {NULL}},
    {"sameas", test_sameas, 1, false, {"other"}},
    {"sequence", test_sequence, 0, false, {NULL}},
    {"string", test_string, 0, false, {NULL}},
    {"test", test_test, 0, false, {NULL}},
    {"true", test_true, 0, false, {NULL}},
    {"undefined", test_undefined, 0, false, {NULL}},
    {"upper", test_upper, 0, false, {NULL}},
};

const struct native_table template_tests = {tests, COUNT_OF(tests)};
