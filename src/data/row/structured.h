/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of rows and the key of jobs that ask for a form of the answer. */
#ifndef SLUICE_DATA_STRUCTURED_H
#define SLUICE_DATA_STRUCTURED_H

#include "sluice/json.h"
#include "sluice/structured.h"

/* `structured` of a job or a row: a map of one form and of settings. Null is as if it were not
 * there. Texts are copied to the arena. STATUS_INVALID: "structured.close: expected …". */
status structured_set(struct structured_request *request, const struct json *value,
                      struct arena *arena) MUST_CHECK;

/* Whether `name` is a field of requests that asks for a form: response_format and the like. */
bool structured_field_known(const char *name);
/* Reads it, over the job's wish. STATUS_INVALID, also where the row has asked for another already.
 */
status structured_field_set(struct structured_request *request, const char *name,
                            const struct json *value, struct arena *arena) MUST_CHECK;
/* tool_choice, with the row's tools, NULL for none. */
status structured_tool_choice(struct structured_request *request, const struct json *value,
                              const struct json *tools, struct arena *arena) MUST_CHECK;

#endif
