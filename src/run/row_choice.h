/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows of a data set a start is about. */
#ifndef SLUICE_RUN_ROW_CHOICE_H
#define SLUICE_RUN_ROW_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows by number. All zero: every row; so is none at all, NULL. */
struct row_choice {
    int64_t from;  /* no row before this one */
    uint8_t *bits; /* NULL: all others; else a bit for each of `rows`, and no row after them */
    int64_t rows;
    int64_t count; /* that are chosen; -1: not known */
};

static inline bool row_choice_has(const struct row_choice *choice, int64_t row)
{
    if (choice == NULL || row < choice->from) {
        return choice == NULL;
    }
    return choice->bits == NULL ||
           (row < choice->rows && (choice->bits[row / 8] >> (row % 8) & 1) != 0);
}

#endif
