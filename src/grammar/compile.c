/* SPDX-License-Identifier: Apache-2.0 */
/* From expressions to a compiled grammar.
 *
 * What is small or stands in one place only becomes part of the automaton around it; what is large
 * and stands in several places becomes a rule of its own, which is called, so that a grammar's
 * table does not grow with how often a part is used. Then: an automaton a rule, the empty text
 * taken out of each, rules that begin with themselves rewritten, one table. */
#include <stdlib.h>
#include <string.h>

#include "grammar/build.h"
#include "grammar/tables.h"

enum {
    OUTLINE_WEIGHT = 96, /* from so many states on a part that is used again is called */
    INLINE_WEIGHT = 160, /* up to so many states a rule is put where it is used */
    DIRECT_WEIGHT =
        400,          /* from so many states on a part that can be written down at once is called */
    UNIT_WEIGHT = 64, /* up to so many states something is a unit of a chain */
};

struct compiler {
    struct grammar_expressions *expressions;
    struct grammar_limits limits;
    grammar_node root;
    uint32_t *outlined;   /* [nodes] rule, or BUILD_INLINE */
    uint32_t *uses;       /* [nodes] in how many places it stands, at most 2 */
    uint64_t *weight;     /* [nodes] with what inlined rules weigh; 0: not known yet */
    uint32_t *depth;      /* [nodes] likewise */
    bool *is_closed;      /* [nodes] nothing can be added to a text of it: see is_closed */
    uint32_t *rule_uses;  /* [rules] */
    bool *is_inlined;     /* [rules] */
    size_t rule_count;    /* declared ones, then nodes that are called, then the root */
    grammar_node *bodies; /* [rule_count] */
    size_t body_capacity;
    struct nfa *nfas; /* [rule_count] */
    uint32_t *starts; /* [rule_count] */
    bool *nullable;   /* [rule_count] */
    struct automaton **automata;
};

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
}

/* ---- How often and where ---- */

static void use(struct compiler *self, grammar_node node, uint32_t times)
{
    const uint32_t uses = self->uses[node] + times;
    self->uses[node] = uses > 2 ? 2 : uses;
}

/* Children come before their parents, so one walk from the last node to the first counts all uses
 * of what is reached; rules are roots as well. */
static status count_uses(struct compiler *self, grammar_node root)
{
    const struct grammar_expressions *expressions = self->expressions;
    use(self, root, 1);
    for (size_t i = 0; i < expressions->rule_count; i++) {
        use(self, expressions->rules[i].node, 1);
    }
    for (size_t i = expressions->node_count; i-- > 0;) {
        const struct expression *node = &expressions->nodes[i];
        if (self->uses[i] == 0) {
            continue;
        }
        TRY(grammar_work(self->expressions, 1 + node->count / 4));
        if (node->kind == NODE_SEQUENCE || node->kind == NODE_CHOICE) {
            for (uint32_t j = 0; j < node->count; j++) {
                use(self, expressions->children[node->first + j], 1);
            }
        } else if (node->kind == NODE_REPEAT) {
            const bool is_once =
                node->most == 1 || (node->most == GRAMMAR_UNBOUNDED && node->least <= 1);
            use(self, node->first, is_once ? 1 : 2);
        } else if (node->kind == NODE_REFERENCE) {
            const uint32_t uses = self->rule_uses[node->first] + self->uses[i];
            self->rule_uses[node->first] = uses > 2 ? 2 : uses;
        }
    }
    return STATUS_OK;
}

/* ---- Weights, with rules in the order in which they refer to each other ---- */

static uint64_t saturated(uint64_t weight)
{
    return weight > UINT32_MAX ? UINT32_MAX : weight;
}

/* Whether nothing can be added to a text of the node so that it is another one, as far as that is
 * seen at once. Such a node is good to call: where it ends there is one way on. The inside of a
 * string, say, is not: behind each character one could go on within it or come back. */
