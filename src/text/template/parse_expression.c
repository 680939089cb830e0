/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of a template: tokens to tree, by recursive descent in Jinja's order of precedence.
 */
#include <stdlib.h>

#include "text/template/tree.h"

static bool at_tuple_end(const struct parser *p, const char *end_name)
{
    return template_parser_at(p, TOKEN_VARIABLE_END) || template_parser_at(p, TOKEN_BLOCK_END) ||
           template_parser_at(p, TOKEN_RIGHT_PARENTHESIS) ||
           (end_name != NULL && template_parser_at_name(p, end_name));
}

status template_parse_tuple(struct parser *p, enum tuple_form form, const char *end_name,
                            bool with_namespace, struct node **out)
{
    struct node_builder items = {0};
    struct node *node = NULL;
    bool is_tuple = false;
    int line = p->current->line;
    status s = template_parser_enter(p);
    for (bool first = true; s == STATUS_OK; first = false) {
        s = first ? STATUS_OK : template_parser_expect(p, TOKEN_COMMA);
        if (s != STATUS_OK || at_tuple_end(p, end_name)) {
            break;
        }
        s = form == TUPLE_TARGET
                ? template_parse_primary(p, with_namespace, &node)
                : template_parse_expression(p, form != TUPLE_NO_CONDITIONAL, &node);
        s = s != STATUS_OK ? s : template_builder_add(&items, node);
        if (s != STATUS_OK || !template_parser_at(p, TOKEN_COMMA)) {
            break;
        }
        is_tuple = true;
    }
    if (s == STATUS_OK && !is_tuple && items.count == 0 && form != TUPLE_PARENTHESES) {
        s = template_parser_fail(p, line, "Expected an expression, got '%s'",
                                 template_token_describe(p->current->type));
    }
    if (s == STATUS_OK && (is_tuple || items.count == 0)) {
        s = template_parser_node(p, NODE_TUPLE, line, &node);
        s = s != STATUS_OK ? s : template_builder_finish(p, &items, &node->items);
    }
    free(items.items);
    p->depth--;
    *out = node;
    return s;
}

/* ---- Operators, loosest last ---- */

static status parse_unary(struct parser *p, bool with_filter, struct node **out)
{
    TRY(template_parser_enter(p));
    if (template_parser_at(p, TOKEN_SUBTRACT) || template_parser_at(p, TOKEN_ADD)) {
        struct node *node;
        TRY(template_parser_node(p, template_parser_at(p, TOKEN_ADD) ? NODE_POSITIVE : NODE_NEGATE,
                                 p->current->line, &node));
        template_parser_next(p);
        TRY(parse_unary(p, false, &node->operand));
        *out = node;
    } else {
        TRY(template_parse_primary(p, false, out));
    }
    TRY(template_parse_postfix(p, out));
    if (with_filter) {
        TRY(template_parse_filters_and_tests(p, out));
    }
    p->depth--;
    return STATUS_OK;
}

/* left = left operation right */
static status combine(struct parser *p, enum node_kind kind, int line, struct node *right,
                      enum token_type operation, struct node **left)
{
    struct node *node;
    TRY(template_parser_node(p, kind, line, &node));
    node->binary.left = *left;
    node->binary.right = right;
    node->binary.operation = operation;
    *left = node;
    return STATUS_OK;
}

static status parse_power(struct parser *p, struct node **out)
{
    struct node *right;
    TRY(parse_unary(p, true, out));
    while (template_parser_at(p, TOKEN_POWER)) {
        int line = p->current->line;
        template_parser_next(p);
        TRY(parse_unary(p, true, &right));
        TRY(combine(p, NODE_ARITHMETIC, line, right, TOKEN_POWER, out));
    }
    return STATUS_OK;
}

static status parse_product(struct parser *p, struct node **out)
{
    struct node *right;
    TRY(parse_power(p, out));
    while (template_parser_at(p, TOKEN_MULTIPLY) || template_parser_at(p, TOKEN_DIVIDE) ||
           template_parser_at(p, TOKEN_FLOOR_DIVIDE) || template_parser_at(p, TOKEN_MODULO)) {
        const struct token *operation = p->current;
        template_parser_next(p);
        TRY(parse_power(p, &right));
        TRY(combine(p, NODE_ARITHMETIC, operation->line, right, operation->type, out));
    }
    return STATUS_OK;
}

static status parse_concatenation(struct parser *p, struct node **out)
{
    TRY(parse_product(p, out));
    if (!template_parser_at(p, TOKEN_TILDE)) {
        return STATUS_OK;
    }
    int line = p->current->line;
    struct node_builder parts = {0};
    status s = template_builder_add(&parts, *out);
    while (s == STATUS_OK && template_parser_at(p, TOKEN_TILDE)) {
        struct node *part;
        template_parser_next(p);
        s = parse_product(p, &part);
        s = s != STATUS_OK ? s : template_builder_add(&parts, part);
    }
    s = s != STATUS_OK ? s : template_parser_node(p, NODE_CONCATENATE, line, out);
    s = s != STATUS_OK ? s : template_builder_finish(p, &parts, &(*out)->items);
    free(parts.items);
    return s;
}

static status parse_sum(struct parser *p, struct node **out)
{
    struct node *right;
    TRY(parse_concatenation(p, out));
    while (template_parser_at(p, TOKEN_ADD) || template_parser_at(p, TOKEN_SUBTRACT)) {
        const struct token *operation = p->current;
        template_parser_next(p);
        TRY(parse_concatenation(p, &right));
        TRY(combine(p, NODE_ARITHMETIC, operation->line, right, operation->type, out));
    }
    return STATUS_OK;
}

