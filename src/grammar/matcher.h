/* SPDX-License-Identifier: Apache-2.0 */
/* A matcher's inside, between its steps (matcher.c) and its masks (masks.c). */
#ifndef SLUICE_GRAMMAR_MATCHER_H
#define SLUICE_GRAMMAR_MATCHER_H

#include "grammar/masks/walk.h"
#include "grammar/stacks.h"
#include "grammar/vocabulary.h"

struct grammar_matcher {
    struct grammar_masks *masks;
    const struct grammar *grammar;
    const struct grammar_vocabulary *vocabulary;
    struct stacks stacks;
    struct places places;
    bool at_end;
    uint32_t collect_at; /* so many stacks: time to look for those that nothing leads to */
    uint32_t *words;     /* a mask of its own, where none that is kept will do */
    struct mask_walk walk;
    struct mask_entry *unkept; /* masks for which no room was left */
};

const struct grammar *masks_grammar(const struct grammar_masks *self);
void masks_forget_unkept(struct grammar_matcher *self);

#endif
