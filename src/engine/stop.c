/* SPDX-License-Identifier: Apache-2.0 */
/* Stop strings in text that grows piece by piece. */
#include "engine/stop.h"

#include <stdint.h>
#include <string.h>

bool stop_find(const char *text, size_t length, size_t fresh, const char *const *stops,
               int stop_count, size_t *cut, size_t *end)
{
    *end = SIZE_MAX;
    for (int i = 0; i < stop_count && length > fresh; i++) {
        size_t stop_length = strlen(stops[i]);
        size_t from = fresh >= stop_length ? fresh - stop_length + 1 : 0;
        const char *match = memmem(text + from, length - from, stops[i], stop_length);
        if (match == NULL) {
            continue;
        }
        size_t start = (size_t)(match - text);
        size_t stop_end = start + stop_length;
        if (stop_end < *end || (stop_end == *end && start < *cut)) {
            *end = stop_end;
            *cut = start;
        }
    }
    return *end != SIZE_MAX;
}
