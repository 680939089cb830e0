/* SPDX-License-Identifier: Apache-2.0 */
/* A question that long loops ask. */
#include "sluice/base.h"

static bool (*interrupt_requested)(void);

void interrupt_configure(bool (*requested)(void))
{
    interrupt_requested = requested;
}

status interrupt_check(void)
{
    return interrupt_requested != NULL && interrupt_requested()
               ? status_fail(STATUS_STOPPED, "stopped")
               : STATUS_OK;
}