static bool is_closed(const struct compiler *self, const struct expression *node)
{
    const struct grammar_expressions *expressions = self->expressions;
    switch ((enum expression_kind)node->kind) {
    case NODE_SEQUENCE:
        return self->is_closed[expressions->children[node->first + node->count - 1]];
    case NODE_CHOICE:
        for (uint32_t i = 0; i < node->count; i++) {
            if (!self->is_closed[expressions->children[node->first + i]]) {
                return false;
            }
        }
        return true;
    case NODE_REPEAT:
        return node->least == node->most && self->is_closed[node->first];
    case NODE_REFERENCE:
        return !self->is_inlined[node->first] ||
               self->is_closed[expressions->rules[node->first].node];
    case NODE_AUTOMATON:
        return automaton_is_closed(expressions->automata[node->first]);
    case NODE_NOTHING:
    case NODE_EMPTY:
    case NODE_BYTES:
    case NODE_LITERAL:
        break;
    }
    return node->kind != NODE_EMPTY;
}

/* ---- Parts whose automaton is there, or can be written down at once ---- */

/* The one byte of a node; false: it is something else. */
static bool is_byte(const struct grammar_expressions *expressions, grammar_node node, uint8_t *out)
{
    const struct expression *content = &expressions->nodes[node];
    int count = 0;
    for (unsigned byte = 0; content->kind == NODE_BYTES && byte < 256; byte++) {
        if (byte_set_has(&expressions->sets[content->first], byte)) {
            *out = (uint8_t)byte;
            count++;
        }
    }
    return count == 1;
}

/* A byte, a bounded number of equal parts, a byte: a text of some length in quotes. */
static bool read_chain(const struct grammar_expressions *expressions, grammar_node node,
                       struct chain *out, grammar_node *unit)
{
    const struct expression *content = &expressions->nodes[node];
    if (content->kind != NODE_SEQUENCE || content->count != 3) {
        return false;
    }
    const grammar_node *children = expressions->children + content->first;
    const struct expression *repeat = &expressions->nodes[children[1]];
    *out = (struct chain){.least = repeat->least, .most = repeat->most};
    *unit = repeat->first;
    return repeat->kind == NODE_REPEAT && repeat->most != GRAMMAR_UNBOUNDED &&
           expressions->nodes[*unit].weight <= UNIT_WEIGHT &&
           expressions->nodes[*unit].is_regular && !expressions->nodes[*unit].is_nullable &&
           is_byte(expressions, children[0], &out->first) &&
           is_byte(expressions, children[2], &out->last);
}

static bool is_direct(const struct grammar_expressions *expressions, grammar_node node)
{
    struct chain chain;
    grammar_node unit;
    return expressions->nodes[node].kind == NODE_AUTOMATON ||
           read_chain(expressions, node, &chain, &unit);
}

static status make_chain(struct compiler *self, struct chain *chain, grammar_node unit,
                         struct automaton **out)
{
    struct automaton *automaton;
    TRY(grammar_node_automaton(self->expressions, unit, &automaton));
    chain->unit = automaton;
    status s = automaton_can_chain(automaton, chain->last)
                   ? automaton_chain(chain, self->limits.states, &self->expressions->work_left, out)
                   : STATUS_OK;
    automaton_destroy(automaton);
    return s;
}

/* *out stays NULL where the rule's automaton is to be built. */
static status make_directly(struct compiler *self, grammar_node node, struct automaton **out)
{
    const struct grammar_expressions *expressions = self->expressions;
    const struct expression *content = &expressions->nodes[node];
    struct chain chain;
    grammar_node unit;
    if (content->weight < DIRECT_WEIGHT) {
        return STATUS_OK;
    }
    if (content->kind == NODE_AUTOMATON && !expressions->automata[content->first]->accepting[0]) {
        TRY(automaton_work(&self->expressions->work_left, content->weight));
        return automaton_copy(expressions->automata[content->first], out);
    }
    return read_chain(expressions, node, &chain, &unit) ? make_chain(self, &chain, unit, out)
                                                        : STATUS_OK;
}

/* Weight and depth of a node; what is large and used again is called from here on, and weighs as
 * much as a call. Recursion goes as deep as expressions do. */
