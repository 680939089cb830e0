/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: a plain line, or one of an OpenAI batch with its prompt and parameters in a body. */
#ifndef SLUICE_DATA_ROW_REQUEST_H
#define SLUICE_DATA_ROW_REQUEST_H

#include "sluice/data.h"

/* Reads the line into a row that has the job's parameters and its index as its id already.
 * STATUS_INVALID as of row_parse: id and passthrough are set as far as they could be. Whatever it
 * points to lives in the line or the arena. */
status request_parse(const struct json *line, const struct row_format *format, struct arena *arena,
                     struct row *row) MUST_CHECK;

#endif
