/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: operators, attributes and items, calls. */
#include <math.h>

#include "text/template/tree.h"

/* ---- Arithmetic ---- */

static status fail_operands(enum token_type operation, const struct value *a, const struct value *b)
{
    return template_fail("unsupported operand type(s) for %s: '%s' and '%s'",
                         operation == TOKEN_POWER ? "** or pow()"
                                                  : template_token_describe(operation),
                         template_type_name(a), template_type_name(b));
}

static status fail_overflow(void)
{
    return status_fail(STATUS_LIMIT, "an integer beyond 64 bits");
}

static int64_t floor_divide(int64_t a, int64_t b)
{
    int64_t quotient = a / b;
    return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

static double float_modulo(double a, double b)
{
    double rest = fmod(a, b);
    if (rest != 0) {
        return (b < 0) != (rest < 0) ? rest + b : rest;
    }
    return copysign(0.0, b);
}

static double float_floor_divide(double a, double b)
{
    double rest = float_modulo(a, b), quotient = (a - rest) / b;
    if (quotient == 0) {
        return copysign(0.0, a / b);
    }
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static status integer_power(struct render *r, int64_t base, int64_t exponent, struct value *out)
{
    if (exponent < 0) {
        if (base == 0) {
            return template_fail("0.0 cannot be raised to a negative power");
        }
        *out = value_float(pow((double)base, (double)exponent));
        return STATUS_OK;
    }
    int64_t result = 1;
    while (exponent > 0) {
        TRY(template_charge(r, 1));
        if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) {
            return fail_overflow();
        }
        exponent >>= 1;
        if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) {
            return fail_overflow();
        }
    }
    *out = value_integer(result);
    return STATUS_OK;
}

static status integer_arithmetic(struct render *r, enum token_type operation, int64_t a, int64_t b,
                                 struct value *out)
{
    int64_t result = 0;
    bool overflow = false;
    switch (operation) {
    case TOKEN_ADD:
        overflow = __builtin_add_overflow(a, b, &result);
        break;
    case TOKEN_SUBTRACT:
        overflow = __builtin_sub_overflow(a, b, &result);
        break;
    case TOKEN_MULTIPLY:
        overflow = __builtin_mul_overflow(a, b, &result);
        break;
    case TOKEN_POWER:
        return integer_power(r, a, b, out);
    default:
        if (b == 0) {
            return template_fail(operation == TOKEN_DIVIDE ? "division by zero"
                                 : operation == TOKEN_MODULO
                                     ? "integer modulo by zero"
                                     : "integer division or modulo by zero");
        }
        if (operation == TOKEN_DIVIDE) {
            *out = value_float((double)a / (double)b);
            return STATUS_OK;
        }
        if (b == -1) { /* the one case that overflows */
            overflow =
                operation == TOKEN_FLOOR_DIVIDE && __builtin_sub_overflow((int64_t)0, a, &result);
        } else {
            result = operation == TOKEN_MODULO ? a - floor_divide(a, b) * b : floor_divide(a, b);
        }
        break;
    }
    *out = value_integer(result);
    return overflow ? fail_overflow() : STATUS_OK;
}

static status float_arithmetic(enum token_type operation, double a, double b, struct value *out)
{
    double result = 0;
    if (b == 0 && (operation == TOKEN_DIVIDE || operation == TOKEN_MODULO ||
                   operation == TOKEN_FLOOR_DIVIDE)) {
        return template_fail(operation == TOKEN_DIVIDE   ? "float division by zero"
                             : operation == TOKEN_MODULO ? "float modulo"
                                                         : "float floor division by zero");
    }
    switch (operation) {
    case TOKEN_ADD:
        result = a + b;
        break;
    case TOKEN_SUBTRACT:
        result = a - b;
        break;
    case TOKEN_MULTIPLY:
        result = a * b;
        break;
    case TOKEN_DIVIDE:
        result = a / b;
        break;
    case TOKEN_MODULO:
        result = float_modulo(a, b);
        break;
    case TOKEN_FLOOR_DIVIDE:
        result = float_floor_divide(a, b);
        break;
    default:
        if (a == 0 && b < 0) {
            return template_fail("0.0 cannot be raised to a negative power");
        }
        result = pow(a, b);
        if (isnan(result) && !isnan(a) && !isnan(b)) {
            return template_fail("complex numbers are not supported");
        }
        break;
    }
    *out = value_float(result);
    return STATUS_OK;
}

