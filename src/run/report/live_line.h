/* SPDX-License-Identifier: Apache-2.0 */
/* The one line on a terminal that says how the job stands, redrawn in place. */
#ifndef SLUICE_RUN_LIVE_LINE_H
#define SLUICE_RUN_LIVE_LINE_H

#include "sluice/progress.h"

enum { LIVE_LINE_BYTES = 512, LIVE_LINE_MOST = 200 };

/* "[####      ] 12345/100.0k 12.3% 7012 tok/s (6890) ETA 26 min 64 run+128 KV 43% 3 err": rows done
 * of all, sampled tokens a second now and on the whole, sequences running and waiting. In at most
 * `columns` columns: the bar takes what is left, and what matters least is left out where the rest
 * does not fit. With `colour` it has ANSI colours, which take no columns. */
void live_line_compose(const struct job_progress *progress, int columns, bool colour,
                       char text[LIVE_LINE_BYTES]);

/* Whether standard error is a terminal on which a line can be redrawn; whether colours are wanted
 * there (NO_COLOR is not set). */
bool live_line_possible(void);
bool live_line_colour(void);

/* Draws it in the place of the one before. Lines of the log remove it before they are written, and
 * the next draw brings it back. Draw and clear by the main thread; the log's lines may be any
 * thread's. */
void live_line_draw(const struct job_progress *progress);
/* Removes it, and does not mind where there is none. */
void live_line_clear(void);

#endif
