/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a result: refused, or decoded into what encodes to the same bytes again, but for the
 * form, which is the newest. */
#include <stdlib.h>
#include <string.h>

#include "sluice/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct arena arena = {0};
    struct buffer again = {0};
    struct result result;
    size_t used;
    if (result_decode(bytes, length, &arena, &result, &used) == STATUS_OK) {
        enum { AT_FORM = 4 };
        if (used > length || result_encode(&result, &again) != STATUS_OK || again.length != used ||
            memcmp(again.data, bytes, AT_FORM) != 0 ||
            memcmp(again.data + AT_FORM + 1, bytes + AT_FORM + 1, used - AT_FORM - 1) != 0) {
            abort();
        }
    }
    buffer_destroy(&again);
    arena_destroy(&arena);
    return 0;
}