static status repeat(struct render *r, const struct value *sequence, int64_t times,
                     struct value *out)
{
    size_t unit, total;
    TRY(template_length(r, sequence, &unit));
    size_t count = times > 0 ? (size_t)times : 0;
    if (sequence->type == VALUE_STRING) {
        size_t mark = r->out.length, length = sequence->string->length;
        if (__builtin_mul_overflow(length, count, &total) || total > TEMPLATE_MAX_OUTPUT_BYTES) {
            return status_fail(STATUS_LIMIT, "a text of more than %d bytes",
                               (int)TEMPLATE_MAX_OUTPUT_BYTES);
        }
        for (size_t i = 0; i < count && length > 0; i++) {
            TRY(template_charge(r, 1));
            TRY(template_write(r, sequence->string->text, length));
        }
        return template_take(r, mark, out);
    }
    struct value *items;
    if (__builtin_mul_overflow(unit, count, &total)) {
        total = SIZE_MAX;
    }
    TRY(template_allocate(r, total, sizeof *items, &items));
    TRY(template_charge(r, total / 16));
    for (size_t i = 0; i < total; i++) {
        items[i] = sequence->list->items[i % unit];
    }
    return template_list(r, sequence->type, items, total, out);
}

static bool is_sequence(const struct value *value)
{
    return value->type == VALUE_STRING || value->type == VALUE_LIST || value->type == VALUE_TUPLE;
}

/* Markup + text: what is not markup is escaped. */
static status concatenate_markup(struct render *r, const struct string *a, const struct string *b,
                                 struct value *out)
{
    size_t mark = r->out.length;
    TRY(a->markup ? template_write(r, a->text, a->length)
                  : template_write_escaped(r, a->text, a->length));
    TRY(b->markup ? template_write(r, b->text, b->length)
                  : template_write_escaped(r, b->text, b->length));
    TRY(template_take(r, mark, out));
    struct string *string;
    TRY(template_allocate(r, 1, sizeof *string, &string));
    *string = *out->string;
    string->markup = true;
    *out = value_string(string);
    return STATUS_OK;
}

static status add_texts(struct render *r, const struct string *a, const struct string *b,
                        struct value *out)
{
    return a->markup || b->markup ? concatenate_markup(r, a, b, out)
                                  : template_concatenate(r, a, b, out);
}

static status add_sequences(struct render *r, const struct value *a, const struct value *b,
                            struct value *out)
{
    if (a->type != b->type) {
        return template_fail("can only concatenate %s (not \"%s\") to %s", template_type_name(a),
                             template_type_name(b), template_type_name(a));
    }
    size_t count = a->list->count + b->list->count;
    struct value *items;
    TRY(template_allocate(r, count, sizeof *items, &items));
    TRY(template_charge(r, count / 16));
    if (a->list->count > 0) {
        memcpy(items, a->list->items, a->list->count * sizeof *items);
    }
    if (b->list->count > 0) {
        memcpy(items + a->list->count, b->list->items, b->list->count * sizeof *items);
    }
    return template_list(r, a->type, items, count, out);
}

status template_binary(struct render *r, enum token_type operation, const struct value *a,
                       const struct value *b, struct value *out)
{
    int64_t i, j;
    double x, y;
    if (operation == TOKEN_MODULO && a->type == VALUE_STRING) {
        return template_format_percent(r, a->string, b, out);
    }
    if (operation == TOKEN_ADD && (a->type != VALUE_LIST || b->type != VALUE_LIST)) {
        const struct string *left = template_text_of(a), *right = template_text_of(b);
        if (left != NULL && right != NULL) {
            return add_texts(r, left, right, out);
        }
    }
    if (a->type == VALUE_UNDEFINED || b->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, a->type == VALUE_UNDEFINED ? a : b);
    }
    if (template_is_integral(a, &i) && template_is_integral(b, &j)) {
        return integer_arithmetic(r, operation, i, j, out);
    }
    if (template_is_number(a, &x) && template_is_number(b, &y)) {
        return float_arithmetic(operation, x, y, out);
    }
    if (a->type == VALUE_BIG_INTEGER || b->type == VALUE_BIG_INTEGER) {
        return fail_overflow();
    }
    if (operation == TOKEN_ADD && is_sequence(a)) {
        return add_sequences(r, a, b, out);
    }
    if (operation == TOKEN_MULTIPLY && (is_sequence(a) || is_sequence(b))) {
        const struct value *sequence = is_sequence(a) ? a : b, *times = is_sequence(a) ? b : a;
        if (!template_is_integral(times, &i)) {
            return template_fail("can't multiply sequence by non-int of type '%s'",
                                 template_type_name(times));
        }
        return repeat(r, sequence, i, out);
    }
    return fail_operands(operation, a, b);
}

