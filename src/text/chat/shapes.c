/* SPDX-License-Identifier: Apache-2.0 */
/* Shapes of expressions: where messages, their content and the arguments of tool calls go in a
 * template, and what is done with them on the way. */
#include "text/chat/analyze.h"

/* ---- Expressions ---- */

bool template_is_called(const struct string *string, const char *name)
{
    return string->length == strlen(name) && memcmp(string->text, name, string->length) == 0;
}

static bool is_among(const struct string *string, const char *const *names)
{
    while (*names != NULL && !template_is_called(string, *names)) {
        names++;
    }
    return *names != NULL;
}

static bool same_text(const struct string *a, const struct string *b)
{
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

void analysis_note_walked(struct analysis *a, struct shape f)
{
    a->uses.iterates_content = a->uses.iterates_content || (f.is & IS_CONTENT) != 0;
    a->uses.arguments_as_object = a->uses.arguments_as_object || (f.is & IS_ARGUMENTS) != 0;
}

/* object.key, object['key'] and object.get('key'). */
static struct shape member_of(struct analysis *a, struct shape f, const struct string *key)
{
    static const struct {
        uint16_t object;
        const char *key;
        uint16_t member;
    } members[] = {
        {IS_MESSAGE, "content", IS_CONTENT},        {IS_MESSAGE, "tool_calls", IS_CALLS},
        {IS_MESSAGE, "function_call", IS_FUNCTION}, {IS_CALL, "function", IS_FUNCTION},
        {IS_CALL, "arguments", IS_ARGUMENTS},       {IS_FUNCTION, "arguments", IS_ARGUMENTS},
    };
    struct shape member = {f.holds, f.holds};
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        if ((f.is & members[i].object) != 0 && template_is_called(key, members[i].key)) {
            member.is |= members[i].member;
        }
    }
    const struct shape *field = (f.is & IS_RECORD) != 0 ? analysis_field(a, key) : NULL;
    a->content_indexed = a->content_indexed || (f.is & IS_PART) != 0;
    a->uses.arguments_as_object = a->uses.arguments_as_object || (f.is & IS_ARGUMENTS) != 0;
    a->uses.calls_have_function = a->uses.calls_have_function ||
                                  ((f.is & IS_CALL) != 0 && template_is_called(key, "function"));
    a->uses.reads_function_call =
        a->uses.reads_function_call ||
        ((f.is & IS_MESSAGE) != 0 && template_is_called(key, "function_call"));
    return field != NULL ? shape_join(member, *field) : member;
}

static const struct string *constant_text(const struct node *node)
{
    return node != NULL && node->kind == NODE_CONSTANT && node->constant.type == VALUE_STRING
               ? node->constant.string
               : NULL;
}

/* Arguments of a call, each looked at once: positional ones, what a * stands for, then keywords. */
struct given {
    const struct call_node *call;
    size_t base; /* on the stack a->given */
    struct shape more, joined;
};

static void push(struct analysis *a, struct shape shape)
{
    if (analysis_grow(a, &a->given, &a->given_capacity, a->given_count + 1, sizeof *a->given)) {
        a->given[a->given_count++] = shape;
    }
}

static struct given look_at_arguments(struct analysis *a, const struct call_node *call)
{
    struct given given = {.call = call};
    size_t base = a->given_count;
    for (size_t i = 0; i < call->arguments.count; i++) {
        struct shape shape = analysis_shape(a, call->arguments.items[i]);
        given.joined = shape_join(given.joined, shape);
        push(a, shape);
    }
    for (size_t i = 0; i < call->keyword_count; i++) {
        push(a, analysis_shape(a, call->keywords[i].value));
    }
    if (call->more_arguments != NULL) {
        given.more = shape_of_item(analysis_shape(a, call->more_arguments));
    }
    if (call->more_keywords != NULL) {
        (void)analysis_shape(a, call->more_keywords);
    }
    given.joined = shape_join(given.joined, given.more);
    given.base = base;
    return given;
}

static void forget_arguments(struct analysis *a, const struct given *given)
{
    a->given_count = given->base;
}

static struct shape all_arguments(struct analysis *a, const struct call_node *call)
{
    struct given given = look_at_arguments(a, call);
    forget_arguments(a, &given);
    return given.joined;
}

static struct shape keyword_shape(const struct analysis *a, const struct given *given, size_t i)
{
    return a->given[given->base + given->call->arguments.count + i];
}

/* A macro's parameter may be whatever any call gives it. */
static void give_parameters(struct analysis *a, const struct known_macro *macro,
                            const struct given *given)
{
    const struct call_node *call = given->call;
    const struct node *node = macro->node;
    for (size_t i = 0; i < node->macro.count && analysis_charge(a, 1 + call->keyword_count); i++) {
        const struct string *name = &node->macro.parameters[i]->string;
        struct shape shape = i < call->arguments.count ? a->given[given->base + i] : given->more;
        for (size_t j = 0; j < call->keyword_count; j++) {
            if (same_text(call->keywords[j].name, name)) {
                shape = shape_join(shape, keyword_shape(a, given, j));
            }
        }
        analysis_note(a, &macro->parameters[i], shape);
    }
}

