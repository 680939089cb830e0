/* SPDX-License-Identifier: Apache-2.0 */
/* Results of an output file in other forms: src/data/export. */
#ifndef SLUICE_EXPORT_H
#define SLUICE_EXPORT_H

#include "sluice/data.h"

/* Streams results out again: one JSON line each, or the OpenAI batch output form. `write` gets each
 * line with its newline. */
enum export_format { EXPORT_JSONL, EXPORT_OPENAI };
status output_export(struct output_reader *reader, enum export_format format,
                     status (*write)(void *context, const char *line, size_t length),
                     void *context) MUST_CHECK;

#endif
