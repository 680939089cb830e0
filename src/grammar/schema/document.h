/* SPDX-License-Identifier: Apache-2.0 */
/* A schema document: which schemas are in it, what references in it mean, and where a schema
 * stands, for messages. Nothing outside of the document is ever looked at. */
#ifndef SLUICE_GRAMMAR_SCHEMA_DOCUMENT_H
#define SLUICE_GRAMMAR_SCHEMA_DOCUMENT_H

#include "sluice/json.h"

struct schema_document;

/* Reads the $id and $anchor of all schemas. The document points into `root` and lives in `arena`.
 * STATUS_INVALID: an $id or $anchor that is no string, or the same one twice. */
status schema_document_create(const struct json *root, struct arena *arena,
                              struct schema_document **out) MUST_CHECK;

/* What the reference of a schema's $ref means: relative to the $id that the schema stands under.
 * STATUS_INVALID: nothing there; STATUS_UNSUPPORTED: another document. */
status schema_document_resolve(const struct schema_document *document, const struct json *schema,
                               const char *reference, const struct json **out) MUST_CHECK;

/* Sets this thread's message: "#/properties/a: keyword: what". `keyword` may be NULL. */
status schema_fail(const struct schema_document *document, const struct json *schema,
                   const char *keyword, status code, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Puts the same place before this thread's message. */
status schema_context(const struct schema_document *document, const struct json *schema,
                      const char *keyword, status s);

#endif
