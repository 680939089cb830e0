/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over the trie: from one plain state to another a step is one look at a table; through
 * others it is a step of a set of places. */
#include "grammar/masks/walk.h"

#include <stdlib.h>
#include <string.h>

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar's masks");
}

/* Where the bytes up to a depth lead: to one plain state, or to a range of places. */
struct mask_level {
    bool is_plain;
    uint32_t state, stack; /* plain */
    uint32_t start, count; /* else: of places; plain: where those of deeper levels begin, and 0 */
    uint32_t stacks;       /* how many there were; later ones belong to deeper levels */
};

void mask_walk_destroy(struct mask_walk *self)
{
    stacks_destroy(&self->stacks);
    free(self->places.items);
    free(self->levels);
}

static status walk_prepare(struct mask_walk *self, const struct grammar_vocabulary *vocabulary)
{
    if (self->levels != NULL) {
        return STATUS_OK;
    }
    TRY(stacks_create(&self->stacks));
    self->levels = calloc((size_t)vocabulary->depth + 1, sizeof *self->levels);
    return self->levels != NULL ? STATUS_OK : no_memory();
}

static void set_tokens(const struct grammar_vocabulary *vocabulary, const struct trie_node *node,
                       uint32_t *words)
{
    int32_t token = node->token;
    if (token != TOKEN_NONE) {
        words[token / 32] |= UINT32_C(1) << (token % 32);
    }
    while (node->is_shared && (token = vocabulary->same[token]) != TOKEN_NONE) {
        words[token / 32] |= UINT32_C(1) << (token % 32);
    }
}

struct walker {
    struct mask_walk *walk;
    const struct grammar *grammar;
    const struct grammar_vocabulary *vocabulary;
    struct mask_finding *finding;
};

static status suspend_at(struct walker *self, uint32_t node)
{
    struct mask_finding *finding = self->finding;
    const uint32_t count = finding->suspended_count;
    if (count > 0 && finding->suspended[count - 1] == node) {
        return STATUS_OK;
    }
    void *items = finding->suspended;
    status s = array_grow(&items, &finding->suspended_capacity, (size_t)count + 1,
                          sizeof *finding->suspended);
    finding->suspended = items;
    if (s == STATUS_OK) {
        finding->suspended[finding->suspended_count++] = node;
    }
    return s;
}

/* A plain level as a range of places. */
static status spread_level(struct mask_walk *walk, struct mask_level *level)
{
    if (!level->is_plain) {
        return STATUS_OK;
    }
    struct places *places = &walk->places;
    void *items = places->items;
    status s = array_grow(&items, &places->capacity, places->count + 1, sizeof *places->items);
    places->items = items;
    TRY(s);
    level->start = (uint32_t)places->count;
    level->count = 1;
    places->items[places->count++] = (struct grammar_place){level->state, level->stack};
    return STATUS_OK;
}

/* A level of one place that is plain is remembered as such. */
static void settle_level(const struct walker *self, struct mask_level *level)
{
    const struct grammar_place place = self->walk->places.items[level->start];
    level->is_plain = level->count == 1 && self->grammar->is_plain[place.state];
    level->state = place.state;
    level->stack = place.stack;
}

/* The step to a node that is not from one plain state to another. *alive: its subtree is to be
 * gone through. */
static status step_wide(struct walker *self, uint32_t at, bool *alive)
{
    struct mask_walk *walk = self->walk;
    const struct trie_node *node = &self->vocabulary->nodes[at];
    struct mask_level *above = &walk->levels[node->depth - 1];
    struct mask_level *level = &walk->levels[node->depth];
    walk->places.count = above->start + above->count;
    const size_t kept = walk->places.count;
    struct mask_level from = *above;
    TRY(spread_level(walk, &from));
    stacks_cut(&walk->stacks, above->stacks);
    const size_t start = walk->places.count;
    struct step_outcome outcome;
    TRY(places_step(&walk->places, from.start, from.count, &walk->stacks, self->grammar,
                    self->grammar->classes[node->byte], &outcome));
    const size_t count = walk->places.count - start;
    memmove(walk->places.items + kept, walk->places.items + start,
            count * sizeof *walk->places.items);
    walk->places.count = kept + count;
    if (count > 0 || outcome.at_end || outcome.at_unknown) {
        set_tokens(self->vocabulary, node, self->finding->words);
    }
    if (outcome.at_unknown) {
        TRY(suspend_at(self, at));
    }
    *alive = count > 0;
    if (*alive) {
        *level = (struct mask_level){
            .start = (uint32_t)kept, .count = (uint32_t)count, .stacks = walk->stacks.count};
        settle_level(self, level);
        if (level->is_plain) {
            walk->places.count = kept;
            level->start = (uint32_t)kept;
            level->count = 0;
        }
    }
    return STATUS_OK;
}

/* Goes through the nodes below `root`, whose level is set. */
static status walk_below(struct walker *self, uint32_t root)
{
    const struct grammar *grammar = self->grammar;
    const struct trie_node *nodes = self->vocabulary->nodes;
    struct mask_level *levels = self->walk->levels;
    const uint32_t past = nodes[root].past;
    uint32_t *words = self->finding->words;
    for (uint32_t at = root + 1; at < past;) {
        const struct trie_node *node = &nodes[at];
        const struct mask_level *above = &levels[node->depth - 1];
        if (above->is_plain) {
            const uint32_t to = grammar->next[(size_t)above->state * grammar->class_count +
                                              grammar->classes[node->byte]];
            if (to == AUTOMATON_DEAD) {
                at = node->past;
                continue;
            }
            if (grammar->is_plain[to]) {
                struct mask_level *level = &levels[node->depth];
                *level = *above;
                level->state = to;
                set_tokens(self->vocabulary, node, words);
                at++;
                continue;
            }
        }
        bool alive;
        TRY(step_wide(self, at, &alive));
        at = alive ? at + 1 : node->past;
    }
    return STATUS_OK;
}

static status walk_from(struct walker *self, uint32_t root, uint32_t state)
{
    struct mask_walk *walk = self->walk;
    struct step_outcome outcome = {0};
    stacks_cut(&walk->stacks, STACK_FIRST);
    walk->places.count = 0;
    TRY(places_add(&walk->places, 0, &walk->stacks, self->grammar,
                   (struct grammar_place){state, STACK_UNKNOWN}, &outcome));
    if (outcome.at_unknown && self->vocabulary->nodes[root].depth > 0) {
        /* at 0 nothing is read yet: that is a place of its own */
        TRY(suspend_at(self, root));
    }
    if (walk->places.count == 0) {
        return STATUS_OK;
    }
    struct mask_level *level = &walk->levels[self->vocabulary->nodes[root].depth];
    *level = (struct mask_level){.count = (uint32_t)walk->places.count, .stacks = STACK_FIRST};
    settle_level(self, level);
    if (level->is_plain) {
        walk->places.count = 0;
        level->count = 0;
    }
    return walk_below(self, root);
}

status mask_walk_from(struct mask_walk *self, const struct grammar *grammar,
                      const struct grammar_vocabulary *vocabulary, uint32_t root, uint32_t state,
                      struct mask_finding *finding)
{
    struct walker walker = {
        .walk = self, .grammar = grammar, .vocabulary = vocabulary, .finding = finding};
    TRY(walk_prepare(self, vocabulary));
    return walk_from(&walker, root, state);
}
