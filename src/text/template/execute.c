/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: scopes, loops, macros, blocks that capture their text. */
#include "text/template/tree.h"

/* ---- Scopes ---- */

struct value *template_scope_find(const struct render *r, struct scope *scope,
                                  const struct name *name)
{
    for (; scope->parent != NULL; scope = scope->parent) {
        for (size_t i = scope->count; i-- > 0;) {
            if (scope->bindings[i].name == name && value_is_given(&scope->bindings[i].value)) {
                return &scope->bindings[i].value;
            }
        }
    }
    struct value *value = &r->root_values[name->index];
    return value_is_given(value) ? value : NULL;
}

status template_scope_set(struct render *r, struct scope *scope, const struct name *name,
                          const struct value *value)
{
    if (scope->parent == NULL) {
        r->root_values[name->index] = *value;
        return STATUS_OK;
    }
    for (size_t i = 0; i < scope->count; i++) {
        if (scope->bindings[i].name == name) {
            scope->bindings[i].value = *value;
            return STATUS_OK;
        }
    }
    TRY(template_charge(r, 1 + scope->count / 16));
    if (scope->count == scope->capacity) {
        size_t capacity = scope->capacity == 0 ? 4 : 2 * scope->capacity;
        struct binding *bindings;
        TRY(template_allocate(r, capacity, sizeof *bindings, &bindings));
        if (scope->count > 0) {
            memcpy(bindings, scope->bindings, scope->count * sizeof *bindings);
        }
        scope->bindings = bindings;
        scope->capacity = capacity;
    }
    scope->bindings[scope->count++] = (struct binding){name, *value};
    return STATUS_OK;
}

/* In the arena and not on the stack, since a macro may keep the scope that it was defined in. */
static status open_scope(struct render *r, struct scope *parent, struct scope **out)
{
    TRY(template_allocate(r, 1, sizeof **out, out));
    (*out)->parent = parent;
    return STATUS_OK;
}

/* ---- Assignment ---- */

/* A namespace target must be a namespace before the value is even worked out. */
static status check_namespaces(struct render *r, const struct node *target, struct scope *scope)
{
    if (target->kind == NODE_TUPLE) {
        for (size_t i = 0; i < target->items.count; i++) {
            TRY(check_namespaces(r, target->items.items[i], scope));
        }
    }
    if (target->kind == NODE_NAMESPACE_TARGET) {
        const struct value *object = template_scope_find(r, scope, target->target.name);
        if (object == NULL || object->type != VALUE_NAMESPACE) {
            return template_fail("cannot assign attribute on non-namespace object");
        }
    }
    return STATUS_OK;
}

static status assign(struct render *r, const struct node *target, struct scope *scope,
                     const struct value *value)
{
    if (target->kind == NODE_NAME) {
        return template_scope_set(r, scope, target->name, value);
    }
    if (target->kind == NODE_NAMESPACE_TARGET) {
        const struct value *object = template_scope_find(r, scope, target->target.name);
        if (object == NULL || object->type != VALUE_NAMESPACE) {
            return template_fail("cannot assign attribute on non-namespace object");
        }
        struct value key = value_string(target->target.attribute);
        return template_dict_put(r, object->dict, &key, value);
    }
    if (!template_is_iterable(value)) {
        return template_fail("cannot unpack non-iterable %s object", template_type_name(value));
    }
    struct value *items;
    size_t count, wanted = target->items.count;
    TRY(template_items(r, value, &items, &count));
    if (count < wanted) {
        return template_fail("not enough values to unpack (expected %zu, got %zu)", wanted, count);
    }
    if (count > wanted) {
        return template_fail("too many values to unpack (expected %zu)", wanted);
    }
    for (size_t i = 0; i < count; i++) {
        TRY(assign(r, target->items.items[i], scope, &items[i]));
    }
    return STATUS_OK;
}

/* ---- Loops ---- */

struct loop_filter {
    const struct node *node; /* FOR with a test */
    struct scope *scope;     /* for its target, inside of the loop's surroundings */
};

static status next_filtered(struct render *r, struct generator *generator, struct value *out,
                            bool *more)
{
    struct loop_filter *filter = generator->state;
    for (;;) {
        struct value test;
        bool truth;
        TRY(template_iterator_next(r, &generator->source, out, more));
        if (!*more) {
            return STATUS_OK;
        }
        TRY(assign(r, filter->node->loop.target, filter->scope, out));
        TRY(template_evaluate(r, filter->node->loop.test, filter->scope, &test));
        TRY(template_truth(r, &test, &truth));
        if (truth) {
            return STATUS_OK;
        }
    }
}

