/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of Markdown, as the help's topics are, for people at a terminal. */
#ifndef SLUICE_CLI_MANUAL_TERMINAL_H
#define SLUICE_CLI_MANUAL_TERMINAL_H

#include "sluice/base.h"

/* Appends `markdown` in lines of at most `columns`: of each row of a table the first cell as a
 * term, below it the other cells that are not empty with their headings, the last without one.
 * What is no table stays, wrapped. Backquotes go. */
status terminal_write(const char *markdown, int columns, struct buffer *out) MUST_CHECK;

#endif
