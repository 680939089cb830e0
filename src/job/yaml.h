/* SPDX-License-Identifier: Apache-2.0 */
/* The part of YAML that a job file needs: sections of keys with scalars, lists and maps, and
 * nothing that could grow: no anchors, aliases, tags or second documents. Values come out as JSON
 * trees, so that one set of typed reads serves rows and job files. */
#ifndef SLUICE_JOB_YAML_H
#define SLUICE_JOB_YAML_H

#include "sluice/json.h"

/* One "key: value" of a section. A section itself gives an entry with a NULL key before those of
 * its keys; one that is a single value ("task: embed") then gives that under the key "". */
struct yaml_entry {
    const char *section, *key;
    const struct json *value; /* NULL for a section; null, boolean, number, string, an array of
                                 such, or an object of scalars and lists */
    int line;                 /* of the key, from 1 */
};

/* Behind a message about a map that stands where none is meant. */
#define YAML_MAP_HINT "; a text with { or : in it goes in quotes"

/* Reads a document of two levels into arena memory. STATUS_INVALID with "line N: why". */
status yaml_read_sections(const char *text, size_t length, struct arena *arena,
                          const struct yaml_entry **entries, size_t *count) MUST_CHECK;

/* Reads one value, as it may stand behind a key. STATUS_INVALID with why. */
status yaml_read_value(const char *text, size_t length, struct arena *arena,
                       const struct json **out) MUST_CHECK;

/* Appends a value in a form that yaml_read_value reads back to the same: strings are quoted. */
status yaml_write_value(const struct json *value, struct buffer *out) MUST_CHECK;

/* Appends text as a double-quoted scalar. */
status yaml_write_string(const char *text, size_t length, struct buffer *out) MUST_CHECK;

#endif