static status start_loop(struct render *r, const struct node *node, struct scope *scope,
                         const struct value *iterable, int64_t depth0, struct loop **out)
{
    struct loop *loop;
    TRY(template_allocate(r, 1, sizeof *loop, &loop));
    loop->node = node;
    loop->scope = scope;
    loop->source = *iterable;
    loop->index0 = -1;
    loop->depth0 = depth0;
    loop->length = -1;
    if (node->loop.test != NULL) {
        struct loop_filter *filter;
        TRY(template_allocate(r, 1, sizeof *filter, &filter));
        filter->node = node;
        TRY(open_scope(r, scope, &filter->scope));
        TRY(template_generator(r, next_filtered, iterable, filter, &loop->source));
    }
    TRY(template_iterator_start(r, &loop->source, &loop->iterator));
    *out = loop;
    return STATUS_OK;
}

static status advance_loop(struct render *r, struct loop *loop, bool *more)
{
    struct value item;
    if (value_is_given(&loop->after)) {
        item = loop->after;
        loop->after = (struct value){0};
        *more = true;
    } else {
        TRY(template_iterator_next(r, &loop->iterator, &item, more));
    }
    if (*more) {
        loop->index0++;
        loop->previous = loop->current;
        loop->current = item;
    }
    return STATUS_OK;
}

/* The item after the current one into loop->after; VALUE_ABSENT at the end. */
static status peek(struct render *r, struct loop *loop)
{
    bool more = true;
    if (!value_is_given(&loop->after)) {
        TRY(template_iterator_next(r, &loop->iterator, &loop->after, &more));
        if (!more) {
            loop->after = (struct value){0};
        }
    }
    return STATUS_OK;
}

static status loop_length(struct render *r, struct loop *loop, int64_t *out)
{
    if (loop->length < 0 && template_is_sized(&loop->source)) {
        size_t length;
        TRY(template_length(r, &loop->source, &length));
        loop->length = (int64_t)length;
    } else if (loop->length < 0) {
        /* What is left is walked now and kept. */
        struct value *items, rest;
        size_t count;
        struct value remaining = loop->source;
        TRY(template_items(r, &remaining, &items, &count));
        TRY(template_list(r, VALUE_LIST, items, count, &rest));
        TRY(template_iterator_start(r, &rest, &loop->iterator));
        loop->length = (int64_t)count + loop->index0 + 1 + value_is_given(&loop->after);
    }
    *out = loop->length;
    return STATUS_OK;
}

static status run_loop(struct render *r, struct loop *loop, enum flow *flow)
{
    const struct node *node = loop->node;
    struct scope *scope;
    struct value variable = {.type = VALUE_LOOP, .loop = loop};
    bool more, ran = false;
    TRY(open_scope(r, loop->scope, &scope));
    for (;;) {
        TRY(advance_loop(r, loop, &more));
        if (!more) {
            break;
        }
        /* Every round starts afresh, but in the same scope, as in the functions that Jinja compiles
         * loops to. */
        scope->count = 0;
        TRY(assign(r, node->loop.target, scope, &loop->current));
        TRY(template_scope_set(r, scope, r->template_->loop, &variable));
        TRY(template_execute(r, &node->loop.body, scope, flow));
        /* Only a round that reached its end counts for "else": so does Jinja's compiled code. */
        ran = ran || *flow == FLOW_NEXT;
        more = *flow != FLOW_BREAK;
        *flow = FLOW_NEXT;
        if (!more) {
            break;
        }
    }
    if (!ran && node->loop.otherwise.count > 0) {
        TRY(open_scope(r, loop->scope, &scope));
        TRY(template_execute(r, &node->loop.otherwise, scope, flow));
    }
    return STATUS_OK;
}

static status execute_for(struct render *r, const struct node *node, struct scope *scope,
                          enum flow *flow)
{
    struct value iterable;
    struct loop *loop;
    TRY(template_evaluate(r, node->loop.iterable, scope, &iterable));
    TRY(start_loop(r, node, scope, &iterable, 0, &loop));
    return run_loop(r, loop, flow);
}

status template_call_loop(struct render *r, struct loop *loop, const struct value *iterable,
                          struct value *out)
{
    if (!loop->node->loop.recursive) {
        return template_fail("The loop must have the 'recursive' marker to be called recursively.");
    }
    struct loop *inner;
    enum flow flow = FLOW_NEXT;
    size_t mark = r->out.length;
    TRY(template_enter(r));
    TRY(start_loop(r, loop->node, loop->scope, iterable, loop->depth0 + 1, &inner));
    TRY(run_loop(r, inner, &flow));
    r->depth--;
    return template_take(r, mark, out);
}

