/* SPDX-License-Identifier: Apache-2.0 */
/* Automata that are written down at once, minimal as they are: copies, and texts of many equal
 * parts, whose states need not be searched for. */
#include <stdlib.h>
#include <string.h>

#include "grammar/automaton/automaton.h"

static status no_memory(void)
{
    return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar");
}

/* With arrays for so many states and calls; they are not filled in. */
static status create(uint32_t states, uint32_t classes, size_t calls, struct automaton **out)
{
    struct automaton *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return no_memory();
    }
    self->class_count = classes;
    self->state_count = states;
    self->next = malloc(((size_t)states * classes + 1) * sizeof *self->next);
    self->accepting = calloc((size_t)states + 1, 1);
    self->call_start = calloc((size_t)states + 1, sizeof *self->call_start);
    self->calls = malloc((calls + 1) * sizeof *self->calls);
    if (self->next == NULL || self->accepting == NULL || self->call_start == NULL ||
        self->calls == NULL) {
        automaton_destroy(self);
        return no_memory();
    }
    *out = self;
    return STATUS_OK;
}

status automaton_copy(const struct automaton *self, struct automaton **out)
{
    const size_t states = self->state_count, calls = self->call_start[states];
    TRY(create(self->state_count, self->class_count, calls, out));
    memcpy((*out)->classes, self->classes, sizeof self->classes);
    memcpy((*out)->next, self->next, states * self->class_count * sizeof *self->next);
    memcpy((*out)->accepting, self->accepting, states);
    memcpy((*out)->call_start, self->call_start, (states + 1) * sizeof *self->call_start);
    if (calls > 0) {
        memcpy((*out)->calls, self->calls, calls * sizeof *self->calls);
    }
    return STATUS_OK;
}

/* ---- Chains ---- */

bool automaton_can_chain(const struct automaton *unit, uint8_t last)
{
    uint32_t ends = 0;
    for (uint32_t i = 0; i < unit->state_count; i++) {
        ends += unit->accepting[i] != 0;
        for (uint32_t class = 0; class < unit->class_count; class ++) {
            if (unit->next[(size_t)i * unit->class_count + class] == 0) {
                return false; /* its beginning would be told from a later one's end no more */
            }
        }
    }
    return ends == 1 && !unit->accepting[0] && automaton_is_closed(unit) &&
           unit->call_start[unit->state_count] == 0 &&
           automaton_step(unit, 0, last) == AUTOMATON_DEAD;
}

/* Classes of the unit's bytes, with the two at the ends set apart. */
static uint32_t chain_classes(const struct automaton *unit, uint8_t first, uint8_t last,
                              uint8_t classes[256])
{
    uint16_t made[256][2];
    uint32_t count = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint16_t end = (uint16_t)((byte == first) + 2 * (byte == last));
        uint32_t at = 0;
        while (at < count && (made[at][0] != unit->classes[byte] || made[at][1] != end)) {
            at++;
        }
        made[at][0] = unit->classes[byte];
        made[at][1] = end;
        count += at == count;
        classes[byte] = (uint8_t)at;
    }
    return count;
}

/* States of copy i of the unit but for its end, in their order, from 1 + i * width on; then the
 * place behind the last copy, and the end. */
static void fill_chain(struct automaton *self, const struct chain *chain, uint32_t end_of_unit)
{
    const struct automaton *unit = chain->unit;
    const uint32_t width = unit->state_count - 1, classes = self->class_count;
    const uint32_t behind = 1 + chain->most * width;
    uint8_t byte_of[256];
    for (int byte = 0; byte < 256; byte++) {
        byte_of[self->classes[byte]] = (uint8_t)byte;
    }
    memset(self->next, 0xFF, (size_t)self->state_count * classes * sizeof *self->next);
    self->next[self->classes[chain->first]] = 1;
    for (uint32_t copy = 0; copy < chain->most; copy++) {
        const uint32_t base = 1 + copy * width;
        for (uint32_t i = 0, at = base; i < unit->state_count; i++) {
            if (i == end_of_unit) {
                continue;
            }
            uint32_t *row = self->next + (size_t)at++ * classes;
            for (uint32_t class = 0; class < classes; class ++) {
                const uint32_t to = automaton_step(unit, i, byte_of[class]);
                row[class] = to == AUTOMATON_DEAD ? to
                             : to == end_of_unit  ? base + width
                                                  : base + to - (to > end_of_unit);
            }
        }
    }
    for (uint32_t copy = chain->least; copy <= chain->most; copy++) {
        const size_t row = (size_t)(1 + copy * width) * classes;
        self->next[row + self->classes[chain->last]] = behind + 1;
    }
    self->accepting[behind + 1] = true;
}

status automaton_chain(const struct chain *chain, size_t most_states, uint64_t *work_left,
                       struct automaton **out)
{
    const struct automaton *unit = chain->unit;
    const uint64_t states = (uint64_t)chain->most * (unit->state_count - 1) + 3;
    uint8_t classes[256];
    const uint32_t class_count = chain_classes(unit, chain->first, chain->last, classes);
    uint32_t end_of_unit = 0;
    if (states > most_states) {
        return status_fail(STATUS_LIMIT, "a grammar of more than %zu states", most_states);
    }
    TRY(automaton_work(work_left, states * class_count / 4));
    TRY(create((uint32_t)states, class_count, 0, out));
    memcpy((*out)->classes, classes, sizeof classes);
    while (!unit->accepting[end_of_unit]) {
        end_of_unit++;
    }
    fill_chain(*out, chain, end_of_unit);
    return STATUS_OK;
}