static struct shape shape_of_named_call(struct analysis *a, const struct node *node)
{
    const struct name *name = node->call.callee->name;
    struct given given = look_at_arguments(a, &node->call.arguments);
    struct shape result = shapeless; /* a macro gives text */
    bool is_record =
        template_is_called(&name->string, "namespace") || template_is_called(&name->string, "dict");
    if (a->failed == STATUS_OK && is_record) {
        for (size_t i = 0; i < given.call->keyword_count; i++) {
            analysis_set_field(a, given.call->keywords[i].name, keyword_shape(a, &given, i));
        }
        result = given.joined;
        result.is |= IS_RECORD;
    }
    for (size_t i = 0; i < a->macro_count && analysis_charge(a, 1); i++) {
        if (a->macros[i].name == name) {
            give_parameters(a, &a->macros[i], &given);
        }
    }
    forget_arguments(a, &given);
    return result;
}

static struct shape shape_of_items_view(struct analysis *a, struct shape f)
{
    struct shape members = {f.holds, f.holds};
    members.is |= f.is & IS_MESSAGE ? IS_CONTENT | IS_CALLS : 0;
    analysis_note_walked(a, (struct shape){f.is & IS_ARGUMENTS, 0});
    return shape_holding(members);
}

static struct shape shape_of_method_call(struct analysis *a, const struct node *node)
{
    static const char *const views[] = {"items", "values", "keys", NULL};
    const struct string *method = node->call.callee->attribute.name;
    const struct call_node *call = &node->call.arguments;
    struct shape self = analysis_shape(a, node->call.callee->attribute.object);
    struct shape arguments = all_arguments(a, call);
    const struct string *key =
        call->arguments.count > 0 ? constant_text(call->arguments.items[0]) : NULL;
    if (template_is_called(method, "get") && key != NULL) {
        return shape_join(member_of(a, self, key), arguments);
    }
    if (template_is_called(method, "copy")) {
        return self;
    }
    return is_among(method, views) ? shape_of_items_view(a, self) : shapeless;
}

static struct shape shape_of_call(struct analysis *a, const struct node *node)
{
    switch (node->call.callee->kind) {
    case NODE_NAME:
        return shape_of_named_call(a, node);
    case NODE_ATTRIBUTE:
        return shape_of_method_call(a, node);
    default:
        (void)analysis_shape(a, node->call.callee);
        (void)all_arguments(a, &node->call.arguments);
        return shapeless;
    }
}

