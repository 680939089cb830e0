/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean …": the known name that is nearest to an unknown one. */
#ifndef SLUICE_JOB_SUGGEST_H
#define SLUICE_JOB_SUGGEST_H

/* Zero-initialise but for `unknown`; offer every known name; read `best`. */
struct suggestion {
    const char *unknown;
    const char *best; /* NULL while nothing near enough was offered; borrowed */
    int distance;     /* of best */
};
void suggestion_offer(struct suggestion *suggestion, const char *known);

#endif
