/* SPDX-License-Identifier: Apache-2.0 */
/* Lengths of made-up prompts and answers. */
#ifndef SLUICE_MEASURE_DRAWN_LENGTH_H
#define SLUICE_MEASURE_DRAWN_LENGTH_H

#include <stdint.h>

/* A number of a log-normal distribution with this mean before it is cut, and a deviation of its
 * logarithm of 1, about as chats are: 1 to `most`. The same row and `which` (even; 0: prompts, 2:
 * answers) have the same. */
int drawn_length(int64_t row, int which, int mean, int most);

#endif
