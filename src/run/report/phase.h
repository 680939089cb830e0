/* SPDX-License-Identifier: Apache-2.0 */
/* What a rank is at before and after the rows, for people who wait: said where it takes long. */
#ifndef SLUICE_RUN_PHASE_H
#define SLUICE_RUN_PHASE_H

#include "sluice/base.h"

/* From now on this rank is at `what` ("loading the weights"), until phase_end or the next one. One
 * rank's are said, rank 0's. */
void phase_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says how long it took where that was said to be long. */
void phase_end(void);
void phase_forget(void);

/* Says after 5 s what this rank is at, and again each time that the time has doubled. Costs nothing
 * while there is no phase; to be called where interrupts are looked for. */
void phase_remind(void);

#endif
