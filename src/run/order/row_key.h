/* SPDX-License-Identifier: Apache-2.0 */
/* What rank 0 can tell of a record without parsing it: whose prompt begins like it, and about how
 * long it will run. Both only say in which order rows are handed out: a wrong guess costs time and
 * changes no answer. */
#ifndef SLUICE_RUN_ROW_KEY_H
#define SLUICE_RUN_ROW_KEY_H

#include "sluice/data.h"

/* Beginnings are told apart at 128, 512, 2048 and 8192 bytes. */
enum { ROW_KEY_LEVELS = 4 };

struct row_key {
    uint64_t
        prefix[ROW_KEY_LEVELS]; /* hash of so many bytes from the prompt on; 0: it is shorter */
    double cost;                /* tokens, about: prompt, and answer as far as may be */
};

/* `prompt_field`: the job's, or NULL; `max_new_tokens`: where the row names none. */
void row_key_find(const struct record *record, const char *prompt_field, int max_new_tokens,
                  struct row_key *out);

#endif
