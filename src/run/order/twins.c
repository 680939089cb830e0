/* SPDX-License-Identifier: Apache-2.0 */
/* A table of rows by hash, compared whole. */
#include "run/order/twins.h"

#include <string.h>

#include "sluice/json.h"
#include "sluice/task.h"

bool twin_is_plain(const struct row *row)
{
    return task_facts(row->params.task)->work == WORK_SAMPLE && row->tools == NULL &&
           !row->may_call_tools && row->params.structured.kind == STRUCTURED_NONE &&
           row->params.grammar == NULL;
}

void twin_set(struct twin *self, const struct row *row, const int32_t *tokens, size_t count)
{
    *self = (struct twin){.hash = hash_bytes(tokens, count * sizeof *tokens, 3),
                          .tokens = tokens,
                          .count = count,
                          .row = row};
}

/* Parameters with what does not matter to a greedy answer left out. Padding may differ between
 * equal ones, which are then not taken for equal. */
static void take_params(const struct generate_params *from, struct generate_params *out)
{
    memcpy(out, from, sizeof *out);
    if (from->sampling.temperature == 0) {
        out->sampling.stream = 0;
    }
}

static bool wants_token_ids(const struct row *row)
{
    return row->return_token_ids != NULL && row->return_token_ids->boolean;
}

static bool are_equal(const struct twin *a, const struct twin *b)
{
    if (a->hash != b->hash || a->count != b->count || a->row->endpoint != b->row->endpoint ||
        wants_token_ids(a->row) != wants_token_ids(b->row) ||
        memcmp(a->tokens, b->tokens, a->count * sizeof *a->tokens) != 0) {
        return false;
    }
    struct generate_params first, second;
    take_params(&a->row->params, &first);
    take_params(&b->row->params, &second);
    return memcmp(&first, &second, sizeof first) == 0;
}

struct twin *twins_find(const struct twins *self, const struct twin *twin)
{
    struct twin *other = self->buckets[twin->hash % TWIN_BUCKETS];
    while (other != NULL && !are_equal(other, twin)) {
        other = other->next;
    }
    return other;
}

void twins_add(struct twins *self, struct twin *twin)
{
    struct twin **bucket = &self->buckets[twin->hash % TWIN_BUCKETS];
    twin->next = *bucket;
    *bucket = twin;
}

void twins_remove(struct twins *self, struct twin *twin)
{
    struct twin **link = &self->buckets[twin->hash % TWIN_BUCKETS];
    while (*link != NULL && *link != twin) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = twin->next;
    }
}