/* The comparison here, with its tokens skipped, or TOKEN_END. */
static enum token_type skip_comparison(struct parser *p)
{
    enum token_type type = p->current->type;
    if (type >= TOKEN_EQUAL && type <= TOKEN_GREATER_EQUAL) {
        template_parser_next(p);
        return type;
    }
    if (template_parser_skip_name(p, "in")) {
        return TOKEN_IN;
    }
    if (template_parser_at_name(p, "not") && p->current[1].type == TOKEN_NAME &&
        p->current[1].length == 2 && memcmp(p->current[1].text, "in", 2) == 0) {
        template_parser_next(p);
        template_parser_next(p);
        return TOKEN_NOT_IN;
    }
    return TOKEN_END;
}

static status parse_comparison(struct parser *p, struct node **out)
{
    TRY(parse_sum(p, out));
    struct operand_node *operands = NULL;
    size_t count = 0, capacity = 0;
    int line = p->current->line;
    status s = STATUS_OK;
    enum token_type operation;
    while (s == STATUS_OK && (operation = skip_comparison(p)) != TOKEN_END) {
        void *items = operands;
        s = array_grow(&items, &capacity, count + 1, sizeof *operands);
        operands = items;
        if (s == STATUS_OK) {
            operands[count].operation = operation;
            s = parse_sum(p, &operands[count++].value);
        }
    }
    if (s == STATUS_OK && count > 0) {
        struct node *node;
        s = template_parser_node(p, NODE_COMPARE, line, &node);
        if (s == STATUS_OK) {
            node->compare.first = *out;
            node->compare.count = count;
            node->compare.rest =
                arena_allocate_array(&p->template_->arena, count, sizeof *operands);
            if (node->compare.rest == NULL) {
                s = status_fail(STATUS_NO_MEMORY, "out of memory for a template");
            } else {
                memcpy(node->compare.rest, operands, count * sizeof *operands);
            }
            *out = node;
        }
    }
    free(operands);
    return s;
}

static status parse_not(struct parser *p, struct node **out)
{
    if (!template_parser_at_name(p, "not")) {
        return parse_comparison(p, out);
    }
    struct node *node;
    TRY(template_parser_enter(p));
    TRY(template_parser_node(p, NODE_NOT, p->current->line, &node));
    template_parser_next(p);
    TRY(parse_not(p, &node->operand));
    *out = node;
    p->depth--;
    return STATUS_OK;
}

static status parse_and(struct parser *p, struct node **out)
{
    struct node *right;
    TRY(parse_not(p, out));
    while (template_parser_at_name(p, "and")) {
        int line = p->current->line;
        template_parser_next(p);
        TRY(parse_not(p, &right));
        TRY(combine(p, NODE_AND, line, right, TOKEN_END, out));
    }
    return STATUS_OK;
}

static status parse_or(struct parser *p, struct node **out)
{
    struct node *right;
    TRY(parse_and(p, out));
    while (template_parser_at_name(p, "or")) {
        int line = p->current->line;
        template_parser_next(p);
        TRY(parse_and(p, &right));
        TRY(combine(p, NODE_OR, line, right, TOKEN_END, out));
    }
    return STATUS_OK;
}

/* Whether an inline "if" follows somewhere in this expression decides if its first part may name
 * unknown filters; it is only known afterwards, so the tokens are looked through once. */
static bool conditional_follows(const struct parser *p)
{
    int open = 0;
    for (const struct token *token = p->current;; token++) {
        switch (token->type) {
        case TOKEN_LEFT_BRACKET:
        case TOKEN_LEFT_BRACE:
        case TOKEN_LEFT_PARENTHESIS:
            open++;
            break;
        case TOKEN_RIGHT_BRACKET:
        case TOKEN_RIGHT_BRACE:
        case TOKEN_RIGHT_PARENTHESIS:
            if (open-- == 0) {
                return false;
            }
            break;
        case TOKEN_COMMA:
        case TOKEN_COLON:
            if (open == 0) {
                return false;
            }
            break;
        case TOKEN_VARIABLE_END:
        case TOKEN_BLOCK_END:
        case TOKEN_END:
            return false;
        case TOKEN_NAME:
            if (open == 0 && token->length == 2 && memcmp(token->text, "if", 2) == 0) {
                return true;
            }
            break;
        default:
            break;
        }
    }
}

static status parse_conditional(struct parser *p, struct node **out)
{
    int line = p->current->line;
    bool soft = p->soft;
    p->soft = soft || conditional_follows(p);
    TRY(parse_or(p, out));
    while (template_parser_skip_name(p, "if")) {
        struct node *node;
        TRY(template_parser_node(p, NODE_CONDITIONAL, line, &node));
        node->conditional.then = *out;
        TRY(parse_or(p, &node->conditional.test));
        if (template_parser_skip_name(p, "else")) {
            TRY(template_parse_expression(p, true, &node->conditional.otherwise));
        }
        *out = node;
        line = p->current->line;
    }
    p->soft = soft;
    return STATUS_OK;
}

status template_parse_expression(struct parser *p, bool with_conditional, struct node **out)
{
    TRY(template_parser_enter(p));
    TRY(with_conditional ? parse_conditional(p, out) : parse_or(p, out));
    p->depth--;
    return STATUS_OK;
}