static status negate(struct render *r, const struct value *value, bool positive, struct value *out)
{
    int64_t integer;
    if (value->type == VALUE_UNDEFINED) {
        return template_fail_undefined(r, value);
    }
    if (template_is_integral(value, &integer)) {
        *out = value_integer(positive ? integer : (int64_t) - (uint64_t)integer);
        return !positive && integer == INT64_MIN ? fail_overflow() : STATUS_OK;
    }
    if (value->type != VALUE_FLOAT) {
        return template_fail("bad operand type for unary %c: '%s'", positive ? '+' : '-',
                             template_type_name(value));
    }
    *out = value_float(positive ? value->real : -value->real);
    return STATUS_OK;
}

/* ---- Calls ---- */

/* Arguments under evaluation. */
struct argument_list {
    struct value *values;
    struct keyword *keywords;
    size_t count, keyword_count;
};

static status add_keyword(struct argument_list *list, const struct value *name,
                          const struct value *value)
{
    for (size_t i = 0; i < list->keyword_count; i++) {
        const struct string *known = list->keywords[i].name.string;
        if (known->length == name->string->length &&
            memcmp(known->text, name->string->text, known->length) == 0) {
            return template_fail("got multiple values for keyword argument '%.*s'",
                                 STRING_ARGUMENTS(known));
        }
    }
    list->keywords[list->keyword_count++] = (struct keyword){*name, *value};
    return STATUS_OK;
}

static status evaluate_arguments(struct render *r, const struct call_node *node,
                                 struct scope *scope, struct argument_list *out)
{
    struct value value, *more_items = NULL;
    struct value more = {0}, pairs = {0};
    size_t more_count = 0, pair_count = 0;
    TRY(template_allocate(r, node->arguments.count, sizeof value, &out->values));
    for (; out->count < node->arguments.count; out->count++) {
        TRY(template_evaluate(r, node->arguments.items[out->count], scope,
                              &out->values[out->count]));
    }
    struct value *named;
    TRY(template_allocate(r, node->keyword_count, sizeof *named, &named));
    for (size_t i = 0; i < node->keyword_count; i++) {
        TRY(template_evaluate(r, node->keywords[i].value, scope, &named[i]));
    }
    if (node->more_arguments != NULL) {
        TRY(template_evaluate(r, node->more_arguments, scope, &more));
        TRY(template_items(r, &more, &more_items, &more_count));
        struct value *all;
        TRY(template_allocate(r, out->count + more_count, sizeof *all, &all));
        memcpy(all, out->values, out->count * sizeof *all);
        memcpy(all + out->count, more_items, more_count * sizeof *all);
        out->values = all;
        out->count += more_count;
    }
    if (node->more_keywords != NULL) {
        TRY(template_evaluate(r, node->more_keywords, scope, &pairs));
        if (pairs.type != VALUE_DICT) {
            return template_fail("argument after ** must be a mapping, not %s",
                                 template_type_name(&pairs));
        }
        pair_count = pairs.dict->count;
    }
    TRY(template_allocate(r, node->keyword_count + pair_count, sizeof *out->keywords,
                          &out->keywords));
    for (size_t i = 0; i < node->keyword_count; i++) {
        struct value name = value_string(node->keywords[i].name);
        TRY(add_keyword(out, &name, &named[i]));
    }
    for (size_t i = 0; i < pair_count; i++) {
        if (pairs.dict->keys[i].type != VALUE_STRING) {
            return template_fail("keywords must be strings");
        }
        TRY(template_charge(r, 1 + out->keyword_count / 16));
        TRY(add_keyword(out, &pairs.dict->keys[i], &pairs.dict->values[i]));
    }
    return STATUS_OK;
}

static status evaluate_call(struct render *r, const struct node *node, struct scope *scope,
                            struct value *out)
{
    struct value callee;
    struct argument_list list = {0};
    TRY(template_evaluate(r, node->call.callee, scope, &callee));
    TRY(evaluate_arguments(r, &node->call.arguments, scope, &list));
    struct call call = {.arguments = list.values,
                        .count = list.count,
                        .keywords = list.keywords,
                        .keyword_count = list.keyword_count};
    return template_call_value(r, &callee, &call, out);
}

