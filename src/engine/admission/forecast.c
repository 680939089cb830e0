/* SPDX-License-Identifier: Apache-2.0 */
/* Sums over sequences by differences between spans: a round costs a few additions a sequence, and
 * one a block that may be shared. */
#include "engine/admission/forecast.h"

#include <stdlib.h>
#include <string.h>

status forecast_create(int blocks, int block_tokens, struct forecast *out)
{
    *out = (struct forecast){.block_tokens = block_tokens, .blocks = blocks, .span = block_tokens};
    out->seen = calloc((size_t)blocks, sizeof *out->seen);
    out->needed_until = calloc((size_t)blocks, sizeof *out->needed_until);
    return out->seen != NULL && out->needed_until != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for a forecast of %d blocks", blocks);
}

void forecast_destroy(struct forecast *self)
{
    free(self->seen);
    free(self->needed_until);
}

void forecast_begin(struct forecast *self, int most_steps)
{
    const int block = self->block_tokens;
    int span = (most_steps + FORECAST_SPANS - 1) / FORECAST_SPANS;
    self->span = (span + block - 1) / block * block;
    memset(self->base, 0, sizeof self->base);
    memset(self->growing, 0, sizeof self->growing);
    memset(self->ending, 0, sizeof self->ending);
    if (++self->round == 0) { /* what the numbers before meant is long gone */
        memset(self->seen, 0, (size_t)self->blocks * sizeof *self->seen);
        self->round = 1;
    }
}

int forecast_last_span(const struct forecast *self, const struct forecast_need *need)
{
    int last = (need->steps - 1) / self->span;
    return last < FORECAST_SPANS ? last : FORECAST_SPANS - 1;
}

static int64_t blocks_of(const struct forecast *self, int tokens)
{
    return (tokens + self->block_tokens - 1) / self->block_tokens;
}

/* Blocks at the last step of a span, where the sequence runs all through it. As a span is whole
 * blocks long, this grows by the same number from span to span. */
static int64_t blocks_in(const struct forecast *self, const struct forecast_need *need, int span)
{
    int tokens = need->tokens + (need->is_read ? 0 : (span + 1) * self->span - 1);
    return blocks_of(self, tokens);
}

static int64_t blocks_at_end(const struct forecast *self, const struct forecast_need *need)
{
    int64_t blocks = blocks_of(self, need->tokens + (need->is_read ? 0 : need->steps - 1));
    int64_t part = need->steps % self->span;
    return need->is_guess && part > 0 ? (blocks * part + self->span / 2) / self->span : blocks;
}

void forecast_add(struct forecast *self, const struct forecast_need *need, const int32_t *shared,
                  int shared_count)
{
    const int last = forecast_last_span(self, need);
    int64_t counted = 0; /* already, with one that needs them longer */
    for (int i = 0; i < shared_count; i++) {
        bool is_new = self->seen[shared[i]] != self->round;
        counted += !is_new;
        if (is_new) {
            self->seen[shared[i]] = self->round;
            self->needed_until[shared[i]] = (uint16_t)last;
        }
    }
    const int64_t first = blocks_in(self, need, 0) - counted;
    self->base[0] += first;
    self->base[last] -= first;
    self->growing[0] += !need->is_read;
    self->growing[last] -= !need->is_read;
    self->ending[last] += blocks_at_end(self, need) - counted;
}

void forecast_settle(struct forecast *self)
{
    int64_t base = 0, growing = 0;
    const int64_t step = self->span / self->block_tokens;
    for (int i = 0; i < FORECAST_SPANS; i++) {
        base += self->base[i];
        growing += self->growing[i];
        self->held[i] = base + growing * step * i + self->ending[i];
    }
}

/* What a further sequence adds in each span up to its last, which is returned. */
static int added(const struct forecast *self, const struct forecast_need *need,
                 const int32_t *shared, int shared_count, int64_t *out)
{
    const int last = forecast_last_span(self, need);
    int64_t own[FORECAST_SPANS + 1] = {0}; /* shared blocks that nobody else needs in a span */
    for (int i = 0; i < shared_count; i++) {
        bool is_held = self->seen[shared[i]] == self->round;
        int from = is_held ? self->needed_until[shared[i]] + 1 : 0;
        own[from < last + 1 ? from : last + 1]++;
    }
    int64_t needed = 0;
    for (int i = 0; i <= last; i++) {
        needed += own[i];
        int64_t all = i < last ? blocks_in(self, need, i) : blocks_at_end(self, need);
        out[i] = all - shared_count + needed;
    }
    return last;
}

bool forecast_fits(const struct forecast *self, const struct forecast_need *need,
                   const int32_t *shared, int shared_count, int64_t limit)
{
    int64_t more[FORECAST_SPANS];
    const int last = added(self, need, shared, shared_count, more);
    for (int i = 0; i <= last; i++) {
        if (self->held[i] + more[i] > limit) {
            return false;
        }
    }
    return true;
}

void forecast_include(struct forecast *self, const struct forecast_need *need,
                      const int32_t *shared, int shared_count)
{
    int64_t more[FORECAST_SPANS];
    const int last = added(self, need, shared, shared_count, more);
    for (int i = 0; i <= last; i++) {
        self->held[i] += more[i];
    }
    for (int i = 0; i < shared_count; i++) {
        bool is_held = self->seen[shared[i]] == self->round;
        if (!is_held || self->needed_until[shared[i]] < last) {
            self->seen[shared[i]] = self->round;
            self->needed_until[shared[i]] = (uint16_t)last;
        }
    }
}
