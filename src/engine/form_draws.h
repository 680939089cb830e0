/* SPDX-License-Identifier: Apache-2.0 */
/* How often what is drawn under a grammar is followed by tokens that are not drawn, and whether a
 * step is then better planned ahead. */
#ifndef SLUICE_FORM_DRAWS_H
#define SLUICE_FORM_DRAWS_H

#include "sluice/base.h"

/* Of the tokens drawn last, those that others followed. Zero-initialise. */
struct form_draws {
    int64_t all, followed;
};

void form_draws_note(struct form_draws *self, bool is_followed);

/* Whether planning ahead saves more than it costs where a step has so many sequences, `forms` of
 * them with a grammar. True where none has one. */
bool form_draws_pay(const struct form_draws *self, int sequences, int forms);

#endif
