/* SPDX-License-Identifier: Apache-2.0 */
/* A question that long loops ask. */
#include <pthread.h>

#include "sluice/base.h"

static bool (*interrupt_requested)(void);
static pthread_t interrupt_thread; /* which may ask: the question may be one for MPI */

void interrupt_configure(bool (*requested)(void))
{
    interrupt_thread = pthread_self();
    interrupt_requested = requested;
}

status interrupt_check(void)
{
    return interrupt_requested != NULL && pthread_equal(interrupt_thread, pthread_self()) &&
                   interrupt_requested()
               ? status_fail(STATUS_STOPPED, "stopped")
               : STATUS_OK;
}
