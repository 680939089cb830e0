/* SPDX-License-Identifier: Apache-2.0 */
/* data.prompt_template: a prompt made of a row's columns. `{name}` stands for a column, `{{` and
 * `}}` for braces. */
#ifndef SLUICE_DATA_PROMPT_TEMPLATE_H
#define SLUICE_DATA_PROMPT_TEMPLATE_H

#include "sluice/data.h"

struct template_piece {
    const char *text; /* the column's name, or text as it stands; in the template's own bytes */
    size_t length;
    bool is_column;
};

/* The next piece of a template that prompt_template_check has passed; moves *rest on. False at the
 * end. */
bool prompt_template_next(const char **rest, struct template_piece *piece);

/* Whether a column of this name is one of the template's. */
bool prompt_template_names(const char *text, const char *name, size_t length);

/* Appends the prompt of a row with these fields: texts as they are, numbers as written, everything
 * else as JSON. STATUS_INVALID where a column is null or missing. */
status prompt_template_apply(const char *text, const struct json *fields,
                             struct buffer *out) MUST_CHECK;

#endif
