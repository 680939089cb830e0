/* SPDX-License-Identifier: Apache-2.0 */
/* How a state takes a character of plain text: all of them lead to the state of that number, or
 * none leads on, or neither. */
#include "grammar/masks/texts.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_NONE = UINT32_MAX - 2, TEXT_SOME, TEXT_UNKNOWN };

status mask_texts_create(struct mask_texts *self, const struct grammar *grammar)
{
    const size_t states = grammar->state_count;
    *self = (struct mask_texts){grammar, malloc((states + 1) * sizeof *self->ways)};
    if (self->ways == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a grammar's masks");
    }
    for (size_t i = 0; i < states; i++) {
        atomic_init(&self->ways[i], TEXT_UNKNOWN);
    }
    return STATUS_OK;
}

void mask_texts_destroy(struct mask_texts *self)
{
    free(self->ways);
}

/* Bytes of UTF-8 by what may follow: a lead byte, the range of the next one, how many come after
 * that. */
static const struct utf8_lead {
    uint8_t first, last, low, high, more;
} utf8_leads[] = {
    {0x20, 0x21, 0, 0, 0},       {0x23, 0x5B, 0, 0, 0},       {0x5D, 0x7E, 0, 0, 0},
    {0xC2, 0xDF, 0x80, 0xBF, 0}, {0xE0, 0xE0, 0xA0, 0xBF, 1}, {0xE1, 0xEC, 0x80, 0xBF, 1},
    {0xED, 0xED, 0x80, 0x9F, 1}, {0xEE, 0xEF, 0x80, 0xBF, 1}, {0xF0, 0xF0, 0x90, 0xBF, 2},
    {0xF1, 0xF3, 0x80, 0xBF, 2}, {0xF4, 0xF4, 0x80, 0x8F, 2},
};

/* What bytes low to high of a state have in common: a state that all lead to, TEXT_NONE or
 * TEXT_SOME. Within a character a state that is not plain has something in common with none. */
static uint32_t common_step(const struct grammar *grammar, uint32_t state, uint8_t low,
                            uint8_t high)
{
    const uint32_t *row = grammar->next + (size_t)state * grammar->class_count;
    const uint32_t to = row[grammar->classes[low]];
    for (unsigned byte = low; byte <= high; byte++) {
        if (row[grammar->classes[byte]] != to) {
            return TEXT_SOME;
        }
    }
    return to == AUTOMATON_DEAD ? TEXT_NONE : grammar->is_plain[to] ? to : TEXT_SOME;
}

/* The same of all characters with the given lead bytes. */
static uint32_t lead_step(const struct grammar *grammar, uint32_t state,
                          const struct utf8_lead *lead)
{
    uint32_t to = common_step(grammar, state, lead->first, lead->last);
    if (lead->low > 0 && to < TEXT_NONE) {
        to = common_step(grammar, to, lead->low, lead->high);
    }
    for (int i = 0; i < lead->more && to < TEXT_NONE; i++) {
        to = common_step(grammar, to, 0x80, 0xBF);
    }
    return to;
}

static uint32_t text_way(const struct mask_texts *self, uint32_t state)
{
    _Atomic uint32_t *way = &self->ways[state];
    const uint32_t known = atomic_load_explicit(way, memory_order_relaxed);
    if (known != TEXT_UNKNOWN) {
        return known;
    }
    uint32_t common = lead_step(self->grammar, state, &utf8_leads[0]);
    for (size_t i = 1; i < COUNT_OF(utf8_leads) && common != TEXT_SOME; i++) {
        if (lead_step(self->grammar, state, &utf8_leads[i]) != common) {
            common = TEXT_SOME;
        }
    }
    atomic_store_explicit(way, common, memory_order_relaxed);
    return common;
}

bool mask_texts_add(const struct mask_texts *self, const struct grammar_vocabulary *vocabulary,
                    uint32_t state, uint32_t *words)
{
    size_t length = 0;
    if (!self->grammar->is_plain[state]) {
        return false;
    }
    for (uint32_t way; length < TEXT_LENGTHS; length++) {
        way = text_way(self, state);
        if (way == TEXT_SOME) {
            return false;
        }
        if (way == TEXT_NONE) {
            break;
        }
        length = way == state ? TEXT_LENGTHS - 1 : length;
        state = way;
    }
    memcpy(words, vocabulary->texts[length], vocabulary->words * sizeof *words);
    return true;
}
