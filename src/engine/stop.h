/* SPDX-License-Identifier: Apache-2.0 */
/* Stop strings in text that grows piece by piece. */
#ifndef SLUICE_STOP_H
#define SLUICE_STOP_H

#include <stdbool.h>
#include <stddef.h>

/* Of text[0..length), the bytes from `fresh` on are new. Finds the stop string that is complete
 * first (of those that end together, the longest) among those that end in the new bytes; *cut is
 * where it begins, *end where it ends. What is found does not depend on how the text was cut into
 * pieces. Linear in the new bytes. */
bool stop_find(const char *text, size_t length, size_t fresh, const char *const *stops,
               int stop_count, size_t *cut, size_t *end);

#endif