static status weigh(struct compiler *self, grammar_node node)
{
    const struct grammar_expressions *expressions = self->expressions;
    const struct expression *content = &expressions->nodes[node];
    if (self->weight[node] > 0) {
        return STATUS_OK;
    }
    TRY(grammar_work(self->expressions, 1 + content->count / 4));
    uint64_t weight = content->weight > 0 ? content->weight : 1;
    uint32_t depth = 1;
    if (content->kind == NODE_SEQUENCE || content->kind == NODE_CHOICE) {
        weight = 1;
        for (uint32_t i = 0; i < content->count; i++) {
            const grammar_node child = expressions->children[content->first + i];
            TRY(weigh(self, child));
            weight = saturated(weight + self->weight[child]);
            depth = self->depth[child] + 1 > depth ? self->depth[child] + 1 : depth;
        }
    } else if (content->kind == NODE_REPEAT) {
        TRY(weigh(self, content->first));
        const uint64_t times = content->most == GRAMMAR_UNBOUNDED
                                   ? (content->least > 1 ? content->least : 1)
                                   : content->most;
        weight = saturated(self->weight[content->first] * times + 1);
        depth = self->depth[content->first] + 1;
    } else if (content->kind == NODE_REFERENCE && self->is_inlined[content->first]) {
        const grammar_node body = expressions->rules[content->first].node;
        weight = self->weight[body];
        depth = self->depth[body] + 1;
    }
    self->is_closed[node] = is_closed(self, content);
    const bool is_worth_it = (weight >= OUTLINE_WEIGHT && self->uses[node] > 1) ||
                             (weight >= DIRECT_WEIGHT && is_direct(expressions, node));
    const bool is_called = is_worth_it && self->is_closed[node] && node != self->root &&
                           content->kind != NODE_REFERENCE && content->kind != NODE_LITERAL;
    if (is_called) {
        void *bodies = self->bodies;
        status s =
            array_grow(&bodies, &self->body_capacity, self->rule_count + 1, sizeof *self->bodies);
        self->bodies = bodies;
        TRY(s);
        self->outlined[node] = (uint32_t)self->rule_count;
        self->bodies[self->rule_count++] = node;
        weight = depth = 1;
    }
    self->weight[node] = weight;
    self->depth[node] = depth;
    return STATUS_OK;
}

struct references {
    uint32_t *starts, *targets;
    size_t count, capacity;
    uint32_t *seen; /* [nodes] by which rule + 1 it was seen last */
};

/* Appends the rules that a node refers to. */
static status refer(struct compiler *self, struct references *references, grammar_node node,
                    uint32_t rule)
{
    const struct expression *content = &self->expressions->nodes[node];
    if (references->seen[node] == rule + 1 || content->is_regular) {
        return STATUS_OK;
    }
    references->seen[node] = rule + 1;
    TRY(grammar_work(self->expressions, 1 + content->count / 4));
    if (content->kind == NODE_REFERENCE) {
        void *targets = references->targets;
        status s = array_grow(&targets, &references->capacity, references->count + 1,
                              sizeof *references->targets);
        references->targets = targets;
        TRY(s);
        references->targets[references->count++] = content->first;
        return STATUS_OK;
    }
    if (content->kind == NODE_REPEAT) {
        return refer(self, references, content->first, rule);
    }
    for (uint32_t i = 0; i < content->count; i++) {
        TRY(refer(self, references, self->expressions->children[content->first + i], rule));
    }
    return STATUS_OK;
}

static bool refers_to(const struct references *references, uint32_t from, uint32_t to)
{
    for (uint32_t i = references->starts[from]; i < references->starts[from + 1]; i++) {
        if (references->targets[i] == to) {
            return true;
        }
    }
    return false;
}

