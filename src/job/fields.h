/* SPDX-License-Identifier: Apache-2.0 */
/* The table of job file keys: a row says where a key's value lives, what it may be, its default and
 * its meaning; reading, checking, writing and documentation are all made from it. The keys of
 * `generate` are rows of another table of the same kind (generate_field_describe, sluice/data.h).
 */
#ifndef SLUICE_JOB_FIELDS_H
#define SLUICE_JOB_FIELDS_H

#include "sluice/job.h"

struct field_choice {
    const char *name;
    int value;
};

enum field_type {
    FIELD_STRING,
    FIELD_TIME,  /* Unix seconds, -1: `word` */
    FIELD_PATH,  /* a string; `~` is the own home */
    FIELD_PATHS, /* one, or a list of them */
    FIELD_INTEGER,
    FIELD_BYTES,
    FIELD_BOOLEAN,
    FIELD_CHOICE,
    FIELD_DEVICE /* a kind of backend by name; NULL: `word` */
};

struct job_field {
    const char *section, *key;
    enum field_type type;
    size_t offset;            /* in struct job */
    const char *default_text; /* YAML; NULL: the key is required */
    const char *meaning;
    const char *word;    /* FIELD_INTEGER, FIELD_BYTES, FIELD_DEVICE: what stands for the value that
                            is left open, "auto"; NULL: nothing */
    int64_t least, most; /* FIELD_INTEGER, FIELD_BYTES */
    const struct field_choice *choices; /* FIELD_CHOICE; ends with a NULL name */
};

/* Row `index`; NULL past the end. Rows of a section follow each other. */
const struct job_field *job_field_at(size_t index);

/* Checks and stores a value; null is the default. Strings are copied to the job's arena.
 * STATUS_INVALID: "model.path: expected a string, not 5". */
status job_field_set(const struct job_field *field, struct job *job,
                     const struct json *value) MUST_CHECK;
/* Stores the default; a required key becomes NULL. */
status job_field_set_default(const struct job_field *field, struct job *job) MUST_CHECK;
/* Whether the value is there: only required keys may lack one. */
bool job_field_is_set(const struct job_field *field, const struct job *job);
/* Appends the value as YAML. */
status job_field_write(const struct job_field *field, const struct job *job,
                       struct buffer *out) MUST_CHECK;
/* Appends what the value may be, in words: "integer from 1 to 8, or auto". */
status job_field_write_type(const struct job_field *field, struct buffer *out) MUST_CHECK;

#endif