enum loop_attribute {
    LOOP_INDEX,
    LOOP_INDEX0,
    LOOP_FIRST,
    LOOP_LAST,
    LOOP_LENGTH,
    LOOP_REVINDEX,
    LOOP_REVINDEX0,
    LOOP_DEPTH,
    LOOP_DEPTH0,
    LOOP_PREVITEM,
    LOOP_NEXTITEM,
};

static status loop_neighbour(struct render *r, struct loop *loop, bool next, struct value *out)
{
    if (next) {
        TRY(peek(r, loop));
    }
    *out = next ? loop->after : loop->previous;
    if (!value_is_given(out)) {
        return template_undefined(r, next ? "there is no next item" : "there is no previous item",
                                  NULL, NULL, out);
    }
    return STATUS_OK;
}

status template_loop_attribute(struct render *r, struct loop *loop, const struct string *name,
                               struct value *out, bool *found)
{
    static const char *const names[] = {"index",  "index0",   "first",     "last",
                                        "length", "revindex", "revindex0", "depth",
                                        "depth0", "previtem", "nextitem"};
    const struct value key = value_string(name);
    size_t attribute = 0;
    int64_t length = 0;
    while (attribute < COUNT_OF(names) && !template_is_text(&key, names[attribute])) {
        attribute++;
    }
    *found = attribute < COUNT_OF(names);
    switch ((enum loop_attribute)attribute) {
    case LOOP_INDEX:
        *out = value_integer(loop->index0 + 1);
        return STATUS_OK;
    case LOOP_INDEX0:
        *out = value_integer(loop->index0);
        return STATUS_OK;
    case LOOP_FIRST:
        *out = value_boolean(loop->index0 == 0);
        return STATUS_OK;
    case LOOP_LAST:
        TRY(peek(r, loop));
        *out = value_boolean(!value_is_given(&loop->after));
        return STATUS_OK;
    case LOOP_LENGTH:
    case LOOP_REVINDEX:
    case LOOP_REVINDEX0:
        TRY(loop_length(r, loop, &length));
        *out = value_integer(attribute == LOOP_LENGTH     ? length
                             : attribute == LOOP_REVINDEX ? length - loop->index0
                                                          : length - loop->index0 - 1);
        return STATUS_OK;
    case LOOP_DEPTH:
        *out = value_integer(loop->depth0 + 1);
        return STATUS_OK;
    case LOOP_DEPTH0:
        *out = value_integer(loop->depth0);
        return STATUS_OK;
    case LOOP_PREVITEM:
    case LOOP_NEXTITEM:
        return loop_neighbour(r, loop, attribute == LOOP_NEXTITEM, out);
    }
    return STATUS_OK;
}

/* ---- Macros ---- */

static status define_macro(struct render *r, const struct node *node, struct scope *scope,
                           struct value *out)
{
    struct macro *macro;
    TRY(template_allocate(r, 1, sizeof *macro, &macro));
    macro->node = node;
    macro->scope = scope;
    *out = (struct value){.type = VALUE_MACRO, .macro = macro};
    return STATUS_OK;
}

