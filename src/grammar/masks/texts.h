/* SPDX-License-Identifier: Apache-2.0 */
/* Where a grammar takes plain text, whatever it says: those tokens need no walk. */
#ifndef SLUICE_GRAMMAR_TEXTS_H
#define SLUICE_GRAMMAR_TEXTS_H

#include <stdatomic.h>

#include "grammar/tables.h"
#include "grammar/vocabulary.h"

struct mask_texts {
    const struct grammar *grammar;
    _Atomic uint32_t *ways; /* [states] see texts.c; two threads may find the same one */
};
status mask_texts_create(struct mask_texts *self, const struct grammar *grammar) MUST_CHECK;
void mask_texts_destroy(struct mask_texts *self);

/* Adds the tokens of plain text where a state takes any text of up to so many characters; false
 * where it is not so simple. */
bool mask_texts_add(const struct mask_texts *self, const struct grammar_vocabulary *vocabulary,
                    uint32_t state, uint32_t *words);

#endif
