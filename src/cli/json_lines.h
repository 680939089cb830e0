/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that read JSON lines on standard input and write one JSON line for each. */
#ifndef SLUICE_CLI_JSON_LINES_H
#define SLUICE_CLI_JSON_LINES_H

#include "sluice/json.h"

/* Appends the answer to a line's value as one JSON value, without a newline. A failure becomes
 * {"error": …} in the line's place. */
typedef status (*json_line_handler)(void *context, const struct json *value, struct arena *arena,
                                    struct buffer *out);

/* Streams all of standard input; lines of white space are skipped. Returns the exit status: failed
 * where a line was bad or standard input or output failed. */
int json_lines_run(json_line_handler handle, void *context);

#endif