/* Rules in ascending order of components: what a rule refers to is weighed before it. */
static status weigh_rules(struct compiler *self, const struct references *references,
                          const uint32_t *component_of, size_t components)
{
    const size_t rules = self->expressions->rule_count;
    uint32_t *order = malloc((rules + 1) * sizeof *order);
    uint32_t *starts = calloc(components + 2, sizeof *starts);
    status s = order != NULL && starts != NULL ? STATUS_OK : no_memory();
    for (size_t i = 0; i < rules && s == STATUS_OK; i++) {
        starts[component_of[i] + 1]++;
    }
    for (size_t i = 0; i < components && s == STATUS_OK; i++) {
        starts[i + 1] += starts[i];
    }
    for (size_t i = rules; i-- > 0 && s == STATUS_OK;) {
        order[--starts[component_of[i] + 1]] = (uint32_t)i; /* starts end where lists begin */
    }
    for (size_t i = 0; i < rules && s == STATUS_OK; i++) {
        const uint32_t rule = order[i];
        const grammar_node body = self->expressions->rules[rule].node;
        const bool is_alone = (i == 0 || component_of[order[i - 1]] != component_of[rule]) &&
                              (i + 1 == rules || component_of[order[i + 1]] != component_of[rule]);
        s = weigh(self, body);
        self->is_inlined[rule] =
            s == STATUS_OK && is_alone && !refers_to(references, rule, rule) &&
            (self->weight[body] <= INLINE_WEIGHT || self->rule_uses[rule] <= 1) &&
            self->depth[body] <= self->limits.depth / 2;
    }
    free(order);
    free(starts);
    return s;
}

static status choose_rules(struct compiler *self, grammar_node root)
{
    const size_t rules = self->expressions->rule_count;
    struct references references = {
        .starts = calloc(rules + 1, sizeof(uint32_t)),
        .seen = calloc(self->expressions->node_count + 1, sizeof(uint32_t))};
    uint32_t *component_of = malloc((rules + 1) * sizeof *component_of);
    size_t components = 0;
    status s = references.starts != NULL && references.seen != NULL && component_of != NULL
                   ? STATUS_OK
                   : no_memory();
    for (size_t i = 0; i < rules && s == STATUS_OK; i++) {
        s = refer(self, &references, self->expressions->rules[i].node, (uint32_t)i);
        references.starts[i + 1] = (uint32_t)references.count;
    }
    if (s == STATUS_OK) {
        s = graph_components(rules, references.starts, references.targets, component_of,
                             &components);
    }
    if (s == STATUS_OK) {
        s = weigh_rules(self, &references, component_of, components);
    }
    free(references.starts);
    free(references.targets);
    free(references.seen);
    free(component_of);
    return s == STATUS_OK ? weigh(self, root) : s;
}

/* ---- Automata ---- */

/* Inlining is the builder's "outlined" turned around: a reference to an inlined rule is built as
 * the rule's body. */
static status build_rule(struct compiler *self, size_t rule)
{
    struct nfa *nfa = &self->nfas[rule];
    *nfa = (struct nfa){.most_states = 4 * self->limits.states,
                        .work_left = &self->expressions->work_left};
    struct nfa_builder builder = {.expressions = self->expressions,
                                  .nfa = nfa,
                                  .outlined = self->outlined,
                                  .is_inlined = self->is_inlined};
    uint32_t end;
    status s = nfa_add_state(nfa, true, &end);
    if (s == STATUS_OK) {
        s = builder_add_body(&builder, self->bodies[rule], end, &self->starts[rule]);
    }
    builder_destroy(&builder);
    return s;
}

/* Whether the empty text is one of a rule's, with what is known of the others. */
static status can_be_empty(const struct compiler *self, const struct nfa *nfa, uint32_t start,
                           uint32_t *stack, uint8_t *seen, bool *out)
{
    size_t count = 0;
    memset(seen, 0, nfa->state_count);
    *out = false;
    stack[count++] = start;
    seen[start] = true;
    TRY(automaton_work(nfa->work_left, 1 + nfa->state_count / 16));
    while (count > 0 && !*out) {
        const struct nfa_state *state = &nfa->states[stack[--count]];
        *out = state->accepting;
        for (int kind = 0; kind < 2; kind++) {
            uint32_t e = kind == 0 ? state->empties : state->calls;
            for (; e != NFA_NONE; e = nfa->edges[e].next) {
                const uint32_t target = nfa->edges[e].target;
                if ((kind == 0 || self->nullable[nfa->rules[e]]) && !seen[target]) {
                    seen[target] = true;
                    stack[count++] = target;
                }
            }
        }
    }
    return STATUS_OK;
}

