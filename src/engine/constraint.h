/* SPDX-License-Identifier: Apache-2.0 */
/* What a row's grammar does to one sample: which tokens may be drawn, which follow without being
 * drawn, and how the answer is closed in time.
 *
 * Everything here is a function of the row and of the sample's tokens so far, so that it does not
 * matter when it is asked, and in what company. */
#ifndef SLUICE_CONSTRAINT_H
#define SLUICE_CONSTRAINT_H

#include <pthread.h>

#include "grammar/grammar.h"
#include "sluice/engine.h"

/* What all samples of an engine share, whichever thread is at them. */
enum { CONSTRAINT_SCRATCHES = 8 };
struct constraint_tools {
    const struct tokenizer *tokenizer; /* borrowed; NULL: forced bytes are spelt in fewest tokens */
    pthread_mutex_t lock;              /* over those that nobody uses: */
    struct tokenizer_scratch *scratches[CONSTRAINT_SCRATCHES];
    int scratch_count;
};
void constraint_tools_create(struct constraint_tools *self, const struct tokenizer *tokenizer);
void constraint_tools_destroy(struct constraint_tools *self);

struct constraint {
    struct grammar_matcher *matcher;
    bool is_active;          /* the grammar counts from here on: what comes before it has ended */
    const uint32_t *allowed; /* the row's own mask, borrowed; NULL: all tokens */
    uint32_t *words;         /* the grammar's and the row's together */
    /* Of the request that comes next: */
    bool has_mask;        /* the mask is there: nothing has been taken since */
    const uint32_t *mask; /* NULL: anything may be drawn */
    uint64_t mask_serial; /* as sample_request has it */
    status failure;
    bool is_stuck; /* no token fits */
};

/* STATUS_INVALID where max_new_tokens are fewer than the shortest answer takes, or the vocabulary
 * cannot spell it. */
status constraint_check(const struct generate_params *params) MUST_CHECK;

/* `allowed`: the row's own mask, which outlives it. */
status constraint_create(const struct generate_params *params, const uint32_t *allowed,
                         struct constraint **out) MUST_CHECK;
void constraint_destroy(struct constraint *self);

/* Goes on by the last of output[0 .. count). *ok false: it does not fit. */
status constraint_take(struct constraint *self, const struct generate_params *params,
                       const int32_t *output, int count, bool *ok) MUST_CHECK;
/* Goes back to where it was after output[0 .. count), which it has taken. */
status constraint_rewind(struct constraint *self, const struct generate_params *params,
                         const int32_t *output, int count) MUST_CHECK;

/* Whether an answer can still end well with `left` further tokens. */
status constraint_can_close(struct constraint *self, int left, bool *can) MUST_CHECK;
/* The tokens that end it soonest, appended. */
status constraint_close(struct constraint *self, struct token_list *out) MUST_CHECK;

/* The tokens that follow without being drawn, appended: of the bytes that are the only way on as
 * the tokenizer cuts them, up to the last token whose end no continuation can change. None where
 * fewer than `left` would then be too few to close the answer and `closes`. */
status constraint_forced(struct constraint *self, struct constraint_tools *tools, int left,
                         bool closes, struct token_list *out) MUST_CHECK;

/* The text is complete and nothing can follow. */
bool constraint_must_end(const struct constraint *self);
/* The text may end. */
bool constraint_may_end(const struct constraint *self);

/* Computes the mask of the request that comes next. Others of the same engine may be computed at
 * the same time by other threads. */
void constraint_mask(struct constraint *self);
/* The same where it is known already and costs next to nothing: has_mask says whether it was. */
void constraint_look_up_mask(struct constraint *self);
/* Gives the mask to the request. */
static inline void constraint_set_mask(const struct constraint *self,
                                       struct sample_request *request)
{
    request->allowed = self->mask;
    request->allowed_serial = self->mask_serial;
}

#endif