/* A filter or test of the tree. */
static status evaluate_applied(struct render *r, const struct node *node,
                               const struct value *operand, struct scope *scope, struct value *out)
{
    const char *what = node->kind == NODE_FILTER ? "filter" : "test";
    struct argument_list list = {0};
    if (node->applied.native == NULL) {
        return template_fail("No %s named '%s' found.", what, node->applied.name->text);
    }
    TRY(evaluate_arguments(r, &node->applied.arguments, scope, &list));
    struct call call = {.self = *operand,
                        .arguments = list.values,
                        .count = list.count,
                        .keywords = list.keywords,
                        .keyword_count = list.keyword_count};
    return template_native_call(r, what, node->applied.native, &call, out);
}

status template_apply_filter(struct render *r, const struct node *node, const struct value *operand,
                             struct scope *scope, struct value *out)
{
    struct value inner = *operand;
    if (node->applied.operand != NULL) {
        TRY(template_enter(r));
        TRY(template_apply_filter(r, node->applied.operand, operand, scope, &inner));
        r->depth--;
    }
    return evaluate_applied(r, node, &inner, scope, out);
}

/* ---- Expressions ---- */

static status evaluate_name(struct render *r, const struct node *node, struct scope *scope,
                            struct value *out)
{
    const struct value *found = template_scope_find(r, scope, node->name);
    if (found != NULL) {
        *out = *found;
        return STATUS_OK;
    }
    struct value name = value_string(&node->name->string);
    return template_undefined(r, NULL, NULL, &name, out);
}

static status evaluate_list(struct render *r, const struct node *node, struct scope *scope,
                            struct value *out)
{
    struct value *items;
    TRY(template_allocate(r, node->items.count, sizeof *items, &items));
    for (size_t i = 0; i < node->items.count; i++) {
        TRY(template_evaluate(r, node->items.items[i], scope, &items[i]));
    }
    return template_list(r, node->kind == NODE_LIST ? VALUE_LIST : VALUE_TUPLE, items,
                         node->items.count, out);
}

static status evaluate_dict(struct render *r, const struct node *node, struct scope *scope,
                            struct value *out)
{
    struct value key, value;
    TRY(template_dict(r, node->items.count / 2, out));
    for (size_t i = 0; i + 1 < node->items.count; i += 2) {
        TRY(template_evaluate(r, node->items.items[i], scope, &key));
        TRY(template_evaluate(r, node->items.items[i + 1], scope, &value));
        TRY(template_dict_put(r, out->dict, &key, &value));
    }
    return STATUS_OK;
}

static status evaluate_slice(struct render *r, const struct node *node, struct scope *scope,
                             struct value *out)
{
    struct value object;
    const struct node *const parts[] = {node->slice.start, node->slice.stop, node->slice.step};
    struct value bounds[3] = {{.type = VALUE_NONE}, {.type = VALUE_NONE}, {.type = VALUE_NONE}};
    TRY(template_evaluate(r, node->slice.object, scope, &object));
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i] != NULL) {
            TRY(template_evaluate(r, parts[i], scope, &bounds[i]));
        }
    }
    return template_slice(r, &object, &bounds[0], &bounds[1], &bounds[2], out);
}

static status evaluate_comparison(struct render *r, const struct node *node, struct scope *scope,
                                  struct value *out)
{
    struct value left, right;
    bool holds = true;
    TRY(template_evaluate(r, node->compare.first, scope, &left));
    for (size_t i = 0; holds && i < node->compare.count; i++) {
        enum token_type operation = node->compare.rest[i].operation;
        TRY(template_evaluate(r, node->compare.rest[i].value, scope, &right));
        if (operation == TOKEN_EQUAL || operation == TOKEN_NOT_EQUAL) {
            TRY(template_equal(r, &left, &right, &holds));
            holds = holds == (operation == TOKEN_EQUAL);
        } else if (operation == TOKEN_IN || operation == TOKEN_NOT_IN) {
            TRY(template_contains(r, &right, &left, &holds));
            holds = holds == (operation == TOKEN_IN);
        } else {
            TRY(template_order(r, operation, &left, &right, &holds));
        }
        left = right;
    }
    *out = value_boolean(holds);
    return STATUS_OK;
}