static status find_nullable(struct compiler *self)
{
    size_t most = 0;
    for (size_t i = 0; i < self->rule_count; i++) {
        most = self->nfas[i].state_count > most ? self->nfas[i].state_count : most;
    }
    uint32_t *stack = malloc((most + 1) * sizeof *stack);
    uint8_t *seen = malloc(most + 1);
    status s = stack != NULL && seen != NULL ? STATUS_OK : no_memory();
    for (bool changed = true; changed && s == STATUS_OK;) {
        changed = false;
        for (size_t i = 0; i < self->rule_count && s == STATUS_OK; i++) {
            if (self->nfas[i].state_count > 0 && !self->nullable[i]) {
                s = can_be_empty(self, &self->nfas[i], self->starts[i], stack, seen,
                                 &self->nullable[i]);
                changed = changed || self->nullable[i];
            }
        }
    }
    free(stack);
    free(seen);
    return s;
}

/* Calls of rules that may be empty get a way around them. */
static status add_ways_around(const struct compiler *self, struct nfa *nfa)
{
    const size_t states = nfa->state_count;
    for (uint32_t i = 0; i < states; i++) {
        for (uint32_t e = nfa->states[i].calls; e != NFA_NONE; e = nfa->edges[e].next) {
            if (self->nullable[nfa->rules[e]]) {
                TRY(nfa_add_empty(nfa, i, nfa->edges[e].target));
            }
        }
    }
    return STATUS_OK;
}

/* The same automaton without the empty text: behind a first state of its own that does not accept.
 */
static status without_empty(struct automaton **self, struct nfa *nfa)
{
    uint32_t base, start;
    TRY(nfa_add_automaton(nfa, *self, &base));
    TRY(nfa_add_state(nfa, false, &start));
    for (uint32_t i = 0; i < (*self)->state_count; i++) {
        nfa->states[base + i].accepting = (*self)->accepting[i];
    }
    nfa->states[start] = nfa->states[base]; /* lists of edges may be shared */
    nfa->states[start].accepting = false;
    automaton_destroy(*self);
    *self = NULL;
    return nfa_determinize(nfa, start, self);
}

static status make_automaton(struct compiler *self, size_t rule)
{
    struct nfa *nfa = &self->nfas[rule];
    struct automaton **automaton = &self->automata[rule];
    if (*automaton != NULL) {
        return STATUS_OK;
    }
    if (nfa->state_count == 0) { /* an inlined rule, which nobody calls */
        *nfa = (struct nfa){.most_states = 1, .work_left = &self->expressions->work_left};
        TRY(nfa_add_state(nfa, false, &self->starts[rule]));
    }
    TRY(add_ways_around(self, nfa));
    TRY(nfa_determinize(nfa, self->starts[rule], automaton));
    uint64_t *work_left = nfa->work_left;
    nfa_destroy(nfa);
    if (!(*automaton)->accepting[0]) {
        return STATUS_OK;
    }
    struct nfa again = {.most_states = 4 * self->limits.states, .work_left = work_left};
    status s = without_empty(automaton, &again);
    nfa_destroy(&again);
    return s;
}

static status make_automata(struct compiler *self)
{
    const size_t declared = self->expressions->rule_count;
    for (size_t i = 0; i < self->rule_count; i++) {
        if (i >= declared || !self->is_inlined[i]) {
            TRY(make_directly(self, self->bodies[i], &self->automata[i]));
            TRY(self->automata[i] == NULL ? build_rule(self, i) : STATUS_OK);
        }
    }
    TRY(find_nullable(self));
    size_t states = 0;
    for (size_t i = 0; i < self->rule_count; i++) {
        TRY(make_automaton(self, i));
        states += self->automata[i]->state_count;
        if (states > self->limits.states) {
            return status_fail(STATUS_LIMIT, "a grammar of more than %zu states",
                               self->limits.states);
        }
    }
    return left_recursion_remove(self->automata, self->rule_count, 4 * self->limits.states,
                                 &self->expressions->work_left);
}

