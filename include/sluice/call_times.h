/* SPDX-License-Identifier: Apache-2.0 */
/* The time that the calls of a communicator take: every call is waited for. For profiles. */
#ifndef SLUICE_CALL_TIMES_H
#define SLUICE_CALL_TIMES_H

#include "sluice/comm.h"

/* Wraps `inner`, whose buffers are of `backend` (both borrowed); `seconds` of *out counts until the
 * device has done a call's work. Ends with (*out)->destroy, which leaves `inner` alone. */
status call_times_create(struct communicator *inner, struct backend *backend,
                         struct communicator **out) MUST_CHECK;

#endif