static bool has_keyword(const struct call_node *call, const char *name)
{
    for (size_t i = 0; i < call->keyword_count; i++) {
        if (template_is_called(call->keywords[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* map(attribute='content'): a list of these members. */
static struct shape shape_of_map(struct analysis *a, struct shape f, const struct call_node *call)
{
    for (size_t i = 0; i < call->keyword_count; i++) {
        const struct string *key = constant_text(call->keywords[i].value);
        if (key != NULL && template_is_called(call->keywords[i].name, "attribute")) {
            return shape_holding(member_of(a, shape_of_item(f), key));
        }
    }
    return shapeless;
}

static struct shape shape_of_filter(struct analysis *a, const struct node *node)
{
    /* Filters that look at each item as a thing with attributes. */
    static const char *const walkers[] = {"map",        "select",  "reject", "selectattr",
                                          "rejectattr", "groupby", NULL};
    static const char *const same[] = {"list",       "reverse",    "sort",   "unique",
                                       "selectattr", "rejectattr", "select", "reject",
                                       "default",    "d",          NULL};
    static const char *const picks[] = {"first", "last", "random", "min", "max", NULL};
    static const char *const groups[] = {"batch", "slice", "groupby", NULL};
    static const char *const views[] = {"items", "dictsort", NULL};
    const struct string *name = node->applied.name;
    const struct call_node *call = &node->applied.arguments;
    struct shape f =
        node->applied.operand != NULL ? analysis_shape(a, node->applied.operand) : shapeless;
    struct shape arguments = all_arguments(a, call);
    if (is_among(name, walkers) || has_keyword(call, "attribute") ||
        (template_is_called(name, "join") && call->arguments.count > 1)) {
        analysis_note_walked(a, f);
    }
    if (template_is_called(name, "tojson") || template_is_called(name, "pprint")) {
        uint16_t whole = IS_MESSAGES | IS_MESSAGE | IS_CALLS | IS_CALL | IS_FUNCTION | IS_ARGUMENTS;
        a->uses.arguments_as_object = a->uses.arguments_as_object || (f.is & whole) != 0;
    }
    if (template_is_called(name, "map")) {
        return shape_of_map(a, f, call);
    }
    if (template_is_called(name, "default") || template_is_called(name, "d")) {
        return shape_join(f, arguments);
    }
    return is_among(name, same)     ? f
           : is_among(name, picks)  ? shape_of_item(f)
           : is_among(name, groups) ? shape_holding(f)
           : is_among(name, views)  ? shape_of_items_view(a, f)
                                    : shapeless;
}

static void look_at_test(struct analysis *a, const struct node *node)
{
    struct shape f = analysis_shape(a, node->applied.operand);
    (void)all_arguments(a, &node->applied.arguments);
    if (template_is_called(node->applied.name, "string")) {
        a->content_tested = a->content_tested || (f.is & IS_CONTENT) != 0;
        a->arguments_tested = a->arguments_tested || (f.is & IS_ARGUMENTS) != 0;
    } else if (template_is_called(node->applied.name, "mapping")) {
        analysis_note_walked(a, (struct shape){f.is & IS_ARGUMENTS, 0});
    }
}

static struct shape shape_of_items(struct analysis *a, const struct node_list *items)
{
    struct shape all = shapeless;
    for (size_t i = 0; i < items->count; i++) {
        all = shape_join(all, analysis_shape(a, items->items[i]));
    }
    return all;
}

static struct shape shape_of_dict(struct analysis *a, const struct node *node)
{
    for (size_t i = 0; i + 1 < node->items.count; i += 2) {
        const struct string *key = constant_text(node->items.items[i]);
        struct shape value = analysis_shape(a, node->items.items[i + 1]);
        if (key != NULL) {
            analysis_set_field(a, key, value);
        } else {
            (void)analysis_shape(a, node->items.items[i]);
        }
    }
    return (struct shape){IS_RECORD, 0};
}

/* A sum with a list is a list; any other sum with content or arguments in it is a text. */
static struct shape shape_of_arithmetic(struct analysis *a, const struct node *node)
{
    const struct node *left = node->binary.left, *right = node->binary.right;
    struct shape sum = shape_join(analysis_shape(a, left), analysis_shape(a, right));
    if (node->binary.operation != TOKEN_ADD) {
        return shapeless;
    }
    if (left->kind != NODE_LIST && right->kind != NODE_LIST) {
        sum.is &= (uint16_t) ~(IS_CONTENT | IS_ARGUMENTS);
    }
    return sum;
}

static struct shape shape_of_expression(struct analysis *a, const struct node *node)
{
    struct shape f;
    switch (node->kind) {
    case NODE_NAME:
        return analysis_name(a, node->name);
    case NODE_TUPLE:
    case NODE_LIST:
        return shape_holding(shape_of_items(a, &node->items));
    case NODE_DICT:
        return shape_of_dict(a, node);
    case NODE_ATTRIBUTE:
        return member_of(a, analysis_shape(a, node->attribute.object), node->attribute.name);
    case NODE_ITEM:
        f = analysis_shape(a, node->item.object);
        if (constant_text(node->item.key) != NULL) {
            return member_of(a, f, constant_text(node->item.key));
        }
        (void)analysis_shape(a, node->item.key);
        return shape_of_item(f);
    case NODE_SLICE:
        return analysis_shape(a, node->slice.object);
    case NODE_CALL:
        return shape_of_call(a, node);
    case NODE_FILTER:
        return shape_of_filter(a, node);
    case NODE_TEST:
        look_at_test(a, node);
        return shapeless;
    case NODE_NOT:
        (void)analysis_shape(a, node->operand);
        return shapeless;
    case NODE_AND:
    case NODE_OR:
        f = analysis_shape(a, node->binary.left);
        return shape_join(f, analysis_shape(a, node->binary.right));
    case NODE_ARITHMETIC:
        return shape_of_arithmetic(a, node);
    case NODE_CONCATENATE:
        (void)shape_of_items(a, &node->items);
        return shapeless;
    case NODE_COMPARE:
        (void)analysis_shape(a, node->compare.first);
        for (size_t i = 0; i < node->compare.count; i++) {
            (void)analysis_shape(a, node->compare.rest[i].value);
        }
        return shapeless;
    case NODE_CONDITIONAL:
        (void)analysis_shape(a, node->conditional.test);
        f = analysis_shape(a, node->conditional.then);
        return node->conditional.otherwise != NULL
                   ? shape_join(f, analysis_shape(a, node->conditional.otherwise))
                   : f;
    default:
        return shapeless;
    }
}

/* What is nested deeper than a rendering may go is never reached. */
struct shape analysis_shape(struct analysis *a, const struct node *node)
{
    struct shape f = shapeless;
    if (++a->depth <= TEMPLATE_MAX_DEPTH) {
        f = shape_of_expression(a, node);
    }
    a->depth--;
    return f;
}
