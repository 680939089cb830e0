/* SPDX-License-Identifier: Apache-2.0 */
/* A communicator that times another one: every call is waited for. For profiles. */
#ifndef SLUICE_COMM_TIMED_H
#define SLUICE_COMM_TIMED_H

#include "sluice/comm.h"

/* Wraps `inner`, whose buffers are of `backend` (both borrowed); `seconds` of *out counts until the
 * device has done a call's work. Ends with (*out)->destroy, which leaves `inner` alone. */
status comm_timed_create(struct communicator *inner, struct backend *backend,
                         struct communicator **out) MUST_CHECK;

#endif
