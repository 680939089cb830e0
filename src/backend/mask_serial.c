/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of masks. */
#include <stdatomic.h>

#include "sluice/sampling.h"

uint64_t sampling_mask_serial(void)
{
    static _Atomic uint64_t last;
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}
