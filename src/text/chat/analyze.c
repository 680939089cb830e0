/* SPDX-License-Identifier: Apache-2.0 */
/* What a template does with a conversation: whether it walks over a message's content or takes it
 * as a text, and likewise for the arguments of tool calls.
 *
 * The tree is walked once, in the order of the text, with a *shape* for every name: what its value
 * may be of the things that matter here. Jinja's scopes make that cheap: what a loop's body sets is
 * gone with the round, so that no loop has to be walked twice. Both branches of an "if" are walked
 * from the same start, and their shapes joined. Where something flows backwards (into a macro's
 * parameters, into fields of a namespace), the walk is repeated until nothing new is found.
 *
 * A shape may say too much (a name that two branches set), never anything of a value's content. */
#include "text/chat/analyze.h"

#include <stdlib.h>

enum { MAX_PASSES = 16, MAX_FIELDS = 1024, MAX_STEPS = 4 * 1000 * 1000 };

bool analysis_charge(struct analysis *a, size_t steps)
{
    a->steps += steps;
    return a->steps <= MAX_STEPS && a->failed == STATUS_OK;
}

bool analysis_grow(struct analysis *a, void *list, size_t *capacity, size_t count, size_t size)
{
    void *grown;
    memcpy(&grown, list, sizeof grown);
    status s = array_grow(&grown, capacity, count, size);
    memcpy(list, &grown, sizeof grown);
    a->failed = a->failed != STATUS_OK ? a->failed : s;
    return s == STATUS_OK;
}

void analysis_note(struct analysis *a, struct shape *known, struct shape more)
{
    struct shape joined = shape_join(*known, more);
    a->again = a->again || joined.is != known->is || joined.holds != known->holds;
    *known = joined;
}

/* ---- Names ---- */

void analysis_bind(struct analysis *a, const struct name *name, struct shape shape)
{
    size_t i = name->index;
    if (!analysis_grow(a, &a->changes, &a->change_capacity, a->change_count + 1,
                       sizeof *a->changes)) {
        return;
    }
    a->changes[a->change_count++] = (struct change){i, a->set_at[i], a->now[i]};
    a->now[i] = shape;
    a->set_at[i] = a->change_count;
    analysis_note(a, &a->ever[i], shape);
}

/* A macro sees the names around it as they are when it is called, which may be later. */
struct shape analysis_name(const struct analysis *a, const struct name *name)
{
    bool is_outer = a->macro_mark > 0 && a->set_at[name->index] < a->macro_mark;
    return is_outer ? shape_join(a->now[name->index], a->ever[name->index]) : a->now[name->index];
}

/* The end of a scope. */
static void take_back(struct analysis *a, size_t mark)
{
    while (a->change_count > mark) {
        const struct change *change = &a->changes[--a->change_count];
        a->now[change->name] = change->shape;
        a->set_at[change->name] = change->set_at;
    }
}

/* The end of a branch: what it has set is kept apart until all of them have been walked. */
static void set_apart(struct analysis *a, size_t mark)
{
    size_t count = a->change_count - mark;
    if (analysis_grow(a, &a->merged, &a->merged_capacity, a->merged_count + count,
                      sizeof *a->merged)) {
        for (size_t i = mark; i < a->change_count; i++) {
            size_t name = a->changes[i].name;
            a->merged[a->merged_count++] = (struct change){name, 0, a->now[name]};
        }
    }
    take_back(a, mark);
}

static void rejoin(struct analysis *a, size_t mark)
{
    for (size_t i = mark; i < a->merged_count && analysis_charge(a, 1); i++) {
        struct name name = {.index = a->merged[i].name};
        analysis_bind(a, &name, shape_join(a->now[name.index], a->merged[i].shape));
    }
    a->merged_count = mark;
}

/* The field of that name of all records together; the last place is for what has none of its own.
 */
