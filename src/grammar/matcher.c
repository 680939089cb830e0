/* SPDX-License-Identifier: Apache-2.0 */
/* Matchers: how a text goes on in a grammar, what it must go on with, and how it ends soonest. */
#include "grammar/matcher.h"

#include <stdlib.h>
#include <string.h>

enum { STACKS_KEPT = 4096 }; /* from so many on those that nothing leads to are looked for */

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a matcher");
}

/* ---- Life ---- */

static status begin(struct grammar_matcher *self)
{
    const struct grammar *grammar = self->grammar;
    struct step_outcome outcome = {0};
    self->places.count = 0;
    self->at_end = grammar->is_nullable;
    stacks_cut(&self->stacks, STACK_FIRST);
    return grammar->distance[grammar->root] == TABLES_NEVER
               ? STATUS_OK
               : places_add(&self->places, 0, &self->stacks, grammar,
                            (struct grammar_place){grammar->root, STACK_BOTTOM}, &outcome);
}

static status create(struct grammar_masks *masks, struct grammar_matcher **out)
{
    struct grammar_matcher *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    *self = (struct grammar_matcher){.masks = masks,
                                     .grammar = masks_grammar(masks),
                                     .vocabulary = grammar_masks_vocabulary(masks),
                                     .collect_at = STACKS_KEPT};
    status s = stacks_create(&self->stacks);
    if (s != STATUS_OK) {
        grammar_matcher_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

status grammar_matcher_create(struct grammar_masks *masks, struct grammar_matcher **out)
{
    TRY(create(masks, out));
    status s = begin(*out);
    if (s != STATUS_OK) {
        grammar_matcher_destroy(*out);
    }
    return s;
}

void grammar_matcher_destroy(struct grammar_matcher *self)
{
    if (self != NULL) {
        stacks_destroy(&self->stacks);
        free(self->places.items);
        free(self->words);
        mask_walk_destroy(&self->walk);
        masks_forget_unkept(self);
        free(self);
    }
}

struct grammar_masks *grammar_matcher_masks(const struct grammar_matcher *self)
{
    return self->masks;
}

status grammar_matcher_reset(struct grammar_matcher *self)
{
    return begin(self);
}

/* Copies the places with the stacks that they stand on into an empty matcher. */
static status copy_places(const struct grammar_matcher *self, struct grammar_matcher *to)
{
    uint32_t *number = calloc((size_t)self->stacks.count + 1, sizeof *number);
    if (number == NULL) {
        return no_memory();
    }
    for (size_t i = 0; i < self->places.count; i++) { /* 1: it is needed, and so is what is below */
        uint32_t stack = self->places.items[i].stack;
        for (; stack >= STACK_FIRST && number[stack] == 0;
             stack = self->stacks.items[stack].parent) {
            number[stack] = 1;
        }
    }
    status s = STATUS_OK;
    for (uint32_t i = STACK_FIRST; i < self->stacks.count && s == STATUS_OK; i++) {
        const struct stack *stack = &self->stacks.items[i]; /* what is below has a lower number */
        const uint32_t parent = stack->parent < STACK_FIRST ? stack->parent : number[stack->parent];
        if (number[i] != 0) {
            s = stacks_push(&to->stacks, self->grammar, stack->back, parent, &number[i]);
        }
    }
    void *items = to->places.items;
    if (s == STATUS_OK) {
        s = array_grow(&items, &to->places.capacity, self->places.count + 1,
                       sizeof *to->places.items);
        to->places.items = items;
    }
    for (size_t i = 0; i < self->places.count && s == STATUS_OK; i++) {
        const struct grammar_place place = self->places.items[i];
        to->places.items[i] = (struct grammar_place){
            place.state, place.stack < STACK_FIRST ? place.stack : number[place.stack]};
    }
    to->places.count = self->places.count;
    to->at_end = self->at_end;
    free(number);
    return s;
}

status grammar_matcher_clone(const struct grammar_matcher *self, struct grammar_matcher **out)
{
    TRY(create(self->masks, out));
    status s = copy_places(self, *out);
    if (s != STATUS_OK) {
        grammar_matcher_destroy(*out);
    }
    return s;
}

/* ---- Steps ---- */

/* Goes on by a byte; false: it cannot, and nothing has changed but what the caller takes back. */
static status step(struct grammar_matcher *self, uint8_t byte, bool *ok)
{
    struct places *places = &self->places;
    const size_t before = places->count;
    struct step_outcome outcome;
    TRY(places_step(places, 0, before, &self->stacks, self->grammar, self->grammar->classes[byte],
                    &outcome));
    *ok = places->count > before || outcome.at_end;
    if (*ok) {
        places->count -= before;
        memmove(places->items, places->items + before, places->count * sizeof *places->items);
        self->at_end = outcome.at_end;
    }
    return STATUS_OK;
}

/* Where a matcher stood, to take steps back. */
struct standing {
    struct grammar_place *places;
    size_t count;
    uint32_t stacks;
    bool at_end;
};

static status keep_standing(const struct grammar_matcher *self, struct standing *out)
{
    const size_t bytes = self->places.count * sizeof *out->places;
    *out =
        (struct standing){malloc(bytes + 1), self->places.count, self->stacks.count, self->at_end};
    if (out->places == NULL) {
        return no_memory();
    }
    if (bytes > 0) {
        memcpy(out->places, self->places.items, bytes);
    }
    return STATUS_OK;
}

static void go_back(struct grammar_matcher *self, const struct standing *standing)
{
    if (standing->count > 0) { /* it had room for so many already */
        memcpy(self->places.items, standing->places, standing->count * sizeof *standing->places);
    }
    self->places.count = standing->count;
    self->at_end = standing->at_end;
    stacks_cut(&self->stacks, standing->stacks);
}

/* Leaves stacks behind that no place leads to. */
static status collect(struct grammar_matcher *self)
{
    struct grammar_matcher fresh = {.grammar = self->grammar};
    status s = stacks_create(&fresh.stacks);
    if (s == STATUS_OK) {
        s = copy_places(self, &fresh);
    }
    if (s == STATUS_OK) {
        struct stacks stacks = self->stacks;
        struct places places = self->places;
        self->stacks = fresh.stacks;
        self->places = fresh.places;
        fresh.stacks = stacks;
        fresh.places = places;
    }
    stacks_destroy(&fresh.stacks);
    free(fresh.places.items);
    return s;
}

static status accept_bytes(struct grammar_matcher *self, const char *bytes, size_t count, bool *ok)
{
    struct standing before;
    TRY(keep_standing(self, &before));
    status s = STATUS_OK;
    *ok = true;
    for (size_t i = 0; i < count && *ok && s == STATUS_OK; i++) {
        s = step(self, (uint8_t)bytes[i], ok);
    }
    if (s == STATUS_OK && !*ok) {
        go_back(self, &before);
    }
    free(before.places);
    return s;
}

status grammar_matcher_accept_bytes(struct grammar_matcher *self, const char *bytes, size_t count,
                                    bool *ok)
{
    TRY(accept_bytes(self, bytes, count, ok));
    if (self->stacks.count > self->collect_at) {
        TRY(collect(self));
        const uint32_t twice = 2 * self->stacks.count;
        self->collect_at = twice > STACKS_KEPT ? twice : STACKS_KEPT;
    }
    return STATUS_OK;
}

status grammar_matcher_accept(struct grammar_matcher *self, int32_t token, bool *ok)
{
    const struct grammar_vocabulary *vocabulary = self->vocabulary;
    *ok = false;
    if (token < 0 || (size_t)token >= vocabulary->token_count) {
        return STATUS_OK;
    }
    if (grammar_vocabulary_is_end(vocabulary, token)) {
        *ok = self->at_end;
        return STATUS_OK;
    }
    const uint32_t start = vocabulary->byte_start[token];
    const size_t length = vocabulary->byte_start[token + 1] - start;
    return length > 0 ? grammar_matcher_accept_bytes(self, vocabulary->bytes + start, length, ok)
                      : STATUS_OK;
}

bool grammar_matcher_may_end(const struct grammar_matcher *self)
{
    return self->at_end;
}

bool grammar_matcher_must_end(const struct grammar_matcher *self)
{
    return self->at_end && self->places.count == 0;
}

/* ---- What it must go on with ---- */

/* The one class by which all places go on, or TABLES_NONE or _MANY. */
static uint16_t only_class(const struct grammar_matcher *self)
{
    uint16_t only = TABLES_NONE;
    for (size_t i = 0; i < self->places.count; i++) {
        const uint16_t class = self->grammar->only_class[self->places.items[i].state];
        only = only == TABLES_NONE || only == class ? class : TABLES_MANY;
        if (only == TABLES_MANY) {
            break;
        }
    }
    return only;
}

static status go_on_forced(struct grammar_matcher *self, struct buffer *out)
{
    bool ok = true;
    for (int i = 0; i < GRAMMAR_FORCED_MOST && ok && !self->at_end; i++) {
        const uint16_t class = only_class(self);
        if (class >= TABLES_NONE) {
            break;
        }
        const uint8_t byte = self->grammar->only_byte[class];
        TRY(step(self, byte, &ok));
        if (ok) {
            TRY(buffer_append_byte(out, (char)byte));
        }
    }
    return STATUS_OK;
}

status grammar_matcher_forced(struct grammar_matcher *self, struct buffer *out, bool *to_end)
{
    *to_end = grammar_matcher_must_end(self);
    if (self->at_end || only_class(self) >= TABLES_NONE) {
        return STATUS_OK;
    }
    struct standing before;
    TRY(keep_standing(self, &before));
    status s = go_on_forced(self, out);
    *to_end = grammar_matcher_must_end(self);
    go_back(self, &before);
    free(before.places);
    return s;
}

/* ---- How it ends soonest ---- */

static struct grammar_place nearest(const struct grammar_matcher *self, uint64_t *distance)
{
    struct grammar_place best = {0};
    *distance = UINT64_MAX;
    for (size_t i = 0; i < self->places.count; i++) {
        const struct grammar_place place = self->places.items[i];
        const uint64_t own = place_distance(&self->stacks, self->grammar, place);
        if (own < *distance) {
            *distance = own;
            best = place;
        }
    }
    return best;
}

size_t grammar_matcher_shortest_length(const struct grammar_matcher *self)
{
    uint64_t distance = 0;
    if (!self->at_end) {
        (void)nearest(self, &distance);
    }
    return (size_t)distance;
}

/* A byte closer to its rule's end: the first in order that is on a shortest way. */
static bool step_closer(const struct grammar *grammar, uint32_t *state, uint8_t *byte)
{
    const uint32_t *row = grammar->next + (size_t)*state * grammar->class_count;
    for (int i = 0; i < 256; i++) {
        const uint32_t to = row[grammar->classes[i]];
        if (to != AUTOMATON_DEAD && grammar->distance[to] + 1 == grammar->distance[*state]) {
            *byte = (uint8_t)i;
            *state = to;
            return true;
        }
    }
    return false;
}

static const struct grammar_call *call_closer(const struct grammar *grammar, uint32_t state)
{
    for (uint32_t i = grammar->call_start[state]; i < grammar->call_start[state + 1]; i++) {
        const struct grammar_call *call = &grammar->calls[i];
        if ((uint64_t)grammar->distance[call->start] + grammar->distance[call->back] ==
            grammar->distance[state]) {
            return call;
        }
    }
    return NULL;
}

static status append_shortest(struct grammar_matcher *self, struct grammar_place place,
                              struct buffer *out)
{
    const struct grammar *grammar = self->grammar;
    for (;;) {
        uint8_t byte;
        if (grammar->distance[place.state] == 0) {
            if (place.stack < STACK_FIRST) {
                return STATUS_OK;
            }
            const struct stack below = self->stacks.items[place.stack];
            place = (struct grammar_place){below.back, below.parent};
        } else if (step_closer(grammar, &place.state, &byte)) {
            TRY(buffer_append_byte(out, (char)byte));
        } else {
            const struct grammar_call *call = call_closer(grammar, place.state);
            if (call == NULL) { /* distances have passed what a number holds */
                return status_fail(STATUS_LIMIT, "the shortest text is too long");
            }
            TRY(stacks_push(&self->stacks, grammar, call->back, place.stack, &place.stack));
            place.state = call->start;
        }
    }
}

status grammar_matcher_shortest(struct grammar_matcher *self, struct buffer *out)
{
    uint64_t distance;
    if (self->at_end) {
        return STATUS_OK;
    }
    const struct grammar_place place = nearest(self, &distance);
    const uint32_t stacks = self->stacks.count;
    status s = append_shortest(self, place, out);
    stacks_cut(&self->stacks, stacks);
    return s;
}
