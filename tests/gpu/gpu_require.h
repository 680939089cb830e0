/* SPDX-License-Identifier: Apache-2.0 */
/* Ends a test program as skipped where there is no GPU. */
#ifndef SLUICE_GPU_REQUIRE_H
#define SLUICE_GPU_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

#include "sluice/backend.h"

enum { GPU_SKIPPED = 77 };

static inline void gpu_require(void)
{
    if (backend_device_count("cuda") == 0) {
        printf("no GPU: skipped\n");
        exit(GPU_SKIPPED);
    }
}

#endif
