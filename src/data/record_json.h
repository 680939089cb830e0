/* SPDX-License-Identifier: Apache-2.0 */
/* What readers of columns share: a column's text as a value in a row's JSON. */
#ifndef SLUICE_DATA_RECORD_JSON_H
#define SLUICE_DATA_RECORD_JSON_H

#include "sluice/base.h"

enum { RECORD_MAX_BYTES = 64 * 1024 * 1024 }; /* of one record, of any kind */

/* Appends the text of column `key`: as a string, but in a column whose value is a list or an object
 * (messages, prompt_token_ids, tools, …) as that, where it is the JSON text of one. The text is
 * valid UTF-8. */
status record_write_text(const char *key, const char *text, size_t length,
                         struct buffer *json) MUST_CHECK;

/* Makes a RECORD_BAD of what a message says; other errors than a row's own are passed on. */
struct record;
status record_spoil(struct record *record, status s) MUST_CHECK;

#endif
