/* SPDX-License-Identifier: Apache-2.0 */
/* A page of HTML as bytes: texts escaped, the frame around the sections, its style. */
#ifndef SLUICE_CLI_REPORT_HTML_H
#define SLUICE_CLI_REPORT_HTML_H

#include "sluice/base.h"

/* Appends a text from anywhere, so that nothing in it is markup: the five characters of HTML are
 * escaped, control characters but newlines become spaces, what is not UTF-8 U+FFFD. Fit for
 * elements and for attributes in double quotes. */
status html_text(const char *text, size_t length, struct buffer *out) MUST_CHECK;
/* The same of at most `most` characters, then "…". */
status html_excerpt(const char *text, size_t most, struct buffer *out) MUST_CHECK;
/* Appends 1234567 as 1,234,567. */
status html_count(int64_t number, struct buffer *out) MUST_CHECK;
/* The same of a number with digits that suit its size: 12,345 or 8.25. */
status html_number(double number, struct buffer *out) MUST_CHECK;

/* The page up to its sections, and its end. No part of it is loaded from anywhere, and no script
 * may run in it. */
status html_begin(const char *title, struct buffer *out) MUST_CHECK;
status html_end(struct buffer *out) MUST_CHECK;
/* A section with a heading, which is HTML. */
status html_section(const char *heading, struct buffer *out) MUST_CHECK;
status html_section_end(struct buffer *out) MUST_CHECK;
/* <tr><th>name</th><td>text</td></tr>, both escaped; nothing where the text is empty or NULL. */
status html_row(const char *name, const char *text, struct buffer *out) MUST_CHECK;

#endif
