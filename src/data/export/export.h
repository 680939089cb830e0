/* SPDX-License-Identifier: Apache-2.0 */
/* What the forms of an export share: JSON of single values, and of a result's other fields. */
#ifndef SLUICE_DATA_EXPORT_EXPORT_H
#define SLUICE_DATA_EXPORT_EXPORT_H

#include "data/output/layout.h"
#include "data/output/vocabulary.h"
#include "sluice/export.h"

typedef status (*line_writer)(void *context, const char *line, size_t length);

/* A decimal that is the same float: integers below 1e15 with all their digits, of other numbers the
 * shortest; null for NaN and infinities. */
status export_float(float value, struct buffer *out) MUST_CHECK;
status export_floats(const float *values, size_t count, struct buffer *out) MUST_CHECK;
/* A JSON string; NULL counts as empty. */
status export_text(const char *text, size_t length, struct buffer *out) MUST_CHECK;
/* A row's id as it stood in the input: a number with its digits, or a text. */
status export_id(const struct result *result, struct buffer *out) MUST_CHECK;
/* The object of the input's other fields, NULL where there are none; `path` for messages. The arena
 * is reset. */
status export_passthrough(const char *path, const struct result *result, struct arena *arena,
                          const struct json **out) MUST_CHECK;

/* Whether a request with these other fields wants its vector as base64. */
bool export_asks_base64(const struct json *fields);
/* The vector as a list of numbers, or as base64 of its float32s, little-endian. */
status export_vector(const float *values, size_t width, bool base64, struct buffer *out) MUST_CHECK;
/* A column's value, which is there; `base64` for vectors. */
status export_value(const struct result_column *column, const struct stored_result *result,
                    bool base64, struct buffer *out) MUST_CHECK;

/* OpenAI's batch output: src/data/export/export_openai.c. */
status output_export_openai(struct output_reader *reader, line_writer write,
                            void *context) MUST_CHECK;

#endif