/* "and" and "or" give one of their operands. */
static status evaluate_logic(struct render *r, const struct node *node, struct scope *scope,
                             struct value *out)
{
    bool truth;
    TRY(template_evaluate(r, node->binary.left, scope, out));
    TRY(template_truth(r, out, &truth));
    return truth == (node->kind == NODE_AND) ? template_evaluate(r, node->binary.right, scope, out)
                                             : STATUS_OK;
}

static status evaluate_conditional(struct render *r, const struct node *node, struct scope *scope,
                                   struct value *out)
{
    struct value test;
    bool truth;
    TRY(template_evaluate(r, node->conditional.test, scope, &test));
    TRY(template_truth(r, &test, &truth));
    if (truth) {
        return template_evaluate(r, node->conditional.then, scope, out);
    }
    if (node->conditional.otherwise != NULL) {
        return template_evaluate(r, node->conditional.otherwise, scope, out);
    }
    return template_undefined_format(r, out,
                                     "the inline if-expression on line %d evaluated to false and "
                                     "no else section was defined.",
                                     node->line);
}

static status evaluate_concatenation(struct render *r, const struct node *node, struct scope *scope,
                                     struct value *out)
{
    struct value *parts;
    TRY(template_allocate(r, node->items.count, sizeof *parts, &parts));
    for (size_t i = 0; i < node->items.count; i++) {
        TRY(template_evaluate(r, node->items.items[i], scope, &parts[i]));
        TRY(template_to_string(r, &parts[i], &parts[i]));
    }
    *out = parts[0];
    for (size_t i = 1; i < node->items.count; i++) {
        TRY(template_concatenate(r, out->string, parts[i].string, out));
    }
    return STATUS_OK;
}

static status evaluate_node(struct render *r, const struct node *node, struct scope *scope,
                            struct value *out)
{
    struct value a, b;
    bool truth;
    switch (node->kind) {
    case NODE_CONSTANT:
        *out = node->constant;
        return STATUS_OK;
    case NODE_NAME:
        return evaluate_name(r, node, scope, out);
    case NODE_TUPLE:
    case NODE_LIST:
        return evaluate_list(r, node, scope, out);
    case NODE_DICT:
        return evaluate_dict(r, node, scope, out);
    case NODE_ATTRIBUTE:
        TRY(template_evaluate(r, node->attribute.object, scope, &a));
        b = value_string(node->attribute.name);
        return template_get_attribute(r, &a, &b, out);
    case NODE_ITEM:
        TRY(template_evaluate(r, node->item.object, scope, &a));
        TRY(template_evaluate(r, node->item.key, scope, &b));
        return template_get_item(r, &a, &b, out);
    case NODE_SLICE:
        return evaluate_slice(r, node, scope, out);
    case NODE_CALL:
        return evaluate_call(r, node, scope, out);
    case NODE_FILTER:
    case NODE_TEST:
        TRY(template_evaluate(r, node->applied.operand, scope, &a));
        return evaluate_applied(r, node, &a, scope, out);
    case NODE_NEGATE:
    case NODE_POSITIVE:
        TRY(template_evaluate(r, node->operand, scope, &a));
        return negate(r, &a, node->kind == NODE_POSITIVE, out);
    case NODE_NOT:
        TRY(template_evaluate(r, node->operand, scope, &a));
        TRY(template_truth(r, &a, &truth));
        *out = value_boolean(!truth);
        return STATUS_OK;
    case NODE_AND:
    case NODE_OR:
        return evaluate_logic(r, node, scope, out);
    case NODE_ARITHMETIC:
        TRY(template_evaluate(r, node->binary.left, scope, &a));
        TRY(template_evaluate(r, node->binary.right, scope, &b));
        return template_binary(r, node->binary.operation, &a, &b, out);
    case NODE_CONCATENATE:
        return evaluate_concatenation(r, node, scope, out);
    case NODE_COMPARE:
        return evaluate_comparison(r, node, scope, out);
    case NODE_CONDITIONAL:
        return evaluate_conditional(r, node, scope, out);
    default:
        return status_fail(STATUS_INTERNAL, "a statement where an expression belongs");
    }
}

status template_evaluate(struct render *r, const struct node *node, struct scope *scope,
                         struct value *out)
{
    status s = template_charge(r, 1);
    s = s != STATUS_OK ? s : template_enter(r);
    s = s != STATUS_OK ? s : evaluate_node(r, node, scope, out);
    if (s != STATUS_OK) {
        r->error_line = r->error_line == 0 ? node->line : r->error_line;
        return s;
    }
    r->depth--;
    return STATUS_OK;
}