/* ---- All of it ---- */

static status prepare(struct compiler *self, grammar_node root)
{
    const size_t nodes = self->expressions->node_count, rules = self->expressions->rule_count;
    self->outlined = malloc((nodes + 1) * sizeof *self->outlined);
    self->uses = calloc(nodes + 1, sizeof *self->uses);
    self->weight = calloc(nodes + 1, sizeof *self->weight);
    self->depth = calloc(nodes + 1, sizeof *self->depth);
    self->is_closed = calloc(nodes + 1, sizeof *self->is_closed);
    self->rule_uses = calloc(rules + 1, sizeof *self->rule_uses);
    self->is_inlined = calloc(rules + 1, sizeof *self->is_inlined);
    self->bodies = malloc((rules + 1) * sizeof *self->bodies);
    if (self->outlined == NULL || self->uses == NULL || self->weight == NULL ||
        self->depth == NULL || self->is_closed == NULL || self->rule_uses == NULL ||
        self->is_inlined == NULL || self->bodies == NULL) {
        return no_memory();
    }
    memset(self->outlined, 0xFF, (nodes + 1) * sizeof *self->outlined);
    self->body_capacity = rules + 1;
    self->rule_count = rules;
    for (size_t i = 0; i < rules; i++) {
        self->bodies[i] = self->expressions->rules[i].node;
    }
    TRY(count_uses(self, root));
    TRY(choose_rules(self, root));
    void *bodies = self->bodies;
    status s =
        array_grow(&bodies, &self->body_capacity, self->rule_count + 1, sizeof *self->bodies);
    self->bodies = bodies;
    TRY(s);
    self->bodies[self->rule_count++] = root;
    self->nfas = calloc(self->rule_count, sizeof *self->nfas);
    self->starts = calloc(self->rule_count, sizeof *self->starts);
    self->nullable = calloc(self->rule_count, sizeof *self->nullable);
    self->automata = calloc(self->rule_count, sizeof(struct automaton *));
    return self->nfas != NULL && self->starts != NULL && self->nullable != NULL &&
                   self->automata != NULL
               ? STATUS_OK
               : no_memory();
}

static status compile(struct compiler *self, grammar_node root, struct grammar **out)
{
    TRY(prepare(self, root));
    TRY(make_automata(self));
    const size_t last = self->rule_count - 1;
    TRY(tables_create(self->automata, self->rule_count, last, &self->limits,
                      &self->expressions->work_left, out));
    (*out)->is_nullable = self->nullable[last];
    if ((*out)->distance[(*out)->root] == TABLES_NEVER && !self->nullable[last]) {
        grammar_destroy(*out);
        *out = NULL;
        return status_fail(STATUS_INVALID, "no text matches");
    }
    return STATUS_OK;
}

static void compiler_destroy(struct compiler *self)
{
    for (size_t i = 0; self->nfas != NULL && i < self->rule_count; i++) {
        nfa_destroy(&self->nfas[i]);
    }
    for (size_t i = 0; self->automata != NULL && i < self->rule_count; i++) {
        automaton_destroy(self->automata[i]);
    }
    free(self->outlined);
    free(self->uses);
    free(self->weight);
    free(self->depth);
    free(self->is_closed);
    free(self->rule_uses);
    free(self->is_inlined);
    free(self->bodies);
    free(self->nfas);
    free(self->starts);
    free(self->nullable);
    free(self->automata);
}

status grammar_compile(struct grammar_expressions *expressions, grammar_node root,
                       const struct grammar_limits *limits, struct grammar **out)
{
    struct compiler compiler = {
        .expressions = expressions, .root = root, .limits = grammar_limits_or_default(limits)};
    status s = compile(&compiler, root, out);
    compiler_destroy(&compiler);
    return s;
}