struct shape *analysis_field(struct analysis *a, const struct string *name)
{
    for (size_t i = 0; i < a->field_count && analysis_charge(a, 1); i++) {
        const struct string *known = a->fields[i].name;
        if (known->length == name->length && memcmp(known->text, name->text, name->length) == 0) {
            return &a->fields[i].shape;
        }
    }
    if (a->field_count < MAX_FIELDS) {
        if (!analysis_grow(a, &a->fields, &a->field_capacity, a->field_count + 1,
                           sizeof *a->fields)) {
            return NULL;
        }
        a->fields[a->field_count++] = (struct field){name, shapeless};
    }
    return &a->fields[a->field_count - 1].shape;
}

void analysis_set_field(struct analysis *a, const struct string *name, struct shape shape)
{
    struct shape *field = shape.is != 0 || shape.holds != 0 ? analysis_field(a, name) : NULL;
    if (field != NULL) {
        analysis_note(a, field, shape);
    }
}

static void assign(struct analysis *a, const struct node *target, struct shape shape)
{
    if (target->kind == NODE_NAME) {
        analysis_bind(a, target->name, shape);
    } else if (target->kind == NODE_NAMESPACE_TARGET) {
        analysis_set_field(a, target->target.attribute, shape);
    } else if (target->kind == NODE_TUPLE) {
        struct shape item = {shape.holds, shape.holds};
        for (size_t i = 0; i < target->items.count; i++) {
            assign(a, target->items.items[i], item);
        }
    }
}

/* ---- Statements ---- */

static void walk(struct analysis *a, const struct node_list *body);

static void walk_scope(struct analysis *a, const struct node_list *body)
{
    size_t mark = a->change_count;
    walk(a, body);
    take_back(a, mark);
}

static void walk_if(struct analysis *a, const struct node *node)
{
    size_t kept = a->merged_count;
    for (size_t i = 0; i < node->branches.count; i++) {
        const struct branch_node *branch = &node->branches.branches[i];
        size_t mark = a->change_count;
        if (branch->test != NULL) {
            (void)analysis_shape(a, branch->test);
        }
        walk(a, &branch->body);
        set_apart(a, mark);
    }
    rejoin(a, kept);
}

static void walk_for(struct analysis *a, const struct node *node)
{
    size_t mark = a->change_count;
    struct shape iterable = analysis_shape(a, node->loop.iterable);
    analysis_note_walked(a, iterable);
    assign(a, node->loop.target, shape_of_item(iterable));
    if (node->loop.test != NULL) {
        (void)analysis_shape(a, node->loop.test);
    }
    analysis_bind(a, a->template_->loop,
                  shape_holding(shape_of_item(iterable))); /* loop.previtem */
    walk(a, &node->loop.body);
    take_back(a, mark);
    walk_scope(a, &node->loop.otherwise);
}

static struct known_macro *find_macro(struct analysis *a, const struct node *node,
                                      const struct name *name)
{
    for (size_t i = 0; i < a->macro_count && analysis_charge(a, 1); i++) {
        if (a->macros[i].node == node) {
            return &a->macros[i];
        }
    }
    struct shape *parameters = calloc(node->macro.count + 1, sizeof *parameters);
    if (parameters == NULL) {
        a->failed = status_fail(STATUS_NO_MEMORY, "out of memory for a template");
        return NULL;
    }
    if (!analysis_grow(a, &a->macros, &a->macro_capacity, a->macro_count + 1, sizeof *a->macros)) {
        free(parameters);
        return NULL;
    }
    a->macros[a->macro_count] = (struct known_macro){node, name, parameters};
    a->again = true;
    return &a->macros[a->macro_count++];
}

/* The body, with what calls gave to the parameters so far. */
static void walk_macro(struct analysis *a, const struct node *node, const struct name *name)
{
    const struct known_macro *macro = find_macro(a, node, name);
    size_t mark = a->change_count, outer = a->macro_mark;
    if (macro == NULL) {
        return;
    }
    const struct shape *given = macro->parameters; /* the list of macros may move */
    a->macro_mark = mark + 1;
    for (size_t i = 0; i < node->macro.count; i++) {
        struct shape otherwise = node->macro.defaults[i] != NULL
                                     ? analysis_shape(a, node->macro.defaults[i])
                                     : shapeless;
        analysis_bind(a, node->macro.parameters[i], shape_join(given[i], otherwise));
    }
    walk(a, &node->macro.body);
    take_back(a, mark);
    a->macro_mark = outer;
}