static bool same_string(const struct string *a, const struct string *b)
{
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

/* The keyword of that name, marked as used, or NULL. */
static const struct value *take_keyword(const struct call *call, bool *used,
                                        const struct string *name)
{
    for (size_t i = 0; i < call->keyword_count; i++) {
        if (!used[i] && same_string(call->keywords[i].name.string, name)) {
            used[i] = true;
            return &call->keywords[i].value;
        }
    }
    return NULL;
}

static const char *macro_name(const struct macro *macro)
{
    return macro->node->macro.name == NULL ? "None" : macro->node->macro.name->string.text;
}

/* caller, kwargs and varargs, as far as the macro's body uses them; whatever is left over is an
 * error. */
static status bind_special(struct render *r, const struct macro *macro, const struct call *call,
                           bool *used, struct scope *scope)
{
    const struct node *node = macro->node;
    const struct chat_template *template_ = r->template_;
    struct value value;
    if (node->macro.uses_caller) {
        const struct value *caller = take_keyword(call, used, &template_->caller->string);
        if (caller != NULL) {
            value = *caller;
        } else {
            TRY(template_undefined(r, "No caller defined", NULL, NULL, &value));
        }
        TRY(template_scope_set(r, scope, template_->caller, &value));
    }
    if (node->macro.uses_kwargs) {
        TRY(template_dict(r, call->keyword_count, &value));
    }
    for (size_t i = 0; i < call->keyword_count; i++) {
        if (used[i]) {
            continue;
        }
        if (!node->macro.uses_kwargs) {
            return template_fail("macro %s%s%s takes no keyword argument '%.*s'",
                                 node->macro.name == NULL ? "" : "'", macro_name(macro),
                                 node->macro.name == NULL ? "" : "'",
                                 STRING_ARGUMENTS(call->keywords[i].name.string));
        }
        TRY(template_dict_put(r, value.dict, &call->keywords[i].name, &call->keywords[i].value));
    }
    if (node->macro.uses_kwargs) {
        TRY(template_scope_set(r, scope, template_->kwargs, &value));
    }
    size_t extra = call->count > node->macro.count ? call->count - node->macro.count : 0;
    if (node->macro.uses_varargs) {
        struct value *items;
        TRY(template_allocate(r, extra, sizeof *items, &items));
        for (size_t i = 0; i < extra; i++) {
            items[i] = call->arguments[node->macro.count + i];
        }
        TRY(template_list(r, VALUE_TUPLE, items, extra, &value));
        return template_scope_set(r, scope, template_->varargs, &value);
    }
    return extra == 0 ? STATUS_OK
                      : template_fail("macro %s%s%s takes not more than %zu argument(s)",
                                      node->macro.name == NULL ? "" : "'", macro_name(macro),
                                      node->macro.name == NULL ? "" : "'", node->macro.count);
}

static status bind_parameters(struct render *r, const struct macro *macro, const struct call *call,
                              struct scope *scope)
{
    const struct node *node = macro->node;
    bool *used;
    struct value *given;
    TRY(template_allocate(r, call->keyword_count, sizeof *used, &used));
    TRY(template_allocate(r, node->macro.count, sizeof *given, &given));
    for (size_t i = 0; i < node->macro.count; i++) {
        const struct value *keyword =
            i < call->count ? &call->arguments[i]
                            : take_keyword(call, used, &node->macro.parameters[i]->string);
        given[i] = keyword == NULL ? (struct value){0} : *keyword;
    }
    TRY(bind_special(r, macro, call, used, scope));
    /* Defaults see the parameters before them. */
    for (size_t i = 0; i < node->macro.count; i++) {
        const struct name *name = node->macro.parameters[i];
        if (value_is_given(&given[i])) {
            TRY(template_scope_set(r, scope, name, &given[i]));
        }
    }
    for (size_t i = 0; i < node->macro.count; i++) {
        const struct name *name = node->macro.parameters[i];
        if (!value_is_given(&given[i])) {
            if (node->macro.defaults[i] != NULL) {
                TRY(template_evaluate(r, node->macro.defaults[i], scope, &given[i]));
            } else {
                TRY(template_undefined_format(r, &given[i], "parameter '%.100s' was not provided",
                                              name->string.text));
            }
            TRY(template_scope_set(r, scope, name, &given[i]));
        }
    }
    return STATUS_OK;
}

status template_call_macro(struct render *r, const struct macro *macro, const struct call *call,
                           struct value *out)
{
    struct scope *scope;
    enum flow flow = FLOW_NEXT;
    TRY(template_enter(r));
    TRY(open_scope(r, macro->scope, &scope));
    TRY(bind_parameters(r, macro, call, scope));
    size_t mark = r->out.length;
    TRY(template_execute(r, &macro->node->macro.body, scope, &flow));
    r->depth--;
    return template_take(r, mark, out);
}

/* ---- Other statements ---- */

static status execute_call_block(struct render *r, const struct node *node, struct scope *scope)
{
    /* The call itself as an expression, with one more keyword: its node is copied, its argument
     * list extended by the constant. */
    const struct node *call = node->macro.call;
    struct node extended = *call, constant = {.kind = NODE_CONSTANT, .line = node->line};
    struct keyword_node *keywords;
    struct value result;
    struct string caller = r->template_->caller->string;
    size_t count = call->call.arguments.keyword_count;
    TRY(define_macro(r, node, scope, &constant.constant));
    TRY(template_allocate(r, count + 1, sizeof *keywords, &keywords));
    if (count > 0) {
        memcpy(keywords, call->call.arguments.keywords, count * sizeof *keywords);
    }
    keywords[count] = (struct keyword_node){&caller, &constant};
    extended.call.arguments.keywords = keywords;
    extended.call.arguments.keyword_count = count + 1;
    TRY(template_evaluate(r, &extended, scope, &result));
    return template_write_value(r, &result);
}

/* The text of a body in a scope of its own. Left by break or continue, it is forgotten. */
static status capture(struct render *r, const struct node_list *body, struct scope *parent,
                      struct scope **scope, enum flow *flow, struct value *out)
{
    size_t mark = r->out.length;
    TRY(open_scope(r, parent, scope));
    TRY(template_execute(r, body, *scope, flow));
    return template_take(r, mark, out);
}

static status execute_set_block(struct render *r, const struct node *node, struct scope *scope,
                                enum flow *flow)
{
    struct value text;
    struct scope *inner;
    TRY(capture(r, &node->set.body, scope, &inner, flow, &text));
    if (*flow != FLOW_NEXT) {
        return STATUS_OK;
    }
    if (node->set.value != NULL) {
        TRY(template_apply_filter(r, node->set.value, &text, inner, &text));
    }
    return assign(r, node->set.target, scope, &text);
}

static status execute_filter_block(struct render *r, const struct node *node, struct scope *scope,
                                   enum flow *flow)
{
    struct value text;
    struct scope *inner;
    TRY(capture(r, &node->filter_block.body, scope, &inner, flow, &text));
    if (*flow != FLOW_NEXT) {
        return STATUS_OK;
    }
    TRY(template_apply_filter(r, node->filter_block.filter, &text, inner, &text));
    return template_write_value(r, &text);
}

static status execute_with(struct render *r, const struct node *node, struct scope *scope,
                           enum flow *flow)
{
    struct scope *inner;
    TRY(open_scope(r, scope, &inner));
    for (size_t i = 0; i < node->with.count; i++) {
        struct value value;
        TRY(template_evaluate(r, node->with.values[i], scope, &value));
        TRY(assign(r, node->with.targets[i], inner, &value));
    }
    return template_execute(r, &node->with.body, inner, flow);
}

static status execute_if(struct render *r, const struct node *node, struct scope *scope,
                         enum flow *flow)
{
    for (size_t i = 0; i < node->branches.count; i++) {
        const struct branch_node *branch = &node->branches.branches[i];
        bool truth = true;
        if (branch->test != NULL) {
            struct value test;
            TRY(template_evaluate(r, branch->test, scope, &test));
            TRY(template_truth(r, &test, &truth));
        }
        if (truth) {
            return template_execute(r, &branch->body, scope, flow);
        }
    }
    return STATUS_OK;
}

static status execute_node(struct render *r, const struct node *node, struct scope *scope,
                           enum flow *flow)
{
    struct value value;
    struct scope *inner;
    switch (node->kind) {
    case NODE_DATA:
        return template_write(r, node->data.text, node->data.length);
    case NODE_PRINT:
        for (size_t i = 0; i < node->items.count; i++) {
            TRY(template_evaluate(r, node->items.items[i], scope, &value));
            TRY(template_write_value(r, &value));
        }
        return STATUS_OK;
    case NODE_IF:
        return execute_if(r, node, scope, flow);
    case NODE_FOR:
        return execute_for(r, node, scope, flow);
    case NODE_SET:
        TRY(check_namespaces(r, node->set.target, scope));
        TRY(template_evaluate(r, node->set.value, scope, &value));
        return assign(r, node->set.target, scope, &value);
    case NODE_SET_BLOCK:
        return execute_set_block(r, node, scope, flow);
    case NODE_MACRO:
        TRY(define_macro(r, node, scope, &value));
        return template_scope_set(r, scope, node->macro.name, &value);
    case NODE_CALL_BLOCK:
        return execute_call_block(r, node, scope);
    case NODE_FILTER_BLOCK:
        return execute_filter_block(r, node, scope, flow);
    case NODE_WITH:
        return execute_with(r, node, scope, flow);
    case NODE_GENERATION:
        TRY(open_scope(r, scope, &inner));
        return template_execute(r, &node->body, inner, flow);
    case NODE_BREAK:
        *flow = FLOW_BREAK;
        return STATUS_OK;
    case NODE_CONTINUE:
        *flow = FLOW_CONTINUE;
        return STATUS_OK;
    default:
        return status_fail(STATUS_INTERNAL, "an expression where a statement belongs");
    }
}

status template_execute(struct render *r, const struct node_list *body, struct scope *scope,
                        enum flow *flow)
{
    TRY(template_enter(r));
    for (size_t i = 0; i < body->count && *flow == FLOW_NEXT; i++) {
        status s = template_charge(r, 1);
        s = s != STATUS_OK ? s : execute_node(r, body->items[i], scope, flow);
        if (s != STATUS_OK) {
            r->error_line = r->error_line == 0 ? body->items[i]->line : r->error_line;
            return s;
        }
    }
    r->depth--;
    return STATUS_OK;
}
