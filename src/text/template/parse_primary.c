/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of a template: tokens to tree, by recursive descent in Jinja's order of precedence.
 */
#include <stdlib.h>

#include "text/template/tree.h"

static status add_keyword(struct parser *p, struct call_node *call, size_t *capacity,
                          struct string *name, struct node *value)
{
    if (call->keyword_count == *capacity) {
        size_t wanted = *capacity == 0 ? 4 : 2 * *capacity;
        struct keyword_node *grown =
            arena_allocate_array(&p->template_->arena, wanted, sizeof *grown);
        if (grown == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
        }
        if (call->keyword_count > 0) {
            memcpy(grown, call->keywords, call->keyword_count * sizeof *grown);
        }
        call->keywords = grown;
        *capacity = wanted;
    }
    call->keywords[call->keyword_count++] = (struct keyword_node){name, value};
    return STATUS_OK;
}

/* A string of the tree's own, from a token. */
static status token_string(struct parser *p, const char *text, size_t length, struct string **out)
{
    *out = arena_allocate(&p->template_->arena, sizeof **out);
    if (*out == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    **out = (struct string){
        .text = text, .length = length, .characters = template_count_characters(text, length)};
    return STATUS_OK;
}

static status parse_argument(struct parser *p, struct call_node *call, size_t *keyword_capacity,
                             struct node_builder *arguments, int line)
{
    static const char malformed[] = "invalid syntax for function call expression";
    struct node *value;
    if (template_parser_at(p, TOKEN_MULTIPLY)) {
        if (call->more_arguments != NULL || call->more_keywords != NULL) {
            return template_parser_fail(p, line, malformed);
        }
        template_parser_next(p);
        return template_parse_expression(p, true, &call->more_arguments);
    }
    if (template_parser_at(p, TOKEN_POWER)) {
        if (call->more_keywords != NULL) {
            return template_parser_fail(p, line, malformed);
        }
        template_parser_next(p);
        return template_parse_expression(p, true, &call->more_keywords);
    }
    if (template_parser_at(p, TOKEN_NAME) && p->current[1].type == TOKEN_ASSIGN) {
        struct string *name;
        if (call->more_keywords != NULL) {
            return template_parser_fail(p, line, malformed);
        }
        TRY(token_string(p, p->current->text, p->current->length, &name));
        template_parser_next(p);
        template_parser_next(p);
        TRY(template_parse_expression(p, true, &value));
        return add_keyword(p, call, keyword_capacity, name, value);
    }
    if (call->more_arguments != NULL || call->more_keywords != NULL || call->keyword_count > 0) {
        return template_parser_fail(p, line, malformed);
    }
    TRY(template_parse_expression(p, true, &value));
    return template_builder_add(arguments, value);
}

/* "(a, b, key=c, *d, **e)" */
static status parse_call_arguments(struct parser *p, struct call_node *call)
{
    int line = p->current->line;
    struct node_builder arguments = {0};
    size_t keyword_capacity = 0;
    status s = template_parser_expect(p, TOKEN_LEFT_PARENTHESIS);
    for (bool first = true; s == STATUS_OK && !template_parser_at(p, TOKEN_RIGHT_PARENTHESIS);
         first = false) {
        if (!first) {
            s = template_parser_expect(p, TOKEN_COMMA);
            if (s != STATUS_OK || template_parser_at(p, TOKEN_RIGHT_PARENTHESIS)) {
                break;
            }
        }
        s = parse_argument(p, call, &keyword_capacity, &arguments, line);
    }
    s = s != STATUS_OK ? s : template_parser_expect(p, TOKEN_RIGHT_PARENTHESIS);
    s = s != STATUS_OK ? s : template_builder_finish(p, &arguments, &call->arguments);
    free(arguments.items);
    return s;
}

static status parse_call(struct parser *p, struct node *callee, struct node **out)
{
    struct node *node;
    TRY(template_parser_node(p, NODE_CALL, p->current->line, &node));
    node->call.callee = callee;
    TRY(parse_call_arguments(p, &node->call.arguments));
    *out = node;
    return STATUS_OK;
}

static bool at_subscript_end(const struct parser *p)
{
    return template_parser_at(p, TOKEN_RIGHT_BRACKET) || template_parser_at(p, TOKEN_COMMA);
}

/* What stands between brackets: *slice is filled and *is_slice set, or *key is. */
static status parse_subscript(struct parser *p, struct node *slice, bool *is_slice,
                              struct node **key)
{
    *key = NULL;
    if (!template_parser_at(p, TOKEN_COLON)) {
        TRY(template_parse_expression(p, true, key));
    }
    *is_slice = template_parser_at(p, TOKEN_COLON);
    if (!*is_slice) {
        return STATUS_OK;
    }
    slice->slice.start = *key;
    template_parser_next(p);
    if (!template_parser_at(p, TOKEN_COLON) && !at_subscript_end(p)) {
        TRY(template_parse_expression(p, true, &slice->slice.stop));
    }
    if (template_parser_at(p, TOKEN_COLON)) {
        template_parser_next(p);
        if (!at_subscript_end(p)) {
            TRY(template_parse_expression(p, true, &slice->slice.step));
        }
    }
    return STATUS_OK;
}

static status parse_brackets(struct parser *p, struct node *object, struct node **out)
{
    int line = p->current->line;
    struct node *node, *key = NULL;
    struct node_builder keys = {0};
    bool is_slice = false;
    template_parser_next(p);
    status s = template_parser_node(p, NODE_SLICE, line, &node);
    for (bool first = true; s == STATUS_OK && !template_parser_at(p, TOKEN_RIGHT_BRACKET);
         first = false) {
        if (!first) {
            s = is_slice ? template_parser_fail(p, line,
                                                "slices of several dimensions are not "
                                                "supported")
                         : template_parser_expect(p, TOKEN_COMMA);
        }
        s = s != STATUS_OK ? s : parse_subscript(p, node, &is_slice, &key);
        s = s != STATUS_OK || is_slice ? s : template_builder_add(&keys, key);
    }
    s = s != STATUS_OK ? s : template_parser_expect(p, TOKEN_RIGHT_BRACKET);
    if (s == STATUS_OK && is_slice && keys.count == 0) {
        node->slice.object = object;
    } else if (s == STATUS_OK) {
        node->kind = NODE_ITEM;
        node->item.object = object;
        node->item.key = keys.count == 1 ? keys.items[0] : NULL;
        if (keys.count != 1) {
            s = template_parser_node(p, NODE_TUPLE, line, &node->item.key);
            s = s != STATUS_OK ? s : template_builder_finish(p, &keys, &node->item.key->items);
        }
    }
    free(keys.items);
    *out = node;
    return s;
}

static status parse_dot(struct parser *p, struct node *object, struct node **out)
{
    int line = p->current->line;
    struct node *node;
    template_parser_next(p);
    const struct token *token = p->current;
    if (token->type == TOKEN_NAME) {
        TRY(template_parser_node(p, NODE_ATTRIBUTE, line, &node));
        node->attribute.object = object;
        TRY(token_string(p, token->text, token->length, &node->attribute.name));
    } else if (token->type == TOKEN_INTEGER) {
        TRY(template_parser_node(p, NODE_ITEM, line, &node));
        node->item.object = object;
        TRY(template_parser_node(p, NODE_CONSTANT, line, &node->item.key));
        node->item.key->constant = value_integer(token->integer);
    } else {
        return template_parser_fail(p, token->line, "expected name or number");
    }
    template_parser_next(p);
    *out = node;
    return STATUS_OK;
}

status template_parse_postfix(struct parser *p, struct node **node)
{
    for (;;) {
        if (template_parser_at(p, TOKEN_DOT)) {
            TRY(parse_dot(p, *node, node));
        } else if (template_parser_at(p, TOKEN_LEFT_BRACKET)) {
            TRY(parse_brackets(p, *node, node));
        } else if (template_parser_at(p, TOKEN_LEFT_PARENTHESIS)) {
            TRY(parse_call(p, *node, node));
        } else {
            return STATUS_OK;
        }
    }
}

/* A filter's or test's name, which may be dotted. */
static status parse_applied_name(struct parser *p, struct string **out)
{
    const struct token *first = p->current;
    TRY(template_parser_expect(p, TOKEN_NAME));
    if (!template_parser_at(p, TOKEN_DOT)) {
        return token_string(p, first->text, first->length, out);
    }
    struct buffer name = {0};
    status s = buffer_append(&name, first->text, first->length);
    while (s == STATUS_OK && template_parser_at(p, TOKEN_DOT)) {
        template_parser_next(p);
        const struct token *part = p->current;
        s = template_parser_expect(p, TOKEN_NAME);
        s = s != STATUS_OK ? s : buffer_append_byte(&name, '.');
        s = s != STATUS_OK ? s : buffer_append(&name, part->text, part->length);
    }
    char *copy = s == STATUS_OK ? arena_copy(&p->template_->arena, name.data, name.length) : NULL;
    if (s == STATUS_OK) {
        s = copy == NULL ? status_fail(STATUS_NO_MEMORY, "out of memory for a template")
                         : token_string(p, copy, name.length, out);
    }
    buffer_destroy(&name);
    return s;
}

status template_parse_filter(struct parser *p, struct node *operand, bool start_inline,
                             struct node **out)
{
    *out = operand;
    while (template_parser_at(p, TOKEN_PIPE) || start_inline) {
        struct node *node;
        if (!start_inline) {
            template_parser_next(p);
        }
        start_inline = false;
        TRY(template_parser_node(p, NODE_FILTER, p->current->line, &node));
        TRY(parse_applied_name(p, &node->applied.name));
        if (template_parser_at(p, TOKEN_LEFT_PARENTHESIS)) {
            TRY(parse_call_arguments(p, &node->applied.arguments));
        }
        node->applied.operand = *out;
        node->applied.native = template_filter_find(node->applied.name);
        if (node->applied.native == NULL && !p->soft) {
            return template_parser_fail(p, node->line, "No filter named '%s'.",
                                        node->applied.name->text);
        }
        *out = node;
    }
    return STATUS_OK;
}

/* Whether a test's one argument follows without parentheses. */
static bool at_test_argument(const struct parser *p)
{
    switch (p->current->type) {
    case TOKEN_NAME:
        return !template_parser_at_name(p, "else") && !template_parser_at_name(p, "or") &&
               !template_parser_at_name(p, "and");
    case TOKEN_STRING:
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
    case TOKEN_LEFT_BRACKET:
    case TOKEN_LEFT_BRACE:
        return true;
    default:
        return false;
    }
}

static status parse_test(struct parser *p, struct node *operand, struct node **out)
{
    struct node *node, *argument;
    TRY(template_parser_node(p, NODE_TEST, p->current->line, &node));
    template_parser_next(p);
    bool negated = template_parser_skip_name(p, "not");
    TRY(parse_applied_name(p, &node->applied.name));
    node->applied.operand = operand;
    if (template_parser_at(p, TOKEN_LEFT_PARENTHESIS)) {
        TRY(parse_call_arguments(p, &node->applied.arguments));
    } else if (at_test_argument(p)) {
        if (template_parser_at_name(p, "is")) {
            return template_parser_fail(p, p->current->line,
                                        "You cannot chain multiple tests with is");
        }
        TRY(template_parse_primary(p, false, &argument));
        TRY(template_parse_postfix(p, &argument));
        struct node_builder one = {.items = &argument, .count = 1, .capacity = 1};
        TRY(template_builder_finish(p, &one, &node->applied.arguments.arguments));
    }
    node->applied.native = template_native_find(&template_tests, node->applied.name);
    if (node->applied.native == NULL && !p->soft) {
        return template_parser_fail(p, node->line, "No test named '%s'.", node->applied.name->text);
    }
    *out = node;
    if (negated) {
        TRY(template_parser_node(p, NODE_NOT, node->line, out));
        (*out)->operand = node;
    }
    return STATUS_OK;
}

status template_parse_filters_and_tests(struct parser *p, struct node **node)
{
    for (;;) {
        if (template_parser_at(p, TOKEN_PIPE)) {
            TRY(template_parse_filter(p, *node, false, node));
        } else if (template_parser_at_name(p, "is")) {
            TRY(parse_test(p, *node, node));
        } else if (template_parser_at(p, TOKEN_LEFT_PARENTHESIS)) {
            TRY(parse_call(p, *node, node));
        } else {
            return STATUS_OK;
        }
    }
}

static status parse_list_items(struct parser *p, struct node *node, bool is_dict)
{
    enum token_type closing = is_dict ? TOKEN_RIGHT_BRACE : TOKEN_RIGHT_BRACKET;
    struct node_builder items = {0};
    status s = STATUS_OK;
    template_parser_next(p);
    for (bool first = true; s == STATUS_OK && !template_parser_at(p, closing); first = false) {
        struct node *item;
        if (!first) {
            s = template_parser_expect(p, TOKEN_COMMA);
            if (s != STATUS_OK || template_parser_at(p, closing)) {
                break;
            }
        }
        s = template_parse_expression(p, true, &item);
        s = s != STATUS_OK ? s : template_builder_add(&items, item);
        if (s == STATUS_OK && is_dict) {
            s = template_parser_expect(p, TOKEN_COLON);
            s = s != STATUS_OK ? s : template_parse_expression(p, true, &item);
            s = s != STATUS_OK ? s : template_builder_add(&items, item);
        }
    }
    s = s != STATUS_OK ? s : template_parser_expect(p, closing);
    s = s != STATUS_OK ? s : template_builder_finish(p, &items, &node->items);
    free(items.items);
    return s;
}

static void note_special_name(struct parser *p, const struct name *name)
{
    if (p->use != NULL) {
        p->use->caller |= name == p->template_->caller;
        p->use->varargs |= name == p->template_->varargs;
        p->use->kwargs |= name == p->template_->kwargs;
    }
}

static status parse_name(struct parser *p, bool with_namespace, struct node **out)
{
    static const struct {
        const char *word;
        struct value value;
    } constants[] = {
        {"true", {.type = VALUE_BOOLEAN, .boolean = true}},
        {"True", {.type = VALUE_BOOLEAN, .boolean = true}},
        {"false", {.type = VALUE_BOOLEAN}},
        {"False", {.type = VALUE_BOOLEAN}},
        {"none", {.type = VALUE_NONE}},
        {"None", {.type = VALUE_NONE}},
    };
    struct node *node;
    const struct token *token = p->current;
    TRY(template_parser_node(p, NODE_CONSTANT, token->line, &node));
    *out = node;
    for (size_t i = 0; i < COUNT_OF(constants); i++) {
        if (template_parser_at_name(p, constants[i].word)) {
            template_parser_next(p);
            node->constant = constants[i].value;
            return STATUS_OK;
        }
    }
    template_parser_next(p);
    if (with_namespace && template_parser_at(p, TOKEN_DOT)) {
        template_parser_next(p);
        const struct token *attribute = p->current;
        TRY(template_parser_expect(p, TOKEN_NAME));
        node->kind = NODE_NAMESPACE_TARGET;
        TRY(template_parser_name(p, token->text, token->length, &node->target.name));
        note_special_name(p, node->target.name);
        return token_string(p, attribute->text, attribute->length, &node->target.attribute);
    }
    node->kind = NODE_NAME;
    TRY(template_parser_name(p, token->text, token->length, &node->name));
    note_special_name(p, node->name);
    return STATUS_OK;
}

/* Neighbouring string literals are one. */
static status parse_string(struct parser *p, struct node **out)
{
    struct node *node;
    TRY(template_parser_node(p, NODE_CONSTANT, p->current->line, &node));
    size_t length = 0, used = 0;
    const struct token *first = p->current;
    for (; template_parser_at(p, TOKEN_STRING); template_parser_next(p)) {
        length += p->current->length;
    }
    char *text = arena_allocate(&p->template_->arena, length + 1);
    if (text == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    for (const struct token *token = first; token != p->current; token++) {
        memcpy(text + used, token->text, token->length);
        used += token->length;
    }
    struct string *string;
    TRY(token_string(p, text, length, &string));
    node->constant = value_string(string);
    *out = node;
    return STATUS_OK;
}

status template_parse_primary(struct parser *p, bool with_namespace, struct node **out)
{
    const struct token *token = p->current;
    switch (token->type) {
    case TOKEN_NAME:
        return parse_name(p, with_namespace, out);
    case TOKEN_STRING:
        return parse_string(p, out);
    case TOKEN_INTEGER:
    case TOKEN_FLOAT:
        TRY(template_parser_node(p, NODE_CONSTANT, token->line, out));
        (*out)->constant =
            token->type == TOKEN_FLOAT ? value_float(token->real) : value_integer(token->integer);
        template_parser_next(p);
        return STATUS_OK;
    case TOKEN_LEFT_PARENTHESIS:
        template_parser_next(p);
        TRY(template_parse_tuple(p, TUPLE_PARENTHESES, NULL, false, out));
        return template_parser_expect(p, TOKEN_RIGHT_PARENTHESIS);
    case TOKEN_LEFT_BRACKET:
        TRY(template_parser_node(p, NODE_LIST, token->line, out));
        return parse_list_items(p, *out, false);
    case TOKEN_LEFT_BRACE:
        TRY(template_parser_node(p, NODE_DICT, token->line, out));
        return parse_list_items(p, *out, true);
    default:
        return template_parser_fail(p, token->line, "unexpected '%s'",
                                    template_token_describe(token->type));
    }
}
