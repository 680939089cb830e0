/* SPDX-License-Identifier: Apache-2.0 */
/* Signs of life between the hosts of a job, so that one that vanishes ends it.
 *
 * MPI waits for ever for a host that does not answer. Every rank of a job on several hosts
 * therefore has a small thread with a socket of its own that sends a beat a second to the other
 * hosts, whatever the rank computes, reads or waits for. A host is alive as long as one of its
 * ranks is heard. */
#ifndef SLUICE_RUN_HEARTBEAT_H
#define SLUICE_RUN_HEARTBEAT_H

#include "sluice/base.h"

/* Starts it, with the limits of a job that says nothing; does nothing where all ranks have one
 * host. What the system refuses (a socket, a thread) is no failure: the others then warn that this
 * rank is not heard. Once a host has been silent for the limit, the process ends with status 75,
 * after a line of one of the ranks; all that can be reached end alike. Collective; all ranks fail
 * or none.
 */
status heartbeat_start(void) MUST_CHECK;
/* Seconds of silence until a warning, and until the end; limit 0: never. Not collective. */
void heartbeat_configure(double warn, double limit);
/* Waits until every rank is here, and ends it. Collective. */
void heartbeat_end(void);

#endif