static void walk_with(struct analysis *a, const struct node *node)
{
    size_t mark = a->change_count;
    for (size_t i = 0; i < node->with.count; i++) {
        assign(a, node->with.targets[i], analysis_shape(a, node->with.values[i]));
    }
    walk(a, &node->with.body);
    take_back(a, mark);
}

static void walk_statement(struct analysis *a, const struct node *node)
{
    switch (node->kind) {
    case NODE_PRINT:
        for (size_t i = 0; i < node->items.count; i++) {
            (void)analysis_shape(a, node->items.items[i]);
        }
        break;
    case NODE_IF:
        walk_if(a, node);
        break;
    case NODE_FOR:
        walk_for(a, node);
        break;
    case NODE_SET:
        assign(a, node->set.target, analysis_shape(a, node->set.value));
        break;
    case NODE_SET_BLOCK:
        walk_scope(a, &node->set.body);
        assign(a, node->set.target, shapeless);
        break;
    case NODE_MACRO:
        walk_macro(a, node, node->macro.name);
        analysis_bind(a, node->macro.name, shapeless);
        break;
    case NODE_CALL_BLOCK:
        walk_macro(a, node, a->template_->caller);
        (void)analysis_shape(a, node->macro.call);
        break;
    case NODE_FILTER_BLOCK:
        walk_scope(a, &node->filter_block.body);
        (void)analysis_shape(a, node->filter_block.filter);
        break;
    case NODE_WITH:
        walk_with(a, node);
        break;
    case NODE_GENERATION:
        walk_scope(a, &node->body);
        break;
    default:
        break;
    }
}

static void walk(struct analysis *a, const struct node_list *body)
{
    if (++a->depth <= TEMPLATE_MAX_DEPTH) {
        for (size_t i = 0; i < body->count && analysis_charge(a, 1); i++) {
            walk_statement(a, body->items[i]);
        }
    }
    a->depth--;
}

/* ---- The whole ---- */

static void walk_template(struct analysis *a)
{
    for (size_t i = 0; i < TEMPLATE_NAME_BUCKETS; i++) {
        for (const struct name *name = a->template_->buckets[i]; name != NULL; name = name->next) {
            if (template_is_called(&name->string, "messages")) {
                analysis_bind(a, name, (struct shape){IS_MESSAGES, 0});
            }
        }
    }
    walk(a, &a->template_->body);
    take_back(a, 0);
}

status template_analyze(struct chat_template *template_)
{
    size_t names = template_->name_count + 1;
    struct analysis a = {.template_ = template_,
                         .now = calloc(names, sizeof *a.now),
                         .ever = calloc(names, sizeof *a.ever),
                         .set_at = calloc(names, sizeof *a.set_at)};
    if (a.now == NULL || a.ever == NULL || a.set_at == NULL) {
        a.failed = status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    a.again = true;
    for (int pass = 0; a.again && pass < MAX_PASSES && analysis_charge(&a, 1); pass++) {
        a.again = false;
        walk_template(&a);
    }
    /* content[0].text without a word about strings is for lists as well. */
    a.uses.iterates_content = a.uses.iterates_content || (a.content_indexed && !a.content_tested);
    a.uses.arguments_as_text = a.arguments_tested && !a.uses.arguments_as_object;
    template_->uses = a.uses;
    for (size_t i = 0; i < a.macro_count; i++) {
        free(a.macros[i].parameters);
    }
    free(a.macros);
    free(a.fields);
    free(a.changes);
    free(a.merged);
    free(a.given);
    free(a.now);
    free(a.ever);
    free(a.set_at);
    return a.failed;
}
