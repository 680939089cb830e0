/* SPDX-License-Identifier: Apache-2.0 */
/* What readers of columns share: a column's text as a value in a row's JSON. */
#ifndef SLUICE_DATA_RECORD_JSON_H
#define SLUICE_DATA_RECORD_JSON_H

#include "sluice/base.h"

enum { RECORD_MAX_BYTES = 64 * 1024 * 1024 }; /* of one record, of any kind */

/* What a column's texts stand for, which its name says. */
enum column_reading {
    COLUMN_TEXT,      /* themselves */
    COLUMN_PROMPT,    /* messages, prompt_token_ids: a list or an object where they are the JSON
                         text of one */
    COLUMN_STRUCTURE, /* tools, …: the same; an empty text is not given */
    COLUMN_WORDS,     /* stop, reasoning_effort, …: themselves, or a list; empty is not given */
    COLUMN_VALUE,     /* temperature, …: what reads as a number, a boolean, a list or an object is
                         that; empty is not given */
};

/* What the prompt template names is text, but for a parameter. */
struct record_reader_options;
enum column_reading column_reading_of(const char *name,
                                      const struct record_reader_options *options);

/* Appends a column's text, which is valid UTF-8, as what it stands for. */
status record_write_text(enum column_reading reading, const char *text, size_t length,
                         struct buffer *json) MUST_CHECK;

/* Makes a RECORD_BAD of what a message says; other errors than a row's own are passed on. */
struct record;
status record_spoil(struct record *record, status s) MUST_CHECK;

#endif
