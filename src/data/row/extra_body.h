/* SPDX-License-Identifier: Apache-2.0 */
/* The field extra_body of a request. */
#ifndef SLUICE_DATA_EXTRA_BODY_H
#define SLUICE_DATA_EXTRA_BODY_H

#include "sluice/json.h"

/* *fields is the body with the fields of its extra_body in place of that, or the body itself where
 * it has none, or one that is no object. *clash: a field that both have with different values, of
 * which *fields has the body's; NULL where there is none. All lives in the arena. */
status extra_body_merge(const struct json *body, struct arena *arena, const struct json **fields,
                        const struct json_member **clash) MUST_CHECK;

#endif
